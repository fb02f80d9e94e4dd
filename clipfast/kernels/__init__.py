"""Numba kernels behind thin wrappers that check shapes and dtypes once.

Importing this package imports Numba, so nothing imports it at the top of a module that `import clipfast` loads. A
kernel is compiled at its first call and cached on disk; each has a slow, obvious twin in `tests/reference/`, or a
library whose results it must reproduce. No result depends on the number of threads.
"""

from clipfast.kernels.boxes import MergedBoxes, merge_boxes, non_maximum_suppression
from clipfast.kernels.component_structure import label_structure
from clipfast.kernels.component_sweep import ComponentSweep, sweep_percentiles, sweep_thresholds
from clipfast.kernels.components import Components, ComponentStack, label_components, label_stack
from clipfast.kernels.guided import guided_filter
from clipfast.kernels.overlap import box_iou, mask_iou
from clipfast.kernels.resize import resize_bicubic

__all__ = [
    "ComponentStack",
    "ComponentSweep",
    "Components",
    "MergedBoxes",
    "box_iou",
    "guided_filter",
    "label_components",
    "label_stack",
    "label_structure",
    "mask_iou",
    "merge_boxes",
    "non_maximum_suppression",
    "resize_bicubic",
    "sweep_percentiles",
    "sweep_thresholds",
]
