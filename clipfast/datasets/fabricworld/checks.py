"""Seeds and numbers of pictures, as every public entry of fabricworld takes them."""

from __future__ import annotations

from clipfast.arguments import require_whole

__all__ = ["MOST_PICTURES", "require_pictures", "require_seed"]

MOST_PICTURES = 1_000_000  # of one call: their seeds are drawn at once


def require_seed(value: object, name: str = "seed") -> int:
    """Return a seed; None is refused, for pictures could then not be drawn again.

    Raises:
        ShapeError: It is no whole number of 0 or more.
    """
    return require_whole(name, value, 0)


def require_pictures(name: str, value: object, least: int = 0) -> int:
    """Return a number of pictures.

    Raises:
        ShapeError: It is no whole number, or out of range.
    """
    return require_whole(name, value, least, MOST_PICTURES)
