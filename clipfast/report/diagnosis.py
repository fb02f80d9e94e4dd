"""A diagnosis for people and programs: one HTML page, Markdown, JSON, and one line for each wrong sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clipfast.diagnostics.answers import share
from clipfast.diagnostics.checklist import CheckItem, checklist
from clipfast.diagnostics.diagnosis import Diagnosis
from clipfast.diagnostics.features import FEATURES
from clipfast.diagnostics.learned import LearnedCauses
from clipfast.diagnostics.predictions import Predictions
from clipfast.errors import ImageError
from clipfast.report.page import Page
from clipfast.report.svg import bar_chart, histogram, reliability_diagram
from clipfast.report.tables import markdown_table
from clipfast.report.thumbnails import thumbnail_uri
from clipfast.storage import atomic_write

__all__ = ["DiagnosisReport", "summary_sentences"]

_ANSWERS = {"yes": "yes", "no": "no", "figure": "-", "open": "cannot say"}
_CAUSES = ["cause", "samples", "share of judged", "share of wrong", "gain", "cost", "priority", "named"]


def summary_sentences(found: Diagnosis) -> tuple[str, ...]:
    """Say the result in a few sentences, the most important first."""
    lead = f"{found.wrong:,} of {found.judged:,} judged samples are wrong: accuracy {share(found.accuracy)}."
    named = found.triage.raised
    if named:
        first = named[0]
        said = [f"First to mend: {first.cause}, which explains {share(first.share)} of the samples. {first.fix}"]
        said += [f"Then: {', '.join(finding.cause for finding in named[1:])}."] if len(named) > 1 else []
    elif found.wrong:
        said = ["No single cause affects enough samples to be named."]
    else:
        said = ["Nothing is wrong, so no cause can be named."]
    if found.wrong and found.triage.undecided:
        said.append(f"Of {found.triage.undecided:,} wrong samples the cause cannot be told.")
    if found.label_noise is not None:
        said.append(f"Estimated share of wrong labels: {share(found.label_noise.ratio)}.")
    if found.review is not None and found.review.noise_of_wrong is not None:
        said.append(f"People found {share(found.review.noise_of_wrong)} of the wrong samples mismatched.")
    if found.learned is not None:
        said.append(_of_learned(found.learned))
    return (lead, *said, *found.warnings)


def _of_learned(learned: LearnedCauses) -> str:
    text = (
        f"A classifier of {learned.verdicts:,} verdicts tells {share(learned.accuracy)} of them rightly, each without "
        f"having seen it; the rules tell {share(learned.rules_accuracy)}."
    )
    if not learned.used:
        return f"{text} The rules decide."
    return f"{text} It decides on {learned.told:,} wrong samples that nobody looked at, the rules on the others."


@dataclass(frozen=True, slots=True, eq=False)
class DiagnosisReport:
    """What is written about a diagnosis.

    Attributes:
        title: Of the page.
        found: The diagnosis.
        predictions: The samples.
        image_root: Folder that the paths of images start from; None shows no pictures.
    """

    title: str
    found: Diagnosis
    predictions: Predictions
    image_root: Path | None = None

    def save(self, folder: Path) -> list[Path]:
        """Write diagnosis.html, diagnosis.md, diagnosis.json and wrong.jsonl, each atomically; return their paths."""
        paths = [folder / name for name in ("diagnosis.html", "diagnosis.md", "diagnosis.json", "wrong.jsonl")]
        self.page().save(paths[0])
        for path, content in zip(
            paths[1:], (self.markdown().encode(), self.json(), b"".join(self.wrong_lines())), strict=True
        ):
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
        return paths

    def builtins(self) -> dict[str, Any]:
        """Return the diagnosis as plain values; scores of single samples are in the lines of wrong ones."""
        plain: dict[str, Any] = msgspec.to_builtins(self.found, enc_hook=_plain)
        del plain["of_samples"]
        for part, names in (("novelty", ("scores", "ranks")), ("triage", ("rows", "causes", "weights"))):
            for name in names if plain[part] is not None else ():
                del plain[part][name]
        plain["kind"] = "diagnose"
        plain["judged_samples"] = self._samples()
        plain["named"] = [finding.cause for finding in self.found.triage.raised]
        plain["summary"] = list(summary_sentences(self.found))
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

    def markdown(self) -> str:
        """Return the report as Markdown."""
        parts = [f"# {self.title}", "", *[f"{line}\n" for line in summary_sentences(self.found)]]
        parts += ["## Causes", "", markdown_table(_CAUSES, self._cause_rows()), ""]
        for finding in self.found.triage.raised:
            parts += [f"**{finding.cause}**: {finding.fix} Next: {finding.next}", ""]
            parts += [f"- {each.says} ({each.samples:,} samples)" for each in finding.evidence] + [""]
        rows = [[item.part, item.question, _ANSWERS[item.answer], item.says] for item in checklist(self.found)]
        parts += ["## Checklist", "", markdown_table(["part", "question", "answer", "from the data"], rows, left=4), ""]
        parts += ["## Groups", ""]
        for column, group_rows in self._groups():
            parts += [f"### {column}", "", markdown_table(_GROUPS, group_rows), ""]
        parts += ["## Features", "", markdown_table(_FEATURES, self._feature_rows()), ""]
        if self.found.missing:
            parts += ["## What the data do not say", ""]
            parts += [f"- no {name}: {cannot}" for name, cannot in self.found.missing.items()] + [""]
        return "\n".join(parts)

    def page(self) -> Page:
        """Return the report as a page."""
        found, page = self.found, Page(self.title)
        lead, *rest = summary_sentences(found)
        page.paragraph(lead, "lead")
        for line in rest:
            page.paragraph(line)
        page.heading("Causes")
        page.table(_CAUSES, self._cause_rows(), ["yes" if each.raised else "" for each in found.triage.findings])
        names = [each.cause for each in found.triage.findings]
        shares = [each.share for each in found.triage.findings]
        top = max([each.high for each in shares] + [0.05])
        page.chart(bar_chart(names, [s.estimate for s in shares], [(s.low, s.high) for s in shares], top=top))
        for finding in found.triage.raised:
            page.heading(finding.cause, 3)
            page.paragraph(f"{finding.fix} Next: {finding.next}")
            page.bullets(f"{each.says} ({each.samples:,} samples)" for each in finding.evidence)
            self._examples(page, finding.examples)
        self._checklist(page, checklist(found))
        self._plots(page)
        self._details(page)
        return page

    def _cause_rows(self) -> list[list[str]]:
        return [
            [
                each.cause, f"{each.samples:,}", share(each.share), f"{100 * each.of_errors:.1f} %", f"{each.gain:g}",
                f"{each.cost:g}", f"{each.priority:.4f}", "yes" if each.raised else "",
            ]
            for each in self.found.triage.findings
        ]  # fmt: skip

    def _groups(self) -> list[tuple[str, list[list[str]]]]:
        return [
            (
                f"{table.column} ({table.groups:,} group{'' if table.groups == 1 else 's'})",
                [
                    [
                        row.name or "(none)", f"{row.samples:,}", f"{row.errors:,}", share(row.error_rate),
                        f"{row.macro_f1.estimate:.3f}" if row.macro_f1 else "-", "yes" if row.worse else "",
                    ]
                    for row in table.rows
                ],
            )
            for table in self.found.groups
        ]  # fmt: skip

    def _feature_rows(self) -> list[list[str]]:
        return [[row.feature, _number(row.right), _number(row.wrong), row.meaning] for row in self.found.features]

    def _checklist(self, page: Page, items: Sequence[CheckItem]) -> None:
        page.heading("Checklist")
        rows = [[item.part, item.question, _ANSWERS[item.answer], item.says] for item in items]
        page.table(["part", "question", "answer", "from the data"], rows, [item.answer for item in items])

    def _plots(self, page: Page) -> None:
        found = self.found
        page.heading("Calibration")
        page.paragraph("Share of right answers (upwards) by confidence; bars that reach the line are as sure as right.")
        table = found.calibration.table
        page.chart(
            reliability_diagram(
                table.edges.tolist(), np.nan_to_num(table.accuracy).tolist(), np.nan_to_num(table.confidence).tolist(),
                table.counts.tolist(),
            )
        )  # fmt: skip
        rows = [
            [row.name or "(none)", f"{row.samples:,}",
             f"{row.ece.estimate:.3f} [{row.ece.low:.3f}, {row.ece.high:.3f}]", f"{row.mce:.3f}", f"{row.ace:.3f}",
             f"{row.confidence:.3f}", f"{row.accuracy:.3f}"]
            for row in (found.calibration.overall, *found.calibration.by_group)
        ]  # fmt: skip
        page.table(["group", "samples", "ECE", "MCE", "ACE", "confidence", "accuracy"], rows)
        if found.pairs is not None:
            page.heading("Matching and shuffled pairs")
            page.chart(
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
            page.heading("Accuracy with parts taken away")
            ends = [(part.low, part.high) for _, part in shown]
            page.chart(bar_chart([name for name, _ in shown], [part.estimate for _, part in shown], ends))

    def _details(self, page: Page) -> None:
        found = self.found
        page.heading("Groups")
        for (column, rows), table in zip(self._groups(), found.groups, strict=True):
            page.heading(column, 3)
            worst = table.rows[:12]
            rates = [row.error_rate for row in worst]
            top = max([rate.high for rate in rates] + [0.05])
            names = [row.name or "(none)" for row in worst]
            page.chart(bar_chart(names, [r.estimate for r in rates], [(r.low, r.high) for r in rates], top=top))
            page.table(_GROUPS, rows)
        if found.clusters:
            page.heading("Clusters of wrong samples")
            page.table(
                ["samples", "typical words", "labels", "examples"],
                [
                    [
                        f"{each.samples:,}", ", ".join(each.words) or "-",
                        ", ".join(f"{name} ({count})" for name, count in each.labels), ", ".join(each.examples),
                    ]
                    for each in found.clusters
                ],
            )  # fmt: skip
        page.heading("Features")
        page.table(_FEATURES, self._feature_rows())
        if found.missing:
            page.heading("What the data do not say")
            page.bullets(f"no {name}: {cannot}" for name, cannot in found.missing.items())

    def _examples(self, page: Page, ids: Sequence[str]) -> None:
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
                page.picture(picture, caption)
        page.bullets(lines)

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


_GROUPS = ["group", "samples", "errors", "error rate", "macro F1", "worse than others"]
_FEATURES = ["feature", "median where right", "median where wrong", "meaning"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise NotImplementedError(f"no plain form of {type(value).__name__}")
