"""The contrastive-only sibling: the same network, nothing about places taught, and what CLIP Surgery gains on it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clipfast.artifact import Artifact
from clipfast.runtime.clip import Clip
from clipfast.runtime.models import find_model
from clipfast.runtime.parity import verify

ROOT = Path(__file__).resolve().parent.parent.parent
SCENES = 240
# Of all the pictures in the card; on these few a mean of some 150 objects may lie this far off.
GAIN_BOX, GAIN_POINTING, SLACK = 0.507, 0.642, 0.06


@pytest.fixture(scope="module")
def sibling() -> Iterator[Clip]:
    """By the name that users type."""
    with Clip.load("mini-contrastive", threads=2) as clip:
        yield clip


@pytest.fixture(scope="module")
def recipe() -> Iterator[dict[str, Any]]:
    """The measures of the recipe, imported as its scripts import them."""
    sys.path.insert(0, str(ROOT / "examples" / "train_mini"))
    try:
        yield {name: importlib.import_module(name) for name in ("places", "worlds", "store")}
    finally:
        sys.path.pop(0)


def test_it_is_the_same_network_with_other_weights(mini: Clip, sibling: Clip) -> None:
    """Every number of the architecture but the logit scale, which is learned."""
    same = {field: getattr(mini.manifest.model, field) for field in mini.manifest.model.__struct_fields__}
    its = {field: getattr(sibling.manifest.model, field) for field in sibling.manifest.model.__struct_fields__}
    del same["logit_scale"], its["logit_scale"]

    assert its == same
    assert sibling.fingerprint() != mini.fingerprint()


def test_its_graphs_reproduce_pytorch() -> None:
    """The stored proof, here."""
    verify(Artifact.open(find_model("mini-contrastive")))


def test_surgery_gains_what_the_card_says(sibling: Clip, recipe: dict[str, Any]) -> None:
    """The v-v path against ordinary tokens, in box IoU and pointing, on frozen test seeds."""
    world = recipe["worlds"].Fabricworld()
    truths = [world.scene(recipe["store"].TEST_SEEDS + number) for number in range(SCENES)]
    figures = recipe["places"].objects(sibling, [truth for truth in truths if truth.objects])
    found = {figure.name: figure.estimate for figure in figures}
    box = found["coloured object, box IoU at 0.6 [vv_vv]"] - found["coloured object, box IoU at 0.6 [plain]"]
    pointing = found["coloured object, pointing [vv_vv]"] - found["coloured object, pointing [plain]"]

    assert box == pytest.approx(GAIN_BOX, abs=SLACK)
    assert pointing == pytest.approx(GAIN_POINTING, abs=SLACK)
