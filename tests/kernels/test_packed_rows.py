"""Tests of clipfast.kernels.packed_rows and the compiled parts below it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.kernels import packed_rows
from clipfast.kernels.bf16_tiles import available, pack
from clipfast.kernels.packed_rows import GIVEN_UP, PackedRows
from clipfast.types import Floats
from reference.naive_anomaly import nearest as naive_nearest

needs_bf16 = pytest.mark.skipif(not available(), reason="this CPU, or Numba without its compiler, has no bfloat16")


def drawn(count: int, channels: int, seed: int) -> Floats:
    """Seeded rows around a common mean."""
    return np.random.default_rng(seed).normal(1, 1, (count, channels)).astype(np.float32)


def in_double(queries: Floats, rows: Floats, barred: NDArray[np.bool_] | None = None) -> list[int]:
    """The naive twin."""
    return naive_nearest(queries, rows, [True] * len(rows) if barred is None else (~barred).tolist())[0]


@needs_bf16
@pytest.mark.parametrize("queries", [1, 6, 7, 8, 14, 15, 22, 29])
@pytest.mark.parametrize(("rows", "channels"), [(1, 1), (31, 7), (33, 24), (300, 33)])
@pytest.mark.parametrize("barring", [False, True])
def test_the_nearest_is_that_of_the_definition(queries: int, rows: int, channels: int, barring: bool) -> None:
    """Sizes on both sides of a panel, a tile and half a tile; an odd number of columns; rows barred."""
    bank, asked = drawn(rows, channels, 1), drawn(queries, channels, 2)
    barred = np.arange(rows) % 3 == 1 if barring else None
    found = PackedRows(bank, threads=1).nearest(asked, barred)

    assert found.places.tolist() == in_double(asked, bank, barred)
    assert (found.looked_at >= 1).all()


@needs_bf16
@pytest.mark.parametrize("step", [1e-3, 1e-5, 0.0])
def test_rows_that_bfloat16_cannot_tell_apart_are_told_apart(step: float) -> None:
    """Rows that differ by less than a rounding; of copies it says that it cannot."""
    row = drawn(1, 40, 3)
    bank = row + np.float32(step) * drawn(3000, 40, 4) - np.float32(step)
    asked = row + np.float32(step) * drawn(10, 40, 5)
    found = PackedRows(bank, threads=2).nearest(asked)

    if step == 0:
        assert found.places.tolist() == [GIVEN_UP] * 10
        assert found.looked_at.tolist() == [0] * 10
    else:
        assert found.places.tolist() == in_double(asked, bank)


@needs_bf16
@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-20, 1e10, 1e15, 1e19, 1e22, 1e30, 1e37])
def test_the_size_of_the_numbers_does_not_matter(scale: float) -> None:
    """Numbers that bfloat16 takes for 0, and products beyond float32: given up, not wrong, without a warning."""
    bank, asked = drawn(200, 16, 6) * np.float32(scale), drawn(9, 16, 7) * np.float32(scale)
    mixed = np.concatenate([bank, drawn(200, 16, 8)])

    for rows, queries in ((bank, asked), (mixed, asked), (mixed, drawn(9, 16, 9))):
        places = PackedRows(rows, threads=1).nearest(queries).places
        known = places != GIVEN_UP
        assert known.all() or not 1e-30 <= scale <= 1e10
        apart = np.linalg.norm(queries.astype(np.float64)[:, None] - rows.astype(np.float64), axis=2)
        # Beside numbers of another size small ones are lost even in double precision.
        np.testing.assert_allclose(apart[known, places[known]], apart.min(axis=1)[known], rtol=1e-14)


@needs_bf16
def test_few_rows_are_looked_at_exactly() -> None:
    """The bound is tight enough to be of use: of 4,000 rows around a mean, three a query at most."""
    found = PackedRows(drawn(4000, 256, 10), threads=1).nearest(drawn(50, 256, 11))

    assert found.looked_at.mean() <= 3


@needs_bf16
def test_neither_threads_nor_parts_change_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread or three, all queries together or 14 at a time."""
    bank, asked = drawn(5000, 20, 12), drawn(100, 20, 13)
    alone = PackedRows(bank, threads=1).nearest(asked)
    together = PackedRows(bank, threads=3).nearest(asked)
    monkeypatch.setattr(packed_rows, "_QUERIES_PER_SCAN", 14)
    parts = PackedRows(bank, threads=1).nearest(asked)

    assert alone.places.tolist() == together.places.tolist() == parts.places.tolist() == in_double(asked, bank)


def test_packing_rounds_to_the_nearest_even() -> None:
    """Every kind of rounding, and where each number lies; checked against rounding of the bits as they are defined."""
    numbers = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-7, 3e-39, 0.1], np.float32)
    wanted = np.array([1, 1, 1 + 2**-6, 1 + 2**-7, -1 - 2**-7, 0, 0.10009765625], np.float32)
    words, facts = np.zeros((1, 4, 2), np.int32), np.empty((2, 3))
    pack(np.stack([numbers, -numbers]), np.zeros(7, np.float32), words, facts)
    halves = np.stack([words << 16, words & -65536], axis=2).view(np.float32)  # (panel, step, half, lane)
    kept = halves.reshape(8, 2).T

    assert kept[:, :7].tolist() == [wanted.tolist(), (-wanted).tolist()]
    assert kept[:, 7].tolist() == [0, 0]
    apart = numbers.astype(np.float64) - wanted
    np.testing.assert_allclose(facts[0], [np.linalg.norm(apart), np.linalg.norm(wanted), np.linalg.norm(numbers)], 1e-7)
