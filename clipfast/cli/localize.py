"""`clipfast localize`: how well do heat maps find what is boxed in a data set?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption

_LARGEST_LIST = 1 << 20
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class BoxFormatName(StrEnum):
    """What a folder may hold."""

    auto = "auto"
    voc = "voc"
    dior = "dior"
    coco = "coco"
    yolo = "yolo"
    fabricworld = "fabricworld"


class BoxSourceName(StrEnum):
    """Where the boxes that are scored come from."""

    percentile = "percentile"
    multi = "multi"
    proposals = "proposals"
    snapped = "snapped"


class GeometryChoice(StrEnum):
    """How an image becomes the model's square."""

    squash = "squash"
    letterbox = "letterbox"
    centre_crop = "centre_crop"


class MorphologyName(StrEnum):
    """How a mask is cleaned."""

    close_open = "close_open"
    none = "none"


class LabelListName(StrEnum):
    """What `standard` compares a class with."""

    dataset = "dataset"
    image = "image"
    labels = "labels"


class TemplatesName(StrEnum):
    """Sets of prompts."""

    surgery = "surgery"
    imagenet = "imagenet"
    plain = "plain"
    inspection = "inspection"
    none = "none"


class ScaleName(StrEnum):
    """On which scale boxes are ranked."""

    raw = "raw"
    unit = "unit"


@app.command()
@takes_clip_options()
def localize(
    *,
    dataset: Annotated[Path, typer.Argument(help="Folder of images with boxes; of fabricworld any word.")],
    format: Annotated[  # noqa: A002  # the option's name
        BoxFormatName, typer.Option("--format", help="What the folder holds; auto looks.")
    ] = BoxFormatName.auto,
    paths: Annotated[str, typer.Option("--paths", help="Which maps.")] = "standard,vv_qk,vv_vv,vv_mixed",
    iou: Annotated[str, typer.Option("--iou", help="IoU thresholds of mAP.")] = "0.1,0.3,0.5",
    out_dir: Annotated[
        Path, typer.Option("--out", help="Where results go; those of an earlier run there are replaced.")
    ] = Path("localize"),
    split: Annotated[str | None, typer.Option("--split", help="Part of the data set.")] = None,
    classes: Annotated[str | None, typer.Option("--classes", help="Only these, with commas between.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many images.")] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", help='Such as "an aerial photo of a {}"; several times: an ensemble.'),
    ] = None,
    templates: Annotated[
        TemplatesName | None,
        typer.Option("--templates", help="A set of prompts by name instead; default: surgery, its 85."),
    ] = None,
    phrase: Annotated[
        list[str] | None, typer.Option("--phrase", help='What a class is called: "RBC=red blood cell"; several times.')
    ] = None,
    label_list: Annotated[
        LabelListName,
        typer.Option(
            "--label-list",
            help="What standard compares a class with: classes of the data set, those in the image, or labels only.",
        ),
    ] = LabelListName.dataset,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="What else may be there, to compare with; several times.")
    ] = None,
    labels_from: Annotated[
        str | None, typer.Option("--labels-from", help="More labels: a text file, one a line, or context59.")
    ] = None,
    redundant: Annotated[
        str | None,
        typer.Option("--redundant", help='A text whose map is subtracted from all, such as "" or "a photo".'),
    ] = None,
    percentile: Annotated[float, typer.Option("--percentile", min=0, max=100, help="Of the boxes scored.")] = 90,
    percentiles: Annotated[str, typer.Option("--percentiles", help="Of the quality table.")] = "75,80,85,90,95",
    boxes: Annotated[
        BoxSourceName,
        typer.Option("--boxes", help="Boxes of a percentile, fused from many, of image regions, or moved onto them."),
    ] = BoxSourceName.percentile,
    morphology: Annotated[
        MorphologyName, typer.Option("--morphology", help="Clean the mask before it is boxed.")
    ] = MorphologyName.close_open,
    min_size: Annotated[int, typer.Option("--min-size", min=0, help="Smallest side of a box, in map pixels.")] = 6,
    geometry: Annotated[
        GeometryChoice, typer.Option("--geometry", help="How an image becomes the model's square.")
    ] = GeometryChoice.squash,
    scales: Annotated[
        str | None, typer.Option("--scales", help="Look in windows: 1,2 is the image, and windows of half its side.")
    ] = None,
    edge_aware: Annotated[bool, typer.Option("--edge-aware", help="Let maps follow the image's edges.")] = False,
    alpha: Annotated[float, typer.Option("--alpha", min=0, max=1, help="Share of vv_qk in vv_mixed.")] = 0.5,
    depths: Annotated[
        str | None, typer.Option("--depths", help="Average these Surgery depths, such as 4,6,8; needs the sweep.")
    ] = None,
    scores: Annotated[
        ScaleName, typer.Option("--scores", help="Rank boxes by raw similarity, or by each map scaled to 0..1.")
    ] = ScaleName.raw,
    all_classes: Annotated[
        bool, typer.Option("--all-classes", help="Look for every class in every image: detection.")
    ] = False,
    tolerance: Annotated[float, typer.Option("--tolerance", min=0, help="Of the pointing game, map pixels.")] = 0,
    tune: Annotated[bool, typer.Option("--tune", help="Choose settings on images that are not scored.")] = False,
    tune_split: Annotated[
        str | None, typer.Option("--tune-split", help="Split to tune on; default: train, else half of the sources.")
    ] = None,
    tune_limit: Annotated[int, typer.Option("--tune-limit", min=1, help="At most so many images to tune on.")] = 200,
    refine: Annotated[
        str | None,
        typer.Option(
            "--refine",
            metavar="SPLIT|DIR",
            help="Learn how boxes should move from this split, or folder (a name with a slash), that is not scored.",
        ),
    ] = None,
    refine_limit: Annotated[int, typer.Option("--refine-limit", min=1, help="At most so many images of it.")] = 500,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Score the boxes of this JSON instead of a model's.")
    ] = None,
    grad_cam: Annotated[
        Path | None,
        typer.Option("--grad-cam", help="Checkpoint of the model: one more row by Grad-CAM; needs the export extra."),
    ] = None,
    figures: Annotated[
        str, typer.Option("--figures", help="How many samples are drawn: a number, all or none.")
    ] = "10",
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Of the bootstrap over images.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the bootstrap and of a drawn split.")] = 0,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Evaluate heat maps against the boxes of DATASET, and write figures, tables and a diagnosis to --out."""
    from clipfast.cli.localize_run import LocalizeRun, show
    from clipfast.surgery.boxes import BoxOptions
    from clipfast.surgery.localise_options import LocaliseOptions
    from clipfast.surgery.options import MapOptions
    from clipfast.surgery.upsample import EdgeAware

    maps = MapOptions(
        geometry=geometry.value,
        scales=_numbers(scales, "--scales") if scales else (),
        batch_size=16,
        edge_aware=EdgeAware() if edge_aware else None,
        alpha=alpha,
        depths=_depths(depths),
        templates=_templates(prompt, templates),
        redundant=redundant,
        labels=_labels(label, labels_from),
        rivals="labels" if label_list is LabelListName.labels else "texts",
    )
    options = LocaliseOptions(
        paths=_words(paths),  # type: ignore[arg-type]  # checked against the table when they are used
        iou_thresholds=_numbers(iou, "--iou"),
        percentile=percentile,
        percentiles=_numbers(percentiles, "--percentiles"),
        box_source=boxes.value,
        boxes=BoxOptions(morphology=morphology.value, min_size_hw=(min_size, min_size)),
        maps=maps,
        rivals="image" if label_list is LabelListName.image else "dataset",
        phrases=tuple(_pair(each) for each in phrase or ()),
        scores=scores.value,
        all_classes=all_classes,
        tolerance=tolerance,
        resamples=resamples,
        seed=seed,
    )
    run = LocalizeRun(
        dataset=dataset,
        format=format.value,
        split=split,
        classes=None if classes is None else _words(classes),
        limit=limit,
        out=out_dir,
        figures=_figures(figures),
        tune_split=tune_split,
        tune_limit=tune_limit if tune or tune_split is not None else None,
        predictions=predictions,
        grad_cam=grad_cam,
        refine=refine,
        refine_limit=refine_limit,
    )
    show(run, run.run(options, clip_options), json=json)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError as error:
        raise typer.BadParameter(f"must be numbers with commas between; got {text!r}", param_hint=option) from error


def _depths(text: str | None) -> tuple[int, ...]:
    words = _words(text or "")
    if not all(word.isdecimal() for word in words):
        raise typer.BadParameter(f"must be whole numbers with commas between; got {text!r}", param_hint="--depths")
    return tuple(map(int, words))


def _pair(text: str) -> tuple[str, str]:
    name, sign, words = text.partition("=")
    if not sign or not name.strip() or not words.strip():
        raise typer.BadParameter(f"must be CLASS=WORDS; got {text!r}", param_hint="--phrase")
    return name.strip(), words.strip()


def _templates(prompts: list[str] | None, named: TemplatesName | None) -> tuple[str, ...] | None:
    """Return the prompts of the command, or a set by its name; None takes the class's words as they are."""
    from clipfast.prompts import SURGERY, TEMPLATE_SETS

    if prompts and named is not None:
        raise typer.BadParameter(
            f"must be left out where --prompt is given; got {named.value}", param_hint="--templates"
        )
    if prompts:
        return tuple(prompts)
    if named is None:
        return SURGERY
    return None if named is TemplatesName.none else TEMPLATE_SETS[named.value]


def _labels(given: list[str] | None, source: str | None) -> tuple[str, ...]:
    """Return labels as typed and those of a file or a set; none twice."""
    from clipfast.datasets.box_files import read_bounded
    from clipfast.prompts import LABEL_SETS

    if source is None:
        more: tuple[str, ...] = ()
    elif source in LABEL_SETS:
        more = LABEL_SETS[source]
    elif not Path(source).is_file():
        known = ", ".join(LABEL_SETS)
        raise typer.BadParameter(f"must be a text file or {known}; got {source!r}", param_hint="--labels-from")
    else:
        lines = read_bounded(Path(source), _LARGEST_LIST).decode("utf-8", "replace").splitlines()
        more = tuple(line.strip() for line in lines if line.strip())
    return tuple(dict.fromkeys([*(given or ()), *more]))


def _figures(text: str) -> int | None:
    """Return how many samples are drawn, None for all."""
    if text in {"all", "none"}:
        return None if text == "all" else 0
    if not text.isdecimal():
        raise typer.BadParameter(f"must be a number, all or none; got {text!r}", param_hint="--figures")
    return int(text)
