"""Scenes of detections and ground truths as the arrays that the library takes."""

from __future__ import annotations

import numpy as np

from clipfast.metrics.detection_data import Detections, GroundTruths
from reference import naive_detection as naive
from reference.naive_detection import Found, Truth

SQUARE = (0.0, 0.0, 10.0, 10.0)


def arrays(found: list[Found], truths: list[Truth]) -> tuple[GroundTruths, Detections]:
    """The same scene as flat arrays."""
    return (
        GroundTruths(
            np.array([one.image for one in truths]),
            np.array([one.kind for one in truths]),
            np.array([one.box for one in truths]).reshape(-1, 4),
            np.array([one.spared for one in truths]),
            np.array([naive.area(one.box) if one.area is None else one.area for one in truths]),
        ),
        Detections(
            np.array([one.image for one in found]),
            np.array([one.kind for one in found]),
            np.array([one.box for one in found]).reshape(-1, 4),
            np.array([one.score for one in found]),
        ),
    )
