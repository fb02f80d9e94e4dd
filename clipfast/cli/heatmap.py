"""`clipfast heatmap`: where in an image is this text?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer
from rich.table import Table

from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, note, out, print_json
from clipfast.prompts import TEMPLATE_SETS

if TYPE_CHECKING:
    from clipfast.artifact import ImageSpec
    from clipfast.surgery import Path as PathName
    from clipfast.surgery.geometry import GeometryName

Number = TypeVar("Number", int, float)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _trained(spec: ImageSpec) -> GeometryName:
    """Return the geometry that equals the model's own preprocessing, so that its map can be laid over the image."""
    return "centre_crop" if spec.resize == "shortest" else "squash"


def _one_of(name: str, names: Iterable[str]) -> str:
    if name not in names:
        raise typer.BadParameter(f"must be one of {', '.join(names)}; got {name!r}.")
    return name


def _path(name: str) -> str:
    from clipfast.surgery import PATHS

    return _one_of(name, PATHS)


def _picture(path: Path) -> Path:
    if path.suffix.lower() != ".png":
        raise typer.BadParameter(f"must end in .png, which is what is written; got {path.name!r}.")
    return path


def _shape(name: str | None) -> str | None:
    from clipfast.surgery import GEOMETRIES

    return name if name is None else _one_of(name, GEOMETRIES)


def _numbers(given: str | None, kind: Callable[[str], Number], option: str) -> tuple[Number, ...]:
    try:
        return tuple(kind(part) for part in given.split(",")) if given else ()
    except ValueError:
        hint = f"must be {'whole ' if kind is int else ''}numbers, such as 1,2; got {given!r}."
        raise typer.BadParameter(hint, param_hint=option) from None


def _explain(wanted: bool) -> None:
    if not wanted:
        return
    from clipfast.surgery import PATHS

    table = Table(title="Paths of heat maps", title_justify="left", show_lines=True)
    for column in ("path", "tokens, score", "good for"):
        table.add_column(column, no_wrap=column != "good for")
    for name, row in PATHS.items():
        table.add_row(name, f"{row.graph} {row.stream}\n{row.scoring}", row.good_for)
    out.print(table)
    raise typer.Exit


@app.command()
@takes_clip_options()
def heatmap(
    *,
    image: Annotated[Path, typer.Argument(help="The image.")],
    text: Annotated[list[str], typer.Option("--text", help="What to look for; may be given several times.")],
    path: Annotated[str, typer.Option(callback=_path, help="Which map; --list-paths explains them.")] = "standard",
    list_paths: Annotated[  # noqa: ARG001  # its callback answers
        bool,
        typer.Option("--list-paths", is_eager=True, callback=_explain, help="Explain all paths, and stop."),
    ] = False,
    templates: Annotated[
        str,
        typer.Option(
            callback=lambda name: _one_of(name, [*TEMPLATE_SETS, "none"]),
            help="Prompts around each text: surgery, imagenet, plain or none.",
        ),
    ] = "surgery",
    label: Annotated[
        list[str] | None, typer.Option("--label", help="What else may be there, to compare with; several times.")
    ] = None,
    labels_only: Annotated[
        bool, typer.Option("--labels-only", help="Compare each text with the labels, not with the other texts.")
    ] = False,
    redundant: Annotated[str | None, typer.Option(help="A text whose map is subtracted from the others.")] = None,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Share of vv_qk in vv_mixed.")] = 0.5,
    depths: Annotated[
        str | None,
        typer.Option(help="Average these Surgery depths, such as 4,6,8."),
    ] = None,
    geometry: Annotated[
        str | None,
        typer.Option(
            callback=_shape,
            help="How the image becomes a square: squash, centre_crop, letterbox; default: as the model was trained.",
        ),
    ] = None,
    windows: Annotated[bool, typer.Option("--windows", help="Look piece by piece, at the image's resolution.")] = False,
    window_side: Annotated[int | None, typer.Option(min=1, help="Pixels of a window; implies --windows.")] = None,
    overlap: Annotated[float, typer.Option(min=0, max=0.9, help="Share of a window that the next one sees.")] = 0.5,
    scales: Annotated[
        str | None,
        typer.Option(help="Average windows of several sizes, such as 1,2."),
    ] = None,
    edge_aware: Annotated[bool, typer.Option("--edge-aware", help="Let maps follow the image's edges.")] = False,
    out_path: Annotated[Path, typer.Option("--out", callback=_picture, help="The picture to write, a PNG.")] = Path(
        "heat.png"
    ),
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Draw a heat map over IMAGE, one panel a text, scaled from each map's lowest to highest value."""
    from clipfast.cli.heatmap_picture import drawn_hw, heat_sheet, map_facts
    from clipfast.report.fonts import NO_CHINESE_FONT, drawable
    from clipfast.report.images import save_png
    from clipfast.runtime.images import load_image
    from clipfast.surgery import EdgeAware, MapOptions, Windows, heatmaps
    from clipfast.surgery.geometry import image_hw, scaled_rgb
    from clipfast.surgery.texts import alike_texts, asked_labels

    depth_numbers, scale_numbers = _numbers(depths, int, "--depths"), _numbers(scales, float, "--scales")
    clip = clip_options.load()
    piecewise = windows or window_side is not None or scales is not None
    options = MapOptions(
        templates=None if templates == "none" else TEMPLATE_SETS[templates],
        labels=tuple(label or ()),
        rivals="labels" if labels_only else "texts",
        redundant=redundant,
        alpha=alpha,
        depths=depth_numbers,
        geometry=cast("GeometryName | None", geometry) if geometry or piecewise else _trained(clip.manifest.image),
        windows=Windows(side=window_side, overlap=overlap) if piecewise else None,
        scales=scale_numbers,
        edge_aware=EdgeAware() if edge_aware else None,
    )
    photo = load_image(image)
    size_hw = image_hw(photo)
    panel_hw = drawn_hw(size_hw)
    maps = heatmaps(clip, photo, text, cast("PathName", path), panel_hw, options)[0]
    facts = [map_facts(name, heat, size_hw) for name, heat in zip(text, maps, strict=True)]
    save_png(out_path, heat_sheet(scaled_rgb(photo, panel_hw), maps, facts))
    if not labels_only and (again := asked_labels(text, options.labels)):
        note(f"{', '.join(again)} changes nothing as --label: texts are compared with each other anyway.")
    if json:
        found = {"image": image.as_posix(), "size_hw": size_hw, "path": path, "geometry": options.geometry}
        print_json({**found, "out": out_path.as_posix(), "maps": facts})
        return
    for number, fact in enumerate(facts, start=1):
        caption = fact.text if drawable(fact.text) else f"text {number} ({fact.text})"
        if fact.max == fact.min:
            out.print(f"{caption}: the map is flat; the model sees no difference between the texts")
        else:
            out.print(f"{caption}: peak at {list(fact.peak_xy)}, similarity {fact.min:z.3f} to {fact.max:z.3f}")
    if not all(drawable(fact.text) for fact in facts):
        note(NO_CHINESE_FONT)
    alike = alike_texts(clip.encode_texts(text, options.templates), text)
    for group in alike:
        note(f"{', '.join(group)} are all but the same to this model, and so are their maps: use words that it knows.")
    if facts[0].seen < 1:
        note(
            f"The model saw {facts[0].seen:.0%} of the image; --geometry squash or letterbox, or --windows, shows all."
        )
    out.print(f"Wrote {out_path}")
