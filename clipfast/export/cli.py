"""The export command, the same as `clipfast export` and as `python -m clipfast.export`."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from clipfast.artifact import Manifest
from clipfast.cli.console import JsonOption, err, note, out, print_json, report_failure
from clipfast.cli.parity_table import parity_table
from clipfast.errors import ClipfastError, DataError, MissingExtraError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Gelu(StrEnum):
    """Which GELU the weights were trained with."""

    gelu = "gelu"
    quick_gelu = "quick_gelu"


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="An open_clip name, such as ViT-B-32, or a config JSON.")],
    out_dir: Annotated[Path, typer.Option("--out", help="The artifact folder to make.")],
    pretrained: Annotated[str | None, typer.Option(help="A checkpoint file or a tag of open_clip.")] = None,
    activation: Annotated[Gelu | None, typer.Option(help="Which GELU the weights were trained with.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Pixels along each side; interpolates positions.")] = None,
    surgery_depth: Annotated[int, typer.Option(min=1, help="Blocks from the end that Surgery collects.")] = 6,
    heads: Annotated[str, typer.Option(help="Which graphs to make.")] = "embed,dense,text,patches,joint,tokens",
    blocks: Annotated[str | None, typer.Option(help="Blocks (from 1) for patch features, such as 3,8.")] = None,
    presets: Annotated[
        str, typer.Option(help="Further token streams: maskclip,clearclip,sclip,naclip,segearth,gem,sweep.")
    ] = "",
    class_attention: Annotated[bool, typer.Option("--class-attention", help="Let dense give the class row.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of random weights, when no --pretrained is given.")] = 0,
    compact: Annotated[
        bool, typer.Option(help="Store int8 weights, rounding the model first (embedded models).")
    ] = False,
    notice: Annotated[str | None, typer.Option(help="One line shown whenever the model is used.")] = None,
    json: JsonOption = False,
) -> None:
    """Build an artifact from open_clip weights and prove every graph against PyTorch."""
    try:
        from clipfast.export.options import ExportOptions
        from clipfast.export.pipeline import export as build
    except ImportError as error:
        raise MissingExtraError.of(error.name or "torch", extra="cpu,export") from error
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    if pretrained is None:
        note(
            f"WARNING: no --pretrained was given: {model} gets seeded RANDOM weights (seed {seed}). "
            "Good for measuring speed and parity; its answers mean nothing."
        )
    options = ExportOptions(
        architecture=model,
        pretrained=pretrained,
        activation=None if activation is None else activation.value,
        image_size=image_size,
        surgery_depth=surgery_depth,
        heads=_names(heads),
        blocks=None if blocks is None else _numbers(blocks),
        presets=_names(presets),
        class_attention=class_attention,
        seed=seed,
        compact=compact,
        notice=notice,
    )
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        artifact = build(
            options,
            out_dir,
            progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )
    _report(artifact.manifest, out_dir, json=json)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in _names(text))
    except ValueError as error:
        raise DataError(f"--blocks must be numbers with commas, such as 3,8; got {text!r}.") from error


def _report(manifest: Manifest, folder: Path, *, json: bool) -> None:
    if json:
        print_json({"artifact": folder.as_posix(), "fingerprint": manifest.fingerprint(), "parity": manifest.parity})
        return
    out.print(parity_table(manifest.name, manifest.parity))
    size = sum(file.bytes for file in manifest.files.values())
    out.print(f"Artifact {folder} ({size / 1e6:.1f} MB), activation {manifest.model.activation}, gate passed.")


def run() -> None:
    """Run the command by itself, with the exit codes of `clipfast`."""
    try:
        app(prog_name="python -m clipfast.export")
    except (ClipfastError, OSError) as error:
        sys.exit(report_failure(error))
