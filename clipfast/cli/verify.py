"""`clipfast verify`: the parity gate again, on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, out, print_json
from clipfast.cli.parity_table import parity_table
from clipfast.errors import MissingExtraError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@takes_clip_options()
def verify(
    *,
    artifact: Annotated[
        str | None, typer.Argument(help="An artifact folder or an embedded model's name; default: that of --model.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="The checkpoint it was made from; needs the export extra.")
    ] = None,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Hash every file and compare every graph with PyTorch: with its stored answers, or with a CHECKPOINT itself.

    Without --against nothing but ONNX Runtime is needed: export stored one input and what PyTorch made of it. With
    --against the whole gate of the export runs again, at two batch sizes.
    """
    from clipfast.runtime.parity import verify as verify_stored

    clip = replace(clip_options, model=artifact or clip_options.model).load()
    opened, provider, threads = clip.artifact, clip.provider, clip.threads
    rows = verify_stored(opened, provider=provider, precision=clip.precision, threads=threads)
    if against is not None:
        try:
            from clipfast.export.reverify import verify_against
        except ImportError as error:
            raise MissingExtraError.of(error.name or "torch", extra="cpu,export") from error
        rows = verify_against(opened, against, provider=provider, precision=clip.precision, threads=threads)
    if json:
        print_json({"artifact": opened.path.as_posix(), "provider": provider, "passed": True, "parity": rows})
        return
    out.print(parity_table(opened.manifest.name, rows))
    out.print(f"✓ {len(opened.manifest.files)} files unchanged; every output within the limits on {provider}.")
