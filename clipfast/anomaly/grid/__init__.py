"""A grid of detectors: classes x shots x seeds x tasks, from data to `grid_results.json`, resumable at any moment.

`run_grid` takes four stages: `prepare_grid` checks and claims a directory, `encode_grid` fits detectors and keeps raw
scores, `judge_grid` computes every figure from them, `collect_results` writes them down. `recompute` is the last two.
"""

from clipfast.anomaly.grid.encode import GridRequest
from clipfast.anomaly.grid.inspection import inspect_grid
from clipfast.anomaly.grid.records import GridOptions, GridResults, read_results
from clipfast.anomaly.grid.run import TIMINGS_NAME, Recomputed, recompute, run_grid

__all__ = [
    "TIMINGS_NAME",
    "GridOptions",
    "GridRequest",
    "GridResults",
    "Recomputed",
    "inspect_grid",
    "read_results",
    "recompute",
    "run_grid",
]
