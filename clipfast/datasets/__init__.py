"""Data sets: what the library is shown, tested and demonstrated on."""

from clipfast.datasets.fabricworld import COLOURS, FABRICS, SHAPES, Scene, SceneObject, render, write_folder

__all__ = [
    "COLOURS",
    "FABRICS",
    "SHAPES",
    "Scene",
    "SceneObject",
    "render",
    "write_folder",
]
