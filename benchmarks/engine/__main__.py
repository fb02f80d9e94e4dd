"""Race the engine against its peers: `python -m benchmarks.engine [ROW ...] [--list] [--models A,B] [--patience S]`.

Waits until the machine is quiet. Results go to `benchmarks/results/engine.json`, row by row, and are not saved if
others took more than a twentieth of the cores' time during the row. `--try` runs whatever the load, and saves nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "2"  # before any library reads it

PACKAGES = ("numpy", "onnxruntime", "torch", "open_clip_torch", "pillow", "simplejpeg", "faiss-cpu", "numba")
RESULTS = Path(__file__).resolve().parents[1] / "results" / "engine.json"


def main() -> None:
    """Run the rows that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine")
    parser.add_argument("rows", nargs="*", help="rows by name or by the beginning of a name; all if none")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and stop")
    parser.add_argument("--models", help="open_clip names or config files, with commas", default=None)
    parser.add_argument("--patience", type=float, default=600.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--try", dest="trial", action="store_true", help="two rounds, whatever the load; saves nothing")
    chosen = parser.parse_args()

    import torch

    from benchmarks.engine.rows import MODELS, rows
    from benchmarks.kernels.report import section
    from benchmarks.quiet import LIMIT, Watch, others_share, wait_until_quiet
    from benchmarks.race import machine, race

    torch.set_num_threads(2)
    known = rows(tuple(chosen.models.split(",")) if chosen.models else MODELS)
    if chosen.list:
        sys.stdout.write("\n".join(known) + "\n")
        return
    wanted = [name for name in known if not chosen.rows or any(name.startswith(row) for row in chosen.rows)]
    if not wanted:
        parser.error(f"no row begins with {' or '.join(chosen.rows)}; --list names them")
    for name in wanted:
        case = known[name]()
        if not chosen.trial and not wait_until_quiet(seconds=5.0, patience=chosen.patience):
            sys.exit(f"The machine stayed busy for {chosen.patience:.0f} s; {name} was not measured.")
        watch = Watch.now()
        result = race(case, rounds=2 if chosen.trial else None)
        result["others"] = others_share(watch)
        sys.stdout.write(section(case.name, result) + "\n")
        sys.stdout.flush()
        if chosen.trial:
            continue
        if result["others"] > LIMIT:
            sys.stdout.write(f"NOT SAVED: others took {result['others']:.0%} of the cores' time.\n")
            continue
        stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {"cases": {}}
        stored["machine"] = machine(PACKAGES)
        stored["cases"][case.name] = result
        RESULTS.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


main()
