"""What the user decides about an export."""

from __future__ import annotations

from dataclasses import dataclass

from clipfast.artifact import Activation
from clipfast.errors import ShapeError

__all__ = ["ExportOptions"]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """One export.

    Attributes:
        architecture: An open_clip name or the path of a config JSON.
        pretrained: A checkpoint file, a tag, or None for seeded random weights.
        activation: None takes what is known of the tag, or the config's.
        surgery_depth: How many blocks from the end the Surgery streams collect, at least 1.
        seed: Of random weights and of the parity inputs.
        compact: Store weights as int8 or fp16 where that loses nothing (bit for bit), for small embedded models.
        notice: One line shown whenever the model is used; None for none.
    """

    architecture: str
    pretrained: str | None = None
    activation: Activation | None = None
    surgery_depth: int = 6
    seed: int = 0
    compact: bool = False
    notice: str | None = None

    def __post_init__(self) -> None:
        if self.surgery_depth < 1:
            raise ShapeError(f"surgery_depth must be 1 or more; got {self.surgery_depth}.")
