"""From the records of an evaluation to its figures: mAP, the quality table, responses, intervals, comparisons.

Intervals come from resampled images; all figures and differences share the same resamples. Where a figure
does not exist it is None, and so is an interval that does not.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import UndefinedMetricError
from clipfast.metrics.detection import voc_average_precision_score
from clipfast.metrics.image_series import (
    DrawnFigure,
    ImageSeries,
    PrecisionSeries,
    RatioSeries,
    drawn_figure,
    image_weights,
)
from clipfast.metrics.multiple import holm_adjusted
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_records import FIT_FIELDS, PathRecords, Records
from clipfast.surgery.localise_results import (
    BoxFit,
    Comparison,
    Figure,
    PathScores,
    QualityRow,
    Response,
    Scores,
    ThresholdScores,
)

__all__ = ["score_records"]

Doubles = NDArray[np.float64]
REACHED = 0.5  # the IoU of the quality table's last column


def score_records(records: Records, options: LocaliseOptions) -> Scores:
    """Compute every figure.

    Raises:
        UndefinedMetricError: If no ground truth counts.
    """
    scorer = _Scorer(records, options)
    paths = {path: scorer.path(path, held) for path, held in records.paths.items()}
    return Scores(paths, scorer.comparisons(), scorer.series, scorer.undefined)


class _Scorer:
    """Shares the resamples, keeps the series, counts what is undefined."""

    def __init__(self, records: Records, options: LocaliseOptions) -> None:
        self.records, self.options = records, options
        self.series: dict[str, dict[str, ImageSeries]] = {}
        self.drawn: dict[tuple[str, str], DrawnFigure] = {}  # resampling is what takes time: once for each figure
        self.undefined = 0
        several = records.images > 1
        self.weights = image_weights(records.images, options.resamples, options.seed) if several else None

    def kept(self, path: str, metric: str, series: ImageSeries) -> Figure:
        self.series.setdefault(path, {})[metric] = series
        if self.weights is not None:
            try:
                drawn = drawn_figure(series, self.weights, within=None if metric == "contrast" else (0.0, 1.0))
                found = drawn.interval(self.options.confidence)
            except UndefinedMetricError:
                pass
            else:
                self.drawn[path, metric] = drawn
                return Figure(found.estimate, found.low, found.high)
        self.undefined += 1
        value = float(series.at(np.ones((1, series.images)))[0])
        return Figure(None if np.isnan(value) else value)

    def over_maps(self, values: Doubles) -> RatioSeries:
        return RatioSeries.of(values, self.records.map_image, self.records.images)

    def over_truths(self, sums: Doubles) -> RatioSeries:
        """Sums over the ground truths of each map, as a mean over ground truths."""
        records = self.records
        totals, counts = (
            np.bincount(records.map_image, values, minlength=records.images).astype(np.float64)
            for values in (sums, records.map_truths)
        )
        return RatioSeries(totals, counts)

    def path(self, path: str, held: PathRecords) -> PathScores:
        thresholds = self.thresholds(path, held)
        per_image = len(held.detections.scores) / self.records.images
        if not len(held.best_iou):
            return PathScores(thresholds, per_image)
        return PathScores(
            thresholds,
            per_image,
            self.quality(path, held),
            self.response(path, held),
            self.kept(path, "pointing", self.over_maps(held.response["pointing"])),
            self.kept(path, "energy", self.over_maps(held.response["energy"])),
            BoxFit(
                self.kept(path, "peak_iou", self.over_maps(held.fit["peak_iou"])),
                self.kept(path, "top_iou", self.over_maps(held.fit["top_iou"])),
                self.kept(path, "box_iou", self.over_truths(held.fit["box_iou"])),
            ),
        )

    def thresholds(self, path: str, held: PathRecords) -> tuple[ThresholdScores, ...]:
        truths, wanted = self.records.truths, self.options.iou_thresholds
        every = voc_average_precision_score(truths, held.detections, iou_thresholds=wanted)
        eleven = voc_average_precision_score(truths, held.detections, iou_thresholds=wanted, method="eleven_point")
        names = [str(name) for name in every.classes.tolist()]
        rows = []
        for at, iou in enumerate(wanted):
            series = PrecisionSeries.of(every, at, truths, held.detections, self.records.images)
            rows.append(
                ThresholdScores(
                    iou,
                    self.kept(path, f"map@{iou:g}", series),
                    float(eleven.by_threshold[at]),
                    dict(zip(names, map(_defined, every.by_class[at]), strict=True)),
                    dict(zip(names, map(_defined, eleven.by_class[at]), strict=True)),
                    int(every.true_positives[at].sum()),
                    int(every.false_positives[at].sum()),
                )
            )
        return tuple(rows)

    def quality(self, path: str, held: PathRecords) -> tuple[QualityRow, ...]:
        rows = []
        for at, percentile in enumerate(self.options.levels):
            best = held.best_iou[:, at]
            rows.append(
                QualityRow(
                    percentile,
                    self.kept(path, f"mean_iou@{percentile:g}", self.over_maps(best)),
                    float(best.max()),
                    self.kept(path, f"truth_iou@{percentile:g}", self.over_truths(held.truth_iou[:, at])),
                    float(held.boxes[:, at].mean()),
                    float(held.activated[:, at].mean()),
                    int(np.count_nonzero(best >= REACHED)),
                )
            )
        return tuple(rows)

    def response(self, path: str, held: PathRecords) -> Response:
        found = held.response
        contrast = found["inside_mean"] - found["background_mean"]
        figure = self.kept(path, "contrast", self.over_maps(contrast))
        known = contrast[~np.isnan(contrast)]
        spread = found["spread"]
        effects = np.divide(contrast, spread, out=np.full(len(contrast), np.nan), where=spread > 0)
        verdict = "undecided"
        if figure.low is not None and figure.high is not None and (figure.low > 0 or figure.high < 0):
            verdict = "upright" if figure.low > 0 else "inverted"
        return Response(
            *_mean_and_std(found["inside_mean"]),
            *_mean_and_std(found["inside_max"]),
            *_mean_and_std(found["background_mean"]),
            figure,
            _mean_and_std(effects)[0],
            _mean_and_std(found["area"])[0],
            float((known < 0).mean()) if len(known) else None,
            verdict,
        )

    def comparisons(self) -> tuple[Comparison, ...]:
        """Compare every pair of paths by mAP at each threshold, pointing game, energy and box fit."""
        paths = list(self.series)
        shared = [name for name in self.series[paths[0]] if name.startswith("map@")] if paths else []
        shared += ["pointing", "energy", *FIT_FIELDS, *(f"truth_iou@{p:g}" for p in self.options.levels)]
        found: list[Comparison] = []
        for metric in shared:
            pairs = [pair for pair in combinations(paths, 2) if all(metric in self.series[path] for path in pair)]
            found += self._family(metric, pairs)
        return tuple(found)

    def _family(self, metric: str, pairs: list[tuple[str, str]]) -> list[Comparison]:
        tested: list[tuple[Figure, float | None]] = []
        for first, second in pairs:
            one, other = (self.drawn.get((path, metric)) for path in (first, second))
            if one is None or other is None:
                self.undefined += 1
                tested.append((Figure(None), None))
                continue
            found = one.less(other, self.options.confidence)
            ends = found.interval
            low, high = (ends.low, ends.high) if ends is not None else (None, None)
            tested.append((Figure(found.difference, low, high), found.p_value))
        adjusted = iter(holm_adjusted([p for _, p in tested if p is not None]).tolist())
        return [
            Comparison(metric, *pair, figure, p, None if p is None else next(adjusted))
            for pair, (figure, p) in zip(pairs, tested, strict=True)
        ]


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean_and_std(values: Doubles) -> tuple[float | None, float | None]:
    known = values[~np.isnan(values)]
    return (float(known.mean()), float(known.std())) if len(known) else (None, None)
