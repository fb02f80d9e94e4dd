"""The linear head: class probabilities from embeddings, trained on labelled patches, predicted in NumPy."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast import learning
from clipfast.arguments import Span, require_numbers, require_path, require_type, require_whole, shown
from clipfast.errors import DataError, ShapeError
from clipfast.index import require_unit_rows
from clipfast.learning import ClassWeight
from clipfast.metrics import apply_temperature, expected_calibration_error
from clipfast.metrics.resampling import seeded
from clipfast.retrieval.bankfile import BankModel, require_model
from clipfast.retrieval.declared import SeenPictures
from clipfast.retrieval.headfile import HeadReport, StoredHead, read_head, write_head
from clipfast.retrieval.photowise import PhotoCounts
from clipfast.retrieval.queries import require_topk
from clipfast.retrieval.scoring import Ranked
from clipfast.retrieval.voices import smoothed_temperature
from clipfast.types import Floats, ImageEncoder, Ints

__all__ = ["MIN_SAMPLES", "HeadOptions", "HeadReport", "LinearHead"]

MIN_SAMPLES = 20
"""With fewer, what a head learns is the photos and not the fabrics."""
GOOD_SAMPLES = 50
_PER_CLASS = "5-10"

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """How a head is trained.

    Attributes:
        strengths: Strengths to choose among by cross-validation (scikit-learn's C, of centred rows of mean length 1).
        folds: How many parts cross-validation makes, at most.
        class_weight: `balanced` lets a class with few samples count as much as one with many.
        progress: Called with (done, total) fits.
    """

    strengths: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
    folds: int = 5
    class_weight: ClassWeight = "balanced"
    progress: Callable[[int, int], None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not require_numbers("strengths", self.strengths, Span(0, above=True)):
            raise ShapeError("strengths must be finite numbers above 0, one at least; got none.")
        require_whole("folds", self.folds, 2)


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """Logistic regression on unit embeddings, with calibrated probabilities. Make one with `fit` or `load`.

    Attributes:
        classes: Names (or numbers) of the classes, sorted, (c,).
        weights: (c, e) float32.
        bias: (c,) float32.
        temperature: What logits are divided by before the softmax.
        model: Who made the embeddings, or None where that was not said.
        report: What training found, or None.
        trained_on: Checksums of the photos it was trained on, so that nobody evaluates on them unawares.
        seen: Their names and looks, for the same when they are saved again, and what was declared to be no copy.

    >>> rows = np.repeat(np.eye(3, dtype=np.float32), 10, axis=0)
    >>> head = LinearHead.fit(rows, ["cotton"] * 10 + ["silk"] * 10 + ["wool"] * 10, seed=0)
    >>> head.predict(rows[:1]).tolist(), head.predict_proba(rows[:1]).shape
    (['cotton'], (1, 3))
    """

    classes: NDArray[Any]
    weights: Floats
    bias: Floats
    temperature: float
    model: BankModel | None = None
    report: HeadReport | None = None
    trained_on: tuple[str, ...] = ()
    seen: SeenPictures = field(default_factory=SeenPictures)

    @classmethod
    def fit(
        cls,
        embeddings: Floats,
        labels: Sequence[Any] | NDArray[Any],
        *,
        seed: int = 0,
        groups: Sequence[Any] | None = None,
        clip: ImageEncoder | None = None,
        options: HeadOptions | None = None,
    ) -> LinearHead:
        """Train a head: L2 strength by stratified cross-validation, then a temperature on the held-out logits.

        Args:
            embeddings: Unit rows, (n, e) float32, n at least 20.
            labels: Class of each row: texts, or integers; two classes at least.
            seed: Shares the rows out among folds.
            groups: What belongs together, such as the photo that a patch was cut from: one text or number a row. Rows
                of one group are never on both sides of a fold. None: every row by itself.
            clip: The encoder of the embeddings; its identity is stored, and another model's head is refused on loading.
            options: Strengths, folds, class weights, progress.

        Raises:
            DataError: Fewer than 20 rows ("Too few samples to train") or two classes, or nothing to hold out.
            ShapeError: The rows are not unit rows, lengths differ, or the seed is none.
            MissingExtraError: scikit-learn is not installed.
        """
        chosen = HeadOptions() if options is None else require_type("options", options, HeadOptions, "HeadOptions()")
        seeded(seed)  # is one
        classes, truth = _classes(labels)
        rows = require_unit_rows(embeddings, np.shape(embeddings)[-1] if np.ndim(embeddings) else 0, what="embeddings")
        if len(rows) != len(truth):
            raise ShapeError(f"labels must be one for each of {len(rows)} embeddings; got {len(truth)}.")
        _require_enough(classes, truth)
        together = _group_numbers(groups, len(rows))
        folds = learning.grouped_folds(truth, together, folds=_fold_count(truth, together, chosen), seed=seed)
        cross = learning.cross_fit_logistic(
            rows,
            truth,
            folds,
            strengths=chosen.strengths,
            class_weight=chosen.class_weight,
            progress=chosen.progress,
        )
        held = folds != learning.ALWAYS_TRAIN
        temperature = smoothed_temperature(truth[held], cross.logits[held])
        final = learning.fit_logistic(rows, truth, strength=cross.strength, class_weight=chosen.class_weight)
        return cls(
            classes,
            final.weights,
            final.bias,
            temperature,
            model=None if clip is None else BankModel.of(clip),
            report=_report(classes, truth, cross, temperature, seed, together),
        )

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], clip: ImageEncoder | None = None, *, accept_precision: bool = False
    ) -> LinearHead:
        """Read what `save` wrote.

        Args:
            path: The file.
            clip: The encoder that embeddings will come from; its identity is checked.
            accept_precision: Also take an encoder of another precision, whose probabilities differ a little.

        Raises:
            ArtifactError: The file is missing, damaged or no head, `clip` runs in another precision, or the head does
                not say whose embeddings it takes.
            FingerprintError: It was trained on another model's embeddings; the message names both fingerprints.
        """
        stored = read_head(require_path("path", path))
        if clip is not None:
            require_model(stored.model, clip, what=str(path), kind="head", accept_precision=accept_precision)
        return cls(**{name: getattr(stored, name) for name in StoredHead.__struct_fields__})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the head as one sealed .npz of plain arrays and JSON text; equal heads give equal bytes."""
        write_head(
            require_path("path", path),
            StoredHead(**{name: getattr(self, name) for name in StoredHead.__struct_fields__}),
        )

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return int(self.weights.shape[1])

    @property
    def sha256(self) -> str:
        """Checksum of what decides its answers: classes, weights, bias and temperature."""
        digest = hashlib.sha256(repr((self.classes.tolist(), float(self.temperature))).encode())
        for array in (self.weights, self.bias):
            digest.update(np.ascontiguousarray(array, "<f4").tobytes())
        return digest.hexdigest()

    def logits(self, embeddings: Floats) -> Doubles:
        """Return logits of unit rows, (n, c) float64, already divided by the temperature."""
        rows = require_unit_rows(embeddings, self.dim, what="embeddings")
        return learning.LinearFit(self.weights, self.bias, 1.0).logits(rows) / self.temperature

    def predict_proba(self, embeddings: Floats) -> Doubles:
        """Return calibrated probabilities in the order of `classes`, (n, c) float64; rows sum to 1.

        Args:
            embeddings: Unit rows, (n, e) float32.

        Raises:
            ShapeError: They are not.
        """
        found = self.logits(embeddings)
        return apply_temperature(found) if len(found) else found

    def predict(self, embeddings: Floats) -> NDArray[Any]:
        """Return the most probable class of each row, (n,); of equal ones the first."""
        named: NDArray[Any] = self.classes[self.logits(embeddings).argmax(axis=1)]
        return named

    def rank(self, embedding: Floats, topk: int = 5) -> list[Ranked]:
        """Rank the classes for one embedding, (e,) or (1, e); `score` is the probability."""
        require_topk(topk)
        probs = self.predict_proba(np.atleast_2d(embedding))
        if len(probs) != 1:
            raise ShapeError(f"embedding must be one row; got {len(probs)}. Pass several to predict_proba().")
        order = np.argsort(-probs[0], kind="stable")[:topk]
        return [Ranked(str(self.classes[at]), float(probs[0, at])) for at in order]

    def trained_with(self, sha256: Sequence[str], seen: SeenPictures | None = None) -> LinearHead:
        """Return the same head that also remembers its photos: their checksums, and their names and looks."""
        return replace(self, trained_on=tuple(sorted(set(sha256))), seen=seen or SeenPictures())


def _classes(labels: Sequence[Any] | NDArray[Any]) -> tuple[NDArray[Any], Ints]:
    if not isinstance(labels, np.ndarray | Sequence):
        raise ShapeError(f"labels must be one row of texts or integers; got {shown(labels)}. Pass a list.")
    names = np.asarray(labels if isinstance(labels, np.ndarray) else list(labels))
    if not names.size:
        names = names.astype(str)
    if names.ndim != 1 or names.dtype.kind not in "Uiu":
        raise ShapeError(
            f"labels must be one row of texts or integers, one for each embedding; got {names.shape} {names.dtype}."
        )
    classes, truth = np.unique(names, return_inverse=True)
    return classes, truth.astype(np.int64)


def _require_enough(classes: NDArray[Any], truth: Ints) -> None:
    counts = Counter({str(name): int((truth == at).sum()) for at, name in enumerate(classes)})
    shown = ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (item[1], item[0])))
    if len(truth) < MIN_SAMPLES:
        raise DataError(
            f"Too few samples to train: there are {len(truth)}{f' ({shown})' if shown else ''}, and at least "
            f"{MIN_SAMPLES} are needed, {_PER_CLASS} of each class; {GOOD_SAMPLES} or more are better. Label "
            f"{MIN_SAMPLES - len(truth)} more, the classes with the fewest first; until then ask the bank alone, "
            "without a head.",
            code="too_few_samples",
            count=len(truth),
            counts=shown,
            least=MIN_SAMPLES,
            good=GOOD_SAMPLES,
        )
    if len(counts) < 2:
        raise DataError(
            f"A head tells classes apart, so it needs two or more; all {len(truth)} samples are of {shown}. "
            "Label patches of other fabrics too.",
            code="one_class",
            count=len(truth),
            name=shown,
        )


def _group_numbers(groups: Sequence[Any] | None, count: int) -> Ints:
    if groups is None:
        return np.arange(count)
    if not isinstance(groups, Sized):
        raise ShapeError(f"groups must be a list, one for each of {count} embeddings; got {shown(groups)}.")
    if len(groups) != count:
        raise ShapeError(f"groups must be one for each of {count} embeddings; got {len(groups)}.")
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)


def _fold_count(truth: Ints, groups: Ints, options: HeadOptions) -> int:
    most = max(len(np.unique(groups[truth == name])) for name in np.unique(truth))
    return max(2, min(options.folds, most))


def _report(
    classes: NDArray[Any], truth: Ints, cross: learning.CrossFit, temperature: float, seed: int, groups: Ints
) -> HeadReport:
    held = cross.folds != learning.ALWAYS_TRAIN
    right = cross.honest_logits[held].argmax(axis=1) == truth[held]
    accuracy = PhotoCounts.of(groups[held].tolist()).share(right)  # rows of one photo are not independent
    names = [str(name) for name in classes]
    of_class = {
        name: (int(right[truth[held] == at].sum()), int((truth[held] == at).sum())) for at, name in enumerate(names)
    }
    probs = [apply_temperature(cross.honest_logits[held], t) for t in (1.0, temperature)]
    before, after = (expected_calibration_error(truth[held], each) for each in probs)
    return HeadReport(
        samples=len(truth),
        counts={name: int((truth == at).sum()) for at, name in enumerate(names)},
        accuracy=accuracy,
        per_class=of_class,
        strength=cross.strength,
        losses=tuple(cross.losses.items()),
        folds=len(np.unique(cross.folds[held])),
        never_held_out=tuple(name for name, (_, count) in of_class.items() if not count),
        calibration_error=(before, after),
        seed=seed,
    )
