"""How well things are found in a picture: objects by name, damage by text and by a memory of intact cloth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipfast import Clip
from clipfast.anomaly.pictures import View, Viewer
from clipfast.kernels import label_components
from clipfast.metrics.ranking import auroc_score
from clipfast.similarity import cosine_map
from clipfast.surgery.heatmap import resize_maps, unit_range
from clipfast.surgery.options import MapOptions
from clipfast.surgery.paths import FROM_ONE_FORWARD, Path, score_patches
from clipfast.surgery.texts import TextRows
from clipfast.types import DenseTokens, Floats
from figures import Figure, Found, auroc, average_precision, region_overlap, share
from patches import nearest_distances, streams
from recognition import DAMAGED, FLAWLESS, SHAPE_NAMES
from worlds import COLOUR_NAMES, FABRIC_NAMES, Truth, World

LEVEL = 0.6  # of a map's own range, from which on a pixel belongs to a box; fixed beforehand
SIDE = 224
SHOTS = 4
ZOOMS = (1.25, 1.5)  # of the references that a memory holds besides; chosen, like "contrast", on choice seeds


def objects(clip: Clip, truths: Sequence[Truth]) -> list[Figure]:
    """Measure pointing, boxes of coloured objects, and mean average precision by shape word, of every path."""
    tokens, plain = clip.encode_dense([t.image for t in truths]), clip.encode_tokens([t.image for t in truths])
    names = sorted({f"a {tint} {shape}" for truth in truths for shape, tint, _ in truth.objects})
    rows = clip.encode_texts([*names, *(f"a {shape}" for shape in SHAPE_NAMES), ""])
    named, shapes, empty = rows[: len(names)], rows[len(names) : -1], rows[-1]
    figures = []
    paths: tuple[Path, ...] = ("plain", *FROM_ONE_FORWARD)
    for path in paths:
        overlaps, hits, pictures = [], [], []
        for number, truth in enumerate(truths):
            one = _only(tokens, number)
            pairs = [(shape, tint) for shape, tint, _ in truth.objects]
            for shape, tint, box in truth.objects:
                if pairs.count((shape, tint)) > 1:
                    continue
                query = named[names.index(f"a {tint} {shape}")][None]
                scores = _scores(path, one, plain[number], query, empty)[0]
                best = boxes_of(scores)[0]
                overlaps.append(_iou(best[:4], box))
                row, column = np.unravel_index(int(scores.argmax()), scores.shape)
                hits.append(float(box[0] <= column < box[2] and box[1] <= row < box[3]))
            pictures.append(_detect(truth, _scores(path, one, plain[number], shapes, empty)))
        figures += [
            share(f"coloured object, box IoU at {LEVEL} [{path}]", overlaps),
            share(f"coloured object, pointing [{path}]", hits),
            average_precision(f"shape word, mAP@.3 [{path}]", pictures, 0.3),
            average_precision(f"shape word, mAP@.5 [{path}]", pictures, 0.5),
        ]
    return figures


def damage_by_text(clip: Clip, truths: Sequence[Truth]) -> list[Figure]:
    """Measure maps of "damaged" less "flawless" on the v-v path.

    Pixel AUROC is the mean over damaged pictures; AUPRO is of all pictures together, intact ones as well.
    """
    vv = clip.encode_dense([truth.image for truth in truths]).vv
    query = clip.encode_texts(DAMAGED).mean(0) - clip.encode_texts(FLAWLESS).mean(0)
    maps = np.ascontiguousarray(cosine_map(vv, query[None])[:, :, 0]).reshape(-1, 14, 14)
    masks = np.stack([truth.mask for truth in truths])
    return [
        share("damage by text, pixel AUROC [vv]", _pixel_aurocs(maps, masks)),
        region_overlap("damage by text, AUPRO [vv]", *_halves(maps, masks)),
    ]


def memory(clip: Clip, world: World, products: int, seed: int) -> list[Figure]:
    """Measure damage by the distance to patches of four intact pieces of the same fabric and colour.

    Scale, angle and second colour of the pieces differ (the harder protocol of the prototype's report). Once more with
    `MemoryOptions(zooms=ZOOMS, image_score="contrast")`, which are for cameras at another distance.
    """
    viewer = Viewer(clip)
    maps: dict[str, list[Floats]] = {}
    nearer: dict[str, list[Floats]] = {}
    masks: list[NDArray[np.bool_]] = []
    pixels: dict[str, list[float]] = {}
    for product in range(products):
        fabric, colour = FABRIC_NAMES[product % 24], COLOUR_NAMES[(7 * product + product // 24) % 12]
        pieces = [world.cloth(seed + 10 * product + i, fabric, colour).image for i in range(SHOTS + 1)]
        flawed = world.cloth(seed + 10 * product + 9, fabric, colour, damaged=True)
        closer = [viewer.see(Image.fromarray(p), View.nearer(z)) for z in ZOOMS for p in pieces[:SHOTS]]
        for name, patches in streams(clip, [*pieces, flawed.image, *closer]).items():
            asked, channels = patches[SHOTS : SHOTS + 2], patches.shape[-1]
            known, magnified = patches[:SHOTS].reshape(-1, channels), patches[SHOTS + 2 :].reshape(-1, channels)
            far = nearest_distances(asked, known)
            maps.setdefault(name, []).append(far.reshape(2, 14, 14))
            nearer.setdefault(name, []).append(np.minimum(far, nearest_distances(asked, magnified)))
            pixels.setdefault(name, []).extend(_pixel_aurocs(maps[name][-1][1:], [flawed.mask]))
        masks.append(np.stack([np.zeros_like(flawed.mask), flawed.mask]))
    figures = []
    labels = np.tile([False, True], products)
    for name, pairs in maps.items():
        found = np.concatenate(pairs)
        figures.append(auroc(f"memory, image AUROC [{name}]", labels, found.max((1, 2)).astype(np.float64)))
        above = np.concatenate([each.max(1) - np.median(each, axis=1) for each in nearer[name]])
        figures.append(
            auroc(f"memory, magnified references, contrast, image AUROC [{name}]", labels, above.astype(np.float64))
        )
        figures.append(share(f"memory, pixel AUROC [{name}]", pixels[name]))
        figures.append(region_overlap(f"memory, AUPRO [{name}]", *_halves(found, np.concatenate(masks))))
    return figures


def boxes_of(scores: Floats) -> NDArray[np.float64]:
    """Return boxes and scores (n, 5) of a map (h, w), the surest first: at least one."""
    mask = unit_range(scores) > LEVEL
    if not mask.any():
        return np.array([[0.0, 0.0, SIDE, SIDE, float(scores.max())]])
    found = label_components(mask)
    peaks = np.array([scores[found.labels == number].max() for number in range(1, found.count + 1)])
    return np.concatenate([found.boxes, peaks[:, None]], axis=1)[np.argsort(-peaks, kind="stable")]


def _detect(truth: Truth, maps: Floats) -> Found:
    found = [boxes_of(scores) for scores in maps]
    kinds = np.repeat(np.arange(len(found)), [len(each) for each in found])
    joined = np.concatenate(found)
    boxes = np.array([box for _, _, box in truth.objects], np.float64).reshape(-1, 4)
    shown = np.array([SHAPE_NAMES.index(shape) for shape, _, _ in truth.objects], np.int64)
    return Found(boxes, shown, joined[:, :4], kinds, joined[:, 4])


def _scores(path: Path, one: DenseTokens, plain: Floats, texts: Floats, empty: Floats) -> Floats:
    """Return maps (t, 224, 224) of one picture."""
    streams = {"plain": plain[None], "qk": one.qk, "vv": one.vv, "mixed": one.mixed}
    rows = TextRows(texts, len(texts), None, empty)
    scores = score_patches(path, streams, one.embedding, rows, MapOptions())
    return resize_maps(np.ascontiguousarray(scores[0].T).reshape(-1, 14, 14), (SIDE, SIDE))


def _only(tokens: DenseTokens, number: int) -> DenseTokens:
    at = slice(number, number + 1)
    return DenseTokens(tokens.embedding[at], tokens.qk[at], tokens.vv[at], tokens.mixed[at], tokens.grid_hw)


def _pixel_aurocs(maps: Floats, masks: Sequence[NDArray[np.bool_]] | NDArray[np.bool_]) -> list[float]:
    """Return the AUROC of every second pixel of each picture that shows damage."""
    halves, large = _halves(maps, np.stack(list(masks)))
    return [auroc_score(half, scores) for half, scores in zip(halves, large, strict=True) if half.sum() >= 5]


def _halves(maps: Floats, masks: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Floats]:
    """Return masks and maps (n, 112, 112) at half of the pictures' size."""
    half = SIDE // 2
    blocks: NDArray[np.bool_] = np.asarray(masks.reshape(-1, half, 2, half, 2).any((2, 4)))
    return blocks, resize_maps(maps, (half, half))


def _iou(one: NDArray[np.float64], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, float(width)) * max(0.0, float(height))
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return both / float(areas - both)
