"""What experiments are run on: labelled pictures with texts, from fabricworld or from JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from clipfast.datasets.fabricworld import FABRICS, SHAPES, Wishes, class_samples, compose, detection_samples
from clipfast.diagnostics.predictions import TRAIN_SPLITS
from clipfast.diagnostics.records import Box, read_chunks, read_header
from clipfast.errors import DataError
from clipfast.types import ImageSource, Ints, Pixels

__all__ = ["Objects", "Part", "Regions", "StudyData", "StudyRecord", "fabricworld_study", "read_study"]

Given = Annotated[Any, "a field of predictions that experiments do not read"]


class StudyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One sample; lines of PREDICTIONS.jsonl and of CAPTIONS.jsonl are samples too.

    Attributes:
        id: Unique name.
        image: Path of the picture, relative to the file.
        text: Caption or question.
        label: The true class: a name, or its number where a first line names the classes.
        keyword: The word of the text that names what is meant.
        split: "train" or "training" marks training samples.
        domain: Where it comes from; domains that were not trained on are another data set.
        candidates: Boxes to choose among, xyxy; in pixels with `size_hw`, otherwise as shares of width and height.
        size_hw: Height and width of the image in pixels.
        answer: Number of the candidate that the text means.
    """

    id: str | int
    image: str
    text: str = ""
    label: str | int | None = None
    keyword: str | None = None
    split: str | None = None
    domain: str | None = None
    candidates: list[Box] | None = None
    size_hw: tuple[int, int] | None = None
    answer: int | None = None
    probs: Given = None
    scores: Given = None
    question_type: Given = None
    template: Given = None
    difficulty: Given = None
    loss: Given = None
    attention: Given = None
    boxes: Given = None
    chosen: Given = None
    image_only_probs: Given = None
    text_only_probs: Given = None
    no_context_probs: Given = None
    groups: Given = None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Labelled pictures.

    Attributes:
        images: Paths or pixels, n.
        labels: Numbers of the classes, (n,) int64.
        texts: Captions, "" where there is none, n.
        keywords: The word of each caption that names what is meant, "" where none is named, n.
    """

    images: tuple[ImageSource, ...]
    labels: Ints
    texts: tuple[str, ...]
    keywords: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Pictures with boxes to choose among.

    Attributes:
        images: n.
        candidates: Boxes xyxy as shares of width and height, (k, 4) float64 each, n.
        texts: What is meant, n.
        answers: Number of the right candidate, n.
    """

    images: tuple[ImageSource, ...]
    candidates: tuple[Any, ...]
    texts: tuple[str, ...]
    answers: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Pictures of one thing each, whose background can be replaced.

    Attributes:
        images: RGB, (h, w, 3) uint8, n.
        masks: Where the thing is, (h, w), n.
        labels: Numbers of `names`, (n,).
        names: What the things are called.
    """

    images: tuple[Pixels, ...]
    masks: tuple[Pixels, ...]
    labels: Ints
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StudyData:
    """One data set, as far as it goes.

    Attributes:
        name: Of the data set.
        classes: Names; empty without labels.
        train: Labelled training samples; None without a split.
        test: Samples that are judged.
        other: Samples of another data set or of domains that were not trained on; None where there is none.
        regions: For the choice among boxes; None without candidates and answers.
        objects: Things before backgrounds; None where no masks are known.
    """

    name: str
    classes: tuple[str, ...]
    train: Part | None
    test: Part
    other: Part | None
    regions: Regions | None
    objects: Objects | None


def fabricworld_study(
    seed: int = 0, *, per_class: int = 6, fabrics: Sequence[str] | None = None, size: int = 224
) -> StudyData:
    """Draw a data set: fabrics to train and to test on, the same through a worse camera, and things on cloth.

    Args:
        seed: Of everything.
        per_class: Pictures of each fabric in each part, 2 or more.
        fabrics: Keys of `FABRICS`; None takes all.
        size: Pixels along each side.
    """
    names = tuple(FABRICS) if fabrics is None else tuple(fabrics)
    if per_class < 2 or len(set(names)) < 2:
        raise DataError(f"a study needs two fabrics and two pictures of each; got {len(set(names))} and {per_class}.")
    plain, varied = Wishes(size=size), Wishes(size=size, camera="varied")
    parts = []
    for number, wishes in enumerate((plain, plain, varied)):
        drawn = list(class_samples(3 * seed + number, per_fabric=per_class, fabrics=names, wishes=wishes))
        labels = np.array([names.index(each.label) for each in drawn], np.int64)
        captions, labelled = tuple(each.caption for each in drawn), tuple(each.label for each in drawn)
        parts.append(Part(tuple(each.image for each in drawn), labels, captions, labelled))
    train, test, other = parts
    count = per_class * len(names)
    regions, objects = _regions(seed, min(count, 60), size), _objects(seed, min(count, 60), size)
    return StudyData("fabricworld", names, train, test, other, regions, objects)


def _regions(seed: int, count: int, size: int) -> Regions:
    """Draw three things of different names, and ask for the first."""
    drawn = [
        sample
        for sample in detection_samples(1_000_003 * (seed + 1), 2 * count, wishes=Wishes(objects=3, size=size))
        if len(set(sample.names)) == len(sample.names)
    ][:count]
    return Regions(
        tuple(sample.image for sample in drawn),
        tuple(sample.boxes.astype(np.float64) / size for sample in drawn),
        tuple(f"a photo of a {sample.names[0]}" for sample in drawn),
        (0,) * len(drawn),
    )


def _objects(seed: int, count: int, size: int) -> Objects:
    names = tuple(SHAPES)
    labels = np.arange(count) % len(names)
    drawn = [
        compose(2_000_003 * (seed + 1) + at, Wishes(objects=[names[label]], size=size))
        for at, label in enumerate(labels.tolist())
    ]
    return Objects(
        tuple(scene.image for scene in drawn),
        tuple(scene.object_mask for scene in drawn),
        labels.astype(np.int64),
        names,
    )


def read_study(path: Path, *, other: Path | None = None) -> StudyData:
    """Read a data set from JSON lines of `StudyRecord`.

    Args:
        path: The file.
        other: Another data set of the same classes; None takes what `path` holds of domains that were not trained on.

    Raises:
        DataError: A line is wrong, a label is no class, or a candidate is outside.
    """
    records = _records(path)
    header = read_header(path)
    second = [] if other is None else _records(other)
    given = [str(record.label) for _, record in (*records, *second) if record.label is not None]
    classes = tuple(header.classes) if header is not None else tuple(sorted(set(given)))
    seen = {record.domain for _, record in records if _trained(record)}
    train = [each for each in records if _trained(each[1])]
    judged = [each for each in records if not _trained(each[1])]
    new = [each for each in judged if seen - {None} and each[1].domain and each[1].domain not in seen]
    test = [each for each in judged if each not in new] if other is None else judged
    return StudyData(
        path.name,
        classes,
        _part(path, train, classes) if train else None,
        _part(path, test or judged, classes),
        _part(other, second, classes) if other is not None else _part(path, new, classes) if new and test else None,
        _candidates(path, judged),
        None,
    )


Lines = list[tuple[int, StudyRecord]]


def _trained(record: StudyRecord) -> bool:
    return (record.split or "").strip().lower() in TRAIN_SPLITS


def _records(path: Path) -> Lines:
    return [each for lines in read_chunks(path, StudyRecord) for each in lines]


def _part(path: Path, lines: Lines, classes: Sequence[str]) -> Part:
    numbers = {name: number for number, name in enumerate(classes)}
    labels = []
    for number, record in lines:
        found = -1 if record.label is None else numbers.get(str(record.label), -1)
        if found < 0 and isinstance(record.label, int) and 0 <= record.label < len(classes):
            found = record.label
        if found < 0 and record.label is not None:
            known = ", ".join(classes[:8])
            raise DataError(f"{path}, line {number}: label must be one of {known}; got {record.label!r}.")
        labels.append(found)
    return Part(
        tuple(path.parent / record.image for _, record in lines),
        np.array(labels, np.int64),
        tuple(record.text for _, record in lines),
        tuple(record.keyword or "" for _, record in lines),
    )


def _candidates(path: Path, lines: Lines) -> Regions | None:
    images, boxes, texts, answers = [], [], [], []
    for number, record in lines:
        if record.candidates is None or record.answer is None or not record.text or len(record.candidates) < 2:
            continue
        high, wide = record.size_hw or (1, 1)
        if high < 1 or wide < 1:
            raise DataError(f"{path}, line {number}: size_hw must be positive; got {record.size_hw}.")
        shares = np.array(record.candidates) / [wide, high, wide, high]
        inside = (shares[:, :2] >= 0) & (shares[:, :2] < shares[:, 2:]) & (shares[:, 2:] <= 1 + 1e-6)
        if not inside.all() or not 0 <= record.answer < len(shares):
            raise DataError(
                f"{path}, line {number}: candidates must be xyxy inside the image, and answer number one of them; got "
                f"{record.candidates} and {record.answer}. Give `size_hw` with pixels, or shares of width and height."
            )
        images.append(path.parent / record.image)
        boxes.append(shares)
        texts.append(record.text)
        answers.append(record.answer)
    return Regions(tuple(images), tuple(boxes), tuple(texts), tuple(answers)) if len(images) > 1 else None
