"""Fusing the maps of both branches by the modes of `clipfast.anomaly.modes`, one mode or all in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.branches import BranchMaps, BranchScores
from clipfast.anomaly.calibration import Calibration
from clipfast.anomaly.modes import MODES, Level, Mode, Operands, resolve, text_branch
from clipfast.errors import DataError, NotComputedError, ShapeError
from clipfast.types import Floats

__all__ = ["Fused", "fuse", "fuse_all", "fuse_images", "fuse_pixels"]


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Fused scores: image (n,), pixel (n, h, w), float32."""

    image: Floats
    pixel: Floats


def fuse(maps: BranchMaps, calibration: Calibration, mode: str) -> Fused:
    """Fuse images and pixels by one mode that needs no truth; see `fuse_images` and `fuse_pixels`."""
    return Fused(fuse_images(maps, calibration, mode), fuse_pixels(maps, calibration, mode))


def fuse_images(maps: BranchMaps, calibration: Calibration, mode: str, labels: NDArray[Any] | None = None) -> Floats:
    """Fuse the image scores of both branches.

    Args:
        maps: Raw scores.
        calibration: From the support.
        mode: A key of `MODES`.
        labels: 0 intact, 1 anomalous, (n,), for the oracle.

    Returns:
        (n,) float32.

    Raises:
        DataError: An unknown mode, or one that needs truth or a gate which is not given.
        NotComputedError: The mode needs the text branch, which was left out.
        ShapeError: Labels do not fit.
    """
    ((_, fused),) = fuse_all(maps, calibration, [mode], "image", labels)
    return fused


def fuse_pixels(maps: BranchMaps, calibration: Calibration, mode: str, masks: NDArray[Any] | None = None) -> Floats:
    """Fuse the maps of both branches, pixel by pixel; they were scaled and blurred as those of the calibration.

    Args:
        maps: Raw scores.
        calibration: From the support.
        mode: A key of `MODES`.
        masks: 0 intact, others anomalous, of the maps' shape, for the oracle.

    Returns:
        (n, h, w) float32.

    Raises:
        DataError: As `fuse_images`.
        NotComputedError: As `fuse_images`.
        ShapeError: Masks do not fit.
    """
    ((_, fused),) = fuse_all(maps, calibration, [mode], "pixel", masks)
    return fused


def fuse_all(
    maps: BranchMaps,
    calibration: Calibration,
    modes: Iterable[str],
    level: Level,
    truth: NDArray[Any] | None = None,
) -> Iterator[tuple[str, Floats]]:
    """Give the fused scores of one mode after the other; what modes share is computed once.

    Args:
        maps: Raw scores; for pixels scaled and blurred as those of the calibration.
        calibration: From the support.
        modes: Keys of `MODES`.
        level: Whether images or pixels are fused.
        truth: 0 intact, others anomalous, of the scores' shape, for the oracle.

    Yields:
        Name and scores, (n,) or (n, h, w) float32. They may be the branch's own array: do not write into them.

    Raises:
        DataError: As `fuse_images`.
        NotComputedError: As `fuse_images`.
        ShapeError: The truth does not fit.
    """
    memory = _at(maps.memory, level)
    if truth is not None and truth.shape != memory.shape:
        raise ShapeError(f"the truth must have the shape of the scores, {memory.shape}; got {truth.shape}.")
    marked = None if truth is None else truth != 0
    scaled: tuple[Floats, Floats] | None = None
    for name in modes:
        mode = MODES[resolve(name, level, calibration)]
        if mode.combine is None:
            raise DataError(f"mode {name!r} does not compute by itself.")
        if not mode.text:
            yield name, memory
            continue
        both = _at(text_branch(maps), level), memory
        if mode.calibrated:
            scaled = scaled or _scaled(both, calibration, level)
            both = scaled
        share = _share(mode, maps, calibration).reshape(-1, *[1] * (memory.ndim - 1))
        yield name, mode.combine(Operands(*both, share, marked)).astype(np.float32, copy=False)


def _scaled(both: tuple[Floats, Floats], calibration: Calibration, level: Level) -> tuple[Floats, Floats]:
    if calibration.semantic is None:
        raise NotComputedError("the text branch was left out of this calibration. Fit with another mode.")
    branches = calibration.semantic, calibration.memory
    if level == "image":
        return branches[0].image.apply(both[0]), branches[1].image.apply(both[1])
    return branches[0].pixel.apply(both[0]), branches[1].pixel.apply(both[1])


def _share(mode: Mode, maps: BranchMaps, calibration: Calibration) -> Floats:
    """The text branch's share of each image, from calibrated image scores and contrasts; maps are not needed for it."""
    if mode.share is None:
        return np.zeros(1, np.float32)
    blank = np.zeros((len(maps), 1, 1), np.float32)
    text, memory = text_branch(maps), maps.memory
    small = BranchMaps(
        BranchScores(text.image, blank, text.contrast), BranchScores(memory.image, blank, memory.contrast)
    )
    return mode.share(calibration.apply(small), calibration)


def _at(scores: BranchScores, level: Level) -> Floats:
    return scores.image if level == "image" else scores.pixel
