"""The loop: batches in a seeded order, half of them mirrored, a short warm-up and a falling rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clipfast.artifact import ImageSpec
from clipfast.export.reference import normalised
from finetuning.objective import DenseJudge, Weights, contrast, keep, patch_truth
from finetuning.supervision import Examples, patch_shares
from finetuning.tower import encode_images, trainable

__all__ = ["Course", "fine_tune"]

_JUDGE_RATE = 1e-2  # its two numbers have to follow the tokens
_WARM_UP = 0.05  # of all steps


@dataclass(frozen=True)
class Course:
    """How training goes.

    Attributes:
        depth: Blocks from the end that the v-v path collects; the same as at export.
        blocks: Blocks from the end that learn.
        rank: Of adapters; 0 trains the blocks themselves.
        epochs: How often each image is seen.
        batch: Images a step.
        rate: The largest learning rate.
        weights: Of the parts of the loss.
        seed: Of the order, the mirroring and the adapters.
    """

    depth: int
    blocks: int
    rank: int
    epochs: int
    batch: int
    rate: float
    weights: Weights
    seed: int

    def rate_at(self, done: float) -> float:
        """Return the rate after a share of the steps: a rise, then half a cosine.

        >>> course = Course(6, 6, 0, 1, 8, 1.0, Weights(), 0)
        >>> [round(course.rate_at(done), 2) for done in (0.0, 0.025, 0.05, 0.5, 1.0)]
        [0.0, 0.5, 0.99, 0.5, 0.0]
        """
        return self.rate * min(1.0, done / _WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * done))


@dataclass(frozen=True)
class _Batch:
    pixels: Tensor
    truth: Tensor
    shown: Tensor
    before: Tensor


def fine_tune(
    model: nn.Module, examples: Examples, image: ImageSpec, names: Tensor, course: Course
) -> Iterator[dict[str, Any]]:
    """Train the model in place; give the parts of the loss of each epoch, mean over its steps.

    Args:
        model: open_clip's CLIP, in evaluation mode: it has no dropout, and nothing else differs.
        examples: Of the training split.
        image: What the model's input is like.
        names: Unit rows of the classes, (t, e).
        course: How.
    """
    torch.manual_seed(course.seed)
    kept = _embed_both_ways(model, examples, image, course.depth) if course.weights.keep else None
    learned = trainable(model, course.blocks, course.rank)
    judge = DenseJudge()
    groups = [{"params": learned}, {"params": list(judge.parameters())}]
    optimiser = torch.optim.AdamW(groups, lr=course.rate, weight_decay=0.0)
    steps = math.ceil(len(examples) / course.batch)
    factors = asdict(course.weights)
    for epoch in range(course.epochs):
        totals: dict[str, float] = {}
        for number, batch in enumerate(_batches(model, examples, kept, course, epoch)):
            rate = course.rate_at((epoch * steps + number + 1) / (course.epochs * steps))
            optimiser.param_groups[0]["lr"] = rate
            optimiser.param_groups[1]["lr"] = _JUDGE_RATE * rate / course.rate
            rows, tokens = encode_images(model, normalised(batch.pixels, image), course.depth)
            cosines = tokens @ names.T
            if epoch == number == 0:
                judge.settle(cosines)
            losses = {}
            if factors["dense"]:
                losses["dense"] = judge(cosines, batch.truth)
            if factors["contrast"]:
                losses["contrast"] = contrast(model.logit_scale.exp().detach(), rows, names, batch.shown)
            if factors["keep"]:
                losses["keep"] = keep(rows, batch.before)
            optimiser.zero_grad()
            torch.stack([factors[part] * loss for part, loss in losses.items()]).sum().backward()
            nn.utils.clip_grad_norm_(learned, 1.0)
            optimiser.step()
            for part, loss in losses.items():
                totals[part] = totals.get(part, 0.0) + float(loss.detach())
        yield {"epoch": epoch + 1} | {part: round(total / steps, 4) for part, total in totals.items()}


def _batches(model: nn.Module, examples: Examples, kept: Tensor | None, course: Course, epoch: int) -> Iterator[_Batch]:
    """Give the images of one epoch in an order that seed and epoch decide."""
    rng = np.random.default_rng([course.seed, epoch])
    order, mirrored = rng.permutation(len(examples)), rng.random(len(examples)) < 0.5
    grid_hw = model.visual.grid_size
    patch = examples.pixels.shape[1] // grid_hw[0]
    count = len(examples.classes)
    for begin in range(0, len(order), course.batch):
        chosen = order[begin : begin + course.batch].tolist()
        views = [examples.mirrored(i) if mirrored[i] else (examples.pixels[i], examples.boxes[i]) for i in chosen]
        shares = [torch.from_numpy(patch_shares(boxes, grid_hw, patch)) for _, boxes in views]
        labels = [torch.from_numpy(examples.labels[i]) for i in chosen]
        truth = torch.stack([patch_truth(*each, count) for each in zip(shares, labels, strict=True)])
        shown = torch.zeros(len(chosen), count, dtype=torch.bool)
        for row, each in enumerate(labels):
            shown[row, each] = True
        before = torch.empty(0) if kept is None else kept[torch.from_numpy(mirrored[chosen].astype(np.int64)), chosen]
        pixels = torch.from_numpy(np.stack([pixels for pixels, _ in views]))
        yield _Batch(pixels, truth, shown, before)


@torch.no_grad()
def _embed_both_ways(model: nn.Module, examples: Examples, image: ImageSpec, depth: int) -> Tensor:
    """Return where the model puts images and their mirror images before it learns, (2, n, e)."""
    both = []
    for turn in (1, -1):
        rows = []
        for begin in range(0, len(examples), 16):
            pixels = torch.from_numpy(np.ascontiguousarray(examples.pixels[begin : begin + 16, :, ::turn]))
            rows.append(encode_images(model, normalised(pixels, image), depth)[0])
        both.append(torch.cat(rows))
    return torch.stack(both)
