"""docs/heatmaps.md shows the table of the code, and its Python runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clipfast.datasets.fabricworld import render
from clipfast.surgery import GEOMETRIES, PATHS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "heatmaps.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PATHS)
def test_the_table_is_the_codes(name: Any) -> None:
    """Every path with what it reads, how it scores and what it is good for."""
    row = PATHS[name]

    assert f"| `{name}` | `{row.graph}` {row.stream} | {row.scoring} | {row.good_for} |\n" in PAGE


def test_every_geometry_is_explained() -> None:
    """One row each."""
    assert [name for name in GEOMETRIES if f"| `{name}` |" not in PAGE] == []


def test_the_python_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a reader would paste it, beside a photo."""
    Image.fromarray(render(43, fabric="denim", objects=["red star"], size=320).image[40:280]).save(
        tmp_path / "photo.jpg"
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    for code in blocks:
        exec(compile(code, "docs/heatmaps.md", "exec"), names)  # noqa: S102  (our own page)

    assert len(blocks) >= 7
    assert names["maps"].shape == (1, 1, 224, 224)
    assert names["plan"].to_original([[0, 28, 112, 112]]).tolist() == [[0, 0, 320, 240]]
