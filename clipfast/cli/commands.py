"""The table of commands. To add one: a file in this folder and a row here."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

from clipfast.cli.error_messages import UsageError, chinese_usage, wants_chinese

COMMANDS = {
    # name: (module, one line of help)
    "demo": ("clipfast.cli.demo", "The whole library on the embedded model and images it renders itself."),
    "info": ("clipfast.cli.info", "What an artifact holds, or what can run on this machine."),
    "export": ("clipfast.export.cli", "Build an artifact from open_clip weights (extra: export)."),
    "verify": ("clipfast.cli.verify", "Prove an artifact again, here: checksums and parity."),
    "bench": ("clipfast.cli.bench", "Your own figures, stage by stage, one request at a time and several."),
    "bank": ("clipfast.cli.bank", "Build, change and search a bank of reference photos."),
    "head": ("clipfast.cli.head", "Train a linear head on labelled patches (extra: train)."),
    "evalset": ("clipfast.cli.evalset", "Make or check an evaluation set that is never trained on."),
    "evaluate": ("clipfast.cli.evaluate", "Rules, photos and head on an evaluation set, side by side."),
    "fuse": ("clipfast.cli.fuse", "Fit how much rules, photos and head count."),
    "recommend": ("clipfast.cli.recommend", "Which fabric is this? Rules, photos and head together."),
    "models": ("clipfast.cli.models", "Versions of heads, banks and weights: list, compare, promote, go back."),
    "label": ("clipfast.cli.label", "Label patches: add, what to label next, counts, undo, rename, merge."),
    "anomaly": ("clipfast.cli.anomaly", "Few-shot anomaly detection: fit on intact images, score others."),
    "diagnose": ("clipfast.cli.diagnose", "What is wrong with an image-text model, and what to mend first."),
    "heatmap": ("clipfast.cli.heatmap", "Where in an image is this text? Writes an overlay."),
    "localize": ("clipfast.cli.localize", "How well do heat maps find what is boxed in a data set?"),
    "compare": ("clipfast.cli.compare", "Two result directories on the same samples, paired."),
}


class LazyGroup(TyperGroup):
    """Knows every command's name and help, and imports a command's module when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  (typer's signature)
        """Return the names in the table's order."""
        return list(COMMANDS)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words, which tell the language of what is wrong with them."""
        ctx.meta["clipfast.words"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; wrong usage is explained in Chinese, too, where that is spoken."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError" or not wants_chinese(ctx.meta["clipfast.words"]):
                raise
            raise chinese_usage(error) from error

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  (typer's signature)
        """Import one command's module and return its click command."""
        if cmd_name not in COMMANDS:
            return None
        module, line = COMMANDS[cmd_name]
        command = typer.main.get_command(importlib.import_module(module).app)
        command.help = command.help or line
        command.short_help = line
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="CLIP on ONNX Runtime: fabric retrieval, CLIP Surgery heat maps, export with a parity gate.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from clipfast import __version__

        typer.echo(f"clipfast {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass
