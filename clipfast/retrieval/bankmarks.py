"""By what photos are known again, as arrays of a bank's file; a bank without them is one of an older version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import DataError
from clipfast.retrieval.references import Marks

__all__ = ["marks_arrays", "marks_of"]

_SOURCES, _LOOKS = "sources", "looks"


def marks_arrays(marks: Marks) -> dict[str, NDArray[Any]]:
    """Return what is written: checksums as (m, 32) uint8 and looks as (m,) uint64; nothing where nothing is known."""
    if marks.empty:
        return {}
    digests = np.frombuffer(bytes.fromhex("".join(marks.sources)), np.uint8)
    return {_SOURCES: digests.reshape(-1, 32), _LOOKS: marks.looks}


def marks_of(arrays: Mapping[str, NDArray[Any]], count: int) -> Marks | None:
    """Read what `marks_arrays` made; None where nothing was kept.

    Raises:
        DataError: The arrays are of another shape or type.
    """
    if _SOURCES not in arrays and _LOOKS not in arrays:
        return None
    sources, looks = arrays.get(_SOURCES), arrays.get(_LOOKS)
    if (
        sources is None
        or looks is None
        or sources.shape != (count, 32)
        or sources.dtype != np.uint8
        or looks.shape != (count,)
        or looks.dtype != np.uint64
    ):
        raise DataError(f"sources must be uint8 ({count}, 32) and looks uint64 ({count},)")
    return Marks(tuple(row.tobytes().hex() for row in sources), looks)
