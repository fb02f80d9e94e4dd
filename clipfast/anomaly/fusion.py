"""The modes of fusion in one table. To add one: a row here.

With s the text branch's score and m the memory's, of an image or of a pixel:

semantic s · memory m · memory_only m, and the text branch never runs · max max(s, m) ·
harmonic 1 / (1 / (s + 1e-8) + 1 / (m + 1e-8)), half of the harmonic mean, as PromptAD ·
calibrated_max, calibrated_mean, calibrated_harmonic the same of scores on the support's scale ·
gate calibrated, each branch weighed by how far its map stands out, for this image beside intact ones ·
learned_gate calibrated, weighed by a gate learned on other classes · routed by kind of class (`ROUTES`) ·
auto for pixels the memory; for images the calibrated mean with the share that the text branch earned on the support,
the memory alone where it earned none ·
oracle needs the truth: max(s, m) where anomalous, min(s, m) where intact. No choice between the two branches ranks
higher, so it bounds what any gate could reach; it is for evaluations only, and no detector takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.branches import BranchMaps, BranchScores
from clipfast.anomaly.calibration import Calibration
from clipfast.anomaly.options import Kind
from clipfast.errors import DataError, NotComputedError, ShapeError
from clipfast.types import Floats

__all__ = ["MODES", "ROUTES", "Fused", "Level", "Mode", "Operands", "fuse", "fuse_images", "fuse_pixels", "resolve"]

Level = Literal["image", "pixel"]
_TINY = np.float32(1e-8)


@dataclass(frozen=True, slots=True, eq=False)
class Operands:
    """What a mode combines: arrays of one shape, (n,) or (n, h, w).

    Attributes:
        semantic: s, raw or calibrated.
        memory: m, raw or calibrated.
        share: Of the text branch, broadcastable to them; 0 for modes without one.
        truth: Where it is anomalous, of their shape, for the oracle only.
    """

    semantic: Floats
    memory: Floats
    share: Floats
    truth: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Mode:
    """One way of fusing.

    Attributes:
        combine: The pointwise function; None for modes that stand for another (`resolve`).
        text: Whether it needs the text branch.
        calibrated: Whether it takes scores on the support's scale.
        share: Gives the text branch's share of each image, (n,), from calibrated maps.
        truth: Whether it needs the truth.
        line: One line for people.
    """

    line: str
    combine: Callable[[Operands], Floats] | None = None
    text: bool = True
    calibrated: bool = False
    share: Callable[[BranchMaps, Calibration], Floats] | None = None
    truth: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Fused scores: image (n,), pixel (n, h, w), float32."""

    image: Floats
    pixel: Floats


def _max(o: Operands) -> Floats:
    return np.maximum(o.semantic, o.memory)


def _harmonic(o: Operands) -> Floats:
    fused: Floats = np.reciprocal(np.reciprocal(o.semantic + _TINY) + np.reciprocal(o.memory + _TINY))
    return fused


def _mean(o: Operands) -> Floats:
    fused: Floats = (o.semantic + o.memory) * np.float32(0.5)
    return fused


def _shared(o: Operands) -> Floats:
    return o.memory + o.share * (o.semantic - o.memory)


def _oracle(o: Operands) -> Floats:
    if o.truth is None:
        raise DataError("the oracle needs the truth. It is for evaluations only.")
    return np.where(o.truth, np.maximum(o.semantic, o.memory), np.minimum(o.semantic, o.memory))


def _contrast_share(maps: BranchMaps, calibration: Calibration) -> Floats:  # noqa: ARG001  (one signature)
    """How far the text branch's map stands out beside that of the memory, both on the scale of intact images."""
    semantic = _semantic(maps).contrast
    share: Floats = semantic / (semantic + maps.memory.contrast + _TINY)
    return share


def _learned_share(maps: BranchMaps, calibration: Calibration) -> Floats:
    if calibration.gate is None:
        raise DataError("mode learned_gate needs a gate that was learned on other classes. Pass gate=fit_gate(cases).")
    return calibration.gate.share(maps)


def _earned_share(maps: BranchMaps, calibration: Calibration) -> Floats:
    return np.full(len(maps), calibration.evidence.share, np.float32)


def _of_semantic(o: Operands) -> Floats:
    return o.semantic


def _of_memory(o: Operands) -> Floats:
    return o.memory


MODES: Mapping[str, Mode] = MappingProxyType(
    {
        "auto": Mode("what the support's evidence chooses; the default"),
        "memory": Mode("the patch memory alone", _of_memory, text=False),
        "memory_only": Mode("the same, and the text branch never runs", _of_memory, text=False),
        "semantic": Mode("the text branch alone", _of_semantic),
        "max": Mode("the larger raw score", _max),
        "harmonic": Mode("half of the harmonic mean of the raw scores", _harmonic),
        "calibrated_max": Mode("the more surprising branch", _max, calibrated=True),
        "calibrated_mean": Mode("the mean surprise", _mean, calibrated=True),
        "calibrated_harmonic": Mode("surprising for both", _harmonic, calibrated=True),
        "earned": Mode("mean surprise, text by the share it earned", _shared, calibrated=True, share=_earned_share),
        "gate": Mode("weighed by how far maps stand out", _shared, calibrated=True, share=_contrast_share),
        "learned_gate": Mode("weighed by a gate of other classes", _shared, calibrated=True, share=_learned_share),
        "routed": Mode("by kind of class: texture, object, logical"),
        "oracle": Mode("upper bound from the truth; evaluation only", _oracle, truth=True),
    }
)
"""Every mode by name."""

ROUTES: Mapping[Kind, str] = MappingProxyType(
    {"texture": "memory", "object": "calibrated_mean", "logical": "calibrated_max"}
)
"""What "routed" takes. Texts say little about where a texture is disturbed; what is missing they may name."""


def resolve(mode: str, level: Level, calibration: Calibration) -> str:
    """Return the mode that computes: what "auto" and "routed" stand for, others as they are.

    Raises:
        DataError: An unknown mode; the message lists them.
    """
    if mode not in MODES:
        raise DataError(f"mode must be one of {', '.join(MODES)}; got {mode!r}.")
    if mode == "routed":
        return ROUTES[calibration.kind]
    if mode == "auto":
        return "earned" if level == "image" and calibration.evidence.share > 0 else "memory"
    return mode


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
    return _fuse(maps, calibration, mode, "image", labels)


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
    return _fuse(maps, calibration, mode, "pixel", masks)


def _fuse(maps: BranchMaps, calibration: Calibration, mode: str, level: Level, truth: NDArray[Any] | None) -> Floats:
    chosen = MODES[resolve(mode, level, calibration)]
    memory = _at(maps.memory, level)
    if truth is not None and truth.shape != memory.shape:
        raise ShapeError(f"the truth must have the shape of the scores, {memory.shape}; got {truth.shape}.")
    if chosen.combine is None:
        raise DataError(f"mode {mode!r} does not compute by itself.")
    if not chosen.text:
        return memory
    semantic = _at(_semantic(maps), level)
    share = np.zeros(1, np.float32)
    if chosen.calibrated:
        if calibration.semantic is None:
            raise NotComputedError("the text branch was left out of this calibration. Fit with another mode.")
        if chosen.share is not None:
            share = chosen.share(_images_only(maps, calibration), calibration)
            share = share.reshape(-1, *[1] * (memory.ndim - 1))
        semantic = getattr(calibration.semantic, level).apply(semantic)
        memory = getattr(calibration.memory, level).apply(memory)
    fused = chosen.combine(Operands(semantic, memory, share, None if truth is None else truth != 0))
    return fused.astype(np.float32, copy=False)


def _at(scores: BranchScores, level: Level) -> Floats:
    return scores.image if level == "image" else scores.pixel


def _images_only(maps: BranchMaps, calibration: Calibration) -> BranchMaps:
    """Calibrated image scores and contrasts, without the cost of maps: shares are of images."""
    blank = np.zeros((len(maps), 1, 1), np.float32)
    small = BranchMaps(
        BranchScores(_semantic(maps).image, blank, _semantic(maps).contrast),
        BranchScores(maps.memory.image, blank, maps.memory.contrast),
    )
    return calibration.apply(small)


def _semantic(maps: BranchMaps) -> BranchScores:
    if maps.semantic is None:
        raise NotComputedError(
            "this mode needs the text branch, which was left out (memory_only). Fit the detector with another mode."
        )
    return maps.semantic
