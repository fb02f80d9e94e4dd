"""Measurements of samples, each beside a slow twin, another library or a case worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clipfast.diagnostics import Boxes, Predictions
from clipfast.diagnostics.clusters import cluster_agreement, error_clusters, k_means
from clipfast.diagnostics.groups import accuracy_by_frequency, f1_interval, grouped_errors
from clipfast.diagnostics.localisation import attention_boxes, localisation, measure_attention
from clipfast.diagnostics.mismatch import (
    confidence_ratio,
    neighbour_votes,
    noise_of_labels,
    noise_of_pairs,
    pair_ranks,
)
from clipfast.diagnostics.modalities import measure_modalities
from clipfast.diagnostics.ood import k_nearest, mahalanobis_distance, novelty, shrunk_covariance, threshold_at
from clipfast.diagnostics.pairs import keyword_similarity, map_change, pair_distributions
from clipfast.diagnostics.uncertainty import (
    calibration,
    energy,
    label_ranks,
    margins,
    normalised_entropy,
    top_k_inclusion,
)
from clipfast.errors import DataError, ShapeError, UndefinedMetricError
from clipfast.metrics import expected_calibration_error
from clipfast.metrics.mcnemar import mcnemar_interval
from diagnostics.samples import clustered

RNG = np.random.default_rng(7)


def test_entropy_margin_rank_and_energy() -> None:
    """Entropy equals scipy's, energy its logsumexp, margins and ranks those of sorted rows."""
    stats, special = pytest.importorskip("scipy.stats"), pytest.importorskip("scipy.special")
    probs = RNG.dirichlet(np.ones(6), 50)
    labels = RNG.integers(0, 6, 50)
    ordered = np.sort(probs, axis=1)

    assert normalised_entropy(probs) == pytest.approx(stats.entropy(probs, axis=1) / np.log(6))
    assert margins(probs) == pytest.approx(ordered[:, -1] - ordered[:, -2])
    assert label_ranks(labels, probs).tolist() == [
        1 + sorted(row, reverse=True).index(row[label])
        for row, label in zip(probs.tolist(), labels.tolist(), strict=True)
    ]
    assert energy(probs * 9, 2.0) == pytest.approx(-2 * special.logsumexp(probs * 9 / 2, axis=1))
    assert label_ranks(np.array([1, 0]), np.array([[0.5, 0.5], [0.5, 0.5]])).tolist() == [2, 1]


def test_entropy_equals_torchmetrics_ece_too() -> None:
    """The calibration of the judged samples is that of `metrics`, and its fast resampled form the same number."""
    data = clustered()
    judged = data.judged
    found = calibration(data, "question_type")

    assert found.overall.ece.estimate == pytest.approx(
        expected_calibration_error(data.labels[judged], data.probs[judged]), abs=1e-12
    )
    assert found.overall.ece.low <= found.overall.ece.estimate <= found.overall.ece.high
    assert [row.name for row in found.by_group] == ["where", "count"]
    assert sum(row.samples for row in found.by_group) == 200


def test_groups_that_are_worse_are_found() -> None:
    """One group with all errors is worse, and holds them all; unknown columns are named."""
    data = clustered(300, noise=0.0, train=0.0)
    labels = data.labels.copy()
    bad = data.columns["question_type"] == "count"
    labels[bad] = (labels[bad] + 1) % 8
    data = Predictions(data.ids, data.classes, labels, data.probs, columns=data.columns)

    table = grouped_errors(data, "question_type")

    assert table.rows[0].name == "count"
    assert table.rows[0].worse
    assert not table.rows[1].worse
    assert table.share_in_worse > 0.95
    assert sum(row.errors for row in table.rows) == int((~data.right).sum())
    with pytest.raises(DataError, match="a group must be one of class, question_type, split; got 'colour'"):
        grouped_errors(data, "colour")


def test_macro_f1_equals_scikit_learn() -> None:
    """On random labels of which some never occur; the interval holds the estimate."""
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    labels, said = RNG.integers(0, 5, 120), RNG.integers(1, 7, 120)
    found = f1_interval(labels, said, seed=0)

    assert found.estimate == pytest.approx(sklearn_metrics.f1_score(labels, said, average="macro", zero_division=0))
    assert found.low < found.estimate < found.high


def test_rare_templates_are_worse() -> None:
    """Accuracy by band of training frequency, rarest first."""
    count = 400
    template = np.where(np.arange(count) % 4 == 0, "rare", "usual")
    split = np.where((np.arange(count) < 200) & ((template == "usual") | (np.arange(count) < 8)), "train", "test")
    right = (template == "usual") | (np.arange(count) % 8 == 0)
    probs = np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
    data = Predictions(
        tuple(map(str, range(count))), ("a", "b"), np.zeros(count, np.int64), probs,
        columns={"split": split, "template": template},
    )  # fmt: skip

    table = accuracy_by_frequency(data)

    assert table is not None
    assert table.bounds == ((2, 2), (150, 150))
    assert table.accuracy[0].estimate == pytest.approx(0.5, abs=0.02)
    assert table.accuracy[1].estimate == 1.0
    assert table.correlation > 0.5


def test_k_means_finds_separate_groups_and_repeats() -> None:
    """Well separated groups are found whole; the same seed gives the same; equal rows give one cluster."""
    rows = np.concatenate([RNG.normal(at, 0.1, (20 + at, 3)) for at in (0, 5, 9)]).astype(np.float32)
    which, centres = k_means(rows, 3, seed=1)

    assert which.tolist() == [2] * 20 + [1] * 25 + [0] * 29
    assert centres.shape == (3, 3)
    assert np.array_equal(which, k_means(rows, 3, seed=1)[0])
    assert k_means(np.ones((4, 2), np.float32), 3, seed=0)[1].shape == (1, 2)
    with pytest.raises(ShapeError, match="count must be 1"):
        k_means(rows, 0, seed=0)


def test_clusters_of_wrong_samples_have_words() -> None:
    """Samples of two kinds that are wrong are parted, each with the word that only its texts hold."""
    data = clustered(300, train=0.0)
    wrong = np.isin(data.labels, [0, 1])
    probs = np.full((300, 8), 0.01)
    probs[np.arange(300), np.where(wrong, 7, data.labels)] = 0.93
    texts = tuple(f"is it thing{label}" for label in data.labels.tolist())
    data = Predictions(data.ids, data.classes, data.labels, probs, texts=texts, image_rows=data.image_rows)

    found = error_clusters(data, most=2)
    agreement = cluster_agreement(data)

    assert {cluster.words[0] for cluster in found} == {"thing0", "thing1"}
    assert sum(cluster.samples for cluster in found) == int(wrong.sum())
    assert agreement is not None
    assert agreement.image_nmi is not None
    assert agreement.image_nmi > 0.8
    assert agreement.text_nmi is None


def test_nearest_neighbours_equal_sorting() -> None:
    """The same neighbours as sorting all cosines, and never the sample itself."""
    rows = RNG.normal(size=(40, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    numbers, cosines = k_nearest(rows, rows, 3, own=np.arange(40))
    all_cosines = rows @ rows.T
    np.fill_diagonal(all_cosines, -2)

    assert numbers.tolist() == np.argsort(-all_cosines, axis=1)[:, :3].tolist()
    assert cosines == pytest.approx(-np.sort(-all_cosines, axis=1)[:, :3])
    with pytest.raises(ShapeError, match="k must be 1 to 39"):
        k_nearest(rows, rows, 40, own=np.arange(40))


def test_shrinkage_equals_scikit_learn() -> None:
    """Ledoit and Wolf's covariance, and distances by its inverse."""
    covariance = pytest.importorskip("sklearn.covariance")
    rows = RNG.normal(size=(30, 6)) @ RNG.normal(size=(6, 6))
    centred = rows - rows.mean(axis=0)
    ours = shrunk_covariance(centred)

    assert ours == pytest.approx(covariance.ledoit_wolf(centred, assume_centered=True)[0], rel=1e-6)
    wide = mahalanobis_distance(rows[:5].astype(np.float32), rows.astype(np.float32))
    assert wide == pytest.approx(
        np.sqrt(np.einsum("ne,ef,nf->n", centred[:5], np.linalg.inv(ours), centred[:5])), rel=1e-3
    )


@pytest.mark.parametrize("method", ["knn", "mahalanobis"])
def test_new_samples_are_called_new(method: str) -> None:
    """Samples elsewhere are above the threshold, samples like the training rarely."""
    data = clustered(600)
    assert data.image_rows is not None
    rows = data.image_rows.copy()
    rows[500:] = -rows[:100]
    moved = Predictions(data.ids, data.classes, data.labels, data.probs, columns=data.columns, image_rows=rows)

    found = novelty(moved, method=method)  # type: ignore[arg-type]  # a parameter of the test

    assert found is not None
    assert found.new[500:].mean() > 0.9
    assert found.new[300:500].mean() < 0.15
    assert novelty(clustered(30), method="knn") is None  # too few
    with pytest.raises(ShapeError, match="method must be one of knn, mahalanobis, energy"):
        novelty(moved, method="nearest")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="the rate must be in"):
        threshold_at(np.arange(3.0), 0)


def test_energy_notices_samples_without_any_large_logit() -> None:
    """The threshold is the training samples' own; without scores the reason is named."""
    data = clustered(600)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(600, 8))
    logits[np.arange(600), data.labels] += 12
    logits[500:] = rng.normal(size=(100, 8))
    scored = replace(data, logits=logits)

    found = novelty(scored, method="energy")

    assert found is not None
    assert found.method == "energy"
    assert found.references == 300
    assert found.new[500:].mean() > 0.95
    assert found.new[300:500].mean() < 0.15
    assert found.scores == pytest.approx(energy(logits))
    logits[7, 3] = np.nan
    for lacking in (data, replace(data, logits=logits)):
        with pytest.raises(DataError, match="energy needs `scores`"):
            novelty(lacking, method="energy")


def test_parts_are_judged_on_the_samples_that_have_them() -> None:
    """Of six samples four have an answer without the text: two right ones are lost and one is won."""
    full = np.array([[0.9, 0.1]] * 3 + [[0.1, 0.9]] * 3)
    alone = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [np.nan] * 2, [np.nan] * 2])
    data = Predictions(tuple("abcdef"), ("x", "y"), np.zeros(6, np.int64), full, image_only=alone)

    found = measure_modalities(data)

    assert found.full.estimate == 0.5
    assert found.text_only is None
    assert found.single_suffices is None
    part = found.image_only
    assert part is not None
    assert (part.samples, part.full.estimate, part.without.estimate) == (4, 0.75, 0.5)
    assert part.lost == mcnemar_interval(2, 1, 4)


def test_attention_against_boxes_by_hand() -> None:
    """A peak in the box, one beside it, two boxes, an even map, and none."""
    maps = np.zeros((4, 4, 4), np.float32)
    maps[0, 0, 0] = 1
    maps[1, 3, 3] = 1
    maps[2] = 1
    maps[3] = np.nan
    quarter = [0.0, 0.0, 0.5, 0.5]
    boxes = Boxes(np.array([quarter, quarter, [0.75, 0.75, 1, 1], quarter, quarter]), np.array([0, 1, 1, 2, 3]))

    found = measure_attention(maps, boxes)

    assert found.hit.tolist()[:2] == [1.0, 1.0]
    assert found.iou[:3].tolist() == pytest.approx([0.25, 1.0, 0.25])
    assert found.inside[:3].tolist() == pytest.approx([1.0, 1.0, 0.25])
    assert found.lift[:3].tolist() == pytest.approx([4.0, 16.0, 1.0])
    assert found.entropy[:3].tolist() == pytest.approx([0.0, 0.0, 1.0])
    assert np.isnan([found.iou[3], found.hit[3], found.entropy[3]]).all()
    assert measure_attention(maps, Boxes(np.array([quarter]), np.array([1]))).hit[1] == 0.0
    assert attention_boxes(maps)[2].tolist() == [0, 0, 1, 1]


def test_localisation_parts_right_and_wrong() -> None:
    """The pointing game by whether the answer was right."""
    maps = np.zeros((4, 2, 2), np.float32)
    maps[[0, 1, 2, 3], [0, 0, 1, 1], [0, 0, 1, 1]] = 1
    data = Predictions(
        tuple("abcd"), ("x", "y"), np.zeros(4, np.int64), np.array([[0.9, 0.1]] * 2 + [[0.1, 0.9]] * 2), attention=maps,
        boxes=Boxes(np.tile([0, 0, 0.5, 0.5], (4, 1)), np.arange(4)),
        choices=np.array([[0, 0], [1, 0], [1, 1], [-1, 0]]),
    )  # fmt: skip

    found = localisation(data, measure_attention(maps, data.boxes))

    assert found is not None
    assert found.pointing_if_right is not None
    assert found.pointing_if_wrong is not None
    assert (found.pointing_if_right.estimate, found.pointing_if_wrong.estimate) == (1.0, 0.0)
    assert found.choice_accuracy is not None
    assert found.choice_accuracy.estimate == pytest.approx(2 / 3)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2, 0.4])
def test_label_noise_is_estimated(noise: float) -> None:
    """The true share lies in the interval in at least 9 of 10 draws."""
    hits = 0
    for seed in range(10):
        data = clustered(600, noise=noise, seed=seed, train=0.0)
        found = noise_of_labels(data.labels, data.probs)
        assert found is not None
        hits += found.ratio.low - 1e-9 <= noise <= found.ratio.high

    assert hits >= 9


def test_confidence_ratio_by_hand() -> None:
    """Usual confidence of a class is its mean probability among samples labelled so."""
    probs = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4]])

    assert confidence_ratio(np.array([0, 0, 1]), probs) == pytest.approx([0.9 / 0.8, 0.7 / 0.8, 0.6 / 0.8])
    assert noise_of_labels(np.zeros(3, np.int64), probs) is None


def test_neighbours_vote() -> None:
    """Votes are shares of the neighbours' labels, of nobody for itself."""
    data = clustered(200, train=0.0)
    assert data.image_rows is not None
    asked = np.arange(0, 200, 10)
    votes = neighbour_votes(data.image_rows, data.labels, np.arange(200), asked, classes=8)
    cosines = data.image_rows[asked] @ data.image_rows.T
    cosines[np.arange(20), asked] = -2
    nearest = np.argsort(-cosines, axis=1)[:, :15]

    assert votes.sum(axis=1) == pytest.approx(1)
    assert votes.tolist() == [(np.bincount(data.labels[row], minlength=8) / 15).tolist() for row in nearest]


@pytest.mark.parametrize("mismatched", [0.0, 0.2, 0.5])
def test_mismatched_pairs_are_counted(mismatched: float) -> None:
    """The share of shuffled captions lies in the interval; matching pairs lie closer than shuffled ones."""
    rng = np.random.default_rng(int(mismatched * 10))
    texts = rng.normal(size=(500, 16)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    images = texts + 0.1 * rng.normal(size=texts.shape).astype(np.float32)
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    count = round(mismatched * 500)
    texts[:count] = np.roll(texts[:count], 1, axis=0)

    ranks = pair_ranks(images, texts)
    found = noise_of_pairs(ranks)
    spread = pair_distributions(images, texts)

    assert found.ratio.low - 1e-9 <= mismatched <= found.ratio.high
    assert ranks[count:].max() < 0.05
    assert spread.auc == pytest.approx(1 - mismatched / 2, abs=0.06)
    assert sum(spread.matching) == pytest.approx(1)
    assert (spread.overlap < 0.05) == (mismatched == 0.0)


def test_pairs_that_cannot_be_compared() -> None:
    """One text for all, one pair, other shapes."""
    rows = np.eye(4, dtype=np.float32)
    same = np.tile(rows[:1], (4, 1))
    with pytest.raises(UndefinedMetricError, match="Are all texts the same"):
        pair_distributions(rows, same)
    with pytest.raises(UndefinedMetricError, match="three or more"):
        pair_ranks(rows[:2], rows[:2])
    with pytest.raises(ShapeError, match="alike"):
        pair_distributions(rows, rows[:2])


def test_keywords_and_contexts() -> None:
    """A patch that is the keyword's row is found; equal maps do not differ, disjoint ones wholly."""
    rows = np.eye(6, dtype=np.float32)
    tokens = np.stack([rows[[i, (i + 1) % 6]] for i in range(6)])
    found = keyword_similarity(tokens, rows)
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0, 0, 0] = maps[1, 1, 1] = 1

    assert found.mean_matching == 1.0
    assert found.mean_shuffled < 0.6
    change = map_change(maps, np.stack([maps[0], maps[0]]))
    assert change.distance.tolist() == [0.0, 1.0]
    assert change.same_peak.tolist() == [True, False]
    with pytest.raises(ShapeError, match="at least 0"):
        map_change(-maps, maps)


def test_top_k_inclusion_counts_the_rescued() -> None:
    """A wrong sample whose label is second is rescued by the first three."""
    probs = np.array([[0.5, 0.3, 0.1, 0.1], [0.3, 0.5, 0.1, 0.1], [0.1, 0.5, 0.3, 0.1], [0.0, 0.5, 0.3, 0.2]])
    found = top_k_inclusion(Predictions(tuple("abcd"), tuple("wxyz"), np.zeros(4, np.int64), probs))

    assert found.ks == (1, 3)
    assert [part.estimate for part in found.inclusion] == [0.25, 0.75]
    assert found.rescued[1] is not None
    assert found.rescued[1].estimate == pytest.approx(2 / 3)
    assert list(found.by_chance) == pytest.approx([0.0, 2 / 3])
