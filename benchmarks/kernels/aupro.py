"""AUPRO of anomaly maps, exact and streamed, beside anomalib and ADEval."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.kernels import adeval_peer
from benchmarks.race import Case
from clipfast.metrics.aupro import aupro_score, pixel_scores
from clipfast.metrics.streaming import PixelStream, StreamedPixelScores

Array = np.ndarray[Any, Any]


def cases() -> list[Case]:
    """Many small maps, and a few large ones."""
    return [_case(100, 256), _case(20, 1024)]


def maps(count: int, size: int, seed: int = 0) -> tuple[Array, Array]:
    """Masks with one to four blobs in four of five pictures, and smooth maps in (0, 1) that are mostly right."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size
    masks = np.zeros((count, size, size), bool)
    for i in range(4 * count // 5):
        for _ in range(rng.integers(1, 5)):
            x, y, a, b = rng.uniform((0.1, 0.1, 0.01, 0.01), (0.9, 0.9, 0.09, 0.09))
            masks[i] |= ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 < 1
    noise = np.stack([gaussian_filter(rng.standard_normal((size, size), np.float32), size / 80) for _ in range(count)])
    blurred = np.stack([gaussian_filter(mask.astype(np.float32), size / 60) for mask in masks])
    logits = noise / noise.std() + 3 * blurred - 1
    return masks, (1 / (1 + np.exp(-logits))).astype(np.float32)


def _case(count: int, size: int) -> Case:
    masks, scores = maps(count, size)
    low, high = float(scores.min()), float(scores.max())

    def streamed() -> StreamedPixelScores:
        stream = PixelStream()
        for mask, some in zip(masks, scores, strict=True):
            stream.update(mask, some)
        return stream.result()

    def adeval() -> float:
        counts = adeval_peer.accumulator(low, high, regions=True)
        counts.add_anomap_batch(scores, masks.view(np.uint8))  # OpenCV takes no bool
        return adeval_peer.aupro(counts)

    return Case(
        name=f"AUPRO to 0.3, {count} maps of {size} x {size}",
        contenders={
            "clipfast": lambda: aupro_score(masks, scores),
            "clipfast, all pixel figures": lambda: pixel_scores(masks, scores).aupro,
            "clipfast, streamed": streamed,
            "anomalib": _anomalib(masks, scores),
            "ADEval": adeval,
        },
        agree=_agree,
        musts={"anomalib": 10.0, "ADEval": 1.5},
    )


def _agree(answers: Mapping[str, Any]) -> dict[str, float]:
    """All figures at once to 1e-12, anomalib to 1e-4; the stream's interval holds ours; ADEval's is reported."""
    exact, stream = answers["clipfast"], answers["clipfast, streamed"].aupro
    apart = abs(answers["anomalib"] - exact)
    assert apart <= 1e-4, answers
    assert abs(answers["clipfast, all pixel figures"] - exact) <= 1e-12, answers
    assert stream.low - 1e-12 <= exact <= stream.high + 1e-12, answers
    return {
        "AUPRO": exact,
        "difference from anomalib": apart,
        "difference from ADEval": abs(answers["ADEval"] - exact),
        "certified width of the stream": stream.width,
    }


def _anomalib(masks: Array, scores: Array) -> Callable[[], float]:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what anomalib imports
        from anomalib.metrics.aupro import _AUPRO
    predictions, targets = torch.from_numpy(scores), torch.from_numpy(masks)

    def call() -> float:
        metric = _AUPRO(fpr_limit=0.3)
        metric.update(predictions, targets)
        return float(metric.compute())

    return call
