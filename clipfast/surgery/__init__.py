"""CLIP Surgery: from text to heat maps, boxes and points."""

from clipfast.similarity import feature_surgery
from clipfast.surgery.box_fusion import FusionOptions, fused_boxes
from clipfast.surgery.boxes import Boxes, BoxOptions, boxes, boxes_at
from clipfast.surgery.heatmap import PATHS, Path, heatmaps
from clipfast.surgery.points import Points, points
from clipfast.surgery.proposals import ProposalOptions, Proposals, propose, score_proposals, snap_boxes
from clipfast.surgery.refine import BoxRefiner, RefinerOptions, RefinerSample

__all__ = [
    "PATHS",
    "BoxOptions",
    "BoxRefiner",
    "Boxes",
    "FusionOptions",
    "Path",
    "Points",
    "ProposalOptions",
    "Proposals",
    "RefinerOptions",
    "RefinerSample",
    "boxes",
    "boxes_at",
    "feature_surgery",
    "fused_boxes",
    "heatmaps",
    "points",
    "propose",
    "score_proposals",
    "snap_boxes",
]
