"""What a heat map is asked for beyond image, text and path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from clipfast.arguments import (
    Span,
    require_known,
    require_names,
    require_number,
    require_numbers,
    require_type,
    require_whole,
)
from clipfast.errors import DataError
from clipfast.prompts import SURGERY
from clipfast.surgery.fusion import shares_of
from clipfast.surgery.geometry import GeometryName
from clipfast.surgery.upsample import EdgeAware
from clipfast.surgery.windows import Windows

__all__ = ["MapOptions", "Rivals"]

Rivals: TypeAlias = Literal["texts", "labels"]

_SHARE, _CLASS_SHARES = Span(0, 1), Span(-10, 10)
_SCALES, _DEPTHS = Span(1, 32), Span(1, whole=True)


@dataclass(frozen=True, slots=True)
class MapOptions:
    """Options of `heatmaps`; each has its default, and what does not go together is refused.

    Wrong names, texts and objects raise `DataError`, wrong numbers `ShapeError`.

    Attributes:
        templates: Strings with `{}` that each text is put into; the rows of one text are averaged. None takes the
            text as it is.
        redundant: A text whose map is subtracted from every other, such as "" or "a photo". None subtracts nothing,
            except that `standard` compares a single text with "".
        labels: What else may be in the images. `standard` compares the texts with these too; they get no maps. One
            that is a text too counts once.
        rivals: What `standard` compares a text with: the other "texts" and the labels, or the "labels" only, so that a
            map does not change with the other texts that are asked.
        alpha: Share of `vv_qk` in `vv_mixed`, 0 to 1.
        class_share: What part of the whole image's similarity `segearth` adds to each text's map.
        depths: Surgery depths whose maps are averaged, numbered from 1, for paths that read the v-v tokens. Empty
            takes the artifact's own depth. The artifact must hold the `sweep`.
        depth_weights: One for each depth; None counts all alike.
        geometry: How an image becomes the model's square: "squash", "centre_crop" or "letterbox"; the maps then cover
            the whole image. None leaves it to the model's preprocessing: the maps cover what the model sees.
        windows: Look at an image piece by piece, at its own resolution.
        scales: Look at it at several: scale s cuts windows whose side is 1/s of the image's shorter side, and the maps
            of all scales are averaged.
        scale_weights: One for each scale; None counts all alike.
        edge_aware: Let maps follow the edges of the image; None is plain bilinear.
        batch_size: Images or windows of one forward, which bounds memory.
    """

    templates: Sequence[str] | None = SURGERY
    redundant: str | None = None
    labels: Sequence[str] = ()
    rivals: Rivals = "texts"
    alpha: float = 0.5
    class_share: float = -0.3
    depths: Sequence[int] = ()
    depth_weights: Sequence[float] | None = None
    geometry: GeometryName | None = None
    windows: Windows | None = None
    scales: Sequence[float] = ()
    scale_weights: Sequence[float] | None = None
    edge_aware: EdgeAware | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.geometry is not None:
            require_known("geometry", self.geometry, get_args(GeometryName))
        require_number("alpha", self.alpha, _SHARE)
        require_number("class_share", self.class_share, _CLASS_SHARES)
        require_whole("batch_size", self.batch_size, 1)
        self._check_texts()
        require_numbers("depths", self.depths, _DEPTHS, once=True)
        if self.depth_weights is not None:
            shares_of(self.depth_weights, len(self.depths), "depth_weights")
        self._check_windows()

    @property
    def has_windows(self) -> bool:
        """Whether images are looked at piece by piece."""
        return self.windows is not None or bool(self.scales)

    def _check_texts(self) -> None:
        if self.templates is not None:
            require_names("templates", self.templates)
        if self.redundant is not None:
            require_type("redundant", self.redundant, str, 'redundant="a photo"')
        require_names("labels", self.labels)
        if self.redundant is not None and self.labels:
            raise DataError("redundant and labels are two ways to say what a text is compared with: choose one.")
        require_known("rivals", self.rivals, get_args(Rivals))
        if self.rivals == "labels" and not self.labels:
            raise DataError("texts that are compared with labels only need labels; got none. Name some.")

    def _check_windows(self) -> None:
        if self.windows is not None:
            require_type("windows", self.windows, Windows, "Windows(side=224)")
        if self.edge_aware is not None:
            require_type("edge_aware", self.edge_aware, EdgeAware, "EdgeAware()")
        require_numbers("scales", self.scales, _SCALES)
        if self.scale_weights is not None:
            shares_of(self.scale_weights, len(self.scales), "scale_weights")
        if self.scales and self.windows is not None and self.windows.side is not None:
            raise DataError("a side of windows and scales both say how large windows are: choose one.")
        if self.has_windows and self.geometry == "centre_crop":
            raise DataError("windows must be seen whole: their geometry may be squash or letterbox, not centre_crop.")
