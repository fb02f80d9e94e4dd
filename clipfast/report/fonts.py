"""A font with Chinese glyphs for figures and captions: the system's, or the one that `CLIPFAST_FONT` names.

What no font at hand can draw is never drawn as boxes: `drawable` tells beforehand, and callers write something else and
say so, with `NO_CHINESE_FONT`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from clipfast.errors import DataError

if TYPE_CHECKING:
    from PIL import ImageFont

__all__ = ["NO_CHINESE_FONT", "caption_font", "chinese_font", "drawable", "needs_chinese"]

NO_CHINESE_FONT = (
    "No font with Chinese glyphs was found, so figures show English or numbers in place of Chinese. Install one, such "
    "as the package fonts-noto-cjk, or name a file: CLIPFAST_FONT=FONT.ttf"
)
_NAMES = (  # how the files begin, the best first
    "notosanscjk", "notosanssc", "sourcehansans", "wqy-microhei", "wqy-zenhei", "msyh", "pingfang", "stheiti",
    "hiragino sans gb", "simhei", "simsun", "droidsansfallback", "notoserifcjk", "arial unicode", "arialuni", "uming",
    "ukai",
)  # fmt: skip
_SUFFIXES = {".ttf", ".ttc", ".otf"}
_RANGES = (("\u2e80", "\u9fff"), ("\uf900", "\ufaff"), ("\uff00", "\uffef"))
_SAMPLE = "面"


def needs_chinese(text: str) -> bool:
    """Tell whether a text holds Chinese signs.

    >>> needs_chinese("cotton"), needs_chinese("棉布 Cotton")
    (False, True)
    """
    return any(_is_chinese(sign) for sign in text)


def drawable(text: str) -> bool:
    """Tell whether the fonts at hand can draw a text: Latin letters always, Chinese where there is a font for it."""
    if text.isascii():
        return True
    return chinese_font() is not None and all(sign.isascii() or _is_chinese(sign) for sign in text)


def chinese_font() -> Path | None:
    """Return a font file with Chinese glyphs, or None.

    Raises:
        DataError: `CLIPFAST_FONT` names a file that is no font, or has no Chinese glyphs.
    """
    named = os.environ.get("CLIPFAST_FONT")
    if not named:
        return _of_the_system()
    path = Path(named)
    if not _has_chinese(path):
        raise DataError(
            f"CLIPFAST_FONT must name a font file with Chinese glyphs; {path} is none. Name another.",
            code="bad_font",
            path=path,
        )
    return path


def caption_font(texts: Iterable[str], size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's font for some texts: its own, or one with Chinese glyphs where they need it and there is one."""
    from PIL import ImageFont

    path = chinese_font() if any(needs_chinese(text) for text in texts) else None
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)


def _is_chinese(sign: str) -> bool:
    return any(first <= sign <= last for first, last in _RANGES)


@lru_cache(maxsize=1)
def _of_the_system() -> Path | None:
    found = [(rank, path) for path in _font_files() if (rank := _rank(path)) is not None]
    return next((path for _, path in sorted(found) if _has_chinese(path)), None)


def _rank(path: Path) -> tuple[int, bool, str] | None:
    """Say how good a font file is by its name: known ones only, upright and of usual weight first."""
    name = path.name.lower()
    place = next((at for at, start in enumerate(_NAMES) if name.startswith(start)), None)
    return None if place is None else (place, "regular" not in name, name)


def _font_files() -> Iterator[Path]:
    for folder in _folders():
        for base, _, names in os.walk(folder):
            yield from (Path(base, name) for name in names if Path(name).suffix.lower() in _SUFFIXES)


def _folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or str(home / "AppData/Local")
        return [Path(os.environ.get("WINDIR") or "C:/Windows", "Fonts"), Path(local, "Microsoft/Windows/Fonts")]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    own = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share", "fonts")
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".fonts", own]


def _has_chinese(path: Path) -> bool:
    """Tell whether a file is a font that draws a Chinese sign otherwise than one that no font has."""
    from PIL import ImageFont

    try:
        font = ImageFont.truetype(str(path), 20)
    except OSError:
        return False
    sign, nothing = font.getmask(_SAMPLE), font.getmask("\uffff")
    return (sign.size, bytes(sign)) != (nothing.size, bytes(nothing)) and sign.getbbox() is not None
