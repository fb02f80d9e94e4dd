"""A diagnosis for people and programs: one HTML page, Markdown, JSON, and one line for each wrong sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clipfast.diagnostics.checklist import checklist
from clipfast.diagnostics.diagnosis import Diagnosis
from clipfast.diagnostics.experiments.study import Study
from clipfast.diagnostics.features import FEATURES
from clipfast.diagnostics.predictions import Predictions
from clipfast.report.diagnosis_parts import DiagnosisParts
from clipfast.report.diagnosis_summary import summary_sentences
from clipfast.report.experiments import study_builtins
from clipfast.report.markdown_sheet import MarkdownSheet
from clipfast.report.page import Page
from clipfast.storage import atomic_write

__all__ = ["DiagnosisReport", "summary_sentences"]


@dataclass(frozen=True, slots=True, eq=False)
class DiagnosisReport:
    """What is written about a diagnosis.

    Attributes:
        title: Of the page.
        found: The diagnosis.
        predictions: The samples.
        image_root: Folder that the paths of images start from; None shows no pictures.
        study: Experiments on the same model, to be shown with it.
    """

    title: str
    found: Diagnosis
    predictions: Predictions
    image_root: Path | None = None
    study: Study | None = None

    def save(self, folder: Path) -> list[Path]:
        """Write the report, each file atomically.

        Returns:
            Paths of diagnosis.html, diagnosis.md, diagnosis.json, wrong.jsonl, and of influence.jsonl where influences
            are known. The plots that diagnosis.md shows are in the folder diagnosis_plots.
        """
        parts = DiagnosisParts(self.found, self.predictions, self.image_root, self.study)
        page, text = Page(self.title), MarkdownSheet(self.title, "diagnosis_plots")
        for sheet in (page, text):
            parts.write(sheet)
        paths = [folder / name for name in ("diagnosis.html", "diagnosis.md", "diagnosis.json", "wrong.jsonl")]
        page.save(paths[0])
        text.save(paths[1])
        contents = {paths[2]: self.json(), paths[3]: b"".join(self.wrong_lines())}
        lines = folder / "influence.jsonl"
        if self.found.influences is not None:
            paths.append(lines)
            contents[lines] = b"".join(self.influence_lines())
        else:
            lines.unlink(missing_ok=True)  # of an earlier diagnosis
        for path, content in contents.items():
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
        return paths

    def page(self) -> Page:
        """Return the report as a page."""
        page = Page(self.title)
        DiagnosisParts(self.found, self.predictions, self.image_root, self.study).write(page)
        return page

    def builtins(self) -> dict[str, Any]:
        """Return the diagnosis as plain values; scores of single samples are in the lines of wrong ones."""
        plain: dict[str, Any] = msgspec.to_builtins(self.found, enc_hook=_plain)
        del plain["of_samples"]
        for part, names in _BY_SAMPLE.items():
            for name in names if plain[part] is not None else ():
                del plain[part][name]
        plain["kind"] = "diagnose"
        plain["judged_samples"] = self._samples()
        plain["named"] = [finding.cause for finding in self.found.triage.raised]
        plain["summary"] = list(summary_sentences(self.found))
        plain["experiments"] = None if self.study is None else study_builtins(self.study)
        plain["checklist"] = msgspec.to_builtins(checklist(self.found))
        return plain

    def _samples(self) -> list[dict[str, Any]]:
        """Return a row for each judged sample, so that two diagnoses can be compared; no cause where it is right."""
        causes = {row: self.found.triage.cause_of(at) for at, row in enumerate(self.found.triage.rows.tolist())}
        data = self.predictions
        return [
            {"id": data.ids[row], "label": data.classes[int(data.labels[row])], "cause": causes.get(row)}
            for row in self.found.of_samples.rows.tolist()
        ]

    def json(self) -> bytes:
        """Return the diagnosis as JSON; figures that do not exist are null."""
        return msgspec.json.format(msgspec.json.encode(self.builtins()), indent=1) + b"\n"

    def wrong_lines(self) -> list[bytes]:
        """Return one JSON line for each wrong judged sample: cause and features."""
        place = np.searchsorted(self.found.of_samples.rows, self.found.triage.rows)
        lines = []
        names, known = list(FEATURES), set(self.found.of_samples.known)
        predicted = self.predictions.predicted
        for at, (row, values) in enumerate(
            zip(self.found.triage.rows.tolist(), self.found.of_samples.values[place].tolist(), strict=True)
        ):
            line = {
                "id": self.predictions.ids[row],
                "label": self.predictions.classes[int(self.predictions.labels[row])],
                "predicted": self.predictions.classes[int(predicted[row])],
                "cause": self.found.triage.cause_of(at),
                "features": {name: value for name, value in zip(names, values, strict=True) if name in known},
            }
            lines.append(msgspec.json.encode(line) + b"\n")
        return lines

    def influence_lines(self) -> list[bytes]:
        """Return one JSON line for each training sample, the most harmful first."""
        found = self.found.influences
        if found is None:
            return []
        order = np.argsort(found.values, kind="stable").tolist()
        return [msgspec.json.encode(found.sample(self.predictions, at)) + b"\n" for at in order]


_BY_SAMPLE = {
    "novelty": ("scores", "ranks"),
    "triage": ("rows", "causes", "weights"),
    "influences": ("rows", "values", "prefers"),
}
"""Arrays by sample, which are in the files of lines."""


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise NotImplementedError(f"no plain form of {type(value).__name__}")
