"""The guided filter window by window, as the paper defines it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["box_mean", "guided_filter"]


def box_mean(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Mean of every window, cut off at the border."""
    height, width = values.shape
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            out[y, x] = values[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1].mean()
    return out


def guided_filter(
    values: NDArray[np.float64], guide: NDArray[np.float64], radius: int, eps: float
) -> NDArray[np.float64]:
    """Fit a ridge regression in every window (equations 5 and 6, 19 and 20), then average the lines over each pixel."""
    height, width = values.shape
    pixels = guide.reshape(height, width, -1)
    channels = pixels.shape[2]
    lines = np.zeros((height, width, channels + 1))
    for y in range(height):
        for x in range(width):
            window = np.s_[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
            seen, wanted = pixels[window].reshape(-1, channels), values[window].ravel()
            around, mean = seen - seen.mean(axis=0), wanted.mean()
            covariance = around.T @ around / len(seen) + eps * np.eye(channels)
            slope = np.linalg.solve(covariance, around.T @ (wanted - mean) / len(seen))
            lines[y, x] = [*slope, mean - slope @ seen.mean(axis=0)]
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            near = lines[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1].reshape(
                -1, channels + 1
            )
            line = near.mean(axis=0)
            out[y, x] = line[:-1] @ pixels[y, x] + line[-1]
    return out
