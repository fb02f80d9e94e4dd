"""Grad-CAM on the PyTorch reference, for comparison with maps that need no gradient.

Selvaraju et al., ICCV 2017, for a vision transformer: with u the output of the last block's first norm (patches only)
and y the cosine of the whole image with a text, the channels' weights are the means over patches of dy/du, and the map
is ReLU(sum over channels of weight times u). It costs a backward pass for every text.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from clipfast.errors import ShapeError
from clipfast.export.reference import normalised
from clipfast.export.weights import LoadedModel
from clipfast.types import Floats, Pixels

__all__ = ["GradCam"]


class GradCam:
    """Grad-CAM of one model."""

    def __init__(self, source: LoadedModel) -> None:
        self._model = source.model.eval().requires_grad_(False)
        self._image = source.image

    def maps(self, pixels: Pixels, texts: Floats) -> Floats:
        """Compute one map per image and text.

        Args:
            pixels: What the model takes, (n, h, w, 3) uint8.
            texts: Unit rows, (t, e).

        Returns:
            (n, t, gh, gw) float32, at least 0; higher where a change would change the similarity more.

        Raises:
            ShapeError: Shapes do not fit the model.
        """
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (*self._image.size_hw, 3):
            raise ShapeError(
                f"pixels must be (n, {self._image.size_hw[0]}, {self._image.size_hw[1]}, 3); got {pixels.shape}."
            )
        kept: list[Tensor] = []

        def keep(_module: object, _inputs: object, output: Tensor) -> Tensor:
            kept.append(output.detach().requires_grad_(True))
            return kept[0]  # the graph begins here: nothing before it is differentiated

        block = self._model.visual.transformer.resblocks[-1]
        handle = block.ln_1.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                given = normalised(torch.from_numpy(np.ascontiguousarray(pixels)), self._image)
                similarity = (
                    self._model.encode_image(given, normalize=True) @ torch.from_numpy(np.ascontiguousarray(texts)).T
                )
                found = [_weighted(similarity[:, text], kept[0]) for text in range(len(texts))]
        finally:
            handle.remove()
        rows, columns = self._model.visual.grid_size
        maps: Floats = torch.stack(found, dim=1).reshape(len(pixels), len(texts), rows, columns).numpy()
        return maps


def _weighted(similarity: Tensor, tokens: Tensor) -> Tensor:
    """Return ReLU of the patches weighted with their channels' mean gradients, (n, p)."""
    (gradient,) = torch.autograd.grad(similarity.sum(), tokens, retain_graph=True)
    weights = gradient[:, 1:].mean(dim=1, keepdim=True)
    return torch.relu((weights * tokens.detach()[:, 1:]).sum(dim=2))
