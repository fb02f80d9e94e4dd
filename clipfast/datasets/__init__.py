"""Data sets: what the library is shown, tested and demonstrated on."""

from clipfast.datasets.fabricworld import (
    COLOURS,
    DEFECTS,
    FABRICS,
    SHAPES,
    Sample,
    Scene,
    SceneDefect,
    SceneObject,
    render,
    render_relation,
    write_folder,
    write_mvtec,
)

__all__ = [
    "COLOURS",
    "DEFECTS",
    "FABRICS",
    "SHAPES",
    "Sample",
    "Scene",
    "SceneDefect",
    "SceneObject",
    "render",
    "render_relation",
    "write_folder",
    "write_mvtec",
]
