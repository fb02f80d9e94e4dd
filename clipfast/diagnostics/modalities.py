"""What parts of the input are worth: accuracy with each taken away, beside that with all of it, on the same samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.diagnostics.predictions import Bools, Doubles, Predictions
from clipfast.metrics.intervals import Interval, wilson_interval
from clipfast.metrics.mcnemar import mcnemar_interval

__all__ = ["Ablation", "Modalities", "measure_modalities"]


@dataclass(frozen=True, slots=True)
class Ablation:
    """Accuracy with a part of the input taken away, over the judged samples that have the figure.

    Attributes:
        samples: How many.
        without: Accuracy without the part.
        full: Accuracy with everything, on the same samples.
        lost: Full less without, with McNemar's exact interval: the two are answers to the same questions.
    """

    samples: int
    without: Interval
    full: Interval
    lost: Interval


@dataclass(frozen=True, slots=True)
class Modalities:
    """Accuracy with parts of the input taken away; None where unknown.

    Attributes:
        full: With everything, on all judged samples.
        image_only: Without the text.
        text_only: Without the image.
        no_context: Without the words around the keyword.
        single_suffices: Share of samples that image or text alone answers rightly.
    """

    full: Interval
    image_only: Ablation | None
    text_only: Ablation | None
    no_context: Ablation | None
    single_suffices: Interval | None


def measure_modalities(predictions: Predictions) -> Modalities:
    """Measure the judged samples."""
    judged, right = predictions.judged, predictions.right
    image, text = (_known(given) for given in (predictions.image_only, predictions.text_only))
    single = None
    if image is not None and text is not None and (both := judged & image & text).any():
        alone = [_hits(given, predictions) for given in (predictions.image_only, predictions.text_only)]
        single = wilson_interval(int((both & (alone[0] | alone[1])).sum()), int(both.sum()))
    return Modalities(
        full=wilson_interval(int((judged & right).sum()), int(judged.sum())),
        image_only=_ablation(predictions, predictions.image_only),
        text_only=_ablation(predictions, predictions.text_only),
        no_context=_ablation(predictions, predictions.no_context),
        single_suffices=single,
    )


def _known(given: Doubles | None) -> Bools | None:
    return None if given is None else ~np.isnan(given[:, 0])


def _hits(given: Doubles | None, predictions: Predictions) -> Bools:
    """Return whether the most probable class is the label, (n,) bool; unknown rows are wrong."""
    if given is None:
        return np.zeros(len(predictions), bool)
    found: Bools = (np.nan_to_num(given, nan=-1.0).argmax(axis=1) == predictions.labels) & ~np.isnan(given[:, 0])
    return found


def _ablation(predictions: Predictions, given: Doubles | None) -> Ablation | None:
    known = _known(given)
    if known is None or not (there := predictions.judged & known).any():
        return None
    full, without = predictions.right[there], _hits(given, predictions)[there]
    count = len(full)
    return Ablation(
        samples=count,
        without=wilson_interval(int(without.sum()), count),
        full=wilson_interval(int(full.sum()), count),
        lost=mcnemar_interval(int((full & ~without).sum()), int((without & ~full).sum()), count),
    )
