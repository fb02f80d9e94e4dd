"""`clipfast demo`: the library at work on images that it renders itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import numpy as np
import typer
from PIL import Image
from rich.table import Table

from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import (
    JsonOption,
    note,
    out,
    print_json,
    progress_bar,
)

if TYPE_CHECKING:
    from clipfast.datasets.fabricworld import Scene
    from clipfast.retrieval import FabricBank, Ranked
    from clipfast.runtime.clip import Clip
    from clipfast.types import Floats

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Result = TypeVar("Result")

# Fabrics that look different to the eye; fabricworld has more.
DEMO_FABRICS = ("denim", "satin", "houndstooth", "polka dots", "corduroy", "quilted", "carpet", "linen")
_PER_FABRIC = 3
_QUERY = ("houndstooth", "purple")
_ROUNDS = 40
_REFERENCES = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """One step's latency in milliseconds: the first call, and percentiles of the warm ones."""

    step: str
    cold_ms: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class AnomalyMap:
    """What the memory of a few intact pieces says of a damaged one: which damage, the picture, and pixel AUROC."""

    damage: str
    picture: Path
    auroc: float


@app.command()
@takes_clip_options()
def demo(
    *,
    out_dir: Annotated[Path, typer.Option("--out", help="Where the pictures and the bank go.")] = Path("demo"),
    rounds: Annotated[int, typer.Option(min=1, help="Warm calls that are timed.")] = _ROUNDS,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Render fabrics, build a bank, answer a query, draw a heat map and an anomaly map; print how long steps took."""
    started = time.perf_counter()
    clip = clip_options.load()
    loaded_ms = (time.perf_counter() - started) * 1e3
    bank, bank_path = _bank(clip, out_dir)
    query = _query_photo(out_dir)
    ranked, query_time = _timed("query: JPEG to ranked fabrics", lambda: bank.rank(query, topk=5), rounds, clip.warm_up)
    scene, picture, heat_time = _heat_map(clip, out_dir, rounds)
    anomaly, anomaly_time = _anomaly_map(clip, out_dir, rounds)
    text_time = _timed("text: one new prompt", _new_prompts(clip), rounds)[1]
    timings = [query_time, heat_time, anomaly_time, text_time]
    if json:
        print_json(
            {
                "model": clip.name,
                "threads": clip.threads,
                "bank": {"path": bank_path.as_posix(), "fabrics": len(bank.fabrics), "images": len(bank)},
                "query": {"image": query.as_posix(), "answer": _QUERY[0]}
                | {"ranked": [{"id": r.id, "score": r.score} for r in ranked]},
                "heatmap": {"text": _phrase(scene), "overlay": picture.as_posix()},
                "anomaly": {
                    "damage": anomaly.damage,
                    "overlay": anomaly.picture.as_posix(),
                    "auroc": anomaly.auroc,
                },
                "load_ms": loaded_ms,
                "timings": timings,
            }
        )
        return
    _show(clip, bank_path, query, ranked, picture, scene)
    out.print(f"Anomaly map of {anomaly.damage}, from {_REFERENCES} intact pieces: {anomaly.picture}")
    _show_timings(timings, loaded_ms, clip.threads)


def _bank(clip: Clip, folder: Path) -> tuple[FabricBank, Path]:
    from clipfast.datasets.fabricworld import write_folder
    from clipfast.retrieval import FabricBank

    note(f"Rendering {len(DEMO_FABRICS)} fabrics, {_PER_FABRIC} reference pictures of each ...")
    write_folder(folder / "fabrics", fabrics=DEMO_FABRICS, per_fabric=_PER_FABRIC, seed=0, size=320)
    with progress_bar("Encoding") as progress:
        bank = FabricBank.build(clip, folder / "fabrics", progress=progress)
    path = folder / "fabric_bank.npz"
    bank.save(path)
    return bank, path


def _query_photo(folder: Path) -> Path:
    """A piece of cloth that is not in the bank, as a camera would give it: a 640 x 480 JPEG."""
    from clipfast.datasets.fabricworld import render

    path = folder / "query.jpg"
    fabric, colour = _QUERY
    Image.fromarray(render(4711, fabric=fabric, colour=colour, size=640).image[80:560]).save(path, quality=90)
    return path


def _heat_map(clip: Clip, folder: Path, rounds: int) -> tuple[Scene, Path, Timing]:
    from clipfast.datasets.fabricworld import render
    from clipfast.report.images import contact_sheet, overlay, save_png
    from clipfast.runtime.images import load_image
    from clipfast.runtime.preprocess import preprocess
    from clipfast.surgery import heatmaps
    from clipfast.surgery.heatmap import unit_range

    scene = render(43, fabric="linen", colour="white", objects=3, size=448)
    phrases = [f"{thing.colour} {thing.shape}" for thing in scene.objects]
    seen = preprocess(load_image(scene.image), clip.manifest.image)

    def compute() -> Floats:
        return heatmaps(clip, scene.image, phrases, path="vv_vv", size_hw=(seen.shape[0], seen.shape[1]))

    found, timing = _timed("heat maps: 3 texts, one image", compute, rounds)
    panels = [seen, *(overlay(seen, heat) for heat in unit_range(found[0]))]
    path = folder / "heatmap.png"
    save_png(path, contact_sheet(panels, [f"{scene.colour} {scene.fabric}", *phrases], columns=len(panels)))
    return scene, path, timing


def _anomaly_map(clip: Clip, folder: Path, rounds: int) -> tuple[AnomalyMap, Timing]:
    """Where is this piece damaged? Nothing but the intact ones is known."""
    from clipfast.anomaly import AnomalyDetector, AnomalyOptions
    from clipfast.datasets.fabricworld import Wishes, anomaly_samples
    from clipfast.metrics import auroc_score
    from clipfast.report.anomalies import heat_of, usual_level
    from clipfast.report.images import contact_sheet, overlay, save_png

    wishes = Wishes(fabric="denim", defects=["hole"])
    *pieces, broken = anomaly_samples(11, good=_REFERENCES, each=1, wishes=wishes)
    size = (broken.image.shape[0], broken.image.shape[1])
    options = AnomalyOptions(size_hw=size, sigma=4 * size[0] / 256)
    detector = AnomalyDetector.fit(
        clip, [each.image for each in pieces], class_name="denim", image_mode="memory", options=options
    )
    decision = detector.threshold(fpr=0.01)
    scores, timing = _timed("anomaly: one image, both branches", lambda: detector.score([broken.image]), rounds)
    heat = heat_of(scores.pixel[0], usual_level(detector), decision.pixel_threshold)
    truth = np.repeat((broken.mask[..., None] > 0).astype(np.uint8) * 255, 3, axis=2)
    path = folder / "anomaly.png"
    panels = [pieces[0].image, broken.image, overlay(broken.image, heat), truth]
    save_png(path, contact_sheet(panels, ["an intact piece", f"a {broken.label}", "anomaly map", "truth"], columns=4))
    return AnomalyMap(f"a {broken.label} in denim", path, auroc_score(broken.mask > 0, scores.pixel[0])), timing


def _new_prompts(clip: Clip) -> Callable[[], object]:
    """Each call embeds a text that no cache holds."""
    numbers = iter(range(1_000_000))
    return lambda: clip.encode_texts([f"a photo of red denim fabric {next(numbers)}"])


def _timed(
    step: str, function: Callable[[], Result], rounds: int, warm_up: Callable[[], None] | None = None
) -> tuple[Result, Timing]:
    """Time the first call, then `rounds` further ones after the warm-up that a service would do."""
    begin = time.perf_counter()
    result = function()
    cold = time.perf_counter() - begin
    if warm_up is not None:
        warm_up()
    warm = []
    for _ in range(rounds):
        begin = time.perf_counter()
        function()
        warm.append(time.perf_counter() - begin)
    p50, p95 = np.percentile(warm, (50, 95)) * 1e3
    return result, Timing(step, cold * 1e3, float(p50), float(p95))


def _phrase(scene: Scene) -> list[str]:
    return [f"{thing.colour} {thing.shape}" for thing in scene.objects]


def _show(clip: Clip, bank_path: Path, query: Path, ranked: list[Ranked], picture: Path, scene: Scene) -> None:
    out.print(f"\nModel {clip.name}, {clip.provider}, {clip.precision}; bank {bank_path}")
    table = Table(title=f"{query}: {_QUERY[1]} {_QUERY[0]}, a piece that is not in the bank")
    table.add_column("fabric")
    table.add_column("score", justify="right")
    for r in ranked:
        right = r.id == _QUERY[0].replace(" ", "_")
        table.add_row(f"{'✓ ' if right else '  '}{r.id}", f"{r.score:z.3f}", style="green" if right else "")
    out.print(table)
    out.print(f"Heat maps of {', '.join(_phrase(scene))}: {picture}")


def _show_timings(timings: list[Timing], loaded_ms: float, threads: int) -> None:
    table = Table(title=f"Latency in ms, {threads} threads")
    for heading in ("step", "cold", "warm p50", "warm p95"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    table.add_row("load the model's manifest", f"{loaded_ms:.1f}", "", "")
    for t in timings:
        table.add_row(t.step, f"{t.cold_ms:.1f}", f"{t.p50_ms:.1f}", f"{t.p95_ms:.1f}")
    out.print(table)
