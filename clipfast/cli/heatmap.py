"""`clipfast heatmap`: where in an image is this text?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import (
    JsonOption,
    out,
    print_json,
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class SurgeryPath(StrEnum):
    """The four maps that one forward gives."""

    standard = "standard"
    vv_qk = "vv_qk"
    vv_vv = "vv_vv"
    vv_mixed = "vv_mixed"


@app.command()
@takes_clip_options()
def heatmap(
    *,
    image: Annotated[Path, typer.Argument(help="The image.")],
    text: Annotated[list[str], typer.Option("--text", help="What to look for; may be given several times.")],
    path: Annotated[SurgeryPath, typer.Option("--path", help="Which of the four maps.")] = SurgeryPath.standard,
    out_path: Annotated[Path, typer.Option("--out", help="The picture to write.")] = Path("heat.png"),
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Draw a Surgery heat map over IMAGE, one panel a text, scaled from each map's lowest to highest value."""
    from clipfast.report.images import contact_sheet, overlay, save_png
    from clipfast.runtime.images import load_image
    from clipfast.runtime.preprocess import preprocess
    from clipfast.surgery import heatmaps
    from clipfast.surgery.heatmap import unit_range

    clip = clip_options.load()
    photo = load_image(image)
    seen = preprocess(photo, clip.manifest.image)  # the map covers what the model sees
    maps = heatmaps(clip, photo, text, path=path.value, size_hw=seen.shape[:2])[0]
    panels = [seen, *(overlay(seen, heat) for heat in unit_range(maps))]
    # Pillow's own font has Latin letters only: other captions are numbers, explained below the picture.
    captions = [name if name.isascii() else f"text {i}" for i, name in enumerate(text, start=1)]
    save_png(out_path, contact_sheet(panels, ["image", *captions], columns=min(len(panels), 4)))
    peaks = [divmod(int(heat.argmax()), heat.shape[1]) for heat in maps]
    rows = [
        {"text": name, "max": float(heat.max()), "min": float(heat.min()), "peak_xy": [x, y]}
        for name, heat, (y, x) in zip(text, maps, peaks, strict=True)
    ]
    if json:
        print_json({"image": image.as_posix(), "path": path.value, "out": out_path.as_posix(), "maps": rows})
        return
    for row, caption in zip(rows, captions, strict=True):
        label = row["text"] if caption == row["text"] else f"{caption} ({row['text']})"
        if row["max"] == row["min"]:
            out.print(f"{label}: the map is flat; the model sees no difference between the texts")
        else:
            out.print(f"{label}: peak at {row['peak_xy']}, similarity {row['min']:.3f} to {row['max']:.3f}")
    out.print(f"Wrote {out_path}")
