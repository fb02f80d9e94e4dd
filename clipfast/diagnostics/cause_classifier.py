"""A small calibrated classifier of causes, where people have settled some: it learns what rules only guess.

A ridge head on standardised features, whose leave-one-out scores are turned into probabilities by one temperature: both
in closed form or by one root, so it is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clipfast.diagnostics.features import Features
from clipfast.diagnostics.predictions import Doubles
from clipfast.diagnostics.ridge import RidgeHead
from clipfast.errors import DataError, UndefinedMetricError
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.metrics.temperature import apply_temperature, fit_temperature

__all__ = ["FEWEST", "CauseClassifier"]

FEWEST = 10
"""Samples of a cause from which it is learned."""


@dataclass(frozen=True, slots=True, eq=False)
class CauseClassifier:
    """A fitted classifier.

    Attributes:
        causes: Names, in the order of probabilities.
        accuracy: Of the samples it was fitted on, each by a head that had not seen it.
        temperature: Of the scores.
        head: On standardised features and flags of missing ones.
        centre: Medians of the features, (f,).
        scale: Their spreads, (f,).
    """

    causes: tuple[str, ...]
    accuracy: Interval
    temperature: float
    head: RidgeHead
    centre: Doubles
    scale: Doubles

    @classmethod
    def fit(cls, features: Features, settled: Mapping[int, str], *, penalty: float = 3.0) -> CauseClassifier:
        """Fit on samples whose cause people have settled.

        Args:
            features: Of judged samples.
            settled: Cause by sample number, such as 17: "noise"; numbers as in `features.rows`.
            penalty: Of squared weights.

        Raises:
            DataError: There are fewer than two causes with 10 samples each, or a sample is not among the judged.
        """
        place = {row: at for at, row in enumerate(features.rows.tolist())}
        strangers = [row for row in settled if row not in place]
        if strangers:
            raise DataError(f"settled samples must be among the judged; number {strangers[0]} is not.")
        counts = {cause: sum(name == cause for name in settled.values()) for cause in sorted(set(settled.values()))}
        kept = tuple(cause for cause, count in counts.items() if count >= FEWEST)
        if len(kept) < 2:
            raise DataError(f"a classifier needs two causes with {FEWEST} samples each or more; got {counts}.")
        pairs = [(place[row], kept.index(cause)) for row, cause in settled.items() if cause in kept]
        values = features.values[[at for at, _ in pairs]]
        labels = np.array([number for _, number in pairs], np.int64)
        known = np.where(np.isnan(values).all(axis=0), 0.0, values)
        centre = np.nanmedian(known, axis=0)
        scale = np.nanstd(known, axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        head = RidgeHead.fit(_standard(values, centre, scale), labels, len(kept), penalty=penalty)
        scores = head.left_out()
        try:
            temperature = fit_temperature(labels, scores)
        except UndefinedMetricError:  # every one is right, or none says anything: no temperature is best
            temperature = 0.1
        right = int((scores.argmax(axis=1) == labels).sum())
        return cls(kept, wilson_interval(right, len(labels)), temperature, head, centre, scale)

    def probs(self, features: Features) -> Doubles:
        """Return the probability of each cause for each judged sample, (s, causes); of wrong ones only is it meant."""
        return apply_temperature(
            self.head.scores(_standard(features.values, self.centre, self.scale)), self.temperature
        )


def _standard(values: Doubles, centre: Doubles, scale: Doubles) -> Doubles:
    """Put the median where a feature is missing, and add a flag for that; limit what is far out."""
    lacking = np.isnan(values)
    filled = np.clip((np.where(lacking, centre, values) - centre) / scale, -4, 4)
    found: Doubles = np.hstack([filled, lacking.astype(np.float64)])
    return found
