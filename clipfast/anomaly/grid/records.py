"""What a grid of detectors finds, as records: the result of a cell, and `grid_results.json` with all of them.

A cell is one class, one number of shots and one seed. Its detector gives figures of images (task "cls") and of pixels
(task "seg"), of each mode of `MODES`; "semantic" and "memory" are the two branches, exactly. Files hold no time and
nothing else that changes from run to run: equal inputs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from clipfast.anomaly.calibration import TextEvidence
from clipfast.anomaly.encoding import ModelIdentity
from clipfast.anomaly.memory import Reference
from clipfast.anomaly.modes import Level
from clipfast.anomaly.options import Kind, MemoryOptions, PromptOptions, ScaleMethod
from clipfast.errors import ArtifactError
from clipfast.storage import atomic_write, require_format

__all__ = [
    "FORMAT_VERSION",
    "LEVELS",
    "RESULTS_NAME",
    "CellResult",
    "ClassRecord",
    "GridOptions",
    "GridResults",
    "LevelResult",
    "ModeFigures",
    "SampleRecord",
    "Spread",
    "SummaryRow",
    "Task",
    "read_cell",
    "read_results",
    "write_cell",
    "write_results",
]

FORMAT_VERSION = 2
RESULTS_NAME = "grid_results.json"

Task = Literal["cls", "seg"]
LEVELS: dict[Task, Level] = {"cls": "image", "seg": "pixel"}
"""What each task judges."""

_LARGEST = 1 << 30


class ModeFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Figures of one mode, shares in [0, 1], not percent.

    Attributes:
        auroc: As in `clipfast.metrics.RankingScores`.
        average_precision: As there (AP).
        aupr: As there.
        f1_max: As there.
        f1_max_threshold: As there, on the mode's own scale.
        aupro: As in `clipfast.metrics.PixelScores`; None for images.
    """

    auroc: float
    average_precision: float
    aupr: float
    f1_max: float
    f1_max_threshold: float
    aupro: float | None = None


class LevelResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Figures of a cell's images, or of its pixels.

    Attributes:
        anomalous: How many images or pixels of the test are anomalous.
        intact: How many are not.
        modes: By mode, in the order of `MODES`, without those of `omitted`; empty where figures do not exist.
        taken: What "auto" and "routed" came to.
        omitted: Modes that could not be computed, and why.
        undefined: Why no figure exists, such as no anomalous image in the class; else None.
    """

    anomalous: int
    intact: int
    modes: dict[str, ModeFigures]
    taken: dict[str, str]
    omitted: dict[str, str] = {}
    undefined: str | None = None

    @property
    def semantic(self) -> ModeFigures | None:
        """Of the text branch alone."""
        return self.modes.get("semantic")

    @property
    def memory(self) -> ModeFigures | None:
        """Of the memory alone."""
        return self.modes.get("memory")


class CellResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one detector finds on the test images of its class.

    Attributes:
        format: Version of the record.
        plan: SHA-256 of the plan of the grid that it belongs to.
        branches: SHA-256 of the branch maps that it was computed from.
        class_name: As the data set calls it.
        shots: Number of references.
        seed: That chose them.
        kind: Of the class, given or estimated from the support.
        evidence: How far the support trusts the text branch.
        support: The references: name in the data set and SHA-256.
        image: Figures of images; None where the task "cls" was not asked for.
        pixel: Figures of pixels; None where the task "seg" was not asked for.
        scores: Scores of the test images by mode, in the order of the class's samples; with the task "cls" only.
        notes: What the detector says about itself.
    """

    format: int
    plan: str
    branches: str
    class_name: str
    shots: int
    seed: int
    kind: Kind
    evidence: TextEvidence
    support: tuple[Reference, ...]
    image: LevelResult | None
    pixel: LevelResult | None
    scores: dict[str, tuple[float, ...]]
    notes: tuple[str, ...]

    def level(self, level: Level) -> LevelResult | None:
        """Figures of images or of pixels."""
        return self.image if level == "image" else self.pixel


class SampleRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One image.

    Attributes:
        key: Its path in the data set.
        sha256: Of the file, or of the pixels where there is none.
        label: "good", or the kind of defect.
        pixels: SHA-256 of the decoded pixels, which copies in other lossless files share.
    """

    key: str
    sha256: str
    label: str
    pixels: str

    @property
    def reference(self) -> Reference:
        """The same, as a reference of a detector."""
        return Reference(self.key, self.sha256, self.pixels)


class ClassRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One class of the data set.

    Attributes:
        name: As the data set calls it.
        called: What the texts call it.
        pool: Intact images that supports are chosen from.
        samples: The test images.
        empty_masks: Damaged test images whose mask holds nothing; None where masks were not read.
        lost_masks: Those whose mask holds something that is thinner than the pixels taken at the size of the maps;
            None where masks were not read.
    """

    name: str
    called: str
    pool: int
    samples: tuple[SampleRecord, ...]
    empty_masks: int | None = None
    lost_masks: int | None = None


class GridOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How every detector of the grid is fitted and judged; see `AnomalyOptions`.

    Attributes:
        memory: The patch memory.
        prompts: The text branch.
        size_hw: Size of maps and masks on which figures of pixels are computed.
        sigma: Of the maps' blur, in pixels of `size_hw`.
        calibration: Which scale.
        kind: Given kind of all classes, or None.
        whole_image: Whether oblong images are squeezed.
        aupro_limit: Largest false positive rate of AUPRO.
    """

    memory: MemoryOptions = MemoryOptions()
    prompts: PromptOptions = PromptOptions()
    size_hw: tuple[int, int] = (256, 256)
    sigma: float = 4.0
    calibration: ScaleMethod = "cdf"
    kind: Kind | None = None
    whole_image: bool = True
    aupro_limit: float = 0.3


class Spread(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure over seeds: mean, sample standard deviation (None for one seed), and how many seeds have it."""

    mean: float
    std: float | None
    seeds: int


class SummaryRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One mode over seeds.

    Attributes:
        class_name: None is the mean over those classes whose figures exist for every seed; its spread is that of the
            mean over seeds.
        shots: Number of references.
        level: Of images or of pixels.
        mode: A key of `MODES`.
        figures: By the names of `ModeFigures`, without the threshold.
    """

    class_name: str | None
    shots: int
    level: Level
    mode: str
    figures: dict[str, Spread]


class GridResults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that `grid_results.json` holds.

    Attributes:
        format: Version of the file.
        kind: Always "anomaly_grid".
        created_by: Name and version of this package.
        plan: SHA-256 of the plan.
        dataset: Name of the data set's folder, or what was rendered.
        dataset_format: How it was read, such as "mvtec".
        model: Who made the features.
        options: Of all detectors.
        pixels: One sentence: what the figures of pixels are computed on.
        shots: Numbers of references, rising.
        seeds: Rising.
        tasks: "cls" and "seg", or one of them.
        classes: By name, rising.
        cells: By class, shots and seed, rising.
        summary: Over seeds.
    """

    format: int
    kind: Literal["anomaly_grid"]
    created_by: str
    plan: str
    dataset: str
    dataset_format: str
    model: ModelIdentity
    options: GridOptions
    pixels: str
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    tasks: tuple[Task, ...]
    classes: tuple[ClassRecord, ...]
    cells: tuple[CellResult, ...]
    summary: tuple[SummaryRow, ...]

    def select(
        self, *, class_name: str | None = None, shots: int | None = None, seed: int | None = None
    ) -> list[CellResult]:
        """Return the cells that fit; None fits all."""
        return [
            cell
            for cell in self.cells
            if class_name in (None, cell.class_name) and shots in (None, cell.shots) and seed in (None, cell.seed)
        ]


def write_cell(path: Path, cell: CellResult) -> None:
    """Write a cell's result, atomically."""
    _write(path, [msgspec.json.encode(cell), b"\n"])


def read_cell(path: Path) -> CellResult:
    """Read what `write_cell` wrote.

    Raises:
        ArtifactError: The file is missing, damaged or of another version.
    """
    return _read(path, CellResult, "Remove it and run the grid again.")


def write_results(directory: Path, results: GridResults) -> Path:
    """Write `grid_results.json` into a folder, atomically, a line for each field, cell and row; return its path."""
    path = directory / RESULTS_NAME
    parts = []
    for name in results.__struct_fields__:
        value = getattr(results, name)
        text = msgspec.json.encode(value)
        if value and name in ("classes", "cells", "summary"):
            text = b"[\n" + b",\n".join(msgspec.json.encode(each) for each in value) + b"\n]"
        parts.append(b'"' + name.encode() + b'": ' + text)
    _write(path, [b"{\n", b",\n".join(parts), b"\n}\n"])
    return path


def read_results(directory: Path) -> GridResults:
    """Read the `grid_results.json` of a folder.

    Raises:
        ArtifactError: The file is missing, damaged or of another version.
    """
    return _read(directory / RESULTS_NAME, GridResults, "Run the grid or its recompute again.")


_Record = TypeVar("_Record", CellResult, GridResults)


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.writelines(parts)


def _read(path: Path, kind: type[_Record], remedy: str) -> _Record:
    if not path.is_file():
        raise ArtifactError(f"No {path.name} at {path}. {remedy}")
    if path.stat().st_size > _LARGEST:
        raise ArtifactError(f"{path} must have at most {_LARGEST:,} bytes; got {path.stat().st_size:,}. {remedy}")
    data = path.read_bytes()
    try:
        require_format(data.decode(), FORMAT_VERSION, path, remedy=remedy)
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is not a readable record of a grid: {error}. {remedy}") from error
