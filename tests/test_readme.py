"""The Python of README.md runs as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets import fabricworld
from clipfast.metrics import PixelScores

README = Path(__file__).resolve().parent.parent / "README.md"
JOBS = ("Fabric retrieval", "Heat maps", "Few-shot anomaly detection", "Diagnostics")


def blocks() -> Iterator[tuple[str, str]]:
    """Heading and code of each Python block, in order."""
    for section in re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0]
        for code in re.findall(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL):
            yield heading, code


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that the blocks name: fabrics, good photos, one with an object, and its mask."""
    folder = tmp_path_factory.mktemp("readme")
    # as small as a poor camera's, so that the model errs now and then: without errors there is nothing to calibrate
    fabricworld.write_folder(
        folder / "data/fabrics", fabrics=list(fabricworld.FABRICS)[:12], per_fabric=4, seed=0, size=80
    )
    scene = fabricworld.render(100, fabric="denim", colour="blue", objects=1)
    good = {f"good_{i}.jpg": fabricworld.render(i, fabric="denim", colour="blue").image for i in range(1, 5)}
    left, top, right, bottom = map(int, scene.objects[0].box)
    mask = np.zeros(scene.image.shape[:2], np.uint8)
    mask[top:bottom, left:right] = 255
    for name, image in (good | {"photo.jpg": scene.image, "mask.png": mask}).items():
        Image.fromarray(image).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def names(photos: Path) -> dict[str, Any]:
    """What the blocks define, all run in their order, as a reader would paste them into one session."""
    defined: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(photos)
        patch.delenv("CLIPFAST_MODEL", raising=False)
        patch.delenv("CLIPFAST_BANK", raising=False)
        patch.setenv("CLIPFAST_CACHE", str(photos / "cache"))
        for heading, code in blocks():
            exec(compile(code, f"README.md, {heading}", "exec"), defined)  # noqa: S102  (our own README)
    return defined


def test_every_job_has_its_lines() -> None:
    """One block a job, about ten lines each."""
    found = dict(blocks())

    assert tuple(found) == JOBS
    assert len(list(blocks())) == len(JOBS)
    assert all(len([line for line in code.splitlines() if line]) <= 11 for code in found.values())


def test_the_bank_answers(names: dict[str, Any], photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bank is saved, and asking it in both ways gives the same."""
    monkeypatch.chdir(photos)
    answers = names["bank"].rank("photo.jpg", topk=5)

    assert (photos / "data/fabric_bank.npz").is_file()
    assert [r.id for r in answers] == [r.id for r in names["rank_by_retrieval"]("photo.jpg", topk=5)]


def test_the_maps_have_the_size_asked_for(names: dict[str, Any]) -> None:
    """One photo, two texts."""
    assert names["maps"].shape == (1, 2, 224, 224)


def test_the_object_stands_out(names: dict[str, Any]) -> None:
    """The patch map finds what lies on the cloth."""
    scores = names["scores"]

    assert isinstance(scores, PixelScores)
    assert scores.auroc > 0.95
    assert scores.aupro > 0.9


def test_confidence_is_judged_on_the_other_half(names: dict[str, Any]) -> None:
    """Every other photo is counted, and the figures are figures."""
    assert names["table"].counts.sum() == 24
    assert 0 < names["error"] < 0.5
    assert names["temperature"] > 0
