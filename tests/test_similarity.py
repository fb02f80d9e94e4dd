"""Feature surgery equals its definition, and keeps its invariants."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from clipfast.errors import ShapeError
from clipfast.similarity import class_cosine, cosine_map, feature_surgery
from clipfast.types import Floats
from reference import naive


def _rows(*shape: int, seed: int = 0) -> Floats:
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    unit: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


TOKENS, EMBEDDING, TEXTS = _rows(3, 10, 16, seed=1), _rows(3, 16, seed=2), _rows(5, 16, seed=3)


def test_feature_surgery_equals_the_original_definition() -> None:
    """The (n, p, t, e) computation of the original, image by image, gives the same numbers."""
    expected = naive.feature_surgery(TOKENS, EMBEDDING, TEXTS)

    assert np.abs(feature_surgery(TOKENS, EMBEDDING, TEXTS) - expected).max() < 1e-6


def test_a_redundant_text_is_subtracted() -> None:
    """With a redundant text the map is that of the difference."""
    expected = np.einsum("npe,te->npt", TOKENS, TEXTS - TEXTS[0])

    assert np.abs(feature_surgery(TOKENS, EMBEDDING, TEXTS, redundant=TEXTS[0]) - expected).max() < 1e-6


def test_scores_sum_to_zero_over_texts() -> None:
    """What all texts share is gone."""
    assert np.abs(feature_surgery(TOKENS, EMBEDDING, TEXTS).sum(axis=2)).max() < 1e-5


def test_equal_texts_leave_nothing() -> None:
    """With identical texts everything is shared."""
    same = np.repeat(TEXTS[:1], 3, axis=0)

    assert np.abs(feature_surgery(TOKENS, EMBEDDING, same)).max() < 1e-6


def test_permuting_texts_permutes_maps() -> None:
    """The order of texts has no meaning."""
    order = [3, 0, 4, 1, 2]
    base = feature_surgery(TOKENS, EMBEDDING, TEXTS)

    assert np.abs(feature_surgery(TOKENS, EMBEDDING, TEXTS[order]) - base[:, :, order]).max() < 1e-6


def test_a_batch_equals_a_loop() -> None:
    """The original fails for more than one image; here a map does not depend on its batch mates."""
    looped = [feature_surgery(TOKENS[i : i + 1], EMBEDDING[i : i + 1], TEXTS) for i in range(len(TOKENS))]

    assert np.abs(feature_surgery(TOKENS, EMBEDDING, TEXTS) - np.concatenate(looped)).max() < 1e-6


def test_tokens_are_normalised_over_channels() -> None:
    """Scaling a token changes nothing; the old copies that normalise over tokens would."""
    scale = np.random.default_rng(0).uniform(0.1, 9, (3, 10, 1)).astype(np.float32)

    assert np.abs(cosine_map(TOKENS * scale, TEXTS) - cosine_map(TOKENS, TEXTS)).max() < 1e-6


def test_a_zero_token_gives_zero_not_nan() -> None:
    """A token without direction resembles nothing."""
    assert cosine_map(np.zeros((1, 1, 16), np.float32), TEXTS).tolist() == [[[0.0] * 5]]


def test_memory_is_that_of_the_result() -> None:
    """59 texts on 1,024 patches: nowhere near the (p, t, e) products of the original, nor a copy of the tokens."""
    tokens, embedding, texts = _rows(1, 1024, 512), _rows(1, 512), _rows(59, 512)
    feature_surgery(tokens, embedding, texts)
    tracemalloc.start()
    try:
        result = feature_surgery(tokens, embedding, texts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 3 * result.nbytes < tokens.nbytes


def test_the_whole_image_beside_its_patches() -> None:
    """One similarity for each image and text, shaped to be added to maps."""
    expected = np.einsum("ne,te->nt", EMBEDDING, TEXTS)[:, None, :]

    assert np.abs(class_cosine(EMBEDDING, TEXTS) - expected).max() < 1e-6
    with pytest.raises(ShapeError, match=r"embedding must be \(n, e\)"):
        class_cosine(EMBEDDING, TEXTS[:, :8])


@pytest.mark.parametrize(
    ("tokens", "embedding", "texts", "message"),
    [
        (TOKENS[0], EMBEDDING, TEXTS, r"tokens must be \(n, p, e\)"),  # no batch axis
        (TOKENS, EMBEDDING, TEXTS[:, :8], r"got \(3, 10, 16\) and \(5, 8\)"),  # widths differ
        (TOKENS, EMBEDDING[:2], TEXTS, r"embedding must be \(3, 16\); got \(2, 16\)"),  # one image short
        (TOKENS, EMBEDDING, TEXTS[:1], "needs 2 texts"),  # one text shares everything with itself
    ],
)
def test_shapes_that_do_not_fit_are_told(tokens: Floats, embedding: Floats, texts: Floats, message: str) -> None:
    """Expected and got are both in the message."""
    with pytest.raises(ShapeError, match=message):
        feature_surgery(tokens, embedding, texts)
