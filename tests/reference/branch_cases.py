"""Results of a grid, built by hand for reports: figures that can be checked on paper."""

from __future__ import annotations

from collections.abc import Mapping

from clipfast.anomaly import TextEvidence
from clipfast.anomaly.encoding import ModelIdentity
from clipfast.anomaly.grid.records import (
    CellResult,
    ClassRecord,
    GridOptions,
    GridResults,
    LevelResult,
    ModeFigures,
    SampleRecord,
)
from clipfast.anomaly.grid.summary import summarise

LABELS = (0, 0, 0, 0, 1, 1, 1, 1)


def figures(auroc: float, aupro: float | None = None) -> ModeFigures:
    """One mode's figures; only the AUROC matters."""
    return ModeFigures(
        auroc=auroc, average_precision=auroc, aupr=auroc, f1_max=auroc, f1_max_threshold=0.5, aupro=aupro
    )


def level(semantic: float | None, memory: float, *, pixel: bool, undefined: str | None = None) -> LevelResult:
    """Figures of both branches and of auto, which is the memory; max is their mean."""
    known = {"auto": memory, "memory": memory}
    if semantic is not None:
        known |= {"semantic": semantic, "max": (semantic + memory) / 2}
    modes = {} if undefined else {name: figures(value, value if pixel else None) for name, value in known.items()}
    omitted = {} if semantic is not None else {"semantic": "the text branch did not run"}
    return LevelResult(
        anomalous=4, intact=4, modes=modes, taken={"auto": "memory"}, omitted=omitted, undefined=undefined
    )


def results(
    cells: Mapping[tuple[str, int, int], tuple[LevelResult, LevelResult | None]],
    *,
    dataset: str = "made",
    scores: Mapping[str, tuple[float, ...]] | None = None,
) -> GridResults:
    """A grid of these cells, by class, shots and seed: images, and pixels or None."""
    found = tuple(
        CellResult(
            format=1, plan="p", branches="b", class_name=name, shots=shots, seed=seed, kind="texture",
            evidence=TextEvidence(0.0, ""), support=(), image=image, pixel=pixel, scores=dict(scores or {}), notes=(),
        )
        for (name, shots, seed), (image, pixel) in sorted(cells.items())
    )  # fmt: skip
    names = sorted({cell.class_name for cell in found})
    samples = tuple(
        SampleRecord(f"{i}.png", str(i), "hole" if label else "good", str(i)) for i, label in enumerate(LABELS)
    )
    return GridResults(
        format=1, kind="anomaly_grid", created_by="clipfast", plan="p", dataset=dataset, dataset_format="mvtec",
        model=ModelIdentity("mini", "fp32", {}), options=GridOptions(), pixels="all",
        shots=tuple(sorted({cell.shots for cell in found})), seeds=tuple(sorted({cell.seed for cell in found})),
        tasks=("cls", "seg"),
        classes=tuple(ClassRecord(name=name, called=name, pool=4, samples=samples) for name in names),
        cells=found, summary=summarise(found),
    )  # fmt: skip
