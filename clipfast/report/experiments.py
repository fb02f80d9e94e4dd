"""Experiments for people and programs: tables, plots, JSON, and their place in a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from clipfast.diagnostics.experiments.design import Arm, Experiment
from clipfast.diagnostics.experiments.study import Study
from clipfast.errors import DataError
from clipfast.report.markdown_sheet import MarkdownSheet
from clipfast.report.page import Page
from clipfast.report.sheet import Sheet
from clipfast.report.svg import bar_chart
from clipfast.report.tables import number, percent
from clipfast.storage import atomic_write

__all__ = ["ARM_HEADINGS", "add_study", "arm_rows", "read_study_result", "save_study", "study_builtins"]

_KIND = "experiments"
_MAX_BYTES = 64 << 20
ARM_HEADINGS = ["arm", "accuracy", "std over seeds", "seeds", "samples", "difference in points", "p", "p (Holm)"]


def arm_rows(result: Experiment) -> list[list[str]]:
    """Return a row of text for each arm."""
    return [
        [
            arm.name, percent(arm.mean), "-" if arm.std is None else f"{100 * arm.std:.1f}", str(arm.seeds),
            f"{arm.samples:,}", _points(arm), number(arm.p_value, 4), number(arm.p_holm, 4),
        ]
        for arm in result.arms
    ]  # fmt: skip


def _points(arm: Arm) -> str:
    if arm.difference is None:
        return "-"
    gap = arm.difference
    return f"{100 * gap.estimate:+z.1f} [{100 * gap.low:+z.1f}, {100 * gap.high:+z.1f}]"


def add_study(sheet: Sheet, study: Study, *, level: int = 2) -> None:
    """Write the experiments of a study on a report."""
    sheet.paragraph(
        f"On {study.data}, seeds {', '.join(map(str, study.seeds))}. Differences with bootstrap intervals over "
        "samples; p-values of permutation tests, corrected by Holm in each experiment. One factor is changed at a time."
    )
    for each in study.outcomes:
        sheet.heading(f"{each.name} ({each.cause})", level)
        sheet.paragraph(f"{each.question} {each.result.says}")
        sheet.table(ARM_HEADINGS, arm_rows(each.result))
        arms = each.result.arms
        sheet.chart(
            bar_chart([arm.name for arm in arms], [arm.mean for arm in arms], [_ends(arm, arms) for arm in arms])
        )
    if study.skipped:
        sheet.heading("Not run", level)
        sheet.bullets(f"{each.name}: {each.lacks}" for each in study.skipped)


def _ends(arm: Arm, arms: Sequence[Arm]) -> tuple[float, float] | None:
    """Return the interval of the difference, laid on the baseline."""
    base, gap = arms[0].mean, arm.difference
    return None if gap is None else (base + gap.low, base + gap.high)


def save_study(folder: Path, study: Study) -> list[Path]:
    """Write experiments.html, experiments.md with its folder of plots, and experiments.json, each atomically."""
    title = f"Experiments on {study.data}"
    page, text = Page(title), MarkdownSheet(title, "experiments_plots")
    for sheet in (page, text):
        add_study(sheet, study)
    page.save(folder / "experiments.html")
    text.save(folder / "experiments.md")
    with atomic_write(folder / "experiments.json") as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(study_builtins(study)), indent=1) + b"\n")
    return [folder / f"experiments.{kind}" for kind in ("html", "md", "json")]


def study_builtins(study: Study) -> dict[str, object]:
    """Return a study as plain values, as its JSON holds them."""
    return {"kind": _KIND, **msgspec.to_builtins(study)}


def read_study_result(path: Path) -> Study:
    """Read what `save_study` wrote.

    Raises:
        DataError: There is no such file, or it holds no experiments.
    """
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise DataError(f"No experiments at {path}. Run: clipfast diagnose experiment --data FILE --out DIR")
    try:
        content = msgspec.json.decode(path.read_bytes())
        if not isinstance(content, dict) or content.pop("kind", None) != _KIND:
            raise DataError(
                f"{path} holds no experiments. Name the experiments.json of `clipfast diagnose experiment`."
            )
        return msgspec.convert(content, Study)
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} holds no experiments ({error}). Run them again.") from error
