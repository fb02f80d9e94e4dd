"""A photo, places in it, and what a folder of labels must hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clipfast.datasets.folders import list_fabrics
from clipfast.retrieval.crops import Region, read_sidecar
from clipfast.retrieval.labels import LabelStore
from clipfast.storage import sha256_file

__all__ = ["at", "noisy_photo", "on_disk", "require_whole"]


def at(number: int) -> Region:
    """Return a place in the photo."""
    return Region(coords=(20 + 8 * (number % 25), 20 + 8 * (number // 25)), size=16)


def noisy_photo(tmp_path: Path) -> Path:
    """A photo in which every place looks different."""
    path = tmp_path / "photos" / "shirt.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)).save(path)
    return path


def on_disk(store: LabelStore) -> dict[str, tuple[str, Any]]:
    """Return what a reader of the folder finds: checksum and side-car of each patch."""
    if not store.root.is_dir():
        return {}
    return {
        f"{label}/{path.name}": (sha256_file(path), read_sidecar(path))
        for label, paths in list_fabrics(store.root).items()
        for path in paths
    }


def require_whole(store: LabelStore) -> None:
    """Check that the journal, read afresh, says what the folder holds, and that nothing is left over."""
    said = LabelStore(store.root).state().patches
    assert on_disk(store) == {key: (patch.sha256, patch.sidecar) for key, patch in said.items()}
    names = [path.name for path in store.root.rglob("*") if path.is_file()]
    assert not [name for name in names if name.endswith(".tmp")]
    assert not list((store.root / ".labels").glob("staged/*"))
