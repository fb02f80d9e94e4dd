"""The bank on disk: a sealed .npz of plain arrays and one JSON text, no timestamps, so equal banks are equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast import __version__
from clipfast.arguments import require_type
from clipfast.artifact import Sha256, require_fingerprint
from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.retrieval.bankfolder import is_bank_folder, read_bank_folder, set_aside, write_bank_folder
from clipfast.retrieval.bankmarks import marks_arrays, marks_of
from clipfast.retrieval.references import References
from clipfast.storage import load_sealed_npz, require_format, save_sealed_npz
from clipfast.types import ImageEncoder

__all__ = [
    "FOLDER_FROM",
    "BankModel",
    "bank_folder",
    "missing_bank",
    "open_bank",
    "read_bank",
    "require_model",
    "save_bank",
    "write_bank",
]

FORMAT_VERSION = 1
FOLDER_FROM = 100_000
"""Rows above which a bank is saved as a folder."""

_ARRAYS = ("embeddings", "fabric_ids", "paths", "sha256", "meta")


class BankModel(msgspec.Struct, frozen=True):
    """Who made the vectors.

    Attributes:
        fingerprint: Identity of the model's embeddings.
        precision: Precision of its graphs.
        name: Its name, for people.
    """

    fingerprint: str
    precision: str
    name: str

    @classmethod
    def of(cls, clip: ImageEncoder) -> BankModel:
        """Ask an encoder; the Protocol promises the fingerprint only, so the other two have defaults."""
        return cls(
            fingerprint=clip.fingerprint(),
            precision=str(getattr(clip, "precision", "fp32")),
            name=str(getattr(clip, "name", type(clip).__name__)),
        )


def require_model(
    stored: BankModel | None, clip: ImageEncoder, *, what: str, kind: str, accept_precision: bool = False
) -> None:
    """Refuse what was made with another model's vectors, or in another precision.

    Args:
        stored: Who made the vectors; None where that was not stored.
        clip: The encoder that is to be used with them.
        what: The file, for the error text.
        kind: What it is, such as "bank" or "head".
        accept_precision: Take another precision too.

    Raises:
        FingerprintError: Another model; the message names both fingerprints.
        ArtifactError: Another precision, or nobody knows whose vectors they are.
    """
    require_type("clip", clip, ImageEncoder, "Clip.load()")  # type: ignore[type-abstract]  # only asked whether it is one
    if stored is None:
        raise ArtifactError(
            f"{what} does not say which model's embeddings it takes. Make the {kind} again with clip=.",
            code="no_model_named",
            what=what,
            kind=kind,
        )
    mine = BankModel.of(clip)
    require_fingerprint(stored.fingerprint, mine.fingerprint, what=what)
    if mine.precision != stored.precision and not accept_precision:
        raise ArtifactError(
            f"{what} was made with precision {stored.precision}; this model runs {mine.precision}. "
            f"Load the model with {stored.precision}, build the {kind} again, or accept the difference "
            "(accept_precision=True, --accept-precision).",
            code="other_precision",
            what=what,
            stored=stored.precision,
            mine=mine.precision,
        )


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int
    fingerprint: str
    precision: str
    model: str
    created_by: str


def write_bank(path: Path, references: References, model: BankModel) -> None:
    """Write a bank, atomically."""
    meta = _Meta(
        format=FORMAT_VERSION,
        fingerprint=model.fingerprint,
        precision=model.precision,
        model=model.name,
        created_by=f"clipfast {__version__}",
    )
    arrays = {
        "embeddings": references.embeddings,
        "fabric_ids": np.array(references.fabrics),
        "paths": np.array(references.paths),
        "sha256": np.array(references.sha256),
        "meta": np.array(msgspec.json.encode(meta).decode()),
        **marks_arrays(references.marks),
    }
    save_sealed_npz(path, arrays)


def read_bank(path: Path) -> tuple[References, BankModel]:
    """Read what `write_bank` wrote; every array is checked again.

    Raises:
        ArtifactError: The file is missing, damaged, of another version, or no bank.
    """
    if not path.is_file():
        raise missing_bank(path)
    arrays = load_sealed_npz(path, kind="bank")
    try:
        meta = _meta(arrays, path)
        references = References(
            _matrix(arrays["embeddings"]),
            _texts(arrays["fabric_ids"], "fabric_ids"),
            _texts(arrays["paths"], "paths"),
            msgspec.convert(_texts(arrays["sha256"], "sha256"), list[Sha256]),
            marks_of(arrays, len(arrays["paths"])),
        )
    except (msgspec.MsgspecError, ShapeError, DataError) as error:
        raise ArtifactError(
            f"{path} is not a readable bank: {str(error).rstrip('.')}. Build it again.",
            code="not_bank",
            path=path,
            error=error,
        ) from error
    return references, BankModel(meta.fingerprint, meta.precision, meta.model)


def open_bank(path: Path, *, verify: bool) -> tuple[References, BankModel]:
    """Read a bank of either layout: a sealed .npz, which is always checked whole, or a folder of mapped arrays.

    Raises:
        ArtifactError: Nothing is there, or it is damaged, of another version, or no bank.
    """
    folder = bank_folder(path)
    if folder is None:
        return read_bank(path)
    references, meta = read_bank_folder(folder, verify=verify)
    return references, BankModel(meta.fingerprint, meta.precision, meta.model)


def save_bank(path: Path, references: References, model: BankModel) -> Path:
    """Write a bank in the layout that its path or its size asks for, and return where it is.

    A path without a suffix, or of a folder, is a folder; so is `bank.npz` of more than FOLDER_FROM rows, which goes to
    `bank` beside it and is found again under either name.
    """
    if path.is_dir() or not path.suffix:
        write_bank_folder(path, references, model)
        return path
    if len(references) <= FOLDER_FROM:
        write_bank(path, references, model)
        return path
    folder = path.with_suffix("")
    write_bank_folder(folder, references, model)
    path.unlink(missing_ok=True)  # the smaller bank of that name, which would be found first
    return folder


def bank_folder(path: Path) -> Path | None:
    """Return the folder that a bank's path means, or None where it means a file."""
    if path.is_dir() or (not path.exists() and set_aside(path)) or path.is_dir():  # it may come back in between
        return path
    beside = path.with_suffix("")
    return beside if path.suffix and not path.exists() and is_bank_folder(beside) else None


def missing_bank(path: Path) -> ArtifactError:
    """Return the error that says how to build the bank that is not there."""
    return ArtifactError(
        f"No bank at {path}. Build it: clipfast bank build data/fabrics --out {path}", code="no_bank", path=path
    )


def _meta(arrays: dict[str, NDArray[Any]], path: Path) -> _Meta:
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise DataError(f"it has no {', '.join(missing)}")
    text = str(arrays["meta"])
    require_format(text, FORMAT_VERSION, path, remedy="Build it again.")
    return msgspec.json.decode(text, type=_Meta)


def _matrix(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim != 2:
        raise ShapeError(f"embeddings must be (m, e); got {array.shape}")
    return array


def _texts(array: NDArray[Any], name: str) -> list[str]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise DataError(f"{name} must be one row of texts; got {array.shape} {array.dtype}")
    texts: list[str] = array.tolist()
    if "" in texts:
        raise DataError(f"{name} holds an empty text")
    return texts
