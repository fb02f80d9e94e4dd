"""Who is asked: `--bank --head --rules --alpha --fusion --models`, said once for every command that answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipfast.cli.bank_options import BankFile
from clipfast.cli.console import note
from clipfast.cli.error_messages import wrong_usage
from clipfast.cli.messages import Speaker
from clipfast.cli.option_groups import Decorator, takes
from clipfast.retrieval.default import DEFAULT_BANK

if TYPE_CHECKING:
    from clipfast.retrieval.evalset import EvalSet
    from clipfast.retrieval.fusion import Voices
    from clipfast.retrieval.rules import RuleSet
    from clipfast.runtime.clip import Clip

__all__ = ["RulesOption", "VoiceOptions", "rules_named", "takes_voice_options", "with_useful_rules"]

_NO_RULES = "none"


def _alpha(text: str | None) -> str | None:
    if text is None or text == "fit":
        return text
    try:
        inside = 0 <= float(text) <= 1
    except ValueError:
        inside = False
    if not inside:
        raise wrong_usage(f"must be a number in [0, 1], or fit; got {text!r}", "bad_alpha_option", got=text)
    return text


RulesOption = Annotated[str, typer.Option("--rules", help="fine, coarse, a TOML file, or none.")]
_OPTIONS: dict[str, tuple[Any, Any]] = {  # name: (annotation, default)
    "bank": (BankFile, DEFAULT_BANK),
    "head": (Annotated[Path | None, typer.Option("--head", help="A trained head.")], None),
    "rules": (RulesOption, "fine"),
    "alpha": (
        Annotated[
            str | None,
            typer.Option(
                "--alpha", callback=_alpha, help="Weight of the rules, 0 to 1, or fit; default: .7, or as fitted."
            ),
        ],
        None,
    ),
    "fusion": (
        Annotated[
            Path | None,
            typer.Option("--fusion", help="Weights of `clipfast fuse fit`; with --alpha fit: data/fusion.json."),
        ],
        None,
    ),
    "models": (
        Annotated[
            Path | None,
            typer.Option(
                "--models", help="What is in use in this folder of versions, instead of --bank, --head and --fusion."
            ),
        ],
        None,
    ),
    "accept_precision": (
        Annotated[
            bool, typer.Option("--accept-precision", help="Use a bank or head that was made with another precision.")
        ],
        False,
    ),
}


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """Who is asked, and how they are weighed.

    Attributes:
        bank: The bank's file.
        head: A head's file.
        rules: `fine`, `coarse`, `none`, or a file.
        alpha: Weight of the rules, or `fit`; None is the default, or what was fitted.
        fusion: File of fitted weights.
        models: Folder of versions, whose files in use stand for bank, head and weights.
        accept_precision: Take files that were made with another precision.
    """

    bank: Path = DEFAULT_BANK
    head: Path | None = None
    rules: str = "fine"
    alpha: str | None = None
    fusion: Path | None = None
    models: Path | None = None
    accept_precision: bool = False

    def open(self, clip: Clip) -> Voices:
        """Open bank, head and rules, and weigh them as asked.

        Raises:
            typer.BadParameter: A file is named beside `models`.
            ArtifactError: A file is missing, damaged, or another model's.
            DataError: The rules are not as they must be.
        """
        from clipfast.retrieval.fused import FittedFusion, default_fusion_path, with_alpha

        voices = self._named(clip) if self.models is None else self._in_use(clip, self.models)
        if self.models is None and (self.fusion is not None or self.alpha == "fit"):
            voices = with_alpha(voices, "fit", FittedFusion.load(self.fusion or default_fusion_path()))
        if self.alpha not in (None, "fit"):
            voices = replace(voices, fusion=replace(voices.fusion, alpha=float(str(self.alpha))))
        return voices

    def _named(self, clip: Clip) -> Voices:
        from clipfast.retrieval import FabricBank
        from clipfast.retrieval.fusion import Voices
        from clipfast.retrieval.head import LinearHead

        accept = self.accept_precision
        bank = FabricBank.load(self.bank, clip, accept_precision=accept)
        head = None if self.head is None else LinearHead.load(self.head, clip, accept_precision=accept)
        return Voices(bank, head, rules_named(self.rules))

    def _in_use(self, clip: Clip, models: Path) -> Voices:
        from clipfast.retrieval.default import default_bank_path
        from clipfast.retrieval.live import promoted_voices
        from clipfast.retrieval.registry import Registry

        other_bank = self.bank not in (DEFAULT_BANK, default_bank_path())
        if other_bank or self.head is not None or self.fusion is not None or self.accept_precision:
            raise wrong_usage(
                "--models stands for bank, head and weights; leave --bank, --head, --fusion and --accept-precision out",
                "models_alone",
            )
        return promoted_voices(Registry(models), clip, rules_named(self.rules))


def takes_voice_options(*, without: tuple[str, ...] = ()) -> Decorator:
    """Give a command the options, and hand them over as its argument `voice_options`.

    Args:
        without: Options that the command does not have.
    """
    return takes("voice_options", VoiceOptions, {name: o for name, o in _OPTIONS.items() if name not in without})


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
