"""What the model is taught: which captions are true, where they are true, and which pictures show one fabric.

Contrast with several positives: the target of a row is spread evenly over all that is true of it. Captions that differ
in one claim, mostly an object's shape in the same colour, stand among the wrong ones (`claims.wrong_claims`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from batches import Batch
from claims import OBJECT, OBJECT_COLOUR, SHAPE, colour_of, shape_of
from model import ImageRows, MiniClip

_SAME_FABRIC_SHARPNESS = 8.0
_POSITIVE_WEIGHT = 4.0  # of a patch on which a claim is true; most are not
_PLAIN_SHARE = 0.5  # of ordinary patch tokens beside those of the v-v path, which heat maps use


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts; a part of weight 0 is not computed.

    Attributes:
        contrast: Pictures and captions.
        fabric: Pictures of one fabric in different colours and light.
        dense: Patches and single claims, of the v-v path and of ordinary tokens.
        region: Objects, pooled over their masks, and single claims.
        reading: Linear readings of patches: fabric, colour, shape, defect.
    """

    contrast: float = 1.0
    fabric: float = 0.3
    dense: float = 3.0
    region: float = 0.5
    reading: float = 0.5

    @classmethod
    def contrastive_only(cls) -> Weights:
        """No exact place is taught: the sibling on which CLIP Surgery's gain can be judged fairly."""
        return cls(dense=0.0, region=0.0, reading=0.0)


def losses(model: MiniClip, batch: Batch, rows: ImageRows, texts: Tensor, weights: Weights) -> dict[str, Tensor]:
    """Return each part of the loss, not yet weighted."""
    parts = {"contrast": contrast(model, batch, rows.embedding, texts)}
    if weights.fabric:
        parts["fabric"] = same_fabric(rows.embedding, batch.fabrics, batch.colours)
    singles = texts[len(texts) - len(batch.singles) :]
    if weights.dense:
        plain = dense(model, batch, rows.plain, singles)
        parts["dense"] = dense(model, batch, rows.surgery, singles) + _PLAIN_SHARE * plain
    if weights.region:
        parts["region"] = region(model, batch, rows.surgery, singles) + region(model, batch, rows.plain, singles)
    if weights.reading:
        parts["reading"] = reading(model, batch, rows.last)
    return parts


def contrast(model: MiniClip, batch: Batch, images: Tensor, texts: Tensor) -> Tensor:
    """Softmax both ways; captions that are true of no picture only serve as wrong answers."""
    logits = model.clip.logit_scale.exp() * images @ texts.T
    true = batch.truth.sum(0) > 0
    return 0.5 * spread(logits, batch.truth) + 0.5 * spread(logits.T[true], batch.truth.T[true])


def spread(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy against all true columns of a row alike; rows without any count nothing.

    >>> spread(torch.zeros(1, 4), torch.tensor([[1.0, 1.0, 0.0, 0.0]])).exp().item()
    4.0
    """
    count = truth.sum(1)
    target = truth / count.clamp(min=1)[:, None]
    each = -(target * functional.log_softmax(logits, 1)).sum(1)
    return each.sum() / (count > 0).sum().clamp(min=1)


def same_fabric(images: Tensor, fabrics: Tensor, colours: Tensor) -> Tensor:
    """Pictures of one fabric in different colours attract each other; all other pictures of the batch repel.

    Pairs of one fabric and one colour are left out: they are alike anyhow.
    """
    logits = _SAME_FABRIC_SHARPNESS * images @ images.T
    fabric, colour = fabrics[:, None] == fabrics, colours[:, None] == colours
    logits = logits.masked_fill(fabric & colour, -1e4)
    return spread(logits, (fabric & ~colour).float())


def dense(model: MiniClip, batch: Batch, tokens: Tensor, singles: Tensor) -> Tensor:
    """Binary cross-entropy of each patch and single claim; patches on which it holds in part are left out."""
    logits = model.dense_scale.exp() * tokens @ singles.T + model.dense_bias
    true, clear = batch.patches == 2, batch.patches != 1
    weight = clear.float() * (1 + (_POSITIVE_WEIGHT - 1) * true.float())
    each = functional.binary_cross_entropy_with_logits(logits, true.float(), weight=weight, reduction="sum")
    return each / weight.sum()


def region(model: MiniClip, batch: Batch, tokens: Tensor, singles: Tensor) -> Tensor:
    """Softmax of each visible object, its tokens averaged over its mask, over the claims about objects."""
    about = torch.tensor([SHAPE <= claim < OBJECT_COLOUR for claim in batch.singles.tolist()])
    picture, number = torch.nonzero(batch.objects[:, :, 0] >= 0, as_tuple=True)
    if not about.any() or not len(picture):
        return tokens.new_zeros(())
    pooled = (batch.shares[picture, number][:, None] @ tokens[picture])[:, 0]
    logits = model.clip.logit_scale.exp() * functional.normalize(pooled, dim=-1) @ singles[about].T
    shapes, colours = batch.objects[picture, number].T
    claims = batch.singles[about].tolist()
    truth = torch.stack([_holds(claim, shapes, colours) for claim in claims], dim=1)
    return spread(logits, truth.float())


def _holds(claim: int, shapes: Tensor, colours: Tensor) -> Tensor:
    if claim < OBJECT:
        return shapes == claim - SHAPE
    return (shapes == shape_of(claim)) & (colours == colour_of(claim))


def reading(model: MiniClip, batch: Batch, tokens: Tensor) -> Tensor:
    """Cross-entropy of linear readings: they teach the image tower before captions mean anything."""
    covered = batch.shares.amax(1)
    bare = covered == 0
    owner = batch.shares.argmax(1)
    # 0 is "no object"; -1 is left out: patches at a rim, and objects that hardly show.
    shape = torch.where(covered >= 0.5, batch.objects[:, :, 0].gather(1, owner) + 1, torch.where(bare, 0, -1))
    shape = shape.masked_fill((covered >= 0.5) & (shape == 0), -1)
    tint = torch.where(covered >= 0.5, batch.objects[:, :, 1].gather(1, owner), torch.where(bare, 0, -1))
    tint = torch.where(bare, batch.colours[:, None], tint)
    fabric = torch.where(bare, batch.fabrics[:, None], -1)
    targets = {"fabric": fabric, "colour": tint, "shape": shape, "defect": batch.defects}
    total = tokens.new_zeros(())
    for name, target in targets.items():
        scores = model.auxiliary[name](tokens).flatten(0, 1)
        total = total + functional.cross_entropy(scores, target.flatten(), ignore_index=-1)
    return total / len(targets)
