"""clipfast: CLIP for production on ONNX Runtime.

Fabric retrieval and CLIP Surgery heat maps from one exported artifact.
Importing this module loads none of torch, onnxruntime, numba, faiss or scikit-learn; names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipfast import anomaly, datasets, errors, export, index, kernels, metrics, prompts, retrieval, surgery
    from clipfast.anomaly import AnomalyDetector
    from clipfast.index import VectorIndex
    from clipfast.retrieval import FabricBank, LinearHead
    from clipfast.runtime.clip import Clip, ImageOptions, embedded_models

__version__ = "0.1.0"

__all__ = [
    "AnomalyDetector",
    "Clip",
    "FabricBank",
    "ImageOptions",
    "LinearHead",
    "VectorIndex",
    "__version__",
    "anomaly",
    "datasets",
    "embedded_models",
    "errors",
    "export",
    "index",
    "kernels",
    "metrics",
    "prompts",
    "retrieval",
    "surgery",
]

# name: (module, attribute; None for the module itself)
_LAZY: dict[str, tuple[str, str | None]] = {
    "AnomalyDetector": ("clipfast.anomaly", "AnomalyDetector"),
    "Clip": ("clipfast.runtime.clip", "Clip"),
    "FabricBank": ("clipfast.retrieval", "FabricBank"),
    "ImageOptions": ("clipfast.runtime.clip", "ImageOptions"),
    "LinearHead": ("clipfast.retrieval", "LinearHead"),
    "VectorIndex": ("clipfast.index", "VectorIndex"),
    "embedded_models": ("clipfast.runtime.clip", "embedded_models"),
    **{
        name: (f"clipfast.{name}", None)
        for name in (
            "anomaly",
            "datasets",
            "errors",
            "export",
            "index",
            "kernels",
            "metrics",
            "prompts",
            "retrieval",
            "surgery",
        )
    },
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'clipfast' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    loaded = importlib.import_module(module)
    value = loaded if attribute is None else getattr(loaded, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
