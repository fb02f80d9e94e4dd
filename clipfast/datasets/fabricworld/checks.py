"""What callers may pass: whole numbers, names of a table, lists of names. Every public entry checks by these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from clipfast.errors import DataError, ShapeError

__all__ = ["MOST_PICTURES", "require_known", "require_names", "require_pictures", "require_seed", "require_whole"]

MOST_PICTURES = 1_000_000  # of one call: their seeds are drawn at once


def require_whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """Return a whole number that lies in a range; NumPy's whole numbers are some too, and True is none.

    Raises:
        ShapeError: It is something else.

    >>> require_whole("size", np.int64(64), 32, 4096)
    64
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not least <= value or (most is not None and value > most):  # type: ignore[operator]  # a number
        span = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise ShapeError(f"{name} must be a whole number {span}; got {value!r}. Pass such a number.")
    return int(value)  # type: ignore[call-overload, no-any-return]  # a number


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


def require_known(kind: str, name: object, table: Iterable[str]) -> str:
    """Return a name that is in a table.

    Raises:
        DataError: It is not; the message lists the known ones.
    """
    known = list(table)
    if not isinstance(name, str) or name not in known:
        raise DataError(f"{kind} must be one of {', '.join(known)}; got {name!r}.")
    return name


def require_names(
    what: str, names: object, table: Iterable[str] | None = None, *, kind: str = "", once: bool = False
) -> tuple[str, ...]:
    """Return a list of names.

    Args:
        what: The argument, such as "fabrics".
        names: What came.
        table: Names that are known; None leaves them to the caller.
        kind: What one of them is, such as "fabric".
        once: Whether each may be there only once.

    Raises:
        DataError: It is no list of texts (a text alone is none), one is unknown, or one is there twice.
    """
    if isinstance(names, str):
        raise DataError(f"{what} must be a list of names; got the text {names!r}. Write [{names!r}].")
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{what} must be a list of names; got {names!r}. Write a list of texts.")
    if table is not None:
        known = list(table)
        for name in names:
            require_known(kind, name, known)
    if once and (twice := [name for at, name in enumerate(names) if name in names[:at]]):
        raise DataError(f"{what} must be named once each; got {twice[0]!r} twice. Leave one out.")
    return tuple(names)
