"""What `localize` writes: two JSON files, the outcomes for paired tests, and the report for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from clipfast.datasets.box_records import BoxSet
from clipfast.provenance import Provenance, digest
from clipfast.report.localise_markdown import localise_markdown
from clipfast.report.results import save_series, write_json
from clipfast.storage import atomic_write
from clipfast.surgery.diagnosis import Finding
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_records import Records
from clipfast.surgery.localise_results import Scores
from clipfast.surgery.predictions import write_predictions

__all__ = ["KIND", "LocaliseReport"]

KIND = "localize"
_MANY = 5  # templates that are written out
_DEFINITIONS = {
    "map": "mean over classes of VOC average precision, matched within each image; every point of the curve",
    "map_eleven_point": "the same at 11 recalls (VOC 2007)",
    "mean_iou": "mean over maps of the highest IoU of any box with any ground truth of its class",
    "truth_iou": "mean over ground truths of the highest IoU of any box",
    "reached": "maps whose highest IoU is at least 0.5",
    "activated": "mean share of pixels at or above the percentile, before morphology",
    "inside_mean": "mean raw similarity of pixels inside the ground truth; standard deviations are over maps",
    "peak": "box IoU: mean over maps of the IoU of the box around the map's peak, cut at 0.6 of the map's range, with "
    "the ground truth that it fits best; nothing is chosen, so it compares maps",
    "top": "the same of the scored box with the highest score",
    "every": "mean over ground truths of the highest IoU of any scored box",
    "contrast": "inside less background, raw similarity",
    "effect": "contrast over the standard deviation of the map",
    "pointing": "share of maps whose first highest pixel lies in a ground truth",
    "area": "mean share of a map inside the ground truth: pointing game and energy by chance",
    "energy": "share of (similarity - minimum of the map) inside the ground truth",
    "interval": "bootstrap over images, percentiles centred on the figure (clipfast/metrics/image_series.py says why)",
}


@dataclass(frozen=True, slots=True, eq=False)
class LocaliseReport:
    """Everything that is known after an evaluation.

    Attributes:
        data: What was evaluated.
        options: What was asked for.
        records: Numbers of every map.
        scores: Figures.
        findings: Diagnosis.
        provenance: Where it comes from.
        tuning: What `--tune` tried and chose; None without.
        refining: What `--refine` learned and from what; None without.
    """

    data: BoxSet
    options: LocaliseOptions
    records: Records
    scores: Scores
    findings: Sequence[Finding]
    provenance: Provenance
    tuning: Mapping[str, Any] | None = None
    refining: Mapping[str, Any] | None = None

    def map_results(self) -> dict[str, Any]:
        """Return what `map_results.json` holds."""
        return {
            **self._head(KIND),
            "data": {
                "format": self.data.format,
                "split": self.data.split,
                "classes": list(self.data.classes),
                "images": self.records.images,
                "ground_truths": int((~self.records.truths.spared()).sum()),
                "difficult": int(self.records.truths.spared().sum()),
                "maps": len(self.records.map_class),
                "problems": dict(self.data.report.counts),
                "examples": {kind: list(said) for kind, said in self.data.report.examples.items()},
            },
            "settings": self.settings(),
            "paths": {path: self._path(path) for path in self.scores.paths},
            "comparisons": msgspec.to_builtins(self.scores.comparisons),
            "undefined": self.scores.undefined,
            "diagnosis": msgspec.to_builtins(tuple(self.findings)),
            "tuning": self.tuning,
            "refining": self.refining,
            "samples": [
                {"id": name, "sha256": sha} for name, sha in zip(self.records.ids, self.records.digests, strict=True)
            ],
        }

    def quality_analysis(self) -> dict[str, Any]:
        """Return what `heatmap_quality_analysis.json` holds."""
        return {
            **self._head(f"{KIND}_quality"),
            "definitions": _DEFINITIONS,
            "paths": {
                path: {
                    "quality": msgspec.to_builtins(each.quality),
                    "response": msgspec.to_builtins(each.response),
                    "pointing": msgspec.to_builtins(each.pointing),
                    "energy": msgspec.to_builtins(each.energy),
                }
                for path, each in self.scores.paths.items()
            },
        }

    def settings(self) -> dict[str, Any]:
        """Return the options as plain values; of many templates only the number and a hash."""
        plain: dict[str, Any] = msgspec.to_builtins(self.options)
        templates = plain["maps"]["templates"]
        if templates is not None and len(templates) > _MANY:
            plain["maps"]["templates"] = {"count": len(templates), "sha256": digest(templates)}
        plain["geometry"] = self.options.geometry
        plain["label_list"] = self.options.label_list
        plain["texts"] = dict(zip(self.data.classes, self.options.texts(self.data.classes), strict=True))
        return plain

    def write(self, folder: Path) -> list[Path]:
        """Write all files and return their paths."""
        files = [
            folder / name for name in ("map_results.json", "heatmap_quality_analysis.json", "evaluation_report.md")
        ]
        write_json(files[0], self.map_results())
        write_json(files[1], self.quality_analysis())
        with atomic_write(files[2]) as temporary:
            temporary.write_text(localise_markdown(self.map_results(), self.quality_analysis()), encoding="utf-8")
        outcomes = folder / "outcomes.npz"
        save_series(outcomes, self.scores.series)
        for path in self.scores.paths:
            files.append(folder / path / "predictions.json")
            write_predictions(files[-1], self.records, path)
        return [*files, outcomes]

    def _head(self, kind: str) -> dict[str, Any]:
        return {"kind": kind, "schema": 1, "provenance": self.provenance.as_json()}

    def _path(self, path: str) -> dict[str, Any]:
        each = self.scores.paths[path]
        return {
            "thresholds": msgspec.to_builtins(each.thresholds),
            "boxes_per_image": each.boxes_per_image,
            "pointing": msgspec.to_builtins(each.pointing),
            "energy": msgspec.to_builtins(each.energy),
            "fit": msgspec.to_builtins(each.fit),
        }
