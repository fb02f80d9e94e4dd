"""CLIP Surgery: from text to heat maps, from maps to boxes and points, and back to pixels of the image."""

from clipfast.similarity import feature_surgery
from clipfast.surgery.attention import attention_entropy, attention_maps, class_attention
from clipfast.surgery.box_fusion import FusionOptions, fused_boxes
from clipfast.surgery.boxes import Boxes, BoxOptions, boxes, boxes_at
from clipfast.surgery.depth import depth_maps
from clipfast.surgery.fusion import fuse_maps
from clipfast.surgery.geometry import GEOMETRIES, Geometry, centre_crop, fit_geometry, letterbox, squash
from clipfast.surgery.heatmap import heatmaps, heatmaps_by_path, unit_range
from clipfast.surgery.options import MapOptions
from clipfast.surgery.paths import FROM_ONE_FORWARD, PATHS, Path
from clipfast.surgery.peak import peak_box
from clipfast.surgery.points import Points, points
from clipfast.surgery.proposals import ProposalOptions, Proposals, propose, score_proposals, snap_boxes
from clipfast.surgery.refine import BoxRefiner, RefinerOptions, RefinerSample
from clipfast.surgery.upsample import EdgeAware, edge_aware, resize_maps
from clipfast.surgery.windows import Windows, window_boxes

__all__ = [
    "FROM_ONE_FORWARD",
    "GEOMETRIES",
    "PATHS",
    "BoxOptions",
    "BoxRefiner",
    "Boxes",
    "EdgeAware",
    "FusionOptions",
    "Geometry",
    "MapOptions",
    "Path",
    "Points",
    "ProposalOptions",
    "Proposals",
    "RefinerOptions",
    "RefinerSample",
    "Windows",
    "attention_entropy",
    "attention_maps",
    "boxes",
    "boxes_at",
    "centre_crop",
    "class_attention",
    "depth_maps",
    "edge_aware",
    "feature_surgery",
    "fit_geometry",
    "fuse_maps",
    "fused_boxes",
    "heatmaps",
    "heatmaps_by_path",
    "letterbox",
    "peak_box",
    "points",
    "propose",
    "resize_maps",
    "score_proposals",
    "snap_boxes",
    "squash",
    "unit_range",
    "window_boxes",
]
