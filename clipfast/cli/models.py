"""`clipfast models`: versions of heads, banks and weights: which is in use, which is better, forward and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from clipfast.cli.checks import Check, shares_check, show_checks
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, out, print_json
from clipfast.cli.copy_options import names_of
from clipfast.cli.label_options import LabelsOption
from clipfast.cli.messages import Speaker, takes_language
from clipfast.cli.models_look import (
    CandidateArgument,
    FolderOption,
    Looked,
    LookOptions,
    candidate_named,
    kind_named,
    labelled,
    look_checks,
    looked,
    opened_registry,
    require_useful,
    show_looked,
    takes_look_options,
)
from clipfast.cli.workflow_options import RULE
from clipfast.errors import ClipfastError
from clipfast.retrieval.labelled import LABELLED_FOLDER

if TYPE_CHECKING:
    from clipfast.retrieval.registry import Event, Registry

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

NoteOption = Annotated[str | None, typer.Option("--note", help="Why; goes into the history.")]


@app.callback()
def _group() -> None:
    """Versions of heads, banks and weights: list, compare, promote, go back."""


@app.command("list")
@takes_language()
def show(
    *,
    models: FolderOption = None,
    labels: LabelsOption = LABELLED_FOLDER,
    say: Speaker,
    json: JsonOption = False,
) -> None:
    """List what is in use, and all that happened."""
    registry = opened_registry(models)
    events, current = registry.history(), registry.current()
    due = _due(registry, labels)
    checks = _state_checks(say, registry, due)
    if json:
        print_json(
            {
                "models": registry.root.as_posix(),
                "current": current.versions,
                "generation": current.generation,
                "history": events,
                "retrain": due,
                "checks": checks,
            }
        )
        return
    out.print(say("models_title", path=registry.root))
    for kind, version in current.versions.items():
        out.print(say("models_in_use", kind=kind, version=version))
    if not current.versions:
        out.print(say("models_none"))
    if events:
        out.print(_table(say, events))
    if due is not None:
        out.print(say("models_due" if due["due"] else "models_not_due", **due))
    out.print(RULE)
    show_checks(checks)


@app.command()
@takes_language()
@takes_clip_options()
@takes_look_options
def compare(
    candidate: CandidateArgument,
    *,
    say: Speaker,
    look: LookOptions,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Measure a candidate against what is in use. Each look at an evaluation set is counted; 52 may be taken."""
    with clip_options.load() as clip:
        registry = opened_registry(look.models)
        kind, file = candidate_named(registry, candidate, look.kind)
        found = looked(say, registry, clip, (kind, file), look)
    checks = look_checks(say, found.gain)
    if json:
        print_json({"candidate": file.as_posix(), "kind": kind, **found.summary(), "checks": checks})
        return
    show_looked(say, kind, found)
    show_checks(checks)


@app.command()
@takes_language()
@takes_clip_options()
@takes_look_options
def promote(
    candidate: CandidateArgument,
    *,
    because: Annotated[
        str | None,
        typer.Option("--because", help="Promote without a proven gain, for this reason; it goes into the history."),
    ] = None,
    say: Speaker,
    look: LookOptions,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Put a candidate to use, if it is proven to be better. The first bank and the first weights need no proof."""
    from clipfast.retrieval.live import declared_in_file

    with clip_options.load() as clip:
        registry = opened_registry(look.models)
        kind, file = candidate_named(registry, candidate, look.kind)
        require_useful(registry, clip, (kind, file), look.rules)
        found = Looked(retired=registry.retired(kind))
        if because is None and registry.needs_proof(kind):
            found = looked(say, registry, clip, (kind, file), look)
        declared = {*names_of(look.not_a_copy), *(each.path for each in declared_in_file(kind, file))}
        promoted = registry.promote(
            kind,
            file,
            gain=found.gain,
            eval_version=found.eval_version,
            note=because,
            samples=labelled(look.labels),
            declared=declared,
        )
    checks = [*look_checks(say, found.gain), *_use_checks(say, registry)]
    if json:
        summary = {"promoted": promoted, "kind": kind, "note": because, **found.summary()}
        print_json(summary | {"current": registry.current().versions, "checks": checks})
        return
    out.print(say("models_promoted", version=promoted))
    show_looked(say, kind, found)
    _show_use(say, registry, checks)


@app.command()
@takes_language()
def rollback(
    kind: Annotated[str, typer.Argument(help="head, bank or alpha.")],
    *,
    to: Annotated[str | None, typer.Option("--to", help="A version, or none; default: what was in use before.")] = None,
    models: FolderOption = None,
    note: NoteOption = None,
    say: Speaker,
    json: JsonOption = False,
) -> None:
    """Go back to what was in use before; a head or weights may also be taken out of use: --to none --note WHY."""
    from clipfast.retrieval.registry import NONE

    registry = opened_registry(models)
    version = registry.rollback(kind_named(kind), to=to, note=note)
    checks = _use_checks(say, registry)
    if json:
        print_json({"kind": kind, "version": version, "current": registry.current().versions, "checks": checks})
        return
    out.print(say("models_out", kind=kind) if version == NONE else say("models_back", version=version))
    _show_use(say, registry, checks)


def _show_use(say: Speaker, registry: Registry, checks: list[Check]) -> None:
    out.print(RULE)
    for kind, version in registry.current().versions.items():
        out.print(say("models_in_use", kind=kind, version=version))
    out.print(RULE)
    show_checks(checks)


def _use_checks(say: Speaker, registry: Registry) -> list[Check]:
    """Return the check points of what is in use: a bank is, and every file is there."""
    versions = registry.current().versions
    harmed = []
    for version in versions.values():
        try:
            registry.file(version)
        except ClipfastError:
            harmed.append(version)
    return [
        Check(say("check_bank_used"), "bank" in versions, versions.get("bank", say("models_none").strip())),
        shares_check(say, "check_versions", len(versions), harmed),
    ]


def _state_checks(say: Speaker, registry: Registry, due: dict[str, Any] | None) -> list[Check]:
    from clipfast.retrieval.promotion import LOOKS

    looks = [event.gain.look for event in registry.history() if event.gain is not None]
    last = looks[-1] if looks else 0
    new = say("check_due_unknown") if due is None else str(due["new"])
    return [
        *_use_checks(say, registry),
        Check(say("check_looks"), last < LOOKS, say("models_looks", look=last, looks=LOOKS)),
        Check(say("check_due"), due is None or not due["due"], new),
    ]


def _due(registry: Registry, labels: Path) -> dict[str, Any] | None:
    """Say how many labels the last head that was compared or promoted has not seen; None where nobody knows."""
    from clipfast.retrieval.head import LinearHead
    from clipfast.retrieval.labelstats import RETRAIN_AFTER, new_since

    if not labels.is_dir():
        return None
    heads = [
        event.version for event in registry.history() if event.kind == "head" and event.action in ("compare", "promote")
    ]
    try:
        seen = LinearHead.load(registry.file(heads[-1])).trained_on if heads else ()
    except ClipfastError:  # its file is gone or changed, which a check point says
        return None
    new = new_since(labels, seen)
    return {"new": new, "wanted": RETRAIN_AFTER, "due": new >= RETRAIN_AFTER}


def _table(say: Speaker, events: list[Event]) -> Table:
    table = Table(title=say("models_history"))
    for key in ("column_when", "column_who", "column_what", "column_version", "column_gain"):
        table.add_column(say(key))
    for event in events:
        gain = event.gain
        shown = event.note or ""
        if gain is not None:
            low, high = gain.interval.low, gain.interval.high
            shown = f"{gain.interval.estimate:+z.1%} ({low:+z.1%} … {high:+z.1%}) {shown}".strip()
        if event.declared:
            shown = f"{shown} --not-a-copy {', '.join(event.declared)}".strip()
        table.add_row(event.when[:16].replace("T", " "), event.who, say(f"action_{event.action}"), event.version, shown)
    return table
