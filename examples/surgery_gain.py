"""What does CLIP Surgery gain, and which of its parts? A study on rendered objects of known place.

    python examples/surgery_gain.py --model ARTIFACT --pictures 400 --out gain

Objects of fabricworld, each asked for by its name ("a red star"), on seeds that no model was trained on. Three
questions, each answered with intervals over pictures and differences that are paired:

1. every path of the artifact against `plain`, the tokens of the unmodified tower;
2. v-v tokens with and without label list, redundant text and prompt ensemble;
3. boxes of one percentile against boxes fused from many.

A label list and a redundant text are two ways to say what a text is compared with, so they do not combine; each comes
with one prompt and with the ensemble. Nothing is tuned. Box IoU is that of the box around a map's peak, cut at 0.6 of
the map's range; a name that a picture shows twice is not asked for. Writes `surgery_gain.json` and `surgery_gain.md`.
Needs: clipfast[cpu].
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clipfast import Clip
from clipfast.datasets.box_records import BoxReport, BoxSample, BoxSet, Doubles
from clipfast.datasets.fabricworld import FABRICS, SHAPES, detection_samples
from clipfast.errors import UndefinedMetricError
from clipfast.metrics.image_series import DrawnFigure, ImageSeries, drawn_figure, image_weights
from clipfast.metrics.multiple import holm_adjusted
from clipfast.prompts import SURGERY
from clipfast.provenance import Provenance, digest
from clipfast.report.results import write_json
from clipfast.report.tables import markdown_table, number, with_ends
from clipfast.storage import atomic_write
from clipfast.surgery.evaluate import evaluate_localisation
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_scores import score_records
from clipfast.surgery.options import MapOptions
from clipfast.surgery.paths import PATHS
from clipfast.surgery.paths import Path as PathName

TEST_SEED = 900_000_000  # fabricworld's test pictures begin here
ONE_PROMPT = ("a {}",)
GENERAL = (*FABRICS, *(f"a {shape}" for shape in SHAPES))
IOUS = (0.1, 0.3, 0.5)
MAP_METRICS = tuple(f"map@{iou:g}" for iou in IOUS)
METRICS = ("peak_iou", "pointing", "energy", *MAP_METRICS)
BOX_METRICS = ("top_iou", "box_iou", *MAP_METRICS)
HEADINGS = {"peak_iou": "box IoU", "top_iou": "surest box", "box_iou": "any box"}
MUST = {"peak_iou": 0.12, "pointing": 0.20}  # what v-v has to gain over plain on a model that was never told a place

Series = Mapping[str, ImageSeries]


@dataclass(frozen=True)
class Study:
    """One model on one set of pictures; every run is scored on the same resamples of them."""

    clip: Clip
    data: BoxSet
    resamples: int

    @cached_property
    def weights(self) -> Doubles:
        """How often each picture counts in each resample."""
        return image_weights(len(self.data), self.resamples, seed=0)

    def run(self, paths: tuple[PathName, ...], maps: MapOptions, **changes: Any) -> dict[str, Series]:
        """Evaluate and return the outcomes by path."""
        options = LocaliseOptions(
            paths=paths, iou_thresholds=IOUS, maps=replace(maps, geometry="squash"), resamples=self.resamples
        )
        options = replace(options, **changes)
        records = evaluate_localisation(self.clip, self.data, options)
        return dict(score_records(records, options).series)

    def against(self, systems: Mapping[str, Series], base: str, metrics: tuple[str, ...]) -> dict[str, Any]:
        """Return each system's figures, and its differences to one of them."""
        others = {name: (systems[base], series) for name, series in systems.items() if name != base}
        found = self.pairs(others, metrics)
        found["rows"] = {base: self._figures(systems[base], metrics), **found["rows"]}
        return {**found, "base": base}

    def pairs(self, pairs: Mapping[str, tuple[Series, Series]], metrics: tuple[str, ...]) -> dict[str, Any]:
        """Return, for each pair, both figures and the second less the first; p by Holm over the pairs of a metric."""
        rows = {name: self._figures(second, metrics) for name, (_, second) in pairs.items()}
        for metric in metrics:
            tested: dict[str, float] = {}
            for name, (first, second) in pairs.items():
                one, other = self._drawn(first[metric]), self._drawn(second[metric])
                if one is None or other is None:
                    continue
                found = other.less(one)
                ends = found.interval
                low, high = (ends.low, ends.high) if ends is not None else (None, None)
                rows[name][metric] |= {
                    "before": one.estimate,
                    "difference": {"value": found.difference, "low": low, "high": high, "p": found.p_value},
                }
                tested[name] = found.p_value
            for name, p in zip(tested, holm_adjusted(list(tested.values())).tolist(), strict=True):
                rows[name][metric]["difference"]["p_holm"] = p
        return {"metrics": list(metrics), "rows": rows}

    def _figures(self, series: Series, metrics: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        cells: dict[str, dict[str, Any]] = {}
        for metric in metrics:
            drawn = self._drawn(series[metric])
            ends = None if drawn is None else drawn.interval()
            cells[metric] = (
                {"value": None, "low": None, "high": None}
                if ends is None
                else {"value": ends.estimate, "low": ends.low, "high": ends.high}
            )
        return cells

    def _drawn(self, series: ImageSeries) -> DrawnFigure | None:
        try:
            return drawn_figure(series, self.weights, within=(0.0, 1.0))
        except UndefinedMetricError:
            return None


def pictures(seed: int, count: int) -> BoxSet:
    """Render the pictures once. A name that one shows twice is difficult: nobody has to say which is meant."""
    samples = []
    for drawn in detection_samples(seed, count):
        names = list(drawn.names)
        twice = np.array([names.count(name) > 1 for name in names], np.bool_)
        boxes = drawn.boxes.astype(np.float64)
        samples.append(BoxSample(drawn.key, drawn.image, drawn.image.shape[:2], boxes, drawn.names, twice))
    classes = tuple(sorted({label for sample in samples for label in sample.labels}))
    return BoxSet("fabricworld", None, classes, samples, BoxReport())


def paths_of(clip: Clip) -> tuple[PathName, ...]:
    """Return every path whose tokens the artifact holds; `plain` must be among them."""
    graphs = clip.manifest.graphs
    held = tuple(name for name, row in PATHS.items() if row.graph in graphs and row.stream in graphs[row.graph].outputs)
    if not {"plain", "vv_vv", "standard"} <= set(held):
        raise SystemExit(
            f"{clip.name} must hold the graphs dense and tokens. Export it with --heads dense,tokens,text."
        )
    return held


def text_variants(study: Study) -> dict[str, Series]:
    """Run v-v tokens with every way to compare a text, each with one prompt and with the ensemble."""
    lists: dict[str, tuple[PathName, MapOptions, dict[str, Any]]] = {
        "v-v alone": ("vv_vv", MapOptions(), {}),
        'redundant ""': ("vv_vv", MapOptions(redundant=""), {}),
        'redundant "fabric"': ("vv_vv", MapOptions(redundant="fabric"), {}),
        "label list: in the image": ("standard", MapOptions(), {"rivals": "image"}),
        "label list: data set": ("standard", MapOptions(), {}),
        "label list: general": ("standard", MapOptions(labels=GENERAL, rivals="labels"), {}),
        "label list: data set + general": ("standard", MapOptions(labels=GENERAL), {}),
    }
    found: dict[str, Series] = {}
    for name, (path, maps, changes) in lists.items():
        for said, templates in (("one prompt", ONE_PROMPT), ("ensemble", SURGERY)):
            _note(f"texts: {name}, {said}")
            found[f"{name}, {said}"] = study.run((path,), replace(maps, templates=templates), **changes)[path]
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """Lay the tables out."""
    said = results["data"]
    parts = [
        f"# What Surgery gains: {results['provenance']['model']['name']}",
        f"{said['pictures']} pictures of fabricworld from seed {said['seed']}, {said['asked']} objects asked for by "
        f"name ({said['twice']} left out that a picture shows twice); 95 % intervals over pictures, "
        f"{said['resamples']} resamples; p by paired bootstrap, Holm over the rows of a table.",
    ]
    for title, table in results["tables"].items():
        parts += [f"## {title}", *_tables(table)]
    parts += ["## Asked of v-v on a model that was never told a place", _verdict(results["verdict"])]
    return "\n\n".join(parts) + "\n"


def _tables(table: Mapping[str, Any]) -> list[str]:
    metrics, rows = table["metrics"], table["rows"]
    names = ["", *(HEADINGS.get(metric, metric.replace("map", "mAP")) for metric in metrics)]
    if "base" in table:
        values = [
            [name, *(with_ends(row[m]["value"], row[m]["low"], row[m]["high"]) for m in metrics)]
            for name, row in rows.items()
        ]
        says = f"Less `{table['base']}`, paired:"
    else:
        values = [
            [name, *(f"{number(row[m].get('before'))} / {number(row[m]['value'])}" for m in metrics)]
            for name, row in rows.items()
        ]
        says = "The second less the first, paired:"
    differences = [
        [name, *(_difference(row[m].get("difference")) for m in metrics)]
        for name, row in rows.items()
        if name != table.get("base")
    ]
    return [markdown_table(names, values), says, markdown_table(names, differences)]


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    return f"{with_ends(found['value'], found['low'], found['high'])} p {number(found['p_holm'])}"


def _verdict(verdict: Mapping[str, Any]) -> str:
    return markdown_table(
        ["", "v-v less plain", "at least", "reached"],
        [
            [HEADINGS.get(metric, metric), number(row["gain"]), row["must"], "yes" if row["reached"] else "no"]
            for metric, row in verdict.items()
        ],
    )


def _verdict_of(table: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric, must in MUST.items():
        difference = table["rows"]["vv_vv"][metric].get("difference")
        gain = None if difference is None else difference["value"]
        found[metric] = {"gain": gain, "must": must, "reached": gain is not None and gain >= must}
    return found


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="an artifact with the graphs dense, tokens and text")
    parser.add_argument("--pictures", type=int, default=4, help="how many; 400 give useful intervals")
    parser.add_argument("--seed", type=int, default=TEST_SEED, help="of the first picture")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap over pictures")
    parser.add_argument("--out", type=Path, default=Path("surgery_gain"), help="folder of the JSON and the Markdown")
    given = parser.parse_args()

    data = pictures(given.seed, given.pictures)
    with Clip.load(given.model) as clip:
        study, paths = Study(clip, data, given.resamples), paths_of(clip)
        one_prompt = MapOptions(templates=ONE_PROMPT)
        _note(f"paths: {', '.join(paths)}")
        single = study.run(paths, one_prompt)
        texts = text_variants(study)
        _note("boxes: fused from many thresholds")
        fused = study.run(paths, one_prompt, box_source="multi")
        model = {"name": clip.name, "fingerprint": clip.fingerprint()}
    on_off = {name.removesuffix(", one prompt"): name for name in texts if name.endswith(", one prompt")}
    tables = {
        "Every path: one prompt, boxes of percentile 90": study.against(single, "plain", METRICS),
        "Texts: which part helps what, on v-v tokens": study.against(texts, "v-v alone, one prompt", METRICS),
        "The prompt ensemble: one prompt / 85": study.pairs(
            {name: (texts[off], texts[f"{name}, ensemble"]) for name, off in on_off.items()}, METRICS
        ),
        "Boxes: percentile 90 / fused from many thresholds": study.pairs(
            {path: (single[path], fused[path]) for path in paths}, BOX_METRICS
        ),
    }
    twice = int(sum(sample.difficult.sum() for sample in data))
    results = {
        "kind": "surgery_gain",
        "schema": 1,
        "provenance": Provenance.collect(
            seeds={"pictures": given.seed, "bootstrap": 0},
            data={"pictures": digest([np.ascontiguousarray(sample.image).tobytes() for sample in data])},
            model=model,
        ).as_json(),
        "data": {
            "pictures": len(data),
            "seed": given.seed,
            "asked": int(sum(len(sample.labels) for sample in data)) - twice,
            "twice": twice,
            "resamples": given.resamples,
        },
        "tables": tables,
        "verdict": _verdict_of(next(iter(tables.values()))),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    write_json(given.out / "surgery_gain.json", results)
    with atomic_write(given.out / "surgery_gain.md") as temporary:
        temporary.write_text(markdown(results), encoding="utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
