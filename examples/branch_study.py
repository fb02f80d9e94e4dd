"""Which branch is the weaker one, on images and on pixels? A grid of detectors on rendered cloth, and its report.

    python examples/branch_study.py [--fabrics denim,felt] [--shots 1,2,4] [--seeds 0,1,2] [--model ARTIFACT]

Small by default; `--fabrics all` takes every fabric. Stopped and started again it goes on where it was. The same on a
data set of your own: `clipfast anomaly grid DATASET --format mvtec|visa|folder`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import clipfast
from clipfast.anomaly.grid import GridRequest, run_grid
from clipfast.anomaly.grid.records import GridOptions
from clipfast.datasets.fabricworld import FABRICS, Wishes
from clipfast.datasets.inspection import fabricworld_classes
from clipfast.report.branches import write_branch_report


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fabrics", default="denim,lace", help="with commas between, or all")
    parser.add_argument("--shots", type=numbers, default=(1,))
    parser.add_argument("--seeds", type=numbers, default=(0, 1))
    parser.add_argument("--good", type=int, default=4, help="intact test images of a fabric")
    parser.add_argument("--each", type=int, default=1, help="damaged ones of every kind")
    parser.add_argument("--size", type=int, default=64, help="side of maps and masks in pixels")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", type=Path, default=Path("branch_study"))
    given = parser.parse_args()

    fabrics = list(FABRICS) if given.fabrics == "all" else given.fabrics.split(",")
    wishes = Wishes(defects=["hole", "stain"]) if given.each == 1 else None  # few kinds where everything is small
    data = fabricworld_classes(fabrics, 0, train=max(4, *given.shots), good=given.good, each=given.each, wishes=wishes)
    options = GridOptions(size_hw=(given.size, given.size), sigma=4 * given.size / 256)
    request = GridRequest("fabricworld", "fabricworld", shots=given.shots, seeds=given.seeds, options=options)
    with clipfast.Clip.load(given.model) as clip:
        results = run_grid(clip, data, given.out, request)
    files = write_branch_report(results, given.out)
    report = files[0].read_text(encoding="utf-8")
    print(report.partition("## Findings")[2].partition("## ")[0].strip())
    print("Wrote", ", ".join(file.name for file in files), "to", given.out)


if __name__ == "__main__":
    main()
