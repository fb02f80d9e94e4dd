"""Plant a fault in a system that answers questions about pictures, and see whether the diagnosis finds it.

The system answers "where is the red star?": the embedded model looks for the thing that the question names among five
of different colours, and a ridge head turns what it looked at into one of nine places. Five faults can be planted into
a share of the samples:

    noise             the label is another place
    generalisation    the picture is taken under a sodium lamp, which no training picture was
    alignment         the model looks for another thing than the one asked for
    missing modality  the question or the picture got lost on the way
    ambiguity         there are two such things, in different places, and either may be meant

    python diagnose_planted.py                               # one run of each fault at 20 %, small
    python diagnose_planted.py --runs 20 --shares 0.1,0.2,0.4 --out planted.json     # the study: some hours
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import clipfast
from clipfast.datasets.fabricworld import FABRICS, SHAPES, Wishes, compose
from clipfast.diagnostics import Boxes, Predictions, diagnose
from clipfast.diagnostics.predictions import Doubles
from clipfast.diagnostics.ridge import RidgeHead
from clipfast.metrics import apply_temperature, fit_temperature
from clipfast.similarity import cosine_map
from clipfast.types import Floats, Ints, Pixels

FAULTS = ("noise", "generalisation", "alignment", "missing modality", "ambiguity")
PLACES = [f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "centre", "right")]
THINGS = 5  # on one picture: so many lie in a grid of 3 x 3
SIZE = 224
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
    """What the image tower makes of pictures: patch tokens (n, p, e), embeddings (n, e); and exact boxes (n, 5, 4)."""

    tokens: Floats
    embeddings: Floats
    boxes: Doubles


def questions(rng: np.random.Generator, count: int) -> list[Question]:
    """Draw questions about the first of five things, all of different colours."""
    found = []
    for _ in range(count):
        cloth, *colours = rng.permutation(COLOURS)[: THINGS + 1].tolist()
        shapes = rng.choice(sorted(SHAPES), THINGS).tolist()
        things = tuple(f"{colour} {shape}" for colour, shape in zip(colours, shapes, strict=True))
        found.append(Question(int(rng.integers(1 << 31)), str(rng.choice(sorted(FABRICS))), cloth, things))
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
    drawn = [draw(item) for item in items]
    dense = clip.encode_dense([image for image, _ in drawn])
    return Seen(dense.vv, dense.embedding, np.stack([boxes for _, boxes in drawn]))


def labels_of(items: list[Question], seen: Seen) -> Ints:
    """Return the places that the labels name."""
    boxes = seen.boxes[np.arange(len(items)), [item.meant for item in items]]
    cells = np.minimum((boxes[:, :2] + boxes[:, 2:]) / 2 * 3, 2.99).astype(np.int64)
    shift = np.array([item.shift for item in items])
    found: Ints = (cells[:, 1] * 3 + cells[:, 0] + shift) % len(PLACES)
    return found


class System:
    """The system under diagnosis."""

    def __init__(self, clip: clipfast.Clip, items: list[Question], seen: Seen) -> None:
        """Train the head on where the attention lies."""
        self.clip = clip
        rows, labels = self.places(self.attend(items, seen)), labels_of(items, seen)
        self.head = RidgeHead.fit(rows, labels, len(PLACES), penalty=0.1)
        self.temperature = fit_temperature(labels, self.head.left_out())

    def attend(self, items: list[Question], seen: Seen) -> Floats:
        """Return the attention, (n, p)."""
        names = sorted({thing for item in items for thing in item.things})
        texts = self.clip.encode_texts([f"a {name}" for name in names])
        wanted = [names.index(item.things[item.looked_for]) for item in items]
        cosines = np.stack([cosine_map(seen.tokens[i : i + 1], texts[[at]])[0, :, 0] for i, at in enumerate(wanted)])
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


class World:
    """Clean questions, rendered once, and faulty versions of them."""

    def __init__(self, clip: clipfast.Clip, seed: int, *, train: int, test: int) -> None:
        """Render and encode the clean pictures."""
        self.clip, self.seed = clip, seed
        drawn = questions(np.random.default_rng(seed), train + test)
        self.train, self.test = drawn[:train], drawn[train:]
        self.seen = look(clip, self.train), look(clip, self.test)

    def planted(self, fault: str, share: float) -> Predictions:
        """Plant a fault into a share of all samples; generalisation into test samples only, as new domains are."""
        rng = np.random.default_rng([self.seed, 1 + FAULTS.index(fault) if fault else 0])
        only_test = fault in {"generalisation", "alignment", "missing modality", "ambiguity"}
        parts: list[tuple[list[Question], Seen]] = []
        for items, seen, at in ((self.train, self.seen[0], 0), (self.test, self.seen[1], 1)):
            count = 0 if not fault or (only_test and at == 0) else round(share * len(items))
            chosen = np.sort(rng.permutation(len(items))[:count])
            changed = list(items)
            for row in chosen.tolist():
                changed[row] = plant(fault, items[row], rng)
            parts.append(
                (changed, self._again(seen, changed, chosen) if fault in {"generalisation", "ambiguity"} else seen)
            )
        return predictions(System(self.clip, *parts[0]), parts)

    def _again(self, seen: Seen, items: list[Question], rows: Ints) -> Seen:
        if not len(rows):
            return seen
        new = look(self.clip, [items[row] for row in rows.tolist()])
        tokens, embeddings, boxes = seen.tokens.copy(), seen.embeddings.copy(), seen.boxes.copy()
        tokens[rows], embeddings[rows], boxes[rows] = new.tokens, new.embeddings, new.boxes
        return Seen(tokens, embeddings, boxes)


def main() -> None:
    parser = argparse.ArgumentParser(description="Plant faults and diagnose them.")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--shares", default="0.2")
    parser.add_argument("--train", type=int, default=150)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    records = []
    with clipfast.Clip.load("mini") as clip:
        for run in range(options.runs):
            world = World(clip, options.seed + run, train=options.train, test=options.test)
            for share in map(float, options.shares.split(",")):
                for fault in ("", *FAULTS):
                    if not fault and share != float(options.shares.split(",")[0]):
                        continue  # the clean set is the same at every share
                    found = diagnose(world.planted(fault, share))
                    named = [finding.cause for finding in found.triage.raised]
                    ratio = found.label_noise.ratio if found.label_noise else None
                    true_noise = share if fault == "noise" else 0.0
                    covered = ratio is not None and ratio.low <= true_noise <= ratio.high
                    records.append(
                        {
                            "run": run, "fault": fault or "none", "share": share if fault else 0.0, "named": named,
                            "right": named[:1] == [fault] if fault else not named,
                            "accuracy": found.accuracy.estimate,
                            "noise": ratio and [ratio.low, ratio.estimate, ratio.high],
                            "noise_covered": covered,
                            "counts": {f.cause: f.samples for f in found.triage.findings},
                            "undecided": found.triage.undecided,
                        }
                    )  # fmt: skip
                    print(
                        f"run {run}  planted {fault or 'nothing':16} {share if fault else 0:4.0%}  accuracy "
                        f"{found.accuracy.estimate:.2f}  named: {', '.join(named) or 'nothing'}"
                    )
    print(f"{sum(bool(record['right']) for record in records)} of {len(records)} named rightly")
    if options.out:
        options.out.write_text(json.dumps(records, indent=1))


if __name__ == "__main__":
    main()
