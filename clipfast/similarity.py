"""Patches against texts: cosine similarity, feature surgery, redundant-text removal. NumPy only.

Source of feature surgery: xmed-lab/CLIP_Surgery, clip/clip.py `clip_feature_surgery`, restated so that it takes
O(n p t) memory and any batch size. Nothing here copies the tokens: products come first, lengths are divided out after.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.types import Floats

__all__ = ["class_cosine", "cosine_map", "feature_surgery", "surgery_against"]

_TEMPERATURE = 2.0  # fixed in the original too: its argument `t` is not used


def cosine_map(tokens: Floats, texts: Floats) -> Floats:
    """Return the cosine of every patch with every text.

    Args:
        tokens: Patch tokens, (n, p, e); normalised here.
        texts: Unit rows, (t, e); or any directions, such as differences of two texts, whose length then counts.

    Returns:
        (n, p, t) float32; of unit rows in [-1, 1]. A token without length gives 0.

    Raises:
        ShapeError: Shapes do not fit.
    """
    _check(tokens, texts)
    lengths = np.sqrt(np.vecdot(tokens, tokens))[..., None]  # over channels: copies of the original made before
    out: Floats = tokens @ texts.T  # 2025-03 took the lengths over the token axis by mistake
    out /= np.maximum(lengths, np.finfo(np.float32).tiny)
    return out


def class_cosine(embedding: Floats, texts: Floats) -> Floats:
    """Return how well each whole image fits each text, shaped to be added to its maps.

    Args:
        embedding: Image embeddings, unit rows (n, e).
        texts: Unit rows, (t, e), or any directions.

    Returns:
        (n, 1, t) float32.

    Raises:
        ShapeError: Shapes do not fit.
    """
    if embedding.ndim != 2 or texts.ndim != 2 or embedding.shape[1] != texts.shape[1]:
        raise ShapeError(
            f"embedding must be (n, e) and texts (t, e); got {embedding.shape} and {texts.shape}. "
            "Pass the rows of encode_images() and encode_texts()."
        )
    out: Floats = (embedding @ texts.T)[:, None, :]
    return out


def feature_surgery(tokens: Floats, embedding: Floats, texts: Floats, redundant: Floats | None = None) -> Floats:
    """Remove from each patch what it shares with all texts (CLIP Surgery, feature surgery).

    With several texts and no `redundant`: with w = softmax(2 <embedding, text>) / its mean over texts, and
    D = w <patch, text>, the result is D - mean over texts of D. This equals the original's (n, p, t, e) computation.
    With `redundant`: <patch, text - redundant>, the form for a single text.

    Args:
        tokens: Patch tokens, (n, p, e); normalised here.
        embedding: Image embeddings, unit rows (n, e); not used with `redundant`.
        texts: Unit rows, (t, e).
        redundant: A unit row (e,) of a text that says nothing, usually the ensemble of "", for one text or several.

    Returns:
        Similarities, (n, p, t) float32. They sum to 0 over the texts unless `redundant` is given.

    Raises:
        ShapeError: Shapes do not fit, or one text without `redundant`, where the result would be 0 everywhere.

    >>> rng = np.random.default_rng(0)
    >>> rows = rng.normal(size=(8, 4)).astype(np.float32)
    >>> rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    >>> feature_surgery(rows[None, :4], rows[4:5], rows[5:]).shape
    (1, 4, 3)
    """
    _check(tokens, texts)
    if redundant is not None:
        if redundant.shape != texts.shape[1:]:
            raise ShapeError(f"redundant must be ({texts.shape[1]},); got {redundant.shape}. Pass one text's row.")
        return cosine_map(tokens, texts - redundant)
    if len(texts) < 2:
        raise ShapeError(
            "feature surgery removes what texts share, so it needs 2 texts or more, or `redundant`; got 1 text. "
            'Pass redundant=clip.encode_texts([""], templates)[0], or more texts.'
        )
    if embedding.shape != (len(tokens), texts.shape[1]):
        raise ShapeError(f"embedding must be ({len(tokens)}, {texts.shape[1]}); got {embedding.shape}.")
    logits = _TEMPERATURE * (embedding @ texts.T)  # (n, t)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.mean(axis=1, keepdims=True)
    out = cosine_map(tokens, texts)
    out *= weights[:, None, :].astype(np.float32)
    # A difference of near-equal numbers: it must stay in fp32.
    out -= out.mean(axis=2, keepdims=True, dtype=np.float32)
    return out


def surgery_against(
    tokens: Floats, embedding: Floats, texts: Floats, labels: Floats, rival: NDArray[np.bool_] | None = None
) -> Floats:
    """Compare each text with labels only: feature surgery of [text, its labels], without the other texts.

    The map of a text then does not change with the other texts that are asked. With e = exp(2 <embedding, row>) of the
    text and of its l labels, the result is (l e_text <patch, text> - sum of e_label <patch, label>) / sum of all e:
    two products for all texts together.

    Args:
        tokens: Patch tokens, (n, p, e); normalised here.
        embedding: Image embeddings, unit rows (n, e).
        texts: Unit rows, (t, e).
        labels: Unit rows, (l, e).
        rival: Which labels a text is compared with, (t, l); None all. A label that is the text itself must be left
            out, and one must be left.

    Returns:
        Similarities, (n, p, t) float32; of each text what `feature_surgery` gives it among its labels.

    Raises:
        ShapeError: Shapes do not fit, or a text has no label to be compared with.
    """
    against = np.ones((len(texts), len(labels)), np.bool_) if rival is None else rival
    _check(tokens, texts)
    if embedding.shape != (len(tokens), texts.shape[1]) or labels.ndim != 2 or labels.shape[1] != texts.shape[1]:
        raise ShapeError(
            f"embedding must be ({len(tokens)}, {texts.shape[1]}) and labels (l, {texts.shape[1]}); got "
            f"{embedding.shape} and {labels.shape}."
        )
    if against.shape != (len(texts), len(labels)) or not against.any(axis=1).all():
        raise ShapeError(
            f"rival must be ({len(texts)}, {len(labels)}) with a label for each text; got {against.shape}. "
            "Pass labels that are not the text itself."
        )
    share = against.T.astype(np.float32)  # (l, t)
    rows = np.concatenate([texts, labels])
    logits = _TEMPERATURE * (embedding @ rows.T)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float32)
    mine, theirs = weights[:, : len(texts)], weights[:, len(texts) :]
    cosines = cosine_map(tokens, rows)
    cosines *= weights[:, None, :]
    out: Floats = cosines[..., : len(texts)] * share.sum(axis=0)
    out -= cosines[..., len(texts) :] @ share
    out /= (mine + theirs @ share)[:, None, :]
    return out


def _check(tokens: Floats, texts: Floats) -> None:
    if tokens.ndim != 3 or texts.ndim != 2 or tokens.shape[2] != texts.shape[1]:
        raise ShapeError(
            f"tokens must be (n, p, e) and texts (t, e); got {tokens.shape} and {texts.shape}. "
            "Pass a stream of encode_dense() and the rows of encode_texts()."
        )
