"""What is said of a scene, in English."""

from __future__ import annotations

from collections.abc import Sequence

from clipfast.datasets.fabricworld.defects import SceneDefect
from clipfast.datasets.fabricworld.objects import SceneObject

__all__ = ["NUMBERS", "describe", "joined", "with_article"]

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def describe(fabric: str, colour: str, objects: Sequence[SceneObject], defects: Sequence[SceneDefect]) -> str:
    """Say what cloth it is and what lies on it, damage last.

    >>> describe("lace", "red", [], [])
    'a photo of red lace fabric'
    """
    cloth = f"a photo of {colour} {fabric} fabric"
    things = [with_article(f"{item.colour} {item.shape}") for item in objects]
    things += [with_article(flaw.kind) for flaw in defects]
    return f"{cloth} with {joined(things)}" if things else cloth


def joined(things: Sequence[str]) -> str:
    """List things as English does: commas, and one "and".

    >>> joined(["a hole", "a stain", "a scratch"])
    'a hole, a stain and a scratch'
    """
    *most, last = things
    return f"{', '.join(most)} and {last}" if most else last


def with_article(thing: str) -> str:
    """Put "a" or "an" before a thing, and nothing before several.

    >>> with_article("orange star"), with_article("missing stitches")
    ('an orange star', 'missing stitches')
    """
    if thing.endswith("stitches"):
        return thing
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
