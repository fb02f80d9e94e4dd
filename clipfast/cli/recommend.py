"""`clipfast recommend`: which fabric is this? Rules, photos and head together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from clipfast.cli.bank_options import BankFile
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, out, print_json
from clipfast.cli.messages import RecommendLangOption, Speaker, in_language
from clipfast.cli.workflow_options import (
    AcceptOption,
    AlphaOption,
    FusionOption,
    HeadOption,
    ModelsOption,
    RulesOption,
    numbers,
    open_voices,
)
from clipfast.retrieval.crops import PATCH_SIZE
from clipfast.retrieval.default import DEFAULT_BANK

if TYPE_CHECKING:
    from PIL import Image

    from clipfast.retrieval.answers import Answer
    from clipfast.retrieval.attributes import FabricAttributes
    from clipfast.retrieval.recommend import Recommendation

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _box(text: str | None) -> str | None:
    if text is not None:
        numbers(text, count=4, what="x1,y1,x2,y2 in pixels")
    return text


def _point(text: str | None) -> str | None:
    if text is not None:
        numbers(text, count=2, what="x,y in pixels")
    return text


@app.command()
@takes_clip_options()
def recommend(
    image: Annotated[Path, typer.Argument(help="The photo.")],
    *,
    bank_path: BankFile = DEFAULT_BANK,
    head_path: HeadOption = None,
    rules: RulesOption = "fine",
    alpha: AlphaOption = None,
    fusion: FusionOption = None,
    models: ModelsOption = None,
    topk: Annotated[int, typer.Option("--topk", min=1, help="How many fabrics.")] = 5,
    crop: Annotated[str | None, typer.Option("--crop", callback=_box, help="Only this box: x1,y1,x2,y2.")] = None,
    at: Annotated[str | None, typer.Option("--at", callback=_point, help="Only around this point: x,y.")] = None,
    size: Annotated[int, typer.Option("--size", min=1, help="With --at: pixels along each side.")] = PATCH_SIZE,
    accept_precision: AcceptOption = False,
    lang: RecommendLangOption = "zh",
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Rank fabrics for a photo, or for a part of it."""
    from clipfast.retrieval.attributes import extract_attributes
    from clipfast.retrieval.fusion import fuse_with_clip
    from clipfast.retrieval.recommend import recommend_fabrics_localized

    if crop is not None and at is not None:
        raise typer.BadParameter("--crop and --at say the same thing twice; give one of them")
    say = Speaker.of(lang)
    with in_language(lang):
        patch = _patch(image, crop, at, size)
        with clip_options.load() as clip:
            voices = open_voices(
                clip,
                bank=bank_path,
                head=head_path,
                rules=rules,
                alpha=alpha,
                fusion=fusion,
                accept_precision=accept_precision,
                models=models,
            )
            attributes = extract_attributes(patch)
            base: list[Recommendation] = []
            if voices.rules is not None:
                count = len(voices.rules.rules)
                base = recommend_fabrics_localized(attributes, say.lang, top_k=count, rules_source=voices.rules)
            results = fuse_with_clip(patch, base, say.lang, voices.fusion.alpha, topk, voices=voices)
    if json:
        print_json(
            {
                "image": image.as_posix(),
                "lang": lang,
                "alpha": voices.fusion.alpha if base else None,
                "fusion": voices.fusion,
                "attributes": attributes.as_dict()["visual"],
                "results": [result._asdict() for result in results],
                "confidence": results.confidence,
                "confidence_calibrated": results.judgement.calibrated,
                "none_of_these": results.none_of_these,
                "uncertain": results.judgement.uncertain,
            }
        )
        return
    _show(say, attributes, results)


def _patch(path: Path, crop: str | None, at: str | None, size: int) -> Image.Image:
    from clipfast.retrieval.crops import crop_box, crop_patch
    from clipfast.runtime.images import load_image

    if crop is not None:
        left, top, right, bottom = numbers(crop, count=4, what="four numbers")
        return crop_box(path, (left, top, right, bottom))
    if at is not None:
        x, y = numbers(at, count=2, what="two numbers")
        return crop_patch(path, (x, y), size)
    return load_image(path)


def _show(say: Speaker, found: FabricAttributes, results: Answer[Recommendation]) -> None:
    chinese = say.lang == "zh"
    out.print(
        say(
            "attributes",
            colour=found.dominant_color_zh if chinese else found.dominant_color_name,
            pattern=found.pattern_zh if chinese else found.pattern,
            sheen=found.sheen_score,
            texture=found.texture_complexity,
            direction=found.directionality,
        )
    )
    judged = results.judgement
    words = "" if judged.calibrated else say("confidence_share")
    if judged.uncertain and not judged.none:
        words += say("confidence_low")
    if judged.none:
        out.print(say("none_of_these"), style="bold yellow")
    else:
        out.print(say("confidence", share=judged.confidence, note=words), style="yellow" if judged.uncertain else None)
    table = Table()
    table.add_column("#", justify="right")
    table.add_column(say("column_fabric"))
    table.add_column(say("column_score"), justify="right")
    table.add_column(say("column_notes"))
    for place, result in enumerate(results, start=1):
        table.add_row(str(place), result.display_name, f"{result.score:.3f}", result.notes)
    out.print(table)
