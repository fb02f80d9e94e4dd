"""The check for machines with real weights runs, and says no where it must."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs torch: pip install --group test")
pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")

from clipfast.errors import DataError
from clipfast.export.real_check import Evidence, gather, verdict
from clipfast.export.weights import load_model

pytestmark = pytest.mark.torch
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "clip_reference"


@pytest.fixture(scope="module")
def checkpoint(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A tiny model with random weights whose embeddings are as wide as ViT-B/32's."""
    import torch

    folder = tmp_path_factory.mktemp("wide")
    config = json.loads(tiny_config.read_text()) | {"embed_dim": 512}
    (folder / "wide.json").write_text(json.dumps(config))
    torch.save(load_model(str(folder / "wide.json"), None).model.state_dict(), folder / "wide.pt")
    return str(folder / "wide.json"), str(folder / "wide.pt")


@pytest.mark.shared
def test_random_weights_do_not_match(checkpoint: tuple[str, str]) -> None:
    """Every step runs on the published data, and random weights are far from it."""
    evidence = gather(*checkpoint, DATA, "gelu")

    assert abs(evidence.min_cosine) < 0.5
    assert verdict([evidence])[0] is False


def test_the_data_must_be_there(checkpoint: tuple[str, str], tmp_path: Path) -> None:
    """The message names the files."""
    with pytest.raises(DataError, match=r"clip_retrieval_image_embeddings\.npz"):
        gather(*checkpoint, tmp_path, "gelu")


def test_the_verdict_names_the_better_gelu() -> None:
    """The one that reproduces the published embeddings."""
    evidence = [Evidence("gelu", 0.97, 0.1, "a diagram"), Evidence("quick_gelu", 0.99995, 1e-4, "a diagram")]

    assert verdict(evidence) == (
        True,
        "The checkpoint wants quick_gelu: it reproduces the published embeddings (0.99995).",
    )
