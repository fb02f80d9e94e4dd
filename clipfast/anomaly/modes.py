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
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.branches import BranchMaps, BranchScores
from clipfast.anomaly.calibration import Calibration
from clipfast.anomaly.options import Kind
from clipfast.errors import DataError, NotComputedError
from clipfast.types import Floats

__all__ = ["MODES", "ROUTES", "Level", "Mode", "Operands", "resolve", "text_branch"]

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
    semantic = text_branch(maps).contrast
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


def text_branch(maps: BranchMaps) -> BranchScores:
    """Return the semantic branch.

    Raises:
        NotComputedError: It was left out.
    """
    if maps.semantic is None:
        raise NotComputedError(
            "this mode needs the text branch, which was left out (memory_only). Fit the detector with another mode."
        )
    return maps.semantic
