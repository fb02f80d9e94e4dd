"""Retrieval without set-up: the default model and the default bank, loaded at the first call and kept."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from clipfast.retrieval.answers import Answer
from clipfast.retrieval.bank import FabricBank
from clipfast.retrieval.bankfile import bank_folder, missing_bank
from clipfast.retrieval.bankfolder import META_NAME
from clipfast.retrieval.scoring import Ranked
from clipfast.types import ImageSource

__all__ = ["DEFAULT_BANK", "DEFAULT_FOLDER", "default_bank", "default_bank_path", "rank_by_retrieval"]

DEFAULT_FOLDER = Path("data/fabrics")
DEFAULT_BANK = Path("data/fabric_bank.npz")

_lock = threading.Lock()
_Stamp = tuple[int, int, int]
_loaded: dict[tuple[str | None, Path], tuple[FabricBank, _Stamp | None]] = {}


def default_bank_path() -> Path:
    """Return the bank's path: `CLIPFAST_BANK`, else `data/fabric_bank.npz`."""
    return Path(os.environ.get("CLIPFAST_BANK") or DEFAULT_BANK)


def rank_by_retrieval(image: ImageSource, topk: int = 5) -> Answer[Ranked]:
    """Rank the fabrics of the default bank for one image, best first.

    The model is `CLIPFAST_MODEL`, else the embedded `mini`; the bank is `CLIPFAST_BANK`, else `data/fabric_bank.npz`.
    Both are loaded at the first call and kept for the next ones; a bank that was replaced since is loaded again, with
    the same model. Safe from several threads.

    Args:
        image: A path, the bytes of a file, an open file, a PIL image or a uint8 (h, w, 3) array.
        topk: How many fabrics, at least 1.

    Raises:
        ArtifactError: The bank is missing (the message says how to build it) or damaged.
        FingerprintError: Another model made the bank.
        ImageError: The image cannot be read.
    """
    return default_bank().rank(image, topk=topk)


def default_bank() -> FabricBank:
    """Return the default bank with its model, loaded at the first call and kept until its file is replaced.

    A file that is gone leaves the bank that was loaded in use: whoever writes one anew may have removed it first.

    Raises:
        ArtifactError: The bank is missing at the first call, or what replaced it is damaged.
        FingerprintError: Another model made the bank.
    """
    model, path = os.environ.get("CLIPFAST_MODEL") or None, default_bank_path()
    key = (model, path.absolute())
    with _lock:
        stamp = _stamp(path)
        if key not in _loaded:
            if stamp is None and bank_folder(path) is None:  # before the model, which takes longer to load
                raise missing_bank(path)
            from clipfast.runtime.clip import Clip

            clip = Clip.load(model)
            bank = FabricBank.load(path, clip=clip)
            clip.warm_up(["embed"])
            _loaded.clear()  # one model in memory, not one for every setting that was ever tried
            _loaded[key] = bank, stamp
        bank, known = _loaded[key]
        if stamp is not None and stamp != known:
            bank = FabricBank.load(path, clip=bank.clip)
            _loaded[key] = bank, stamp
        return bank


def _stamp(path: Path) -> _Stamp | None:
    """Say which bank lies there; None where there is none, or where a folder is just being replaced."""
    folder = bank_folder(path)
    try:
        found = (path if folder is None else folder / META_NAME).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
