"""The results of `benchmarks.search` as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.kernels import report

__all__ = ["budget_table", "render", "section"]

BEGIN, END = "<!-- search: written by python -m benchmarks.search -->", "<!-- /search -->"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "search.md"


def render(results: Path) -> None:
    """Write the stored results between the marks of docs/search.md."""
    found = json.loads(results.read_text(encoding="utf-8"))
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    head = (
        f"{machine['cpu']}, {machine['cores']} cores; {versions}{report.kernels(machine)}. A copy in memory moves "
        f"{found['copy_gb_s']:.3g} GB/s, read and written, on one core. Milliseconds are of all the calls that a "
        "title names."
    )
    sections = [section(name, case) for name, case in found["cases"].items()]
    body = "\n\n".join([head, report.promises(found["cases"]), *sections, budget_table(found.get("budgets", []))])
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


def section(name: str, case: dict[str, Any]) -> str:
    """One case as the kernels' races are shown, and how fast its codes were read."""
    return f"{report.section(name, case)} Codes read at {case['code_gb_s']:.3g} GB/s."


def budget_table(budgets: list[dict[str, Any]]) -> str:
    """What a budget gave: recall on queries that chose nothing."""
    if not budgets:
        return ""
    lines = [
        "### Within a budget",
        "",
        "| rows | kind | budget | taken | recall@10 (95 %) | ms | exact ms | seconds to fit |",
        "|--:|---|---|---|--:|--:|--:|--:|",
    ]
    for each in budgets:
        goal = ", ".join(f"{name} {value:g}" for name, value in each["budget"].items())
        start = f"| {each['rows']:,} | {each['kind']} | {goal} |"
        if "refused" in each:
            lines.append(f"{start} none: {each['refused']} | | | | {each['seconds_to_fit']:.3g} |")
            continue
        low, high = each["interval"]
        lines.append(
            f"{start} {each['taken']} {each['effort'] or ''} | {each['recall']:.3f} ({low:.3f} to {high:.3f}) "
            f"| {each['ms']:.3g} | {each['exact_ms']:.3g} | {each['seconds_to_fit']:.3g} |"
        )
    return "\n".join(lines)
