"""What an evaluation of localisation is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from clipfast.arguments import (
    Span,
    require_known,
    require_names,
    require_number,
    require_numbers,
    require_type,
    require_whole,
    shown,
)
from clipfast.errors import DataError, ShapeError
from clipfast.metrics.intervals import require_confidence
from clipfast.surgery.boxes import PERCENTILES, BoxOptions
from clipfast.surgery.geometry import GeometryName
from clipfast.surgery.options import MapOptions
from clipfast.surgery.paths import FROM_ONE_FORWARD, Path

__all__ = ["BoxSource", "ClassRivals", "LocaliseOptions", "ScoreScale", "phrase_of"]

BoxSource: TypeAlias = Literal["percentile", "multi", "proposals", "snapped"]
ScoreScale: TypeAlias = Literal["raw", "unit"]
ClassRivals: TypeAlias = Literal["dataset", "image"]

_PERCENTILES = Span(0, 100)


@dataclass(frozen=True, slots=True)
class LocaliseOptions:
    """How heat maps are made, boxed and scored.

    Attributes:
        paths: Which maps.
        iou_thresholds: IoU from which a box counts as found, 0 < t <= 1.
        percentile: Of the boxes that are scored, 0 to 100.
        percentiles: Of the quality table, which also has `percentile`.
        box_source: "percentile" takes the boxes of `percentile`; "multi" fuses many thresholds (`fused_boxes`);
            "proposals" takes regions of the image that stand out of the map, "snapped" moves the boxes of "multi" onto
            them; both need scikit-image.
        boxes: How a mask becomes boxes.
        maps: How maps are made: templates, redundant text, labels, geometry ("squash" if it names none: boxes need the
            whole image), scales.
        rivals: Which class names compete for an image on the path `standard`: those of the whole "dataset", or those
            that are in the "image", as an application asks that knows what is there. `maps.labels` join both;
            `maps.rivals="labels"` compares each class with them alone.
        phrases: What a class is called in the prompts, by class, where its name does not say it.
        scores: Scale on which boxes of different maps are ranked: "raw" similarity, so that a map of nothing ranks low,
            or "unit", each map scaled from 0 to 1 as in the owner's first system.
        all_classes: Whether boxes of every class are looked for in every image (detection), or only of those that are
            there (localisation given the class).
        tolerance: Of the pointing game, in pixels of the map.
        resamples: Of the bootstrap over images, at least 100.
        confidence: Of intervals, in (0, 1).
        seed: Of the bootstrap.

    Raises:
        DataError: If a choice is not in its list, or a path is named twice.
        ShapeError: If a number is out of range.
    """

    paths: tuple[Path, ...] = FROM_ONE_FORWARD
    iou_thresholds: tuple[float, ...] = (0.1, 0.3, 0.5)
    percentile: float = 90.0
    percentiles: tuple[float, ...] = PERCENTILES
    box_source: BoxSource = "percentile"
    boxes: BoxOptions = field(default_factory=BoxOptions)
    maps: MapOptions = field(default_factory=lambda: MapOptions(geometry="squash", batch_size=16))
    rivals: ClassRivals = "dataset"
    phrases: tuple[tuple[str, str], ...] = ()
    scores: ScoreScale = "raw"
    all_classes: bool = False
    tolerance: float = 0.0
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if not require_names("paths", self.paths, once=True):
            raise DataError("paths must be named, each once; got none.")
        require_known("box_source", self.box_source, get_args(BoxSource))
        require_known("scores", self.scores, get_args(ScoreScale))
        require_known("rivals", self.rivals, get_args(ClassRivals))
        require_type("boxes", self.boxes, BoxOptions, "BoxOptions(...)")
        require_type("maps", self.maps, MapOptions, "MapOptions(...)")
        self._check_numbers()
        self._check_phrases()
        templates = self.maps.templates or ()
        if bad := [template for template in templates if "{}" not in template]:
            raise DataError(f"a prompt must have {{}} where the class goes; got {bad[0]!r}.")
        if self.rivals == "image":
            self._check_rivals()

    @property
    def levels(self) -> tuple[float, ...]:
        """Percentiles that are measured, ascending: those of the table, and the one that is scored."""
        return tuple(sorted({*self.percentiles, self.percentile}))

    @property
    def geometry(self) -> GeometryName:
        """How an image becomes the model's square."""
        return self.maps.geometry or "squash"

    @property
    def label_list(self) -> str:
        """What `standard` compares a class with: "dataset", "image", "labels", or "redundant"."""
        if self.maps.redundant is not None:
            return "redundant"
        return "labels" if self.maps.rivals == "labels" else self.rivals

    def text_of(self, name: str) -> str:
        """Return what a class is called in the prompts."""
        return dict(self.phrases).get(name) or phrase_of(name)

    def _check_numbers(self) -> None:
        for name, given, span in (
            ("iou_thresholds", self.iou_thresholds, Span(0, 1, above=True)),
            ("percentiles", self.percentiles, _PERCENTILES),
        ):
            if not require_numbers(name, given, span, once=True):
                raise ShapeError(f"{name} must name one or more; got none.")
        require_number("percentile", self.percentile, _PERCENTILES)
        require_number("tolerance", self.tolerance, Span(0))
        require_whole("resamples", self.resamples, 100)
        require_number("confidence", self.confidence, Span(0, 1))
        require_confidence(self.confidence)
        require_whole("seed", self.seed, 0)

    def _check_phrases(self) -> None:
        pairs = self.phrases if isinstance(self.phrases, tuple | list) else [None]
        if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
            raise DataError(f"phrases must be pairs (class, words); got {shown(self.phrases)}. Write pairs in a tuple.")
        for pair in pairs:
            require_names("a phrase", pair)

    def _check_rivals(self) -> None:
        if self.all_classes:
            raise DataError(
                'detection looks for classes that are not in the image, so they compete too: rivals must be "dataset" '
                'with all_classes; got "image".'
            )
        if "standard" not in self.paths:
            raise DataError(f"rivals are those of the path standard; got {', '.join(self.paths)}. Leave them out.")
        if self.maps.rivals == "labels" or self.maps.redundant is not None:
            raise DataError(
                'rivals="image" compares the classes of an image with each other; with maps.rivals="labels" or a '
                "redundant text no class is compared with another. Choose one."
            )

    def texts(self, classes: Sequence[str]) -> list[str]:
        """Return what each class is called in the prompts.

        Raises:
            DataError: If a phrase is of no class, or two classes are called alike: their maps would be the same.
        """
        named = dict(self.phrases)
        if strangers := sorted(named.keys() - set(classes)):
            raise DataError(f"phrases must be of classes of the data set; got {', '.join(strangers)}.")
        said = [self.text_of(name) for name in classes]
        if len(set(said)) < len(said):
            twice = sorted({text for text in said if said.count(text) > 1})
            raise DataError(f"classes must be called differently; got {', '.join(twice)} twice. Give one a phrase.")
        return said


def phrase_of(name: str) -> str:
    """Return a class's name as words.

    >>> phrase_of("Expressway-Service-area"), phrase_of("storage_tank")
    ('Expressway Service area', 'storage tank')
    """
    return " ".join(name.replace("_", " ").replace("-", " ").split())
