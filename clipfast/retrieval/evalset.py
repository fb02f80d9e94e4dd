"""The evaluation set: labelled pictures that nothing is ever trained on, named with their checksums in a JSONL file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from clipfast.arguments import require_path
from clipfast.errors import DataError, ImageError, ShapeError
from clipfast.metrics.resampling import seeded
from clipfast.retrieval.crops import PATCH_SIZE, crop_patch, read_sidecar, sidecar_path
from clipfast.retrieval.encode import Skipped
from clipfast.retrieval.evallines import EvalSample, place_of, read_samples
from clipfast.retrieval.grouping import photo_groups, require_split, stratified_split
from clipfast.retrieval.labelled import SeenPatch, list_patches, look_at_patches, read_picture
from clipfast.retrieval.looks import Look, copies_within, look_of
from clipfast.storage import atomic_write, sha256_file

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["EVAL_SET_NAME", "EvalSample", "EvalSet", "SplitReport", "eval_set_beside", "make_eval_set"]

EVAL_SET_NAME = "eval_set.jsonl"
_MAX_BYTES = 256 << 20
_NAMED = 5


@dataclass(frozen=True, slots=True)
class SplitReport:
    """How an evaluation set came about.

    Attributes:
        counts: Of each class, how many patches there are and how many are in the set.
        skipped: Patches that could not be read; they are on no side.
        no_photo: Patches in the set whose side-car names a source photo that is not there: the patch itself is used.
        conflicts: Pairs of patches that are nearly the same and have different labels; one of the labels is wrong.
        kept_together: How many patches belong to a group with others: the same photo, or nearly the same picture.
    """

    counts: dict[str, tuple[int, int]]
    skipped: tuple[Skipped, ...] = ()
    no_photo: tuple[str, ...] = ()
    conflicts: tuple[tuple[str, str], ...] = ()
    kept_together: int = 0


@dataclass(frozen=True, slots=True)
class EvalSet:
    """Pictures to evaluate on.

    Attributes:
        samples: In the order of (label, image).
        root: Folder that the images' paths are relative to.
        report: How it was made; None for one that was read.
        path: The file it was read from; None for one that was made.
    """

    samples: tuple[EvalSample, ...]
    root: Path
    report: SplitReport | None = field(default=None, compare=False)
    path: Path | None = field(default=None, compare=False)

    def __len__(self) -> int:
        """How many samples."""
        return len(self.samples)

    @property
    def labels(self) -> tuple[str, ...]:
        """Its classes, sorted."""
        return tuple(sorted({sample.label for sample in self.samples}))

    @property
    def version(self) -> str:
        """Twelve digits that change when a sample does, wherever the files lie."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(f"{sample.sha256} {sample.coords} {sample.size} {sample.label}\n".encode())
        return digest.hexdigest()[:12]

    @property
    def pictures(self) -> frozenset[str]:
        """Checksums of all files that show its samples, whatever their labels and order are."""
        return frozenset().union(*(sample.digests for sample in self.samples))

    def groups(self) -> list[int]:
        """Number what is independent, in the order of the samples: those of one photo have one number.

        Known from the samples' groups and files, and from side-cars, which lines of older sets have to do with.
        """
        files = [self.file(sample) for sample in self.samples]
        sidecars = [read_sidecar(file) for file in files]
        photos = [None if car is None else car.photo(file) for car, file in zip(sidecars, files, strict=True)]
        first: dict[int, int] = {}
        known = [(at, sample.group) for at, sample in enumerate(self.samples) if sample.group is not None]
        pairs = [(first.setdefault(group, at), at) for at, group in known]
        found: list[int] = photo_groups(photos, [sample.sha256 for sample in self.samples], (), also=pairs).tolist()
        return found

    def looks(self) -> tuple[Look, ...]:
        """Look at what is asked about, in the order of the samples; pictures that cannot be read are passed over.

        Raises:
            DataError: A picture was moved or changed.
        """
        found = []
        for sample in self.samples:
            with suppress(ImageError, ShapeError):
                found.append(look_of(self.crop(sample)))
        return tuple(found)

    def file(self, sample: EvalSample) -> Path:
        """Return where a sample's picture is, absolute."""
        return Path(os.path.normpath(self.root.absolute() / sample.image))

    def crop(self, sample: EvalSample) -> Image.Image:
        """Read a sample's picture and cut out what is asked about.

        Raises:
            DataError: The picture is gone, or is not the one that was put into the set.
            ImageError: It cannot be read.
            ShapeError: Its coordinates are outside of it.
        """
        return crop_patch(self.picture(sample), sample.coords, sample.size)

    def picture(self, sample: EvalSample) -> Image.Image:
        """Read a sample's whole picture.

        Raises:
            DataError: The picture is gone, or is not the one that was put into the set.
            ImageError: It cannot be read.
        """
        path = self.file(sample)
        try:
            sha256, image = read_picture(path)
        except OSError as error:
            raise DataError(
                f"{self._moved(sample)} ({error.strerror}). {_MOVED}", code="eval_moved", images=sample.image
            ) from error
        if sha256 != sample.sha256:
            raise DataError(f"{self._changed(sample)}. {_CHANGED}", code="eval_changed", images=sample.image)
        return image

    def verify(self) -> None:
        """Check that every picture is there and is the one that was put into the set.

        Raises:
            DataError: Some were moved or changed; the message names the first of them.
        """
        gone = [sample for sample in self.samples if not self.file(sample).is_file()]
        if gone:
            raise DataError(
                f"{_listed([self._moved(sample) for sample in gone])}. {_MOVED}",
                code="eval_moved",
                images=_listed([sample.image for sample in gone], "…"),
            )
        changed = [sample for sample in self.samples if sha256_file(self.file(sample)) != sample.sha256]
        if changed:
            raise DataError(
                f"{_listed([self._changed(sample) for sample in changed])}. {_CHANGED}",
                code="eval_changed",
                images=_listed([sample.image for sample in changed], "…"),
            )

    def save(self, path: str | os.PathLike[str], *, replace: bool = True) -> None:
        """Write one JSON object a line, atomically, with paths relative to the file's folder.

        Args:
            path: The file.
            replace: Whether it may take the place of a set of another version, with which results do not compare.

        Raises:
            DataError: Such a set is there and must not be replaced.
        """
        target = require_path("path", path)
        if not replace:
            self._require_place(target)
        folder = target.parent.absolute()
        moved = [
            msgspec.structs.replace(sample, image=Path(os.path.relpath(self.file(sample), folder)).as_posix())
            for sample in self.samples
        ]
        with atomic_write(target) as temporary:
            temporary.write_bytes(b"".join(msgspec.json.encode(sample) + b"\n" for sample in moved))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EvalSet:
        """Read what `save` wrote; the pictures are not touched, see `verify`.

        Raises:
            DataError: No file there, or a line that is no sample; the message names it.
        """
        file = require_path("path", path)
        if not file.is_file():
            raise DataError(
                f"No evaluation set at {file}. Make one: clipfast evalset make data/patches/labeled --output {file}",
                code="no_eval_set",
                path=file,
            )
        if (size := file.stat().st_size) > _MAX_BYTES:
            sentence = f"{file} is {size:,} bytes; an evaluation set may have {_MAX_BYTES:,} at most."
            raise DataError(sentence, code="too_large", path=file, most=_MAX_BYTES)
        samples = read_samples(file)
        if not samples:
            raise DataError(
                f"{file} holds no sample. Make it again: clipfast evalset make", code="empty_eval_set", path=file
            )
        return cls(samples, file.parent, path=file)

    def _require_place(self, target: Path) -> None:
        if not target.exists():
            return
        present = EvalSet.load(target)
        if present.version != self.version:
            raise DataError(
                f"{target} holds an evaluation set already: version {present.version}, {len(present)} samples. It is "
                f"frozen; results on version {self.version} do not compare with those on it. Keep it, name another "
                "file with --output, or replace it: clipfast evalset make --replace",
                code="eval_set_exists",
                path=target,
                version=present.version,
                count=len(present),
            )

    def _moved(self, sample: EvalSample) -> str:
        return f"{sample.image} is not at {self.file(sample)}"

    def _changed(self, sample: EvalSample) -> str:
        return f"{sample.image} is not the picture that was put into the set: its checksum differs"


_MOVED = "It was moved or removed: put it back, or make the evaluation set again."
_CHANGED = "It was changed: put the old file back, or make the evaluation set again; older results do not compare."


def make_eval_set(
    folder: str | os.PathLike[str],
    split: float = 0.2,
    seed: int = 42,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> EvalSet:
    """Choose pictures to evaluate on from a folder of labelled patches.

    The share is the same in every class. Patches of one photo (as side-cars say), equal files and near copies are
    never on both sides. Where a side-car names a source photo that is there, the sample is the photo with the click's
    coordinates; else the patch with its middle.

    Args:
        folder: `<fabric_id>/<patch>`.
        split: Share of each class, above 0 and below 1.
        seed: Chooses them.
        progress: Called with (done, total) files.

    Raises:
        DataError: No folder or no readable patch there, no class has patches enough to be shared out, or a side-car
            names a click outside its photo.
        ShapeError: `split` is not between 0 and 1, or the seed is none.
    """
    seeded(seed)  # is one, and the split a share, before every picture is read
    require_split(split)
    seen, skipped = look_at_patches(list_patches(folder), progress=progress)
    labels = [item.patch.label for item in seen]
    groups = photo_groups([item.patch.photo for item in seen], [i.sha256 for i in seen], [i.look for i in seen])
    chosen = stratified_split(labels, groups, split=split, seed=seed)
    if not chosen:
        first = "".join(f" The first that cannot be read: {item.path}: {item.reason}" for item in skipped[:1])
        raise DataError(
            f"{os.fspath(folder)} cannot be shared out: no class has two photos that are not nearly the same. "
            f"Label more, 5-10 of each class.{first}",
            code="cannot_split",
            folder=folder,
        )
    root = Path(folder).absolute().parent
    sizes = {int(group): int((groups == group).sum()) for group in set(groups.tolist())}
    together = [int(group) if sizes[int(group)] > 1 else None for group in groups]
    places: dict[tuple[object, ...], EvalSample] = {}  # two patches of one click are one sample
    seen_photos: dict[Path, tuple[int, int]] = {}
    for row in chosen:
        drawn = _sample(seen[row], root, together[row], seen_photos)
        known = places.setdefault(place_of(drawn), drawn)
        related = tuple(sorted((known.digests | drawn.digests) - {known.sha256}))
        places[place_of(drawn)] = msgspec.structs.replace(known, related=related)
    report = SplitReport(
        counts={
            name: (labels.count(name), sum(sample.label == name for sample in places.values()))
            for name in sorted(set(labels))
        },
        skipped=tuple(skipped),
        no_photo=tuple(seen[row].patch.key for row in chosen if _lost_photo(seen[row])),
        conflicts=_conflicts(seen),
        kept_together=sum(sizes[int(group)] > 1 for group in groups),
    )
    ordered = tuple(sorted(places.values(), key=lambda sample: (sample.label, sample.image, sample.coords)))
    return EvalSet(ordered, root, report)


def eval_set_beside(folder: str | os.PathLike[str]) -> Path:
    """Return where the evaluation set of a folder lies if nothing else is said.

    Beside the folder; for `data/patches/labeled`, in `data`.

    >>> eval_set_beside("data/patches/labeled").as_posix(), eval_set_beside("cloth").as_posix()
    ('data/eval_set.jsonl', 'eval_set.jsonl')
    """
    base = Path(folder)
    above = base.parent.parent if base.parent.name == "patches" else base.parent
    return above / EVAL_SET_NAME


def _sample(item: SeenPatch, root: Path, group: int | None, sizes: dict[Path, tuple[int, int]]) -> EvalSample:
    """Make a sample; `sizes` keeps those of photos, each of which is read once."""
    sidecar, photo = item.patch.sidecar, item.patch.photo
    source = sha256_file(photo) if photo is not None and photo.is_file() else None
    if photo is not None and source is not None and sidecar is not None and sidecar.coords is not None:
        if photo not in sizes:
            sizes[photo] = _size(photo)
        _require_inside(item.patch.path, photo, sidecar.coords, sizes[photo])
        image, sha256, (x, y) = photo, source, sidecar.coords
        size = sidecar.size or max(item.size_hw)
    else:
        image, sha256 = item.patch.path.absolute(), item.sha256
        x, y, size = item.size_hw[1] // 2, item.size_hw[0] // 2, max(item.size_hw)  # all of it
    return EvalSample(
        image=Path(os.path.relpath(image, root)).as_posix(),
        coords=(x, y),
        label=item.patch.label,
        sha256=sha256,
        size=max(size, PATCH_SIZE) if image == item.patch.path.absolute() else size,
        group=group,
        related=tuple(sorted({item.sha256, source or item.sha256} - {sha256})),
    )


def _size(photo: Path) -> tuple[int, int]:
    try:
        return read_picture(photo)[1].size
    except ImageError as error:
        sentence = f"{error} A patch of the evaluation set was cut from it."
        raise DataError(sentence, code="eval_photo_unreadable", path=photo, reason=error) from error


def _require_inside(patch: Path, photo: Path, coords: tuple[int, int], size: tuple[int, int]) -> None:
    """Refuse a click outside its photo before it is frozen in a set, which could never ask about it."""
    if not all(0 <= at < side for at, side in zip(coords, size, strict=True)):
        sidecar = sidecar_path(patch)
        raise DataError(
            f"{sidecar} must name a place inside {photo}, which has {size[0]} x {size[1]} pixels; its "
            f"coords are {coords[0]},{coords[1]}. Mend or remove it.",
            code="sidecar_outside",
            path=sidecar,
            photo=photo,
            width=size[0],
            height=size[1],
            x=coords[0],
            y=coords[1],
        )


def _lost_photo(item: SeenPatch) -> bool:
    return item.patch.photo is not None and not item.patch.photo.is_file()


def _conflicts(seen: Sequence[SeenPatch]) -> tuple[tuple[str, str], ...]:
    pairs = [(seen[pair.one].patch, seen[pair.other].patch) for pair in copies_within([item.look for item in seen])]
    return tuple((one.key, other.key) for one, other in pairs if one.label != other.label)


def _listed(parts: Sequence[str], more: str = "; and {count} more") -> str:
    return "; ".join(parts[:_NAMED]) + (more.format(count=len(parts) - _NAMED) if len(parts) > _NAMED else "")
