"""Types of command-line arguments: argparse then says what must be and what came, before any minute is spent."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

__all__ = ["column", "existing", "positive", "whole"]


def whole(least: int) -> Callable[[str], int]:
    """A whole number from `least`.

    >>> whole(1)("3")
    3
    """

    def read(text: str) -> int:
        if not text.isascii() or not text.removeprefix("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of {least} or more; got {text!r}")
        return int(text)

    return read


def positive(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0; got {text!r}")
    return value


def existing(text: str) -> Path:
    """A file that is there."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"must be a file; there is none at {text!r}")
    return Path(text)


def column(text: str) -> tuple[str, Path]:
    """A column's name and its report: `name=REPORT.json`."""
    name, sign, path = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"must be column=REPORT.json; got {text!r}")
    return name, existing(path)
