"""The report of an evaluation of localisation, for people, made of what the JSON files hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clipfast.datasets.box_records import PROBLEMS
from clipfast.report.tables import markdown_table, number, percent, with_ends

__all__ = ["localise_markdown"]

Json = Mapping[str, Any]
_MOST_CLASSES = 40


def localise_markdown(results: Json, quality: Json) -> str:
    """Lay the report out.

    Args:
        results: What `map_results.json` holds.
        quality: What `heatmap_quality_analysis.json` holds.
    """
    parts = [
        "# Localisation by heat maps",
        *_data(results),
        "## Mean average precision",
        *_precision(results),
        *_by_class(results),
        *_fit(results),
        *_quality(quality),
        *_responses(quality),
        *_comparisons(results),
        *_tuning(results),
        *_refining(results),
        "## Diagnosis",
        *_diagnosis(results),
        "## How to read this",
        *_notes(results, quality),
        "## Provenance",
        *_provenance(results["provenance"]),
    ]
    return "\n\n".join(parts) + "\n"


def _data(results: Json) -> Iterator[str]:
    data, settings = results["data"], results["settings"]
    mode = (
        "Boxes of **every class** were looked for in every image (detection)."
        if settings["all_classes"]
        else "Boxes were looked for **only of the classes that are in an image** (localisation given the class)."
    )
    yield "\n".join(
        [
            f"- data: {data['format']}, split {data['split'] or '(all)'}, {data['images']} images, "
            f"{data['ground_truths']} ground truths ({data['difficult']} difficult), {len(data['classes'])} classes, "
            f"{data['maps']} maps a path",
            f"- {mode}",
            f"- boxes: {settings['box_source']}, percentile {settings['percentile']:g}, "
            f"geometry {settings['geometry']}, ranked by {settings['scores']} similarity",
            f"- {_compared(settings)}",
            f"- texts: {', '.join(sorted(set(settings['texts'].values()))[:_MOST_CLASSES])}",
        ]
    )
    if data["problems"]:
        yield "Annotations:\n\n" + "\n".join(
            f"- {count} {PROBLEMS[kind]} ({'; '.join(data['examples'][kind])})"
            for kind, count in data["problems"].items()
        )


def _compared(settings: Json) -> str:
    maps, labels = settings["maps"], settings["maps"]["labels"]
    templates = maps["templates"]
    count = templates["count"] if isinstance(templates, dict) else len(templates or ())
    also = f" and {len(labels)} labels" if labels else ""
    said = {
        "dataset": f"`standard` compares a class with all classes of the data set{also}",
        "image": f"`standard` compares a class with those that are in the image{also}",
        "labels": f"`standard` compares each class with {len(labels)} labels only",
        "redundant": f"the map of the redundant text {maps['redundant']!r} is subtracted from every map",
    }
    return f"prompts: {count or 'none'} for each class; {said[settings['label_list']]}"


def _precision(results: Json) -> Iterator[str]:
    thresholds = [row["iou"] for row in next(iter(results["paths"].values()))["thresholds"]]
    yield markdown_table(
        ["path", *(f"mAP@{t:g}" for t in thresholds), *(f"11-point @{t:g}" for t in thresholds), "boxes an image"],
        [
            [
                path,
                *(_figure(row["map"]) for row in each["thresholds"]),
                *(number(row["map_eleven_point"]) for row in each["thresholds"]),
                number(each["boxes_per_image"], 1),
            ]
            for path, each in results["paths"].items()
        ],
    )


def _by_class(results: Json) -> Iterator[str]:
    classes = results["data"]["classes"]
    middle = {path: each["thresholds"][len(each["thresholds"]) // 2] for path, each in results["paths"].items()}
    iou = next(iter(middle.values()))["iou"]
    names = [name for name in classes if any(row["by_class"].get(name) is not None for row in middle.values())]
    yield f"Average precision by class at IoU {iou:g} (all thresholds are in `map_results.json`):"
    yield markdown_table(
        ["class", *middle],
        [[name, *(number(row["by_class"].get(name)) for row in middle.values())] for name in names[:_MOST_CLASSES]],
    )
    if len(names) > _MOST_CLASSES:
        yield f"({len(names) - _MOST_CLASSES} further classes are left out here.)"
    if len(names) < len(classes):
        yield f"({len(classes) - len(names)} classes have no ground truth that counts in these images.)"


def _fit(results: Json) -> Iterator[str]:
    rows = [(path, each["fit"]) for path, each in results["paths"].items() if each["fit"]]
    if not rows:
        return
    yield "## How boxes fit"
    yield markdown_table(
        ["path", "box IoU (around the peak, at 0.6 of the range)", "surest scored box", "any scored box"],
        [[path, *(_figure(fit[name]) for name in ("peak", "top", "every"))] for path, fit in rows],
    )


def _quality(quality: Json) -> Iterator[str]:
    for path, each in quality["paths"].items():
        if not each["quality"]:
            continue
        yield f"## Quality of the maps: {path}"
        yield markdown_table(
            ["percentile", "mean IoU", "max IoU", "IoU by ground truth", "boxes a map", "activated", "IoU >= 0.5"],
            [
                [
                    f"{row['percentile']:g} %",
                    _figure(row["mean_iou"]),
                    number(row["max_iou"]),
                    _figure(row["truth_iou"]),
                    number(row["boxes"], 1),
                    percent(row["activated"]),
                    row["reached"],
                ]
                for row in each["quality"]
            ],
        )


def _responses(quality: Json) -> Iterator[str]:
    rows = [(path, each) for path, each in quality["paths"].items() if each["response"]]
    if not rows:
        return
    yield "## Response to the ground truth (raw similarity, mean ± standard deviation over maps)"
    yield markdown_table(
        [
            "path",
            "inside, mean",
            "inside, max",
            "background",
            "inside - background",
            "effect",
            "inverted maps",
            "verdict",
        ],
        [
            [
                path,
                _spread(r["inside_mean"], r["inside_mean_std"]),
                _spread(r["inside_max"], r["inside_max_std"]),
                _spread(r["background"], r["background_std"]),
                _figure(r["contrast"], 4),
                number(r["effect"], 2),
                percent(r["inverted_share"]),
                r["verdict"],
            ]
            for path, r in ((path, each["response"]) for path, each in rows)
        ],
    )
    yield markdown_table(
        ["path", "pointing game", "energy inside", "either by chance"],
        [
            [path, _figure(each["pointing"]), _figure(each["energy"]), number(each["response"]["area"])]
            for path, each in rows
        ],
    )


def _comparisons(results: Json) -> Iterator[str]:
    rows = [row for row in results["comparisons"] if row["metric"].startswith("map@") or "@" not in row["metric"]]
    if not rows:
        return
    yield "## Paths compared on the same images"
    yield markdown_table(
        ["metric", "first", "second", "first - second", "p", "p (Holm)"],
        [
            [
                row["metric"], row["first"], row["second"], _figure(row["difference"]),
                number(row["p_value"]), number(row["p_holm"]),
            ]
            for row in rows
        ],
        left=3,
    )  # fmt: skip


def _tuning(results: Json) -> Iterator[str]:
    tuning = results["tuning"]
    if not tuning:
        return
    yield "## Tuning"
    chosen = ", ".join(f"{name} {value}" for name, value in tuning["chosen"].items())
    yield (
        f"{tuning['tried']} settings were tried on {tuning['images']} training images ({tuning['source']}), none of "
        f"which is scored above; best by {tuning['objective']}: {chosen} ({number(tuning['best'])} there, "
        f"{number(tuning['default'])} with the settings it began with)."
    )


def _refining(results: Json) -> Iterator[str]:
    refining = results["refining"]
    if not refining:
        return
    yield "## Box refiner"
    yield (
        f"Boxes were moved by what was learned on {refining['images']} training images ({refining['source']}), none of "
        "which is scored above. IoU of the boxes that taught, before and after (cross-validated):"
    )
    yield markdown_table(
        ["path", "boxes", "before", "after"],
        [
            [path, each["boxes"], number(each["iou_before"]), number(each["iou_after"])]
            for path, each in refining["paths"].items()
        ],
    )


def _diagnosis(results: Json) -> Iterator[str]:
    yield "\n".join(
        f"- **{found['code']}**{' (' + found['path'] + ')' if found['path'] else ''}: {found['says']} "
        f"*Remedy: {found['remedy']}*"
        for found in results["diagnosis"]
    )


def _notes(results: Json, quality: Json) -> Iterator[str]:
    lines = [f"- {name}: {said}" for name, said in quality["definitions"].items()]
    if results["undefined"]:
        lines.append(f"- {results['undefined']} figures or intervals do not exist for these images; they are null.")
    yield "\n".join(lines)


def _provenance(held: Json) -> Iterator[str]:
    yield "```\n" + " ".join(held["command"]) + "\n```"
    pairs = {
        "model": held["model"], "seeds": held["seeds"], "data": held["data"],
        "versions": held["versions"], "machine": held["machine"],
    }  # fmt: skip
    yield "\n".join(
        f"- {name}: {', '.join(f'{key} {value}' for key, value in values.items()) or '-'}"
        for name, values in pairs.items()
    )


def _figure(figure: Json | None, digits: int = 3) -> str:
    return "-" if figure is None else with_ends(figure["value"], figure["low"], figure["high"], digits)


def _spread(value: float | None, deviation: float | None) -> str:
    return "-" if value is None else f"{number(value, 4)} ± {number(deviation, 4)}"
