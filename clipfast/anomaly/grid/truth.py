"""What is true of a class's test images, at the size of the maps: all that figures need beside the scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.grid.plan import PlannedClass
from clipfast.datasets.inspection import GOOD, InspectionClass, scaled_mask, whole_mask
from clipfast.errors import ArtifactError, DataError, ImageError, ShapeError
from clipfast.provenance import digest
from clipfast.storage import load_sealed_npz, save_sealed_npz
from clipfast.types import Pixels

__all__ = ["Truth", "masks_digest", "read_masks", "read_truth", "write_truth"]

_MOST_PIXELS = 1 << 31


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size_hw: tuple[int, int]
    sources: str
    test: str
    empty: int


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Masks of a class.

    Attributes:
        masks: 0 and 1, (n, h, w) uint8.
        sources: SHA-256 of what they were read from.
        empty: How many damaged images have a mask that holds nothing.
        lost: How many have one that holds nothing at this size only: damage thinner than the pixels that are taken.
    """

    masks: Pixels
    sources: str
    empty: int
    lost: int


def masks_digest(data: InspectionClass) -> str:
    """Return the SHA-256 of all masks of a class, as files or arrays.

    Raises:
        DataError: A damaged image has no mask.
        ImageError: A file cannot be read.
    """
    parts: list[bytes | str] = []
    for sample in data.test:
        if not sample.is_anomalous:
            continue
        if sample.mask is None:
            raise DataError(
                f"{sample.key} is damaged and has no mask, so pixels cannot be judged. Take --tasks cls, or add masks."
            )
        parts.append(sample.key)
        if isinstance(sample.mask, Path):
            try:
                parts.append(sample.mask.read_bytes())
            except OSError as error:
                raise ImageError(f"{sample.mask} cannot be read: {error.strerror}. Check the path.") from error
        else:
            parts.append(f"{sample.mask.shape}")
            values = np.asarray(sample.mask)
            parts.append(np.ascontiguousarray(values if values.dtype == np.uint8 else values > 0, np.uint8).tobytes())
    return digest(parts)


def read_masks(
    data: InspectionClass, sources: str, size_hw: tuple[int, int], exif: Literal["apply", "ignore"] = "apply"
) -> Truth:
    """Read the masks of a class at a size, by the nearest pixel.

    Args:
        data: The class, read with masks.
        sources: Their `masks_digest`.
        size_hw: Of the maps.
        exif: How the encoder sees the images.

    Raises:
        DataError: As `clipfast.datasets.inspection.mask_of`.
        ShapeError: All masks together would be too large.
    """
    if len(data.test) * size_hw[0] * size_hw[1] > _MOST_PIXELS:
        raise ShapeError(
            f"maps of {data.name} must have at most {_MOST_PIXELS:,} pixels together; {len(data.test)} of "
            f"{size_hw[0]} x {size_hw[1]} have more. Lower --size."
        )
    masks = np.zeros((len(data.test), *size_hw), np.uint8)
    empty = 0
    for mask, sample in zip(masks, data.test, strict=True):
        if sample.is_anomalous:
            whole = whole_mask(sample, exif=exif)
            empty += not whole.any()
            mask[:] = scaled_mask(whole, size_hw)
    return Truth(masks, sources, empty, _blank(masks, data.labels) - empty)


def write_truth(path: Path, truth: Truth, planned: PlannedClass) -> None:
    """Write masks, eight pixels a byte, atomically."""
    meta = _Meta((truth.masks.shape[1], truth.masks.shape[2]), truth.sources, _of_test(planned), truth.empty)
    n, height, width = truth.masks.shape
    packed = np.packbits(truth.masks.reshape(n, height * width), axis=1)
    save_sealed_npz(path, {"masks": packed, "meta": np.array(msgspec.json.encode(meta).decode())})


def read_truth(path: Path, planned: PlannedClass, size_hw: tuple[int, int]) -> Truth:
    """Read what `write_truth` wrote.

    Raises:
        ArtifactError: It is missing or damaged, or of other images or another size.
    """
    arrays = load_sealed_npz(path, kind="truth of a grid")
    try:
        meta = msgspec.json.decode(str(arrays["meta"]), type=_Meta)
        packed = arrays["masks"]
    except (KeyError, msgspec.MsgspecError) as error:
        raise ArtifactError(f"{path} is no truth of a grid: {error}. Remove it and run the grid again.") from error
    pixels = size_hw[0] * size_hw[1]
    wanted = (len(planned.test), -(-pixels // 8))
    if meta.size_hw != size_hw or meta.test != _of_test(planned) or packed.shape != wanted or packed.dtype != np.uint8:
        raise ArtifactError(f"{path} belongs to another grid. Remove it and run the grid again.")
    masks = np.unpackbits(packed, axis=1, count=pixels).reshape(len(packed), *size_hw)
    blank = _blank(masks, [record.label != GOOD for record in planned.test])
    return Truth(masks, meta.sources, meta.empty, blank - meta.empty)


def _blank(masks: Pixels, labels: NDArray[np.bool_] | list[bool] | list[int]) -> int:
    return int(np.count_nonzero(np.asarray(labels, bool) & ~masks.any(axis=(1, 2))))


def _of_test(planned: PlannedClass) -> str:
    return digest(part for record in planned.test for part in (record.key, record.sha256, record.label))
