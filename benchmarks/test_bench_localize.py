"""Evaluating heat maps: reading, maps of four paths, boxes at five percentiles, responses, figures with intervals."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from clipfast import Clip
from clipfast.datasets.box_records import BoxSet
from clipfast.datasets.box_samples import read_boxes
from clipfast.surgery.evaluate import evaluate_localisation
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_results import Scores
from clipfast.surgery.localise_scores import score_records

# 1000 is what the issue asks for: CLIPFAST_BENCH_IMAGES=1000
IMAGES = int(os.environ.get("CLIPFAST_BENCH_IMAGES", "100"))


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered pictures as JPEG with YOLO's text files."""
    root = tmp_path_factory.mktemp("localize")
    drawn = read_boxes("fabricworld", "", limit=IMAGES)
    (root / "classes.txt").write_text("\n".join(drawn.classes))
    for sample in drawn:
        Image.fromarray(sample.image).save(root / f"{sample.id}.jpg", quality=92)  # type: ignore[arg-type]  # an array
        lines = [
            f"{drawn.classes.index(label)} {(x1 + x2) / 448} {(y1 + y2) / 448} {(x2 - x1) / 224} {(y2 - y1) / 224}\n"
            for label, (x1, y1, x2, y2) in zip(sample.labels, sample.boxes.tolist(), strict=True)
        ]
        (root / f"{sample.id}.txt").write_text("".join(lines))
    return root


def test_evaluate(timed: BenchmarkFixture, mini: Clip, on_disk: Path) -> None:
    """Four paths, five percentiles, three IoU thresholds, 1000 resamples; no figures."""
    options = LocaliseOptions()

    def run() -> tuple[BoxSet, Scores]:
        data = read_boxes("auto", on_disk)
        return data, score_records(evaluate_localisation(mini, data, options), options)

    run()  # kernels are compiled, texts embedded
    timed.extra_info["images"] = IMAGES
    data, scores = timed.pedantic(run, rounds=1)

    assert len(data) == IMAGES
    assert len(scores.paths) == 4
    assert all(path.thresholds[0].map.value for path in scores.paths.values())
