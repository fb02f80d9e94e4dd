"""Confidence that means what it says, and none of these."""

from __future__ import annotations

import numpy as np
import pytest

from clipfast.errors import ShapeError
from clipfast.retrieval import BankModel, FabricBank, References
from clipfast.retrieval.confidence import bank_judge, fit_confidence
from clipfast.retrieval.openset import fit_openset
from clipfast.retrieval.references import Marks
from clipfast.types import Floats

CLASSES, DIM = 12, 32


def cloths(seed: int, each: int, spread: float, classes: int = CLASSES) -> tuple[Floats, list[str]]:
    """Draw unit rows around one direction a class; all classes lie near one another, as cosines of photos do."""
    directions = np.random.default_rng(7).normal(size=(40, DIM)) + 2.0
    rng = np.random.default_rng(seed)
    rows = np.repeat(directions[:classes], each, axis=0) + rng.normal(0, spread, (classes * each, DIM))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), [f"fabric_{at:02}" for at in range(classes) for _ in range(each)]


def bank_of(rows: Floats, names: list[str]) -> FabricBank:
    """Make a bank without photos."""
    paths = [f"{name}/{at}" for at, name in enumerate(names)]
    references = References(rows, names, paths, ["0" * 64] * len(names))
    return FabricBank(references, BankModel("a" * 64, "fp32", "drawn"))


def test_confidence_says_how_often_the_first_answer_is_right() -> None:
    """On fresh queries, answers that are sure are right more often, and the mean is near the share that is right."""
    bank = bank_of(*cloths(1, 5, 1.8))
    rows, names = cloths(2, 60, 1.8)
    answers = bank.rank_many(rows)
    confidences = np.array([answer.confidence for answer in answers])
    right = np.array([answer[0].id == name for answer, name in zip(answers, names, strict=True)])

    assert 0.3 < right.mean() < 0.97
    assert confidences.mean() == pytest.approx(right.mean(), abs=0.12)
    assert (
        right[confidences > np.median(confidences)].mean() > right[confidences < np.median(confidences)].mean() + 0.05
    )
    assert confidences.min() < 0.5 < answers[int(confidences.argmin())][0].score


def test_fabrics_that_are_left_out_are_answered_none() -> None:
    """Four of five queries of fabrics that the bank does not hold, at one false refusal in twenty."""
    rows, names = cloths(3, 5, 0.35)
    bank = bank_of(rows, names)
    known = bank.rank_many(cloths(4, 20, 0.35)[0])
    strangers = bank.rank_many(cloths(5, 20, 0.35, classes=40)[0][CLASSES * 20 :])

    assert np.mean([answer.none_of_these for answer in known]) <= 0.07
    assert np.mean([answer.none_of_these for answer in strangers]) >= 0.8


def test_the_threshold_is_the_conformal_one() -> None:
    """The floor(rate (n + 1))-th lowest score; with too few answers nothing is refused."""
    rng = np.random.default_rng(0)
    views = [(rng.uniform(0.8, 1.0, 5), rng.uniform(0.2, 0.4, 4)) for _ in range(39)]
    found = fit_openset(views, false_refusals=0.05)
    best = sorted(float(held.max()) for held, _ in views)

    assert found.threshold == best[1]  # floor(.05 · 40) = 2
    assert found.noticed is not None
    assert found.noticed.estimate == 1.0
    few = fit_openset(views[:18])
    assert few.threshold is None
    assert not few.refuses(np.zeros((1, 5))).any()


def test_few_answers_all_right_leave_a_doubt() -> None:
    """Platt's targets: nobody is certain after ten answers."""
    features = np.column_stack([np.linspace(1, 3, 10), np.linspace(0.7, 0.9, 10)])
    found = fit_confidence(features, np.ones(10, np.bool_))

    assert 0.85 < found.prob(features).min() <= found.prob(features).max() < 0.97


def test_slopes_are_never_negative() -> None:
    """A feature that speaks against the answer by chance is left out."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 2))
    right = features[:, 0] - features[:, 1] + rng.normal(size=200) > 0
    found = fit_confidence(features, right)

    assert found.slopes[0] > 0
    assert found.slopes[1] == 0.0


def test_a_bank_of_single_photos_refuses_nothing_and_says_that_nothing_was_fitted() -> None:
    """There is no photo that could be asked for."""
    rows, names = cloths(6, 1, 0.3)
    bank = bank_of(rows, names)
    answer = bank.rank(rows[0])

    assert bank_judge(bank.references).confidence is None
    assert not answer.none_of_these
    assert not answer.judgement.calibrated


def test_a_bank_of_one_fabric_answers_it() -> None:
    """There is nothing else to say, and nothing that it could be measured by."""
    rows, names = cloths(6, 3, 0.3, classes=1)
    answer = bank_of(rows, names).rank(rows[0])

    assert (answer[0].id, answer.confidence, answer.judgement.calibrated) == ("fabric_00", 1.0, False)
    assert not answer.none_of_these


def test_crops_of_one_photo_do_not_answer_for_each_other() -> None:
    """Four crops of each of two photos: no more is known than of two photos, and fresh ones are not refused."""
    drawn, names = cloths(8, 2, 1.6)
    rows = np.repeat(drawn, 4, axis=0) + np.random.default_rng(9).normal(0, 0.01, (8 * CLASSES, DIM))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    often = [name for name in names for _ in range(4)]
    paths = [f"{name}/{at:03}" for at, name in enumerate(often)]
    sources = [f"{1 + at // 4:064x}" for at in range(len(rows))]
    digests = [f"{1000 + at:064x}" for at in range(len(rows))]
    marks = Marks(tuple(sources), np.zeros(len(rows), np.uint64))
    model = BankModel("a" * 64, "fp32", "drawn")
    crops = FabricBank(References(rows, often, paths, digests, marks), model)
    answers = crops.rank_many(cloths(10, 10, 1.6)[0])
    unmarked = FabricBank(References(rows, often, paths, digests), model).rank_many(cloths(10, 10, 1.6)[0])

    assert crops.references.photos.tolist() == [at // 4 for at in range(len(rows))]
    right = np.mean([answer[0].id == name for answer, name in zip(answers, cloths(10, 10, 1.6)[1], strict=True)])
    assert np.mean([answer.none_of_these for answer in answers]) < 0.1
    assert np.mean([answer.confidence for answer in answers]) == pytest.approx(right, abs=0.2)
    assert np.mean([answer.none_of_these for answer in unmarked]) > 0.9  # what nobody says cannot be known


def test_a_photo_counts_once_for_the_threshold_however_many_patches_it_has() -> None:
    """The weighted threshold is the conformal one of the photos; too few photos of many patches refuse nothing."""
    rng = np.random.default_rng(2)
    photos = [(rng.uniform(0.8, 1.0, 5), rng.uniform(0.2, 0.4, 4)) for _ in range(39)]
    lowest = int(np.argmin([held.max() for held, _ in photos]))
    owner = [at for at in range(39) for _ in range(20 if at == lowest else 1 + at % 2)]
    repeated = [photos[at] for at in owner]
    found = fit_openset(repeated, photos=owner)

    assert found.threshold == fit_openset(photos).threshold != fit_openset(repeated).threshold
    assert found.noticed is not None
    assert found.noticed.low < fit_openset(repeated).noticed.low  # type: ignore[union-attr]  # 39 photos tell less
    assert fit_openset(photos[:18] * 10, photos=[*range(18)] * 10).threshold is None
    with pytest.raises(ShapeError, match="photos must be one for each of 39"):
        fit_openset(photos, photos=[1])


def test_patches_of_one_photo_are_in_one_fold_and_weigh_no_more_than_it() -> None:
    """Ten photos, all right, leave the doubt of ten answers; answers that follow the photo alone are not foreseen."""
    features = np.column_stack([np.linspace(1, 3, 10), np.linspace(0.7, 0.9, 10)])
    once = fit_confidence(features, np.ones(10, np.bool_))
    often = fit_confidence(
        features.repeat(20, axis=0), np.ones(200, np.bool_), photos=np.repeat(np.arange(10), 20).tolist()
    )
    np.testing.assert_allclose(often.prob(features), once.prob(features), atol=1e-6)

    rng = np.random.default_rng(3)
    owner, right = np.repeat(np.arange(20), 10), np.repeat(rng.random(20) < 0.5, 10)
    shown = np.repeat(rng.normal(size=(20, 2)), 10, axis=0)
    parted = fit_confidence(shown, right)
    whole = fit_confidence(shown, right, photos=owner.tolist())
    assert whole.calibration_error > parted.calibration_error


def test_answers_stay_lists() -> None:
    """What was a list is one still: equal, sliced, counted."""
    rows, names = cloths(6, 2, 0.3)
    answer = bank_of(rows, names).rank(rows[0], topk=3)

    assert isinstance(answer, list)
    assert answer == list(answer)
    assert len(answer[:2]) == 2


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    """The share of false refusals is a share."""
    with pytest.raises(ShapeError, match="false_refusals must be"):
        fit_openset([], false_refusals=rate)
