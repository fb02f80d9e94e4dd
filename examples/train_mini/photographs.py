"""Photographs, and pictures by another's simulation, that no training has seen: what is the model worth outside?

Three sources, each left out where it is not at hand: `conformal-clip-data` (PyPI, MIT: simulated grey textiles, sound
or with local or global faults), `../shared/data/hsst_fabric` (Apache-2.0: grey factory cloth with pixel masks), and the
pictures that scikit-image's wheel ships.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipfast import Clip
from clipfast.metrics.ranking import auroc_score
from clipfast.surgery.heatmap import resize_maps
from clipfast.types import Floats, Pixels
from figures import Figure, auroc, share
from patches import nearest_distances, streams
from recognition import among_top

FACTORY = Path(__file__).resolve().parents[3] / "shared" / "data" / "hsst_fabric"
SIDE, PATCH = 224, 16
_REFERENCES, _DRAWS = 20, 3
_CHUNK = 40  # pictures whose distances are computed at once
_OFFSETS = (0, 144, 288)  # of the crops of a 512 px photograph
_SURFACES = ("brick", "grass", "gravel", "ihc", "moon", "coins", "hubble_deep_field", "retina")
_PIECE = 96


def photographs(clip: Clip) -> Iterator[Figure]:
    """Give every figure whose data is at hand."""
    if importlib.util.find_spec("conformal_clip_data") is not None:
        yield from textiles(clip)
    if FACTORY.is_dir():
        yield from factory_cloth(clip, FACTORY)
    if importlib.util.find_spec("skimage") is not None:
        yield from surfaces(clip)


def textiles(clip: Clip) -> Iterator[Figure]:
    """Measure simulated textiles: sound ones against faults, by the mean distance to 20 sound ones, in three draws."""
    import conformal_clip_data as data

    found = {
        kind: _encoded(clip, sorted(Path(str(folder)).glob("*.jpg")))
        for kind, folder in (("sound", data.nominal_dir()), ("local", data.local_dir()), ("global", data.global_dir()))
    }
    draws = [
        np.random.default_rng(draw).permutation(len(next(iter(found["sound"].values()))))[:_REFERENCES]
        for draw in range(_DRAWS)
    ]
    for name, sound in found["sound"].items():
        kept = np.setdiff1d(np.arange(len(sound)), np.concatenate(draws))
        columns = {
            kind: np.stack([_mean_distances(each[name], sound[draw]) for draw in draws], axis=1)
            for kind, each in (("sound", {name: sound[kept]}), ("local", found["local"]), ("global", found["global"]))
        }
        for kind in ("local", "global"):
            scores = np.concatenate([columns["sound"], columns[kind]])
            yield auroc(f"simulated textiles, sound or {kind} [{name}]", np.arange(len(scores)) >= len(kept), scores)


def factory_cloth(clip: Clip, folder: Path) -> Iterator[Figure]:
    """Measure pixel AUROC of each damaged photograph; the memory holds the undamaged patches of all others.

    Crops of 224 pixels at the photographs' own scale; where crops overlap, their maps are averaged.
    """
    names = sorted(path.stem for path in (folder / "images").glob("*.jpg"))
    photos = [np.asarray(Image.open(folder / "images" / f"{name}.jpg").convert("RGB")) for name in names]
    masks = [np.asarray(Image.open(folder / "annotations" / f"{name}.png").convert("L")) > 127 for name in names]
    corners = [(top, left) for top in _OFFSETS for left in _OFFSETS]
    tokens = [streams(clip, [photo[top : top + SIDE, left : left + SIDE] for top, left in corners]) for photo in photos]
    sound = [_sound_patches(mask, corners) for mask in masks]
    for name in tokens[0]:
        scores = []
        for number, mask in enumerate(masks):
            if not mask.any():
                continue
            others = [i for i in range(len(names)) if i != number]
            known = np.concatenate([tokens[i][name][sound[i]] for i in others])
            far = nearest_distances(tokens[number][name], known)
            scores.append(auroc_score(mask[: _OFFSETS[-1] + SIDE, : _OFFSETS[-1] + SIDE], _joined(far, corners)))
        yield share(f"factory cloth, pixel AUROC [{name}]", scores)


def surfaces(clip: Clip) -> Iterator[Figure]:
    """Measure which of eight surfaces a piece was cut from; three references each, from the other half of the picture.

    Pieces are grey and differ in brightness and contrast, so neither tells them apart.
    """
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    pieces: list[tuple[int, bool, Pixels]] = []
    rng = np.random.default_rng(0)
    for number, surface in enumerate(_SURFACES):
        (path,) = (path for path in sorted(folder.glob(f"{surface}.*")) if path.suffix in {".png", ".jpg"})
        grey = np.asarray(Image.open(path).convert("L"), np.float32)
        for top in range(0, grey.shape[0] - _PIECE + 1, _PIECE):
            for left in range(0, grey.shape[1] - _PIECE + 1, _PIECE):
                right = left >= grey.shape[1] // 2
                if right or left + _PIECE <= grey.shape[1] // 2:
                    pieces.append((number, right, _varied(rng, grey[top : top + _PIECE, left : left + _PIECE])))
    rows = clip.encode_images([piece for _, _, piece in pieces])
    kinds, queries = np.array([kind for kind, _, _ in pieces]), np.array([right for _, right, _ in pieces])
    hits = []
    for _ in range(10):
        chosen = np.stack(
            [rng.choice(np.flatnonzero((kinds == kind) & ~queries), 3, replace=False) for kind in range(len(_SURFACES))]
        )
        scores = (rows[queries] @ rows[chosen.reshape(-1)].T).reshape(-1, len(_SURFACES), 3).max(2)
        hits.append(among_top(scores, kinds[queries], 1))
    yield share(f"pieces of {len(_SURFACES)} photographed surfaces, nearest of 3", np.mean(hits, axis=0))


def _encoded(clip: Clip, paths: list[Path]) -> dict[str, Floats]:
    parts = [streams(clip, [str(path) for path in paths[i : i + 100]]) for i in range(0, len(paths), 100)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _mean_distances(pictures: Floats, references: Floats) -> NDArray[np.float64]:
    known = references.reshape(-1, references.shape[-1])
    chunks = [pictures[i : i + _CHUNK] for i in range(0, len(pictures), _CHUNK)]
    return np.concatenate([nearest_distances(chunk, known).mean(1, dtype=np.float64) for chunk in chunks])


def _sound_patches(mask: NDArray[np.bool_], corners: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which patches of each crop, (crops, 196), hold no damaged pixel."""
    crops = np.stack([mask[top : top + SIDE, left : left + SIDE] for top, left in corners])
    grid = SIDE // PATCH
    cells = crops.reshape(len(crops), grid, PATCH, grid, PATCH).any((2, 4))
    return ~cells.reshape(len(crops), -1)


def _joined(far: Floats, corners: list[tuple[int, int]]) -> Floats:
    """Average the maps of the crops where they overlap."""
    size = _OFFSETS[-1] + SIDE
    total, count = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    grid = SIDE // PATCH
    for one, (top, left) in zip(resize_maps(far.reshape(-1, grid, grid), (SIDE, SIDE)), corners, strict=True):
        total[top : top + SIDE, left : left + SIDE] += one
        count[top : top + SIDE, left : left + SIDE] += 1
    out: Floats = total / count
    return out


def _varied(rng: np.random.Generator, grey: NDArray[Any]) -> Pixels:
    mean, spread = rng.uniform(90, 160), rng.uniform(25, 50)
    changed = (grey - grey.mean()) / max(float(grey.std()), 1e-3) * spread + mean
    return np.repeat(np.clip(changed, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
