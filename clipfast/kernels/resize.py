"""Pillow's antialiased bicubic resize of 8-bit RGB, bit for bit, for the rows and columns of a crop window only.

Equal pixels follow from equal rules (Pillow, src/libImaging/Resample.c): weights in double precision, divided by their
sum and rounded to 22 fractional bits; one pass along each axis, whose int32 sums are rounded to 8 bits.

One loop serves both passes: it weighs and adds whole rows, which LLVM vectorises. The horizontal pass turns a few rows
at a time on their side, so that there, too, neighbours in memory share a weight.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels.stripes import share_out, threads_to_use
from clipfast.types import Ints, Pixels

__all__ = ["resize_bicubic"]

# For every output: the first input that counts, how many count, and their weights, (n, most) int32.
_Taps: TypeAlias = tuple[Ints, Ints, NDArray[np.int32]]

_BITS = 22  # 8 bits of an int32 are the value; 2 are for sums that negative weights take below 0 or above 255
_TURNED = 32  # rows turned at a time: 96 bytes side by side fill the vectors, and a photo's tile stays in the L2 cache


def resize_bicubic(
    pixels: Pixels,
    size_hw: tuple[int, int],
    *,
    crop: tuple[int, int, int, int] | None = None,
    vertical_first: bool = False,
    threads: int = 1,
) -> Pixels:
    """Scale an RGB image as Pillow's `resize` does with `BICUBIC`, and return a window of the result.

    Args:
        pixels: RGB, (h, w, 3) uint8, of any memory layout.
        size_hw: The size that the whole image is scaled to.
        crop: The window to compute, (top, left, height, width) in the scaled image; None is all of it.
        vertical_first: Whether rows are weighed before columns. Each pass rounds, so the order shows in the last bit.
            Pillow begins with the horizontal pass, unless its release has an exception for tall images.
        threads: Share the horizontal pass, which is most of the work; the pixels do not depend on it.

    Returns:
        RGB, (height, width, 3) uint8, a new array.

    Raises:
        ShapeError: If `pixels` is not RGB, a size or `threads` is not positive, or the window leaves the scaled image.

    >>> resize_bicubic(np.full((480, 640, 3), 7, np.uint8), (224, 298), crop=(0, 37, 224, 224)).shape
    (224, 224, 3)
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ShapeError(
            f"pixels must be uint8 (h, w, 3) RGB, not empty; got {pixels.dtype} {pixels.shape}. "
            "Convert the image to RGB first."
        )
    if min(size_hw) < 1:
        raise ShapeError(f"size_hw must be at least (1, 1); got {size_hw}. Scale to one pixel or more.")
    top, left, height, width = crop if crop is not None else (0, 0, *size_hw)
    if min(top, left) < 0 or min(height, width) < 1 or top + height > size_hw[0] or left + width > size_hw[1]:
        raise ShapeError(
            f"crop must be (top, left, height, width) inside of size_hw {size_hw}; got {crop}. "
            "Move or shrink the window."
        )
    rows, down = _used(_taps(pixels.shape[0], size_hw[0], top, height))
    columns, across = _used(_taps(pixels.shape[1], size_hw[1], left, width))
    if vertical_first:
        source = np.ascontiguousarray(pixels[rows, columns]).reshape(rows.stop - rows.start, -1)
        resized = _horizontal(_resize_rows(_frozen(source), *down), 0, across, threads)
    else:  # a copy of the columns that count would take as long as turning them
        source = np.ascontiguousarray(pixels[rows]).reshape(rows.stop - rows.start, -1)
        resized = _resize_rows(_frozen(_horizontal(source, columns.start, across, threads)), *down)
    return resized.reshape(height, width, 3)


def _horizontal(source: Pixels, left: int, taps: _Taps, threads: int) -> Pixels:
    """Return the horizontal pass over rows of RGB bytes, whose taps count from pixel `left`: (h, 3 * outputs)."""
    height, source = len(source), _frozen(source)
    out = np.empty((height, 3 * len(taps[0])), dtype=np.uint8)
    workers = threads_to_use(threads, height // (2 * _TURNED))
    step = -(-height // (workers * _TURNED)) * _TURNED  # whole tiles for all but the last

    def stripe(number: int) -> None:
        part = slice(number * step, (number + 1) * step)
        _resize_columns(source[part], left, *taps, out[part])

    with share_out(workers) as for_each:
        for_each(stripe, -(-height // step))
    return out


def _used(taps: _Taps) -> tuple[slice, _Taps]:
    """Return the range of inputs that count at all, and the taps counted from its start."""
    firsts, counts, weights = taps
    start, stop = int(firsts[0]), int(firsts[-1] + counts[-1])
    return slice(start, stop), (firsts - start, counts, weights)


def _frozen(source: Pixels) -> Pixels:
    """Return a read-only view: Numba compiles for writable arrays separately, and Pillow's are read-only."""
    view = source.view()
    view.flags.writeable = False
    return view


@njit(cache=True, nogil=True)
def _cubic(x: float) -> float:
    """Return the bicubic kernel with a = -0.5; every operation in Pillow's order, because each one rounds."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    if x < 2.0:
        return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return 0.0


@njit(cache=True, nogil=True)
def _taps(old: int, new: int, start: int, count: int) -> _Taps:
    """Return what outputs `start` to `start + count` read when `old` inputs are scaled to `new` outputs."""
    scale = np.float64(np.float32(old)) / new  # Pillow hands the side over as a C float
    stretch = max(scale, 1.0)
    support = 2.0 * stretch
    inverse = 1.0 / stretch
    firsts = np.empty(count, dtype=np.int64)
    counts = np.ones(count, dtype=np.int64)
    weights = np.zeros((count, 2 * math.ceil(support) + 1), dtype=np.int32)
    exact = np.empty(weights.shape[1], dtype=np.float64)
    for i in range(count):
        if old == new:  # Pillow skips the pass; a single weight of one has the same effect
            firsts[i] = start + i
            weights[i, 0] = 1 << _BITS
            continue
        centre = (start + i + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        firsts[i] = first
        counts[i] = min(int(centre + support + 0.5), old) - first
        total = 0.0
        for j in range(counts[i]):
            exact[j] = _cubic((j + first - centre + 0.5) * inverse)
            total += exact[j]
        for j in range(counts[i]):
            weight = exact[j] / total
            weights[i, j] = int(weight * (1 << _BITS) + (0.5 if weight >= 0.0 else -0.5))
    return firsts, counts, weights


@njit(cache=True, nogil=True)
def _weigh_rows(
    source: Pixels, firsts: Ints, counts: Ints, weights: NDArray[np.int32], sums: NDArray[np.int32], out: Pixels
) -> None:
    """Write weighted sums of rows of `source` to the rows of `out`; `sums` is scratch of one row."""
    for i in range(len(firsts)):
        first, count, weight, row = firsts[i], counts[i], weights[i], out[i]
        sums[:] = 1 << (_BITS - 1)
        j = 0
        while j + 4 <= count:  # four rows for one load and store of the sums
            w0, w1, w2, w3 = weight[j], weight[j + 1], weight[j + 2], weight[j + 3]
            row0, row1 = source[first + j], source[first + j + 1]
            row2, row3 = source[first + j + 2], source[first + j + 3]
            for x in range(len(sums)):
                sums[x] += row0[x] * w0 + row1[x] * w1 + row2[x] * w2 + row3[x] * w3
            j += 4
        while j < count:
            w0, row0 = weight[j], source[first + j]
            for x in range(len(sums)):
                sums[x] += row0[x] * w0
            j += 1
        for x in range(len(sums)):
            row[x] = min(max(sums[x] >> _BITS, 0), 255)


@njit(cache=True, nogil=True)
def _resize_rows(source: Pixels, firsts: Ints, counts: Ints, weights: NDArray[np.int32]) -> Pixels:
    """Return the vertical pass over rows of RGB bytes, (len(firsts), 3 * w) uint8."""
    out = np.empty((len(firsts), source.shape[1]), dtype=np.uint8)
    sums = np.empty(source.shape[1], dtype=np.int32)
    _weigh_rows(source, firsts, counts, weights, sums, out)
    return out


@njit(cache=True, nogil=True)
def _resize_columns(
    source: Pixels, left: int, firsts: Ints, counts: Ints, weights: NDArray[np.int32], out: Pixels
) -> None:
    """Write the horizontal pass over rows of RGB bytes to `out`, (h, 3 * len(firsts)); taps count from pixel `left`."""
    height, new_w = source.shape[0], len(firsts)
    width = firsts[-1] + counts[-1]
    side = min(_TURNED, height)
    turned = np.zeros((width, 3 * side), dtype=np.uint8)
    turned_out = np.empty((new_w, 3 * side), dtype=np.uint8)
    sums = np.empty(3 * side, dtype=np.int32)
    for top in range(0, height, side):
        rows = min(side, height - top)  # the last tile keeps rows of the one before it below its own
        for y in range(rows):
            row = source[top + y, 3 * left : 3 * (left + width)]
            for x in range(width):
                red, green, blue = row[3 * x], row[3 * x + 1], row[3 * x + 2]
                turned[x, 3 * y], turned[x, 3 * y + 1], turned[x, 3 * y + 2] = red, green, blue
        _weigh_rows(turned, firsts, counts, weights, sums, turned_out)
        for y in range(rows):
            row_out = out[top + y]
            for x in range(new_w):
                red, green, blue = turned_out[x, 3 * y], turned_out[x, 3 * y + 1], turned_out[x, 3 * y + 2]
                row_out[3 * x], row_out[3 * x + 1], row_out[3 * x + 2] = red, green, blue
