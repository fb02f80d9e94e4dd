"""`clipfast models`: versions of heads, banks and weights: which is in use, which is better, forward and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.table import Table

from clipfast.cli.bank_summary import Check, show_checks
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, out, print_json, progress_bar
from clipfast.cli.head import DEFAULT_FOLDER
from clipfast.cli.messages import LangOption, Speaker, in_language
from clipfast.cli.workflow_options import RULE, RulesOption
from clipfast.errors import DataError

if TYPE_CHECKING:
    from clipfast.retrieval.promotion import Gain
    from clipfast.retrieval.registry import Event, Kind, Registry
    from clipfast.runtime.clip import Clip

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

DEFAULT_EVAL_SET = Path("data/eval_set.jsonl")
RETRAIN_AFTER = 20

FolderOption = Annotated[
    Path | None, typer.Option("--models", help="Folder of versions; default: CLIPFAST_MODELS, else data/models.")
]
EvalOption = Annotated[Path, typer.Option("--eval-set", help="The frozen evaluation set, JSONL.")]
KindOption = Annotated[
    str | None, typer.Option("--kind", help="head, bank or alpha; default: what the file says it is.")
]
SamplesOption = Annotated[
    int | None,
    typer.Option("--samples", min=0, help="Labelled samples there are now; default: those in data/patches/labeled."),
]
NoteOption = Annotated[str | None, typer.Option("--note", help="Why; goes into the history.")]
CandidateArgument = Annotated[str, typer.Argument(help="A file (head, bank, or fitted weights), or a version's name.")]


@app.callback()
def _group() -> None:
    """Versions of heads, banks and weights: list, compare, promote, go back."""


@app.command("list")
def show(
    *,
    models: FolderOption = None,
    samples: SamplesOption = None,
    lang: LangOption = "en",
    json: JsonOption = False,
) -> None:
    """List what is in use, and all that happened."""
    say = Speaker.of(lang)
    with in_language(lang):
        registry = _registry(models)
        events, current = registry.history(), registry.current()
    labelled = _labelled(samples)
    due = None if labelled is None else _due(events, labelled)
    if json:
        print_json(
            {
                "models": registry.root.as_posix(),
                "current": current.versions,
                "generation": current.generation,
                "history": events,
                "retrain": due,
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


@app.command()
@takes_clip_options()
def compare(
    candidate: CandidateArgument,
    *,
    models: FolderOption = None,
    eval_set: EvalOption = DEFAULT_EVAL_SET,
    kind: KindOption = None,
    rules: RulesOption = "fine",
    samples: SamplesOption = None,
    lang: LangOption = "en",
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Measure a candidate against what is in use. Each look at an evaluation set is counted; 52 may be taken."""
    say = Speaker.of(lang)
    with in_language(lang), clip_options.load() as clip:
        registry = _registry(models)
        what, file = _candidate(registry, candidate, kind)
        gain, version = _looked(say, registry, clip, (what, file, rules), eval_set, _labelled(samples))
    _report(say, gain, {"candidate": file.as_posix(), "kind": what, "eval_version": version}, json=json)


@app.command()
@takes_clip_options()
def promote(
    candidate: CandidateArgument,
    *,
    models: FolderOption = None,
    eval_set: EvalOption = DEFAULT_EVAL_SET,
    kind: KindOption = None,
    rules: RulesOption = "fine",
    samples: SamplesOption = None,
    because: Annotated[
        str | None,
        typer.Option("--because", help="Promote without a proven gain, for this reason; it goes into the history."),
    ] = None,
    lang: LangOption = "en",
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Put a candidate to use, if it is proven to be better. The first bank needs no proof."""
    say = Speaker.of(lang)
    gain: Gain | None = None
    version: str | None = None
    with in_language(lang), clip_options.load() as clip:
        registry = _registry(models)
        what, file = _candidate(registry, candidate, kind)
        _require_readable(clip, what, file)
        labelled = _labelled(samples)
        if _has_present(registry, what) and because is None:
            gain, version = _looked(say, registry, clip, (what, file, rules), eval_set, labelled)
        promoted = registry.promote(what, file, gain=gain, eval_version=version, note=because, samples=labelled)
    summary = {"promoted": promoted, "kind": what, "eval_version": version, "note": because}
    if not json:
        out.print(say("models_promoted", version=promoted))
    _report(say, gain, summary, json=json)


@app.command()
def rollback(
    kind: Annotated[str, typer.Argument(help="head, bank or alpha.")],
    *,
    to: Annotated[str | None, typer.Option("--to", help="A version; default: what was in use before.")] = None,
    models: FolderOption = None,
    note: NoteOption = None,
    lang: LangOption = "en",
    json: JsonOption = False,
) -> None:
    """Go back to what was in use before."""
    say = Speaker.of(lang)
    with in_language(lang):
        version = _registry(models).rollback(_kind(kind), to=to, note=note)
    if json:
        print_json({"kind": kind, "version": version})
        return
    out.print(say("models_back", version=version))


def _labelled(samples: int | None) -> int | None:
    """Return how many samples are labelled, so that retraining can suggest itself; None where there is no folder."""
    from clipfast.datasets.folders import scan_fabrics

    if samples is not None or not DEFAULT_FOLDER.is_dir():
        return samples
    return sum(len(paths) for paths in scan_fabrics(DEFAULT_FOLDER).fabrics.values())


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
        raise DataError(f"{path} must be a head or bank (.npz) or fitted weights (.json). Say which with --kind.")
    return ("bank" if "embeddings" in load_sealed_npz(path, kind="bank or head") else "head"), path


def _has_present(registry: Registry, kind: Kind) -> bool:
    """Whether there is something to compare with: the first head or α is compared with the bank alone.

    Raises:
        DataError: There is no bank yet, and the candidate is none.
    """
    bank = "bank" in registry.current().versions
    if not bank and kind != "bank":
        raise DataError("No bank is in use yet. Promote it first: clipfast models promote data/fabric_bank.npz")
    return bank


def _require_readable(clip: Clip, kind: Kind, file: Path) -> None:
    """Refuse a file that could not be used, before it is put to use."""
    from clipfast.retrieval import FabricBank
    from clipfast.retrieval.fused import FittedFusion
    from clipfast.retrieval.head import LinearHead

    if kind == "bank":
        FabricBank.load(file, clip)
    elif kind == "head":
        LinearHead.load(file, clip)
    else:
        FittedFusion.load(file)


def _looked(
    say: Speaker,
    registry: Registry,
    clip: Clip,
    candidate: tuple[Kind, Path, str],
    eval_set: Path,
    samples: int | None,
) -> tuple[Gain, str]:
    from clipfast.cli.workflow_options import rules_named, with_useful_rules
    from clipfast.retrieval.evalset import EvalSet
    from clipfast.retrieval.live import measure_gain, promoted_voices, with_candidate

    kind, file, rules = candidate
    held = EvalSet.load(eval_set)
    present = with_useful_rules(say, promoted_voices(registry, clip, rules_named(rules)), held)
    other = with_candidate(present, kind, file, clip)

    with progress_bar(say("asking")) as progress:
        gain = registry.look(
            kind,
            file,
            held.version,
            lambda look: measure_gain(present, other, held, look=look, progress=progress),
            samples=samples,
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


def _due(events: list[Event], samples: int) -> dict[str, Any]:
    """Say whether enough was labelled since the last head that was compared or promoted."""
    at = [event.samples for event in events if event.kind == "head" and event.samples is not None]
    new = samples - (at[-1] if at else 0)
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
            shown = f"{gain.interval.estimate:+.1%} ({low:+.1%} … {high:+.1%}) {shown}".strip()
        table.add_row(event.when[:16].replace("T", " "), event.who, event.action, event.version, shown)
    return table
