"""Every error that the package makes on purpose, read from its source: where, of which class, with which code."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import clipfast
from clipfast import errors

PACKAGE = Path(clipfast.__file__).parent
CLASSES = frozenset(errors.__all__) - {"ClipfastError"}


@dataclass(frozen=True)
class Raised:
    """One call that makes an error.

    Attributes:
        file: Path below the package.
        line: Where it begins.
        function: The innermost function around it.
        kind: Its class.
        codes: Its code, or both where a condition chooses; None where a variable holds it; empty where there is none.
        values: Names of its values.
    """

    file: str
    line: int
    function: str
    kind: str
    codes: tuple[str, ...] | None
    values: frozenset[str]


@cache
def raised() -> tuple[Raised, ...]:
    """Return all of them, in the order of files and lines."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (kind := _class_of(node)) is not None:
                around = [f for f in functions if f.lineno <= node.lineno <= (f.end_lineno or 0)]
                innermost = max(around, key=lambda f: f.lineno).name if around else ""
                values = frozenset(key.arg for key in node.keywords if key.arg not in (None, "code"))
                name = path.relative_to(PACKAGE).as_posix()
                found.append(Raised(name, node.lineno, innermost, kind, _codes(node), values))
    return tuple(found)


def _class_of(node: ast.Call) -> str | None:
    return node.func.id if isinstance(node.func, ast.Name) and node.func.id in CLASSES else None


def _codes(node: ast.Call) -> tuple[str, ...] | None:
    given = [key.value for key in node.keywords if key.arg == "code"]
    if not given:
        return ()
    parts = [given[0].body, given[0].orelse] if isinstance(given[0], ast.IfExp) else given
    if not all(isinstance(part, ast.Constant) for part in parts):
        return None
    return tuple(str(part.value) for part in parts if isinstance(part, ast.Constant))
