"""A system that answers questions about rendered pictures, and five faults that can be planted into it.

The system answers "where is the red star?": the embedded model looks for the thing that the question names among five
of different colours, and a ridge head turns what it looked at into one of nine places.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import clipfast
from clipfast.datasets.fabricworld import FABRICS, SHAPES, Wishes, compose
from clipfast.diagnostics import Boxes, Predictions
from clipfast.diagnostics.predictions import Doubles
from clipfast.diagnostics.ridge import RidgeHead
from clipfast.metrics import apply_temperature, fit_temperature
from clipfast.similarity import cosine_map
from clipfast.storage import atomic_write
from clipfast.types import Floats, Ints, Pixels

FAULTS = ("noise", "generalisation", "alignment", "missing modality", "ambiguity")
PLACES = [f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "centre", "right")]
THINGS = 5  # on one picture: so many lie in a grid of 3 x 3
SIZE = 224
BATCH = 32
NEW_PICTURES = ("generalisation", "ambiguity")  # faults that change the picture
SHARPNESS = 25.0  # of the attention: exp(sharpness * cosine)
COLOURS = ("red", "yellow", "green", "blue", "purple", "orange", "white", "black", "pink")
SODIUM = np.array([1.0, 0.62, 0.1])  # a street lamp: it leaves no colours


@dataclass(frozen=True)
class Question:
    """One sample: what is drawn, which of the things is asked for, which is looked for, which one the label means."""

    seed: int
    fabric: str
    cloth: str
    things: tuple[str, ...]
    fault: str = ""
    looked_for: int = 0
    meant: int = 0
    shift: int = 0  # of the label, from the place of what is meant


@dataclass(frozen=True)
class Seen:
    """What the model makes of pictures, and exact boxes (n, 5, 4).

    `cosines`, (n, 2, p), are of the patches with the first and the second thing; `embeddings` are (n, e).
    """

    cosines: Floats
    embeddings: Floats
    boxes: Doubles


def questions(seed: int, count: int) -> list[Question]:
    """Draw questions about the first of five things, all of different colours; scenes have seeds from `seed` on."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        cloth, *colours = rng.permutation(COLOURS)[: THINGS + 1].tolist()
        shapes = rng.choice(sorted(SHAPES), THINGS).tolist()
        things = tuple(f"{colour} {shape}" for colour, shape in zip(colours, shapes, strict=True))
        found.append(Question(seed + int(rng.integers(90_000_000)), str(rng.choice(sorted(FABRICS))), cloth, things))
    return found


def plant(fault: str, item: Question, rng: np.random.Generator) -> Question:
    """Plant a fault into one sample."""
    if fault == "noise":
        return replace(item, fault=fault, shift=int(rng.integers(1, len(PLACES))))
    if fault == "alignment":
        return replace(item, fault=fault, looked_for=1)
    if fault == "missing modality":
        return replace(item, fault="no text" if rng.random() < 0.5 else "no image")
    if fault == "ambiguity":
        return replace(
            item, fault=fault, things=(item.things[0], item.things[0], *item.things[2:]), meant=int(rng.integers(2))
        )
    return replace(item, fault=fault)


def draw(item: Question) -> tuple[Pixels, Doubles]:
    """Render the picture, and give the boxes of the things."""
    scene = compose(item.seed, Wishes(fabric=item.fabric, colour=item.cloth, objects=item.things, size=SIZE))
    image = scene.image
    if item.fault == "generalisation":
        image = (image.mean(axis=2, keepdims=True) * SODIUM).astype(np.uint8)
    return image, np.array([thing.box for thing in scene.objects], np.float64) / SIZE


def look(clip: clipfast.Clip, items: list[Question]) -> Seen:
    """Render and encode."""
    parts: list[tuple[Floats, Floats, Doubles]] = []
    for begin in range(0, len(items), BATCH):
        batch = items[begin : begin + BATCH]
        drawn = [draw(item) for item in batch]
        dense = clip.encode_dense([image for image, _ in drawn])
        texts = clip.encode_texts([f"a {name}" for item in batch for name in item.things[:2]])
        texts = texts.reshape(len(batch), 2, -1)
        cosines = np.stack([cosine_map(dense.vv[i : i + 1], texts[i])[0].T for i in range(len(batch))])
        parts.append((cosines, dense.embedding, np.stack([boxes for _, boxes in drawn])))
    cosines, embeddings, boxes = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Seen(cosines, embeddings, boxes)


def labels_of(items: list[Question], seen: Seen) -> Ints:
    """Return the places that the labels name."""
    boxes = seen.boxes[np.arange(len(items)), [item.meant for item in items]]
    cells = np.minimum((boxes[:, :2] + boxes[:, 2:]) / 2 * 3, 2.99).astype(np.int64)
    shift = np.array([item.shift for item in items])
    found: Ints = (cells[:, 1] * 3 + cells[:, 0] + shift) % len(PLACES)
    return found


class System:
    """The system under diagnosis."""

    def __init__(self, items: list[Question], seen: Seen) -> None:
        """Train the head on where the attention lies."""
        rows, labels = self.places(self.attend(items, seen)), labels_of(items, seen)
        self.head = RidgeHead.fit(rows, labels, len(PLACES), penalty=0.1)
        self.temperature = fit_temperature(labels, self.head.left_out())

    @staticmethod
    def attend(items: list[Question], seen: Seen) -> Floats:
        """Return the attention, (n, p)."""
        cosines = seen.cosines[np.arange(len(items)), [item.looked_for for item in items]].copy()
        lost = np.array([item.fault in {"no text", "no image"} for item in items])
        cosines[lost] = 0.0  # nothing to look for, or nothing to look at
        weights = np.exp(SHARPNESS * (cosines - cosines.max(axis=1, keepdims=True)))
        found: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        return found

    @staticmethod
    def places(attention: Floats) -> Doubles:
        """Return how much of the attention lies in each of nine places, (n, 9)."""
        side = int(attention.shape[1] ** 0.5)
        nearest = np.minimum((np.arange(side) + 0.5) / side * 3, 2.99).astype(np.int64)
        cells = nearest[:, None] * 3 + nearest
        found: Doubles = attention.astype(np.float64) @ np.eye(len(PLACES))[cells.ravel()]
        return found

    def answer(self, places: Doubles) -> Doubles:
        """Return probabilities, (n, 9)."""
        return apply_temperature(self.head.scores(places), self.temperature)


def predictions(system: System, parts: list[tuple[list[Question], Seen]]) -> Predictions:
    """Let the system answer, and write down what a diagnosis may see."""
    (train, train_seen), (test, test_seen) = parts
    items = train + test
    attention = np.concatenate([system.attend(*part) for part in parts])
    probs = system.answer(system.places(attention))
    probs[: len(train)] = apply_temperature(system.head.left_out(), system.temperature)
    nothing = system.answer(system.places(np.full((1, attention.shape[1]), 1 / attention.shape[1], np.float32)))
    side = int(attention.shape[1] ** 0.5)
    boxes = np.concatenate([train_seen.boxes, test_seen.boxes])
    there = [[0, 1] if item.fault == "ambiguity" else [0] for item in items]
    return Predictions(
        ids=tuple(f"{'train' if i < len(train) else 'test'}-{i}" for i in range(len(items))),
        classes=tuple(PLACES),
        labels=np.concatenate([labels_of(*part) for part in parts]),
        probs=probs,
        texts=tuple("" if item.fault == "no text" else f"where is the {item.things[0]}?" for item in items),
        columns={"split": np.array(["train"] * len(train) + ["test"] * len(test))},
        attention=attention.reshape(-1, side, side),
        boxes=Boxes(
            np.concatenate([boxes[i, at] for i, at in enumerate(there)]),
            np.repeat(np.arange(len(items)), [len(at) for at in there]),
        ),
        image_only=np.repeat(nothing, len(items), axis=0),
        text_only=np.repeat(nothing, len(items), axis=0),
        image_rows=np.concatenate([train_seen.embeddings, test_seen.embeddings]),
    )


@dataclass(frozen=True)
class WorldSize:
    """How many questions there are to train on and to judge, and the largest share of faults that can be planted."""

    train: int = 200
    test: int = 300
    most: float = 0.4


class World:
    """Clean questions and their faulty versions, rendered and encoded once; kept in a file where a folder is given."""

    def __init__(self, clip: clipfast.Clip, seed: int, size: WorldSize, cache: Path | None = None) -> None:
        """Render and encode, or read what was encoded before."""
        self.seed, self.size = seed, size
        train, test = size.train, size.test
        drawn = questions(seed, train + test)
        self.train, self.test = drawn[:train], drawn[train:]
        self.order = {fault: self._rng(fault).permutation(test) for fault in FAULTS}  # so that small shares are nested
        wanted = {"train": self.train, "test": self.test}
        for fault in NEW_PICTURES:
            chosen = self.order[fault][: round(size.most * test)].tolist()
            wanted[fault] = [plant(fault, self.test[row], self._rng(fault)) for row in chosen]
        path = None if cache is None else cache / f"{clip.fingerprint()[:12]}-{seed}-{train}-{test}-{size.most:g}.npz"
        if path is not None and path.is_file():
            with np.load(path, allow_pickle=False) as held:
                self.seen = {
                    name: Seen(held[f"{name}/cosines"], held[f"{name}/embeddings"], held[f"{name}/boxes"])
                    for name in wanted
                }
            return
        self.seen = {name: look(clip, items) for name, items in wanted.items()}
        if path is not None:
            arrays = {
                f"{name}/{part}": getattr(seen, part)
                for name, seen in self.seen.items()
                for part in ("cosines", "embeddings", "boxes")
            }
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **arrays)

    def _rng(self, fault: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, 1 + FAULTS.index(fault)])

    def planted(self, *faults: tuple[str, float]) -> Predictions:
        """Plant faults, each into a share of the samples; noise into training samples too, the others are of new ones.

        A sample gets one fault: the first that chose it.
        """
        if not all(0 <= share <= self.size.most for _, share in faults):
            raise ValueError(f"shares must be 0 to {self.size.most:g}; got {[share for _, share in faults]}.")
        train, test = list(self.train), list(self.test)
        seen = Seen(*(getattr(self.seen["test"], part).copy() for part in ("cosines", "embeddings", "boxes")))
        for fault, share in faults:
            rng = self._rng(fault)
            if fault == "noise":
                for row in rng.permutation(len(train))[: round(share * len(train))].tolist():
                    train[row] = plant(fault, train[row], rng)
            for at, row in enumerate(self.order[fault][: round(share * len(test))].tolist()):
                if test[row].fault:
                    continue
                test[row] = plant(fault, test[row], rng)
                if fault in NEW_PICTURES:
                    for part in ("cosines", "embeddings", "boxes"):
                        getattr(seen, part)[row] = getattr(self.seen[fault], part)[at]
        return predictions(System(train, self.seen["train"]), [(train, self.seen["train"]), (test, seen)])
