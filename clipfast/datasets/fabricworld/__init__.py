"""A procedural world of fabrics: pictures with exact truth, from a seed, without a download.

`render` draws a scene with boxes and masks, `render_relation` one whose two objects lie as a sentence says. The
iterators of `samples` give labelled pictures for classification, detection, captions and few-shot anomaly detection;
`write_folder` and `write_mvtec` write folders. Fabrics, colours, shapes and defects are rows of tables with English and
Chinese names. The embedded model was trained on a world of this kind; nothing here says how it does on photographs.
"""

from clipfast.datasets.fabricworld.camera import CAMERAS, Camera
from clipfast.datasets.fabricworld.colours import COLOURS, Colour
from clipfast.datasets.fabricworld.defects import DEFECTS, Defect, SceneDefect
from clipfast.datasets.fabricworld.fabrics import FABRICS, Fabric
from clipfast.datasets.fabricworld.names import CHINESE, ENGLISH, english_name, english_prompt
from clipfast.datasets.fabricworld.objects import SceneObject
from clipfast.datasets.fabricworld.relations import RELATIONS, Related, Relation, render_relation
from clipfast.datasets.fabricworld.samples import (
    Sample,
    anomaly_samples,
    caption_samples,
    class_samples,
    detection_samples,
)
from clipfast.datasets.fabricworld.scene import MAX_DEFECTS, MAX_OBJECTS, Scene, Wishes
from clipfast.datasets.fabricworld.shapes import SHAPES, Shape
from clipfast.datasets.fabricworld.world import compose, render
from clipfast.datasets.fabricworld.writing import write_folder, write_mvtec

__all__ = [
    "CAMERAS",
    "CHINESE",
    "COLOURS",
    "DEFECTS",
    "ENGLISH",
    "FABRICS",
    "MAX_DEFECTS",
    "MAX_OBJECTS",
    "RELATIONS",
    "SHAPES",
    "Camera",
    "Colour",
    "Defect",
    "Fabric",
    "Related",
    "Relation",
    "Sample",
    "Scene",
    "SceneDefect",
    "SceneObject",
    "Shape",
    "Wishes",
    "anomaly_samples",
    "caption_samples",
    "class_samples",
    "compose",
    "detection_samples",
    "english_name",
    "english_prompt",
    "render",
    "render_relation",
    "write_folder",
    "write_mvtec",
]
