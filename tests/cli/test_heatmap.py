"""`clipfast heatmap`: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.cli.heatmap_picture import drawn_hw, heat_sheet, map_facts
from clipfast.datasets.fabricworld import render
from clipfast.surgery import PATHS
from clipfast.types import Pixels


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the folder's photo, as a user would."""
    code = "from clipfast.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "heatmap", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo, wide, with objects; the first one's box is in `box.json`."""
    folder = tmp_path_factory.mktemp("heatmap")
    scene = render(43, fabric="linen", colour="white", objects=["turquoise button", "purple heart"], size=448)
    Image.fromarray(scene.image[100:400]).save(folder / "photo.png")
    left, top, right, bottom = scene.objects[0].box
    (folder / "box.json").write_text(json.dumps([left, top - 100, right, bottom - 100]))
    return folder


def picture(path: Path) -> Pixels:
    """Read what was written."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    "options",
    [
        ["--geometry", "squash"],
        ["--geometry", "letterbox", "--edge-aware"],
        ["--windows", "--overlap", "0.25"],
        ["--scales", "1,2", "--edge-aware"],
        [],
    ],
    ids=" ".join,
)
def test_the_peak_is_told_in_pixels_of_the_photo(folder: Path, options: Sequence[str]) -> None:
    """Whatever the view, it lies on what was asked for; the picture has a panel for each text."""
    texts = ["--text", "turquoise button", "--text", "purple heart"]
    done = run(folder, "photo.png", *texts, "--path", "vv_vv", "--model", "mini", "--json", *options)
    found = json.loads(done.stdout)
    left, top, right, bottom = json.loads((folder / "box.json").read_text())
    x, y = found["maps"][0]["peak_xy"]

    assert done.returncode == 0, done.stderr
    assert found["size_hw"] == [300, 448]
    assert [each["text"] for each in found["maps"]] == ["turquoise button", "purple heart"]
    assert all(each["min"] < each["max"] for each in found["maps"])
    assert left - 16 <= x < right + 16
    assert top - 16 <= y < bottom + 16
    assert found["maps"][0]["seen"] == (1 if options else pytest.approx(300 / 448, abs=0.01))
    assert picture(folder / "heat.png").shape[1] > 3 * 448


def test_what_the_model_did_not_see_is_said(folder: Path) -> None:
    """Without a geometry, mini crops: a note on standard error says how to see the rest."""
    done = run(folder, "photo.png", "--text", "lace", "--model", "mini", "--out", "lace.png")

    assert "saw 67% of the image" in done.stderr
    assert "--geometry squash or letterbox" in done.stderr
    assert re.search(r"lace: peak at \[\d+, \d+\], similarity -?\d\.\d{3} to -?\d\.\d{3}", done.stdout)


def test_paths_are_explained(folder: Path) -> None:
    """Every row of the table, without an image."""
    done = run(folder, "--list-paths")
    said = " ".join(re.sub(r"[│├┤┼─]", " ", done.stdout).split())

    assert done.returncode == 0
    assert all(name in said and row.good_for.split()[0] in said for name, row in PATHS.items())


def test_labels_only_and_words_that_are_not_known(folder: Path) -> None:
    """Against labels alone a map ignores the other texts; words that are one to the model are named."""
    asked = ["photo.png", "--model", "mini", "--json", "--label", "linen", "--label", "satin"]
    alone, two = (
        json.loads(run(folder, *asked, "--text", "lace", *more, "--labels-only").stdout)["maps"][0]
        for more in ([], ["--text", "denim"])
    )
    strange = run(folder, "photo.png", "--model", "mini", "--text", "zebra", "--text", "okapi", "--path", "vv_vv")

    assert alone["max"] == pytest.approx(two["max"], abs=1e-6)
    assert "zebra, okapi are all but the same to this model" in strange.stderr
    refused = run(folder, "photo.png", "--model", "mini", "--text", "lace", "--labels-only")
    assert refused.returncode == 1
    assert "need labels; got none" in refused.stderr


def test_texts_and_templates(folder: Path) -> None:
    """Templates, a redundant text and labels change the answer."""
    base = ["photo.png", "--text", "purple heart", "--model", "mini", "--json"]
    answers = [
        json.loads(run(folder, *base, *more).stdout)["maps"][0]["max"]
        for more in ([], ["--templates", "none"], ["--redundant", "cloth"], ["--label", "linen", "--label", "lace"])
    ]

    assert len({round(answer, 6) for answer in answers}) == 4


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--path", "gem2"], 2, "must be one of standard"),
        (["--geometry", "fit"], 2, "squash, centre_crop"),
        (["--templates", "mine"], 2, "surgery, inspection, none"),
        (["--scales", "1,x"], 2, "must be numbers"),
        (["--depths", "1.5"], 2, "must be whole numbers"),
        (["--overlap", "1"], 2, "0.9"),
        (["--scales", "1", "--window-side", "90"], 1, "choose one"),
        (["--windows", "--geometry", "centre_crop"], 1, "not centre_crop"),
        (["--text", "Lace"], 1, "texts must differ"),
        (["--label", "denim", "--path", "plain"], 1, "labels are compared by the path standard"),
    ],
)
def test_wrong_usage_is_told(folder: Path, options: Sequence[str], code: int, message: str) -> None:
    """Exit code 2 for what cannot be parsed, 1 for what does not go together; one sentence, nothing written."""
    done = run(folder, "photo.png", "--text", "lace", "--model", "mini", "--out", "never.png", *options)

    assert done.returncode == code
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not (folder / "never.png").exists()


def test_an_image_of_which_the_crop_sees_nothing(folder: Path) -> None:
    """A strip of 3000 x 3 pixels: one sentence that says what to pass, and with that it works."""
    Image.new("RGB", (3000, 3), (200, 10, 10)).save(folder / "strip.png")
    refused = run(folder, "strip.png", "--text", "red button", "--out", "strip_out.png")
    squashed = run(folder, "strip.png", "--text", "red button", "--geometry", "squash", "--out", "strip_out.png")

    assert (refused.returncode, squashed.returncode) == (1, 0), squashed.stderr
    assert "too thin" in refused.stderr
    assert "squash or letterbox" in refused.stderr


def test_a_panel_for_every_text_over_a_colour_bar() -> None:
    """Four narrow panels a row; what was not seen is dark; captions of other scripts and long ones do not fail."""
    pixels = np.full((40, 320, 3), 200, np.uint8)
    maps = np.tile(np.linspace(0, 1, 320, dtype=np.float32), (4, 40, 1))
    maps[0, :, :100] = np.nan
    maps[1] = 0.5
    facts = [
        map_facts(text, heat, (80, 640)) for text, heat in zip(["a", "flat", "红色", "long " * 30], maps, strict=True)
    ]
    sheet = heat_sheet(pixels, maps, facts)

    assert facts[0].peak_xy == (639, 1)
    assert facts[0].seen == pytest.approx(220 / 320)
    assert sheet.shape == (2 * (40 + 10 + 20 + 6) + 6, 4 * 326 + 6, 3)
    assert (sheet[10, 326 + 6 : 326 + 106] == 66).all()
    assert (np.abs(sheet[47, 332:652].astype(int) - sheet[47, 658:978]) == 0).all()  # the same bar under each map


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [
        ((100, 50), (320, 160)),  # enlarged
        ((400, 500), (400, 500)),  # as it is
        ((1280, 640), (640, 320)),  # shrunk
        ((1, 4000), (1, 640)),  # not to nothing
    ],
)
def test_panels_fit_a_screen(size_hw: tuple[int, int], expected: tuple[int, int]) -> None:
    """Small images are enlarged, large ones shrunk, shapes kept."""
    assert drawn_hw(size_hw) == expected
