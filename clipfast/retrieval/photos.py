"""What can be told of a reference photo by its pixels alone: size, sharpness, light, and a hash of its look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipfast.arguments import Span, require_number, require_whole
from clipfast.artifact import ImageSpec
from clipfast.retrieval.encode import SMALL_SIDE
from clipfast.runtime.preprocess import preprocess

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PhotoFacts", "PhotoLimits", "photo_facts"]

# Photos are measured as a model sees them: shrunk to 224 and cropped to the middle, and never scaled up, because
# that would look like blur. Only the tiniest are, so that there is something to measure.
_MEASURED_SIDE = SMALL_SIDE
_LEAST_SIDE = 32
_BLACK_OFFSET = 8.0
_BLACK, _FULL = 4.0, 251
_FLAT = 0.5


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """Measures of one photo.

    Attributes:
        path: Its name in the bank, `fabric/file`.
        size_hw: Its size in pixels, upright.
        sharpness: Standard deviation of the Laplacian over the mean luminance, on at most 224 x 224 pixels.
        mean: Mean luminance, 0..255.
        p05: Luminance that 5 % of the pixels are below.
        p95: Luminance that 5 % of the pixels are above.
        clipped: Share of pixels that are as good as black, or have a channel at its end.
        phash: Perceptual hash, 16 hexadecimal digits; None for a picture without any pattern, which has none.
    """

    path: str
    size_hw: tuple[int, int]
    sharpness: float
    mean: float
    p05: float
    p95: float
    clipped: float
    phash: str | None


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """From where on a photo, or a fabric, has a problem.

    The defaults were measured on fabricworld (all 22 fabrics and twelve colours, 352 pictures of 224 pixels and 176 of
    448, as JPEG of quality 92), not on photographs:

    - Sharpness is the deviation of the Laplacian over (mean luminance + 8). Below .035 lie 4 % of the sharp pictures,
      all of them satin, chiffon or wide checks; of those blurred by a Gaussian of 2 of 224 pixels 61 % (73 % at
      448), by one of 3 pixels 89 % (94 %), by one of 1 pixel only 12 % (14 %). The plain variance of the Laplacian
      (below 12) tells blur as well, but takes the dark for blurred: at a quarter of the light it named 18 % of 264
      sharp pictures, where this measure names 5 %.
    - Too dark are 1 to 2 % as they are, all of them black cloth, 51 % at a quarter of the light (54 %) and 99 % at .15
      of it. A black cloth and a dark photo of a white one are not told apart.
    - Too bright or clipped are 1 %, 52 % at twice the light (45 %) and 76 % at three times (71 %).
    Which photos are nearly the same is no limit of these: see `clipfast.retrieval.looks`.

    Attributes:
        few: A fabric with fewer photos has too few; 3-5 are recommended.
        small_side: A photo with a shorter side is too small.
        sharpness: A photo below is blurred. Smooth cloth (satin, chiffon, velvet) may be, too: look at it.
        dark: A photo whose `p95` is below is too dark.
        bright: A photo whose `p05` is above is too bright.
        clipped: A photo with a larger share of clipped pixels has lost its colours or its shadow.
    """

    few: int = 3
    small_side: int = SMALL_SIDE
    sharpness: float = 0.035
    dark: float = 40.0
    bright: float = 215.0
    clipped: float = 0.5

    def __post_init__(self) -> None:
        require_whole("few", self.few, 1)
        require_whole("small_side", self.small_side, 1)
        require_number("clipped", self.clipped, Span(0, 1))
        for name in ("sharpness", "dark", "bright"):
            require_number(name, getattr(self, name), Span(0))


def photo_facts(path: str, image: Image.Image) -> PhotoFacts:
    """Measure one decoded photo.

    Args:
        path: Its name in the bank.
        image: The photo, upright, in any mode.

    Raises:
        ImageError: It has no agreed range, or is too narrow to be scaled.
    """
    from clipfast.kernels.filters import area_mean, laplacian, luminance, perceptual_hash

    side = min(max(min(image.size), _LEAST_SIDE), _MEASURED_SIDE)
    # Normalisation is not part of the pixels, so mean and std do not matter here.
    pixels = preprocess(image, ImageSpec((side, side), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)))
    grey = luminance(pixels)
    mean = float(grey.mean())
    p05, p95 = np.percentile(grey, [5, 95]).tolist()
    small = area_mean(grey, (32, 32))
    return PhotoFacts(
        path=path,
        size_hw=(image.height, image.width),
        sharpness=float(laplacian(grey).std()) / (mean + _BLACK_OFFSET),
        mean=mean,
        p05=p05,
        p95=p95,
        clipped=float(((grey <= _BLACK) | (pixels.max(axis=2) >= _FULL)).mean()),
        phash=None if float(small.std()) < _FLAT else f"{perceptual_hash(small):016x}",
    )
