"""Experiments on embeddings and a ridge head: cheap to repeat, and exact where the diagnosis only suspects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipfast.diagnostics.experiments.design import Experiment, compare_arms, compare_sets
from clipfast.diagnostics.ood import Drop, domain_drop, k_nearest
from clipfast.diagnostics.predictions import Bools, Doubles
from clipfast.diagnostics.ridge import RidgeHead
from clipfast.errors import DataError, ShapeError
from clipfast.types import Floats, Ints

__all__ = [
    "HeadData", "cleaning", "cross_dataset", "cross_dataset_runs", "few_shot_curve", "imputation", "label_suspicion",
    "modality_drop", "noise_injection",
]  # fmt: skip

_PENALTY = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class HeadData:
    """Training and test samples of one head.

    Attributes:
        train: Rows, (n, e).
        train_labels: (n,).
        test: Rows, (m, e).
        test_labels: (m,), trusted.
        classes: How many.
    """

    train: Floats
    train_labels: Ints
    test: Floats
    test_labels: Ints
    classes: int

    def __post_init__(self) -> None:
        if self.train.ndim != 2 or self.test.ndim != 2 or self.train.shape[1] != self.test.shape[1]:
            raise ShapeError(f"train and test must be (n, e) and (m, e); got {self.train.shape} and {self.test.shape}.")
        if self.train_labels.shape != (len(self.train),) or self.test_labels.shape != (len(self.test),):
            raise ShapeError(
                f"labels must be one a row; got {self.train_labels.shape} and {self.test_labels.shape} for "
                f"{len(self.train)} and {len(self.test)} rows."
            )

    def right_after(self, rows: Floats, labels: Ints) -> Bools:
        """Fit a head on some rows and return which test samples it gets right, (m,)."""
        head = RidgeHead.fit(rows, labels, self.classes, penalty=_PENALTY)
        found: Bools = head.scores(self.test).argmax(axis=1) == self.test_labels
        return found


def noise_injection(
    data: HeadData, *, rates: Sequence[float] = (0.1, 0.2, 0.4), seeds: Sequence[int] = (0, 1, 2)
) -> Experiment:
    """Give a share of the training samples another label, drawn evenly, and fit again.

    If accuracy falls fast, the head is sensitive to noise: then noise that is there already costs much.
    """
    clean = data.right_after(data.train, data.train_labels)
    right = {"no noise added": np.tile(clean, (len(seeds), 1))}
    for rate in rates:
        if not 0 < rate < 1:
            raise ShapeError(f"rates must be in (0, 1); got {rate!r}.")
        runs = []
        for seed in seeds:
            rng = np.random.default_rng([seed, int(rate * 1e6)])
            labels = data.train_labels.copy()
            rows = rng.permutation(len(labels))[: round(rate * len(labels))]
            labels[rows] = (labels[rows] + rng.integers(1, data.classes, len(rows))) % data.classes
            runs.append(data.right_after(data.train, labels))
        right[f"{rate:.0%} wrong labels"] = np.stack(runs)
    return compare_arms("noise injection", right, "no noise added")


def label_suspicion(rows: Floats, labels: Ints, classes: int) -> Doubles:
    """Return how much a head that has not seen a sample prefers another class to its label, (n,); higher is worse."""
    scores = RidgeHead.fit(rows, labels, classes, penalty=_PENALTY).left_out()
    at = np.arange(len(labels))
    own = scores[at, labels]
    scores[at, labels] = -np.inf
    found: Doubles = scores.max(axis=1) - own
    return found


def cleaning(data: HeadData, *, share: float = 0.1, seeds: Sequence[int] = (0, 1, 2)) -> Experiment:
    """Drop the most suspect training samples, and as many random ones, and fit again.

    If dropping suspects helps and dropping random ones does not, noise is to blame.

    Args:
        data: Training labels may be wrong, test labels are trusted.
        share: Of the training samples to drop, in (0, 1).
        seeds: Of the random ones.

    Raises:
        ShapeError: `share` drops none or all.
    """
    count = round(share * len(data.train))
    if not 0 < count < len(data.train):
        raise ShapeError(
            f"share must drop one sample at least and keep one; {share!r} of {len(data.train)} is {count}."
        )
    order = np.argsort(-label_suspicion(data.train, data.train_labels, data.classes), kind="stable")
    kept = np.sort(order[count:])
    right = {
        "all samples": np.tile(data.right_after(data.train, data.train_labels), (len(seeds), 1)),
        "without suspects": np.tile(data.right_after(data.train[kept], data.train_labels[kept]), (len(seeds), 1)),
    }
    runs = []
    for seed in seeds:
        rest = np.sort(np.random.default_rng(seed).permutation(len(data.train))[count:])
        runs.append(data.right_after(data.train[rest], data.train_labels[rest]))
    right["without random ones"] = np.stack(runs)
    return compare_arms("cleaning", right, "all samples")


def few_shot_curve(
    data: HeadData,
    pool: Floats,
    pool_labels: Ints,
    *,
    shots: Sequence[int] = (1, 2, 4, 8),
    seeds: Sequence[int] = (0, 1, 2),
) -> Experiment:
    """Add a few samples of the new domain to the training, and test on that domain.

    A steep curve says that the old training lacked such samples: generalisation.

    Args:
        data: Training of the old domain, test of the new one.
        pool: Samples of the new domain to draw from, (k, e).
        pool_labels: (k,).
        shots: Of each class, as far as the pool has them.
        seeds: Of the draw.
    """
    right = {"0 shots": np.tile(data.right_after(data.train, data.train_labels), (len(seeds), 1))}
    for count in shots:
        runs = []
        for seed in seeds:
            order = np.random.default_rng(seed).permutation(len(pool))
            drawn = np.concatenate([order[pool_labels[order] == name][:count] for name in range(data.classes)])
            rows = np.concatenate([data.train, pool[drawn]])
            runs.append(data.right_after(rows, np.concatenate([data.train_labels, pool_labels[drawn]])))
        right[f"{count} shots"] = np.stack(runs)
    return compare_arms("few-shot learning curve", right, "0 shots")


def cross_dataset(data: HeadData, other: Floats, other_labels: Ints, names: tuple[str, str] = ("own", "other")) -> Drop:
    """Fit on one data set and test on its own test samples and on another's.

    Raises:
        DataError: Either has no test sample.
    """
    head = RidgeHead.fit(data.train, data.train_labels, data.classes, penalty=_PENALTY)
    own = data.right_after(data.train, data.train_labels)
    new: Bools = head.scores(other).argmax(axis=1) == other_labels
    right = np.concatenate([own, new])
    known = np.arange(len(right)) < len(own)
    found = domain_drop(right, known, ~known, names)
    if found is None:
        raise DataError(f"both data sets need test samples; got {len(own)} and {len(new)}.")
    return found


def cross_dataset_runs(
    data: HeadData,
    other: Floats,
    other_labels: Ints,
    *,
    names: tuple[str, str] = ("own", "other"),
    seeds: Sequence[int] = (0, 1, 2),
) -> Experiment:
    """As `cross_dataset`, with four fifths of the training samples, drawn anew with each seed."""
    runs: dict[str, list[Bools]] = {name: [] for name in names}
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(data.train))
        rows = np.sort(order[: max(1, round(0.8 * len(order)))])
        head = RidgeHead.fit(data.train[rows], data.train_labels[rows], data.classes, penalty=_PENALTY)
        for name, tested, labels in zip(names, (data.test, other), (data.test_labels, other_labels), strict=True):
            runs[name].append(head.scores(tested).argmax(axis=1) == labels)
    return compare_sets("cross-dataset evaluation", {name: np.stack(held) for name, held in runs.items()}, names[0])


def modality_drop(
    images: HeadData, texts: HeadData, *, drop: float = 0.5, seeds: Sequence[int] = (0, 1, 2)
) -> Experiment:
    """Train on image and text together, plainly and with either dropped at random; test with both and with each alone.

    A modality that is not there is its mean training row. If dropping in training makes the head sturdier without one
    of them, missing modalities are worth training for.

    Args:
        images: The samples as image rows.
        texts: The same samples, in the same order, as text rows.
        drop: Share of training samples that lose one modality, in (0, 1).
        seeds: Of what is dropped.

    Raises:
        ShapeError: The two do not hold the same samples.
    """
    _require_same(images, texts)
    train, test = np.hstack([images.train, texts.train]), np.hstack([images.test, texts.test])
    width = images.train.shape[1]
    mean = train.mean(axis=0)
    first = np.arange(train.shape[1]) < width
    kept = {"both": first | ~first, "image only": first, "text only": ~first}
    right: dict[str, list[Bools]] = {f"{how}: {what}": [] for how in ("plain", "dropped") for what in kept}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        lost = rng.random(len(train)) < drop
        side = rng.integers(0, 2, len(train))
        dropped = train.copy()
        dropped[lost & (side == 0), :width] = mean[:width]
        dropped[lost & (side == 1), width:] = mean[width:]
        for how, rows in (("plain", train), ("dropped", dropped)):
            head = RidgeHead.fit(rows, images.train_labels, images.classes, penalty=_PENALTY)
            for what, there in kept.items():
                seen = np.where(there, test, mean)
                right[f"{how}: {what}"].append(head.scores(seen).argmax(axis=1) == images.test_labels)
    return compare_arms("modality drop", {name: np.stack(runs) for name, runs in right.items()}, "plain: both")


def imputation(
    images: HeadData, texts: HeadData, *, missing: float = 0.5, seeds: Sequence[int] = (0, 1, 2)
) -> Experiment:
    """Take away a share of the test texts, and put in the text of the training sample whose image is nearest.

    If that helps, incomplete inputs are the problem, and filling them in is a remedy.

    Raises:
        ShapeError: The two do not hold the same samples, or the share is out of range.
    """
    _require_same(images, texts)
    if not 0 < missing <= 1:
        raise ShapeError(f"missing must be in (0, 1]; got {missing!r}.")
    train = np.hstack([images.train, texts.train])
    head = RidgeHead.fit(train, images.train_labels, images.classes, penalty=_PENALTY)
    nearest, _ = k_nearest(images.test, images.train, 1)
    filled = texts.train[nearest[:, 0]]

    def right_with(rows: Floats) -> Bools:
        found: Bools = head.scores(np.hstack([images.test, rows])).argmax(axis=1) == images.test_labels
        return found

    right: dict[str, list[Bools]] = {"missing": [], "filled in": [], "complete": []}
    for seed in seeds:
        lost = np.random.default_rng(seed).random(len(texts.test)) < missing
        right["missing"].append(right_with(np.where(lost[:, None], texts.train.mean(axis=0), texts.test)))
        right["filled in"].append(right_with(np.where(lost[:, None], filled, texts.test)))
        right["complete"].append(right_with(texts.test))
    return compare_arms("imputation by the nearest caption", {k: np.stack(v) for k, v in right.items()}, "missing")


def _require_same(images: HeadData, texts: HeadData) -> None:
    same = np.array_equal(images.train_labels, texts.train_labels)
    if not same or not np.array_equal(images.test_labels, texts.test_labels) or images.classes != texts.classes:
        raise ShapeError("images and texts must be the same samples in the same order; their labels differ.")
