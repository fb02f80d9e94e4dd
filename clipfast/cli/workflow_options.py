"""Options and outputs that several commands of the fabric workflow share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipfast.cli.bank_summary import Check
from clipfast.cli.console import note
from clipfast.cli.messages import Speaker

if TYPE_CHECKING:
    from clipfast.retrieval.evalset import EvalSet
    from clipfast.retrieval.fusion import Voices
    from clipfast.retrieval.rules import RuleSet
    from clipfast.runtime.clip import Clip

__all__ = [
    "RULE",
    "AcceptOption",
    "AlphaOption",
    "FusionOption",
    "HeadOption",
    "ModelsOption",
    "RulesOption",
    "found_eval_set",
    "named",
    "numbers",
    "open_voices",
    "rules_named",
    "shares_check",
    "size_text",
    "with_useful_rules",
]

RULE = "=" * 60
_NO_RULES = "none"


def _alpha(text: str | None) -> str | None:
    if text is None or text == "fit":
        return text
    try:
        inside = 0 <= float(text) <= 1
    except ValueError:
        inside = False
    if not inside:
        raise typer.BadParameter(f"must be a number in [0, 1], or fit; got {text!r}")
    return text


HeadOption = Annotated[Path | None, typer.Option("--head", help="A trained head.")]
RulesOption = Annotated[str, typer.Option("--rules", help="fine, coarse, a TOML file, or none.")]
AlphaOption = Annotated[
    str | None,
    typer.Option("--alpha", callback=_alpha, help="Weight of the rules, 0 to 1, or fit; default: .7, or as fitted."),
]
FusionOption = Annotated[
    Path | None, typer.Option("--fusion", help="Weights of `clipfast fuse fit`; with --alpha fit: data/fusion.json.")
]
ModelsOption = Annotated[
    Path | None,
    typer.Option("--models", help="What is in use in this folder of versions, instead of --bank, --head and --fusion."),
]
AcceptOption = Annotated[
    bool, typer.Option("--accept-precision", help="Use a bank or head that was made with another precision.")
]


def open_voices(  # one argument for each file that may be named
    clip: Clip,
    *,
    bank: Path,
    head: Path | None,
    rules: str,
    alpha: str | None,
    fusion: Path | None,
    accept_precision: bool,
    models: Path | None = None,
) -> Voices:
    """Open bank, head and rules, and weigh them as asked; with `models`, those that were promoted there.

    Raises:
        typer.BadParameter: A file is named beside `models`.
        ArtifactError: A file is missing, damaged, or another model's.
        DataError: The rules are not as they must be.
    """
    from clipfast.retrieval import FabricBank
    from clipfast.retrieval.default import DEFAULT_BANK, default_bank_path
    from clipfast.retrieval.fused import FittedFusion, default_fusion_path, with_alpha
    from clipfast.retrieval.fusion import Voices
    from clipfast.retrieval.head import LinearHead

    if models is not None:
        voices = _in_use(
            clip,
            models,
            rules,
            named_files=(None if bank in (DEFAULT_BANK, default_bank_path()) else bank, head, fusion),
            accept_precision=accept_precision,
        )
    else:
        voices = Voices(
            FabricBank.load(bank, clip, accept_precision=accept_precision),
            None if head is None else LinearHead.load(head, clip, accept_precision=accept_precision),
            rules_named(rules),
        )
    if models is None and (fusion is not None or alpha == "fit"):
        voices = with_alpha(voices, "fit", FittedFusion.load(fusion or default_fusion_path()))
    if alpha not in (None, "fit"):
        voices = replace(voices, fusion=replace(voices.fusion, alpha=float(str(alpha))))
    return voices


def _in_use(
    clip: Clip, models: Path, rules: str, *, named_files: Sequence[Path | None], accept_precision: bool
) -> Voices:
    from clipfast.retrieval.live import promoted_voices
    from clipfast.retrieval.registry import Registry

    if any(file is not None for file in named_files) or accept_precision:
        raise typer.BadParameter(
            "--models stands for bank, head and weights; leave --bank, --head, --fusion and --accept-precision out"
        )
    return promoted_voices(Registry(models), clip, rules_named(rules))


def rules_named(rules: str) -> RuleSet | None:
    """Load the rules that --rules names; `none` are none.

    Raises:
        DataError: The rules are not as they must be.
    """
    from clipfast.retrieval.rules import load_rules

    return None if rules == _NO_RULES else load_rules(rules)


def with_useful_rules(say: Speaker, voices: Voices, held: EvalSet) -> Voices:
    """Leave rules out that know none of the fabrics that are asked for: they could only be wrong."""
    rules = voices.rules
    if rules is None or any(voices.owners.get(label, label) in rules.rules for label in held.labels):
        return voices
    note(say("no_rules", rules=rules.name))
    return replace(voices, rules=None)


def found_eval_set(named_file: Path | None, folder: Path) -> EvalSet | None:
    """Return the evaluation set that was named, or else the one beside the folder, if there is one."""
    from clipfast.retrieval.evalset import EvalSet
    from clipfast.retrieval.heldout import find_eval_set

    return find_eval_set(folder) if named_file is None else EvalSet.load(named_file)


def numbers(text: str, *, count: int | None = None, what: str) -> tuple[int, ...]:
    """Read whole numbers with commas.

    Raises:
        typer.BadParameter: They are none, or not as many as wanted.
    """
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or (count is not None and len(found) != count):
        raise typer.BadParameter(f"must be {what}; got {text!r}")
    return found


def shares_check(say: Speaker, key: str, total: int, others: Sequence[str]) -> Check:
    """Return a check point that holds if there are no others, and names them."""
    return Check(say(key), not others, say("of", good=total - len(others), total=total, others=named(say, others)))


def named(say: Speaker, names: Sequence[str]) -> str:
    """Return the first few names in brackets, or nothing."""
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return say("not", names=shown) if names else ""


def size_text(path: Path) -> str:
    """Return a file's size in words."""
    size = path.stat().st_size / 1024
    return f"{size:.1f} KB" if size < 1024 else f"{size / 1024:.1f} MB"
