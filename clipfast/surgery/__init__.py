"""CLIP Surgery: from text to heat maps, boxes and points."""

from clipfast.similarity import feature_surgery
from clipfast.surgery.box_fusion import FusionOptions, fused_boxes
from clipfast.surgery.boxes import Boxes, BoxOptions, boxes, boxes_at
from clipfast.surgery.heatmap import PATHS, Path, heatmaps
from clipfast.surgery.points import Points, points

__all__ = [
    "PATHS",
    "BoxOptions",
    "Boxes",
    "FusionOptions",
    "Path",
    "Points",
    "boxes",
    "boxes_at",
    "feature_surgery",
    "fused_boxes",
    "heatmaps",
    "points",
]
