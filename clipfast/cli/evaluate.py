"""`clipfast evaluate`: rules, photos and head on an evaluation set, side by side."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from clipfast.cli.checks import Check, show_checks
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, note, out, print_json, progress_bar
from clipfast.cli.copy_options import NotACopyOption, PhotosOption, names_of
from clipfast.cli.error_messages import wrong_usage
from clipfast.cli.messages import Speaker, takes_language
from clipfast.cli.voice_options import VoiceOptions, takes_voice_options, with_useful_rules
from clipfast.cli.workflow_options import RULE, numbers
from clipfast.retrieval.default import DEFAULT_FOLDER

if TYPE_CHECKING:
    from clipfast.retrieval.evalset import EvalSample
    from clipfast.retrieval.evaluation import Evaluation, PhaseResult
    from clipfast.retrieval.fusion import Voices

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_GOOD_TOP = {1: 0.75, 3: 0.9}  # of the owner's check points
_SHOWN_CONFUSIONS = 5
_SLOW_MS = 100.0  # of the owner's document: an answer of a warm process


def _ks(text: str) -> str:
    what = "whole numbers from 1 with commas, such as 1,3,5"
    if min(numbers(text, what=what, option="--topk")) < 1:
        raise wrong_usage(f"must be {what}; got {text!r}", "bad_topk", got=text)
    return text


@app.command()
@takes_language()
@takes_clip_options()
@takes_voice_options()
def evaluate(
    eval_set: Annotated[Path, typer.Argument(help="The evaluation set, JSONL.")] = Path("data/eval_set.jsonl"),
    *,
    topk: Annotated[str, typer.Option("--topk", callback=_ks, help="Which top-k, with commas.")] = "1,3,5",
    photos: PhotosOption = DEFAULT_FOLDER,
    not_a_copy: NotACopyOption = None,
    out_path: Annotated[Path | None, typer.Option("--out", help="Folder for results that compare takes.")] = None,
    say: Speaker,
    voice_options: VoiceOptions,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Measure top-k, MRR, confusions and latency of each phase on pictures that nothing was made of."""
    from clipfast.retrieval.evalset import EvalSet
    from clipfast.retrieval.evaluation import evaluate as measure

    ks = tuple(sorted(set(numbers(topk, what="numbers", option="--topk"))))
    held = EvalSet.load(eval_set)
    with clip_options.load() as clip:
        voices = replace(voice_options.open(clip), photos=photos, not_copies=names_of(not_a_copy))
        voices = with_useful_rules(say, voices, held)
        note(say("processing", count=len(held)))
        with progress_bar(say("asking")) as progress:
            found = measure(held, voices, ks=ks, progress=progress)
    checks = _checks(say, found)
    summary = _summary(found, voices, eval_set, checks)
    if out_path is not None:
        from clipfast.report.results import RESULT_FILES, write_json

        write_json(out_path / RESULT_FILES["evaluate"], summary)
    if json:
        print_json(summary)
        return
    _show(say, found, eval_set)
    _advise(say, found, voices)
    show_checks(checks)


def _advise(say: Speaker, found: Evaluation, voices: Voices) -> None:
    """Say what can be done about two troubles that raise no error: fusion answers worse, and answers are slow."""
    firsts = [(phase.name, np.mean(np.array(phase.ranks) == 1)) for phase in found.phases]
    for (than, before), (better, after) in pairwise(firsts):
        if after < before:
            held = {voices.owners.get(name, name) for name in voices.bank.references.names}
            lacks = sorted({s.label for s in found.asked if voices.owners.get(s.label, s.label) not in held})
            shown = say("fusion_lacks", names=", ".join(lacks)) if lacks else say("fusion_lacks_none")
            values = {"better": better, "than": than, "before": float(before), "after": float(after)}
            out.print(say("fusion_worse", alpha=voices.fusion.alpha, lacks=shown, **values), style="yellow")
    slowest = max(found.phases, key=lambda phase: phase.latency.p50_ms)
    if slowest.latency.p50_ms > _SLOW_MS:
        values = {"took": slowest.latency.p50_ms, "wanted": _SLOW_MS}
        out.print(say("retrieval_slow", phase=slowest.name, **values), style="yellow")


def _checks(say: Speaker, found: Evaluation) -> list[Check]:
    last = found.phases[-1]
    checks = [
        Check(say(f"check_top{k}"), last.top[k].estimate > wanted, f"{last.top[k].estimate:.1%} ({last.name})")
        for k, wanted in _GOOD_TOP.items()
        if k in last.top
    ]
    checks.append(Check(say("check_errors"), not found.errors, str(len(found.errors))))
    for pair in found.comparisons[: len(found.phases) - 1]:
        found_out = f"{pair.gain.difference:+z.1%}, p = {pair.mcnemar.p_value:.3g}"
        checks.append(Check(say("check_better", better=pair.better, than=pair.than), pair.proven, found_out))
    return checks


def _show(say: Speaker, found: Evaluation, path: Path) -> None:
    out.print(RULE)
    out.print(say("eval_title"))
    out.print(RULE)
    out.print(say("eval_set", path=path))
    out.print(say("eval_version", version=found.eval_version).strip())
    out.print(_table(say, found))
    out.print(say("eval_samples", count=found.total).strip())
    out.print(say("processed", count=found.processed))
    if found.photos < found.processed:
        out.print(say("eval_photos", patches=found.processed, photos=found.photos))
    for name, image in found.declared:
        out.print(say("declared", path=name, image=image), style="yellow")
    out.print(say("errors", count=len(found.errors)))
    for item in found.errors:
        out.print(say("skipped", path=item.path, reason=item.reason), style="yellow")
    last = found.phases[-1]
    for k, share in last.top.items():
        right = round(share.estimate * found.processed)
        values = {"share": share.estimate, "low": share.low, "high": share.high, "right": right}
        out.print(say("top_line", k=k, total=found.processed, **values))
    for pair in found.comparisons:
        interval = pair.gain.interval
        if interval is not None:
            values = {"gain": pair.gain.difference, "low": interval.low, "high": interval.high}
            out.print(say("gain", better=pair.better, than=pair.than, p=pair.mcnemar.p_value, **values))
    doubts = found.doubts
    out.print(
        say(
            "eval_confidence",
            mean=doubts.confidence,
            error=doubts.calibration_error,
            uncertain=doubts.uncertain,
            refused=doubts.refused,
            known=doubts.known,
            noticed=doubts.noticed,
            strange=doubts.strange,
        )
    )
    _show_classes(say, last)
    if found.unknown:
        out.print(say("unknown_labels", names=", ".join(found.unknown)), style="yellow")
    out.print(RULE)


def _show_classes(say: Speaker, phase: PhaseResult) -> None:
    out.print(say("per_class", phase=phase.name))
    for name, (right, total) in phase.per_class.items():
        out.print(say("class_line", name=name, right=right, total=total))
    if phase.confusions:
        out.print(say("confusions", phase=phase.name))
    for name, other, count in phase.confusions[:_SHOWN_CONFUSIONS]:
        out.print(say("confusion_line", name=name, other=other, count=count))


def _table(say: Speaker, found: Evaluation) -> Table:
    title = say("results")
    if found.photos < found.processed:
        title += say("results_of", patches=found.processed, photos=found.photos)
    table = Table(title=title)
    table.add_column(say("column_phase"))
    ks = list(found.phases[0].top)
    for name in (*(f"Top@{k}" for k in ks), "MRR", say("column_latency")):
        table.add_column(name, justify="right")
    for phase in found.phases:
        tops = [f"{i.estimate:.1%} ({i.low:.0%}-{i.high:.0%})" for i in phase.top.values()]
        mrr = f"{phase.mrr.estimate:.3f} ({phase.mrr.low:.2f}-{phase.mrr.high:.2f})"
        table.add_row(phase.name, *tops, mrr, f"{phase.latency.p50_ms:.1f} / {phase.latency.p95_ms:.1f}")
    return table


def _sample_id(sample: EvalSample) -> str:
    x, y = sample.coords
    return f"{sample.image}@{x},{y}/{sample.size}={sample.label}"


def _summary(found: Evaluation, voices: Voices, path: Path, checks: list[Check]) -> dict[str, Any]:
    return {
        "kind": "evaluate",
        "samples": [
            {"id": _sample_id(each), "sha256": each.sha256, "photo": owner}
            for each, owner in zip(found.asked, found.owners, strict=True)
        ],
        "eval_set": path.as_posix(),
        "eval_version": found.eval_version,
        "total": found.total,
        "processed": found.processed,
        "photos": found.photos,
        "errors": found.errors,
        "alpha": voices.fusion.alpha if voices.rules is not None else None,
        "fusion": voices.fusion,
        "rules": None if voices.rules is None else voices.rules.name,
        "model": voices.bank.model,
        "phases": [
            {
                "name": phase.name,
                "top": {str(k): share for k, share in phase.top.items()},
                "mrr": phase.mrr,
                "per_class": phase.per_class,
                "confusions": phase.confusions,
                "latency": phase.latency,
                "ranks": phase.ranks,
            }
            for phase in found.phases
        ],
        "comparisons": found.comparisons,
        "unknown": found.unknown,
        "doubts": found.doubts,
        "checks": checks,
    }
