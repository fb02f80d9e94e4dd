"""What callers may pass: numbers in a span, names of a table, lists of them, objects of a class.

Options and public entries check by these, before anything is compared, so that a wrong type is told as a wrong value
is: what must be, what came, what to do.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import DataError, ShapeError

__all__ = [
    "Span",
    "require_array",
    "require_known",
    "require_names",
    "require_number",
    "require_numbers",
    "require_path",
    "require_size_hw",
    "require_text",
    "require_type",
    "require_whole",
    "shown",
]

_MOST_PIXELS = 1 << 27  # of a map: half a gigabyte
_LARGEST = int(np.finfo(np.float64).max)
_LONGEST = 80  # characters of a value in a message
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """Which numbers are meant; only finite ones are.

    Attributes:
        least: The smallest; minus infinity sets no bound.
        most: The largest; infinity sets no bound.
        above: Whether `least` itself is too small.
        whole: Whether they are whole numbers.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    whole: bool = False

    def holds(self, value: object) -> bool:
        """Tell whether a value is such a number: one of Python or NumPy, of any kind but True and False."""
        kinds = int | np.integer if self.whole else int | float | np.integer | np.floating
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        if not self.whole and not (abs(value) <= _LARGEST if isinstance(value, int) else math.isfinite(value)):
            return False
        return bool(self.least <= value <= self.most and not (self.above and value == self.least))

    def says(self, *, several: bool = False) -> str:
        """Return the span in words.

        >>> Span(0, 1, above=True).says(), Span(1, whole=True).says(several=True)
        ('a number above 0 and at most 1', 'whole numbers of 1 or more')
        """
        kind = f"{'whole ' if self.whole else ''}number{'s' if several else ''}"
        least, most = (f"{bound:.15g}" for bound in (self.least, self.most))
        if self.above:
            span = f"above {least}" + ("" if math.isinf(self.most) else f" and at most {most}")
        elif math.isinf(self.most):
            span = "" if math.isinf(self.least) else f"of {least} or more"
        else:
            span = f"of {most} or less" if math.isinf(self.least) else f"from {least} to {most}"
        if not span:
            kind = kind if self.whole else f"finite {kind}"
        return f"{'' if several else 'a '}{kind} {span}".rstrip()


def require_number(name: str, value: object, span: Span) -> float:
    """Return a number that lies in a span.

    Raises:
        ShapeError: It is something else.

    >>> require_number("alpha", np.float32(0.5), Span(0, 1))
    0.5
    """
    if not span.holds(value):
        raise ShapeError(f"{name} must be {span.says()}; got {shown(value)}. Pass such a number.")
    return float(value)  # type: ignore[arg-type]  # a number


def require_whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """Return a whole number that lies in a range; NumPy's whole numbers are some too, and True is none.

    Raises:
        ShapeError: It is something else.

    >>> require_whole("size", np.int64(64), 32, 4096)
    64
    """
    span = Span(least, math.inf if most is None else most, whole=True)
    if not span.holds(value):
        raise ShapeError(f"{name} must be {span.says()}; got {shown(value)}. Pass such a number.")
    return int(value)  # type: ignore[call-overload, no-any-return]  # a number


def require_numbers(
    name: str, values: object, span: Span, *, count: int | None = None, once: bool = False
) -> tuple[float, ...]:
    """Return a tuple, list or row of numbers that lie in a span, as they came.

    Args:
        name: The argument.
        values: What came.
        span: Which numbers are meant.
        count: How many there must be; None takes any number of them, none too.
        once: Whether each may be there only once.

    Raises:
        ShapeError: It is something else, such as one number alone.

    >>> require_numbers("scales", [1, 2], Span(1, 32))
    (1, 2)
    """
    listed = isinstance(values, tuple | list) or (isinstance(values, np.ndarray) and values.ndim == 1)
    found: tuple[float, ...] = tuple(values) if listed else ()  # type: ignore[arg-type]  # it is a list of something
    if not listed or (count is not None and len(found) != count) or not all(map(span.holds, found)):
        many = "a list of" if count is None else str(count)
        alone = f" Write ({shown(values)},)." if span.holds(values) and count is None else " Pass such numbers."
        raise ShapeError(f"{name} must be {many} {span.says(several=True)}; got {shown(values)}.{alone}")
    if once and len(set(found)) < len(found):
        raise ShapeError(f"{name} must be different numbers, given once each; got {shown(values)}. Leave one out.")
    return found


def require_known(kind: str, name: object, table: Iterable[T]) -> T:
    """Return a name, or a number, that is in a table.

    Raises:
        DataError: It is not; the message lists the known ones.

    >>> require_known("connectivity", 8, (4, 8))
    8
    """
    known = list(table)
    # Only what is compared as a whole: an array in a list of names has no truth value.
    if isinstance(name, str | int | np.integer):
        for each in known:
            if each == name:
                return each
    raise DataError(f"{kind} must be one of {', '.join(map(str, known))}; got {shown(name)}.")


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
        raise DataError(f"{what} must be a list of names; got {shown(names)}. Write a list of texts.")
    if table is not None:
        known = list(table)
        for name in names:
            require_known(kind, name, known)
    if once and (twice := [name for at, name in enumerate(names) if name in names[:at]]):
        raise DataError(f"{what} must be named once each; got {twice[0]!r} twice. Leave one out.")
    return tuple(names)


def require_type(name: str, value: object, kind: type[T], example: str) -> T:
    """Return an object of a class, such as options.

    Args:
        name: The argument.
        value: What came.
        kind: The class.
        example: How one is written, for the message.

    Raises:
        DataError: It is of another class.
    """
    if not isinstance(value, kind):
        raise DataError(f"{name} must be {kind.__name__}; got {shown(value)}. Write {example}.")
    return value


def require_array(name: str, value: object, form: str) -> NDArray[Any]:
    """Return an array, of any shape and kind: what these must be is the caller's to check.

    Args:
        name: The argument.
        value: What came.
        form: Its shape, for the message, such as "(h, w)".

    Raises:
        ShapeError: It is something else, such as a list.
    """
    if not isinstance(value, np.ndarray):
        raise ShapeError(f"{name} must be an array {form}; got {shown(value)}. Pass numpy.asarray(...).")
    return value


def require_path(name: str, value: object) -> Path:
    """Return the path of a file or folder.

    Raises:
        DataError: It is neither text nor a path, or an empty text.

    >>> require_path("folder", "data/voc").name
    'voc'
    """
    if not isinstance(value, str | os.PathLike) or not isinstance(found := os.fspath(value), str) or not found:
        raise DataError(f"{name} must be a path; got {shown(value)}. Pass text or a pathlib.Path.")
    return Path(found)


def require_text(name: str, value: object) -> str:
    """Return a text.

    Raises:
        DataError: It is something else.

    >>> require_text("label", "silk_satin")
    'silk_satin'
    """
    if not isinstance(value, str):
        raise DataError(f"{name} must be a text; got {shown(value)}. Write it in quotes.")
    return value


def require_size_hw(name: str, size_hw: object) -> tuple[int, int]:
    """Return a size, (height, width).

    Raises:
        ShapeError: It is not two whole numbers from 1, or has more than 134,217,728 pixels.

    >>> require_size_hw("size_hw", [30, np.int64(40)])
    (30, 40)
    """
    sides = list(size_hw) if isinstance(size_hw, Sequence | np.ndarray) and not isinstance(size_hw, str) else []
    whole = all(isinstance(side, int | np.integer) and not isinstance(side, bool) and side >= 1 for side in sides)
    if len(sides) != 2 or not whole:
        raise ShapeError(f"{name} must be two whole numbers (height, width), positive; got {shown(size_hw)}.")
    height, width = int(sides[0]), int(sides[1])
    if height * width > _MOST_PIXELS:
        raise ShapeError(f"{name} must have at most {_MOST_PIXELS:,} pixels; got {height:,} x {width:,}. Take fewer.")
    return height, width


def shown(value: object) -> str:
    """Return a value for a message: short, on one line; an array by its shape.

    >>> shown(np.zeros((2, 3))), shown("a")
    ('an array (2, 3) of float64', "'a'")
    """
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array {value.shape} of {value.dtype}"
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
