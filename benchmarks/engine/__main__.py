"""Race the engine against its peers: `python -m benchmarks.engine [ROW ...] [--list] [--models A,B] [--keep DIR]`.

Waits until the machine is quiet. Results go to `benchmarks/results/engine.json`, row by row, and into
docs/performance.md; a row is not saved if others took more than a twentieth of the cores' time during it. `--prepare`
only makes the graphs, in `--keep DIR`, where later runs find them. `--try` runs whatever the load, and saves nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "2"  # before any library reads it

from benchmarks.blas import choose_kernels  # noqa: E402  # after the numbers of threads

choose_kernels()

from benchmarks import render, stored  # noqa: E402  # after the numbers of threads
from benchmarks.kernels import report  # noqa: E402  # after the numbers of threads
from benchmarks.race import Case, machine  # noqa: E402  # after the numbers of threads

PACKAGES = (
    *("numpy", "onnxruntime", "openvino", "nncf", "torch", "open_clip_torch", "pillow", "simplejpeg", "faiss-cpu"),
    "numba",
)
ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "engine.json", ROOT / "docs" / "performance.md"
MARKS = ("<!-- engine: written by python -m benchmarks.engine -->", "<!-- /engine -->")


def main() -> None:
    """Run the rows that were named, or all."""
    chosen = _arguments()
    if chosen.render:
        _render()
        return
    import torch

    from benchmarks.engine import models
    from benchmarks.engine.rows import MODELS, rows

    torch.set_num_threads(2)
    if chosen.keep:
        models.keep_in(chosen.keep)
    names = tuple(chosen.models.split(",")) if chosen.models else MODELS
    known = rows(names)
    if chosen.list:
        sys.stdout.write("\n".join(known) + "\n")
        return
    if chosen.prepare:
        for model in names:
            for make in (
                models.artifact,
                models.plain_graph,
                models.dynamic_graph,
                models.int8_graph,
                models.nncf_graph,
            ):
                sys.stdout.write(f"{make(model)}\n")
                sys.stdout.flush()
        return
    wanted = [name for name in known if not chosen.rows or any(name.startswith(row) for row in chosen.rows)]
    if not wanted:
        sys.exit(f"No row begins with {' or '.join(chosen.rows)}; --list names them.")
    for name in wanted:
        _measure(known[name](), trial=chosen.trial, patience=chosen.patience)
    if not chosen.trial:
        _render()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine", description="Race the engine against its peers."
    )
    parser.add_argument("rows", nargs="*", help="rows by name or by the beginning of a name; all if none")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and stop")
    parser.add_argument("--models", help="open_clip names or config files, with commas", default=None)
    parser.add_argument("--keep", type=Path, help="folder of graphs, made once and found again")
    parser.add_argument("--prepare", action="store_true", help="only make the graphs")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--try", dest="trial", action="store_true", help="two rounds, whatever the load; saves nothing")
    parser.add_argument("--render", action="store_true", help="only write docs/performance.md from what is stored")
    return parser.parse_args()


def _measure(case: Case, *, trial: bool, patience: float) -> None:
    """Race one case, print it, and store it if the machine was ours."""
    result = stored.run(case, rounds=2 if trial else None, patience=None if trial else patience)
    sys.stdout.write(report.section(case.name, result) + "\n")
    sys.stdout.flush()
    if not trial:
        stored.store(RESULTS, case.name, result, machine(PACKAGES))


def _render() -> None:
    if RESULTS.is_file():
        report.render(RESULTS, page=PAGE, marks=MARKS)
        render.render()


main()
