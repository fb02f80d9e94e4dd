"""Predictions straight from a model, and the classifier of causes."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.datasets.fabricworld import Wishes, class_samples
from clipfast.diagnostics import ZeroShotOptions, diagnose, zero_shot_predictions
from clipfast.diagnostics.cause_classifier import CauseClassifier
from clipfast.diagnostics.features import Measured, sample_features
from clipfast.errors import DataError
from clipfast.runtime.clip import Clip
from diagnostics.samples import clustered


def test_a_model_and_labelled_images_are_enough(mini: Clip) -> None:
    """Rendered fabrics are named, embeddings are kept, batches do not matter, and the diagnosis runs."""
    fabrics = ["denim", "lace", "felt"]
    samples = [
        (s.key, s.image, s.label) for s in class_samples(5, per_fabric=4, fabrics=fabrics, wishes=Wishes(size=96))
    ]
    options = [ZeroShotOptions(("a photo of {} fabric",), batch_size=size) for size in (5, 12)]
    first, second = (zero_shot_predictions(mini, samples, fabrics, each, splits=["test"] * 12) for each in options)

    assert first.ids == tuple(key for key, _, _ in samples)
    assert first.right.mean() > 0.5
    assert first.probs == pytest.approx(second.probs, abs=1e-3)
    assert first.image_rows is not None
    assert diagnose(first).judged == 12
    with pytest.raises(DataError, match="label must be one of denim, felt; got 'lace'"):
        zero_shot_predictions(mini, samples, ["denim", "felt"])
    with pytest.raises(DataError, match="unique ids"):
        zero_shot_predictions(mini, [samples[0]] * 2, fabrics)
    with pytest.raises(DataError, match="splits must be as many"):
        zero_shot_predictions(mini, samples[:2], fabrics, splits=["a"])


def test_the_classifier_learns_what_people_settled() -> None:
    """Two causes that differ in their features are told apart, with probabilities that sum to 1."""
    data = clustered(1200, noise=0.3)
    features = sample_features(data, Measured())
    wrong = np.flatnonzero(~data.right[features.rows])
    far = features.column("label_rank")[wrong] >= 5
    settled = {
        int(features.rows[at]): "noise" if is_far else "ambiguity" for at, is_far in zip(wrong, far, strict=True)
    }

    found = CauseClassifier.fit(features, settled)
    probs = found.probs(features)[wrong]

    assert found.causes == ("ambiguity", "noise")
    assert found.accuracy.estimate > 0.75
    assert probs.sum(axis=1) == pytest.approx(1)
    assert np.mean((probs[:, 1] > 0.5) == far) > 0.75
    with pytest.raises(DataError, match="two causes with 10 samples each"):
        CauseClassifier.fit(features, dict.fromkeys(settled, "noise"))
    with pytest.raises(DataError, match="must be among the judged; number 0"):
        CauseClassifier.fit(features, {0: "noise"})
