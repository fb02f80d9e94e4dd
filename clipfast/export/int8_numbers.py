"""The arithmetic of int8: scales of weights and activations, and the exact move of outliers from one to the other.

Weights are int8, symmetric, with one scale an output column. Activations are uint8 with one constant scale and zero
point a tensor: what an image gives never depends on its batch mates. Scales are chosen for the smallest squared error
of the product, so a few outliers may be cut where that pays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipfast.export.observed import Observed
from clipfast.types import Floats

__all__ = ["ActivationScale", "choose_activation", "quantize_weight", "smoothing"]

_LEVELS = 127
_SHARES = np.array([1.0, 0.97, 0.94, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
_TINY = np.float32(1e-12)


@dataclass(frozen=True, slots=True)
class ActivationScale:
    """`value = scale * (level - zero)` with levels of 0 to 255."""

    scale: float
    zero: int

    def rounded(self, values: Floats) -> Floats:
        """Return the values as uint8 would hold them.

        >>> ActivationScale(0.5, 2).rounded(np.float32([-3.0, 0.2, 0.8]))
        array([-1.,  0.,  1.], dtype=float32)
        """
        levels = np.clip(np.rint(values / np.float32(self.scale)) + self.zero, 0, 255) - self.zero
        out: Floats = (levels * np.float32(self.scale)).astype(np.float32)
        return out


def smoothing(seen: Observed, weight: Floats, *, strength: float = 0.5) -> Floats:
    """Return by how much to divide each input channel, and multiply its row of the weight, before both are rounded.

    Channels with outliers become smaller and their weights larger, which loses nothing where the division is folded
    into the norm before. Source: SmoothQuant (arXiv 2211.10438), equation 4.

    Args:
        seen: The product's input, (m, c).
        weight: (c, out).
        strength: 0 leaves the activations as they are, 1 makes all channels equally large.

    Returns:
        (c,) float32 with geometric mean 1.
    """
    largest = np.maximum(np.maximum(np.abs(seen.low), np.abs(seen.high)), 1e-5).astype(np.float64)
    rows = np.maximum(np.abs(weight).max(axis=1), 1e-5).astype(np.float64)
    factors = largest**strength / rows ** (1 - strength)
    factors /= np.exp(np.log(factors).mean())
    out: Floats = np.clip(factors, 1 / 64, 64).astype(np.float32)
    return out


def quantize_weight(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Return int8 levels (c, out) and the scale of each column (out,), each chosen for the least squared error.

    >>> levels, scale = quantize_weight(np.float32([[127, 1], [-254, 0.5]]))
    >>> levels.dtype, bool(abs(levels * scale - [[127, 1], [-254, 0.5]]).max() < 2)
    (dtype('int8'), True)
    """
    largest = np.maximum(np.abs(weight).max(axis=0), _TINY)
    best = np.full(weight.shape[1], np.inf)
    scale = largest / np.float32(_LEVELS)
    for share in _SHARES[_SHARES >= 0.7]:  # beyond that, cutting never paid for weights of a normal shape
        tried = (largest * np.float32(share) / _LEVELS).astype(np.float32)
        error = np.square(_levels(weight, tried) * tried - weight).sum(axis=0)
        better = error < best
        best, scale = np.where(better, error, best), np.where(better, tried, scale)
    scale = scale.astype(np.float32)
    return _levels(weight, scale).astype(np.int8), scale


def choose_activation(seen: Observed, factors: Floats, weight: Floats) -> ActivationScale:
    """Choose scale and zero point of a product's input.

    Args:
        seen: The input before smoothing.
        factors: The smoothing's divisors, (c,).
        weight: The weight after smoothing, (c, out): an error counts as much as its channel does in the product.
    """
    low = min(0.0, float((seen.low / factors).min()))
    high = max(0.0, float((seen.high / factors).max()))
    if high - low < 1e-9:
        return ActivationScale(1.0, 0)
    rows, importance = seen.rows / factors, np.square(weight).sum(axis=1)
    choices = [_scale_of(low * share, high * share) for share in _SHARES]
    errors = [float((np.square(choice.rounded(rows) - rows) @ importance).sum()) for choice in choices]
    return choices[int(np.argmin(errors))]


def _scale_of(low: float, high: float) -> ActivationScale:
    scale = (high - low) / 255
    return ActivationScale(float(np.float32(scale)), int(np.clip(round(-low / scale), 0, 255)))


def _levels(weight: Floats, scale: Floats) -> Floats:
    out: Floats = np.clip(np.rint(weight / scale), -_LEVELS, _LEVELS)
    return out
