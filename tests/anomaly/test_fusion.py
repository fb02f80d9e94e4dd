"""Tests of clipfast.anomaly.fusion, scales, calibration, gate and evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.anomaly.branches import BranchMaps, BranchScores
from clipfast.anomaly.calibration import Calibration, TextEvidence, fit_calibration
from clipfast.anomaly.evidence import weigh_text
from clipfast.anomaly.fusion import fuse, fuse_all, fuse_images, fuse_pixels
from clipfast.anomaly.gate import GateCase, LearnedGate, fit_gate, leave_one_class_out
from clipfast.anomaly.modes import MODES, ROUTES, resolve
from clipfast.anomaly.scales import Scale
from clipfast.errors import DataError, NotComputedError, ShapeError
from clipfast.metrics import auroc_score


def maps(n: int, seed: int, *, lift_text: float = 0.0, lift_memory: float = 0.0) -> BranchMaps:
    """Raw scores as they come: shares near one half, distances near 0.1."""
    rng = np.random.default_rng(seed)
    text = 1 / (1 + np.exp(-rng.normal(lift_text - 0.5, 0.6, (n, 4, 5))))
    memory = rng.gamma(9, 0.01, (n, 4, 5)) + 0.05 * lift_memory
    parts = [(text.mean(axis=(1, 2)), text), (memory.max(axis=(1, 2)), memory)]
    return BranchMaps(*(BranchScores.of(i.astype(np.float32), m.astype(np.float32)) for i, m in parts))


def semantic_of(found: BranchMaps) -> BranchScores:
    """The text branch, which is there."""
    assert found.semantic is not None
    return found.semantic


INTACT = maps(30, 1)
CALIBRATION = fit_calibration(INTACT, evidence=TextEvidence(0.5, "for the tests"))
PLAIN = [name for name in MODES if name not in ("oracle", "learned_gate")]


def test_the_raw_modes_are_those_of_the_original() -> None:
    """max, harmonic with its 1e-8, and the two branches, pixel by pixel."""
    found = maps(5, 2)
    s, m = semantic_of(found).pixel.astype(np.float64), found.memory.pixel.astype(np.float64)

    assert np.array_equal(fuse_pixels(found, CALIBRATION, "semantic"), semantic_of(found).pixel)
    assert np.array_equal(fuse_pixels(found, CALIBRATION, "memory"), found.memory.pixel)
    np.testing.assert_allclose(fuse_pixels(found, CALIBRATION, "max"), np.maximum(s, m), atol=1e-6)
    np.testing.assert_allclose(
        fuse_pixels(found, CALIBRATION, "harmonic"), 1 / (1 / (s + 1e-8) + 1 / (m + 1e-8)), atol=1e-6
    )


def test_a_zero_of_one_branch_does_not_divide_by_zero() -> None:
    """The original without the constant gives 0; so does this one, to 1e-8."""
    blank = BranchScores.of(np.zeros(1, np.float32), np.zeros((1, 2, 2), np.float32))

    assert fuse(BranchMaps(blank, blank), CALIBRATION, "harmonic").pixel.max() <= 1e-8


@pytest.mark.parametrize("prefix", ["", "calibrated_"])
def test_published_identities(prefix: str) -> None:
    """Harmonic is below both, the maximum above both, and the mean between."""
    found = maps(40, 3)
    both = CALIBRATION.apply(found) if prefix else found
    s, m = semantic_of(both).image, both.memory.image
    harmonic = fuse_images(found, CALIBRATION, f"{prefix}harmonic")
    largest = fuse_images(found, CALIBRATION, f"{prefix}max")

    assert (harmonic <= np.minimum(s, m) + 1e-6).all()
    assert np.array_equal(largest, np.maximum(s, m))
    if prefix:
        mean = fuse_images(found, CALIBRATION, "calibrated_mean")
        assert ((mean >= np.minimum(s, m) - 1e-5) & (mean <= np.maximum(s, m) + 1e-5)).all()


def test_the_oracle_bounds_every_choice_between_the_branches() -> None:
    """Of images and of pixels: no selection, and neither branch nor max, ranks higher; minimum for the intact ones."""
    found = BranchMaps.joined([maps(20, 4), maps(20, 5, lift_text=0.6, lift_memory=0.6)])
    labels = np.repeat([0, 1], 20)
    oracle = fuse_images(found, CALIBRATION, "oracle", labels)
    rng = np.random.default_rng(0)
    s, m = semantic_of(found).image, found.memory.image

    assert np.array_equal(oracle[:20], np.minimum(s, m)[:20])
    assert np.array_equal(oracle[20:], np.maximum(s, m)[20:])
    best = auroc_score(labels, oracle)
    for _ in range(20):
        assert auroc_score(labels, np.where(rng.random(40) < 0.5, s, m)) <= best
    assert (
        max(auroc_score(labels, fuse_images(found, CALIBRATION, mode)) for mode in ("semantic", "memory", "max"))
        <= best
    )
    masks = rng.random(found.memory.pixel.shape) < 0.1
    pixels = fuse_pixels(found, CALIBRATION, "oracle", masks)
    for mode in ("semantic", "memory", "max"):
        chosen = fuse_pixels(found, CALIBRATION, mode)
        assert auroc_score(masks.ravel(), chosen.ravel()) <= auroc_score(masks.ravel(), pixels.ravel())


@pytest.mark.parametrize("mode", PLAIN)
def test_every_mode_scores_each_image_by_itself(mode: str) -> None:
    """The batch around an image changes nothing; results are finite float32 of the right shape."""
    found = maps(6, 6)
    together = fuse(found, CALIBRATION, mode)
    alone = [fuse(found.taken(np.array([i])), CALIBRATION, mode) for i in range(6)]

    assert together.image.dtype == together.pixel.dtype == np.float32
    assert np.isfinite(together.pixel).all()
    np.testing.assert_allclose(together.image, np.concatenate([a.image for a in alone]), rtol=1e-6)
    np.testing.assert_allclose(together.pixel, np.concatenate([a.pixel for a in alone]), rtol=1e-6)


def test_all_modes_in_one_pass_are_the_modes_one_by_one() -> None:
    """Images and pixels, the oracle among them."""
    found = maps(6, 17)
    labels, masks = np.arange(6) % 2, found.memory.pixel > 0.12
    modes = [*PLAIN, "oracle"]

    for name, fused in fuse_all(found, CALIBRATION, modes, "image", labels):
        assert np.array_equal(fused, fuse_images(found, CALIBRATION, name, labels))
    together = dict(fuse_all(found, CALIBRATION, modes, "pixel", masks))
    assert list(together) == modes
    for name, fused in together.items():
        assert np.array_equal(fused, fuse_pixels(found, CALIBRATION, name, masks))


def test_a_calibrated_fusion_hears_both_branches() -> None:
    """An anomaly that only the memory sees is lost in the raw maximum and found by the calibrated one."""
    found = BranchMaps.joined([maps(40, 7), maps(40, 8, lift_memory=3)])
    labels = np.repeat([0, 1], 40)

    assert auroc_score(labels, fuse_images(found, CALIBRATION, "max")) < 0.75
    assert auroc_score(labels, fuse_images(found, CALIBRATION, "calibrated_max")) > 0.9


def test_auto_takes_what_the_text_branch_earned() -> None:
    """Its share of images, the memory where it earned none, and the memory for pixels."""
    found = maps(5, 9)
    none = replace(CALIBRATION, evidence=TextEvidence(0.0, "no"))
    both = CALIBRATION.apply(found)

    assert (resolve("auto", "image", CALIBRATION), resolve("auto", "pixel", CALIBRATION)) == ("earned", "memory")
    assert resolve("auto", "image", none) == "memory"
    np.testing.assert_allclose(
        fuse_images(found, CALIBRATION, "auto"), (semantic_of(both).image + both.memory.image) / 2, rtol=1e-5
    )
    assert np.array_equal(fuse_images(found, none, "auto"), found.memory.image)


@pytest.mark.parametrize("kind", list(ROUTES))
def test_routing_follows_the_kind(kind: Any) -> None:
    """Each kind has its mode, which computes."""
    found = maps(3, 10)
    calibration = replace(CALIBRATION, kind=kind)

    assert np.array_equal(fuse_images(found, calibration, "routed"), fuse_images(found, calibration, ROUTES[kind]))


def test_the_gate_follows_the_branch_whose_map_stands_out() -> None:
    """A memory map with one high patch beside a text map as usual: the memory has the larger share."""
    found = maps(1, 11)
    memory = found.memory.pixel.copy()
    memory[0, 1, 1] = 1.0
    sharp = BranchMaps(found.semantic, BranchScores.of(memory.max(axis=(1, 2)), memory))
    both = CALIBRATION.apply(sharp)
    fused = fuse_images(sharp, CALIBRATION, "gate")[0]

    assert abs(fused - both.memory.image[0]) < 0.5 * abs(semantic_of(both).image[0] - both.memory.image[0])


@pytest.mark.parametrize("mode", ["semantic", "max", "calibrated_mean", "gate"])
def test_without_the_text_branch_modes_that_need_it_say_so(mode: str) -> None:
    """Nothing is put in its place."""
    alone = BranchMaps(None, INTACT.memory)
    with pytest.raises(NotComputedError, match="left out"):
        fuse_images(alone, fit_calibration(alone), mode)
    with pytest.raises(NotComputedError, match="left out"):
        fuse_images(alone if mode in ("semantic", "max") else INTACT, fit_calibration(alone), mode)


@pytest.mark.parametrize(
    ("mode", "truth", "error", "message"),
    [
        ("best", None, DataError, "mode must be one of auto"),
        ("oracle", None, DataError, "needs the truth"),
        ("oracle", np.zeros(3), ShapeError, "shape of the scores"),
        ("learned_gate", None, DataError, "learned on other classes"),
    ],
)
def test_bad_input_is_named(mode: str, truth: Any, error: type[Exception], message: str) -> None:
    """Each fault has its sentence."""
    with pytest.raises(error, match=message):
        fuse_images(INTACT, CALIBRATION, mode, truth)


@pytest.mark.parametrize("method", ["cdf", "robust_z"])
@pytest.mark.parametrize("odds", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5, 300])
def test_scales_keep_the_order_and_stay_positive(method: Any, odds: bool, count: int) -> None:
    """Scores below, within and far above those of the support, for one support score and for many."""
    rng = np.random.default_rng(count)
    support = rng.uniform(0.2, 0.4, count).astype(np.float32)
    scale = Scale.fit(support, method, odds=odds)
    x = np.linspace(0.15, 0.6, 200).astype(np.float32)
    found = scale.apply(x).astype(np.float64)

    assert (found >= 0).all()
    assert (np.diff(found) >= 0).all()
    assert (np.diff(found)[x[1:] > support.max()] > 0).all()
    assert np.isfinite(scale.apply(np.array([0, 1], np.float32))).all()


def test_the_cdf_scale_says_how_rare_a_score_is() -> None:
    """Among 1000 exponential scores a value is -log of the share above it, beyond the last one, too."""
    support = np.random.default_rng(0).exponential(1, 20000).astype(np.float32)
    scale = Scale.fit(support)
    x = np.array([0.2, 1, 2, 5, 20], np.float32)

    np.testing.assert_allclose(scale.apply(x), x, rtol=0.08)  # -log(exp(-x)) = x


def test_scales_of_nothing_are_refused() -> None:
    """No score, or NaN."""
    for scores in (np.empty(0, np.float32), np.array([np.nan], np.float32)):
        with pytest.raises(ShapeError, match="one at least"):
            Scale.fit(scores)


def case(seed: int, better: str) -> GateCase:
    """A class in which one branch is right, and its map stands out when it is."""
    lift = {"lift_text": 2.5} if better == "text" else {"lift_memory": 4.0}
    found = BranchMaps.joined([maps(30, seed), maps(30, seed + 1, **lift)])
    return GateCase(CALIBRATION.apply(found), np.repeat([0, 1], 30))


def test_a_learned_gate_is_no_worse_than_the_mean_on_classes_it_never_saw() -> None:
    """Learned on three classes, judged on the fourth: above each single branch's worst, and deterministic."""
    cases = {"a": case(20, "text"), "b": case(30, "memory"), "c": case(40, "text"), "d": case(50, "memory")}
    found = leave_one_class_out(cases)
    again = leave_one_class_out(cases)

    for name, scores in found.items():
        labels = cases[name].labels
        single = [auroc_score(labels, part.image) for part in (semantic_of(cases[name].maps), cases[name].maps.memory)]
        assert auroc_score(labels, scores) > min(single) + 0.1
        assert np.array_equal(scores, again[name])


def test_the_gates_weights_solve_the_regression() -> None:
    """The slope of the penalised loss is zero at the weights, by differences."""
    gate = fit_gate([case(60, "text")], ridge=0.5)
    from clipfast.anomaly.gate import _targets

    signals, targets, counts = _targets(case(60, "text"))
    design = np.column_stack([np.ones(len(signals)), (signals - gate.means) / gate.spreads])

    def loss(weights: NDArray[np.float64]) -> float:
        z = design @ weights
        return float(counts @ (np.logaddexp(0, z) - targets * z) + 0.25 * (weights[1:] ** 2).sum())

    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-5
        assert (loss(gate.weights + step) - loss(gate.weights - step)) / 2e-5 == pytest.approx(0, abs=1e-3)


def test_each_class_counts_alike_however_many_images_it_has() -> None:
    """A class ten times over teaches no more than once, where the ridge says nothing."""
    first, second = case(60, "text"), case(61, "memory")
    rows = np.tile(np.arange(len(first.labels)), 10)
    often = GateCase(first.maps.taken(rows), first.labels[rows])
    once, tenfold = (fit_gate([each, second], ridge=1e-9) for each in (first, often))

    np.testing.assert_allclose(tenfold.means, once.means)
    np.testing.assert_allclose(tenfold.spreads, once.spreads)
    np.testing.assert_allclose(tenfold.share(second.maps), once.share(second.maps), atol=1e-5)


def test_a_gate_in_a_calibration_is_used() -> None:
    """A gate that always trusts the text gives the text branch's calibrated scores."""
    trusting = LearnedGate(np.array([40.0, 0, 0, 0, 0]), np.zeros(4), np.ones(4))
    found = maps(4, 12)

    np.testing.assert_allclose(
        fuse_images(found, replace(CALIBRATION, gate=trusting), "learned_gate"),
        semantic_of(CALIBRATION.apply(found)).image,
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit_gate([]), DataError, "at least one class"),
        (lambda: fit_gate([case(1, "text")], ridge=0), ShapeError, "ridge must be positive"),
        (lambda: leave_one_class_out({"a": case(1, "text")}), DataError, "two classes or more"),
        (lambda: fit_gate([replace(case(1, "text"), labels=np.zeros(3, int))]), ShapeError, "labels must be 0 or 1"),
        (lambda: fit_gate([GateCase(BranchMaps(None, INTACT.memory), np.zeros(30, int))]), ShapeError, "two branches"),
    ],
)
def test_gates_refuse_what_they_cannot_learn_from(call: Any, error: type[Exception], message: str) -> None:
    """Each fault has its sentence."""
    with pytest.raises(error, match=message):
        call()


def test_text_earns_a_share_only_if_it_helps() -> None:
    """It helps where it sees damage that the memory misses; not where it is blind, or takes intact for damaged."""

    def share(broken: BranchMaps, intact: BranchMaps = INTACT, calibration: Calibration = CALIBRATION) -> TextEvidence:
        return weigh_text(intact, broken, calibration)

    helped = share(maps(24, 13, lift_text=3.0, lift_memory=0.3))
    blind = share(maps(24, 14, lift_memory=3.0))
    inverted = maps(30, 15, lift_text=2.0)
    upside_down = share(maps(24, 16, lift_text=5.0), inverted, fit_calibration(inverted))

    assert helped.share > 0
    assert "has a share" in helped.note
    assert blind.share == 0
    assert "left out" in blind.note
    assert upside_down.share == 0
    assert "takes intact references for damaged" in upside_down.note
