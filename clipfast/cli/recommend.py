"""`clipfast recommend`: which fabric is this? Rules, photos and head together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from clipfast.cli.checks import Check, answer_checks, show_checks
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, note, out, print_json
from clipfast.cli.error_messages import wrong_usage
from clipfast.cli.messages import Speaker, takes_language
from clipfast.cli.region_options import takes_region
from clipfast.cli.voice_options import VoiceOptions, takes_voice_options
from clipfast.retrieval.answers import UNCERTAIN
from clipfast.retrieval.crops import Region

if TYPE_CHECKING:
    from clipfast.retrieval.answers import Answer
    from clipfast.retrieval.attributes import FabricAttributes
    from clipfast.retrieval.fusion import Voices
    from clipfast.retrieval.journal import QueueItem
    from clipfast.retrieval.recommend import Recommendation

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@takes_language("zh")
@takes_clip_options()
@takes_voice_options()
@takes_region()
def recommend(
    image: Annotated[Path, typer.Argument(help="The photo.")],
    *,
    topk: Annotated[int, typer.Option("--topk", min=1, help="How many fabrics.")] = 5,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Folder of labels: let this wait there if it is unsure or none of these."),
    ] = None,
    ask_below: Annotated[
        float | None,
        typer.Option("--ask-below", min=0, max=1, help="With --labels: below this confidence; default: 0.5."),
    ] = None,
    say: Speaker,
    region: Region,
    voice_options: VoiceOptions,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Rank fabrics for a photo, or for a part of it."""
    from clipfast.retrieval.attributes import extract_attributes
    from clipfast.retrieval.fusion import fuse_with_clip
    from clipfast.retrieval.recommend import recommend_fabrics_localized

    if ask_below is not None and labels is None:
        raise wrong_usage("--ask-below needs --labels, the folder where it is to wait", "ask_needs_labels")
    patch = region.cut(image)
    with clip_options.load() as clip:
        voices = voice_options.open(clip)
        attributes = extract_attributes(patch)
        base: list[Recommendation] = []
        if voices.rules is not None:
            count = len(voices.rules.rules)
            base = recommend_fabrics_localized(attributes, say.lang, top_k=count, rules_source=voices.rules)
        results = fuse_with_clip(patch, base, say.lang, voices.fusion.alpha, topk, voices=voices)
    queued = None
    if labels is not None:
        queued = _enqueue(labels, image, region, results, ask_below=ask_below, model=voices.bank.model.name)
    hint = _Hint.of(voice_options, calibrated=results.judgement.calibrated)
    checks = _checks(say, voices, results, hint)
    if json:
        print_json(
            {
                "image": image.as_posix(),
                "lang": say.lang,
                "alpha": voices.fusion.alpha if base else None,
                "fusion": voices.fusion,
                "attributes": attributes.as_dict()["visual"],
                "results": [result._asdict() for result in results],
                "confidence": results.confidence,
                "confidence_calibrated": results.judgement.calibrated,
                "none_of_these": results.none_of_these,
                "uncertain": results.judgement.uncertain,
                "queued": queued,
                "checks": checks,
            }
        )
        return
    _show(say, attributes, results, hint)
    if queued is not None:
        note(say("label_queued", item=queued.id, why=say(f"label_{queued.picked}")))
    show_checks(checks)


@dataclass(frozen=True, slots=True)
class _Hint:
    """What is said of a confidence, and what would make it a calibrated one.

    Attributes:
        note: Key of the message behind the confidence; None where it is calibrated.
        check: Key of the message in the check point.
        path: File of fitted weights.
    """

    note: str | None
    check: str
    path: str

    @classmethod
    def of(cls, options: VoiceOptions, *, calibrated: bool) -> _Hint:
        """Tell whether weights must be fitted first, or are there and only have to be used, or used as they are."""
        from clipfast.retrieval.fused import default_fusion_path
        from clipfast.retrieval.registry import Registry

        path = default_fusion_path()
        promoted = options.models is not None and "alpha" in Registry(options.models).current().versions
        if calibrated:
            keys: tuple[str | None, str] = None, "recommend_fitted"
        elif promoted or options.fusion is not None or options.alpha == "fit":
            own = options.alpha not in (None, "fit")
            keys = ("confidence_own", "recommend_own") if own else ("confidence_others", "recommend_others")
        elif not path.is_file():
            keys = "confidence_share", "recommend_not_fitted"
        elif options.models is not None:
            keys = "confidence_promote", "recommend_not_promoted"
        else:
            keys = "confidence_fitted", "recommend_fitted_not_used"
        return cls(*keys, path.as_posix())


def _checks(say: Speaker, voices: Voices, results: Answer[Recommendation], hint: _Hint) -> list[Check]:
    judged, held = results.judgement, {voices.owners.get(name, name) for name in voices.bank.references.names}
    first = results[0].name
    return [
        Check(say("check_confidence"), judged.calibrated, say(hint.check, path=hint.path)),
        *answer_checks(say, judged),
        Check(say("check_in_bank"), first in held, results[0].display_name),
    ]


def _enqueue(
    labels: Path, image: Path, region: Region, results: Answer[Recommendation], *, ask_below: float | None, model: str
) -> QueueItem | None:
    """Let a crop wait for a label if its answer is unsure or none of these, or by chance."""
    from clipfast.retrieval.labels import LabelStore, SeenCrop

    seen = SeenCrop.of(image, region, results, model=model)
    items = LabelStore(labels).enqueue([seen], threshold=UNCERTAIN if ask_below is None else ask_below)
    return items[0] if items else None


def _show(say: Speaker, found: FabricAttributes, results: Answer[Recommendation], hint: _Hint) -> None:
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
    words = "" if hint.note is None else say(hint.note, path=hint.path)
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
        table.add_row(str(place), result.display_name, f"{result.score:z.3f}", result.notes)
    out.print(table)
