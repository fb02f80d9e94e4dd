"""CLIP Surgery: from text to heat maps."""

from clipfast.similarity import feature_surgery
from clipfast.surgery.heatmap import PATHS, Path, heatmaps

__all__ = ["PATHS", "Path", "feature_surgery", "heatmaps"]
