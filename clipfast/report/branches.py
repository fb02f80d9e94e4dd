"""The report on the two branches of a grid of detectors, for people and as JSON, from exact figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from clipfast.anomaly.grid import TIMINGS_NAME
from clipfast.anomaly.grid.records import GridResults
from clipfast.anomaly.modes import MODES
from clipfast.errors import ArtifactError, DataError
from clipfast.report.branch_approximation import approximations
from clipfast.report.branch_charts import write_charts
from clipfast.report.branch_markdown import BranchFindings, branch_markdown
from clipfast.report.branch_rows import branch_rows, weak_shares
from clipfast.report.branch_sentences import mode_sentences, share_sentence, test_sentence
from clipfast.report.branch_tests import class_tests, image_intervals, mode_tests, task_figures
from clipfast.report.results import write_json
from clipfast.report.tables import markdown_table
from clipfast.storage import atomic_write

__all__ = ["write_branch_report"]

FORMAT_VERSION = 1
_SEED = 0


def write_branch_report(
    results: GridResults | Sequence[GridResults], directory: Path, *, fused: str = "auto"
) -> list[Path]:
    """Write `branch_report.md`, `branch_report.json`, charts, and `branch_cost.md` where timings are there.

    All but the last hold nothing that changes from run to run: equal results give equal bytes.

    Args:
        results: Of one grid, or of several data sets to be reported together, each with its own name.
        directory: Where files go. The folder of the grid itself also gives what only it knows: the earlier
            approximation for pixels, which needs the branch maps, and the timings.
        fused: The mode whose figures are reported as the fused ones, a key of `MODES`.

    Returns:
        The files written.

    Raises:
        DataError: No grid, two of one data set, or an unknown mode.
        ArtifactError: Branch maps or timings are there and damaged.
    """
    grids = [results] if isinstance(results, GridResults) else list(results)
    _require(grids, fused)
    rows = [row for each in grids for row in branch_rows(each, fused)]
    shares = weak_shares(rows)
    modes = mode_tests(grids, seed=_SEED)
    directory.mkdir(parents=True, exist_ok=True)
    charts = write_charts(directory, rows, shares, modes)
    found = BranchFindings(
        grids,
        fused,
        rows,
        shares,
        task_figures(rows, seed=_SEED),
        class_tests(rows, fused, seed=_SEED),
        modes,
        [interval for each in grids for interval in image_intervals(each, (fused,), seed=_SEED)],
        [cell for each in grids for cell in approximations(each, directory)],
        [chart.stem for chart in charts],
    )
    report, content = directory / "branch_report.md", directory / "branch_report.json"
    _write(report, branch_markdown(found))
    write_json(content, _as_json(found))
    return [report, content, *charts, *_cost(directory)]


def _require(grids: Sequence[GridResults], fused: str) -> None:
    if not grids:
        raise DataError("a report needs the results of a grid; got none. Read them with read_results(folder).")
    if fused not in MODES:
        raise DataError(f"fused must be one of {', '.join(MODES)}; got {fused!r}.")
    names = [each.dataset for each in grids]
    if len(set(names)) < len(names):
        raise DataError(f"grids of one report must be of different data sets; got {', '.join(names)}.")


def _as_json(found: BranchFindings) -> Mapping[str, Any]:
    intervals = {(each.dataset, each.class_name, each.shots): each for each in found.images}
    rows = []
    for row in found.rows:
        own = intervals.get((row.dataset, row.class_name, row.shots)) if row.task == "cls" else None
        derived = {"branch_gap": row.branch_gap, "fusion_gain": row.fusion_gain, "weaker": row.weaker}
        over_images = None if own is None else {"modes": own.modes, "memory_less_semantic": own.ahead}
        rows.append(_plain(row) | derived | {"owner_keys": row.owner_keys(), "intervals_over_images": over_images})
    return {
        "format": FORMAT_VERSION,
        "kind": "branch_report",
        "units": "shares in [0, 1]; owner_keys in per cent; intervals 95 %",
        "grids": [
            {"dataset": each.dataset, "plan": each.plan, "model": each.model, "pixels": each.pixels}
            for each in found.results
        ],
        "fused": found.fused,
        "rows": rows,
        "tasks": list(map(_plain, found.tasks)),
        "weak_shares": [_plain(share) | {"sentence": share_sentence(share)} for share in found.shares],
        "tests": [_plain(test) | {"sentence": test_sentence(test)} for test in found.tests],
        "modes": list(map(_plain, found.modes)),
        "mode_sentences": mode_sentences(found.modes),
        "approximations": [_plain(each) | {"error": each.error} for each in found.approximations],
    }


def _plain(record: Any) -> dict[str, Any]:
    """A dataclass as a dict; what it holds of `msgspec` structs the encoder knows."""
    return asdict(record)


def _cost(directory: Path) -> Iterable[Path]:
    """Write what the timings of the last grid, and of the last recompute, say about each mode."""
    path = directory / TIMINGS_NAME
    if not path.is_file():
        return []
    try:
        times = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        parts = [line for what, each in sorted(times.items()) for line in _cost_of(what, each)]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ArtifactError(f"{path} holds no timings of a grid: {error}. Remove it, or run the grid again.") from error
    if not parts:
        raise ArtifactError(f"{path} holds no timings of a grid: it is empty. Remove it, or run the grid again.")
    lines = [
        "# What the last runs cost",
        "",
        "Scaling and blurring of the maps, which all modes share, is part of a pixel's figure. Seconds are summed over "
        "threads. Modes that come to the scores of another are computed once, what was finished before a run is not in "
        "here, and the first calibrated mode pays for the scale of all.",
        *parts,
    ]
    report = directory / "branch_cost.md"
    _write(report, "\n".join(lines) + "\n")
    return [report]


def _cost_of(what: str, times: Mapping[str, Any]) -> list[str]:
    pixels = times["pixels"]
    judged, each = int(pixels["judged"]), float(pixels["nanoseconds_a_pixel_and_mode"])
    rows = [
        [mode, f"{value:.2f}", f"{value * 1e9 / max(judged, 1):.2f}"]
        for mode, value in sorted(pixels["seconds_by_mode"].items())
    ]
    return [
        "",
        f"## {what}",
        "",
        f"Fitting and encoding {sum(times['encode_seconds'].values()):.1f} s, figures {times['judge_seconds']:.1f} s; "
        f"{judged:,} pixels judged, {each:.1f} ns a pixel and mode; all modes share {pixels['shared_seconds']:.2f} s.",
        "",
        markdown_table(["mode", "seconds", "ns a pixel"], rows),
    ]


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
