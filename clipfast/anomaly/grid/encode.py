"""The first stage of a grid: fit detectors and score test images, class by class; what is there is not done again.

There are two stages, because the learned gate of a class wants the scores of all others. `encode_grid` fits the
detectors and writes raw scores; each test image is encoded once for all shots, seeds and tasks. `judge_grid` needs
nothing but these files and the truth, so recomputing is the second stage alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clipfast.anomaly.encoding import ModelIdentity, encode
from clipfast.anomaly.grid.branches import detector_options, encode_cells, read_cell_branches, write_cell_branches
from clipfast.anomaly.grid.directory import GridDirectory, Progress, Tally
from clipfast.anomaly.grid.figures import ModeClock
from clipfast.anomaly.grid.plan import Cell, GridPlan, PlannedClass, cells_of, choose_support, plan_class
from clipfast.anomaly.grid.records import LEVELS, CellResult, GridOptions, Task, read_cell
from clipfast.anomaly.grid.truth import masks_digest, read_masks, read_truth, write_truth
from clipfast.anomaly.options import require_kind, require_numbers
from clipfast.anomaly.pictures import Viewer
from clipfast.anomaly.prompting import english_class_name
from clipfast.anomaly.shots import ShotManifest
from clipfast.datasets.inspection import InspectionClass
from clipfast.errors import ArtifactError, DataError
from clipfast.metrics.aupro import require_limit
from clipfast.provenance import digest
from clipfast.storage import sha256_file
from clipfast.types import JointFeatures, PatchEncoder

__all__ = ["Grid", "GridClock", "GridRequest", "Stamps", "encode_grid", "prepare_grid", "require_own"]


@dataclass(slots=True)
class GridClock:
    """Where the time goes, in seconds; nothing of it is in the files that are compared.

    Attributes:
        encode: Of fitting and encoding, by class.
        judge: Of all figures together, by the clock on the wall.
        pixels: Of figures of pixels, CPU time of all threads.
    """

    encode: dict[str, float] = field(default_factory=dict)
    judge: float = 0.0
    pixels: ModeClock = field(default_factory=ModeClock)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A grid that is about to run, checked: supports are chosen, none of them is tested, masks are read.

    Attributes:
        directory: Where it lies.
        plan: What its cells share.
        cells: What was asked for.
        tasks: "cls", "seg" or both.
        clock: Told where the time goes.
    """

    directory: GridDirectory
    plan: GridPlan
    cells: tuple[Cell, ...]
    tasks: tuple[Task, ...]
    clock: GridClock = field(default_factory=GridClock)

    @property
    def classes(self) -> dict[str, PlannedClass]:
        """By name."""
        return {each.name: each for each in self.plan.classes}

    def finished(self) -> dict[Cell, CellResult]:
        """Read the cells that have figures for all tasks, of the scores that are there.

        Raises:
            ArtifactError: A cell is damaged, or belongs to another grid.
        """
        stamps = Stamps(self)
        found = {}
        for cell in self.cells:
            path = self.directory.cell(cell)
            if not path.is_file():
                continue
            result = read_cell(path)
            require_own(result, cell, self.plan, path)
            judged = all(result.level(LEVELS[task]) is not None for task in self.tasks)
            if judged and stamps.of(cell) in (None, result.branches):
                found[cell] = result
        return found

    def wanted(self) -> list[Cell]:
        """Return the cells of which raw scores are needed: all of a number of shots and a seed that is not finished."""
        finished = self.finished()
        groups = {(cell.shots, cell.seed) for cell in self.cells if cell not in finished}
        return [cell for cell in self.cells if (cell.shots, cell.seed) in groups]


@dataclass(frozen=True, slots=True)
class GridRequest:
    """What is asked for.

    Attributes:
        dataset: Name of the data set, for the record.
        dataset_format: How it was read, for the record.
        shots: Numbers of references.
        seeds: That choose them.
        tasks: What is judged: "cls" images, "seg" pixels.
        options: Of all detectors.
        called: What texts call the classes, by name; others by their own name.
        keep_maps: Whether raw scores and masks stay there afterwards, to compute all figures again.
    """

    dataset: str
    dataset_format: str
    shots: tuple[int, ...] = (1, 2, 4)
    seeds: tuple[int, ...] = (0, 1, 2)
    tasks: tuple[Task, ...] = ("cls", "seg")
    options: GridOptions = field(default_factory=GridOptions)
    called: Mapping[str, str] = field(default_factory=dict)
    keep_maps: bool = True

    def __post_init__(self) -> None:
        require_numbers("shots", self.shots, whole=True)
        require_numbers("seeds", self.seeds, whole=True)
        require_kind("options", self.options, GridOptions)
        if not self.shots or not self.seeds or not self.tasks:
            raise DataError("a grid needs a number of shots, a seed and a task at least.")
        if min(self.shots) < 1 or min(self.seeds) < 0 or not set(self.tasks) <= set(LEVELS):
            raise DataError(
                f"shots must be 1 or more, seeds 0 or more and tasks of {', '.join(LEVELS)}; got shots "
                f"{list(self.shots)}, seeds {list(self.seeds)} and tasks {list(self.tasks)}."
            )


def prepare_grid(
    clip: PatchEncoder, data: Mapping[str, InspectionClass], directory: Path, request: GridRequest
) -> Grid:
    """Check everything that can be checked before hours are spent, and claim the directory.

    Args:
        clip: The encoder.
        data: Classes by name; with masks if "seg" is among the tasks.
        directory: Made if it is not there; another grid in it is refused.
        request: What is asked for.

    Raises:
        DataError: No class, or one whose name texts cannot hold; more shots than intact images; a support image among
            the test images; a mask that is missing or does not fit; or the directory holds a grid of other data or
            options.
        FingerprintError: The directory holds a grid of another model.
        ImageError: A file cannot be read.
        ShapeError: Maps would be too large, or an option is out of range.
    """
    if not data:
        raise DataError("a grid needs a class at least; got none.")
    detector_options(request.options, min(request.seeds))
    require_limit(request.options.aupro_limit)
    if hasattr(clip, "encode_joint"):
        for name in data:
            english_class_name(request.called.get(name, name))
    place = GridDirectory(directory)
    known = place.read_plan().decoded if place.plan_path.is_file() else {}
    planned = [plan_class(each, request.called.get(name, name), known) for name, each in data.items()]
    names = request.dataset, request.dataset_format
    plan = GridPlan.of(names, _model(clip, data, request.options), request.options, planned)
    cells = tuple(cells_of(plan, request.shots, request.seeds))
    grid = Grid(place, plan, cells, tuple(task for task in LEVELS if task in request.tasks))
    supports = {cell: choose_support(grid.classes[cell.class_name], cell) for cell in cells}
    with place.resumable(Tally(len(cells))):
        place.claim(plan)
        if "seg" in request.tasks:
            _keep_truths(grid, data, Viewer(clip).exif)
        for cell, manifest in supports.items():
            if not place.support(cell).is_file():
                place.write_support(cell, manifest)
    return grid


def encode_grid(
    grid: Grid, clip: PatchEncoder, data: Mapping[str, InspectionClass], progress: Progress | None = None
) -> None:
    """Fit the detectors that are missing, and write their raw scores of the test images.

    Args:
        grid: Prepared with the same model and data.
        clip: The encoder.
        data: Classes by name.
        progress: Called with (done, total) cells.

    Raises:
        DataError: A detector cannot be fitted, or the disk is full.
        ArtifactError: Scores that are there are damaged, or belong to another grid.
        ImageError: An image cannot be read.
    """
    wanted = grid.wanted()
    tally = Tally(len(wanted), progress=progress)
    with grid.directory.resumable(tally):
        for planned in grid.plan.classes:
            started = time.perf_counter()
            cells = [cell for cell in wanted if cell.class_name == planned.name]
            missing: dict[Cell, ShotManifest] = {}
            for cell in cells:
                if grid.directory.branches(cell).is_file():
                    read_cell_branches(grid.directory.branches(cell), cell, grid.plan)
                    tally.step()
                else:
                    missing[cell] = choose_support(planned, cell)
            if not missing:
                continue
            for found in encode_cells(clip, data[planned.name], planned.called, missing, grid.plan.options):
                write_cell_branches(grid.directory.branches(found.cell), found, grid.plan)
                tally.step()
            grid.clock.encode[planned.name] = time.perf_counter() - started


def require_own(result: CellResult, cell: Cell, plan: GridPlan, path: Path) -> None:
    """Refuse figures that were copied from somewhere else.

    Raises:
        ArtifactError: They are of another cell or another grid.
    """
    found = Cell(result.class_name, result.shots, result.seed)
    if found != cell or result.plan != plan.sha256:
        raise ArtifactError(
            f"{path} must be {cell.stem} of {cell.class_name} in this grid; it is {found.stem} of {found.class_name}"
            f"{'' if result.plan == plan.sha256 else ' of a grid with other data, options or model'}. Remove it."
        )


class Stamps:
    """SHA-256 of the raw scores that a cell's figures come from: its own, then those that its gate has learned on."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._files: dict[Cell, str | None] = {}

    def of(self, cell: Cell) -> str | None:
        """Return it; None where raw scores are not all there."""
        others = [Cell(each.name, cell.shots, cell.seed) for each in self._grid.plan.classes]
        prints = [self._file(each) for each in (cell, *others)]
        return None if None in prints else digest(str(each) for each in prints)

    def _file(self, cell: Cell) -> str | None:
        if cell not in self._files:
            path = self._grid.directory.branches(cell)
            self._files[cell] = sha256_file(path) if path.is_file() else None
        return self._files[cell]


def _keep_truths(grid: Grid, data: Mapping[str, InspectionClass], exif: Literal["apply", "ignore"]) -> None:
    """Read the masks of every class and keep them; others than those that were kept are refused."""
    size_hw = grid.plan.options.size_hw
    for planned in grid.plan.classes:
        path, sources = grid.directory.truth(planned.name), masks_digest(data[planned.name])
        if path.is_file():
            if read_truth(path, planned, size_hw).sources != sources:
                raise DataError(
                    f"{grid.directory.root} holds a grid of other data: the masks of {planned.name} differ. "
                    "Take the same again, or another --out."
                )
            continue
        write_truth(path, read_masks(data[planned.name], sources, size_hw, exif), planned)


def _model(clip: PatchEncoder, data: Mapping[str, InspectionClass], options: GridOptions) -> ModelIdentity:
    """Ask the encoder who it is; one image tells which blocks it gives."""
    text = hasattr(clip, "encode_joint")
    blocks: Iterable[int] | None = options.memory.blocks
    if blocks is None:
        sample = next(iter(data.values())).train[0]
        pixels = next(iter(Viewer(clip, whole_image=options.whole_image).stream([sample.image])))
        features = encode(clip, [pixels], None, text=text)
        blocks = (features.patches if isinstance(features, JointFeatures) else features).features
    return ModelIdentity.of(clip, sorted(blocks), text=text)
