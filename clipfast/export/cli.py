"""The export command, the same as `clipfast export` and as `python -m clipfast.export`."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from clipfast.artifact import MANIFEST_NAME, Artifact, Manifest, Precision
from clipfast.cli.console import JsonOption, err, note, out, print_json, progress_bar, report_failure
from clipfast.cli.int8_lines import int8_lines
from clipfast.cli.parity_table import parity_table
from clipfast.errors import ClipfastError, DataError, MissingExtraError

if TYPE_CHECKING:
    from clipfast.export.options import ExportOptions
    from clipfast.export.triton_config import TritonOptions
    from clipfast.runtime.provider_options import CudaOptions, TensorRtOptions

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Gelu(StrEnum):
    """Which GELU the weights were trained with."""

    gelu = "gelu"
    quick_gelu = "quick_gelu"


class EngineName(StrEnum):
    """For which GPU provider engines are made."""

    none = "none"
    cuda = "cuda"
    tensorrt = "tensorrt"


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="An open_clip name, such as ViT-B-32, or a config JSON.")],
    out_dir: Annotated[Path, typer.Option("--out", help="The artifact folder to make.")],
    pretrained: Annotated[str | None, typer.Option(help="A checkpoint file or a tag of open_clip.")] = None,
    activation: Annotated[Gelu | None, typer.Option(help="Which GELU the weights were trained with.")] = None,
    image_size: Annotated[
        list[int] | None,
        typer.Option(
            "--image-size",
            "--size",
            help="Pixels along each side; interpolates positions. Several times: an artifact each, in OUT/SIZE.",
        ),
    ] = None,
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
    precision: Annotated[
        str,
        typer.Option(
            help="fp32,int8 adds int8 graphs for CPUs; fp32,fp16 adds GPU graphs. fp32 graphs are always made."
        ),
    ] = "fp32",
    calibration: Annotated[
        Path | None,
        typer.Option(help="Folder of at least 64 images that int8 is fitted to; default: rendered fabrics."),
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="GPU provider to make graphs and engines for.")] = EngineName.none,
    profile: Annotated[
        str | None, typer.Option(help="Batches that TensorRT engines are built for; default: 1,8,32.")
    ] = None,
    engine_dir: Annotated[Path | None, typer.Option(help="Folder of engines; default: in the cache.")] = None,
    device_id: Annotated[int, typer.Option(min=0, help="Which GPU builds engines.")] = 0,
    triton: Annotated[Path | None, typer.Option(help="Also write a model repository for Triton here.")] = None,
    json: JsonOption = False,
) -> None:
    """Build an artifact from open_clip weights and prove every graph against PyTorch."""
    try:
        import clipfast.export.pipeline  # noqa: F401  (torch is asked for before anything is made)
        from clipfast.export.options import ExportOptions
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
        surgery_depth=surgery_depth,
        heads=_names(heads),
        blocks=None if blocks is None else _numbers(blocks),
        presets=_names(presets),
        class_attention=class_attention,
        seed=seed,
        compact=compact,
        notice=notice,
        precisions=_precisions(precision),
        engine=engine.value,
        calibration=calibration,
    )
    each = {size: replace(options, image_size=size) for size in _sizes(image_size, out_dir, triton)}
    device = _device(options, profile, engine_dir, device_id)
    serving = _serving(options, triton, device)
    made: list[tuple[Manifest, Path, dict[str, Any]]] = []
    for size, one in each.items():
        part = "" if len(each) == 1 else str(size)  # one size: the folders that were named
        artifact = _export(one, out_dir / part)
        named = serving and replace(serving, name=f"{artifact.manifest.name}-{part}" if part else None)
        said = _build(artifact, one, device, triton and triton / part, named)
        made.append((artifact.manifest, out_dir / part, said))
    if json:
        facts = [_facts(*one) for one in made]
        print_json(facts[0] if len(facts) == 1 else {"artifacts": facts})
    else:
        for manifest, folder, said in made:
            _report(manifest, folder, said)
    if any(manifest.int8 is not None and not manifest.int8.passed for manifest, _, _ in made):
        raise typer.Exit(1)


def _export(options: ExportOptions, out_dir: Path) -> Artifact:
    """Export one size, with its steps on the terminal."""
    from clipfast.export.pipeline import export as build

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        return build(
            options,
            out_dir,
            progress=lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
        )


def _sizes(given: list[int] | None, out_dir: Path, triton: Path | None) -> tuple[int | None, ...]:
    """Return the sizes, each once; several go into folders of their own, which must not lie in a finished one."""
    if given is None or len(given) < 2:
        return tuple(given or [None])
    if len(set(given)) < len(given):
        raise DataError(f"--image-size must be different sizes; got {', '.join(map(str, given))}.")
    from clipfast.export.triton import REPOSITORY_MARK

    finished = [out_dir / MANIFEST_NAME, *([triton / REPOSITORY_MARK] if triton else [])]
    if there := [file.parent for file in finished if file.is_file()]:
        raise DataError(
            f"{there[0]} is of one size already; several sizes go into folders below the one that is named. "
            "Name a new folder."
        )
    return tuple(given)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in _names(text))
    except ValueError as error:
        raise DataError(f"--blocks must be numbers with commas, such as 3,8; got {text!r}.") from error


def _precisions(text: str) -> tuple[Precision, ...]:
    from clipfast.export.options import PRECISIONS

    names = _names(text)
    chosen = tuple(known for known in PRECISIONS if known in names)
    if not names or len(chosen) != len(names):
        raise DataError(f"--precision must be different names of {', '.join(PRECISIONS)}; got {text!r}.")
    return chosen


def _device(
    options: ExportOptions, profile: str | None, engine_dir: Path | None, device_id: int
) -> CudaOptions | TensorRtOptions | None:
    """Return the provider's options, or refuse before an export that takes minutes."""
    from clipfast.export.engines import why_not_here
    from clipfast.runtime.engines import engine_cache
    from clipfast.runtime.provider_options import CudaOptions, ShapeProfile, TensorRtOptions

    if options.engine != "tensorrt" and (profile is not None or engine_dir is not None):
        raise DataError(
            f"--profile and --engine-dir belong to --engine tensorrt; got --engine {options.engine}. Leave them out."
        )
    if options.engine == "none" and device_id:
        raise DataError("--device-id belongs to --engine cuda or tensorrt. Leave it out, or name the engine.")
    if options.engine != "tensorrt":
        return CudaOptions(device_id=device_id) if options.engine == "cuda" else None
    shapes = ShapeProfile() if profile is None else ShapeProfile.parse(profile)
    chosen = TensorRtOptions(device_id=device_id, profile=shapes, engines=engine_dir)
    if engine_dir is not None or why_not_here(chosen) is None:
        engine_cache(chosen).require_writable()
    return chosen


def _serving(
    options: ExportOptions, folder: Path | None, device: CudaOptions | TensorRtOptions | None
) -> TritonOptions | None:
    """Return how Triton is to serve, or refuse before an export that takes minutes."""
    if folder is None:
        return None
    from clipfast.export.triton_config import TritonOptions
    from clipfast.runtime.provider_options import TensorRtOptions

    precision: Precision = "fp16" if "fp16" in options.precisions else "fp32"
    if device is None and precision == "fp32":
        raise DataError("--triton needs GPU graphs: add --precision fp16, or --engine cuda or tensorrt.")
    if not isinstance(device, TensorRtOptions):
        return TritonOptions(precision=precision)
    if device.profile.smallest > 1:
        raise DataError(
            f"--triton needs a --profile that begins at 1, for a server also gets single requests; got "
            f"{device.profile.smallest},{device.profile.usual},{device.profile.largest}."
        )
    return TritonOptions(
        backend="tensorrt",
        precision=precision,
        max_batch=device.profile.largest,
        preferred=tuple(batch for batch in device.profile.batches if batch > 1),
        max_texts=device.text_profile.largest,
    )


def _build(
    artifact: Artifact,
    options: ExportOptions,
    device: CudaOptions | TensorRtOptions | None,
    folder: Path | None,
    serving: TritonOptions | None,
) -> dict[str, Any]:
    """Build engines where this machine can, write the repository, and return what is to be said about both."""
    from clipfast.export.engines import build_engines, engine_folders, why_not_here
    from clipfast.runtime.provider_options import TensorRtOptions

    said: dict[str, Any] = {}
    reason = None
    if device is not None:
        reason = why_not_here(device)
        with progress_bar("engines") as tell:
            built = (
                ()
                if reason
                else build_engines(
                    artifact, device, options.precisions, progress=lambda _what, done, total: tell(done, total)
                )
            )
        said["engines"] = [one.graph for one in built]
        said["engines_missing"] = reason
    if folder is not None and serving is not None:
        from clipfast.export.triton import write_repository

        engines = None
        if isinstance(device, TensorRtOptions) and reason is None:
            engines = engine_folders(artifact, device, serving.precision)
        lacking = write_repository(artifact, folder, serving, engines=engines)
        said["triton"] = folder.as_posix()
        said["triton_without_plan"] = list(lacking)
    return said


def _facts(manifest: Manifest, folder: Path, said: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "artifact": folder.as_posix(),
        "fingerprint": manifest.fingerprint(),
        "parity": manifest.parity,
    }
    facts |= {"int8": manifest.int8} if manifest.int8 is not None else {}
    return facts | said


def _report(manifest: Manifest, folder: Path, said: dict[str, Any]) -> None:
    out.print(parity_table(manifest.name, manifest.parity))
    size = sum(file.bytes for file in manifest.files.values())
    out.print(f"Artifact {folder} ({size / 1e6:.1f} MB), activation {manifest.model.activation}, gate passed.")
    if manifest.peaks:
        peak = max(manifest.peaks, key=lambda one: one.largest)
        out.print(
            f"fp16: largest value on sample inputs {peak.largest:,.0f} ({peak.head}, {peak.where}), limit 32,768."
        )
    if manifest.int8 is not None:
        out.print("\n".join(int8_lines(manifest.int8)))
    if said.get("engines"):
        out.print(f"Engines: {', '.join(said['engines'])}.")
    if reason := said.get("engines_missing"):
        out.print(f"NO ENGINE WAS BUILT, everything else was. {reason}")
        out.print("Copy the artifact to a machine with a GPU: its first use there builds the engines.")
    if "triton" in said:
        lacking = said["triton_without_plan"]
        missing = f"; {', '.join(lacking)} still need model.plan (BUILD.txt beside it says how)" if lacking else ""
        out.print(f"Triton repository {said['triton']}{missing}.")


def run() -> None:
    """Run the command by itself, with the exit codes of `clipfast`."""
    try:
        app(prog_name="python -m clipfast.export")
    except (ClipfastError, OSError) as error:
        sys.exit(report_failure(error))
