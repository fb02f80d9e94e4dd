"""Tables and numbers of Markdown reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["markdown_table", "number", "percent", "with_ends"]


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> str:
    r"""Lay out a table; the first `left` columns hold words, the others numbers.

    >>> print(markdown_table(["path", "mAP"], [["vv|vv", "0.5"]]))
    | path | mAP |
    |---|---:|
    | vv\|vv | 0.5 |
    """
    lines = [_line(headings), "|" + "|".join("---" if i < left else "---:" for i in range(len(headings))) + "|"]
    return "\n".join(lines + [_line(row) for row in rows])


def number(value: float | None, digits: int = 3) -> str:
    """Return a number, or a dash for one that does not exist; what rounds to zero has no sign.

    >>> number(0.12345), number(None), number(-0.0001)
    ('0.123', '-', '0.000')
    """
    return "-" if value is None else f"{value:z.{digits}f}"


def percent(value: float | None) -> str:
    """Return a share as per cent.

    >>> percent(0.2501)
    '25.0 %'
    """
    return "-" if value is None else f"{100 * value:z.1f} %"


def with_ends(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """Return a number and its interval.

    >>> with_ends(0.5, 0.4, 0.6), with_ends(0.5, None, None)
    ('0.500 [0.400, 0.600]', '0.500')
    """
    if low is None or high is None:
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
