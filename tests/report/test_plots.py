"""Figures of localisation: three columns, the right colours, one row a class; a contact sheet of all paths."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.errors import ShapeError
from clipfast.report.images import draw_boxes
from clipfast.report.localise_figures import FigureWriter
from clipfast.report.plots import LocalisationPanel, localisation_figure
from clipfast.surgery.evaluate import measure_sample
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.types import Pixels
from reference.localise_cases import planted, sample

pytest.importorskip("matplotlib", reason="needs the extra report")


def _panel(title: str = "cat") -> LocalisationPanel:
    heat = np.linspace(0, 1, 30 * 40, dtype=np.float32).reshape(30, 40)
    return LocalisationPanel(
        title,
        np.full((30, 40, 3), 128, np.uint8),
        heat,
        (0.0, 0.0, 400.0, 300.0),
        np.array([[50.0, 50, 150, 150]]),
        np.array([[200.0, 50, 300, 150]]),
        np.array([0.5]),
    )


def _decoded(data: bytes) -> Pixels:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def _share(pixels: Pixels, colour: tuple[int, int, int]) -> float:
    return float((np.abs(pixels.astype(int) - colour).max(axis=2) < 60).mean())


def test_three_columns_in_the_right_colours() -> None:
    """Green ground truth left and right, red boxes right only, a coloured map in the middle."""
    drawn = _decoded(localisation_figure([_panel()]))
    left, middle, right = np.array_split(drawn, 3, axis=1)

    assert _share(left, (0, 255, 0)) > 0.001
    assert _share(right, (0, 255, 0)) > 0.001
    assert _share(right, (255, 0, 0)) > 0.0005
    assert _share(left, (255, 0, 0)) == 0
    grey = np.abs(middle.astype(int) - middle.mean(axis=2, keepdims=True)).max(axis=2) < 12
    assert grey.mean() < 0.6


def test_a_row_a_class_and_the_same_bytes_again() -> None:
    """Two panels are twice as high; a figure is deterministic."""
    one, two = localisation_figure([_panel()]), localisation_figure([_panel("cat"), _panel("dog")])

    assert _decoded(two).shape[0] == pytest.approx(2 * _decoded(one).shape[0], abs=2)
    assert one == localisation_figure([_panel()])


def test_what_cannot_be_drawn() -> None:
    """No panel, and a map of another size than its image."""
    with pytest.raises(ShapeError, match="there must be a panel"):
        localisation_figure([])


def test_samples_are_numbered_and_laid_out(tmp_path: Path) -> None:
    """Only those with a box are drawn, up to the number asked for; the sheet shows every path."""
    classes = ("cat", "猫")
    paths = {"standard": lambda truth: truth, "vv_vv": lambda truth: -truth}
    writer = FigureWriter(tmp_path, classes, 2)
    cases = [
        sample("empty", {}),
        sample("one", {"cat": (20, 20, 90, 90)}),
        sample("zwei", {"cat": (20, 20, 60, 60), "猫": (100, 100, 300, 200)}),
        sample("three", {"cat": (20, 20, 90, 90)}),
    ]
    for case in cases:
        maps = planted(case, classes, paths, "letterbox")
        writer(maps, measure_sample(maps, classes, LocaliseOptions(paths=("standard", "vv_vv"))))
    writer.finish()

    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")) == [
        "contact_sheet.png",
        "standard/sample_000.png",
        "standard/sample_001.png",
        "vv_vv/sample_000.png",
        "vv_vv/sample_001.png",
    ]
    assert len(writer.written) == 5
    with Image.open(tmp_path / "standard" / "sample_001.png") as picture:
        assert picture.height > 0.45 * picture.width  # two classes of an image of 4:3
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.width > 3 * 224


def test_outlines_stay_inside() -> None:
    """Boxes that reach out are drawn as far as they are in the picture."""
    drawn = draw_boxes(
        np.zeros((6, 8, 3), np.uint8), np.array([[-3.0, 2, 4, 9], [20, 20, 30, 30]]), (255, 0, 0), width=1
    )

    assert (drawn[2, :4, 0] == 255).all()
    assert (drawn[2:, 3, 0] == 255).all()
    assert (drawn[:2] == 0).all()
    assert (drawn[:, 4:] == 0).all()
    assert (drawn[3:, :3] == 0).all()


def test_without_matplotlib_the_extra_is_named() -> None:
    """The pip line, and nothing of pyplot's state where it is installed."""
    script = (
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from clipfast.report.plots import require_matplotlib\n"
        "try:\n    require_matplotlib()\nexcept ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "matplotlib is not installed. Run: pip install 'clipfast[report]'"
    localisation_figure([_panel()])
    assert "matplotlib.pyplot" not in sys.modules
