"""A small gate that learns on other classes which branch to trust for an image.

For each image the target is the branch that the oracle would take: the larger calibrated score of an anomalous image,
the smaller one of an intact one; images count by how much the choice matters. The gate is a logistic regression on
signals that need no label, so it is convex and solved by Newton's method in a few steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.branches import BranchMaps
from clipfast.errors import DataError, ShapeError
from clipfast.types import Floats

__all__ = ["SIGNALS", "GateCase", "LearnedGate", "fit_gate", "gate_signals", "leave_one_class_out"]

SIGNALS = ("semantic", "memory", "semantic contrast", "memory contrast")
_STEPS = 50


@dataclass(frozen=True, slots=True, eq=False)
class GateCase:
    """One class to learn from: calibrated maps and the truth of its images.

    Attributes:
        maps: Calibrated (`Calibration.apply`), both branches.
        labels: 0 intact, 1 anomalous, (n,).
    """

    maps: BranchMaps
    labels: NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class LearnedGate:
    """Weights of the logistic regression.

    Attributes:
        weights: Constant and one per signal, (5,) float64.
        means: Of the signals where it was learned, (4,).
        spreads: Their standard deviations, (4,).
    """

    weights: NDArray[np.float64]
    means: NDArray[np.float64]
    spreads: NDArray[np.float64]

    def share(self, maps: BranchMaps) -> Floats:
        """Return the text branch's share for each image, (n,) in (0, 1), from calibrated maps."""
        return self._share(gate_signals(maps))

    def _share(self, signals: NDArray[np.float64]) -> Floats:
        scaled = (signals - self.means) / self.spreads
        share: Floats = (0.5 * (1 + np.tanh((self.weights[0] + scaled @ self.weights[1:]) / 2))).astype(np.float32)
        return share


def gate_signals(maps: BranchMaps) -> NDArray[np.float64]:
    """Return the signals of calibrated maps, (n, 4), in the order of `SIGNALS`.

    Raises:
        ShapeError: The semantic branch is missing.
    """
    if maps.semantic is None:
        raise ShapeError("a gate chooses between two branches; the semantic one was left out.")
    found = (maps.semantic.image, maps.memory.image, maps.semantic.contrast, maps.memory.contrast)
    return np.log1p(np.stack(found, axis=1).astype(np.float64))


def fit_gate(cases: Sequence[GateCase], *, ridge: float = 1.0) -> LearnedGate:
    """Learn on classes with known truth; each class counts alike, however many images it has.

    The ridge stands beside as many images as all classes have together.

    Args:
        cases: One at least, with anomalous and intact images.
        ridge: Of the weights, not of the constant; larger trusts the signals less.

    Raises:
        DataError: No case, or no image for which the choice matters.
        ShapeError: `ridge` is not positive, or labels do not fit.
    """
    if not ridge > 0:
        raise ShapeError(f"ridge must be positive; got {ridge}.")
    if not cases:
        raise DataError("a gate is learned on at least one class with known truth; got none.")
    parts = [_targets(case) for case in cases]
    signals = np.concatenate([part[0] for part in parts])
    targets = np.concatenate([part[1] for part in parts])
    weights = np.concatenate(
        [np.full(len(part[0]), len(signals) / len(parts) / max(1, len(part[0]))) for part in parts]
    )
    counts = np.concatenate([part[2] for part in parts]) * weights
    if not counts.sum():
        raise DataError("both branches say the same of every image, so there is nothing to choose. Check the maps.")
    means = np.average(signals, axis=0, weights=weights)
    spreads = np.sqrt(np.average((signals - means) ** 2, axis=0, weights=weights))
    spreads[spreads == 0] = 1
    design = np.column_stack([np.ones(len(signals)), (signals - means) / spreads])
    return LearnedGate(_newton(design, targets, counts, ridge), means, spreads)


def leave_one_class_out(cases: Mapping[str, GateCase], *, ridge: float = 1.0) -> dict[str, Floats]:
    """Score each class's images, (n,), with a gate that was learned on all others: the honest figure of a gate.

    Raises:
        DataError: Fewer than two classes.
    """
    if len(cases) < 2:
        raise DataError(f"leaving one class out needs two classes or more; got {len(cases)}.")
    scores = {}
    for name, case in cases.items():
        gate = fit_gate([other for key, other in cases.items() if key != name], ridge=ridge)
        share = gate.share(case.maps)
        semantic = case.maps.memory.image if case.maps.semantic is None else case.maps.semantic.image
        scores[name] = share * semantic + (1 - share) * case.maps.memory.image
    return scores


def _targets(case: GateCase) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Signals, which branch the oracle takes (1 is the text), and how much it matters."""
    signals = gate_signals(case.maps)
    if case.labels.shape != (len(signals),) or not np.isin(case.labels, (0, 1)).all():
        raise ShapeError(f"labels must be 0 or 1, ({len(signals)},); got {case.labels.shape}.")
    ahead = signals[:, 0] - signals[:, 1]
    targets = ((ahead > 0) == (case.labels == 1)).astype(np.float64)
    counts = np.abs(ahead)
    return signals, targets, counts / max(float(counts.sum()), 1e-12) * len(counts)


def _newton(
    design: NDArray[np.float64], targets: NDArray[np.float64], counts: NDArray[np.float64], ridge: float
) -> NDArray[np.float64]:
    """Weighted logistic regression with a ridge; the constant has a very small one, so that it is always solvable."""
    penalty = np.diag([1e-6, *[ridge] * (design.shape[1] - 1)])
    weights = np.zeros(design.shape[1])

    def loss(at: NDArray[np.float64]) -> float:
        z = design @ at
        return float(counts @ (np.logaddexp(0, z) - targets * z) + at @ penalty @ at / 2)

    for _ in range(_STEPS):
        share = 0.5 * (1 + np.tanh(design @ weights / 2))
        slope = design.T @ (counts * (share - targets)) + penalty @ weights
        curve = (design * (counts * share * (1 - share))[:, None]).T @ design + penalty
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while loss(weights - size * step) > loss(weights) and size > 1e-6:
            size /= 2
        weights = weights - size * step
        if float(np.abs(size * step).max()) < 1e-10:
            break
    return weights
