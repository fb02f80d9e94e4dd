"""The results of the races as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["document", "kernels", "promises", "render", "section"]

BEGIN, END = "<!-- kernels: written by python -m benchmarks.kernels -->", "<!-- /kernels -->"
README = Path(__file__).resolve().parents[1] / "README.md"


def render(results: Path, *, page: Path = README, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Write the stored results between the marks of a page, `benchmarks/README.md` by default."""
    begin, end = marks
    before, rest = page.read_text(encoding="utf-8").split(begin)
    body = document(json.loads(results.read_text(encoding="utf-8")))
    page.write_text(f"{before}{begin}\n\n{body}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")


def document(results: dict[str, Any]) -> str:
    """All sections, after what they were measured on and what was promised."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    head = f"{machine['cpu']}, {machine['cores']} cores, 2 threads for everybody; {versions}{kernels(machine)}."
    sections = [section(name, case) for name, case in results["cases"].items()]
    return "\n\n".join([head, promises(results["cases"]), *sections])


def section(name: str, case: dict[str, Any]) -> str:
    """One case: who took how long, how many times ours, and how far the answers agree."""
    summed = all("cpu_ms" in times for times in case["contenders"].values())  # older races have the clock alone
    lines = [
        f"### {name}",
        "",
        f"| who | median ms | fastest ms | times ours (95 %) |{' CPU ms | CPU times ours |' if summed else ''} must |",
        f"|---|--:|--:|--:|{'--:|--:|' if summed else ''}--:|",
    ]
    for who, times in case["contenders"].items():
        ratio = case["ratios"].get(who)
        shown = f"{ratio['ratio']:.3g} ({ratio['low']:.3g} to {ratio['high']:.3g})" if ratio else "1"
        must = f"{ratio['must']:g}" if ratio and "must" in ratio else ""
        must += f" ({times['giga_per_s']:.0f} G/s)" if "giga_per_s" in times else ""
        cpu = f" {times['cpu_ms']:.4g} | {ratio['cpu'] if ratio else 1:.3g} |" if summed else ""
        lines.append(f"| {who} | {times['median_ms']:.4g} | {times['min_ms']:.4g} | {shown} |{cpu} {must} |")
    agreed = [f"{what} {value:.3g}" for what, value in case["agreement"].items()]
    agreed += [
        f"{times['cpu_ns_each']:.3g} ns of CPU each by {who}"
        for who, times in case["contenders"].items()
        if "cpu_ns_each" in times
    ]
    return "\n".join([*lines, "", f"{'; '.join(agreed)}. Load before: {case['load_before']:.2f}."])


def kernels(machine: dict[str, Any]) -> str:
    """What OpenBLAS was told to multiply with, if it was told and that was kept."""
    return f"; OpenBLAS with kernels of {machine['kernels']}" if machine.get("kernels") else ""


def promises(cases: dict[str, Any]) -> str:
    """Every promise, and whether this run keeps it with its whole interval."""
    rows = [
        f"| {name} | {peer} | {ratio['must']:g} | {ratio['ratio']:.3g} | {_kept(ratio)} |"
        for name, case in cases.items()
        for peer, ratio in case["ratios"].items()
        if "must" in ratio
    ]
    return "\n".join(["| work | peer | must | measured | kept |", "|---|---|--:|--:|---|", *rows])


def _kept(ratio: dict[str, float]) -> str:
    if ratio["low"] >= ratio["must"]:
        return "yes"
    return "NO" if ratio["high"] < ratio["must"] else "unresolved"
