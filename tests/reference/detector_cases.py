"""Detectors on the stand-in model: four intact pictures, three damaged ones, and small maps."""

from __future__ import annotations

from typing import Any

from clipfast.anomaly import AnomalyDetector, AnomalyOptions
from reference.anomaly_stubs import JointStub, picture

GOOD = [picture(i) for i in range(4)]
BAD = [picture(i, spot=True) for i in range(10, 13)]
SMALL = AnomalyOptions(size_hw=(18, 24), sigma=1.0)


def fit(clip: Any = None, images: Any = None, **arguments: Any) -> AnomalyDetector:
    """A detector on the stand-in."""
    chosen: dict[str, Any] = {"class_name": "denim", "options": SMALL} | arguments
    return AnomalyDetector.fit(clip or JointStub(), GOOD if images is None else images, **chosen)
