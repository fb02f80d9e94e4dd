"""Products of bfloat16 rows and queries, summed in single precision: the tile that a packed nearest search lives on.

Numba knows no bfloat16. Here the loop is written in LLVM's own vector types, around the one instruction (x86 AVX-512
BF16, `vdpbf16ps`) that multiplies 32 pairs of numbers and adds them two by two. A tile is 32 rows by 14 queries: its 28
sums stay in registers while the columns pass by. For that, rows are packed in panels of 32 and queries in tiles of 14,
two columns to a word (`pack`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils as untyped
from numba.core import config as untyped_config
from numba.core.registry import cpu_target as untyped_target
from numba.extending import intrinsic
from numpy.typing import NDArray

from clipfast.types import Floats

__all__ = ["HALF", "QUERIES", "ROWS", "Words", "available", "half_tile", "pack", "tile"]

ROWS, QUERIES, HALF = 32, 14, 7
Words: TypeAlias = NDArray[np.int32]

cgutils: Any = untyped
_target: Any = untyped_target
_config: Any = untyped_config
_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
_LANES = 16
_VECTOR = ir.VectorType(_F32, _LANES)


class _BFloat(ir.Type):  # type: ignore[misc]  # llvmlite has no types
    """LLVM's bfloat, which llvmlite does not know."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_PAIRS = ir.VectorType(_BFloat(), 2 * _LANES)


def available() -> bool:
    """Whether Numba compiles for a CPU that multiplies bfloat16; elsewhere nothing here may be called."""
    if _config.DISABLE_JIT:
        return False
    _, _, features = _target.target_context.codegen().magic_tuple()  # what Numba compiles for, not what the host is
    return "+avx512bf16" in features.split(",")


@njit(cache=True, nogil=True)
def pack(rows: Floats, centre: Floats, words: Words, facts: NDArray[np.float64]) -> None:
    """Fill words, (panels, steps, width), zeros up to now, with rows (n, d) less a centre, (d,), rounded to bfloat16.

    And facts, (n, 3): length of what rounding left out, length of what is kept, length of the row.
    """
    count, columns = rows.shape
    width = words.shape[2]
    for i in range(count):
        panel, lane = i // width, i % width
        rest = 0.0
        kept = 0.0
        whole = 0.0
        for j in range(columns):
            value = np.float64(rows[i, j]) - np.float64(centre[j])
            bits = np.int64(np.float32(value).view(np.uint32))
            high = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # the nearest, of two the even one
            high *= (high & 0x7F80) != 0  # so small that the instruction takes it for 0
            rounded = np.float64(np.uint32(high << 16).view(np.float32))
            rest += (value - rounded) ** 2
            kept += rounded * rounded
            whole += value * value
            words[panel, j >> 1, lane] |= np.uint32(high << 16 * (j & 1)).view(np.int32)
        facts[i, 0] = np.sqrt(rest)
        facts[i, 1] = np.sqrt(kept)
        facts[i, 2] = np.sqrt(whole)


def _emitter(queries: int) -> Callable[..., Any]:
    """Return what declares and emits the products of one panel with the first so many queries of a tile."""

    def typed(_typing: Any, panel: Any, asked: Any, offsets: Any, floors: Any, values: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            arrays = [
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(signature.args, args, strict=True)
            ]
            steps = builder.extract_value(arrays[0].shape, 0)
            starts = [array.data for array in arrays]
            return _emit_tile(builder, starts, steps, queries)

        return types.boolean(panel, asked, offsets, floors, values), emit

    return typed


def _emit_tile(builder: Any, starts: list[Any], steps: Any, queries: int) -> Any:
    panel, asked, offsets, floors, values = starts
    first = [_load(builder, offsets, ir.Constant(_I64, half * _LANES), _VECTOR) for half in range(2)]
    sums = [cgutils.alloca_once_value(builder, first[half]) for _ in range(queries) for half in range(2)]
    multiply = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_VECTOR, [_VECTOR, _PAIRS, _PAIRS]), "llvm.x86.avx512bf16.dpbf16ps.512"
    )
    zero, one = ir.Constant(_I64, 0), ir.Constant(_I64, 1)
    words = ir.VectorType(_I32, _LANES)
    with cgutils.for_range_slice(builder, zero, steps, one, _I64, inc=True) as (at, _):
        row = builder.mul(at, ir.Constant(_I64, ROWS))
        halves = [
            builder.bitcast(_load(builder, panel, builder.add(row, ir.Constant(_I64, half * _LANES)), words), _PAIRS)
            for half in range(2)
        ]
        begin = builder.mul(at, ir.Constant(_I64, QUERIES))
        for query in range(queries):
            word = builder.load(builder.gep(asked, [builder.add(begin, ir.Constant(_I64, query))]))
            everywhere = builder.bitcast(_spread(builder, word, words), _PAIRS)
            for half in range(2):
                total = sums[2 * query + half]
                builder.store(builder.call(multiply, [builder.load(total), halves[half], everywhere]), total)
    above = ir.Constant(ir.VectorType(ir.IntType(1), _LANES), [0] * _LANES)
    for query in range(queries):
        floor = _spread(builder, builder.load(builder.gep(floors, [ir.Constant(_I64, query)])), _VECTOR)
        for half in range(2):
            # Unordered: what is not a number must be looked at.
            above = builder.or_(above, builder.fcmp_unordered(">=", builder.load(sums[2 * query + half]), floor))
    found = builder.icmp_unsigned("!=", builder.bitcast(above, ir.IntType(_LANES)), ir.Constant(ir.IntType(_LANES), 0))
    with builder.if_then(found):
        for query in range(queries):
            for half in range(2):
                place = builder.gep(values, [ir.Constant(_I64, query * ROWS + half * _LANES)])
                builder.store(
                    builder.load(sums[2 * query + half]), builder.bitcast(place, _VECTOR.as_pointer()), align=4
                )
    return found


def _load(builder: Any, start: Any, at: Any, kind: Any) -> Any:
    return builder.load(builder.bitcast(builder.gep(start, [at]), kind.as_pointer()), align=4)


def _spread(builder: Any, number: Any, kind: Any) -> Any:
    """One number in every lane."""
    undefined = ir.Constant(kind, ir.Undefined)
    single = builder.insert_element(undefined, number, ir.Constant(_I32, 0))
    return builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(_I32, _LANES), [0] * _LANES))


tile: Any = intrinsic(_emitter(QUERIES))
half_tile: Any = intrinsic(_emitter(HALF))
