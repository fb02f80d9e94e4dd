"""How an image of any size becomes the model's square, and how boxes and maps find their way back.

Coordinates are continuous, as everywhere in clipfast: pixel i covers i to i + 1, its middle is at i + 0.5. Scaling w
pixels to w' then maps x to x w' / w exactly, whatever the filter, so the way back is exact too. The sizes in the
formula are the rounded ones that pixels really have, not the ratio that was aimed at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.arguments import require_array, require_known, require_size_hw
from clipfast.artifact import ImageSpec
from clipfast.errors import ShapeError
from clipfast.runtime.preprocess import covering_window, preprocess
from clipfast.surgery.upsample import sample_maps
from clipfast.types import Floats, Pixels

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "GEOMETRIES",
    "Geometry",
    "GeometryName",
    "centre_crop",
    "fit_geometry",
    "image_hw",
    "letterbox",
    "scaled_rgb",
    "squash",
]

GeometryName = Literal["squash", "centre_crop", "letterbox"]
Boxes64 = NDArray[np.float64]

CLIP_MEAN = (122, 116, 104)
"""The mean colour of CLIP's training images: bars of it are about zero to a model that subtracts this mean."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A plan: the whole image is scaled, then cut or framed to what the model takes.

    Attributes:
        image_hw: Size of the image.
        model_hw: Size of what the model takes.
        scaled_hw: Size that the whole image is scaled to.
        offset_yx: Where the scaled image begins in what the model takes: below 0 where it is cut, above 0 beside bars.
        fill: Colour of the bars, RGB.
    """

    image_hw: tuple[int, int]
    model_hw: tuple[int, int]
    scaled_hw: tuple[int, int]
    offset_yx: tuple[int, int] = (0, 0)
    fill: tuple[int, int, int] = CLIP_MEAN

    @property
    def seen_xyxy(self) -> tuple[float, float, float, float]:
        """The part of the image that the model sees, in pixels of the image."""
        height, width = self.model_hw
        left, top, right, bottom = self.to_original(np.array([[0, 0, width, height]]))[0]
        return float(left), float(top), float(right), float(bottom)

    def apply(self, image: Image.Image | Pixels) -> Pixels:
        """Return the pixels for the model, RGB (h, w, 3) uint8, by its own rules of colour and bicubic scaling.

        The model's preprocessing leaves an image of this size as it is.

        Args:
            image: A decoded image of the size of the plan, any mode, or RGB (h, w, 3) uint8.

        Raises:
            ShapeError: The image has another size.
            ImageError: As `preprocess` says.
        """
        if image_hw(image) != self.image_hw:
            raise ShapeError(
                f"the plan is for an image of {self.image_hw} (height, width); got {image_hw(image)}. Plan it again."
            )
        if self.scaled_hw == self.model_hw:
            return scaled_rgb(image, self.model_hw)
        if self.scaled_hw[0] >= self.model_hw[0] and self.scaled_hw[1] >= self.model_hw[1]:
            return preprocess(image, _rule(self.model_hw, "shortest"))
        framed = np.empty((*self.model_hw, 3), np.uint8)
        framed[:] = self.fill
        (top, left), (height, width) = self.offset_yx, self.scaled_hw
        framed[top : top + height, left : left + width] = scaled_rgb(image, self.scaled_hw)
        framed.flags.writeable = False
        return framed

    def to_original(self, xyxy: ArrayLike) -> Boxes64:
        """Return boxes in what the model takes, (..., 4), as boxes in the image, cut off at its border, float64.

        Raises:
            ShapeError: If these are no boxes.
        """
        height, width = self.image_hw
        (scaled_h, scaled_w), (top, left) = self.scaled_hw, self.offset_yx
        back = (_boxes(xyxy) - (left, top, left, top)) * (width, height, width, height)
        inside: Boxes64 = np.clip(back / (scaled_w, scaled_h, scaled_w, scaled_h), 0, (width, height, width, height))
        return inside

    def to_model(self, xyxy: ArrayLike) -> Boxes64:
        """Return boxes in the image, (..., 4), as boxes in what the model takes, float64.

        Nothing is cut off: parts that the model does not see lie outside of 0 to its size.

        Raises:
            ShapeError: If these are no boxes.
        """
        height, width = self.image_hw
        (scaled_h, scaled_w), (top, left) = self.scaled_hw, self.offset_yx
        scaled = _boxes(xyxy) * (scaled_w, scaled_h, scaled_w, scaled_h) / (width, height, width, height)
        moved: Boxes64 = np.add(scaled, (left, top, left, top))
        return moved

    def maps_to_image(
        self, maps: Floats, size_hw: tuple[int, int] | None = None, *, outside: float = float("nan")
    ) -> Floats:
        """Spread maps of what the model took over the whole image, bilinear; bars are cut off.

        Args:
            maps: (..., gh, gw) on the patch grid, or at any other resolution.
            size_hw: How many pixels to lay over the image; None takes the image's own.
            outside: Value of pixels that the model did not see, beside a centre crop. NaN says that there is no value,
                and keeps them out of means and thresholds; a number is a choice that the caller makes.

        Returns:
            (..., h, w) float32.

        Raises:
            ShapeError: If the size is not positive or the maps have no grid.
        """
        height, width = self.image_hw if size_hw is None else require_size_hw("size_hw", size_hw)
        y = (np.arange(height) + 0.5) * self.image_hw[0] / height
        x = (np.arange(width) + 0.5) * self.image_hw[1] / width
        return self.sample(maps, y, x, outside=outside)

    def sample(
        self, maps: Floats, y: NDArray[np.float64], x: NDArray[np.float64], *, outside: float = float("nan")
    ) -> Floats:
        """Read maps of what the model took at rows `y` and columns `x` of the image; else as `maps_to_image`."""
        if require_array("maps", maps, "(..., gh, gw)").ndim < 2:
            raise ShapeError(f"maps must be (..., gh, gw); got {maps.shape}.")
        rows, columns = self._along(0, y), self._along(1, x)
        found = sample_maps(maps, rows * maps.shape[-2], columns * maps.shape[-1])
        found[..., (rows < 0) | (rows > 1), :] = outside
        found[..., (columns < 0) | (columns > 1)] = outside
        return found

    def _along(self, axis: Literal[0, 1], at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places along one axis of the image as shares of what the model takes; 0 to 1 is what it sees."""
        scaled = at * self.scaled_hw[axis] / self.image_hw[axis] + self.offset_yx[axis]
        share: NDArray[np.float64] = scaled / self.model_hw[axis]
        return share


def squash(image_hw: tuple[int, int], model_hw: tuple[int, int], *, fill: tuple[int, int, int] = CLIP_MEAN) -> Geometry:
    """Scale both sides to the model's: all is seen, shapes are stretched. CLIP Surgery's own rule.

    >>> squash((100, 300), (224, 224)).to_original([[0, 0, 112, 224]]).tolist()
    [[0.0, 0.0, 150.0, 100.0]]
    """
    _check_sizes(image_hw, model_hw)
    return Geometry(image_hw, model_hw, model_hw, fill=fill)


def centre_crop(
    image_hw: tuple[int, int], model_hw: tuple[int, int], *, fill: tuple[int, int, int] = CLIP_MEAN
) -> Geometry:
    """Scale until the image covers the model's square, cut off the rest: how CLIP was trained. Ends are not seen.

    >>> centre_crop((100, 300), (224, 224)).seen_xyxy
    (100.0, 0.0, 200.0, 100.0)
    """
    _check_sizes(image_hw, model_hw)
    scaled_hw, (top, left) = covering_window(image_hw, model_hw)
    return Geometry(image_hw, model_hw, scaled_hw, (-top, -left), fill)


def letterbox(
    image_hw: tuple[int, int], model_hw: tuple[int, int], *, fill: tuple[int, int, int] = CLIP_MEAN
) -> Geometry:
    """Scale until the image fits into the model's square, bars beside it: all is seen, shapes stay, patches are lost.

    >>> letterbox((100, 200), (224, 224)).to_model([[0, 0, 200, 100]]).tolist()
    [[0.0, 56.0, 224.0, 168.0]]
    """
    _check_sizes(image_hw, model_hw)
    ratio = min(model_hw[0] / image_hw[0], model_hw[1] / image_hw[1])
    height, width = (min(limit, max(1, round(side * ratio))) for side, limit in zip(image_hw, model_hw, strict=True))
    return Geometry(
        image_hw, model_hw, (height, width), ((model_hw[0] - height) // 2, (model_hw[1] - width) // 2), fill
    )


# name: plan from (image_hw, model_hw, fill=)
GEOMETRIES: dict[GeometryName, Callable[..., Geometry]] = {
    "squash": squash,
    "centre_crop": centre_crop,
    "letterbox": letterbox,
}


def fit_geometry(name: GeometryName, image_hw: tuple[int, int], image: ImageSpec) -> Geometry:
    """Plan by name for a model.

    Args:
        name: A key of `GEOMETRIES`.
        image_hw: Size of the image.
        image: What the model takes, from its manifest; bars get its mean colour.

    Raises:
        DataError: An unknown name.
        ShapeError: A size that is not positive.
    """
    require_known("geometry", name, GEOMETRIES)
    red, green, blue = (round(255 * min(max(mean, 0), 1)) for mean in image.mean)
    return GEOMETRIES[name](image_hw, image.size_hw, fill=(red, green, blue))


def image_hw(image: Image.Image | Pixels) -> tuple[int, int]:
    """Return the height and width of a decoded image or an array."""
    if isinstance(image, np.ndarray):
        return int(image.shape[0]), int(image.shape[1])
    return image.height, image.width


def scaled_rgb(image: Image.Image | Pixels, size_hw: tuple[int, int]) -> Pixels:
    """Return an image of any mode as RGB of a size, (h, w, 3) uint8, by the rules of `preprocess`; read-only.

    Raises:
        ImageError: As `preprocess` says.
    """
    return preprocess(image, _rule(size_hw, "squash"))


def _rule(size_hw: tuple[int, int], resize: Literal["shortest", "squash"]) -> ImageSpec:
    """What `preprocess` reads; mean and spread are the graph's business."""
    return ImageSpec(size_hw=size_hw, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), resize=resize)


def _check_sizes(image_hw: tuple[int, int], model_hw: tuple[int, int]) -> None:
    require_size_hw("image_hw", image_hw)
    require_size_hw("model_hw", model_hw)


def _boxes(xyxy: ArrayLike) -> Boxes64:
    try:
        boxes = np.asarray(xyxy)
    except ValueError as error:
        raise ShapeError("xyxy must be (..., 4); got ragged lists.") from error
    if boxes.ndim < 1 or boxes.shape[-1] != 4 or boxes.dtype.kind not in "fiu":
        raise ShapeError(f"xyxy must be numbers, (..., 4); got {boxes.dtype} {boxes.shape}.")
    return boxes.astype(np.float64)
