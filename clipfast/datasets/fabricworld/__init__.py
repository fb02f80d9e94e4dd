"""A procedural world of fabrics: pictures with exact truth, from a seed, without a download.

`render` draws a scene, `write_folder` a folder of references. A fabric is one row of `FABRICS` and one pattern
function. The embedded demo model was trained on a world of this kind; nothing here says how it does on photographs.
"""

from clipfast.datasets.fabricworld.colours import COLOURS, Colour
from clipfast.datasets.fabricworld.fabrics import FABRICS, Fabric
from clipfast.datasets.fabricworld.objects import SHAPES, SceneObject, Shape
from clipfast.datasets.fabricworld.world import MAX_OBJECTS, Scene, render, write_folder

__all__ = [
    "COLOURS",
    "FABRICS",
    "MAX_OBJECTS",
    "SHAPES",
    "Colour",
    "Fabric",
    "Scene",
    "SceneObject",
    "Shape",
    "render",
    "write_folder",
]
