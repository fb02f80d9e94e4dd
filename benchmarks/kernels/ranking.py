"""AUROC of 10 million scores, exact and streamed, beside scikit-learn, torchmetrics, argsort and ADEval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from benchmarks.kernels import adeval_peer
from benchmarks.race import Case
from clipfast.metrics.ranking import auroc_score
from clipfast.metrics.streaming import RankingStream, StreamedScores

ITEMS, SHARE = 10_000_000, 0.02
Array = np.ndarray[Any, Any]


def cases() -> list[Case]:
    """Smooth scores, scores of which many are equal, and the stream, also of scores far from zero."""
    labels, scores = items(0)
    ties = np.round(scores, 3)
    what = f"{ITEMS // 10**6} M float32, {SHARE:.0%} positives"
    return [
        _exact(f"AUROC, {what}", labels, scores),
        _exact(f"AUROC, {what}, 1,001 distinct scores", labels, ties),
        *(_streamed(f"streaming AUROC, {what}", labels, scores, batches) for batches in (10, 1)),
        _streamed(f"streaming AUROC, {what}, scores + 10", labels, scores + np.float32(10), 10, shifted=True),
    ]


def items(seed: int) -> tuple[Array, Array]:
    """Labels uint8 and scores float32 in (0, 1), of which torchmetrics makes no sigmoid; AUROC is about 0.9."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(ITEMS) < SHARE).astype(np.uint8)
    logits = rng.standard_normal(ITEMS, np.float32) + np.float32(1.8) * labels
    return labels, (1 / (1 + np.exp(-logits))).astype(np.float32)


def _exact(name: str, labels: Array, scores: Array) -> Case:
    import torch
    from sklearn.metrics import roc_auc_score
    from torchmetrics.functional.classification import binary_auroc

    tensors = torch.from_numpy(scores), torch.from_numpy(labels).long()
    return Case(
        name=name,
        contenders={
            "clipfast": lambda: auroc_score(labels, scores),
            "scikit-learn": lambda: roc_auc_score(labels, scores),
            "torchmetrics, exact": lambda: float(binary_auroc(*tensors, thresholds=None)),
            "argsort and Numba": lambda: _by_argsort(labels, scores),
        },
        agree=_same_value,
        musts={"scikit-learn": 30.0, "argsort and Numba": 5.0},
    )


def _same_value(answers: Mapping[str, Any]) -> dict[str, float]:
    """scikit-learn to 1e-12; torchmetrics adds up in float32."""
    apart = {name: abs(answers[name] - answers["clipfast"]) for name in answers if name != "clipfast"}
    assert apart["scikit-learn"] <= 1e-12, apart
    assert apart["argsort and Numba"] <= 1e-12, apart
    assert apart["torchmetrics, exact"] <= 1e-4, apart
    return {f"difference from {name}": value for name, value in apart.items()}


def _by_argsort(labels: Array, scores: Array) -> float:
    """What fast-auc and its kin do: NumPy's argsort, then one loop over the ranking that takes ties together."""
    return float(_area(labels[np.argsort(scores)], np.sort(scores)))


@njit(nogil=True)
def _area(labels: Array, scores: Array) -> float:
    below, pairs, positives, i = 0, 0.0, 0, 0
    while i < len(labels):
        hits, misses, j = 0, 0, i
        while j < len(labels) and scores[j] == scores[i]:
            hits += labels[j]
            misses += 1 - labels[j]
            j += 1
        pairs += hits * (below + misses / 2)
        below += misses
        positives += hits
        i = j
    return pairs / (positives * below)


def _streamed(name: str, labels: Array, scores: Array, batches: int, *, shifted: bool = False) -> Case:
    """No must and no narrower interval if `shifted`: bins are relative, so an offset leaves few of them."""
    low, high = float(scores.min()), float(scores.max())
    pieces = list(zip(np.array_split(labels, batches), np.array_split(scores, batches), strict=True))

    def ours() -> StreamedScores:
        stream = RankingStream()
        for some_labels, some_scores in pieces:
            stream.update(some_labels, some_scores)
        return stream.result()

    def adeval() -> float:
        counts = adeval_peer.accumulator(low, high, regions=False)
        for some_labels, some_scores in pieces:
            counts.add_sample(some_scores, some_labels)
        return adeval_peer.auroc(counts)

    def agree(answers: Mapping[str, Any]) -> dict[str, float]:
        """Ours holds the exact value, without an offset in an interval narrower than ADEval's own bins allow."""
        exact, found = auroc_score(labels, scores), answers["clipfast"].auroc
        theirs = _width_of_strips(labels, scores, low, high)
        assert found.low <= exact <= found.high
        assert shifted or found.width < theirs
        return {
            "certified width, clipfast": found.width,
            "width its 1,000 strips allow, ADEval (not reported by it)": theirs,
            "error, clipfast": abs(found.value - exact),
            "error, ADEval": abs(answers["ADEval"] - exact),
        }

    return Case(
        name=f"{name}, {'one update' if batches == 1 else f'{batches} updates'}",
        contenders={"clipfast": ours, "ADEval": adeval},
        agree=agree,
        musts={} if shifted else {"ADEval": 5.0},
    )


def _width_of_strips(labels: Array, scores: Array, low: float, high: float) -> float:
    edges = np.linspace(low, high, 1001)
    hits, misses = (np.histogram(scores[labels == label], edges)[0].astype(float) for label in (1, 0))
    return float((hits * misses).sum() / (hits.sum() * misses.sum()))
