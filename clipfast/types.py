"""Array aliases, result objects and the Protocols that the four jobs are written against.

Letters of every docstring: `n` images, `t` texts, `e` embedding size, `p = gh * gw` patches, `gh, gw` patch grid,
`h, w` pixels, `m` bank items, `k` neighbours, `c` channels or classes. Sizes are `(height, width)` and named
`size_hw`; boxes are `xyxy` in pixels, half-open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

    from clipfast.artifact import Manifest

__all__ = [
    "DenseEncoder",
    "DenseTokens",
    "Floats",
    "ImageEncoder",
    "ImageSource",
    "Images",
    "Ints",
    "JointFeatures",
    "PatchEncoder",
    "PatchFeatures",
    "Pixels",
    "TextEncoder",
    "TokenEncoder",
]

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]
Pixels: TypeAlias = NDArray[np.uint8]

ImageSource: TypeAlias = "str | PathLike[str] | bytes | BinaryIO | Image.Image | Pixels"
"""One image: a path, the bytes of a file, an open binary file, a PIL image or a uint8 (h, w, 3) RGB array."""

Images: TypeAlias = "ImageSource | Iterable[ImageSource]"
"""One image or any iterable of them; a uint8 (n, h, w, 3) array is n images."""


@dataclass(frozen=True, slots=True)
class DenseTokens:
    """What one forward of the `dense` graph gives: the class embedding and the Surgery patch tokens.

    Attributes:
        embedding: Unit rows, (n, e) float32; equal to `encode_images`.
        qk: Query-key stream without FFN, (n, p, e) float32, not normalised.
        vv: Value-value stream (CLIP Surgery), (n, p, e) float32, not normalised.
        mixed: `alpha * qk + (1 - alpha) * vv`, blended before the last norm, (n, p, e) float32, not normalised.
        grid_hw: Patch grid, (gh, gw); `p = gh * gw` in row-major order.
        streams: Further outputs of the artifact by name, such as `class_attention` (n, heads, 1 + p).
    """

    embedding: Floats
    qk: Floats
    vv: Floats
    mixed: Floats
    grid_hw: tuple[int, int]
    streams: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PatchFeatures:
    """Patch tokens of inner blocks, for memory banks.

    Attributes:
        features: By block number (from 1), (n, p, c) float32, not normalised.
        grid_hw: Patch grid, (gh, gw).
    """

    features: Mapping[int, Floats]
    grid_hw: tuple[int, int]


@dataclass(frozen=True, slots=True)
class JointFeatures:
    """What few-shot anomaly detection needs, from one forward.

    Attributes:
        embedding: Unit rows, (n, e) float32.
        vv: Value-value stream, (n, p, e) float32, not normalised.
        patches: Patch features of the artifact's blocks.
    """

    embedding: Floats
    vv: Floats
    patches: PatchFeatures


@runtime_checkable
class ImageEncoder(Protocol):
    """Anything that turns images into unit rows."""

    def encode_images(self, images: Images) -> Floats:
        """Return unit rows, (n, e) float32."""
        ...

    def fingerprint(self, output: str = "embedding") -> str:
        """Return the identity of the vectors: equal strings mean comparable vectors."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Anything that turns texts into unit rows of the same space."""

    def encode_texts(self, texts: Sequence[str], templates: Sequence[str] | None = None) -> Floats:
        """Return unit rows, (t, e) float32; with templates, their normalised mean per text."""
        ...


@runtime_checkable
class PatchEncoder(Protocol):
    """Anything that gives patch features; a memory bank takes any of them."""

    def encode_patches(self, images: Images, blocks: Sequence[int] | None = None) -> PatchFeatures:
        """Return the patch tokens after the chosen blocks."""
        ...


@runtime_checkable
class DenseEncoder(TextEncoder, Protocol):
    """Anything that gives Surgery patch tokens and the texts to compare them with."""

    def encode_dense(self, images: Images, alpha: float = 0.5) -> DenseTokens:
        """Return the class embedding and the patch tokens of all streams."""
        ...


@runtime_checkable
class TokenEncoder(DenseEncoder, ImageEncoder, Protocol):
    """Anything that also gives the tokens of the unmodified tower and its presets, and says how it reads images."""

    @property
    def manifest(self) -> Manifest:
        """What the artifact says about itself: graphs, streams, input size, patch grid."""
        ...

    @property
    def exif(self) -> Literal["apply", "ignore"]:
        """What is done with the orientation that cameras store."""
        ...

    @property
    def max_pixels(self) -> int:
        """The largest image that is decoded, in pixels."""
        ...

    def encode_presets(self, images: Images) -> Mapping[str, Floats]:
        """Return patch tokens by name, "plain" among them, each (n, p, e), not normalised; "sweep" is (n, L, p, e)."""
        ...
