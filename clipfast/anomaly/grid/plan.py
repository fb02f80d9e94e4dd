"""The plan of a grid: data, model and options, by which a directory knows what belongs to it; and its cells.

Shots, seeds and tasks are no part of it: a grid may be extended by further ones, and what is there stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec

from clipfast import __version__
from clipfast.anomaly.encoding import ModelIdentity
from clipfast.anomaly.grid.records import FORMAT_VERSION, ClassRecord, GridOptions, SampleRecord
from clipfast.anomaly.pictures import pixel_digest, read_picture
from clipfast.anomaly.shots import ShotManifest, check_leak_of, choose_shots
from clipfast.datasets.inspection import GOOD, InspectionClass, InspectionSample
from clipfast.errors import DataError, FingerprintError
from clipfast.provenance import digest
from clipfast.runtime.batching import prefetch
from clipfast.runtime.session import available_cores

__all__ = ["Cell", "GridPlan", "PlannedClass", "cells_of", "choose_support", "plan_class", "require_same_plan"]

_SHOWN = 4
_AHEAD, _DECODERS = 16, 4


class Cell(NamedTuple):
    """One detector of a grid."""

    class_name: str
    shots: int
    seed: int

    @property
    def stem(self) -> str:
        """Name of its files, without suffix."""
        return f"shots{self.shots}_seed{self.seed}"


class PlannedClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One class of the data set, by the content of its images.

    Attributes:
        name: As the data set calls it.
        called: What the texts call it.
        pool: Intact images that supports are chosen from, each content once.
        test: The images that are judged.
    """

    name: str
    called: str
    pool: tuple[SampleRecord, ...]
    test: tuple[SampleRecord, ...]

    def record(self, masks: tuple[int, int] | None) -> ClassRecord:
        """Return what results say of the class; of masks how many are empty, and how many are lost."""
        empty, lost = masks or (None, None)
        return ClassRecord(
            name=self.name,
            called=self.called,
            pool=len(self.pool),
            samples=self.test,
            empty_masks=empty,
            lost_masks=lost,
        )


class GridPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every cell of a directory shares.

    Attributes:
        format: Version of the record.
        created_by: Name and version of this package.
        dataset: Name of the data set's folder, or what was rendered.
        dataset_format: How it was read.
        model: Who makes the features.
        options: Of all detectors.
        classes: By name, rising.
    """

    format: int
    created_by: str
    dataset: str
    dataset_format: str
    model: ModelIdentity
    options: GridOptions
    classes: tuple[PlannedClass, ...]

    @classmethod
    def of(
        cls, dataset: tuple[str, str], model: ModelIdentity, options: GridOptions, classes: Sequence[PlannedClass]
    ) -> GridPlan:
        """Make a plan; `dataset` is its name and its format."""
        return cls(
            format=FORMAT_VERSION,
            created_by=f"clipfast {__version__}",
            dataset=dataset[0],
            dataset_format=dataset[1],
            model=model,
            options=options,
            classes=tuple(sorted(classes, key=lambda each: each.name)),
        )

    @property
    def decoded(self) -> dict[str, str]:
        """SHA-256 of pixels by that of the file."""
        return {record.sha256: record.pixels for each in self.classes for record in (*each.pool, *each.test)}

    @property
    def sha256(self) -> str:
        """Of everything in it; cells carry it."""
        return digest([msgspec.json.encode(self)])


def cells_of(plan: GridPlan, shots: Sequence[int], seeds: Sequence[int]) -> Iterator[Cell]:
    """Give the cells by class, shots and seed, each rising."""
    for each in plan.classes:
        for k in sorted(set(shots)):
            for seed in sorted(set(seeds)):
                yield Cell(each.name, k, seed)


def plan_class(data: InspectionClass, called: str, known: Mapping[str, str]) -> PlannedClass:
    """Hash the images of a class: their files, and the decoded pixels by which they are compared.

    An intact image that is there twice is taken once, by the first of its keys; so is none of a support twice.

    Args:
        data: The class.
        called: What the texts call it.
        known: SHA-256 of pixels by that of files that were decoded before.

    Raises:
        ImageError: A file cannot be read.
        DataError: Two test images have one key, an image is there both as intact and as damaged, or a test image is
            among those that supports are chosen from, too.
    """
    train = _records(sorted(data.train, key=lambda sample: sample.key, reverse=True), known)
    pool = {record.pixels: record for record in train}
    test = _records(data.test, known)
    if len({record.key for record in test}) < len(test):
        raise DataError(f"test images of {data.name} must have different keys. Name each once.")
    first: dict[str, SampleRecord] = {}
    for record in test:
        other = first.setdefault(record.pixels, record)
        if (other.label == GOOD) != (record.label == GOOD):
            raise DataError(
                f"{record.key} and {other.key} are one image, once {record.label} and once {other.label}. "
                "Remove the one that is wrong."
            )
        if record.pixels in pool:
            raise DataError(
                f"{record.key} of the test images of {data.name} is {pool[record.pixels].key}, which supports are "
                "chosen from. Take it out of one of the two: an image that a detector remembers says nothing."
            )
    return PlannedClass(
        name=data.name, called=called, pool=tuple(sorted(pool.values(), key=lambda record: record.key)), test=test
    )


def choose_support(planned: PlannedClass, cell: Cell) -> ShotManifest:
    """Choose the references of a cell, the same as `clipfast anomaly fit` chooses in MVTec's layout.

    Raises:
        DataError: There are fewer intact images than shots, or one of the chosen is in the test set, too.
    """
    places = {_place(record.key, planned.name): record for record in planned.pool}
    if cell.shots > len(places):
        raise DataError(
            f"{cell.shots} shots of {planned.name} need as many intact images to choose from; there are {len(places)}. "
            "Lower --shots, or leave the class out by --classes."
        )
    chosen = [places[path.as_posix()] for path in choose_shots(places, cell.shots, seed=cell.seed)]
    support = sorted((record.reference for record in chosen), key=lambda reference: reference.sha256)
    check_leak_of(support, (record.reference for record in planned.test))
    return ShotManifest(cell.seed, tuple(support))


def require_same_plan(there: GridPlan, now: GridPlan, where: str) -> None:
    """Refuse to go on with cells that were made otherwise.

    Raises:
        DataError: Data or options differ; the message says which.
        FingerprintError: The model differs.
    """
    if there == now:
        return
    remedy = "Take the same again, or another --out."
    if there.model != now.model:
        raise FingerprintError(
            f"{where} was made by another model: {_model(there.model)} there, {_model(now.model)} now. {remedy}"
        )
    differences = list(_differences(msgspec.to_builtins(there), msgspec.to_builtins(now)))
    shown = "; ".join(differences[:_SHOWN])
    more = f"; and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    raise DataError(f"{where} holds a grid of other data or options: {shown}{more}. {remedy}")


def _differences(there: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name in there:
        old, new = there[name], now[name]
        if old == new:
            continue
        if name == "classes":
            yield from _class_differences(old, new)
        elif isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} is {_short(old)} there and {_short(new)} now"


def _class_differences(there: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    old, new = ({each["name"]: each for each in classes} for classes in (there, now))
    if gone := sorted(old.keys() - new.keys()):
        yield f"there it has the classes {', '.join(gone)}, too"
    if added := sorted(new.keys() - old.keys()):
        yield f"now there are the classes {', '.join(added)}, too"
    for name in sorted(old.keys() & new.keys()):
        if old[name]["called"] != new[name]["called"]:
            yield f"{name} is called {old[name]['called']!r} there and {new[name]['called']!r} now"
        for part, what in (("pool", "intact"), ("test", "test")):
            before, after = ({each["key"]: each for each in found[name][part]} for found in (old, new))
            changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
            if changed:
                yield f"{len(changed)} {what} images of {name} differ, first {changed[0]}"
            elif old[name][part] != new[name][part]:
                yield f"the {what} images of {name} come in another order"


def _records(samples: Iterable[InspectionSample], known: Mapping[str, str]) -> tuple[SampleRecord, ...]:
    def hashed(sample: InspectionSample) -> SampleRecord:
        picture = read_picture(sample.image)
        pixels = known.get(picture.sha256) or pixel_digest(picture.load())
        return SampleRecord(sample.key, picture.sha256, sample.label, pixels)

    return tuple(prefetch(hashed, samples, workers=min(_DECODERS, available_cores()), ahead=_AHEAD))


def _place(key: str, class_name: str) -> str:
    """A key inside of its class."""
    path = PurePosixPath(key)
    return path.relative_to(class_name).as_posix() if path.is_relative_to(class_name) else path.as_posix()


def _model(identity: ModelIdentity) -> str:
    prints = digest(f"{name} {value}" for name, value in sorted(identity.fingerprints.items()))[:8]
    return f"{identity.name} {identity.precision} ({prints})"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
