"""Inner products of 8-bit rows with 16-bit queries, summed in 32 bits: the one loop that a screened scan lives on.

Numba multiplies small integers as 64-bit ones, eight a step. Here the loop is written in LLVM's own vector types, in
the shape that its back ends know: products of 16-bit pairs, added two by two. On x86 that is one instruction for 32
products (VNNI's `vpdpwssd`, or `vpmaddwd` and an addition); elsewhere it is whatever the machine has. Several rows and
queries are taken together, so that what is loaded is used more than once and several rows are waited for at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

__all__ = ["QUERIES", "STEP", "Codes", "QueryCodes", "four_rows", "two_rows_four_queries"]

Codes: TypeAlias = NDArray[np.int8]
QueryCodes: TypeAlias = NDArray[np.int16]

STEP = 32
"""Columns of one step: codes are padded with zeros to a multiple of it."""

QUERIES = 4
"""Queries that `two_rows_four_queries` takes together."""

cgutils: Any = untyped
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def four_rows(
    codes: Codes, rows: tuple[int, int, int, int], queries: QueryCodes, query: int
) -> tuple[int, int, int, int]:
    """Return the products of four rows of `codes`, (m, d), with one row of `queries`, (q, d), d a multiple of STEP."""
    a, b, c, d = (_product(codes[row], queries[query]) for row in rows)
    return a, b, c, d


def two_rows_four_queries(
    codes: Codes, rows: tuple[int, int], queries: QueryCodes, first: int
) -> tuple[int, int, int, int, int, int, int, int]:
    """Return the products of two rows with queries `first` to `first + 3`: four of the first row, then of the other."""
    a, b, c, d, e, f, g, h = (_product(codes[row], queries[first + i]) for row in rows for i in range(QUERIES))
    return a, b, c, d, e, f, g, h


def _product(row: Codes, query: QueryCodes) -> int:
    return int(row.astype(np.int64) @ query.astype(np.int64))


def _emitter(rows: int, queries: int) -> Callable[..., Any]:
    """Return what declares and emits the products of so many rows and queries."""

    def typed(_typing: Any, codes: Any, places: Any, asked: Any, first: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            starts = [
                _row(context, builder, signature.args[0], args[0], builder.extract_value(args[1], i))
                for i in range(rows)
            ]
            wanted = [
                _row(context, builder, signature.args[2], args[2], builder.add(args[3], ir.Constant(_I64, i)))
                for i in range(queries)
            ]
            columns = context.make_array(signature.args[0])(context, builder, args[0]).shape
            sums = _emit_loop(builder, starts, wanted, builder.extract_value(columns, 1))
            return context.make_tuple(builder, signature.return_type, sums)

        several: Any = types.UniTuple
        return several(types.int32, rows * queries)(codes, places, asked, first), emit

    return typed


def _row(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    """Return the address of a row's first number."""
    made = context.make_array(kind)(context, builder, array)
    columns = builder.extract_value(made.shape, 1)
    return builder.gep(made.data, [builder.mul(place, columns)])


def _emit_loop(builder: Any, rows: list[Any], queries: list[Any], columns: Any) -> list[Any]:
    lanes = ir.VectorType(_I32, STEP // 2)
    zero = ir.Constant(lanes, [0] * (STEP // 2))
    sums = [cgutils.alloca_once_value(builder, zero) for _ in range(len(rows) * len(queries))]
    step = ir.Constant(_I64, STEP)
    with cgutils.for_range_slice(builder, ir.Constant(_I64, 0), columns, step, _I64, inc=True) as (at, _):
        left = [_wide(builder, row, at, _I8) for row in rows]
        right = [_wide(builder, query, at, _I16) for query in queries]
        for i, row in enumerate(left):
            for j, query in enumerate(right):
                total = sums[i * len(right) + j]
                builder.store(builder.add(builder.load(total), _pairs(builder, row, query)), total)
    return [_across(builder, builder.load(total)) for total in sums]


def _wide(builder: Any, start: Any, at: Any, kind: Any) -> Any:
    """Load STEP numbers as 32-bit ones; the back end sees that they are narrow."""
    place = builder.bitcast(builder.gep(start, [at]), ir.VectorType(kind, STEP).as_pointer())
    return builder.sext(builder.load(place, align=kind.width // 8), ir.VectorType(_I32, STEP))


def _pairs(builder: Any, row: Any, query: Any) -> Any:
    """Multiply, and add neighbours."""
    products = builder.mul(row, query)
    even, odd = (
        builder.shuffle_vector(products, products, ir.Constant(ir.VectorType(_I32, STEP // 2), list(range(i, STEP, 2))))
        for i in (0, 1)
    )
    return builder.add(even, odd)


def _across(builder: Any, total: Any) -> Any:
    """Add the lanes of one vector: halves, until one is left."""
    lanes = STEP // 2
    while lanes > 1:
        lanes //= 2
        low, high = (
            builder.shuffle_vector(
                total, total, ir.Constant(ir.VectorType(_I32, lanes), list(range(first, first + lanes)))
            )
            for first in (0, lanes)
        )
        total = builder.add(low, high)
    return builder.extract_element(total, ir.Constant(_I32, 0))


_four_rows: Any = intrinsic(_emitter(4, 1))
_two_rows_four_queries: Any = intrinsic(_emitter(2, QUERIES))


@overload(four_rows)
def _four_rows_compiled(_codes: Any, _rows: Any, _queries: Any, _query: Any) -> Callable[..., Any]:
    def run(_codes: Any, _rows: Any, _queries: Any, _query: Any) -> Any:
        return _four_rows(_codes, _rows, _queries, _query)

    return run


@overload(two_rows_four_queries)
def _two_rows_four_queries_compiled(_codes: Any, _rows: Any, _queries: Any, _first: Any) -> Callable[..., Any]:
    def run(_codes: Any, _rows: Any, _queries: Any, _first: Any) -> Any:
        return _two_rows_four_queries(_codes, _rows, _queries, _first)

    return run
