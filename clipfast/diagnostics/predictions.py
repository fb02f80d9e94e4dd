"""Predictions as arrays: what every measurement of this package reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import DataError, ShapeError
from clipfast.types import Floats, Ints

__all__ = ["TRAIN_SPLITS", "Bools", "Boxes", "Doubles", "Predictions"]

Doubles: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

TRAIN_SPLITS = frozenset({"train", "training"})
MAX_NUMBERS = 1 << 29  # probabilities in all: 4 GB


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes of many samples, flat.

    Attributes:
        xyxy: Shares of width and height, half-open, (m, 4) float64.
        rows: The sample of each, ascending, (m,) int64.
    """

    xyxy: Doubles
    rows: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Samples, what a model says of them, and what else is known. `n` samples, `c` classes, `e` embedding size.

    Attributes:
        ids: Unique names, n.
        classes: Names of the classes, c.
        labels: True classes, (n,) int64.
        probs: Rows that sum to 1, (n, c) float64.
        texts: Question or caption of each, "" where there is none; None if the data have no texts.
        images: Path of each, "" where there is none; None if the data have no images.
        columns: Names to group by, (n,) strings each, "" where unknown: split, domain, question_type, template,
            difficulty and the user's own.
        losses: Training loss by epoch, (n, epochs) float64, NaN where unknown.
        attention: Weights of patches, (n, gh, gw) float32, NaN where unknown; not normalised.
        boxes: Where the answer is.
        candidates: Boxes to choose among.
        choices: Chosen and right candidate, (n, 2) int64, -1 where unknown.
        image_only: Probabilities without the text, (n, c) float64, NaN where unknown.
        text_only: Probabilities without the image, likewise.
        no_context: Probabilities without the words around the keyword, likewise.
        logits: What `probs` were made of, where scores were given, (n, c) float64, NaN where unknown; for the energy.
        image_rows: Embeddings of the images, unit rows (n, e) float32.
        text_rows: Embeddings of the texts, unit rows (n, e) float32.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    labels: Ints
    probs: Doubles
    texts: tuple[str, ...] | None = None
    images: tuple[str, ...] | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    losses: Doubles | None = None
    attention: Floats | None = None
    boxes: Boxes | None = None
    candidates: Boxes | None = None
    choices: Ints | None = None
    image_only: Doubles | None = None
    text_only: Doubles | None = None
    no_context: Doubles | None = None
    logits: Doubles | None = None
    image_rows: Floats | None = None
    text_rows: Floats | None = None

    def __post_init__(self) -> None:
        count, width = len(self.ids), len(self.classes)
        if self.probs.shape != (count, width) or self.labels.shape != (count,):
            raise ShapeError(
                f"probs must be ({count}, {width}) and labels ({count},), for these ids and classes; got "
                f"{self.probs.shape} and {self.labels.shape}."
            )
        if count and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < width:
            raise ShapeError(f"labels must be in 0 ... {width - 1}; got {self.labels.min()} ... {self.labels.max()}.")
        if not np.allclose(self.probs.sum(axis=1), 1, atol=1e-6) or (self.probs < 0).any():
            raise ShapeError("rows of probs must be probabilities that sum to 1. Divide each row by its sum.")
        for name in ("image_only", "text_only", "no_context", "logits"):
            given = getattr(self, name)
            if given is not None and given.shape != (count, width):
                raise ShapeError(f"{name} must be ({count}, {width}); got {given.shape}.")
        for name in ("texts", "images", "losses", "attention", "choices", "image_rows", "text_rows"):
            given = getattr(self, name)
            if given is not None and len(given) != count:
                raise ShapeError(f"{name} must have one row a sample, {count}; got {len(given)}.")
        for name, column in self.columns.items():
            if column.shape != (count,) or column.dtype.kind != "U":
                raise ShapeError(f"column {name!r} must be ({count},) strings; got {column.dtype} {column.shape}.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> Ints:
        """The most probable class, the first of equals, (n,) int64."""
        found: Ints = self.probs.argmax(axis=1)
        return found

    @property
    def right(self) -> Bools:
        """Whether the most probable class is the label, (n,) bool."""
        found: Bools = self.predicted == self.labels
        return found

    @property
    def in_training(self) -> Bools:
        """Which samples the model was trained on, as far as the data say, (n,) bool; "Train" is "train"."""
        split = self.columns.get("split")
        if split is None:
            return np.zeros(len(self), bool)
        names, which = np.unique(split, return_inverse=True)
        found: Bools = np.array([name.strip().lower() in TRAIN_SPLITS for name in names.tolist()], bool)[which]
        return found

    @property
    def judged(self) -> Bools:
        """Which samples are judged: those the model was not trained on; all if it was trained on each, (n,) bool."""
        outside = ~self.in_training
        return outside if outside.any() else np.ones(len(self), bool)

    def column(self, name: str) -> NDArray[Any]:
        """Return the names to group by.

        Raises:
            DataError: There is no such column; the message lists those that are there.
        """
        if name == "class":
            return np.array(self.classes)[self.labels]
        if name not in self.columns:
            known = ", ".join(["class", *sorted(self.columns)])
            raise DataError(f"a group must be one of {known}; got {name!r}. Write it into each line, under `groups`.")
        return self.columns[name]

    def select(self, rows: Ints | Bools) -> Predictions:
        """Return some of the samples, in the order asked for."""
        numbers: Ints = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        changed: dict[str, Any] = {"ids": tuple(self.ids[i] for i in numbers.tolist())}
        for item in fields(self):
            given = getattr(self, item.name)
            if isinstance(given, np.ndarray):
                changed[item.name] = given[numbers]
            elif item.name in {"texts", "images"} and given is not None:
                changed[item.name] = tuple(given[i] for i in numbers.tolist())
            elif isinstance(given, Boxes):
                changed[item.name] = _selected_boxes(given, numbers, len(self))
        changed["columns"] = {name: column[numbers] for name, column in self.columns.items()}
        return replace(self, **changed)

    def missing(self) -> dict[str, str]:
        """Return what the data lack, and what cannot be said without it."""
        there = {
            "split": bool((self.in_training & ~self.in_training.all()).any()),
            "domain": "domain" in self.columns,
            "question_type": "question_type" in self.columns,
            "template": "template" in self.columns,
            "difficulty": "difficulty" in self.columns,
            **{name: getattr(self, attribute) is not None for name, attribute in _FIELDS.items()},
        }
        return {name: NEEDED[name] for name, found in there.items() if not found}

    def partly(self) -> dict[str, int]:
        """Return the fields that some judged samples have and others lack, with how many have them."""
        judged, found = self.judged, {}
        for name, attribute in _FIELDS.items():
            held = getattr(self, attribute)
            if held is None:
                continue
            if isinstance(held, tuple):
                there = np.array([bool(text) for text in held], bool)
            elif attribute == "choices":
                there = (held >= 0).all(axis=1)
            elif isinstance(held, Boxes):
                there = np.bincount(held.rows, minlength=len(self)) > 0
            else:
                there = ~np.isnan(held.reshape(len(self), -1)).all(axis=1)
            count = int(there[judged].sum())
            if count < int(judged.sum()):
                found[name] = count
        return found


_FIELDS = {
    "text": "texts", "image": "images", "loss": "losses", "attention": "attention", "boxes": "boxes",
    "candidates": "choices", "image_only_probs": "image_only", "text_only_probs": "text_only",
    "no_context_probs": "no_context", "scores": "logits", "image embeddings": "image_rows",
    "text embeddings": "text_rows",
}  # fmt: skip

NEEDED: Mapping[str, str] = {
    "split": "whether training samples fail too (noise or capacity) or only new ones (generalisation)",
    "domain": "how much is lost from one domain to another",
    "question_type": "accuracy and F1 by type of question",
    "template": "accuracy against how often a template was trained on",
    "difficulty": "errors by difficulty",
    "text": "whether words are missing, and what clusters of wrong samples talk about",
    "image": "examples with pictures",
    "loss": "jumps and extremes of the training loss",
    "attention": "where the model looked",
    "boxes": "whether it looked at the right place",
    "candidates": "whether it finds the right box among candidates",
    "image_only_probs": "what the text adds",
    "text_only_probs": "what the image adds",
    "no_context_probs": "how much depends on the words around the keyword",
    "scores": "the energy as a distance to the training data (--novelty energy)",
    "image embeddings": "how far samples are from the training data, and whether neighbours contradict a label",
    "text embeddings": "whether images and texts of pairs belong together",
}


def _selected_boxes(boxes: Boxes, numbers: Ints, count: int) -> Boxes:
    place = np.full(count, -1, np.int64)
    place[numbers] = np.arange(len(numbers))
    kept = np.flatnonzero(place[boxes.rows] >= 0)
    order = kept[np.argsort(place[boxes.rows[kept]], kind="stable")]
    return Boxes(boxes.xyxy[order], place[boxes.rows[order]])


def class_numbers(names: Sequence[str]) -> dict[str, int]:
    """Return the number of each class."""
    return {name: number for number, name in enumerate(names)}
