"""A small learned box refiner: ridge regression from what a map looks like around a box to how the box should move.

The owner's document asks for it ("a small network that predicts offsets", remedy B.3); bounding-box regression of this
kind is R-CNN's (Girshick et al., 2014, appendix C), there on image features, here on the heat map. The map is sampled
on a grid over the box and its surroundings and scaled to mean 0 and spread 1, so that only its shape counts. Each
example is learned in all eight orientations of the square: a refiner that fits one side of a box then fits all four.
The solution is closed-form; the strength of the ridge is chosen by cross-validation over images.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.arguments import Span, require_number, require_numbers, require_type, require_whole
from clipfast.artifact import require_fingerprint
from clipfast.errors import ArtifactError, DataError, FingerprintError, ShapeError
from clipfast.storage import load_sealed_npz, save_sealed_npz
from clipfast.surgery.box_profiles import moved, moves, oriented, profiles
from clipfast.surgery.box_scores import Doubles, require_map
from clipfast.surgery.boxes import Boxes

__all__ = ["BoxRefiner", "RefinerLessons", "RefinerOptions", "RefinerSample"]

FORMAT_VERSION = 1
_FEWEST_PAIRS = 50
_FEWEST_SAMPLES = 20


@dataclass(frozen=True, slots=True, eq=False)
class RefinerSample:
    """One map of the training split, what was found on it and what is there.

    Attributes:
        heatmap: Of one image and text, (h, w).
        found: Boxes of the map, from the source whose boxes will be refined, xyxy, (m, 4).
        truths: Boxes of what the text names, (k, 4).
    """

    heatmap: ArrayLike
    found: ArrayLike
    truths: ArrayLike


class RefinerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is learned from.

    Attributes:
        cells: Samples along each side, 2 to 32.
        reach: Side of what is looked at, in sides of the box, 1 to 5.
        least_iou: A box teaches how to become the truth that it overlaps by at least this much, above 0.
        ridges: Strengths of the ridge to choose among, in parts of the examples' number, above 0.
        folds: Parts of the cross-validation, at least 2.

    Raises:
        ShapeError: If a number is out of range.
    """

    cells: int = 12
    reach: float = 2.0
    least_iou: float = 0.3
    ridges: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0)
    folds: int = 5

    def __post_init__(self) -> None:
        require_whole("cells", self.cells, 2, 32)
        require_number("reach", self.reach, Span(1, 5))
        require_number("least_iou", self.least_iou, Span(0, 1, above=True))
        if not require_numbers("ridges", self.ridges, Span(0, above=True)):
            raise ShapeError("ridges must name one strength or more; got none.")
        require_whole("folds", self.folds, 2)


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int
    fingerprint: str
    path: str
    options: RefinerOptions
    ridge: float
    pairs: int
    iou_before: float
    iou_after: float


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Boxes with the truths they should become; `samples` says which map each is of."""

    profiles: Doubles
    boxes: Doubles
    truths: Doubles
    samples: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class BoxRefiner:
    """Moves boxes to where, by what it has seen, their objects end.

    Attributes:
        weights: From a profile to the four moves, (cells * cells, 4) float64.
        bias: The moves where nothing is known, (4,) float64.
        limits: Smallest and largest moves that were seen, (2, 4) float64; no box is moved further.
        options: What was learned from.
        fingerprint: Identity of the model that made the maps.
        path: Kind of the maps, such as "vv_vv".
        ridge: The strength that was chosen.
        pairs: How many boxes it has learned from.
        iou_before: Mean overlap of these with their truths.
        iou_after: The same after refining each by a fit that has not seen its map (cross-validation): what to expect.
    """

    weights: Doubles
    bias: Doubles
    limits: Doubles
    options: RefinerOptions
    fingerprint: str
    path: str
    ridge: float
    pairs: int
    iou_before: float
    iou_after: float

    @classmethod
    def fit(
        cls, samples: Iterable[RefinerSample], *, fingerprint: str, path: str, options: RefinerOptions | None = None
    ) -> BoxRefiner:
        """Learn from the training split; never from images that will be measured.

        Args:
            samples: One for each image and text, in any number; read once.
            fingerprint: Of the model, `clip.fingerprint("vv")`.
            path: Which maps: a refiner of one path does not know another.
            options: What is learned from.

        Raises:
            DataError: If fewer than 50 boxes, or boxes of fewer than 20 maps, overlap a truth.
            ShapeError: If a map or boxes have wrong shapes.
        """
        require_type("fingerprint", fingerprint, str, 'clip.fingerprint("vv")')
        lessons = RefinerLessons(RefinerOptions() if options is None else options)
        for sample in samples:
            lessons.add(sample)
        return lessons.fit(fingerprint=fingerprint, path=path)

    @classmethod
    def _of(cls, pairs: _Pairs, chosen: RefinerOptions, fingerprint: str, path: str) -> BoxRefiner:
        maps = len(np.unique(pairs.samples))
        if len(pairs.boxes) < _FEWEST_PAIRS or maps < max(_FEWEST_SAMPLES, chosen.folds):
            raise DataError(
                f"A refiner needs {_FEWEST_PAIRS} boxes that overlap a truth, on {max(_FEWEST_SAMPLES, chosen.folds)} "
                f"maps; got {len(pairs.boxes)} on {maps}. Label more images, or lower least_iou."
            )
        before = float(_paired_iou(pairs.boxes, pairs.truths).mean())
        after = [_cross_validated(pairs, ridge, chosen.folds) for ridge in chosen.ridges]
        best = int(np.argmax(after))
        weights, bias, limits = _solve(pairs, chosen.ridges[best])
        return cls(
            weights, bias, limits, chosen, fingerprint, path, chosen.ridges[best], len(pairs.boxes), before, after[best]
        )

    def refine(self, heatmap: ArrayLike, found: Boxes) -> Boxes:
        """Move the boxes of one map; scores and their order stay.

        Args:
            heatmap: (h, w), of the model and path that it was fitted for; any size.
            found: Its boxes, from the source that it was fitted for.

        Returns:
            Boxes inside the map, at least a pixel wide and high. A constant map moves nothing.

        Raises:
            ShapeError: If the map is not (h, w) real and finite numbers.
        """
        values = require_map(heatmap)
        require_type("found", found, Boxes, "boxes(heatmap)")
        if not len(found) or values.min() == values.max():
            return found
        seen = profiles(values, found.xyxy, self.options.cells, self.options.reach)
        height, width = values.shape
        corners = moved(found.xyxy, _predict(seen, self.weights, self.bias, self.limits))
        low = np.clip(corners[:, :2], 0, np.array([width, height]) - 1.0)
        high = np.clip(corners[:, 2:], low + 1, [width, height])
        return Boxes(np.concatenate([low, high], axis=1), found.scores)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a sealed .npz of plain arrays, atomically."""
        meta = _Meta(
            format=FORMAT_VERSION,
            fingerprint=self.fingerprint,
            path=self.path,
            options=self.options,
            ridge=self.ridge,
            pairs=self.pairs,
            iou_before=self.iou_before,
            iou_after=self.iou_after,
        )
        text = np.array(msgspec.json.encode(meta).decode())
        arrays = {"weights": self.weights, "bias": self.bias, "limits": self.limits, "meta": text}
        save_sealed_npz(Path(path), arrays)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, fingerprint: str | None = None, map_path: str | None = None
    ) -> BoxRefiner:
        """Read what `save` wrote.

        Args:
            path: The file.
            fingerprint: Of the model whose maps will be refined; None does not ask.
            map_path: Kind of these maps; None does not ask.

        Raises:
            ArtifactError: The file is missing, damaged, or no refiner of this version.
            FingerprintError: It was fitted for another model, or another path.
        """
        arrays = load_sealed_npz(Path(path), kind="refiner")
        try:
            meta = msgspec.json.decode(str(arrays["meta"]), type=_Meta)
            parts = [_doubles(arrays[name], name) for name in ("weights", "bias", "limits")]
        except (KeyError, msgspec.MsgspecError, ShapeError) as error:
            raise ArtifactError(f"{path} is not a readable refiner ({error}). Fit it again.") from error
        wanted = [(meta.options.cells**2, 4), (4,), (2, 4)]
        if meta.format != FORMAT_VERSION or [part.shape for part in parts] != wanted:
            raise ArtifactError(
                f"{path} must be a refiner of format {FORMAT_VERSION} with arrays {wanted}; got format {meta.format} "
                f"with {[part.shape for part in parts]}. Fit it again."
            )
        if fingerprint is not None:
            require_fingerprint(meta.fingerprint, fingerprint, what=f"The refiner {path}")
        if map_path is not None and map_path != meta.path:
            raise FingerprintError(f"The refiner {path} was fitted for {meta.path} maps; these are {map_path} maps.")
        weights, bias, limits = parts
        return cls(
            weights, bias, limits, meta.options, meta.fingerprint, meta.path, meta.ridge, meta.pairs,
            meta.iou_before, meta.iou_after,
        )  # fmt: skip


class RefinerLessons:
    """What a refiner learns from, map by map: a few numbers of each box are kept, never the map.

    >>> lessons = RefinerLessons(RefinerOptions(cells=2))
    >>> lessons.add(RefinerSample(np.eye(4), [[0, 0, 3, 3]], [[0, 0, 4, 4]]))
    >>> lessons.boxes
    1
    """

    def __init__(self, options: RefinerOptions) -> None:
        self.options = require_type("options", options, RefinerOptions, "RefinerOptions(...)")
        self.boxes = 0
        self._maps = 0
        cells = options.cells
        self._seen: list[Doubles] = [np.empty((0, cells, cells))]
        self._found: list[Doubles] = [np.empty((0, 4))]
        self._truths: list[Doubles] = [np.empty((0, 4))]
        self._owners: list[int] = []

    def add(self, sample: RefinerSample) -> None:
        """Give each box the truth that it overlaps most, if it does by enough; the others teach nothing.

        Raises:
            ShapeError: If the map or boxes have wrong shapes.
        """
        from clipfast.kernels import box_iou

        require_type("sample", sample, RefinerSample, "RefinerSample(heatmap, found, truths)")
        number, self._maps = self._maps, self._maps + 1
        values = require_map(sample.heatmap)
        found, there = (np.asarray(each, np.float64).reshape(-1, 4) for each in (sample.found, sample.truths))
        if not len(found) or not len(there) or values.min() == values.max():
            return
        overlap = box_iou(found, there)
        taught = overlap.max(axis=1) >= self.options.least_iou
        self._seen.append(profiles(values, found[taught], self.options.cells, self.options.reach))
        self._found.append(found[taught])
        self._truths.append(there[overlap.argmax(axis=1)[taught]])
        self._owners += [number] * int(taught.sum())
        self.boxes += int(taught.sum())

    def fit(self, *, fingerprint: str, path: str) -> BoxRefiner:
        """Learn from what was added, as `BoxRefiner.fit` says."""
        pairs = _Pairs(
            np.concatenate(self._seen),
            np.concatenate(self._found),
            np.concatenate(self._truths),
            np.array(self._owners, np.int64),
        )
        return BoxRefiner._of(pairs, self.options, fingerprint, path)  # noqa: SLF001  # of this module


def _solve(pairs: _Pairs, ridge: float) -> tuple[Doubles, Doubles, Doubles]:
    """Return weights, bias and limits of the moves."""
    inputs, targets = oriented(pairs.profiles, moves(pairs.boxes, pairs.truths))
    bias = targets.mean(axis=0)
    gram = inputs.T @ inputs
    gram[np.diag_indices(len(gram))] += ridge * len(inputs)
    weights = np.linalg.solve(gram, inputs.T @ (targets - bias))
    return weights, bias, np.stack([targets.min(axis=0), targets.max(axis=0)])


def _predict(seen: Doubles, weights: Doubles, bias: Doubles, limits: Doubles) -> Doubles:
    predicted: Doubles = np.clip(seen.reshape(len(seen), -1) @ weights + bias, limits[0], limits[1])
    return predicted


def _cross_validated(pairs: _Pairs, ridge: float, folds: int) -> float:
    """Return the mean overlap when each map is refined by what was learned from maps of other folds."""
    _, order = np.unique(pairs.samples, return_inverse=True)
    overlaps = np.empty(len(order))
    for fold in range(folds):
        held = order % folds == fold
        rest = _Pairs(*(rows[~held] for rows in (pairs.profiles, pairs.boxes, pairs.truths, pairs.samples)))
        predicted = _predict(pairs.profiles[held], *_solve(rest, ridge))
        overlaps[held] = _paired_iou(moved(pairs.boxes[held], predicted), pairs.truths[held])
    return float(overlaps.mean())


def _paired_iou(boxes: Doubles, truths: Doubles) -> Doubles:
    """Return the overlap of each box with its own truth, (m,)."""
    sides = np.minimum(boxes[:, 2:], truths[:, 2:]) - np.maximum(boxes[:, :2], truths[:, :2])
    common = np.maximum(sides, 0).prod(axis=1)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, truths)]
    overlap: Doubles = common / (areas[0] + areas[1] - common)
    return overlap


def _doubles(array: NDArray[Any], name: str) -> Doubles:
    if array.dtype != np.float64 or not np.isfinite(array).all():
        raise ShapeError(f"{name} must be finite float64; got {array.dtype}")
    return array
