"""Chinese names, and the English prompts that they stand for: an English text tower cannot read Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from clipfast.datasets.fabricworld.captions import joined, with_article
from clipfast.datasets.fabricworld.colours import COLOURS
from clipfast.datasets.fabricworld.defects import DEFECTS
from clipfast.datasets.fabricworld.fabrics import FABRICS
from clipfast.datasets.fabricworld.shapes import SHAPES
from clipfast.errors import DataError

__all__ = ["CHINESE", "ENGLISH", "english_name", "english_prompt"]

_TABLES = (FABRICS, COLOURS, DEFECTS, SHAPES)

ENGLISH: Mapping[str, str] = MappingProxyType({row.zh: name for table in _TABLES for name, row in table.items()})
"""English name by Chinese name, of every fabric, colour, defect and shape."""

CHINESE: Mapping[str, str] = MappingProxyType({name: zh for zh, name in ENGLISH.items()})
"""Chinese name by English name."""

_LONGEST_FIRST = sorted(ENGLISH, key=len, reverse=True)
_FILLERS = "的有和、，与带着块一张个布料面上照片处"


def english_name(name: str) -> str:
    """Return the English name of a Chinese one; a known English name is returned as it is.

    Raises:
        DataError: The name is unknown; the message lists the known ones.

    >>> english_name("牛仔布"), english_name("denim")
    ('denim', 'denim')
    """
    if isinstance(name, str) and name in CHINESE:
        return name
    if not isinstance(name, str) or name not in ENGLISH:
        raise DataError(f"name must be one of {_known()}; got {name!r}.")
    return ENGLISH[name]


def english_prompt(text: str) -> str:
    """Turn a Chinese phrase made of known names into the English caption with the same meaning.

    Colours before a shape belong to the shape, the others to the cloth.

    Args:
        text: Such as "红色牛仔布", or with what lies on it: "有破洞和黄色星形的红色牛仔布".

    Raises:
        DataError: A part of the phrase is no known name; the message lists the known ones.

    >>> english_prompt("红色牛仔布")
    'a photo of red denim fabric'
    >>> english_prompt("有破洞和黄色星形的青绿色亚麻布")
    'a photo of turquoise linen fabric with a hole and a yellow star'
    """
    cloth: list[str] = []
    things: list[str] = []
    colour = ""
    for name in _split(text):
        if (colour and (name in COLOURS or not (name in FABRICS or name in SHAPES))) or (cloth and name in FABRICS):
            raise DataError(
                f"text must name one fabric, and a colour only before a fabric or a shape; got {text!r}, which says "
                f"{name!r} after {colour.strip() or cloth[0]!r}."
            )
        if name in COLOURS:
            colour = f"{name} "
        elif name in FABRICS:
            cloth, colour = [colour + name], ""
        else:
            things.append(with_article(colour + name if name in SHAPES else name))
            colour = "" if name in SHAPES else colour
    if colour and cloth:
        raise DataError(f"text must have each colour before what it is of; got {text!r}, which ends with one.")
    if colour:
        cloth = [colour.strip()]
    said = " ".join(["a photo of", *cloth, "fabric"]) if cloth else "a photo of fabric"
    return f"{said} with {joined(things)}" if things else said


def _split(text: str) -> list[str]:
    """Cut a phrase into English names, at each place the longest that fits."""
    if not isinstance(text, str):
        raise DataError(f"text must be a phrase; got {text!r}. Write such as '红色牛仔布'.")
    names, rest = [], text.strip()
    while rest:
        found = next((zh for zh in _LONGEST_FIRST if rest.startswith(zh)), None)
        if found is None and rest[0] not in _FILLERS and not rest[0].isspace():
            raise DataError(f"text must be made of the names {_known()}; got {text!r}, unknown from {rest!r} on.")
        if found is not None:
            names.append(ENGLISH[found])
        rest = rest[len(found or " ") :]
    if not names:
        raise DataError(f"text must hold at least one of the names {_known()}; got {text!r}.")
    return names


def _known() -> str:
    return ", ".join(f"{zh} ({name})" for zh, name in ENGLISH.items())
