"""How the class token looks at the image in the last block: as a map, and how spread out it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipfast.arguments import require_array, require_size_hw, shown
from clipfast.errors import ArtifactError, ShapeError
from clipfast.types import DenseEncoder, Floats, Images

__all__ = ["attention_entropy", "attention_maps", "class_attention"]


def class_attention(clip: DenseEncoder, images: Images) -> Floats:
    """Return the class token's attention row in the last block.

    Args:
        clip: A model whose artifact was exported with `--class-attention`.
        images: As for `encode_dense`.

    Returns:
        Per head, over the class token itself and all patches, (n, heads, 1 + p) float32; rows sum to 1.

    Raises:
        ArtifactError: The artifact does not hold it.
    """
    streams = clip.encode_dense(images).streams
    if "class_attention" not in streams:
        raise ArtifactError(
            "the artifact's dense graph gives no class_attention. Export it again: "
            "python -m clipfast.export MODEL --pretrained WEIGHTS --class-attention --out DIR"
        )
    return streams["class_attention"]


def attention_maps(attention: Floats, grid_hw: tuple[int, int]) -> Floats:
    """Return each head's attention to the patches as a map, (n, heads, gh, gw); their mean over heads is usual.

    Args:
        attention: Of `class_attention`, (n, heads, 1 + p).
        grid_hw: Patch grid, (gh, gw).

    Raises:
        ShapeError: If the grid does not fit.
    """
    gh, gw = require_size_hw("grid_hw", grid_hw)
    if require_array("attention", attention, "(n, heads, 1 + p)").ndim != 3 or attention.shape[2] != 1 + gh * gw:
        raise ShapeError(f"attention must be (n, heads, {1 + gh * gw}) for a grid of {grid_hw}; got {attention.shape}.")
    maps: Floats = attention[:, :, 1:].reshape(*attention.shape[:2], gh, gw)
    return maps


def attention_entropy(attention: Floats) -> NDArray[np.float64]:
    """Return the Shannon entropy of every row in nats, 0 (one token takes all) to ln(1 + p) (all alike).

    Args:
        attention: Rows that sum to 1, (..., 1 + p).

    Returns:
        (...) float64; per head for `class_attention`'s rows.

    Raises:
        ShapeError: If rows hold negative numbers or do not sum to 1.

    >>> attention_entropy(np.array([[1.0, 0.0], [0.5, 0.5]], np.float32)).round(4).tolist()
    [0.0, 0.6931]
    """
    try:
        rows = np.asarray(attention, np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"attention must be rows of shares that sum to 1; got {shown(attention)}.") from error
    if rows.ndim < 1 or not rows.shape[-1] or not (rows >= 0).all() or np.abs(rows.sum(-1) - 1).max(initial=0) > 1e-3:
        raise ShapeError(f"attention must be rows of shares that sum to 1; got an array of {rows.shape} that is not.")
    entropy: NDArray[np.float64] = -(rows * np.log(np.where(rows > 0, rows, 1))).sum(axis=-1)
    return np.abs(entropy)  # not -0.0
