"""Patches cut from photos, and the side-car beside a patch that says where it came from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np

from clipfast.arguments import require_path, require_type
from clipfast.artifact import Sha256
from clipfast.errors import DataError, ShapeError
from clipfast.runtime.images import load_image
from clipfast.storage import atomic_write
from clipfast.types import ImageSource

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PATCH_SIZE", "Region", "Sidecar", "crop_box", "crop_patch", "read_sidecar", "sidecar_path", "write_sidecar"]

PATCH_SIZE = 224
"""Pixels along each side of a patch, if nothing else is said."""
_MAX_SIDECAR_BYTES = 1 << 20


class Sidecar(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `patch_001.json` says about `patch_001.jpg`. Further fields are passed over.

    Attributes:
        source: The photo that the patch was cut from: a path, relative to the side-car's folder or absolute.
        coords: Where in the photo, (x, y) in pixels: the click, which is the middle unless the border was near.
        size: Pixels along each side of what was cut.
        box: What was cut where it was no square around a click: (left, top, right, bottom) in pixels, half-open.
        who: Who gave the label.
        when: When, ISO 8601 with its offset.
        model: Which model's answer was looked at.
        confidence: Its calibrated probability, in [0, 1].
        answer: What it took the patch for.
        picked: Why the patch was asked about: `uncertain`, `none_of_these`, `random`; None where somebody chose it.
        not_copy_of: Checksums of evaluation pictures that it looks like and was declared to be no copy of.
    """

    source: str | None = None
    coords: tuple[int, int] | None = None
    size: Annotated[int, msgspec.Meta(ge=1)] | None = None
    box: tuple[int, int, int, int] | None = None
    who: str | None = None
    when: str | None = None
    model: str | None = None
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    answer: str | None = None
    picked: str | None = None
    not_copy_of: tuple[Sha256, ...] = ()

    def photo(self, patch: Path) -> Path | None:
        """Return the source photo's path, absolute; None where no source is named."""
        if self.source is None:
            return None
        return Path(os.path.normpath(patch.parent.absolute() / self.source))


class Region(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which part of a photo is meant: a square around a click, a box, or all of it.

    Attributes:
        coords: The click, (x, y) in pixels.
        size: Pixels along each side of the square.
        box: Left, top, right, bottom in pixels, half-open; not together with `coords`.
    """

    coords: tuple[int, int] | None = None
    size: int = PATCH_SIZE
    box: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.coords is not None and self.box is not None:
            raise ShapeError(f"a region is a click or a box, not both; got {self.coords} and {self.box}.")

    @property
    def whole(self) -> bool:
        """True where all of the photo is meant."""
        return self.coords is None and self.box is None

    def cut(self, photo: ImageSource) -> Image.Image:
        """Cut it out of a photo.

        Raises:
            ShapeError: It leaves the photo.
            ImageError: The photo cannot be read.
        """
        if self.coords is not None:
            return crop_patch(photo, self.coords, self.size)
        return load_image(photo) if self.box is None else crop_box(photo, self.box)


def crop_patch(image: ImageSource, xy: tuple[int, int], size: int = PATCH_SIZE) -> Image.Image:
    """Cut the square of `size` pixels around a point out of a photo.

    Near the border the square is moved inwards, so that it stays whole; of a photo that is smaller, its full width or
    height is taken. With `size` at least the longer side, that is the whole photo.

    Args:
        image: The photo.
        xy: The point in pixels from the upper left corner, x to the right and y down.
        size: Pixels along each side, at least 1.

    Raises:
        ShapeError: The point is outside the photo, or `size` is below 1.
        ImageError: The photo cannot be read.

    >>> import numpy as np
    >>> crop_patch(np.zeros((300, 400, 3), np.uint8), (399, 10), size=100).size
    (100, 100)
    """
    photo = load_image(image)
    (x, y), side = _point(xy), _whole(size)
    if side is None or side < 1:
        raise ShapeError(f"size must be a whole number of at least 1 pixel; got {size!r}.")
    if not (0 <= x < photo.width and 0 <= y < photo.height):
        raise ShapeError(
            f"xy must be inside the photo of {photo.width} x {photo.height} pixels; got ({x}, {y}). "
            "Coordinates count from the upper left corner: x to the right, y down.",
            code="outside_photo",
            x=x,
            y=y,
            width=photo.width,
            height=photo.height,
        )
    width, height = min(side, photo.width), min(side, photo.height)
    left = min(max(x - width // 2, 0), photo.width - width)
    top = min(max(y - height // 2, 0), photo.height - height)
    return photo.crop((left, top, left + width, top + height))


def crop_box(image: ImageSource, xyxy: tuple[int, int, int, int]) -> Image.Image:
    """Cut a box out of a photo: left, top, right, bottom in pixels, half-open.

    Raises:
        ShapeError: The box is empty or leaves the photo.
        ImageError: The photo cannot be read.
    """
    photo = load_image(image)
    found = _wholes(xyxy, 4)
    if found is None:
        raise ShapeError(f"a box must be four whole numbers, x1, y1, x2, y2; got {xyxy!r}.", code="bad_box", got=xyxy)
    left, top, right, bottom = found
    if not (0 <= left < right <= photo.width and 0 <= top < bottom <= photo.height):
        raise ShapeError(
            f"a crop must be x1,y1,x2,y2 with 0 <= x1 < x2 <= {photo.width} and 0 <= y1 < y2 <= {photo.height}; "
            f"got {left},{top},{right},{bottom}.",
            code="bad_crop",
            left=left,
            top=top,
            right=right,
            bottom=bottom,
            width=photo.width,
            height=photo.height,
        )
    return photo.crop((left, top, right, bottom))


def sidecar_path(patch: Path) -> Path:
    """Return where the side-car of a patch lies: the same name with `.json`."""
    return patch.with_suffix(".json")


def read_sidecar(patch: Path) -> Sidecar | None:
    """Read the side-car of a patch; None where there is none.

    Raises:
        DataError: It is there and is no side-car; the message names it.
    """
    path = sidecar_path(require_path("patch", patch))
    if not path.is_file():
        return None
    if path.stat().st_size > _MAX_SIDECAR_BYTES:
        raise DataError(
            f"{path} is larger than {_MAX_SIDECAR_BYTES:,} bytes; that is no side-car. Remove it.",
            code="too_large",
            path=path,
            most=_MAX_SIDECAR_BYTES,
        )
    try:
        return msgspec.json.decode(path.read_bytes(), type=Sidecar)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} must be a JSON object such as "
            '{"source": "../../photos/a.jpg", "coords": [150, 200], "size": 224}; ' + f"{error}. Mend or remove it.",
            code="bad_sidecar",
            path=path,
            error=error,
        ) from error


def write_sidecar(patch: Path, sidecar: Sidecar) -> Path:
    """Write the side-car of a patch, atomically; returns its path."""
    require_type("sidecar", sidecar, Sidecar, "Sidecar(source=...)")
    path = sidecar_path(require_path("patch", patch))
    with atomic_write(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(sidecar), indent=2) + b"\n")
    return path


def _point(xy: tuple[int, int]) -> tuple[int, int]:
    found = _wholes(xy, 2)
    if found is None:
        raise ShapeError(
            f"xy must be two whole numbers, x and y, such as (150, 200); got {xy!r}.", code="bad_point", got=xy
        )
    return found[0], found[1]


def _wholes(values: Any, count: int) -> list[int] | None:
    """Return so many whole numbers, or None where that is not what was given."""
    if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str | bytes) or len(values) != count:
        return None
    found = [whole for value in values if (whole := _whole(value)) is not None]
    return found if len(found) == count else None


def _whole(value: Any) -> int | None:
    """Return a number without a fraction, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return None
    number = float(value)
    return int(value) if number.is_integer() else None
