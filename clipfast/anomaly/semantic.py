"""The text branch: is a patch, or an image, nearer to texts about damage than to texts about intact things?

S = softmax over two groups of cosines, divided by a temperature; the share of the abnormal group. For images of their
embedding, for patches of the value-value stream (PromptAD; Li et al., CVPR 2024, with the temperature it meant).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipfast.anomaly.branches import BranchScores
from clipfast.anomaly.options import Pooling
from clipfast.errors import ShapeError
from clipfast.types import Floats

__all__ = ["TextPrompts", "log_odds", "semantic_scores", "unit_rows"]

_EDGE = 1e-7  # float32 cannot tell scores nearer to 0 or 1


@dataclass(frozen=True, slots=True, eq=False)
class TextPrompts:
    """The two groups of prompts as rows.

    Attributes:
        normal: Unit rows, (a, e) float32.
        abnormal: Unit rows, (b, e) float32.
        temperature: Of the softmax.
        pooling: How patches meet several prompts; see `PromptOptions`.
        texts: What the rows say, normal first, for people; empty where they were learned.
    """

    normal: Floats
    abnormal: Floats
    temperature: float
    pooling: Pooling = "mean"
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shapes = self.normal.shape, self.abnormal.shape
        if any(len(s) != 2 or not s[0] for s in shapes) or shapes[0][1] != shapes[1][1]:
            raise ShapeError(f"prompts must be two groups of rows (a, e) and (b, e); got {shapes[0]} and {shapes[1]}.")
        if not self.temperature > 0:
            raise ShapeError(f"temperature must be positive; got {self.temperature}.")

    @property
    def means(self) -> Floats:
        """The normalised mean of each group, (2, e): normal, abnormal."""
        return unit_rows(np.stack([self.normal.mean(axis=0), self.abnormal.mean(axis=0)]))


def semantic_scores(embedding: Floats, tokens: Floats, grid_hw: tuple[int, int], prompts: TextPrompts) -> BranchScores:
    """Score images and patches by text.

    Args:
        embedding: Image embeddings, unit rows (n, e).
        tokens: Patch tokens of the value-value stream, (n, p, e); normalised here.
        grid_hw: Patch grid.
        prompts: The two groups.

    Returns:
        Shares of the abnormal group, in (0, 1); maps on the patch grid.

    Raises:
        ShapeError: Shapes do not fit.
    """
    if tokens.ndim != 3 or tokens.shape[2] != prompts.normal.shape[1] or len(embedding) != len(tokens):
        raise ShapeError(
            f"embedding must be (n, e) and tokens (n, p, e) of the prompts' e = {prompts.normal.shape[1]}; "
            f"got {embedding.shape} and {tokens.shape}. Pass what encode_joint() gives."
        )
    means, patches = prompts.means, unit_rows(tokens)
    image = _share(embedding @ means.T, prompts.temperature)
    if prompts.pooling == "mean":
        cosines = patches @ means.T
    else:
        groups = [(patches @ rows.T).max(axis=2) for rows in (prompts.normal, prompts.abnormal)]
        cosines = np.stack(groups, axis=2)
    maps = _share(cosines, prompts.temperature).reshape(len(tokens), *grid_hw)
    return BranchScores.of(image, maps)


def log_odds(scores: Floats) -> Floats:
    """Return log(S / (1 - S)): differences of cosines again, which do not crowd at 0 and 1."""
    kept = np.clip(scores, _EDGE, 1 - _EDGE)
    odds: Floats = np.log(kept / (1 - kept))
    return odds


def unit_rows(rows: Floats) -> Floats:
    """Scale rows to unit length; a row of zeros stays."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    out: Floats = rows / np.maximum(norms, np.finfo(np.float32).tiny)
    return out


def _share(cosines: Floats, temperature: float) -> Floats:
    """Softmax of (..., 2) cosines, the second one's share; computed so that no exponential overflows."""
    gap = (cosines[..., 1].astype(np.float64) - cosines[..., 0]) / temperature
    share: Floats = (0.5 * (1 + np.tanh(gap / 2))).astype(np.float32)
    return share
