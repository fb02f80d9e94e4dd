"""Race all kernels against their peers: `make bench-kernels`, or `python -m benchmarks.kernels [NAME ...]`.

Names are ranking, aupro, components, boxes, detection; all without. Waits before each case until the machine is
quiet. Rows go to `benchmarks/results/kernels.json` and into `benchmarks/README.md`, but for those during which others
took more than a twentieth of the cores' time. `--try` runs two rounds whatever the load and keeps nothing, `--render`
renders what is stored.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "2"  # before any library reads it

from benchmarks.blas import choose_kernels  # noqa: E402  # after the numbers of threads

choose_kernels()

PACKAGES = (
    *("numpy", "numba", "scikit-learn", "torch", "torchvision", "torchmetrics", "anomalib", "ADEval", "scipy"),
    *("opencv-python-headless", "connected-components-3d", "scikit-image", "pycocotools", "faster-coco-eval"),
)
SUITES = ("ranking", "aupro", "components", "boxes", "detection")
RESULTS = Path(__file__).resolve().parents[1] / "results" / "kernels.json"


def main() -> None:
    """Run, store and render."""
    from benchmarks.kernels import report

    names = [name for name in sys.argv[1:] if not name.startswith("--")]
    if "--render" not in sys.argv:
        run(names or list(SUITES), trial="--try" in sys.argv)
    if "--try" not in sys.argv:
        report.render(RESULTS)


def run(names: list[str], *, trial: bool) -> None:
    """Race the cases of these suites one after another, printing and keeping each as it ends."""
    import torch

    from benchmarks import stored
    from benchmarks.kernels import report
    from benchmarks.race import machine

    torch.set_num_threads(2)
    for name in names:
        for case in importlib.import_module(f"benchmarks.kernels.{name}").cases():
            result = stored.run(case, rounds=2 if trial else None, patience=None if trial else 600.0)
            sys.stdout.write(report.section(case.name, result) + "\n")
            sys.stdout.flush()
            if not trial:
                stored.store(RESULTS, case.name, result, machine(PACKAGES))


main()
