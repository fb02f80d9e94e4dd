"""What is asked of the tokens, and what must not be lost for it.

* dense: each v-v patch token and each class, whether the class covers the patch;
* contrast: whole images against class names, as CLIP was trained, so that names keep meaning images;
* keep: whole images stay where the model put them before, so that zero-shot answers do not drift.

The text tower is frozen: names stay where they are, and tokens move towards them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["DenseJudge", "Weights", "contrast", "keep", "patch_truth"]


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts; a part of weight 0 is not computed."""

    dense: float = 1.0
    contrast: float = 0.1
    keep: float = 5.0

    def __post_init__(self) -> None:
        if min(self.dense, self.contrast, self.keep) < 0 or self.dense + self.contrast == 0:
            raise SystemExit("--dense, --contrast and --keep must not be negative, and one of the first two not 0.")


class DenseJudge(nn.Module):
    """Turns cosines of patches and names into a loss; its sharpness and offset are learned, and dropped afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.bias = nn.Parameter(torch.tensor(0.0))

    @torch.no_grad()
    def settle(self, cosines: Tensor) -> None:
        """Begin where an average cosine means an unlikely class, whatever the model's cosines are like."""
        self.bias.copy_(-self.log_scale.exp() * cosines.mean() - 2.0)

    def forward(self, cosines: Tensor, truth: Tensor) -> Tensor:
        """Return the mean of three mean cross-entropies, so that the rare ones count as much as the frequent.

        Covered patches; patches beside the object in images that show the class; patches of images that do not.

        Args:
            cosines: (b, p, t).
            truth: 1 covered, 0 not covered, -1 in part, (b, p, t) int8.
        """
        logits = self.log_scale.exp() * cosines + self.bias
        each = functional.binary_cross_entropy_with_logits(logits, (truth > 0).to(logits.dtype), reduction="none")
        shown = (truth > 0).any(1, keepdim=True).expand_as(truth)
        parts = [truth > 0, (truth == 0) & shown, (truth == 0) & ~shown]
        means = [each[part].mean() for part in parts if part.any()]
        return torch.stack(means).mean()


def patch_truth(shares: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Say for each patch and class: 1 covered at least to half, 0 not at all, -1 in between, (p, t) int8.

    A box that fills no patch to half still covers the one that it fills most.

    Args:
        shares: Which share of each patch each box covers, (m, p).
        labels: Class of each box, (m,).
        classes: How many there are.

    >>> patch_truth(torch.tensor([[0.9, 0.3, 0.0]]), torch.tensor([1]), 2).tolist()
    [[0, 1], [0, -1], [0, 0]]
    """
    truth = torch.zeros(shares.shape[1], classes, dtype=torch.int8)
    for share, label in zip(shares, labels.tolist(), strict=True):
        covered = (share > 0) & (share >= min(0.5, float(share.max())))
        told = torch.where(covered, 1, torch.where(share > 0, -1, 0)).to(torch.int8)
        before = truth[:, label]
        truth[:, label] = torch.where(torch.maximum(told, before) > 0, 1, torch.minimum(told, before))
    return truth


def contrast(scale: Tensor, images: Tensor, names: Tensor, shown: Tensor) -> Tensor:
    """Cross-entropy of each image against all class names, its own ones alike; images without a class count nothing.

    Args:
        scale: The model's sharpness.
        images: Unit rows, (b, e).
        names: Unit rows, (t, e).
        shown: Which classes an image shows, (b, t) bool.
    """
    count = shown.sum(1)
    target = shown / count.clamp(min=1)[:, None]
    each = -(target * functional.log_softmax(scale * images @ names.T, 1)).sum(1)
    return each.sum() / (count > 0).sum().clamp(min=1)


def keep(images: Tensor, before: Tensor) -> Tensor:
    """One less the cosine of images with what they were, mean over the batch."""
    return (1 - (images * before).sum(1)).mean()
