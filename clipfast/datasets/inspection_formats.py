"""Data sets of anomaly detection by the name of their format. To add one: a function here and a row of the table."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from clipfast.arguments import require_known, require_names, require_path, require_type, require_whole
from clipfast.datasets.fabricworld import FABRICS
from clipfast.datasets.inspection import InspectionClass, fabricworld_classes
from clipfast.datasets.kind_folders import read_kind_folders
from clipfast.datasets.mvtec import read_mvtec
from clipfast.datasets.textiles import read_simulated_textiles
from clipfast.datasets.visa import read_visa
from clipfast.errors import DataError

__all__ = ["CALLED", "INSPECTION_FORMATS", "InspectionQuery", "read_inspection"]


@dataclass(frozen=True, slots=True)
class InspectionQuery:
    """Which part of a data set is read, and how.

    Attributes:
        classes: Names; None takes all.
        masks: Whether damaged images must have masks.
        train: Intact images that supports are chosen from, where the format has no split: 8 of fabricworld, 500 of
            textiles if left out.
        good: Intact test images of a rendered class.
        each: Damaged test images of a rendered class, of every kind.
        seed: Of rendered products.
        processes: That render classes side by side; a script needs `if __name__ == "__main__"` for more than 1.

    Raises:
        DataError: Classes are no list of names.
        ShapeError: A number is not whole, or out of range.
    """

    classes: tuple[str, ...] | None = None
    masks: bool = True
    train: int | None = None
    good: int = 12
    each: int = 3
    seed: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        if self.classes is not None:
            require_names("classes", self.classes)
        if self.train is not None:
            require_whole("train", self.train, 1)
        for name in ("good", "each", "seed"):
            require_whole(name, getattr(self, name), 0)
        require_whole("processes", self.processes, 1)


def read_inspection(
    format: str,  # noqa: A002  # the option's name
    root: str | os.PathLike[str],
    query: InspectionQuery | None = None,
) -> dict[str, InspectionClass]:
    """Read, or render, the classes of a data set.

    Args:
        format: A key of `INSPECTION_FORMATS`.
        root: Its folder; of "fabricworld" any word.
        query: Which part.

    Returns:
        Classes by name, in code-point order.

    Raises:
        DataError: An unknown format or class, or as the format's reader.
        ShapeError: A number is out of range.
    """
    if query is not None:
        require_type("query", query, InspectionQuery, "InspectionQuery(...)")
    query = query or InspectionQuery()
    require_known("format", format, INSPECTION_FORMATS)
    found = INSPECTION_FORMATS[format](require_path("root", root), query)
    if query.classes is None:
        return dict(sorted(found.items()))
    if unknown := [name for name in query.classes if name not in found]:
        raise DataError(f"{root} holds the classes {', '.join(sorted(found))}; got {', '.join(unknown)}.")
    return {name: found[name] for name in sorted(set(query.classes))}


def _mvtec(root: Path, query: InspectionQuery) -> dict[str, InspectionClass]:
    return read_mvtec(root, masks=query.masks)


def _visa(root: Path, query: InspectionQuery) -> dict[str, InspectionClass]:
    return read_visa(root, masks=query.masks)


def _folder(root: Path, query: InspectionQuery) -> dict[str, InspectionClass]:
    return read_kind_folders(root, masks=query.masks)


def _textiles(root: Path, query: InspectionQuery) -> dict[str, InspectionClass]:
    if query.masks:
        raise DataError("textiles have no masks, so pixels cannot be judged. Take --tasks cls (masks=False).")
    return read_simulated_textiles(root, train=500 if query.train is None else query.train)


def _fabricworld(root: Path, query: InspectionQuery) -> dict[str, InspectionClass]:  # noqa: ARG001  (one signature)
    fabrics = tuple(FABRICS) if query.classes is None else query.classes
    train = 8 if query.train is None else query.train
    render = partial(_rendered, seed=query.seed, train=train, good=query.good, each=query.each)
    workers = min(query.processes, len(fabrics))
    if workers < 2:
        parts = [render(fabric) for fabric in fabrics]
    else:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            parts = list(pool.map(render, fabrics))
    return {name: each for part in parts for name, each in part.items()}


def _rendered(fabric: str, *, seed: int, train: int, good: int, each: int) -> dict[str, InspectionClass]:
    return fabricworld_classes([fabric], seed, train=train, good=good, each=each)


INSPECTION_FORMATS: Mapping[str, Callable[[Path, InspectionQuery], dict[str, InspectionClass]]] = MappingProxyType(
    {"mvtec": _mvtec, "visa": _visa, "fabricworld": _fabricworld, "textiles": _textiles, "folder": _folder}
)
"""Every format by name."""

CALLED: Mapping[str, str] = MappingProxyType({"textiles": "fabric"})
"""What texts call the classes of a format whose names say nothing of what is inspected."""
