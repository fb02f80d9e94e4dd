"""A second generator of faults, which the rules were not set on: photographs of blood cells, cut out along their boxes.

The system answers "what cell is at ...?": it cuts out the box that it is asked for, embeds it, and a ridge head names
one of three cells. Data: BCCD (github.com/Shenggan/BCCD_Dataset, MIT), in VOC's format.

    noise             the label is another cell
    generalisation    the slide is stained in other colours, as no training slide was
    alignment         another box than the one asked for is cut out
    missing modality  the photograph got lost: the cut-out is grey
    ambiguity         the cut-out holds a second cell of another kind, and either may be meant
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

import clipfast
from clipfast.datasets.voc import read_voc
from clipfast.diagnostics import Boxes, Predictions
from clipfast.diagnostics.predictions import Doubles
from clipfast.diagnostics.ridge import RidgeHead
from clipfast.metrics import apply_temperature, fit_temperature
from clipfast.storage import atomic_write
from clipfast.types import Floats, Ints, Pixels
from planted.study import Fault

CELLS = ("Platelets", "RBC", "WBC")
EACH = 350  # cut-outs of a kind
GRID = 14
GREY = 128
VERSIONS = ("plain", "stained", "other", "both", "grey")  # of each cut-out


@dataclass(frozen=True)
class Crops:
    """All cut-outs: boxes as shares of the picture (n, 4), and embeddings of each version, (n, e)."""

    pictures: tuple[str, ...]
    labels: Ints
    neighbours: Ints  # label of the nearest cell of another kind in the picture, -1 where there is none
    boxes: Doubles
    other_boxes: Doubles
    embeddings: dict[str, Floats]


def load_crops(clip: clipfast.Clip, folder: Path, cache: Path | None) -> Crops:
    """Cut out and encode, or read what was encoded before."""
    path = None if cache is None else cache / f"{clip.fingerprint()[:12]}-bccd-{EACH}.npz"
    if path is None or not path.is_file():
        arrays = _encoded(clip, folder)
        if path is not None:
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
    else:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    return Crops(
        tuple(arrays["pictures"].tolist()), arrays["labels"], arrays["neighbours"], arrays["boxes"],
        arrays["other_boxes"], {name: arrays[name] for name in VERSIONS},
    )  # fmt: skip


def _encoded(clip: clipfast.Clip, folder: Path) -> dict[str, np.ndarray]:
    places = _places(folder)
    found: dict[str, list[np.ndarray]] = {name: [] for name in VERSIONS}
    for begin in range(0, len(places), 32):
        cuts = [_versions(place) for place in places[begin : begin + 32]]
        for at, name in enumerate(VERSIONS):
            found[name].append(clip.encode_images([cut[at] for cut in cuts]))
    sizes = np.array([np.tile(place.size_wh, 2) for place in places], np.float64)
    return {
        "pictures": np.array([place.path.name for place in places]),
        "labels": np.array([place.label for place in places], np.int64),
        "neighbours": np.array([place.other_label for place in places], np.int64),
        "boxes": np.array([place.box for place in places], np.float64) / sizes,
        "other_boxes": np.array([place.other for place in places], np.float64) / sizes,
        **{name: np.concatenate(rows) for name, rows in found.items()},
    }


@dataclass(frozen=True)
class Place:
    """A box, and the nearest one of another kind in the same picture (itself where there is none)."""

    path: Path
    size_wh: tuple[int, int]
    box: tuple[int, int, int, int]
    label: int
    other: tuple[int, int, int, int]
    other_label: int


def _places(folder: Path) -> list[Place]:
    data = read_voc(folder, classes=CELLS)
    by_kind: list[list[Place]] = [[] for _ in CELLS]
    for sample in data:
        if not isinstance(sample.image, Path):
            continue
        labels = np.array([CELLS.index(name) for name in sample.labels], np.int64)
        boxes = sample.boxes.round().astype(int)
        middles = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2
        for at, label in enumerate(labels.tolist()):
            if (boxes[at, 2:] - boxes[at, :2]).min() < 8:
                continue
            away = ((middles - middles[at]) ** 2).sum(axis=1)
            away[labels == label] = np.inf
            near = int(away.argmin()) if np.isfinite(away).any() else at
            box, other = (tuple(boxes[each].tolist()) for each in (at, near))
            size = (sample.size_hw[1], sample.size_hw[0])
            kind = int(labels[near]) if near != at else -1
            by_kind[label].append(Place(sample.image, size, box, label, other, kind))
    rng = np.random.default_rng(0)
    return [kind[i] for kind in by_kind for i in np.sort(rng.permutation(len(kind))[:EACH]).tolist()]


def _versions(place: Place) -> list[Pixels]:
    with Image.open(place.path) as opened:
        picture = opened.convert("RGB")
    plain, other = (np.asarray(picture.crop(box).resize((96, 96))) for box in (place.box, place.other))
    beside = np.asarray(Image.fromarray(other).resize((48, 96)))
    both = np.concatenate([np.asarray(Image.fromarray(plain).resize((48, 96))), beside], axis=1)
    return [plain, plain[..., [2, 0, 1]].copy(), other, both, np.full_like(plain, GREY)]


class CropWorld:
    """One split of the cut-outs by picture: training and new ones."""

    def __init__(self, crops: Crops, seed: int) -> None:
        """Draw which pictures are trained on."""
        self.crops, self.seed = crops, seed
        names = np.unique(crops.pictures)
        trained = np.random.default_rng(seed).permutation(names)[: len(names) // 3]
        self.in_training = np.isin(crops.pictures, trained)

    def planted(self, *faults: Fault) -> Predictions:
        """Plant faults; a sample gets one: the first that chose it. Noise goes into training samples too."""
        crops, rng = self.crops, np.random.default_rng([self.seed, 1])
        count = len(crops.labels)
        labels, version = crops.labels.copy(), np.zeros(count, np.int64)
        fault_of = np.full(count, "", dtype="U20")
        for fault, share in faults:
            for train in (True, False) if fault == "noise" else (False,):
                part = np.flatnonzero(self.in_training == train)
                chosen = rng.permutation(part)[: round(share * len(part))]
                chosen = chosen[fault_of[chosen] == ""]
                if fault in {"alignment", "ambiguity"}:
                    chosen = chosen[crops.neighbours[chosen] >= 0]
                fault_of[chosen] = fault
        noisy = fault_of == "noise"
        labels[noisy] = (labels[noisy] + rng.integers(1, len(CELLS), int(noisy.sum()))) % len(CELLS)
        meant = (fault_of == "ambiguity") & (rng.random(count) < 0.5)
        labels[meant] = crops.neighbours[meant]
        for fault, name in (
            ("generalisation", "stained"), ("alignment", "other"), ("missing modality", "grey"), ("ambiguity", "both"),
        ):  # fmt: skip
            version[fault_of == fault] = VERSIONS.index(name)
        rows = np.stack([crops.embeddings[name] for name in VERSIONS])[version, np.arange(count)]
        return self._answered(
            rows, labels, np.where((fault_of == "alignment")[:, None], crops.other_boxes, crops.boxes)
        )

    def _answered(self, rows: Floats, labels: Ints, looked: Doubles) -> Predictions:
        train = np.flatnonzero(self.in_training)
        head = RidgeHead.fit(rows[train], labels[train], len(CELLS), penalty=0.1)
        temperature = fit_temperature(labels[train], head.left_out())
        probs = apply_temperature(head.scores(rows), temperature)
        probs[train] = apply_temperature(head.left_out(), temperature)
        blind = apply_temperature(head.scores(self.crops.embeddings["grey"][:1]), temperature)
        edges = np.arange(GRID + 1) / GRID
        covers = [
            np.maximum(np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1]), 0)
            for low, high in ((looked[:, 1], looked[:, 3]), (looked[:, 0], looked[:, 2]))
        ]
        names = [f"what cell is at {x:.2f} {y:.2f}?" for x, y in self.crops.boxes[:, :2].tolist()]
        return Predictions(
            ids=tuple(f"{name}#{i}" for i, name in enumerate(self.crops.pictures)),
            classes=CELLS,
            labels=labels,
            probs=probs,
            texts=tuple(names),
            columns={"split": np.where(self.in_training, "train", "test")},
            attention=(covers[0][:, :, None] * covers[1][:, None, :]).astype(np.float32),
            boxes=Boxes(self.crops.boxes, np.arange(len(labels))),
            text_only=np.repeat(blind, len(labels), axis=0),
            image_rows=rows,
        )


def predictions_only(data: Predictions) -> Predictions:
    """Take away all but probabilities, labels and the split."""
    return replace(
        data, texts=None, attention=None, boxes=None, text_only=None, image_rows=None,
        columns={"split": data.columns["split"]},
    )  # fmt: skip
