"""Compare two reports picture by picture: is one model behind another on any row?

    python examples/train_mini/compare.py runs/mini/report.npz prototype.npz

"Behind" means that the whole paired 95 % interval of the difference lies below -.02. Mean average precision and AUPRO
have no rows of their own and are left out; their intervals are in the reports.
"""

from __future__ import annotations

import argparse

import numpy as np

from arguments import existing
from clipfast.metrics.intervals import BootstrapOptions
from clipfast.metrics.paired import paired_bootstrap
from figures import mean_auroc

BEHIND = -0.02
_OPTIONS = BootstrapOptions(method="percentile", resamples=1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ours", type=existing, help="The .npz beside a report.")
    parser.add_argument("theirs", type=existing, help="Another's, of the same seeds.")
    asked = parser.parse_args()
    with np.load(asked.ours) as ours, np.load(asked.theirs) as theirs:
        for name in [name for name in ours.files if name in theirs.files and not name.endswith("labels")]:
            if "mAP" in name or "AUPRO" in name or ours[name].shape != theirs[name].shape:
                print(f"{name:70} not comparable")
                continue
            if f"{name} / labels" in ours.files:
                labels = ours[f"{name} / labels"]
                found = paired_bootstrap(
                    mean_auroc, labels, ours[name], theirs[name], seed=0, strata=labels, options=_OPTIONS
                )
            else:
                found = paired_bootstrap(np.mean, ours[name], theirs[name], seed=0, options=_OPTIONS)
            low, high = (found.interval.low, found.interval.high) if found.interval else (np.nan, np.nan)
            verdict = "BEHIND" if high < BEHIND else ""
            print(f"{name:70} {found.difference:+.3f} [{low:+.3f}, {high:+.3f}] {verdict}")


if __name__ == "__main__":
    main()
