"""A candidate of `clipfast models`: which file it is, and how much better it is than what is in use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from clipfast.cli.checks import Check
from clipfast.cli.console import out, progress_bar
from clipfast.cli.copy_options import NotACopyOption, PhotosOption, names_of
from clipfast.cli.error_messages import wrong_usage
from clipfast.cli.label_options import LabelsOption
from clipfast.cli.messages import Speaker
from clipfast.cli.option_groups import takes
from clipfast.cli.voice_options import RulesOption
from clipfast.cli.workflow_options import RULE
from clipfast.errors import DataError
from clipfast.retrieval.default import DEFAULT_FOLDER
from clipfast.retrieval.labelled import LABELLED_FOLDER

if TYPE_CHECKING:
    from clipfast.retrieval.promotion import Gain
    from clipfast.retrieval.registry import Kind, Registry
    from clipfast.runtime.clip import Clip

__all__ = [
    "CandidateArgument",
    "FolderOption",
    "LookOptions",
    "Looked",
    "candidate_named",
    "kind_named",
    "labelled",
    "look_checks",
    "looked",
    "opened_registry",
    "require_useful",
    "show_looked",
    "takes_look_options",
]

DEFAULT_EVAL_SET = Path("data/eval_set.jsonl")

FolderOption = Annotated[
    Path | None, typer.Option("--models", help="Folder of versions; default: CLIPFAST_MODELS, else data/models.")
]
EvalOption = Annotated[Path, typer.Option("--eval-set", help="The frozen evaluation set, JSONL.")]
KindOption = Annotated[
    str | None, typer.Option("--kind", help="head, bank or alpha; default: what the file says it is.")
]
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


takes_look_options = takes(
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


@dataclass(frozen=True, slots=True)
class Looked:
    """What a comparison found.

    Attributes:
        gain: Of the candidate; None where it needed no proof.
        eval_version: Of the evaluation set.
        retired: What was taken out of use last, of the candidate's kind, where nothing is in use.
        compared_with: The same, where the candidate was compared with that, too.
    """

    gain: Gain | None = None
    eval_version: str | None = None
    retired: str | None = None
    compared_with: str | None = None

    def summary(self) -> dict[str, Any]:
        """Return it for `--json`."""
        found = None if self.gain is None else msgspec.to_builtins(self.gain) | {"proven": self.gain.proven}
        named = {"eval_version": self.eval_version, "retired": self.retired, "compared_with": self.compared_with}
        return {"gain": found, **named}


def labelled(folder: Path) -> int | None:
    """Return how many samples are labelled; None where there is no folder."""
    from clipfast.retrieval.labelstats import label_counts

    return sum(label_counts(folder).values()) if folder.is_dir() else None


def opened_registry(folder: Path | None) -> Registry:
    """Return the folder of versions that was named, or the one of all commands.

    Raises:
        DataError: A file is there.
    """
    from clipfast.retrieval.registry import Registry, default_registry_path

    found = folder or default_registry_path()
    if found.is_file():
        raise DataError(f"{found} is a file; --models must name a folder of versions.", code="no_folder", path=found)
    return Registry(found)


def kind_named(text: str) -> Kind:
    """Return a kind of version by its name.

    Raises:
        typer.BadParameter: It is none.
    """
    from clipfast.retrieval.registry import KINDS

    found = next((kind for kind in KINDS if kind == text), None)
    if found is None:
        known = ", ".join(KINDS)
        raise wrong_usage(f"must be {known}; got {text!r}", "bad_kind", option="KIND", known=known, got=text)
    return found


def candidate_named(registry: Registry, text: str, kind: str | None) -> tuple[Kind, Path]:
    """Find a candidate and what it is: by its version's name, by --kind, or by what is in the file."""
    from clipfast.retrieval.registry import KINDS
    from clipfast.storage import load_sealed_npz

    path = Path(text)
    if path.is_dir():
        raise DataError(
            f"{path} is a folder; versions are files. Save the bank as a .npz, of at most 100,000 photos.",
            code="candidate_folder",
            path=path,
        )
    if not path.is_file():
        file = registry.file(text)
        return kind_named(text.split("-", 1)[0]), file
    if kind is not None:
        return kind_named(kind), path
    if path.suffix == KINDS["alpha"]:
        return "alpha", path
    if path.suffix != KINDS["bank"]:
        raise DataError(
            f"{path} must be a head or bank (.npz) or fitted weights (.json). Say which with --kind.",
            code="not_candidate",
            path=path,
        )
    return ("bank" if "embeddings" in load_sealed_npz(path, kind="bank or head") else "head"), path


def require_useful(registry: Registry, clip: Clip, candidate: tuple[Kind, Path], rules: str) -> None:
    """Refuse a file that could not be used with the others in use, before it is put to use."""
    from clipfast.cli.voice_options import rules_named
    from clipfast.retrieval.live import promoted_voices

    _require_bank(registry, candidate[0])
    promoted_voices(registry, clip, rules_named(rules), candidate=candidate)


def looked(say: Speaker, registry: Registry, clip: Clip, candidate: tuple[Kind, Path], look: LookOptions) -> Looked:
    """Compare a candidate with what is in use, and with what was taken out of use if nothing is."""
    from clipfast.cli.voice_options import rules_named, with_useful_rules
    from clipfast.retrieval.evalset import EvalSet
    from clipfast.retrieval.live import declared_in, measure_gain, promoted_voices, retired_voices, with_candidate
    from clipfast.retrieval.registry import Setting

    kind, file = candidate
    held, beside = EvalSet.load(look.eval_set), registry.current().versions
    named = names_of(look.not_a_copy)
    in_use = promoted_voices(registry, clip, rules_named(look.rules), versions=beside)
    present = with_useful_rules(say, replace(in_use, photos=look.photos, not_copies=named), held)
    other = with_candidate(present, kind, file, clip)
    out_of_use = retired_voices(registry, present, (kind, file), clip)
    name, before = out_of_use if out_of_use is not None else (None, None)
    with progress_bar(say("asking")) as progress:
        gain = registry.look(
            kind,
            file,
            held.version,
            lambda number: measure_gain(present, other, held, look=number, progress=progress, retired=before),
            samples=labelled(look.labels),
            setting=Setting(
                rules=None if present.rules is None else present.rules.sha256,
                pictures=held.pictures,
                retired=name,
                beside=beside,
                looks=held.looks,
                declared={*named, *(each.path for each in declared_in(other))},
            ),
        )
    return Looked(gain, held.version, registry.retired(kind), name)


def show_looked(say: Speaker, kind: Kind, found: Looked) -> None:
    """Write what a comparison found; nothing where there was none."""
    gain = found.gain
    if gain is None:
        return
    out.print(RULE)
    before, after = gain.accuracies
    out.print(say("models_accuracy", before=before, after=after))
    interval = gain.interval
    values = {"gain": interval.estimate, "low": interval.low, "high": interval.high, "share": interval.confidence}
    out.print(say("models_gain", better=gain.better, worse=gain.worse, photos=gain.photos, **values))
    if found.retired is not None:
        key = "models_retired" if found.compared_with is None else "models_retired_too"
        out.print(say(key, kind=kind, version=found.retired), style="yellow")


def look_checks(say: Speaker, gain: Gain | None) -> list[Check]:
    """Return the check points of a comparison; none where there was none."""
    from clipfast.retrieval.promotion import LOOKS, smallest_lead

    if gain is None:
        return []
    changed = gain.better + gain.worse
    needed = smallest_lead(changed, gain.look)
    lead = say("models_no_lead", changed=changed) if needed is None else say("models_lead", needed=needed, of=changed)
    return [
        Check(say("check_proven"), gain.proven, lead),
        Check(say("check_looks"), gain.look <= LOOKS, say("models_looks", look=gain.look, looks=LOOKS)),
    ]


def _require_bank(registry: Registry, kind: Kind) -> None:
    """Refuse a head or weights before there is a bank: they are compared with it, and answer with it."""
    if kind != "bank" and "bank" not in registry.current().versions:
        raise DataError(
            "No bank is in use yet. Promote it first: clipfast models promote data/fabric_bank.npz",
            code="no_bank_in_use",
            folder=registry.root,
        )
