"""`clipfast info`: what an artifact holds, or what can run on this machine."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, out, print_json
from clipfast.errors import ClipfastError, ProviderError

if TYPE_CHECKING:
    from clipfast.runtime.clip import Clip

_STATUS = Path("/proc/self/status")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@takes_clip_options()
def info(
    *,
    artifact: Annotated[str | None, typer.Argument(help="An artifact folder or an embedded model's name.")] = None,
    system: Annotated[bool, typer.Option("--system", help="This machine instead: wheels, providers, cores.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Also open every graph and measure its memory.")] = False,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Show an artifact's manifest and parity figures, or with --system what can run here."""
    if system:
        facts = system_facts()
        print_json(facts) if json else _show_system(facts)
        return
    from clipfast.cli.parity_table import parity_table

    clip = replace(clip_options, model=artifact or clip_options.model).load()
    manifest = clip.manifest
    megabytes = _memory_by_graph(clip) if memory else None
    if json:
        runs_on = {"provider": clip.provider, "precision": clip.precision, "threads": clip.threads}
        print_json(
            {"fingerprint": manifest.fingerprint(), "runs_on": runs_on, "memory_mb": megabytes} | _plain(manifest)
        )
        return
    model, source = manifest.model, manifest.source
    out.print(f"{manifest.name}  {source.checkpoint or 'seeded RANDOM weights'}", style="bold")
    out.print(f"fingerprint  {manifest.fingerprint()}")
    out.print(
        f"vision       {model.layers} blocks x {model.width}, patch {model.patch_size}, "
        f"grid {model.grid_hw[0]} x {model.grid_hw[1]}, {model.activation}, surgery depth {model.surgery_depth}"
    )
    out.print(
        f"text         {model.text_layers} blocks x {model.text_width}, context {manifest.tokenizer.context_length}"
    )
    out.print(f"image        {manifest.image.size_hw[0]} x {manifest.image.size_hw[1]}, {manifest.image.resize}")
    out.print(f"embedding    {model.embed_dim}, logit scale {model.logit_scale:.2f}")
    size = sum(file.bytes for file in manifest.files.values())
    graphs = ", ".join(f"{name} ({graph.precision})" for name, graph in manifest.graphs.items())
    out.print(f"graphs       {graphs}; {size / 1e6:.1f} MB in {len(manifest.files)} files")
    out.print(f"runs on      {clip.provider}, {clip.precision}, {clip.threads} threads")
    if megabytes:
        out.print(f"memory       {', '.join(f'{name} {value:.0f} MB' for name, value in megabytes.items())}")
    if manifest.int8 is not None:
        from clipfast.cli.int8_lines import int8_lines

        out.print("\n".join(int8_lines(manifest.int8)))
    if manifest.notice:
        out.print(f"notice       {manifest.notice}")
    out.print(parity_table(manifest.name, manifest.parity))


def _memory_by_graph(clip: Clip) -> dict[str, float]:
    """Resident memory that each graph adds when it is opened and run once, in MB."""

    def resident() -> float:
        if not _STATUS.is_file():
            raise ProviderError("--memory reads /proc/self/status, which only Linux has. Leave it out.")
        (line,) = (line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    clip.warm_up([])
    megabytes = {}
    for name in clip.manifest.heads:
        before = resident()
        clip.warm_up([name])
        megabytes[name] = resident() - before
    return megabytes


def system_facts() -> dict[str, Any]:
    """Return what can run here: versions, cores, providers, wheels, and the repair line where wheels clash."""
    from clipfast import __version__
    from clipfast.runtime.clip import embedded_models
    from clipfast.runtime.openvino import openvino_version
    from clipfast.runtime.session import PROVIDERS, available_cores, installed_wheels, offered_providers
    from clipfast.storage import cache_dir

    wheels = installed_wheels()
    try:
        offered = offered_providers()
        problem = None
    except ClipfastError as error:  # a broken installation is what this command is for
        offered, problem = (), str(error)
    return {
        "clipfast": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": available_cores(),
        "wheels": wheels,
        "clashes": find_clashes(wheels),
        "problem": problem,
        "providers": {name: name in offered for name in PROVIDERS},
        "openvino": openvino_version(),
        "embedded_models": embedded_models(),
        "cache": cache_dir().as_posix(),
    }


def find_clashes(wheels: dict[str, str]) -> list[dict[str, Any]]:
    """Return every pair of wheels that overwrite each other, with the line that repairs it."""
    from clipfast.runtime.session import RIVALS

    clashes = []
    for rivals in RIVALS:
        both = [name for name in rivals if name in wheels]
        if len(both) > 1:
            keep = both[-1]  # the one that was wanted besides the default CPU wheel
            repair = f"pip uninstall -y {' '.join(both)} && pip install {keep}=={wheels[keep]}"
            clashes.append({"wheels": both, "repair": repair})
    return clashes


def _show_system(facts: dict[str, Any]) -> None:
    out.print(
        f"clipfast {facts['clipfast']}, Python {facts['python']}, {facts['cores']} cores, {facts['platform']}",
        markup=False,
    )
    table = Table(title="Providers")
    table.add_column("name")
    table.add_column("installed")
    table.add_column("to install")
    from clipfast.runtime.session import PROVIDERS

    for name, offered in facts["providers"].items():
        table.add_row(name, "yes" if offered else "no", "" if offered else PROVIDERS[name][1])
    version = facts["openvino"]
    table.add_row("openvino", version or "no", "" if version else "pip install 'clipfast[openvino]'")
    out.print(table)
    wheels = ", ".join(f"{name} {version}" for name, version in facts["wheels"].items()) or "none"
    out.print(f"Wheels: {wheels}")
    out.print(f"Embedded models: {', '.join(facts['embedded_models'])}; cache: {facts['cache']}")
    for clash in facts["clashes"]:
        out.print(f"✗ {' and '.join(clash['wheels'])} overwrite each other. Repair: {clash['repair']}", style="red")
    if facts["problem"]:
        out.print(f"✗ {facts['problem']}", style="red")
    if not facts["clashes"]:
        out.print("✓ No clashing wheels", style="green")


def _plain(manifest: Any) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    plain["tokenizer"]["known_tokens"] = len(plain["tokenizer"]["known_tokens"] or ()) or None
    return plain
