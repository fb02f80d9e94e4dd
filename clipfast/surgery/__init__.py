"""CLIP Surgery: from text to heat maps, and from maps back to pixels of the image."""

from clipfast.similarity import feature_surgery
from clipfast.surgery.attention import attention_entropy, attention_maps, class_attention
from clipfast.surgery.depth import depth_maps
from clipfast.surgery.fusion import fuse_maps
from clipfast.surgery.geometry import GEOMETRIES, Geometry, centre_crop, fit_geometry, letterbox, squash
from clipfast.surgery.heatmap import heatmaps, heatmaps_by_path, unit_range
from clipfast.surgery.options import MapOptions
from clipfast.surgery.paths import FROM_ONE_FORWARD, PATHS, Path
from clipfast.surgery.upsample import EdgeAware, edge_aware, resize_maps
from clipfast.surgery.windows import Windows, window_boxes

__all__ = [
    "FROM_ONE_FORWARD",
    "GEOMETRIES",
    "PATHS",
    "EdgeAware",
    "Geometry",
    "MapOptions",
    "Path",
    "Windows",
    "attention_entropy",
    "attention_maps",
    "centre_crop",
    "class_attention",
    "depth_maps",
    "edge_aware",
    "feature_surgery",
    "fit_geometry",
    "fuse_maps",
    "heatmaps",
    "heatmaps_by_path",
    "letterbox",
    "resize_maps",
    "squash",
    "unit_range",
    "window_boxes",
]
