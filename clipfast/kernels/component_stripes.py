"""Labelling of a stack of masks, stripe by stripe: memory and threads around the kernels of `component_runs`."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.kernels import component_runs as runs
from clipfast.kernels.bits import pack_rows, words_per_row
from clipfast.kernels.stripes import share_out, threads_to_use
from clipfast.types import Ints

__all__ = ["Found", "label_tall"]

Found: TypeAlias = tuple[NDArray[np.int32], Ints, Ints, Ints, NDArray[np.float64] | None]
"""Labels (n, h, w), offsets (n + 1,), areas (count,), boxes (count, 4), and sums (count,) if scores were given."""

_STRIPE = 2**19  # pixels: what is known of its runs stays in the L2 cache, and two cores share 10 M pixels evenly
_SUMMED = (np.float32, np.float64, np.uint8)  # the types that `sum_scores` is compiled for; others become float64


def label_tall(masks: NDArray[Any], reach: int, scores: NDArray[Any] | None, threads: int | None) -> Found:
    """Label masks (n, h, w) of bool or integer type; `scores` has their shape."""
    count, height, width = masks.shape
    bounds = stripe_bounds(count, height, width)
    threads = threads_to_use(threads, len(bounds) - 1)
    if not masks.size:
        sums = None if scores is None else np.empty(0)
        areas, boxes = np.empty(0, np.int64), np.empty((0, 4), np.int64)
        return np.zeros(masks.shape, np.int32), np.zeros(count + 1, np.int64), areas, boxes, sums
    tall = _Tall(masks, reach, scores, bounds)
    with share_out(threads) as for_each:
        for_each(tall.pack, len(bounds) - 1)
        tall.give_labels()
        for_each(tall.scan, len(bounds) - 1)
        found = tall.number()
        for_each(tall.write, len(bounds) - 1)
    return found


def stripe_bounds(count: int, height: int, width: int) -> list[int]:
    """Cut the tall image: masks of up to a stripe's pixels stay whole, and larger ones are all cut alike.

    So the sums of a mask are added in one order, whether it came alone or in a stack.
    """
    rows = max(1, _STRIPE // max(1, width))
    if rows >= height:
        whole = max(1, height) * (rows // max(1, height))
        return [*range(0, count * height, whole), count * height]
    return [*(mask * height + row for mask in range(count) for row in range(0, height, rows)), count * height]


class _Tall:
    """The masks as one tall image, and what is known of it after each step."""

    def __init__(self, masks: NDArray[Any], reach: int, scores: NDArray[Any] | None, bounds: list[int]) -> None:
        self.shape, self.reach, self.bounds = masks.shape, reach, bounds
        count, self.height, self.width = masks.shape
        self.pixels = masks.reshape(count * self.height, self.width)
        self.scores = None if scores is None else scores.reshape(self.pixels.shape)
        stripes = len(bounds) - 1
        self.words = np.empty((len(self.pixels), words_per_row(self.width)), np.uint64)
        self.first_run = np.zeros(len(self.pixels) + 1, np.int64)  # of each row
        self.parents: list[NDArray[np.int32]] = [np.empty(0, np.int32)] * stripes
        self.stats: list[NDArray[np.int32]] = [np.empty((0, 5), np.int32)] * stripes
        self.sums: list[NDArray[np.float64]] = [np.empty(0)] * stripes

    def pack(self, stripe: int) -> None:
        """Turn pixels into bits and count the runs of each row."""
        first, last = self.bounds[stripe : stripe + 2]
        words = self.words[first:last]
        pack_rows(self.pixels[first:last], words)
        runs.count_runs(words, self.first_run[first + 1 : last + 1])

    def give_labels(self) -> None:
        """Make room for the label of every run."""
        np.cumsum(self.first_run, out=self.first_run)
        self.labels = np.empty(int(self.first_run[-1]), np.int32)

    def scan(self, stripe: int) -> None:
        """Label the runs of a stripe, from 0 on in each stripe."""
        first, last = self.bounds[stripe : stripe + 2]
        words, labels = self.words[first:last], self._labels_of(first, last)
        parent, stats = np.empty(len(labels), np.int32), np.empty((len(labels), 5), np.int32)
        made = runs.scan(words, (self.height, self.width, first), self.reach, labels, parent, stats)
        self.parents[stripe], self.stats[stripe] = parent[:made].copy(), stats[:made].copy()
        if self.scores is not None:
            dtype = self.scores.dtype.type if self.scores.dtype.type in _SUMMED else np.float64
            scores = np.require(self.scores[first:last], dtype, ["C", "W"])
            self.sums[stripe] = np.zeros(made)
            runs.sum_scores(words, scores, labels, self.sums[stripe])

    def number(self) -> Found:
        """Join the stripes and number the components; labels are yet to be written."""
        self.base = np.cumsum([0, *map(len, self.parents)])
        parent = np.concatenate([p + b for p, b in zip(self.parents, self.base[:-1].astype(np.int32), strict=True)])
        for stripe in range(1, len(self.parents)):
            row = self.bounds[stripe]
            if row % self.height:
                above = self._labels_of(row - 1, row) + np.int32(self.base[stripe - 1])
                here = self._labels_of(row, row + 1) + np.int32(self.base[stripe])
                runs.join_stripes(self.words[row - 1 : row + 1], self.width, self.reach, above, here, parent)
        count = runs.number_roots(parent)
        areas, boxes = np.empty(count, np.int64), np.empty((count, 4), np.int64)
        offsets = np.empty(self.shape[0] + 1, np.int64)
        sums = self._sums_of(parent, count)
        runs.collect(parent, np.concatenate(self.stats), self.height, areas, boxes, offsets)
        self.values = parent
        self.out = np.empty(self.shape, np.int32)
        return self.out, offsets, areas, boxes, sums

    def write(self, stripe: int) -> None:
        """Write the labels of a stripe."""
        first, last = self.bounds[stripe : stripe + 2]
        values = self.values[self.base[stripe] : self.base[stripe + 1]]
        out = self.out.reshape(self.pixels.shape)[first:last]
        runs.write(self.words[first:last], values, self._labels_of(first, last), out)

    def _labels_of(self, first: int, last: int) -> NDArray[np.int32]:
        return self.labels[self.first_run[first] : self.first_run[last]]

    def _sums_of(self, numbers: NDArray[np.int32], count: int) -> NDArray[np.float64] | None:
        if self.scores is None:
            return None
        # bincount adds in the order of labels: stripe by stripe, in raster order.
        sums: NDArray[np.float64] = np.bincount(numbers, np.concatenate(self.sums), count).astype(np.float64)
        if not np.isfinite(sums).all():
            raise ShapeError(
                "scores must be finite under the foreground, and so must their sums; got NaN or infinity. "
                "Mask such pixels out, or replace them: numpy.nan_to_num."
            )
        return sums
