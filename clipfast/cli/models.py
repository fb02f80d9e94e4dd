"""`clipfast models`: versions of heads, banks and weights: which is in use, which is better, forward and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.table import Table

from clipfast.cli.bank_summary import Check, shares_check, show_checks
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, out, print_json, progress_bar
from clipfast.cli.copy_options import NotACopyOption, PhotosOption, names_of
from clipfast.cli.label_options import LabelsOption
from clipfast.cli.messages import Speaker, takes_language
from clipfast.cli.option_groups import takes
from clipfast.cli.voice_options import RulesOption
from clipfast.cli.workflow_options import RULE
from clipfast.errors import ClipfastError, DataError
from clipfast.retrieval.default import DEFAULT_FOLDER
from clipfast.retrieval.labelled import LABELLED_FOLDER

if TYPE_CHECKING:
    from clipfast.retrieval.promotion import Gain
    from clipfast.retrieval.registry import Event, Kind, Registry
    from clipfast.runtime.clip import Clip

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

DEFAULT_EVAL_SET = Path("data/eval_set.jsonl")

FolderOption = Annotated[
    Path | None, typer.Option("--models", help="Folder of versions; default: CLIPFAST_MODELS, else data/models.")
]
EvalOption = Annotated[Path, typer.Option("--eval-set", help="The frozen evaluation set, JSONL.")]
KindOption = Annotated[
    str | None, typer.Option("--kind", help="head, bank or alpha; default: what the file says it is.")
]
NoteOption = Annotated[str | None, typer.Option("--note", help="Why; goes into the history.")]
CandidateArgument = Annotated[str, typer.Argument(help="A file (head, bank, or fitted weights), or a version's name.")]


@dataclass(frozen=True, slots=True)
class LookOptions:
    """How a candidate is measured, and where that is written down.

    Attributes:
        models: Folder of versions.
        eval_set: File of the evaluation set.
        kind: What the candidate is; None: what its file says.
        rules: Which rules answer with it.
        labels: Folder of labelled patches, whose number goes into the history.
        photos: Folder of the bank's photos.
        not_a_copy: Names in bank or head that are declared to be no copies of evaluation pictures.
    """

    models: Path | None
    eval_set: Path
    kind: str | None
    rules: str
    labels: Path
    photos: Path
    not_a_copy: list[Path] | None


_takes_look_options = takes(
    "look",
    LookOptions,
    {
        "models": (FolderOption, None),
        "eval_set": (EvalOption, DEFAULT_EVAL_SET),
        "kind": (KindOption, None),
        "rules": (RulesOption, "fine"),
        "labels": (LabelsOption, LABELLED_FOLDER),
        "photos": (PhotosOption, DEFAULT_FOLDER),
        "not_a_copy": (NotACopyOption, None),
    },
)


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
    registry = _registry(models)
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
@_takes_look_options
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
        registry = _registry(look.models)
        what, file = _candidate(registry, candidate, look.kind)
        gain, version = _looked(say, registry, clip, (what, file), look)
        retired = registry.retired(what)
    summary = {"candidate": file.as_posix(), "kind": what, "eval_version": version, "retired": retired}
    _report(say, gain, summary, json=json)


@app.command()
@takes_language()
@takes_clip_options()
@_takes_look_options
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

    gain: Gain | None = None
    version: str | None = None
    with clip_options.load() as clip:
        registry = _registry(look.models)
        what, file = _candidate(registry, candidate, look.kind)
        _require_useful(registry, clip, (what, file), look.rules)
        retired = registry.retired(what)
        if because is None and registry.needs_proof(what):
            gain, version = _looked(say, registry, clip, (what, file), look)
        samples = _labelled(look.labels)
        declared = {*names_of(look.not_a_copy), *(each.path for each in declared_in_file(what, file))}
        promoted = registry.promote(
            what, file, gain=gain, eval_version=version, note=because, samples=samples, declared=declared
        )
    summary = {"promoted": promoted, "kind": what, "eval_version": version, "note": because, "retired": retired}
    if not json:
        out.print(say("models_promoted", version=promoted))
    _report(say, gain, summary, json=json)


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
    version = _registry(models).rollback(_kind(kind), to=to, note=note)
    if json:
        print_json({"kind": kind, "version": version})
        return
    out.print(say("models_back", version=version))


def _labelled(folder: Path) -> int | None:
    """Return how many samples are labelled; None where there is no folder."""
    from clipfast.retrieval.labelstats import label_counts

    return sum(label_counts(folder).values()) if folder.is_dir() else None


def _registry(folder: Path | None) -> Registry:
    from clipfast.retrieval.registry import Registry, default_registry_path

    return Registry(folder or default_registry_path())


def _kind(text: str) -> Kind:
    from clipfast.retrieval.registry import KINDS

    found = next((kind for kind in KINDS if kind == text), None)
    if found is None:
        raise typer.BadParameter(f"must be {', '.join(KINDS)}; got {text!r}")
    return found


def _candidate(registry: Registry, text: str, kind: str | None) -> tuple[Kind, Path]:
    """Find a candidate and what it is: by its version's name, by --kind, or by what is in the file."""
    from clipfast.retrieval.registry import KINDS
    from clipfast.storage import load_sealed_npz

    path = Path(text)
    if path.is_dir():
        raise DataError(f"{path} is a folder; versions are files. Save the bank as a .npz, of at most 100,000 photos.")
    if not path.is_file():
        file = registry.file(text)
        return _kind(text.split("-", 1)[0]), file
    if kind is not None:
        return _kind(kind), path
    if path.suffix == KINDS["alpha"]:
        return "alpha", path
    if path.suffix != KINDS["bank"]:
        raise DataError(
            f"{path} must be a head or bank (.npz) or fitted weights (.json). Say which with --kind.",
            code="not_candidate",
        )
    return ("bank" if "embeddings" in load_sealed_npz(path, kind="bank or head") else "head"), path


def _require_bank(registry: Registry, kind: Kind) -> None:
    """Refuse a head or weights before there is a bank: they are compared with it, and answer with it."""
    if kind != "bank" and "bank" not in registry.current().versions:
        raise DataError(
            "No bank is in use yet. Promote it first: clipfast models promote data/fabric_bank.npz",
            code="no_bank_in_use",
        )


def _require_useful(registry: Registry, clip: Clip, candidate: tuple[Kind, Path], rules: str) -> None:
    """Refuse a file that could not be used with the others in use, before it is put to use."""
    from clipfast.cli.voice_options import rules_named
    from clipfast.retrieval.live import promoted_voices

    _require_bank(registry, candidate[0])
    promoted_voices(registry, clip, rules_named(rules), candidate=candidate)


def _looked(
    say: Speaker,
    registry: Registry,
    clip: Clip,
    candidate: tuple[Kind, Path],
    look: LookOptions,
) -> tuple[Gain, str]:
    from clipfast.cli.voice_options import rules_named, with_useful_rules
    from clipfast.retrieval.evalset import EvalSet
    from clipfast.retrieval.live import declared_in, measure_gain, promoted_voices, with_candidate
    from clipfast.retrieval.registry import Setting

    kind, file = candidate
    held = EvalSet.load(look.eval_set)
    named = names_of(look.not_a_copy)
    present = replace(promoted_voices(registry, clip, rules_named(look.rules)), photos=look.photos, not_copies=named)
    present = with_useful_rules(say, present, held)
    other = with_candidate(present, kind, file, clip)

    with progress_bar(say("asking")) as progress:
        gain = registry.look(
            kind,
            file,
            held.version,
            lambda number: measure_gain(present, other, held, look=number, progress=progress),
            samples=_labelled(look.labels),
            setting=Setting(
                None if present.rules is None else present.rules.sha256,
                held.pictures,
                held.looks,
                {*named, *(each.path for each in declared_in(other))},
            ),
        )
    return gain, held.version


def _report(say: Speaker, gain: Gain | None, summary: dict[str, Any], *, json: bool) -> None:
    checks = [] if gain is None else _checks(say, gain)
    if json:
        found = None if gain is None else msgspec.to_builtins(gain) | {"proven": gain.proven}
        print_json(summary | {"gain": found, "checks": checks})
        return
    if gain is not None:
        out.print(RULE)
        before, after = gain.accuracies
        out.print(say("models_accuracy", before=before, after=after))
        interval = gain.interval
        values = {"gain": interval.estimate, "low": interval.low, "high": interval.high, "share": interval.confidence}
        out.print(say("models_gain", better=gain.better, worse=gain.worse, photos=gain.photos, **values))
        if summary["retired"] is not None:
            out.print(say("models_retired", kind=summary["kind"], version=summary["retired"]), style="yellow")
        show_checks(checks)


def _checks(say: Speaker, gain: Gain) -> list[Check]:
    from clipfast.retrieval.promotion import LOOKS, smallest_lead

    changed = gain.better + gain.worse
    needed = smallest_lead(changed, gain.look)
    lead = say("models_no_lead", changed=changed) if needed is None else say("models_lead", needed=needed, of=changed)
    return [
        Check(say("check_proven"), gain.proven, lead),
        Check(say("check_looks"), gain.look <= LOOKS, say("models_looks", look=gain.look, looks=LOOKS)),
    ]


def _state_checks(say: Speaker, registry: Registry, due: dict[str, Any] | None) -> list[Check]:
    from clipfast.retrieval.promotion import LOOKS

    versions = registry.current().versions
    harmed = []
    for version in versions.values():
        try:
            registry.file(version)
        except ClipfastError:
            harmed.append(version)
    looks = [event.gain.look for event in registry.history() if event.gain is not None]
    last = looks[-1] if looks else 0
    new = say("check_due_unknown") if due is None else str(due["new"])
    return [
        Check(say("check_bank_used"), "bank" in versions, versions.get("bank", say("models_none").strip())),
        shares_check(say, "check_versions", len(versions), harmed),
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
