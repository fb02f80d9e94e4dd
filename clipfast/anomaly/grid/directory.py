"""The directory of a grid: one file a cell and kind, each written at once or not at all, so a kill costs one of them.

::

    grid.json                                  the plan: data, model, options
    support/<class>/shots1_seed0.json          which images the detector was fitted on: path, SHA-256, seed
    truth/<class>.npz                          labels and masks at the size of the maps
    branches/<class>/shots1_seed0.npz          raw scores of both branches on the patch grid, float32
    cells/<class>/shots1_seed0.json            figures
    grid_results.json                          all figures
    timings.json                               how long it took, and where; the only file that differs from run to run
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from clipfast.anomaly.grid.plan import Cell, GridPlan, require_same_plan
from clipfast.anomaly.grid.records import FORMAT_VERSION
from clipfast.anomaly.shots import ShotManifest
from clipfast.errors import ArtifactError, DataError
from clipfast.storage import atomic_write, require_format

__all__ = ["GridDirectory", "Progress", "Tally", "write_json_lines"]

_FULL = {errno.ENOSPC, errno.EDQUOT}
_LARGEST = 1 << 30
_SWEPT = (
    *(f".{name}.*.tmp" for name in ("grid.json", "grid_results.json", "timings.json")),
    "truth/.*.npz.*.tmp",
    *(f"{folder}/*/.shots*_seed*.*.tmp" for folder in ("support", "branches", "cells")),
)
_TEMPORARY = re.compile(r"\..+\.(json|npz)\.[a-z0-9_]+\.tmp")  # as `atomic_write` names them

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Tally:
    """How far a stage is.

    Attributes:
        total: Cells that there are.
        done: Those that are finished.
        progress: Told (done, total).
    """

    total: int
    done: int = 0
    progress: Progress | None = None

    def step(self) -> None:
        """Count one more."""
        self.done += 1
        if self.progress:
            self.progress(self.done, self.total)


@dataclass(frozen=True, slots=True)
class GridDirectory:
    """Where a grid lies.

    Attributes:
        root: The folder.
    """

    root: Path

    @property
    def plan_path(self) -> Path:
        """The plan."""
        return self.root / "grid.json"

    def support(self, cell: Cell) -> Path:
        """A cell's manifest."""
        return self.root / "support" / _safe(cell.class_name) / f"{cell.stem}.json"

    def truth(self, class_name: str) -> Path:
        """A class's labels and masks."""
        return self.root / "truth" / f"{_safe(class_name)}.npz"

    def branches(self, cell: Cell) -> Path:
        """A cell's raw scores."""
        return self.root / "branches" / _safe(cell.class_name) / f"{cell.stem}.npz"

    def cell(self, cell: Cell) -> Path:
        """A cell's figures."""
        return self.root / "cells" / _safe(cell.class_name) / f"{cell.stem}.json"

    def claim(self, plan: GridPlan) -> None:
        """Write the plan, or go on with the same one that is there.

        Raises:
            ArtifactError: The plan that is there cannot be read.
            DataError: It is another plan; the message says what differs.
            FingerprintError: It was made by another model.
        """
        if self.plan_path.is_file():
            require_same_plan(self.read_plan(), plan, str(self.root))
        else:
            write_json_lines(self.plan_path, plan)

    def read_plan(self) -> GridPlan:
        """Read the plan.

        Raises:
            ArtifactError: It is missing, damaged or of another version.
        """
        path = self.plan_path
        if not path.is_file():
            raise ArtifactError(f"{self.root} holds no grid: there is no grid.json. Name the folder that --out named.")
        if path.stat().st_size > _LARGEST:
            raise ArtifactError(f"{path} must have at most {_LARGEST:,} bytes; got {path.stat().st_size:,}.")
        data = path.read_bytes()
        try:
            require_format(data.decode(), FORMAT_VERSION, path, remedy="Run the grid again, with another --out.")
            return msgspec.json.decode(data, type=GridPlan)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path} is not a readable plan: {error}. Run the grid with another --out.") from error

    def write_support(self, cell: Cell, manifest: ShotManifest) -> None:
        """Write which images a cell's detector is fitted on."""
        shots = [{"path": reference.name, "sha256": reference.sha256} for reference in manifest.shots]
        content = {"class": cell.class_name, "shots": cell.shots, "seed": manifest.seed, "images": shots}
        write_json_lines(self.support(cell), content)

    def found_cells(self) -> Iterator[Cell]:
        """Give the cells that were asked for, or of which anything is there, by class, shots and seed."""
        names = {_safe(each.name): each.name for each in self.read_plan().classes}
        found = set()
        for kind in ("support", "branches", "cells"):
            for file in (self.root / kind).glob("*/shots*_seed*.*"):
                shots, _, seed = file.stem.removeprefix("shots").partition("_seed")
                if file.parent.name in names and shots.isdecimal() and seed.isdecimal():
                    found.add(Cell(names[file.parent.name], int(shots), int(seed)))
        yield from sorted(found)

    def sweep(self, before: float) -> None:
        """Remove what a killed run left half written: temporary files of the grid's own names, older than a time."""
        for pattern in _SWEPT:
            for file in self.root.glob(pattern):
                if _TEMPORARY.fullmatch(file.name) and file.stat().st_mtime < before:
                    file.unlink(missing_ok=True)

    @contextmanager
    def resumable(self, tally: Tally) -> Iterator[None]:
        """Turn a full disk into one sentence; what was written stays, and nothing is half written.

        Raises:
            DataError: The disk is full.
        """
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise DataError(
                f"the disk is full: {tally.done} of {tally.total} cells are finished, and {self.root} stays as it "
                "is. Free some space and give the same command again; it goes on from there."
            ) from error


def write_json_lines(path: Path, content: Any) -> None:
    """Write indented JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def _safe(name: str) -> str:
    """A class's name as a file name, whatever it holds; ordinary names stay as they are."""
    quoted = quote(name, safe=" +,=@()")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted
