"""The head on disk: a sealed .npz of plain arrays and one JSON text, without timestamps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast import __version__
from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.metrics.intervals import Interval
from clipfast.retrieval.bankfile import BankModel
from clipfast.retrieval.declared import SeenPictures
from clipfast.storage import load_sealed_npz, require_format, save_sealed_npz
from clipfast.types import Floats

__all__ = ["HeadReport", "StoredHead", "read_head", "write_head"]

FORMAT_VERSION = 2
_OLDER = (1,)  # kept no looks of what it was trained on
_ARRAYS = ("weights", "bias", "classes", "trained_on", "meta")


class HeadReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What training found.

    Attributes:
        samples: How many rows it was trained on.
        counts: Rows by class.
        accuracy: Share of held-out rows that were right, with Wilson's interval. Every row was answered by a fit that
            had not seen it or its group, whose strength was chosen on other folds. Patches of one photo are not
            independent trials: with many of each, the interval is too narrow.
        per_class: Right, and held out, by class.
        strength: Chosen strength (scikit-learn's C).
        losses: Mean held-out log loss of every strength that was tried.
        folds: How many folds were held out.
        never_held_out: Classes shown by one group only, about which cross-validation says nothing.
        calibration_error: Expected calibration error of the held-out rows before and after the temperature. The second
            is a little low, because the temperature was fitted on the same rows.
        seed: Of the folds.
    """

    samples: int
    counts: dict[str, int]
    accuracy: Interval
    per_class: dict[str, tuple[int, int]]
    strength: float
    losses: tuple[tuple[float, float], ...]
    folds: int
    never_held_out: tuple[str, ...]
    calibration_error: tuple[float, float]
    seed: int


class StoredHead(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The fields of a `LinearHead`."""

    classes: Any
    weights: Any
    bias: Any
    temperature: float
    model: BankModel | None
    report: HeadReport | None
    trained_on: tuple[str, ...]
    seen: SeenPictures


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int
    temperature: float
    model: BankModel | None
    report: HeadReport | None
    created_by: str
    seen: SeenPictures = SeenPictures()


def write_head(path: Path, head: StoredHead) -> None:
    """Write a head, atomically."""
    meta = _Meta(
        format=FORMAT_VERSION,
        temperature=head.temperature,
        model=head.model,
        report=head.report,
        created_by=f"clipfast {__version__}",
        seen=head.seen,
    )
    digests = np.frombuffer(bytes.fromhex("".join(head.trained_on)), np.uint8).reshape(-1, 32)
    arrays = {
        "weights": head.weights,
        "bias": head.bias,
        "classes": head.classes,
        "trained_on": digests,
        "meta": np.array(msgspec.json.encode(meta).decode()),
    }
    save_sealed_npz(path, arrays)


def read_head(path: Path) -> StoredHead:
    """Read what `write_head` wrote; every array is checked again.

    Raises:
        ArtifactError: The file is missing, damaged, of another version, or no head.
    """
    if not path.is_file():
        raise ArtifactError(
            f"No head at {path}. Train it: clipfast head train data/patches/labeled --out {path}",
            code="no_head",
            path=path,
        )
    arrays = load_sealed_npz(path, kind="head")
    try:
        meta = _meta(arrays, path)
        weights, bias, classes = _checked(arrays)
    except (msgspec.MsgspecError, ShapeError, DataError) as error:
        raise ArtifactError(
            f"{path} is not a readable head: {str(error).rstrip('.')}. Train it again.",
            code="not_head",
            path=path,
            error=error,
        ) from error
    return StoredHead(
        classes=classes,
        weights=weights,
        bias=bias,
        temperature=meta.temperature,
        model=meta.model,
        report=meta.report,
        trained_on=tuple(row.tobytes().hex() for row in arrays["trained_on"]),
        seen=meta.seen,
    )


def _meta(arrays: dict[str, NDArray[Any]], path: Path) -> _Meta:
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise DataError(f"it has no {', '.join(missing)}")
    text = str(arrays["meta"])
    require_format(text, FORMAT_VERSION, path, remedy="Train it again.", older=_OLDER)
    meta = msgspec.json.decode(text, type=_Meta)
    if not (np.isfinite(meta.temperature) and meta.temperature > 0):
        raise DataError(f"its temperature must be above 0; it is {meta.temperature}")
    return meta


def _checked(arrays: dict[str, NDArray[Any]]) -> tuple[Floats, Floats, NDArray[Any]]:
    weights, bias, classes = arrays["weights"], arrays["bias"], arrays["classes"]
    if weights.ndim != 2 or weights.dtype != np.float32 or not np.isfinite(weights).all():
        raise ShapeError(f"weights must be finite float32 (c, e); got {weights.shape} {weights.dtype}")
    count = len(weights)
    if count < 2 or bias.shape != (count,) or bias.dtype != np.float32 or not np.isfinite(bias).all():
        raise ShapeError(f"bias must be finite float32 ({count},) of two classes or more; got {bias.shape}")
    if classes.shape != (count,) or classes.dtype.kind not in "Uiu" or len(np.unique(classes)) != count:
        raise ShapeError(f"classes must be {count} different texts or integers; got {classes.shape} {classes.dtype}")
    if arrays["trained_on"].dtype != np.uint8 or arrays["trained_on"].shape[1:] != (32,):
        raise ShapeError(f"trained_on must be uint8 (n, 32); got {arrays['trained_on'].shape}")
    return weights, bias, classes
