"""From pictures to raw scores: one forward an image, both branches of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.memory import MemoryBank
from clipfast.anomaly.semantic import TextPrompts, semantic_scores
from clipfast.errors import ArtifactError, DataError
from clipfast.types import Images, JointFeatures, PatchEncoder, PatchFeatures, Pixels, TextEncoder

__all__ = ["Features", "JointEncoder", "ModelIdentity", "branch_maps", "encode", "joint_encoder"]

Features = JointFeatures | PatchFeatures
"""What one forward gives: with the text branch, or without."""


@runtime_checkable
class JointEncoder(TextEncoder, PatchEncoder, Protocol):
    """What both branches need; a memory alone does with a `PatchEncoder`."""

    def encode_joint(self, images: Images) -> JointFeatures:
        """Return embedding, value-value tokens and patch features, from one forward."""
        ...


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Who made the features.

    Attributes:
        name: For people.
        precision: Of its graphs.
        fingerprints: By output; empty for encoders that have none.
    """

    name: str
    precision: str
    fingerprints: dict[str, str]

    @classmethod
    def of(cls, clip: PatchEncoder, blocks: Iterable[int], *, text: bool) -> ModelIdentity:
        """Ask an encoder about the outputs that a detector uses."""
        outputs = [f"block_{block}" for block in blocks] + (["embedding", "vv"] if text else [])
        tell = getattr(clip, "fingerprint", None)
        prints = {name: str(tell(name)) for name in outputs} if callable(tell) else {}
        return cls(str(getattr(clip, "name", type(clip).__name__)), str(getattr(clip, "precision", "fp32")), prints)


def joint_encoder(clip: PatchEncoder) -> JointEncoder:
    """Return the encoder if it can do both branches.

    Raises:
        DataError: It gives patch features only.
    """
    if not isinstance(clip, JointEncoder):
        raise DataError(
            f"{type(clip).__name__} gives patch features only, and this mode needs texts. Pass "
            'image_mode="memory_only" and pixel_mode="memory_only".'
        )
    return clip


def encode(clip: PatchEncoder, pictures: Iterable[Pixels], blocks: Sequence[int] | None, *, text: bool) -> Features:
    """Encode pictures: by the joint graph, or without texts by the cheaper one of patches."""
    if text:
        return joint_encoder(clip).encode_joint(pictures)
    return clip.encode_patches(pictures, blocks)


def branch_maps(
    features: Features, bank: MemoryBank, prompts: TextPrompts | None = None, *, without: int | None = None
) -> BranchMaps:
    """Score both branches from features; nothing is fused, scaled or calibrated.

    Args:
        features: Of n images; `PatchFeatures` alone leave the text branch out.
        bank: The memory.
        prompts: The texts; None leaves the text branch out.
        without: Number of a reference whose rows do not count.

    Returns:
        Raw scores on the patch grid.

    Raises:
        ArtifactError: Prompts are given, and the features have no tokens to compare with them, or a block is missing.
        ShapeError: Shapes do not fit.
    """
    patches = features.patches if isinstance(features, JointFeatures) else features
    memory = bank.score(patches, without=without)
    if prompts is None:
        return BranchMaps(None, memory)
    if not isinstance(features, JointFeatures):
        raise ArtifactError("the text branch needs embeddings and value-value tokens. Pass what encode_joint() gives.")
    semantic = semantic_scores(features.embedding, features.vv, patches.grid_hw, prompts)
    return BranchMaps(semantic, memory)
