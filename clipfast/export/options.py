"""What the user decides about an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from clipfast.artifact import Activation, Precision
from clipfast.errors import DataError, ShapeError

__all__ = ["ENGINES", "HEADS", "PRECISIONS", "PRESET_NAMES", "Engine", "ExportOptions"]

HEADS = ("embed", "dense", "text", "patches", "joint", "tokens")
PRESET_NAMES = ("maskclip", "clearclip", "sclip", "naclip", "segearth", "gem", "sweep")
Engine = Literal["none", "cuda", "tensorrt"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """One export.

    Attributes:
        architecture: An open_clip name or the path of a config JSON.
        pretrained: A checkpoint file, a tag, or None for seeded random weights.
        activation: None takes what is known of the tag, or the config's.
        image_size: Pixels along each side; None takes the model's own. The position embedding is interpolated.
        surgery_depth: How many blocks from the end the Surgery streams collect, at least 1.
        heads: Which graphs to make, of `HEADS`.
        blocks: After which blocks (from 1) `patches` and `joint` give features; None takes a quarter and two thirds.
        presets: Further streams of `tokens`, of `PRESET_NAMES`.
        class_attention: Whether `dense` also gives the class token's attention in the last block.
        seed: Of random weights and of the parity inputs.
        compact: Store weights as int8 or fp16 where that loses nothing (bit for bit), for small embedded models.
        notice: One line shown whenever the model is used; None for none.
        precisions: Of the graphs. The fp32 graphs for CPUs are always made; the others are measured against them.
        calibration: A folder of images that int8 scales are chosen by; None renders fabrics.
        engine: For which GPU provider graphs are made; "none" makes those of the other precisions for both.
    """

    architecture: str
    pretrained: str | None = None
    activation: Activation | None = None
    image_size: int | None = None
    surgery_depth: int = 6
    heads: tuple[str, ...] = HEADS
    blocks: tuple[int, ...] | None = None
    presets: tuple[str, ...] = ()
    class_attention: bool = False
    seed: int = 0
    compact: bool = False
    notice: str | None = None
    precisions: tuple[Precision, ...] = ("fp32",)
    engine: Engine = "none"
    calibration: Path | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ShapeError(f"seed must be 0 or more; got {self.seed}.")
        if self.surgery_depth < 1:
            raise ShapeError(f"surgery_depth must be 1 or more; got {self.surgery_depth}.")
        if self.image_size is not None and not 16 <= self.image_size <= 4096:
            raise ShapeError(f"image_size must be 16 to 4096; got {self.image_size}.")
        choices = (
            ("heads", self.heads, HEADS),
            ("presets", self.presets, PRESET_NAMES),
            ("precisions", self.precisions, PRECISIONS),
            ("engine", (self.engine,), ENGINES),
        )
        for what, given, known in choices:
            if unknown := [name for name in given if name not in known] or (len(set(given)) < len(given) and ["twice"]):
                raise DataError(f"{what} must be different names of {', '.join(known)}; got {', '.join(unknown)}.")
        if not self.heads:
            raise DataError(f"heads must name at least one of {', '.join(HEADS)}.")
        if self.calibration is not None and "int8" not in self.precisions:
            raise DataError("calibration is for int8 only. Add int8 to --precision, or leave --calibration out.")
        if "int8" in self.precisions and set(self.heads) <= {"text"}:
            raise DataError("int8 is made of vision graphs only; name one besides text in --heads.")
        if not self.precisions:
            raise DataError(f"precisions must name at least one of {', '.join(PRECISIONS)}.")
