"""Which graphs an export makes, with the inputs, outputs and free dimensions of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clipfast.errors import DataError
from clipfast.export.graphs import Flavour, TextTower, VisionTower
from clipfast.export.heads import DenseHead, EmbedHead, JointHead, PatchesHead
from clipfast.export.options import ExportOptions
from clipfast.export.token_heads import TokensHead
from clipfast.export.weights import LoadedModel

__all__ = ["GraphPlan", "feature_blocks", "plan_graphs", "plan_on"]


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """One graph to be made.

    Attributes:
        module: Computes it.
        inputs: Example inputs by name.
        outputs: Names of the outputs, in the module's order.
        dynamic: For each input, its free dimensions.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: list[dict[int, str] | None]


def plan_graphs(source: LoadedModel, options: ExportOptions, flavour: Flavour = "fused") -> dict[str, GraphPlan]:
    """Return the graphs of `options.heads` by name, all vision graphs on one tower.

    In the fused ones gains and shifts of norms are in the products behind them, unless the export is compact: those
    weights are int8 levels and must stay so. Plain ones are the model as it is; GPU graphs are measured by them.
    """
    quick = source.activation == "quick_gelu"
    tower = VisionTower(source.model.visual, source.image, quick_gelu=quick, flavour=flavour)
    text = TextTower(source.model, quick_gelu=quick, flavour=flavour)
    plans = plan_on(tower, text, source, options)
    if flavour == "fused" and not options.compact:
        _fold_norms(tower, text, plans)
    return plans


def _fold_norms(tower: VisionTower, text: TextTower, plans: dict[str, GraphPlan]) -> None:
    """Fold every norm that nothing but a product reads, in any of the graphs."""
    heads = [plan.module for plan in plans.values()]
    kept = {number for head in heads if isinstance(head, TokensHead) for number in head.norms_read()}
    for number, block in enumerate(tower.blocks):
        block.fold_norms(first=number not in kept)
    for block in text.blocks:
        block.fold_norms()


def plan_on(tower: VisionTower, text: TextTower, source: LoadedModel, options: ExportOptions) -> dict[str, GraphPlan]:
    """Return the graphs of `options.heads` on towers that are there already."""
    depth, blocks = options.surgery_depth, feature_blocks(source, options)
    features = tuple(f"block_{number}" for number in blocks)
    attention = ("class_attention",) if options.class_attention else ()
    h, w = source.image.size_hw
    pixels = {"pixels": torch.zeros(2, h, w, 3, dtype=torch.uint8)}

    def vision(module: nn.Module, *outputs: str) -> GraphPlan:
        return GraphPlan(module, pixels, outputs, [{0: "n"}])

    plans = {
        "embed": vision(EmbedHead(tower), "embedding"),
        "dense": GraphPlan(
            DenseHead(tower, depth, class_attention=options.class_attention),
            pixels | {"alpha": torch.tensor(0.5)},
            ("embedding", "qk", "vv", "mixed", *attention),
            [{0: "n"}, None],
        ),
        "text": GraphPlan(
            text,
            {"ids": torch.zeros(2, 5, dtype=torch.int64)},
            ("embedding",),
            [{0: "t", 1: "l"}],
        ),
        "patches": vision(PatchesHead(tower, blocks), *features),
        "joint": vision(JointHead(tower, depth, blocks), "embedding", "vv", *features),
        "tokens": vision(TokensHead(tower, depth, options.presets), "embedding", "plain", *options.presets),
    }
    return {name: plans[name] for name in options.heads}


def feature_blocks(source: LoadedModel, options: ExportOptions) -> tuple[int, ...]:
    """Return the blocks whose features are given: those asked for, else a quarter and two thirds of the depth.

    Raises:
        DataError: A block that the model has not, or one twice.
    """
    count = len(source.model.visual.transformer.resblocks)
    if options.surgery_depth > count:
        raise DataError(f"surgery_depth must be at most {count}, the model's blocks; got {options.surgery_depth}.")
    if options.blocks is None:
        return tuple(sorted({max(1, round(count / 4)), max(1, round(2 * count / 3))}))
    if not options.blocks or sorted(set(options.blocks)) != list(options.blocks) or options.blocks[0] < 1:
        raise DataError(f"blocks must be rising numbers from 1; got {options.blocks}.")
    if options.blocks[-1] > count:
        raise DataError(f"blocks must be at most {count}, the model's blocks; got {options.blocks}.")
    return options.blocks
