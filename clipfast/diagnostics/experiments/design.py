"""How experiments are laid out and judged: a baseline, arms that differ in one thing, seeds, corrected tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipfast.diagnostics.predictions import Doubles
from clipfast.errors import DataError, ShapeError
from clipfast.metrics.intervals import BootstrapOptions, Interval
from clipfast.metrics.multiple import holm_adjusted
from clipfast.metrics.paired import paired_bootstrap, permutation_test

__all__ = ["Arm", "Experiment", "Factors", "compare_arms", "compare_sets", "run_factors"]

_RESAMPLES = 1000
_PERMUTATIONS = 1999


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of doing it.

    Attributes:
        name: What was done.
        mean: Accuracy over samples and seeds.
        std: Of the accuracy over seeds; None with one seed.
        seeds: How many.
        samples: How many.
        difference: Less the baseline, with its bootstrap interval over samples; None of the baseline itself.
        p_value: Of a permutation test over samples; None of the baseline.
        p_holm: Corrected for all arms of the experiment.
    """

    name: str
    mean: float
    std: float | None
    seeds: int
    samples: int
    difference: Interval | None
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True, slots=True)
class Experiment:
    """What an experiment found.

    Attributes:
        name: Of the experiment.
        baseline: Name of the arm that the others are compared with.
        arms: The baseline first.
        says: In one sentence.
    """

    name: str
    baseline: str
    arms: tuple[Arm, ...]
    says: str

    def arm(self, name: str) -> Arm:
        """Return an arm.

        Raises:
            DataError: There is none of that name.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise DataError(f"arm must be one of {', '.join(arm.name for arm in self.arms)}; got {name!r}.")


def compare_arms(name: str, right: Mapping[str, NDArray[Any]], baseline: str, *, seed: int = 0) -> Experiment:
    """Compare arms that judged the same samples.

    Seeds are averaged sample by sample before testing: what is resampled are samples, so that more seeds do not feign
    more samples.

    Args:
        name: Of the experiment.
        right: Whether each sample was right, or how probably, in [0, 1]; (seeds, n) or (n,), by arm.
        baseline: One of the arms.
        seed: Of resampling.

    Raises:
        ShapeError: Arms have different samples, there are fewer than two samples, or the baseline is none of them.
    """
    held = {arm: np.atleast_2d(np.asarray(values, np.float64)) for arm, values in right.items()}
    counts = {values.shape[1] for values in held.values()}
    if baseline not in held or len(counts) != 1 or min(counts) < 2:
        raise ShapeError(
            f"arms must have the same two samples or more, and the baseline be one of {', '.join(held)}; got baseline "
            f"{baseline!r} and {sorted(counts)} samples."
        )
    base = held[baseline].mean(axis=0)
    others = [arm for arm in held if arm != baseline]
    options = BootstrapOptions("percentile", _RESAMPLES)
    tests = {}
    for arm in others:
        mine = held[arm].mean(axis=0)
        spread = paired_bootstrap(np.mean, mine, base, seed=seed, options=options)
        tests[arm] = (spread.interval, permutation_test(mine, base, seed=seed, resamples=_PERMUTATIONS).p_value)
    adjusted = dict(zip(others, holm_adjusted([tests[arm][1] for arm in others]).tolist(), strict=True))
    arms = []
    for arm in [baseline, *others]:
        interval, p_value = tests.get(arm, (None, None))
        arms.append(_arm(arm, held[arm], interval, (p_value, adjusted.get(arm))))
    return Experiment(name, baseline, tuple(arms), _sentence(arms))


def compare_sets(name: str, right: Mapping[str, NDArray[Any]], baseline: str, *, seed: int = 0) -> Experiment:
    """Compare arms that judged different samples, such as those of two data sets.

    As `compare_arms`, but samples are resampled in each arm by itself, and permuted between the two.

    Args:
        name: Of the experiment.
        right: Whether each sample was right, (seeds, n) or (n,), by arm; n may differ.
        baseline: One of the arms.
        seed: Of resampling.

    Raises:
        ShapeError: An arm has fewer than two samples, or the baseline is none of them.
    """
    held = {arm: np.atleast_2d(np.asarray(values, np.float64)) for arm, values in right.items()}
    if baseline not in held or min(values.shape[1] for values in held.values()) < 2:
        sizes = {arm: values.shape[1] for arm, values in held.items()}
        raise ShapeError(f"arms need two samples or more, and the baseline be one of them; got {baseline!r}, {sizes}.")
    base = held[baseline].mean(axis=0)
    others = [arm for arm in held if arm != baseline]
    tests = {
        arm: _apart(held[arm].mean(axis=0), base, np.random.default_rng([seed, at])) for at, arm in enumerate(others)
    }
    adjusted = dict(zip(others, holm_adjusted([tests[arm][1] for arm in others]).tolist(), strict=True))
    arms = [_arm(baseline, held[baseline], None, (None, None))]
    arms += [_arm(arm, held[arm], tests[arm][0], (tests[arm][1], adjusted[arm])) for arm in others]
    return Experiment(name, baseline, tuple(arms), _sentence(arms))


def _apart(first: Doubles, second: Doubles, rng: np.random.Generator) -> tuple[Interval, float]:
    """Return the difference of two means with its percentile interval, and the p-value of a permutation test."""
    gap = float(first.mean() - second.mean())
    draws = np.array(
        [rng.choice(first, len(first)).mean() - rng.choice(second, len(second)).mean() for _ in range(_RESAMPLES)]
    )
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    both, beyond = np.concatenate([first, second]), 0
    for _ in range(_PERMUTATIONS):
        mixed = rng.permutation(both)
        beyond += abs(mixed[: len(first)].mean() - mixed[len(first) :].mean()) >= abs(gap) - 1e-12
    return Interval(gap, low, high, 0.95, "percentile"), float((1 + beyond) / (1 + _PERMUTATIONS))


def _arm(name: str, values: Doubles, difference: Interval | None, p_values: tuple[float | None, float | None]) -> Arm:
    by_seed = values.mean(axis=1)
    std = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None
    return Arm(name, float(by_seed.mean()), std, len(by_seed), values.shape[1], difference, *p_values)


def _sentence(arms: Sequence[Arm]) -> str:
    base, *others = arms
    clear = [arm for arm in others if arm.p_holm is not None and arm.p_holm <= 0.05 and arm.difference is not None]
    said = [f"{arm.name} {100 * (arm.mean - base.mean):+z.1f} points" for arm in clear]
    head = f"{base.name}: {100 * base.mean:.1f} %."
    return f"{head} Clear differences (Holm, 5 %): {', '.join(said)}." if said else f"{head} No arm differs clearly."


@dataclass(frozen=True, slots=True)
class Factors:
    """What may be varied. Only one factor at a time: two at once would leave open which of them did it.

    Attributes:
        levels: Further values of each factor.
        baseline: The value of each factor that is kept while another varies.
    """

    levels: Mapping[str, Sequence[Any]]
    baseline: Mapping[str, Any]

    def __post_init__(self) -> None:
        strangers = set(self.levels) - set(self.baseline)
        if strangers or not self.levels:
            raise DataError(
                f"every factor needs a baseline; {sorted(strangers) or 'there is no factor'}. Baselines are "
                f"{sorted(self.baseline)}."
            )

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return the settings of every run by name: the baseline, and each level of each factor alone.

        >>> Factors({"clean": [True]}, {"clean": False, "head": "ridge"}).runs()
        {'baseline': {'clean': False, 'head': 'ridge'}, 'clean = True': {'clean': True, 'head': 'ridge'}}
        """
        found = {"baseline": dict(self.baseline)}
        for factor, values in self.levels.items():
            for value in values:
                if value != self.baseline[factor]:
                    found[f"{factor} = {value}"] = {**self.baseline, factor: value}
        return found

    def require_one(self, settings: Mapping[str, Any]) -> str:
        """Return the one factor in which settings differ from the baseline.

        Raises:
            DataError: They differ in none, in several, or name others.
        """
        if set(settings) != set(self.baseline):
            raise DataError(f"settings must name exactly {sorted(self.baseline)}; got {sorted(settings)}.")
        changed = [factor for factor, value in settings.items() if value != self.baseline[factor]]
        if len(changed) != 1:
            raise DataError(
                f"one factor may be changed at a time; {', '.join(changed) or 'none'} differ from the baseline. Run "
                "them apart."
            )
        return changed[0]


def run_factors(
    name: str, factors: Factors, run: Callable[[Mapping[str, Any], int], NDArray[Any]], *, seeds: Sequence[int]
) -> Experiment:
    """Run the baseline and every one-factor change with every seed, and compare.

    Args:
        name: Of the experiment.
        factors: What varies.
        run: Called as `run(settings, seed)`; returns whether each sample was right, (n,).
        seeds: Three to five are usual.

    Raises:
        DataError: There is no seed.
        ShapeError: Runs return different numbers of samples.
    """
    if not len(seeds):
        raise DataError("an experiment needs a seed; got none. Three to five are usual.")
    right = {}
    for label, settings in factors.runs().items():
        if label != "baseline":
            factors.require_one(settings)
        results = [np.asarray(run(settings, seed), np.float64) for seed in seeds]
        if len({result.shape for result in results}) != 1:
            raise ShapeError(f"run must return as many samples with every seed; got {[r.shape for r in results]}.")
        right[label] = np.stack(results)
    return compare_arms(name, right, "baseline")
