"""Prompt templates as plain strings: data that can be stored, hashed and shown.

The 80 ImageNet templates were published by OpenAI (openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb, MIT);
CLIP Surgery adds five (xmed-lab/CLIP_Surgery, clip/clip.py). Their exact wording is part of both methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from clipfast.errors import DataError

__all__ = [
    "ABNORMAL_STATES",
    "CLASS_STATES",
    "CONTEXT_59",
    "FABRIC_STATES",
    "IMAGENET",
    "INSPECTION",
    "LABEL_SETS",
    "NORMAL_STATES",
    "PHRASES",
    "PLAIN",
    "SURGERY",
    "TEMPLATE_SETS",
    "expand",
]

PLAIN = ("a photo of a {}.",)

IMAGENET = (
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a plushie {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "the cartoon {}.",
    "art of the {}.",
    "a drawing of the {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "the plushie {}.",
    "a dark photo of a {}.",
    "itap of a {}.",
    "graffiti of the {}.",
    "a toy {}.",
    "itap of my {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a tattoo of the {}.",
)

SURGERY = (
    *IMAGENET,
    "there is a {} in the scene.",
    "there is the {} in the scene.",
    "this is a {} in the scene.",
    "this is the {} in the scene.",
    "this is one {} in the scene.",
)

INSPECTION = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a cropped photo of a {}.",
    "a close-up photo of a {}.",
    "a bright photo of a {}.",
    "a dark photo of the {}.",
    "a good photo of a {}.",
    "there is a {} in the scene.",
)
"""Templates of anomaly detection: how an inspected thing is photographed."""

TEMPLATE_SETS = {"plain": PLAIN, "imagenet": IMAGENET, "surgery": SURGERY, "inspection": INSPECTION}

CONTEXT_59 = (
    "aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book", "bottle", "building", "bus",
    "cabinet", "car", "cat", "ceiling", "chair", "cloth", "computer", "cow", "cup", "curtain", "dog", "door",
    "fence", "floor", "flower", "food", "grass", "ground", "horse", "keyboard", "light", "motorbike", "mountain",
    "mouse", "person", "plate", "platform", "potted plant", "road", "rock", "sheep", "shelves", "sidewalk", "sign",
    "sky", "snow", "sofa", "table", "track", "train", "tree", "truck", "tv monitor", "wall", "water", "window",
    "wood",
)  # fmt: skip
"""The 59 classes of PASCAL Context: the general list that CLIP Surgery's demo compares texts with."""

LABEL_SETS = {"context59": CONTEXT_59}

# States of a product, after the idea of WinCLIP's compositional prompts (Jeong et al., CVPR 2023, section 4.1).
NORMAL_STATES = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaws",
    "{} without defects",
    "{} without damage",
)
ABNORMAL_STATES = (
    "damaged {}",
    "defective {}",
    "broken {}",
    "{} with a flaw",
    "{} with a defect",
    "{} with damage",
)
FABRIC_STATES = (
    "{} with a hole",
    "{} with a stain",
    "{} with a scratch",
    "{} with a thread pull",
    "{} with missing stitches",
    "{} with a faint mark",
    "{} with a weave fault",
)
"""What happens to cloth."""

# What is known to happen to the products of MVTec AD: its kinds of defects, in words.
CLASS_STATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bottle": ("{} with a broken edge", "{} with a broken rim", "{} with contamination"),
        "cable": ("{} with a bent wire", "{} with a missing wire", "{} with cut insulation", "{} with swapped wires"),
        "capsule": ("{} with a crack", "{} with a faulty imprint", "{} with a scratch", "squeezed {}"),
        "carpet": ("{} with a hole", "{} with a cut", "{} with a loose thread", "{} with a colour stain"),
        "grid": ("bent {}", "{} with a broken wire", "{} with glue on it", "{} with a thread on it"),
        "hazelnut": ("{} with a crack", "{} with a cut", "{} with a hole", "{} with print on it"),
        "leather": ("{} with a cut", "{} with a fold", "{} with glue on it", "{} with a colour stain"),
        "metal nut": ("bent {}", "{} with a scratch", "{} with a colour stain", "flipped {}"),
        "pill": ("{} with a crack", "{} with a scratch", "{} with contamination", "{} with a faulty imprint"),
        "screw": ("{} with a scratched head", "{} with a scratched neck", "{} with a damaged thread", "bent {}"),
        "tile": ("{} with a crack", "{} with a glue strip", "{} with an oil stain", "{} with a rough surface"),
        "toothbrush": ("{} with bent bristles", "{} with missing bristles"),
        "transistor": ("{} with a bent lead", "{} with a cut lead", "{} with a damaged case", "misplaced {}"),
        "wood": ("{} with a hole", "{} with a scratch", "{} with a liquid stain", "{} with a colour stain"),
        "zipper": ("{} with broken teeth", "{} with split teeth", "{} with squeezed teeth", "{} with torn fabric"),
    }
)

PHRASES = (
    "smooth surface",
    "rough surface",
    "uniform colour",
    "regular pattern",
    "fine texture",
    "coarse texture",
    "woven texture",
    "ribbed texture",
    "striped pattern",
    "checked pattern",
    "dotted pattern",
    "glossy surface",
    "matt surface",
    "grainy surface",
    "soft surface",
    "metallic surface",
)
"""How an intact surface may look: the bank from which vision-guided prompts take what fits the support."""


def expand(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Put every name into every template, templates of one name together.

    Raises:
        DataError: No templates, or one without `{}`.

    >>> expand(["linen"], ["a {}.", "the {}."])
    ['a linen.', 'the linen.']
    """
    if not templates:
        raise DataError("templates must hold at least one text with {}; got none. Pass None for no template.")
    for template in templates:
        if template.count("{}") != 1:
            raise DataError(f"a template must hold {{}} exactly once, where the name goes; got {template!r}.")
    # replace, not format: a name may hold braces
    return [template.replace("{}", name) for name in names for template in templates]
