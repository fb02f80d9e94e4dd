"""Race all kernels against their peers: `make bench-kernels`, or `python -m benchmarks.kernels [NAME ...]`.

Without names everything is run, written to `benchmarks/results/kernels.json` and rendered into `benchmarks/README.md`;
with names (ranking, aupro, components, boxes, detection) the results are only printed. `--render` renders what is
stored.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "2"  # before any library reads it

PACKAGES = (
    *("numpy", "numba", "scikit-learn", "torch", "torchvision", "torchmetrics", "anomalib", "ADEval", "scipy"),
    *("opencv-python-headless", "connected-components-3d", "scikit-image", "pycocotools", "faster-coco-eval"),
)
SUITES = ("ranking", "aupro", "components", "boxes", "detection")
RESULTS = Path(__file__).resolve().parents[1] / "results" / "kernels.json"


def main() -> None:
    """Run, store and render."""
    from benchmarks.kernels import report

    names = [name for name in sys.argv[1:] if name != "--render"]
    if "--render" not in sys.argv:
        results = run(names or list(SUITES))
        if not names:
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if not names:
        report.render(RESULTS)


def run(names: list[str]) -> dict[str, Any]:
    """Race the cases of these suites one after another, printing each as it ends."""
    import torch

    from benchmarks.kernels import report
    from benchmarks.race import machine, race

    torch.set_num_threads(2)
    cases: dict[str, Any] = {}
    for name in names:
        for case in importlib.import_module(f"benchmarks.kernels.{name}").cases():
            cases[case.name] = race(case)
            sys.stdout.write(report.section(case.name, cases[case.name]) + "\n")
            sys.stdout.flush()
    return {"machine": machine(PACKAGES), "cases": cases}


main()
