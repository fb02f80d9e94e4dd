"""int8 graphs for an artifact proven in fp32: calibrate, find what must stay fp32, judge, and keep or refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx_ir as ir

from clipfast.artifact import Artifact, FileSpec, GraphSpec, Int8Report, graph_key
from clipfast.export.convert import write_graphs
from clipfast.export.int8_gate import judge, reasons_against
from clipfast.export.int8_graphs import PATCHES, Recipe, make_recipe, products, quantized_graph
from clipfast.export.int8_images import ImageSets, image_sets, labelled_scenes
from clipfast.export.observed import observe
from clipfast.runtime.choice import choose_provider
from clipfast.runtime.clip import Clip
from clipfast.runtime.openvino import computes_bf16
from clipfast.runtime.provider_options import OpenVinoOptions
from clipfast.runtime.reading import ImageOptions
from clipfast.runtime.session import available_cores, open_packaged
from clipfast.storage import sha256_file
from clipfast.types import Floats, Pixels

__all__ = ["INT8_WEIGHTS", "add_int8", "calibrated", "make_graphs", "sensitivities", "write_ungated"]

INT8_WEIGHTS = "vision.int8.weights"
_BATCH = 8  # as OpenVINO takes them
_MOST_KEPT = 1 / 3  # of the multiply-adds; a graph that keeps more in fp32 is hardly faster than fp32 itself
Tell = Callable[[str, int, int], object]


def add_int8(artifact: Artifact, *, calibration: Path | None = None, progress: Tell | None = None) -> Int8Report:
    """Make int8 twins of the vision graphs, and keep them if their answers are good enough.

    Afterwards the artifact's manifest, in memory, names the graphs if they were kept, and says in either case what was
    measured; the caller writes it.

    Args:
        artifact: Proven, and not yet in place.
        calibration: A folder of images to choose scales by; None renders fabrics.
        progress: Called as `progress(what, done, total)` before each step.

    Returns:
        What was measured, and why int8 was refused if it was.

    Raises:
        DataError: Too few images.
    """
    tell: Tell = progress or (lambda *_: None)
    manifest = artifact.manifest
    sets = image_sets(manifest.image, calibration)
    scenes = labelled_scenes(manifest.image, manifest.model.grid_hw)
    tell("calibrating int8", 0, 4)
    recipe = calibrated(artifact, sets)
    costs = _costs(artifact)
    tell("finding products that must stay fp32", 1, 4)
    kept = _least_kept(artifact, recipe, costs, sets.search)
    tell("judging int8", 3, 4)
    _write(artifact, recipe, kept)
    figures = judge(_clip(artifact, "fp32"), _clip(artifact, "int8"), sets.judged, scenes)
    reasons = reasons_against(figures)
    elsewhere = halved = None
    if not reasons and choose_provider(None, "int8").name == "openvino":  # where users of int8 run it, if they can
        elsewhere = judge(_clip(artifact, "fp32"), _clip(artifact, "int8", OpenVinoOptions()), sets.judged, scenes)
        reasons = tuple(f"on OpenVINO the {reason}" for reason in reasons_against(elsewhere))
        if not reasons and computes_bf16():
            on = OpenVinoOptions(int8_rest="bf16")
            halved = judge(_clip(artifact, "fp32"), _clip(artifact, "int8", on), sets.judged, scenes)
    report = Int8Report(
        passed=not reasons,
        reasons=reasons,
        calibration=sets.source,
        calibration_images=len(sets.calibration),
        kept_fp32=tuple(sorted(kept)),
        int8_share=1 - sum(costs[place] for place in kept) / sum(costs.values()),
        figures=figures,
        figures_openvino=elsewhere,
        figures_bf16_rest=halved,
        reasons_bf16_rest=reasons_against(halved) if halved is not None else (),
    )
    if reasons:
        _remove(artifact)
    artifact.manifest = msgspec.structs.replace(artifact.manifest, int8=report)
    return report


def make_graphs(artifact: Artifact, recipe: Recipe, kept: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the int8 twin of every vision graph, by its key."""
    return {
        graph_key(head, "int8"): quantized_graph(artifact.path / f"{head}.onnx", head, recipe, kept=kept)
        for head in _heads(artifact)
    }


def write_ungated(artifact: Artifact, recipe: Recipe, folder: Path) -> dict[str, Path]:
    """Write the int8 twins into a folder of their own, unjudged, for measuring speed; return their files by head."""
    folder.mkdir(parents=True, exist_ok=True)
    files = write_graphs(make_graphs(artifact, recipe), folder, INT8_WEIGHTS)
    return {head: folder / files[graph_key(head, "int8")][0] for head in _heads(artifact)}


def sensitivities(artifact: Artifact, recipe: Recipe, pixels: Pixels) -> list[tuple[str, float]]:
    """Return how far each product alone, in int8, turns the outputs of the richest graph, worst first.

    The figure is 1 - the mean cosine with fp32 over all rows of all outputs.
    """
    head = next(head for head in ("dense", "joint", "tokens", "embed", "patches") if head in _heads(artifact))
    outputs = artifact.manifest.graphs[head].outputs
    exact = _run(artifact.path / f"{head}.onnx", outputs, pixels)
    places = list(dict.fromkeys(product.place for product in products(ir.load(artifact.path / f"{head}.onnx").graph)))
    found = []
    for place in places:
        others = frozenset(places) - {place}
        with _temporary(artifact, quantized_graph(artifact.path / f"{head}.onnx", head, recipe, kept=others)) as path:
            rounded = _run(path, outputs, pixels)
        found.append((place, _turned(exact, rounded)))
    return sorted(found, key=lambda item: -item[1])


def _least_kept(artifact: Artifact, recipe: Recipe, costs: dict[str, int], pixels: Pixels) -> frozenset[str]:
    """Keep as few of the most sensitive products in fp32 as the gate allows, judged on the search images."""
    total = sum(costs.values())
    exact = _clip(artifact, "fp32")
    kept: frozenset[str] = frozenset()
    ranked: list[str] = []
    for count in _counts(len(costs)):
        if count and not ranked:  # most models need no ranking, which opens one session a product
            ranked = [place for place, _ in sensitivities(artifact, recipe, pixels)]
        tried = frozenset(ranked[:count])
        if sum(costs[place] for place in tried) > _MOST_KEPT * total:
            break
        kept = tried
        _write(artifact, recipe, kept)
        figures = judge(exact, _clip(artifact, "int8"), pixels, None)
        _remove(artifact)
        if not reasons_against(figures):
            break
    return kept


def _counts(most: int) -> Iterator[int]:
    """0, 1, 2, 3, 4, 6, 8, 12, ...: few steps, and never many more than needed."""
    yield from (0, 1)
    step = 2
    while step <= most:
        yield step
        if step + step // 2 <= most and step > 1:
            yield step + step // 2
        step *= 2


def calibrated(artifact: Artifact, sets: ImageSets) -> Recipe:
    """Return scales and smoothing for every product, from the calibration images."""
    graphs = {head: ir.load(artifact.path / f"{head}.onnx").graph for head in _heads(artifact)}
    seen = {}
    for head, graph in graphs.items():
        found = products(graph)
        names = list(dict.fromkeys(one.input_name for one in found if one.place != PATCHES))
        seen[head] = observe(artifact.path / f"{head}.onnx", names, _batches(sets.calibration))
    return make_recipe(seen, graphs)


def _costs(artifact: Artifact) -> dict[str, int]:
    """Multiply-adds of each place for one token, over all graphs; tokens are the same for all but the last rows."""
    costs: dict[str, int] = {}
    for head in _heads(artifact):
        for product in products(ir.load(artifact.path / f"{head}.onnx").graph):
            costs[product.place] = max(costs.get(product.place, 0), product.weight.size)
    return costs


def _heads(artifact: Artifact) -> list[str]:
    specs = artifact.manifest.graphs.items()
    return [key for key, spec in specs if key != "text" and (spec.precision, spec.flavour) == ("fp32", "fused")]


def _write(artifact: Artifact, recipe: Recipe, kept: frozenset[str]) -> None:
    """Write the int8 graphs and enter them into the manifest in memory."""
    files = write_graphs(make_graphs(artifact, recipe, kept), artifact.path, INT8_WEIGHTS)
    graphs, listed = dict(artifact.manifest.graphs), dict(artifact.manifest.files)
    for head in _heads(artifact):
        key = graph_key(head, "int8")
        graphs[key] = GraphSpec(
            files=files[key], inputs=graphs[head].inputs, outputs=graphs[head].outputs, precision="int8"
        )
        for name in files[key]:
            path = artifact.path / name
            listed[name] = FileSpec(bytes=path.stat().st_size, sha256=sha256_file(path))
    artifact.manifest = msgspec.structs.replace(artifact.manifest, graphs=graphs, files=listed)


def _remove(artifact: Artifact) -> None:
    graphs = {key: spec for key, spec in artifact.manifest.graphs.items() if spec.precision != "int8"}
    gone = {name for key, spec in artifact.manifest.graphs.items() if key not in graphs for name in spec.files}
    for name in gone:
        (artifact.path / name).unlink(missing_ok=True)
    files = {name: spec for name, spec in artifact.manifest.files.items() if name not in gone}
    artifact.manifest = msgspec.structs.replace(artifact.manifest, graphs=graphs, files=files)


def _clip(artifact: Artifact, precision: str, provider: str | OpenVinoOptions = "cpu") -> Clip:
    copy = Artifact(artifact.path, artifact.manifest)  # a Clip keeps the manifest as it is now
    images = ImageOptions(batch_size=_BATCH)
    return Clip(copy, provider=provider, precision=precision, threads=available_cores(), images=images)


class _temporary:  # noqa: N801  # used like a function
    """A graph as a file beside the weights it reads, for as long as it is wanted."""

    def __init__(self, artifact: Artifact, model: Any) -> None:
        self._paths = [artifact.path / ".one.onnx", artifact.path / ".one.weights"]
        write_graphs({".one": model}, artifact.path, ".one.weights")

    def __enter__(self) -> Path:
        return self._paths[0]

    def __exit__(self, *_: object) -> None:
        for path in self._paths:
            path.unlink(missing_ok=True)


def _run(path: Path, outputs: Sequence[str], pixels: Pixels) -> list[Floats]:
    session = open_packaged(path, outputs, threads=available_cores())
    takes_alpha = any(value.name == "alpha" for value in ir.load(path).graph.inputs)
    alpha = {"alpha": np.asarray(0.5, np.float32)} if takes_alpha else {}
    parts = [session.run({"pixels": group} | alpha) for group in _batches(pixels)]
    return [np.concatenate([part[name] for part in parts]) for name in outputs]


def _turned(exact: Sequence[Floats], rounded: Sequence[Floats]) -> float:
    cosines = partial(np.linalg.norm, axis=-1)
    return float(
        np.mean(
            [
                1 - np.mean(np.vecdot(a, b) / np.maximum(cosines(a) * cosines(b), 1e-12))
                for a, b in zip(exact, rounded, strict=True)
            ]
        )
    )


def _batches(pixels: Pixels) -> Iterator[Pixels]:
    return (pixels[at : at + _BATCH] for at in range(0, len(pixels), _BATCH))
