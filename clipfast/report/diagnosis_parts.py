"""The parts of a diagnosis in their order, for a page in HTML and one in Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipfast.diagnostics.answers import share
from clipfast.diagnostics.checklist import checklist
from clipfast.diagnostics.diagnosis import Diagnosis
from clipfast.diagnostics.experiments.study import Study
from clipfast.diagnostics.influences import InfluentialSample
from clipfast.diagnostics.predictions import Predictions
from clipfast.errors import ImageError
from clipfast.metrics.intervals import Interval
from clipfast.report.diagnosis_summary import summary_sentences
from clipfast.report.experiments import add_study
from clipfast.report.sheet import Sheet
from clipfast.report.svg import bar_chart, histogram, reliability_diagram
from clipfast.report.thumbnails import thumbnail_uri

__all__ = ["DiagnosisParts", "pictured_rows"]

_ANSWERS = {"yes": "yes", "no": "no", "figure": "-", "open": "cannot say"}
_CAUSES = ["cause", "samples", "share of judged", "share of wrong", "gain", "cost", "priority", "named"]
_GROUPS = ["group", "samples", "errors", "error rate", "macro F1", "worse than others"]
_FEATURES = ["feature", "median where right", "median where wrong", "meaning"]
_INFLUENCE = ["sample", "label", "a head without it says", "influence"]
_WORST = 12
_LISTED = 10


@dataclass(frozen=True, slots=True, eq=False)
class DiagnosisParts:
    """What is written about a diagnosis.

    Attributes:
        found: The diagnosis.
        predictions: The samples.
        image_root: Folder that the paths of images start from; None shows no pictures.
        study: Experiments, to be shown with it.
    """

    found: Diagnosis
    predictions: Predictions
    image_root: Path | None
    study: Study | None

    def write(self, sheet: Sheet) -> None:
        """Write all parts, the summary first."""
        lead, *others = summary_sentences(self.found)
        sheet.paragraph(lead, "lead")
        for line in others:
            sheet.paragraph(line)
        self._causes(sheet)
        self._checklist(sheet)
        if self.study is not None:
            sheet.heading("Experiments")
            add_study(sheet, self.study, level=3)
        self._worst(sheet)
        self._influences(sheet)
        self._calibration(sheet)
        self._training(sheet)
        self._pairs(sheet)
        self._groups(sheet)
        self._clusters(sheet)
        sheet.heading("Features")
        sheet.table(
            _FEATURES, [[r.feature, _number(r.right), _number(r.wrong), r.meaning] for r in self.found.features]
        )
        self._missing(sheet)

    def _causes(self, sheet: Sheet) -> None:
        findings = self.found.triage.findings
        sheet.heading("Causes")
        rows = [
            [
                each.cause, f"{each.samples:,}", share(each.share), f"{100 * each.of_errors:.1f} %", f"{each.gain:g}",
                f"{each.cost:g}", f"{each.priority:.4f}", "yes" if each.raised else "",
            ]
            for each in findings
        ]  # fmt: skip
        sheet.table(_CAUSES, rows, ["yes" if each.raised else "" for each in findings])
        _bars(sheet, [(each.cause, each.share) for each in findings])
        for finding in self.found.triage.raised:
            sheet.heading(finding.cause, 3)
            sheet.paragraph(f"{finding.fix} Next: {finding.next}")
            sheet.bullets(f"{each.says} ({each.samples:,} samples)" for each in finding.evidence)
            if self.study is not None:
                settled = [each for each in self.study.outcomes if each.cause == finding.cause]
                sheet.bullets(f"Experiment {each.name}: {each.result.says}" for each in settled)
            self._examples(sheet, finding.examples)

    def _checklist(self, sheet: Sheet) -> None:
        items = checklist(self.found)
        sheet.heading("Checklist")
        rows = [[item.part, item.question, _ANSWERS[item.answer], item.says] for item in items]
        sheet.table(["part", "question", "answer", "from the data"], rows, [item.answer for item in items])

    def _worst(self, sheet: Sheet) -> None:
        """Show the wrong samples whose label the model holds least likely, whatever their cause."""
        ids = _worst_samples(self.found, self.predictions)
        if not ids:
            return
        sheet.heading("Worst examples")
        sheet.paragraph("Wrong samples whose label the model holds least likely, whatever their cause.")
        self._examples(sheet, ids)

    def _influences(self, sheet: Sheet) -> None:
        sheet.heading("Influence of training samples")
        each = self.found.influences
        if each is None:
            sheet.paragraph(f"It cannot be said {self.found.missing['influence']}.")
            return
        sheet.paragraph(
            f"A ridge head on embeddings of {each.features}, fitted on {each.training:,} training samples, is right in "
            f"{share(each.accuracy)} of {each.judged:,} judged ones; its mean squared error there is {each.error:.4f}. "
            f"Influence is by how much this error grows when a sample is left out, exactly: {each.harmful:,} samples "
            "do harm. All are in influence.jsonl."
        )
        for name, samples in (("Most harmful", each.worst), ("Most helpful", each.best)):
            if samples:
                sheet.heading(name, 3)
                sheet.table(_INFLUENCE, [_influence_row(sample) for sample in samples[:_LISTED]])

    def _calibration(self, sheet: Sheet) -> None:
        table = self.found.calibration.table
        sheet.heading("Calibration")
        sheet.paragraph(
            "Share of right answers (upwards) by confidence; bars that reach the line are as sure as right."
        )
        sheet.chart(
            reliability_diagram(
                table.edges.tolist(), np.nan_to_num(table.accuracy).tolist(), np.nan_to_num(table.confidence).tolist(),
                table.counts.tolist(),
            )
        )  # fmt: skip
        rows = [
            [row.name or "(none)", f"{row.samples:,}",
             f"{row.ece.estimate:.3f} [{row.ece.low:.3f}, {row.ece.high:.3f}]", f"{row.mce:.3f}", f"{row.ace:.3f}",
             f"{row.confidence:.3f}", f"{row.accuracy:.3f}"]
            for row in (self.found.calibration.overall, *self.found.calibration.by_group)
        ]  # fmt: skip
        sheet.table(["group", "samples", "ECE", "MCE", "ACE", "confidence", "accuracy"], rows)

    def _training(self, sheet: Sheet) -> None:
        """Show accuracy from known to new samples, and against how often a name was trained on."""
        found = self.found
        if found.novelty is not None or found.drops:
            sheet.heading("Known and new samples")
        if found.novelty is not None:
            far = found.novelty
            judged = self.predictions.judged
            sheet.paragraph(
                f"Distance to the training data: {far.method}. {int(far.new[judged].sum()):,} of {int(judged.sum()):,} "
                f"judged samples lie beyond the threshold {far.threshold:.3g}, which {100 * far.false_positive_rate:g} "
                "% of usual ones exceed."
            )
        for drop in found.drops:
            _bars(sheet, [(drop.known, drop.known_accuracy), (drop.new, drop.new_accuracy)], top=1.0)
        if found.frequency is not None:
            table = found.frequency
            sheet.heading("Accuracy by training frequency")
            sheet.paragraph(
                f"Judged samples by how many training samples share their {table.column}"
                + ("." if np.isnan(table.correlation) else f"; rank correlation {table.correlation:z.2f}.")
            )
            bands = [f"{low:,} to {high:,} samples" for low, high in table.bounds]
            _bars(sheet, list(zip(bands, table.accuracy, strict=True)), top=1.0)

    def _pairs(self, sheet: Sheet) -> None:
        found = self.found
        if found.pairs is not None:
            sheet.heading("Matching and shuffled pairs")
            sheet.chart(
                histogram(found.pairs.edges, found.pairs.matching, found.pairs.shuffled, ("matching", "shuffled"))
            )
        parts = found.modalities
        shown = [("everything", parts.full)] + [
            (name, part.without)
            for name, part in (
                ("image only", parts.image_only), ("text only", parts.text_only), ("without context", parts.no_context),
            )
            if part is not None
        ]  # fmt: skip
        if len(shown) > 1:
            sheet.heading("Accuracy with parts taken away")
            _bars(sheet, shown, top=1.0)

    def _groups(self, sheet: Sheet) -> None:
        sheet.heading("Groups")
        for table in self.found.groups:
            sheet.heading(f"{table.column} ({table.groups:,} group{'' if table.groups == 1 else 's'})", 3)
            _bars(sheet, [(row.name or "(none)", row.error_rate) for row in table.rows[:12]])
            rows = [
                [
                    row.name or "(none)", f"{row.samples:,}", f"{row.errors:,}", share(row.error_rate),
                    f"{row.macro_f1.estimate:.3f}" if row.macro_f1 else "-", "yes" if row.worse else "",
                ]
                for row in table.rows
            ]  # fmt: skip
            sheet.table(_GROUPS, rows)

    def _clusters(self, sheet: Sheet) -> None:
        if not self.found.clusters:
            return
        sheet.heading("Clusters of wrong samples")
        rows = [
            [
                f"{each.samples:,}", ", ".join(each.words) or "-",
                ", ".join(f"{name} ({count})" for name, count in each.labels), ", ".join(each.examples),
            ]
            for each in self.found.clusters
        ]  # fmt: skip
        sheet.table(["samples", "typical words", "labels", "examples"], rows)

    def _missing(self, sheet: Sheet) -> None:
        found = self.found
        if found.missing or found.partly:
            sheet.heading("What the data do not say")
        if found.missing:
            sheet.bullets(f"no {name}: {cannot}" for name, cannot in found.missing.items())
        if found.partly:
            sheet.bullets(
                f"{name}: known of {count:,} of {found.judged:,} judged samples" for name, count in found.partly.items()
            )

    def _examples(self, sheet: Sheet, ids: Sequence[str]) -> None:
        row_of = {name: row for row, name in enumerate(self.predictions.ids)} if ids else {}
        predicted = self.predictions.predicted
        lines = []
        for name in ids:
            row = row_of[name]
            text = self.predictions.texts[row] if self.predictions.texts else ""
            label, said = (self.predictions.classes[int(which[row])] for which in (self.predictions.labels, predicted))
            caption = f"{name}: {text + ' ' if text else ''}label {label}, said {said}"
            picture = self._picture(row)
            if picture is None:
                lines.append(caption)
            else:
                sheet.picture(picture, caption)
        sheet.bullets(lines)

    def _picture(self, row: int) -> str | None:
        from clipfast.runtime.images import load_image

        name = self.predictions.images[row] if self.predictions.images else ""
        if self.image_root is None or not name:
            return None
        try:
            pixels = np.asarray(load_image(self.image_root / name).convert("RGB"))
        except (ImageError, OSError):  # the line without a picture says enough
            return None
        heat = None if self.predictions.attention is None else self.predictions.attention[row]
        return thumbnail_uri(pixels, None if heat is None or np.isnan(heat).any() else heat)


def pictured_rows(found: Diagnosis, predictions: Predictions) -> list[int]:
    """Return the rows of the samples that the report shows, each once: of every cause raised, and the worst."""
    ids = [name for finding in found.triage.raised for name in finding.examples]
    row_of = {name: row for row, name in enumerate(predictions.ids)}
    return [row_of[name] for name in dict.fromkeys([*ids, *_worst_samples(found, predictions)])]


def _worst_samples(found: Diagnosis, data: Predictions) -> list[str]:
    rows = found.triage.rows
    least = data.probs[rows, data.labels[rows]]
    order = np.lexsort((-data.probs[rows].max(axis=1), least))[:_WORST]
    return [data.ids[row] for row in rows[order].tolist()]


def _bars(sheet: Sheet, rows: Sequence[tuple[str, Interval]], *, top: float = 0.0) -> None:
    """Draw shares with their intervals, up to the largest of them if no top is given."""
    end = top or max([each.high for _, each in rows] + [0.05])
    shares, ends = [each.estimate for _, each in rows], [(each.low, each.high) for _, each in rows]
    sheet.chart(bar_chart([name for name, _ in rows], shares, ends, top=end))


def _influence_row(sample: InfluentialSample) -> list[str]:
    return [sample.id, sample.label, sample.prefers, f"{sample.influence:+.3g}"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
