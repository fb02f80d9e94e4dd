"""Run the study: what is named, and whether the estimated share of wrong labels is right, over seeds and shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

import clipfast.diagnostics
from clipfast.diagnostics import Diagnosis, Predictions, diagnose
from clipfast.diagnostics.rules import default_rules_text
from clipfast.metrics.intervals import wilson_interval
from clipfast.provenance import digest
from clipfast.storage import atomic_write

Fault = tuple[str, float]  # and the share of samples that have it


@dataclass(frozen=True)
class Case:
    """One diagnosis of the study.

    `name` says what was planted, `wanted` are the causes that should be named (nothing is right only where it is
    empty), `noise` is the true share of wrong labels, or None where it is not known.
    """

    name: str
    share: float
    wanted: tuple[str, ...]
    noise: float | None
    make: Callable[[], Predictions]


@dataclass(frozen=True)
class Outcome:
    """What a diagnosis said of a case."""

    run: int
    name: str
    share: float
    first: bool  # the cause named first is the wanted one; of a clean set: nothing is named
    found: bool  # all wanted causes are named
    named: tuple[str, ...]
    counts: dict[str, int]
    undecided: int
    wrong: int
    accuracy: float
    noise: tuple[float, float, float] | None
    noise_inside: bool | None


@dataclass(frozen=True)
class _Kept:
    run: int
    setting: str
    outcomes: tuple[Outcome, ...]


def judge(run: int, case: Case, found: Diagnosis) -> Outcome:
    """Compare a diagnosis with what was planted."""
    named = tuple(finding.cause for finding in found.triage.raised)
    ratio = found.label_noise.ratio if found.label_noise else None
    inside = None if case.noise is None or ratio is None else ratio.low <= case.noise <= ratio.high
    return Outcome(
        run=run,
        name=case.name,
        share=case.share,
        first=named[0] in case.wanted if case.wanted and named else not (case.wanted or named),
        found=set(case.wanted) <= set(named) if case.wanted else not named,
        named=named,
        counts={finding.cause: finding.samples for finding in found.triage.findings},
        undecided=found.triage.undecided,
        wrong=found.wrong,
        accuracy=found.accuracy.estimate,
        noise=None if ratio is None else (ratio.low, ratio.estimate, ratio.high),
        noise_inside=inside,
    )


def run_all(
    runs: Iterable[tuple[int, Callable[[], Sequence[Case]]]], setting: Sequence[str], path: Path | None
) -> Iterator[Outcome]:
    """Diagnose the cases of every run; runs that `path` holds, of this setting, rules and code, are read from it.

    Args:
        runs: Seed of each run, and what makes its cases.
        setting: What else the outcomes depend on: model, sizes, shares.
        path: JSON lines, one a finished run; None keeps nothing.
    """
    key = digest([default_rules_text(), *_code(), *setting])
    kept: dict[int, _Kept] = {}
    if path is not None and path.is_file():
        held = [msgspec.json.decode(line, type=_Kept) for line in path.read_bytes().splitlines()]
        kept = {each.run: each for each in held if each.setting == key}
    for seed, cases in runs:
        if seed not in kept:
            kept[seed] = _Kept(seed, key, tuple(judge(seed, case, diagnose(case.make())) for case in cases()))
            if path is not None:
                lines = [msgspec.json.encode(kept[run]) + b"\n" for run in sorted(kept)]
                with atomic_write(path) as temporary:
                    temporary.write_bytes(b"".join(lines))
        yield from kept[seed].outcomes


def _code() -> list[str]:
    """Return the text of everything that judges or plants, so that an older outcome is not taken for this version's."""
    folders = (Path(clipfast.diagnostics.__file__).parent, Path(__file__).parent)
    return [path.read_text(encoding="utf-8") for folder in folders for path in sorted(folder.glob("*.py"))]


def table(outcomes: Sequence[Outcome]) -> str:
    """Return how often each case went right, with 95 % Wilson intervals over runs, as a Markdown table."""
    lines = [
        "| planted | share | runs | named first | all named | wrong labels inside the interval | mean accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, share in dict.fromkeys((each.name, each.share) for each in outcomes):
        mine = [each for each in outcomes if (each.name, each.share) == (name, share)]
        known = [each.noise_inside for each in mine if each.noise_inside is not None]
        accuracy = sum(each.accuracy for each in mine) / len(mine)
        lines.append(
            f"| {name} | {share:.0%} | {len(mine)} | {_share([each.first for each in mine])} | "
            f"{_share([each.found for each in mine])} | {_share(known) if known else '-'} | {accuracy:.3f} |"
        )
    return "\n".join(lines)


def _share(hits: Sequence[bool]) -> str:
    found = wilson_interval(sum(hits), len(hits))
    return f"{100 * found.estimate:.0f} % [{100 * found.low:.0f}, {100 * found.high:.0f}]"
