"""Raw scores of a cell: what its detector says of the test images, and all that fusion needs to know beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clipfast.anomaly.branch_arrays import branch_arrays, holdout_arrays, read_branches, read_holdout
from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.calibration import MOST_PIXELS, Calibration, Holdout, TextEvidence, fit_calibration
from clipfast.anomaly.encoding import branch_maps, encode
from clipfast.anomaly.fitting import Fitted, Modes, fit_detector
from clipfast.anomaly.grid.plan import Cell, GridPlan
from clipfast.anomaly.grid.records import FORMAT_VERSION, GridOptions
from clipfast.anomaly.options import AnomalyOptions, Kind
from clipfast.anomaly.pictures import Viewer
from clipfast.anomaly.shots import ShotManifest
from clipfast.datasets.inspection import InspectionClass
from clipfast.errors import ArtifactError, ShapeError
from clipfast.runtime.batching import batches
from clipfast.storage import load_sealed_npz, require_format, save_sealed_npz
from clipfast.types import PatchEncoder

__all__ = ["CellBranches", "detector_options", "encode_cells", "read_cell_branches", "write_cell_branches"]

_BATCH = 32


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int
    plan: str
    class_name: str
    shots: int
    seed: int
    semantic: bool
    kind: Kind
    evidence: TextEvidence
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CellBranches:
    """What a cell's detector gives before anything is fused.

    Attributes:
        cell: Which.
        maps: Raw scores of the test images on the patch grid.
        holdout: Raw scores of held-out intact views of the support.
        kind: Of the class.
        evidence: How far the text branch is trusted.
        notes: What the detector says about itself.
    """

    cell: Cell
    maps: BranchMaps
    holdout: Holdout
    kind: Kind
    evidence: TextEvidence
    notes: tuple[str, ...]

    def calibration(self, options: GridOptions) -> Calibration:
        """Fit the scales, as a detector does."""
        maps = self.holdout.maps.thinned(options.size_hw, options.sigma, MOST_PIXELS)
        return fit_calibration(maps, options.calibration, evidence=self.evidence, kind=self.kind)


def encode_cells(
    clip: PatchEncoder,
    data: InspectionClass,
    called: str,
    supports: Mapping[Cell, ShotManifest],
    options: GridOptions,
) -> Iterator[CellBranches]:
    """Fit the detectors of a class and score its test images, of which each is encoded once for all of them.

    Test images are always encoded in the same batches, whichever cells are wanted, so results do not depend on that.

    Args:
        clip: The encoder.
        data: The class.
        called: What the texts call it.
        supports: The cells and their references.
        options: Of all detectors.

    Raises:
        ImageError: An image cannot be read.
        ArtifactError: The model does not hold the graph or the blocks.
        DataError: As `AnomalyDetector.fit`.
    """
    images = {sample.key: sample.image for sample in data.train}
    fitted = {
        cell: _fit(clip, [images[shot.name] for shot in manifest.shots], called, cell, options)
        for cell, manifest in supports.items()
    }
    if not fitted:
        return
    first = next(iter(fitted.values()))
    blocks, text = tuple(first.bank.blocks), first.prompts is not None
    viewer = Viewer(clip, whole_image=options.whole_image)
    parts: dict[Cell, list[BranchMaps]] = {cell: [] for cell in fitted}
    for group in batches(viewer.stream(sample.image for sample in data.test), _BATCH):
        features = encode(clip, group, blocks, text=text)
        for cell, each in fitted.items():
            parts[cell].append(branch_maps(features, each.bank, each.prompts))
    for cell, each in fitted.items():
        maps = BranchMaps.joined(parts[cell]) if parts[cell] else each.holdout.maps.taken(np.empty(0, np.int64))
        yield CellBranches(cell, maps, each.holdout, each.kind, each.evidence, each.notes)


def write_cell_branches(path: Path, branches: CellBranches, plan: GridPlan) -> None:
    """Write raw scores as a sealed .npz of plain arrays, atomically; equal scores give equal bytes."""
    meta = _Meta(
        format=FORMAT_VERSION,
        plan=plan.sha256,
        class_name=branches.cell.class_name,
        shots=branches.cell.shots,
        seed=branches.cell.seed,
        semantic=branches.maps.semantic is not None,
        kind=branches.kind,
        evidence=branches.evidence,
        notes=branches.notes,
    )
    text = np.array(msgspec.json.encode(meta).decode())
    save_sealed_npz(path, branch_arrays(branches.maps, "test") | holdout_arrays(branches.holdout) | {"meta": text})


def read_cell_branches(path: Path, cell: Cell, plan: GridPlan) -> CellBranches:
    """Read what `write_cell_branches` wrote.

    Raises:
        ArtifactError: It is missing or damaged, or belongs to another grid.
    """
    arrays = load_sealed_npz(path, kind="cell's branch maps")
    remedy = "Remove it and run the grid again."
    try:
        text = str(arrays["meta"])
        require_format(text, FORMAT_VERSION, path, remedy=remedy)
        meta = msgspec.json.decode(text, type=_Meta)
        maps = read_branches(arrays, "test", semantic=meta.semantic)
        holdout = read_holdout(arrays, semantic=meta.semantic)
    except (KeyError, msgspec.MsgspecError, ShapeError) as error:
        raise ArtifactError(f"{path} holds no branch maps of a cell: {error}. {remedy}") from error
    _require_cell(meta, cell, plan, path)
    planned = next(each for each in plan.classes if each.name == cell.class_name)
    if len(maps) != len(planned.test):
        raise ArtifactError(f"{path} must hold maps of {len(planned.test)} images; got {len(maps)}. {remedy}")
    return CellBranches(cell, maps, holdout, meta.kind, meta.evidence, meta.notes)


def _require_cell(meta: _Meta, cell: Cell, plan: GridPlan, path: Path) -> None:
    found = Cell(meta.class_name, meta.shots, meta.seed)
    if found != cell or meta.plan != plan.sha256:
        raise ArtifactError(
            f"{path} must be {cell.stem} of {cell.class_name} in this grid; it is {found.stem} of {found.class_name}"
            f"{'' if meta.plan == plan.sha256 else ' of a grid with other data, options or model'}. Remove it."
        )


def _fit(clip: PatchEncoder, images: list[Any], called: str, cell: Cell, options: GridOptions) -> Fitted:
    return fit_detector(clip, images, called, Modes("auto", "auto"), detector_options(options, cell.seed))


def detector_options(options: GridOptions, seed: int) -> AnomalyOptions:
    """Return the options of one detector of a grid.

    Raises:
        ShapeError: A size, a deviation or the seed is out of range.
        DataError: The calibration or the kind is unknown.
    """
    return AnomalyOptions(
        memory=options.memory,
        prompts=options.prompts,
        size_hw=options.size_hw,
        sigma=options.sigma,
        calibration=options.calibration,
        kind=options.kind,
        whole_image=options.whole_image,
        seed=seed,
        shots_seed=seed,
    )
