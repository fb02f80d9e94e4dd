"""The names that users type are those that are promised."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import clipfast

ROOT = Path(__file__).resolve().parent.parent


def test_every_promised_name_is_there() -> None:
    """Each name of `__all__` resolves, and `dir` lists exactly them."""
    assert sorted(clipfast.__all__) == clipfast.__all__ or sorted(clipfast.__all__) == dir(clipfast)
    assert all(getattr(clipfast, name) is not None for name in clipfast.__all__)


@pytest.mark.parametrize(
    "module",
    [
        "anomaly",
        "artifact",
        "index",
        "kernels",
        "metrics",
        "prompts",
        "retrieval",
        "similarity",
        "storage",
        "surgery",
        "types",
    ],
)
def test_a_modules_list_equals_its_members(module: str) -> None:
    """`__all__` of a module names things that exist in it."""
    loaded = __import__(f"clipfast.{module}", fromlist=["*"])

    assert [name for name in loaded.__all__ if not hasattr(loaded, name)] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A typo is told by its name."""
    with pytest.raises(AttributeError, match="no attribute 'Klip'"):
        clipfast.Klip  # noqa: B018


def test_the_changelog_knows_the_version() -> None:
    """CHANGELOG and `__version__` cannot disagree."""
    assert f"## {clipfast.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_placeholder_is_left_in_the_documents() -> None:
    """What a script or a person was to fill in is filled in."""
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "MEASURED_TABLE" not in text
        assert "TODO" not in text


def test_the_readme_shows_the_stored_figures() -> None:
    """The table is what the script makes of the stored results, not something typed by hand."""
    import importlib.util
    import json

    spec = importlib.util.spec_from_file_location("render", ROOT / "benchmarks" / "render.py")
    assert spec is not None
    assert spec.loader is not None
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)
    results = json.loads(render.RESULTS.read_text(encoding="utf-8"))

    assert render.table(results) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_extras_match_the_promise() -> None:
    """The extras that the documents name exist, and cpu and gpu wheels are in no unconditional dependency."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert set(project["optional-dependencies"]) >= {"cpu", "gpu", "export", "report", "train", "openvino", "fast"}
    assert not [d for d in project["dependencies"] if d.startswith(("onnxruntime", "faiss", "torch"))]


def test_the_version_is_printed() -> None:
    """`clipfast --version` and `python -c` agree."""
    done = subprocess.run(
        [sys.executable, "-c", "from clipfast.cli import main; main()", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == f"clipfast {clipfast.__version__}"


def test_the_benchmarks_page_shows_the_stored_races() -> None:
    """What stands between the marks is what the report makes of `benchmarks/results/kernels.json`."""
    import importlib.util
    import json

    spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "kernels" / "report.py")
    assert spec is not None
    assert spec.loader is not None
    report = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(report)
    results = json.loads((ROOT / "benchmarks" / "results" / "kernels.json").read_text(encoding="utf-8"))

    assert report.document(results) in (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
