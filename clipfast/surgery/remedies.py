"""What a run's own numbers show to help, and what it did not try: the remedies of a diagnosis.

A remedy that was tried in the run and changed nothing is not offered. "Shown" is what the run has figures of: another
percentile of the quality table or another path, better on the same images by paired bootstrap. "Not tried" is what the
run says nothing of; other ways to cut boxes are named only where the maps respond to the objects at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import UndefinedMetricError
from clipfast.metrics.image_series import series_difference
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_records import Records
from clipfast.surgery.localise_results import Comparison, PathScores, QualityRow, Scores
from clipfast.surgery.paths import PATHS

__all__ = ["FLAT", "WEAK_EFFECT", "Case", "remedy"]

Doubles = NDArray[np.float64]

WEAK_EFFECT = 0.5  # of the map's own standard deviation
FLAT = 1e-6  # a map of less spread is rounding
_SIGNIFICANT = 0.05


def remedy(shown: Sequence[str], untried: Sequence[str] = ()) -> str:
    """Return a remedy as sentences.

    >>> remedy([], ["--boxes multi"])
    'Nothing that was tried in this run helps. Not tried: --boxes multi.'
    >>> remedy(["--percentile 95 reaches 0.4"])
    'In this run: --percentile 95 reaches 0.4.'
    """
    said = f"In this run: {'; '.join(shown)}." if shown else "Nothing that was tried in this run helps."
    return f"{said} Not tried: {'; '.join(untried)}." if untried else said


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What a rule looks at: one path, beside the others of its run.

    Attributes:
        path: The path.
        run: Figures of all paths.
        records: Of the evaluation.
        options: What was asked for.
        tuned: Whether the settings were chosen on a training split.
        weights: Resamples of the images, (resamples, images); None where there is but one image.
    """

    path: str
    run: Scores
    records: Records
    options: LocaliseOptions
    tuned: bool = False
    weights: Doubles | None = None

    @property
    def scores(self) -> PathScores:
        """Figures of the path."""
        return self.run.paths[self.path]

    @property
    def scored(self) -> QualityRow | None:
        """The row of the quality table that is scored; None where only boxes were."""
        return self.row_of(self.path)

    def row_of(self, path: str) -> QualityRow | None:
        """Return the same of another path."""
        rows = self.run.paths[path].quality
        return next((row for row in rows if row.percentile == self.options.percentile), None)

    @property
    def others(self) -> list[str]:
        """The run's other paths."""
        return [path for path in self.run.paths if path != self.path]

    def flat(self, path: str) -> int:
        """Return how many maps of a path are the same everywhere."""
        held = self.records.paths[path].response
        least = FLAT if path in PATHS else 0.0  # the scale of other maps, such as Grad-CAM's, is not known
        return int(np.count_nonzero(held["spread"] <= least)) if held else 0

    @property
    def says_nothing(self) -> bool:
        """Whether every map of the path is the same everywhere: nothing else can be said of its boxes."""
        count = len(self.records.map_class)
        return count > 0 and self.flat(self.path) == count

    def responds(self, path: str | None = None) -> bool:
        """Whether a path's maps are clearly higher inside the ground truths than beside them."""
        response = self.run.paths[path or self.path].response
        if response is None or response.contrast.value is None or response.effect is None:
            return False
        return response.verdict != "inverted" and response.contrast.value > 0 and response.effect >= WEAK_EFFECT

    def better_percentile(self, wanted: Callable[[QualityRow], bool] | None = None) -> list[str]:
        """Return the row of the quality table that overlaps ground truths most, if it does so more than the scored one.

        Args:
            wanted: Which rows are asked about; None takes all.
        """
        scored, series = self.scored, self.run.series.get(self.path, {})
        if scored is None or scored.truth_iou.value is None or self.weights is None:
            return []
        found: list[tuple[float, str]] = []
        for row in self.scores.quality:
            value = row.truth_iou.value
            if row is scored or value is None or not (wanted is None or wanted(row)):
                continue
            pair = [series[f"truth_iou@{each.percentile:g}"] for each in (row, scored)]
            try:
                ends = series_difference(pair[0], pair[1], self.weights, self.options.confidence).interval
            except UndefinedMetricError:
                continue
            if ends is not None and ends.low > 0:
                said = f"IoU by ground truth {value:.3f} against {scored.truth_iou.value:.3f}"
                found.append((value, f"--percentile {row.percentile:g} has {said}"))
        return [max(found)[1]] if found else []

    def better_path(self, metric: str, name: str) -> list[str]:
        """Return the path that is best by a metric, if it is better than this one on the same images.

        Args:
            metric: Of `Comparison.metric`.
            name: What the metric is called in the sentence.
        """
        gains = [each for row in self.run.comparisons if row.metric == metric for each in self._gains(row)]
        best = max(gains, default=None)
        return [] if best is None else [f"{best[1]} has {best[0]:z.3f} more {name} (--paths {best[1]})"]

    def _gains(self, row: Comparison) -> Iterator[tuple[float, str]]:
        """Yield by how much which other path is better than this one, where chance does not explain it."""
        value, p = row.difference.value, row.p_holm
        if value is None or p is None or p >= _SIGNIFICANT or self.path not in (row.first, row.second):
            return
        gain, other = (-value, row.second) if row.first == self.path else (value, row.first)
        if gain > 0:
            yield gain, other

    def other_cuts(self, shown: Sequence[str], untried: Sequence[str]) -> str:
        """Return a remedy that cuts the same maps in another way: it can help only where they respond."""
        if not shown and not self.responds():
            return (
                "Nothing that was tried in this run helps, and another cut of maps that do not respond to the objects "
                "will not: see what is said of the response."
            )
        tuning = [] if self.tuned else ["--tune, which chooses on a training split"]
        return remedy(shown, [*untried, *tuning])
