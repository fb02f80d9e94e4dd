"""From stored scenes to batches: crops with exact patch labels, captions, and what is true of what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from captions import CaptionWriter
from claims import (
    COLOUR,
    COUNT,
    DAMAGED,
    DEFECT,
    FABRIC,
    FLAWLESS,
    OBJECT_COLOUR,
    SHAPE,
    SHAPE_NAMES,
    Seen,
    has_object,
    object_claim,
    sample_claims,
    single_claim,
    true_claims,
    wrong_claims,
)
from model import GRID
from store import HALF, SIZE, Store

SINGLE_CLAIMS = 96
PLAIN_WRONG = 0.25  # share of captions without an object that get a wrong twin; those with one always do
SUBSAMPLES = 4  # of a patch along each side, when its label is decided
_PATCH = SIZE // GRID
_VISIBLE_OBJECT, _VISIBLE_DEFECT = 0.35, 0.3
_DAMAGED_PATCH = 0.07


@dataclass(frozen=True)
class Batch:
    """One step's data.

    Attributes:
        pixels: (b, 3, 16 g, 16 g) uint8.
        positions: Which of the 14 x 14 positions each patch takes, (b, g * g); None at full size.
        rows: Token rows of the captions, (t, l): one for each image, then wrong ones, then single claims.
        ends: Where each caption ends, (t,).
        truth: Whether a caption is true of an image, (b, t) float32.
        patches: Whether a single claim is true of a patch: 2 yes, 0 no, 1 in part, (b, g * g, SINGLE_CLAIMS) uint8.
        singles: Which claim each of the last captions makes, (SINGLE_CLAIMS,).
        shares: Share of each patch that each object covers, (b, 3, g * g) float32.
        objects: Shape and colour numbers of the visible objects, -1 for none, (b, 3, 2).
        defects: Number of a patch's defect plus one, 0 for none, -1 where it is unclear, (b, g * g).
        fabrics: (b,).
        colours: (b,).
    """

    pixels: Tensor
    positions: Tensor | None
    rows: Tensor
    ends: Tensor
    truth: Tensor
    patches: Tensor
    singles: Tensor
    shares: Tensor
    objects: Tensor
    defects: Tensor
    fabrics: Tensor
    colours: Tensor


class Batches(torch.utils.data.IterableDataset[Batch]):
    """Endless batches; `seed` and the step number decide everything.

    Attributes:
        store: Where scenes come from.
        size: Images of a batch.
        grid: Patches along each side of a crop: 14 is the whole picture, fewer a part of it.
    """

    def __init__(
        self, store: Store, writer: CaptionWriter, *, size: int, grid: int, seed: int, first_step: int
    ) -> None:
        self.store, self.writer, self.size, self.grid = store, writer, size, grid
        self.seed, self.first_step = seed, first_step

    def __iter__(self):  # type: ignore[no-untyped-def]  # a generator of Batch; torch's own annotation is narrower
        step = self.first_step
        while True:
            yield self.batch(np.random.default_rng([self.seed, self.grid, step]))
            step += 1

    def batch(self, rng: np.random.Generator) -> Batch:
        """Compose one batch."""
        crops = [self._crop(rng, int(i)) for i in rng.integers(0, len(self.store), self.size)]
        bits = np.stack([crop.bits for crop in crops])
        said = [sample_claims(rng, row) for row in bits]
        pairs = list(zip(said, bits, strict=True))
        wrong = [wrong_claims(rng, *pair) for pair in pairs if has_object(pair[0]) or rng.random() < PLAIN_WRONG]
        shown = np.flatnonzero(bits.any(0))
        present = [int(c) for c in shown if SHAPE + len(SHAPE_NAMES) <= c < OBJECT_COLOUR]
        singles = [single_claim(rng, present) for _ in range(SINGLE_CLAIMS)]
        captions = said + wrong + [[claim] for claim in singles]
        rows, ends = self.writer.encode(rng, captions)
        needed = np.zeros((len(captions), COUNT), np.float32)
        for row, claims in zip(needed, captions, strict=True):
            row[claims] = 1
        patches = np.stack([crop.patches for crop in crops])[:, :, singles]
        return Batch(
            pixels=torch.from_numpy(np.stack([crop.pixels for crop in crops]).transpose(0, 3, 1, 2).copy()),
            positions=None if self.grid == GRID else torch.from_numpy(self._windows(rng)),
            rows=torch.from_numpy(rows),
            ends=torch.from_numpy(ends),
            truth=torch.from_numpy((bits @ needed.T >= needed.sum(1) - 0.5).astype(np.float32)),
            patches=torch.from_numpy(patches),
            singles=torch.tensor(singles),
            shares=torch.from_numpy(np.stack([crop.shares for crop in crops])),
            objects=torch.from_numpy(np.stack([crop.objects for crop in crops])),
            defects=torch.from_numpy(np.stack([crop.defects for crop in crops])),
            fabrics=torch.tensor([crop.fabric for crop in crops]),
            colours=torch.tensor([crop.colour for crop in crops]),
        )

    def _windows(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Where in the 14 x 14 grid each small crop is said to lie."""
        corner = rng.integers(0, GRID - self.grid + 1, (self.size, 2))
        steps = np.arange(self.grid)
        rows, columns = corner[:, :1] + steps, corner[:, 1:] + steps
        return (rows[:, :, None] * GRID + columns[:, None, :]).reshape(self.size, -1)

    def _side(self, rng: np.random.Generator, target: int) -> int:
        """Draw how much of a scene is seen: mostly at its own scale; small crops also nearer and farther."""
        draw = rng.random()
        if self.grid == GRID:
            return target if draw < 0.7 else int(rng.integers(150, SIZE + 1))
        if draw < 0.45:
            return target
        return int(rng.integers(target, SIZE + 1) if draw < 0.85 else rng.integers(target * 5 // 8, target + 1))

    def _crop(self, rng: np.random.Generator, index: int) -> _Crop:
        target = self.grid * _PATCH
        side = self._side(rng, target)
        left, top = (int(v) for v in rng.integers(0, SIZE - side + 1, 2))
        flip_x, flip_y = (-1 if rng.random() < 0.5 else 1 for _ in range(2))
        pixels = self.store.images[index, top : top + side, left : left + side]
        if side != target:
            how = Image.Resampling.BOX if side > 1.5 * target else Image.Resampling.BICUBIC
            pixels = np.asarray(Image.fromarray(pixels).resize((target, target), how))
        pixels = pixels[::flip_y, ::flip_x]
        at = ((np.arange(self.grid * SUBSAMPLES) + 0.5) * side / (self.grid * SUBSAMPLES) / 2).astype(np.int64)
        rows, columns = (top // 2 + at)[::flip_y], (left // 2 + at)[::flip_x]
        where = np.ix_(np.minimum(rows, HALF - 1), np.minimum(columns, HALF - 1))
        return _Crop.of(self.store, index, _varied(rng, pixels), where, self.grid)


@dataclass(frozen=True)
class _Crop:
    """A crop and its labels; see `Batch`."""

    pixels: NDArray[np.uint8]
    fabric: int
    colour: int
    bits: NDArray[np.float32]
    patches: NDArray[np.uint8]
    shares: NDArray[np.float32]
    objects: NDArray[np.int64]
    defects: NDArray[np.int64]

    @classmethod
    def of(
        cls, store: Store, index: int, pixels: NDArray[np.uint8], where: tuple[NDArray[np.int64], ...], grid: int
    ) -> _Crop:
        fabric, colour = int(store.fabrics[index]), int(store.colours[index])
        whole_objects, whole_defects = store.object_masks[index], store.defect_masks[index]
        in_view = whole_objects[where]
        flaws_in_view = whole_defects[where]
        zoom = 1.0
        for at in where:
            zoom *= at.size / (int(at.max()) - int(at.min()) + 1)
        patches = np.zeros((grid * grid, COUNT), np.uint8)
        shares = np.zeros((len(store.objects[index]), grid * grid), np.float32)
        objects = np.full((len(store.objects[index]), 2), -1, np.int64)
        for j, (shape, tint) in enumerate(store.objects[index].tolist()):
            if shape < 0:
                continue
            shares[j] = _share(in_view == j + 1, grid)
            seen_part = (in_view == j + 1).sum() / max(1.0, (whole_objects == j + 1).sum() * zoom)
            if seen_part > _VISIBLE_OBJECT:
                objects[j] = shape, tint
            label = _label(shares[j], yes=0.5)[:, None]
            claims = [SHAPE + shape, object_claim(shape, tint), OBJECT_COLOUR + tint]
            patches[:, claims] = np.maximum(patches[:, claims], label)
        covered = _label(shares.max(0), yes=0.95)
        patches[:, [FABRIC + fabric, COLOUR + colour]] = (2 - covered)[:, None]
        flawed = np.zeros(grid * grid, np.uint8)
        kinds = np.zeros(grid * grid, np.int64)
        named, unsure = set(), False
        for j, kind in enumerate(store.defects[index].tolist()):
            if kind < 0 or not (flaws_in_view == j + 1).any():
                continue
            seen_part = (flaws_in_view == j + 1).sum() / max(1.0, (whole_defects == j + 1).sum() * zoom)
            named.add(kind) if seen_part > _VISIBLE_DEFECT else None
            unsure |= seen_part <= _VISIBLE_DEFECT
            label = _label(_share(flaws_in_view == j + 1, grid), yes=_DAMAGED_PATCH)
            patches[:, DEFECT + kind] = np.maximum(patches[:, DEFECT + kind], label)
            flawed = np.maximum(flawed, label)
            kinds = np.where(label == 2, kind + 1, np.where((label == 1) & (kinds == 0), -1, kinds))
        patches[:, DAMAGED], patches[:, FLAWLESS] = flawed, 2 - flawed
        visible = tuple((int(s), int(c)) for s, c in objects if s >= 0)
        bits = true_claims(Seen(fabric, colour, visible, tuple(named), unsure, empty=not in_view.any()))
        return cls(pixels, fabric, colour, bits, patches, shares, objects, kinds)


def _share(area: NDArray[np.bool_], grid: int) -> NDArray[np.float32]:
    share: NDArray[np.float32] = area.reshape(grid, SUBSAMPLES, grid, SUBSAMPLES).mean((1, 3), dtype=np.float32)
    return share.reshape(-1)


def _label(share: NDArray[np.float32], *, yes: float) -> NDArray[np.uint8]:
    """2 where enough of a patch is covered, 1 where some is, 0 where nothing is."""
    return np.where(share >= yes, 2, np.where(share > 0, 1, 0)).astype(np.uint8)


def _varied(rng: np.random.Generator, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Contrast, brightness and noise of another camera."""
    contrast, brightness = (np.float32(each) for each in rng.uniform(0.85, 1.15, 2))
    changed = rng.standard_normal((*pixels.shape[:2], 1), dtype=np.float32) * np.float32(2)
    changed = changed + (pixels * contrast + np.float32(pixels.mean()) * (brightness - contrast))
    return np.clip(changed, 0, 255, out=changed).astype(np.uint8)
