"""A factorial ablation of a linear head: what is put in, how much training, suspects, shrinkage; one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipfast.diagnostics.experiments.design import Experiment, Factors, run_factors
from clipfast.diagnostics.experiments.heads import HeadData, label_suspicion
from clipfast.diagnostics.predictions import Bools
from clipfast.diagnostics.ridge import RidgeHead
from clipfast.errors import ShapeError

__all__ = ["head_ablation"]

_SUSPECTS = 0.1


def head_ablation(images: HeadData, texts: HeadData | None = None, *, seeds: Sequence[int] = (0, 1, 2)) -> Experiment:
    """Change one thing of a head at a time.

    Factors: `inputs` (images; texts; both), `training share` (0.8; 0.4 of the samples, drawn anew with each seed),
    `suspects` (kept; the most suspect tenth dropped) and `penalty` (0.1; 1; 10).

    Args:
        images: The samples as image rows.
        texts: The same samples as text rows; None leaves out what needs them.
        seeds: Of the training samples drawn.

    Raises:
        ShapeError: The two do not hold the same samples.
    """
    held = {"images": (images.train, images.test)}
    if texts is not None:
        if not np.array_equal(images.train_labels, texts.train_labels) or len(images.test) != len(texts.test):
            raise ShapeError("images and texts must be the same samples in the same order; their labels differ.")
        held["texts"] = (texts.train, texts.test)
        held["both"] = (np.hstack([images.train, texts.train]), np.hstack([images.test, texts.test]))

    def run(settings: Mapping[str, Any], seed: int) -> Bools:
        train, test = held[settings["inputs"]]
        drawn = np.random.default_rng(seed).permutation(len(train))
        rows = np.sort(drawn[: max(1, round(settings["training share"] * len(train)))])
        if settings["suspects"] == "dropped":
            worst = np.argsort(-label_suspicion(train[rows], images.train_labels[rows], images.classes), kind="stable")
            rows = np.delete(rows, worst[: round(_SUSPECTS * len(rows))])
        head = RidgeHead.fit(train[rows], images.train_labels[rows], images.classes, penalty=settings["penalty"])
        found: Bools = head.scores(test).argmax(axis=1) == images.test_labels
        return found

    levels: dict[str, Sequence[Any]] = {
        "inputs": [name for name in held if name != "images"], "training share": [0.4], "suspects": ["dropped"],
        "penalty": [1.0, 10.0],
    }  # fmt: skip
    baseline = {"inputs": "images", "training share": 0.8, "suspects": "kept", "penalty": 0.1}
    return run_factors("factorial ablation", Factors(levels, baseline), run, seeds=seeds)
