"""Images as detectors see them: all of the picture, squeezed to what the model reads, and views that stay intact."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import msgspec
import numpy as np

from clipfast.anomaly.options import BankViews
from clipfast.artifact import ImageSpec
from clipfast.errors import ImageError
from clipfast.runtime.batching import prefetch
from clipfast.runtime.images import load_image, load_pixels
from clipfast.runtime.preprocess import preprocess
from clipfast.runtime.reading import each_image
from clipfast.runtime.session import available_cores
from clipfast.types import Images, ImageSource, Pixels

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["BANK_VIEWS", "HELD_OUT_VIEWS", "Picture", "View", "Viewer", "pixel_digest", "read_picture"]

_MOST_BYTES = 512 << 20
_AHEAD, _DECODERS = 16, 4


@dataclass(frozen=True, slots=True)
class View:
    """A picture taken a little differently.

    Attributes:
        window: Part of the picture, (top, left, height, width) as shares.
        light: Factor of all levels.
        slope_yx: How much brighter the lower and the right edge are than the middle, as shares.
    """

    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    light: float = 1.0
    slope_yx: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def nearer(cls, zoom: float) -> View:
        """Return the middle of the picture, magnified by `zoom`, 1 or more."""
        side = 1 / zoom
        return cls(((1 - side) / 2, (1 - side) / 2, side, side))

    def lit(self, pixels: Pixels) -> Pixels:
        """Return pixels in this light."""
        if self.light == 1.0 and self.slope_yx == (0.0, 0.0):
            return pixels
        down, across = (np.linspace(-1, 1, side, dtype=np.float32) for side in pixels.shape[:2])
        light = self.light * (1 + self.slope_yx[0] * down[:, None] + self.slope_yx[1] * across[None])
        return np.clip(np.rint(pixels * light[..., None].astype(np.float32)), 0, 255).astype(np.uint8)


# Windows of nine tenths in the corners, each in two lights: what a camera and a lamp that are set up again would show.
# Nothing is mirrored or turned, because a twill that runs the other way is not intact.
HELD_OUT_VIEWS = (
    View((0.0, 0.0, 0.9, 0.9), 1.05, (0.12, 0.12)),
    View((0.1, 0.1, 0.9, 0.9), 0.95, (0.12, -0.12)),
    View((0.0, 0.1, 0.9, 0.9), 0.95, (-0.12, 0.12)),
    View((0.1, 0.0, 0.9, 0.9), 1.05, (-0.12, -0.12)),
    View((0.0, 0.0, 0.9, 0.9), 0.85, (0.0, -0.16)),
    View((0.1, 0.1, 0.9, 0.9), 1.15, (0.0, 0.16)),
    View((0.0, 0.1, 0.9, 0.9), 1.15, (-0.16, 0.0)),
    View((0.1, 0.0, 0.9, 0.9), 0.85, (0.16, 0.0)),
)

# Quarter turns, and whether mirrored first, of each picture that the bank remembers.
BANK_VIEWS: dict[BankViews, tuple[tuple[int, bool], ...]] = {
    "none": ((0, False),),
    "rotations": tuple((turn, False) for turn in range(4)),
    "dihedral": tuple((turn, mirrored) for mirrored in (False, True) for turn in range(4)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One image by name; decoded when it is asked for, so that many references do not lie in memory.

    Attributes:
        name: The path as it was given, or "image 3" by its place.
        sha256: Of the file, or of the pixels where there is no file.
        source: Where the pixels come from.
        exif: What is done with the orientation that cameras store.
    """

    name: str
    sha256: str
    source: ImageSource
    exif: Literal["apply", "ignore"] = "apply"

    def load(self) -> Image.Image:
        """Decode the image.

        Raises:
            ImageError: It cannot be read, or the file is no longer the one that was hashed.
        """
        data = _bytes_of(self.source)
        if data is None:
            return load_image(self.source, exif=self.exif)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ImageError(f"{self.name} was changed while it was in use. Leave the references alone during a fit.")
        return load_image(_Named(data, self.name), exif=self.exif)


class Viewer:
    """Turns images into what the encoder is given.

    Args:
        clip: The encoder. Where it tells its image rule, pixels are brought to its size here, so that oblong images are
            squeezed and not cropped; others get RGB pixels of the image's own size.
        whole_image: Whether oblong images are squeezed; else the model's own rule holds.
    """

    def __init__(self, clip: object, *, whole_image: bool = True) -> None:
        spec = getattr(getattr(clip, "manifest", None), "image", None)
        self._spec: ImageSpec | None = spec if isinstance(spec, ImageSpec) else None
        if self._spec is not None and whole_image:
            self._spec = msgspec.structs.replace(self._spec, resize="squash")
        self.exif: Literal["apply", "ignore"] = getattr(clip, "exif", "apply")

    def see(self, image: Image.Image | Pixels, view: View | None = None) -> Pixels:
        """Return what the encoder is given of an image, (h, w, 3) uint8; windows are cut from PIL images only."""
        view = view or View()
        top, left, height, width = view.window
        if (height, width) != (1.0, 1.0) and not isinstance(image, np.ndarray):
            w, h = image.size
            box = (round(left * w), round(top * h), round((left + width) * w), round((top + height) * h))
            image = image.crop((box[0], box[1], max(box[2], box[0] + 1), max(box[3], box[1] + 1)))
        if self._spec is not None:
            return view.lit(preprocess(image, self._spec))
        return view.lit(image if isinstance(image, np.ndarray) else np.asarray(image.convert("RGB")))

    def stream(self, images: Images) -> Iterator[Pixels]:
        """Give what the encoder sees of many images, decoding ahead."""
        return prefetch(
            lambda source: self.see(load_pixels(source, exif=self.exif)),
            each_image(images),
            workers=min(_DECODERS, available_cores()),
            ahead=_AHEAD,
        )

    def read(self, images: Images) -> list[Picture]:
        """Name and hash the references."""
        sources: Iterable[ImageSource] = each_image(images)
        return [read_picture(source, number, self.exif) for number, source in enumerate(sources)]


def read_picture(source: ImageSource, number: int = 0, exif: Literal["apply", "ignore"] = "apply") -> Picture:
    """Name and hash an image.

    Raises:
        ImageError: Its file cannot be read or is larger than 512 MB, or it is no image at all.
    """
    data = _bytes_of(source)
    if data is None:
        return Picture(f"image {number + 1}", pixel_digest(load_image(source, exif=exif)), source, exif)
    kept = source if isinstance(source, str | PathLike) else data
    return Picture(_name(source, number), hashlib.sha256(data).hexdigest(), kept, exif)


def pixel_digest(image: Image.Image) -> str:
    """Return the SHA-256 of an image's size and RGB pixels: the same whatever lossless file it was kept in."""
    return hashlib.sha256(f"{image.size} ".encode() + image.convert("RGB").tobytes()).hexdigest()


class _Named(io.BytesIO):
    """A file's bytes under the name that errors shall use."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def _name(source: ImageSource, number: int) -> str:
    if isinstance(source, str | PathLike):
        return Path(source).as_posix()
    return str(getattr(source, "name", f"image {number + 1}"))


def _bytes_of(source: ImageSource) -> bytes | None:
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | PathLike):
        path = Path(source)
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ImageError(f"{path} must have at most {_MOST_BYTES:,} bytes. Shrink the image.")
            return path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    read = getattr(source, "read", None)
    return cast("bytes", read(_MOST_BYTES)) if callable(read) else None
