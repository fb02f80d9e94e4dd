"""Simulated textile images of the PyPI package conformal-clip-data (MIT) go through bank and query."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipfast.retrieval import FabricBank
from clipfast.runtime.clip import Clip

data = pytest.importorskip("conformal_clip_data", reason="needs conformal-clip-data: pip install --group test")


def _photos(folder: Path, count: int) -> list[Path]:
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg", ".jpeg", ".tif", ".bmp"})
    return found[:count]


@pytest.fixture(scope="module")
def bank_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three kinds of texture, four references each, in the owner's layout."""
    root = tmp_path_factory.mktemp("textiles")
    for kind, folder in (
        ("正常 nominal", data.nominal_dir()),
        ("local", data.local_dir()),
        ("global", data.global_dir()),
    ):
        (root / kind).mkdir()
        for i, photo in enumerate(_photos(Path(str(folder)), 4)):
            (root / kind / f"ref_{i}{photo.suffix}").write_bytes(photo.read_bytes())
    return root


def test_textiles_are_banked_saved_and_found(mini: Clip, bank_folder: Path, tmp_path: Path) -> None:
    """Build, save, load, and find each reference again as its own nearest; new images get an answer."""
    FabricBank.build(mini, bank_folder).save(tmp_path / "bank.npz")
    bank = FabricBank.load(tmp_path / "bank.npz", clip=mini)

    assert bank.fabrics == {"global": 4, "local": 4, "正常 nominal": 4}
    for photo in sorted(bank_folder.rglob("ref_*")):
        (best,) = bank.search(photo, topk=1)
        assert best.score == pytest.approx(1.0, abs=1e-4)
    fresh = _photos(Path(str(data.nominal_dir())), 8)[-1]
    ranked = bank.rank(fresh, topk=3)
    assert {r.id for r in ranked} == set(bank.fabrics)
    assert ranked[0].score >= ranked[1].score >= ranked[2].score
