"""Checks of what is searched and of what is asked: rows, unit rows, ids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.types import Floats, Ints

__all__ = ["require_ids", "require_rows", "require_unit_rows", "some"]

NORM_TOLERANCE = 1e-3
_ROWS_PER_CHECK = 1 << 16


def require_rows(vectors: Floats, dim: int, *, what: str) -> Floats:
    """Return `vectors` as C-contiguous rows after checking that they are finite, (n, dim) and float32.

    Raises:
        ShapeError: They are not; the message says what must be, what came, and what to do.
    """
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2:
        got = str(vectors.shape) if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise ShapeError(f"{what} must be an array (n, {dim}); got {got}. Pass one row per item, x[None] for one.")
    if vectors.shape[1] != dim:
        raise ShapeError(
            f"{what} must be (n, {dim}); got {vectors.shape}. Encode them with the model that made the other side."
        )
    if vectors.dtype != np.float32:
        raise ShapeError(f"{what} must be float32; got {vectors.dtype}. Pass x.astype(np.float32).")
    for start in range(0, len(vectors), _ROWS_PER_CHECK):
        finite = np.isfinite(vectors[start : start + _ROWS_PER_CHECK]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise ShapeError(f"{what} must be finite; row {row} holds NaN or infinity. Find out where it comes from.")
    return np.ascontiguousarray(vectors)


def require_unit_rows(vectors: Floats, dim: int, *, what: str) -> Floats:
    """Return `vectors` as C-contiguous rows after checking that they are finite unit rows, (n, dim) float32.

    Raises:
        ShapeError: They are not; the message says what must be, what came, and what to do.
    """
    rows = require_rows(vectors, dim, what=what)
    for start in range(0, len(rows), _ROWS_PER_CHECK):
        part = rows[start : start + _ROWS_PER_CHECK]
        norms = np.sqrt(np.einsum("ne,ne->n", part, part))
        wrong = np.abs(norms - 1) > NORM_TOLERANCE
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ShapeError(
                f"{what} must have unit rows; row {start + row} has length {norms[row]:.4g}. "
                "Pass x / np.linalg.norm(x, axis=1, keepdims=True)."
            )
    return rows


def require_ids(ids: object) -> Ints:
    """Return `ids` after checking that they are one row of int64.

    Raises:
        ShapeError: They are not.
    """
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or ids.dtype != np.int64:
        got = f"{ids.shape} {ids.dtype}" if isinstance(ids, np.ndarray) else type(ids).__name__
        raise ShapeError(f"ids must be one row of int64, (n,); got {got}. Pass np.asarray(ids, dtype=np.int64).")
    return ids


def some(values: NDArray[Any]) -> str:
    """Return the first values as text, for a message."""
    shown = ", ".join(str(value) for value in values[:5])
    return f"{shown}, …" if len(values) > 5 else shown
