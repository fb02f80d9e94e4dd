"""Masks as 64-bit words: 64 pixels a step, with the two instructions that Numba does not offer by name.

NumPy's `packbits` turns a mask of any memory layout and integer type into bits at memory speed; bit `i` of word `j` is
column `64 * j + i`, and the bits beyond the last column are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

__all__ = ["Words", "count_bits", "find_edges", "lowest_bit", "pack_rows", "words_per_row"]

Words: TypeAlias = NDArray[np.uint64]

_ONE = np.uint64(1)
_LAST = np.uint64(63)


def words_per_row(width: int) -> int:
    """Return how many words hold `width` pixels."""
    return -(-width // 64)


def pack_rows(mask: NDArray[Any], words: Words) -> None:
    """Set a bit for every pixel of `mask`, (rows, w), that is not zero; `words` is (rows, words_per_row(w))."""
    packed = np.packbits(mask, axis=-1, bitorder="little")
    octets = words.view(np.uint8)
    octets[:, : packed.shape[1]] = packed
    octets[:, packed.shape[1] :] = 0


def lowest_bit(word: np.uint64) -> int:
    """Return the place of the lowest bit set; `word` is not 0. One instruction in a kernel."""
    return (int(word) & -int(word)).bit_length() - 1


def count_bits(word: np.uint64) -> int:
    """Return how many bits are set. One instruction in a kernel."""
    return int(word).bit_count()


def _emit_cttz(_typing: Any, _word: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), emit


def _emit_ctpop(_typing: Any, _word: Any) -> Any:
    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), emit


# Called in a kernel, an intrinsic takes no typing context: its declared signature is not the one callers see.
_cttz: Any = intrinsic(_emit_cttz)
_ctpop: Any = intrinsic(_emit_ctpop)


@overload(lowest_bit)
def _lowest_bit_compiled(_word: Any) -> Callable[[Any], Any]:
    def run(_word: Any) -> Any:
        return _cttz(_word)

    return run


@overload(count_bits)
def _count_bits_compiled(_word: Any) -> Callable[[Any], Any]:
    def run(_word: Any) -> Any:
        return _ctpop(_word)

    return run


@njit(cache=True, nogil=True)
def find_edges(words: Words, width: int, edges: NDArray[np.int32]) -> int:
    """Write where each run of a row begins and ends, half-open: start, end, start, end, ...; return the count of runs.

    Args:
        words: The row's bits, (words_per_row(width),).
        width: Columns of the row.
        edges: Receives the edges and then, as a sentinel, two that lie beyond every column; (width + 3,) is enough.
    """
    found = 0
    carry = np.uint64(0)
    for j in range(len(words)):
        word = words[j]
        turns = word ^ ((word << _ONE) | carry)  # a bit wherever a pixel differs from the one before it
        carry = word >> _LAST
        while turns:
            edges[found] = 64 * j + lowest_bit(turns)
            found += 1
            turns &= turns - _ONE
    if carry:  # only when the last word is full: otherwise a 0 beyond the row ended the run
        edges[found] = width
        found += 1
    edges[found : found + 2] = 2**31 - 1
    return found >> 1
