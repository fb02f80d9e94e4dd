"""How well do heat maps find cars in aerial photographs? A study: tune on some videos, score the others, compare.

    python examples/localisation_study.py ../shared/data/aerial_cars [--model ARTIFACT] [--limit 20] [--out study]

Without a folder it draws its own pictures (fabricworld), which is what the embedded model knows; of real photographs
mini knows nothing, so name a real model for real figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import clipfast
from clipfast.datasets.box_samples import BoxSet, read_boxes
from clipfast.datasets.box_splits import split_by_source
from clipfast.provenance import Provenance, digest
from clipfast.report.compare import compare_results
from clipfast.report.localise_report import LocaliseReport
from clipfast.report.results import load_result
from clipfast.surgery.diagnosis import diagnose
from clipfast.surgery.evaluate import evaluate_localisation
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_scores import score_records
from clipfast.surgery.options import MapOptions
from clipfast.surgery.tuning import SearchSpace, tune

CARS = ("car", "truck", "bus", "minibus")  # the order of the data set's class numbers
SPACE = SearchSpace(percentiles=(80, 90, 95, 98), geometries=("squash",), min_sizes=(1, 6))


def data_of(folder: Path | None, limit: int) -> tuple[BoxSet, BoxSet, tuple[str, ...]]:
    """Training images, images to be scored, and prompts."""
    if folder is None:
        parts = [read_boxes("fabricworld", "", split=split, limit=limit) for split in ("train", "test")]
        return parts[0], parts[1], ("a photo of a {}",)
    every = read_boxes("auto", folder, classes=CARS)
    for sentence in every.report.sentences():
        print("annotations:", sentence)
    training, scored = split_by_source(every, 0.5, seed=0)  # frames of one video stay on one side
    return _some(training, limit), _some(scored, limit), ("an aerial photo of a {}", "a {} seen from above")


def _some(data: BoxSet, limit: int) -> BoxSet:
    """Images spread over the data set: neighbouring frames look alike."""
    step = max(1, len(data) // limit)
    return BoxSet(data.format, data.split, data.classes, data.samples[::step][:limit], data.report)


def evaluate(clip: clipfast.Clip, data: BoxSet, options: LocaliseOptions, out: Path) -> LocaliseReport:
    """Score one setting and write its files."""
    records = evaluate_localisation(clip, data, options)
    scores = score_records(records, options)
    provenance = Provenance.collect(
        seeds={"bootstrap": options.seed},
        data={"samples": digest([*records.ids, *records.digests])},
        model={"name": clip.name, "fingerprint": clip.fingerprint()},
    )
    report = LocaliseReport(data, options, records, scores, diagnose(records, scores, options), provenance)
    report.write(out)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="aerial_cars, or nothing for rendered pictures")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--limit", type=int, default=6, help="images of each side")
    parser.add_argument("--out", type=Path, default=Path("study"))
    given = parser.parse_args()

    training, scored, prompts = data_of(given.folder, given.limit)
    maps = MapOptions(geometry="squash", templates=prompts, batch_size=8)
    plain = LocaliseOptions(paths=("standard", "vv_vv", "vv_mixed"), maps=maps, resamples=500)
    with clipfast.Clip.load(given.model) as clip:
        found = tune(clip, training, plain, SPACE)
        print(f"{found.tried} settings on {found.images} training images; best: {found.chosen}")
        runs = {"percentile_90": plain, "tuned": found.chosen.applied(plain)}
        for name, options in runs.items():
            report = evaluate(clip, scored, options, given.out / name)
            for path, each in report.scores.paths.items():
                shown = ", ".join(f"mAP@{row.iou:g} {row.map.value:.3f}" for row in each.thresholds)
                print(f"{name:14} {path:9} {shown}")
    for finding in report.findings:
        print(f"{finding.code}: {finding.says}\n    remedy: {finding.remedy}")
    first, second = (load_result(given.out / name) for name in runs)
    metrics = [f"map@{iou:g}" for iou in plain.iou_thresholds]
    print(compare_results(first, second, metrics=metrics).markdown())


if __name__ == "__main__":
    main()
