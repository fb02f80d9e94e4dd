"""A bank's photos embedded by another model: found again by their recorded names, and compared by checksum."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clipfast.arguments import require_path, require_type
from clipfast.datasets.folders import iter_fabric_images
from clipfast.errors import DataError
from clipfast.retrieval.bank import FabricBank
from clipfast.retrieval.bankfile import BankModel
from clipfast.retrieval.encode import EncodeOptions, Photo, Skipped, encode_photos
from clipfast.retrieval.references import NO_PHOTO, References
from clipfast.runtime.images import DEFAULT_MAX_PIXELS
from clipfast.storage import sha256_file
from clipfast.types import ImageEncoder

__all__ = ["RebuildOptions", "rebuild_bank"]

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class RebuildOptions:
    """How a bank is rebuilt.

    Attributes:
        skip_missing: Leave out photos that are missing, changed or unreadable, instead of refusing.
        batch_size: Photos an encoder call, at most; does not change the vectors.
        max_pixels: Larger photos are refused before they are decoded.
        progress: Called with (done, total) files; every file is read twice, first to compare its checksum.
    """

    skip_missing: bool = False
    batch_size: int = 32
    max_pixels: int = DEFAULT_MAX_PIXELS
    progress: Callable[[int, int], None] | None = None


def rebuild_bank(
    references: References,
    clip: ImageEncoder,
    folder: str | os.PathLike[str],
    options: RebuildOptions | None = None,
) -> FabricBank:
    """Embed the same photos with another model; what was left out is in `bank.report.skipped`.

    A photo is looked up under `folder` by its recorded name, `fabric/file`, and taken only if its bytes have the
    recorded checksum. Photos of the folder that the bank does not hold are not added.

    Args:
        references: The photos of the old bank.
        clip: The model for the new one.
        folder: Where the photos lie, one folder a fabric.
        options: How.

    Raises:
        DataError: No folder there, no photo is left, or, without `skip_missing`, one is missing, changed, unreadable
            or was imported as a vector; at most ten are named.
    """
    options = options or RebuildOptions()
    require_type("references", references, References, "bank.references")
    photos, left_out = _found_again(references, require_path("folder", folder), options)
    if left_out and not options.skip_missing:
        raise _refusal(left_out, len(references), folder)
    if not photos:
        raise DataError(
            f"None of the bank's {len(references)} photos can be embedded again; the first: {left_out[0].path} "
            f"({left_out[0].reason}). Name the folder that holds them (--folder).",
            code="none_rebuilt",
            count=len(references),
            path=left_out[0].path,
            reason=left_out[0].reason,
        )

    def progress(done: int, total: int) -> None:
        if options.progress:
            options.progress(len(references) + done, len(references) + total)

    encoding = EncodeOptions(batch_size=options.batch_size, max_pixels=options.max_pixels, progress=progress)
    new, report = encode_photos(clip, photos, encoding, where=os.fspath(folder))
    left_out += report.skipped
    recorded = dict(zip(references.paths, references.sha256, strict=True))
    if changed := [path for path, sha256 in zip(new.paths, new.sha256, strict=True) if recorded[path] != sha256]:
        left_out += [Skipped(path, "changed while it was read") for path in changed]
    if left_out and not options.skip_missing:
        raise _refusal(left_out, len(references), folder)
    new = new.taken([row for row, path in enumerate(new.paths) if path not in set(changed)]) if changed else new
    skipped = tuple(sorted(left_out, key=lambda item: item.path))
    counts = dict.fromkeys(references.names, 0) | dict(zip(new.names, new.counts.tolist(), strict=True))
    return FabricBank(new, BankModel.of(clip), clip=clip, report=replace(report, counts=counts, skipped=skipped))


def _found_again(references: References, folder: Path, options: RebuildOptions) -> tuple[list[Photo], list[Skipped]]:
    """Match the recorded names with the files of the folder; nothing outside of it is ever opened."""
    files = {image.key: image.path for image in iter_fabric_images(folder)}
    photos: list[Photo] = []
    left_out: list[Skipped] = []
    rows = zip(references.fabrics, references.paths, references.sha256, strict=True)
    for done, (fabric, path, sha256) in enumerate(rows, start=1):
        if reason := _reason(files.get(path), sha256):
            left_out.append(Skipped(path, reason))
        else:
            photos.append(Photo(fabric, files[path], path))
        if options.progress:
            options.progress(done, 2 * len(references))
    return photos, left_out


def _reason(file: Path | None, sha256: str) -> str:
    if sha256 == NO_PHOTO:
        return "imported as a vector, without a photo"
    if file is None:
        return "missing"
    try:
        return "" if sha256_file(file) == sha256 else "changed"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _refusal(left_out: Sequence[Skipped], total: int, folder: str | os.PathLike[str]) -> DataError:
    shown = ", ".join(f"{item.path} ({item.reason.rstrip('.')})" for item in left_out[:_SHOWN])
    more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
    return DataError(
        f"{len(left_out)} of the bank's {total} photos cannot be embedded again from {os.fspath(folder)}: "
        f"{shown}{more}. Restore them, name another folder (--folder), or leave them out (--skip-missing).",
        code="some_not_rebuilt",
        count=len(left_out),
        total=total,
        folder=folder,
        shown=shown,
    )
