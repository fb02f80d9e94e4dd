"""By what photos are known again, as arrays of a bank's file; a bank without them is one of an older version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.errors import DataError
from clipfast.retrieval.declared import Declared
from clipfast.retrieval.references import Marks

__all__ = ["marks_arrays", "marks_of"]

_SOURCES, _LOOKS, _DECLARED = "sources", "looks", "declared"


def marks_arrays(marks: Marks) -> dict[str, NDArray[Any]]:
    """Return what is written: checksums as (m, 32) uint8 and looks as (m,) uint64; nothing where nothing is known.

    What was declared to be no copy is one JSON text, where anything was.
    """
    if marks.empty:
        return {}
    digests = np.frombuffer(bytes.fromhex("".join(marks.sources)), np.uint8)
    arrays: dict[str, NDArray[Any]] = {_SOURCES: digests.reshape(-1, 32), _LOOKS: marks.looks}
    if any(marks.declared):
        said = [(row, each) for row, all_of in enumerate(marks.declared) for each in all_of]
        arrays[_DECLARED] = np.array(msgspec.json.encode(said).decode())
    return arrays


def marks_of(arrays: Mapping[str, NDArray[Any]], count: int) -> Marks | None:
    """Read what `marks_arrays` made; None where nothing was kept.

    Raises:
        DataError: The arrays are of another shape or type.
        msgspec.MsgspecError: What was declared cannot be read.
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
    return Marks(tuple(row.tobytes().hex() for row in sources), looks, _declared(arrays, count))


def _declared(arrays: Mapping[str, NDArray[Any]], count: int) -> tuple[tuple[Declared, ...], ...]:
    if _DECLARED not in arrays:
        return ()
    found: list[tuple[Declared, ...]] = [()] * count
    for row, each in msgspec.json.decode(str(arrays[_DECLARED]), type=list[tuple[int, Declared]]):
        if not 0 <= row < count:
            raise DataError(f"declared names row {row} of {count}")
        found[row] = (*found[row], each)
    return tuple(found)
