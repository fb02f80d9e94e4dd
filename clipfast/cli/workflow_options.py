"""What several commands of the fabric workflow read and say alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clipfast.cli.error_messages import wrong_usage

if TYPE_CHECKING:
    from clipfast.retrieval.evalset import EvalSet

__all__ = [
    "RULE",
    "found_eval_set",
    "numbers",
    "size_text",
]

RULE = "=" * 60


def found_eval_set(named_file: Path | None, folder: Path) -> EvalSet | None:
    """Return the evaluation set that was named, or else the one beside the folder, if there is one."""
    from clipfast.retrieval.evalset import EvalSet
    from clipfast.retrieval.heldout import find_eval_set

    return find_eval_set(folder) if named_file is None else EvalSet.load(named_file)


def numbers(text: str, *, option: str, count: int | None = None, what: str) -> tuple[int, ...]:
    """Read whole numbers with commas.

    Raises:
        typer.BadParameter: They are none, or not as many as wanted.
    """
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or (count is not None and len(found) != count):
        raise wrong_usage(f"must be {what}; got {text!r}", "bad_numbers", option=option, wanted=what, got=text)
    return found


def size_text(path: Path) -> str:
    """Return a file's size in words."""
    size = path.stat().st_size / 1024
    return f"{size:.1f} KB" if size < 1024 else f"{size / 1024:.1f} MB"
