"""The layers of ARCHITECTURE.md, held by walking the syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "clipfast"

# What each part may import of clipfast. `export` is a side tower that only cli reaches, lazily.
L0 = {"errors", "arguments", "types", "artifact", "prompts", "storage", "provenance"}
L1 = L0 | {"kernels", "vectors", "index", "flat_faiss", "approximate", "learning", "similarity"}
L2 = L1 | {"metrics", "runtime", "datasets"}
ALLOWED = {
    "errors": set(),
    "arguments": {"errors"},
    "types": {"errors"},
    "storage": {"errors"},
    "prompts": {"errors"},
    "provenance": {"errors", "__version__"},
    "artifact": {"errors", "storage"},
    "kernels": L0,
    "vectors": {"errors", "types"},
    "flat_faiss": L0,
    "index": L0 | {"kernels", "vectors", "flat_faiss"},
    "approximate": L0 | {"index", "flat_faiss", "vectors"},
    "learning": L0,
    "similarity": L0,
    "metrics": L1,
    "runtime": L1,
    "datasets": L1,
    "surgery": L2,
    "retrieval": L2 | {"__version__"},
    "anomaly": L2 | {"__version__"},
    "diagnostics": L2,
    "report": L2 | {"surgery", "retrieval", "anomaly", "diagnostics"},
    "export": L0 | {"runtime", "cli", "datasets", "metrics", "similarity"},  # the last three judge int8
    "cli": L2 | {"surgery", "retrieval", "anomaly", "diagnostics", "report", "export", "__version__"},
    "__init__": L2 | {"surgery", "retrieval", "anomaly", "diagnostics", "export"},
}
ALLOWED["export"] |= {"__version__"}

# The only files that may import each heavy dependency.
IMPORTERS = {
    "torch": ("export/",),
    "open_clip": ("export/",),
    "onnx_ir": ("export/",),
    "safetensors": ("export/",),
    "onnxruntime": ("runtime/session.py",),
    "openvino": ("runtime/openvino.py", "runtime/openvino_graph.py"),
    "numba": ("kernels/",),
    "faiss": ("flat_faiss.py",),
    "sklearn": ("learning.py",),
    "scipy": ("metrics/",),
    "PIL": (
        "runtime/images.py",
        "runtime/jpeg.py",
        "runtime/preprocess.py",
        "runtime/reading.py",
        "datasets/",
        "report/fonts.py",
        "report/images.py",
        "report/svg_png.py",
        "report/thumbnails.py",
        "cli/demo.py",
        "cli/stages.py",
        "types.py",
    ),
    "simplejpeg": ("runtime/jpeg.py",),
    "skimage": ("surgery/proposals.py",),
    "tokenizers": ("runtime/tokenizer.py",),
    "ftfy": ("runtime/tokenizer.py",),
    "typer": ("cli/", "export/cli.py", "export/real_check.py"),
    "rich": ("cli/", "export/cli.py", "export/real_check.py"),
    "matplotlib": ("report/plots.py",),
}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
FILES = sorted(PACKAGE.rglob("*.py"))


def _name(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def _imports(file: Path) -> set[str]:
    """Every module that a file imports anywhere when it runs, dotted."""
    found = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []  # never run
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_lower_layers_never_import_higher_ones(file: Path) -> None:
    """A file imports only the parts of clipfast that its layer may see."""
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    seen = {name.split(".")[1] for name in _imports(file) if name.startswith("clipfast.")}

    assert seen - ALLOWED[part] - {part} == set()


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_each_heavy_dependency_has_one_importer(file: Path) -> None:
    """Heavy packages are imported where the table says, and nowhere else."""
    tops = {name.split(".")[0] for name in _imports(file)}
    strangers = {top for top in tops & IMPORTERS.keys() if not _name(file).startswith(IMPORTERS[top])}

    assert strangers == set()


def test_modules_do_not_import_each_other_in_circles() -> None:
    """The graph of imports at the top of modules has no cycle."""
    modules = {"clipfast." + _name(f).removesuffix(".py").removesuffix("/__init__").replace("/", "."): f for f in FILES}
    edges = {name: _top_level_edges(file, modules) - {name} for name, file in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in sorted(edges[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in modules:
        visit(name, ())


def _top_level_edges(file: Path, modules: dict[str, Path]) -> set[str]:
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("clipfast"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules else node.module)
    return found & modules.keys()


def test_no_module_is_named_for_nothing() -> None:
    """Names such as utils and helpers tell a reader nothing."""
    assert {f.stem for f in FILES} & BANNED_NAMES == set()


def test_files_stay_readable() -> None:
    """No file of the package is longer than 400 lines."""
    assert [_name(f) for f in FILES if len(f.read_text(encoding="utf-8").splitlines()) > 400] == []
