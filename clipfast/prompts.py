"""Prompt templates as plain strings: data that can be stored, hashed and shown.

The 80 ImageNet templates were published by OpenAI (openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb, MIT);
CLIP Surgery adds five (xmed-lab/CLIP_Surgery, clip/clip.py). Their exact wording is part of both methods.
"""

from __future__ import annotations

from collections.abc import Sequence

from clipfast.errors import DataError

__all__ = ["IMAGENET", "PLAIN", "SURGERY", "TEMPLATE_SETS", "expand"]

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

TEMPLATE_SETS = {"plain": PLAIN, "imagenet": IMAGENET, "surgery": SURGERY}


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
