"""Chinese in figures: drawn where a font has it, said in one line where none has, never boxes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.errors import DataError
from clipfast.report import fonts
from clipfast.report.images import contact_sheet
from clipfast.report.plots import Curve, LocalisationPanel, curve_figure, localisation_figure
from clipfast.types import Pixels
from reference.drawn_font import draw_font

pytest.importorskip("matplotlib", reason="needs the extra report, which brings fontTools")

WORDS = "规则权重棉布面料"
CURVE = [Curve("Top@1", [0, 1], [0.2, 0.8])]


@pytest.fixture
def no_font(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without a Chinese font."""
    monkeypatch.delenv("CLIPFAST_FONT", raising=False)
    monkeypatch.setattr(fonts, "_of_the_system", lambda: None)


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A font with just these words."""
    path = draw_font(tmp_path / "drawn.ttf", WORDS)
    monkeypatch.setenv("CLIPFAST_FONT", str(path))
    return path


def _panel(title: str) -> LocalisationPanel:
    pixels, none = np.full((30, 40, 3), 128, np.uint8), np.zeros((0, 4))
    heat = np.linspace(0, 1, 30 * 40, dtype=np.float32).reshape(30, 40)
    return LocalisationPanel(title, pixels, heat, (0.0, 0.0, 40.0, 30.0), none, none, np.zeros(0))


def _pixels(png: bytes) -> Pixels:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("L"))


@pytest.mark.usefixtures("no_font")
def test_without_a_font_nothing_is_drawn_as_boxes() -> None:
    """`drawable` tells beforehand; a figure refuses with one line that says what to install."""
    assert fonts.drawable("cotton 70 %")
    assert not fonts.drawable("棉布")
    assert not fonts.drawable("crêpe")
    figures: list[Callable[[], object]] = [
        lambda: curve_figure(CURVE, title="权重", x_label="a", y_label=""),
        lambda: localisation_figure([_panel("棉布")]),
    ]
    for draw in figures:
        with pytest.raises(DataError, match=r"No font with Chinese glyphs was found.*fonts-noto-cjk.*CLIPFAST_FONT"):
            draw()
    assert "\n" not in fonts.NO_CHINESE_FONT


@pytest.mark.usefixtures("drawn")
def test_a_font_that_has_them_is_taken() -> None:
    """No warning of a missing glyph (warnings are errors here), and the words are there, each as itself."""
    assert fonts.drawable("棉布 Cotton")
    titled, bare = (_pixels(curve_figure(CURVE, title=t, x_label="alpha", y_label="")) for t in (WORDS, " "))
    assert (titled[:40] < 128).sum() > (bare[:40] < 128).sum() + 300
    assert localisation_figure([_panel("棉布")]) != localisation_figure([_panel("面料")])
    tile = np.full((20, 120, 3), 255, np.uint8)
    sheets = [contact_sheet([tile], [caption], columns=1) for caption in ("棉布", "面料", "")]
    dark = [int((sheet[-20:, :, 0] < 128).sum()) for sheet in sheets]
    assert min(dark[:2]) > 100
    assert dark[2] == 0
    assert (sheets[0] != sheets[1]).any()


def test_a_named_file_must_be_a_font_with_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is none, and what has Latin letters only, is refused by name."""
    (tmp_path / "note.txt").write_text("no font", encoding="utf-8")
    for path in (tmp_path / "note.txt", tmp_path / "nowhere.ttf", draw_font(tmp_path / "latin.ttf", "")):
        monkeypatch.setenv("CLIPFAST_FONT", str(path))
        with pytest.raises(DataError, match=f"CLIPFAST_FONT must name a font file.*{path.name}"):
            fonts.drawable("棉")
        assert fonts.drawable("cotton")


def test_the_best_font_of_the_system_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, anywhere below the usual folders; a file of that name without the glyphs is passed over."""
    monkeypatch.delenv("CLIPFAST_FONT", raising=False)
    monkeypatch.setattr(fonts, "_folders", lambda: [tmp_path, tmp_path / "nowhere"])
    fonts._of_the_system.cache_clear()
    try:
        assert fonts.chinese_font() is None
        (tmp_path / "deep" / "er").mkdir(parents=True)
        draw_font(tmp_path / "NotoSansCJK-Bold.ttc", "")
        draw_font(tmp_path / "SomeOther.ttf", WORDS)
        draw_font(tmp_path / "wqy-zenhei.ttc", WORDS)
        best = draw_font(tmp_path / "deep" / "er" / "NotoSansSC-Regular.otf", WORDS)
        draw_font(tmp_path / "NotoSansSC-Black.otf", WORDS)
        fonts._of_the_system.cache_clear()
        assert fonts.chinese_font() == best
    finally:
        fonts._of_the_system.cache_clear()
