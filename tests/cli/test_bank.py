"""Tests of clipfast.cli.bank with a stand-in for the model."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from clipfast.cli.bank import app
from clipfast.errors import ArtifactError, ClipfastError, DataError, ImageError
from reference.colour_clip import ColourClip

COLOURS = {"cotton": (200, 30, 30), "silk": (30, 200, 30), "羊毛": (30, 30, 200)}


class LoadedClip(ColourClip):
    """Remembers how it was loaded."""

    loads: ClassVar[list[tuple[str | None, dict[str, Any]]]] = []

    @classmethod
    def load(cls, model: str | None, **options: Any) -> Self:
        cls.loads.append((model, options))
        return super().load(model, **options)


@pytest.fixture(autouse=True)
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with the owner's layout: three fabrics of three large photos."""
    monkeypatch.setattr("clipfast.runtime.clip.Clip", LoadedClip)
    monkeypatch.setattr(LoadedClip, "loads", [])
    for name in ("CLIPFAST_BANK", "CLIPFAST_MODEL"):
        monkeypatch.delenv(name, raising=False)
    for fabric, (red, green, blue) in COLOURS.items():
        (tmp_path / "data/fabrics" / fabric).mkdir(parents=True)
        for number in range(3):
            photo = Image.new("RGB", (224, 224), (red, green + 9 * number, blue))
            photo.save(tmp_path / "data/fabrics" / fabric / f"ref_0{number}.PNG")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    """Run a command that must succeed."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def run_json(*arguments: str) -> Any:
    """Run a command with --json; standard output must be one JSON object."""
    return json.loads(run(*arguments, "--json").stdout)


def test_build_prints_the_summary_of_the_owners_tool() -> None:
    """Defaults are the owner's paths; one line a fabric, totals, size, and check points that hold."""
    lines = run("build").stdout.splitlines()
    assert [f"[OK] {fabric}: 3 images -> shape (3, 3)" for fabric in sorted(COLOURS)] == lines[:3]
    bank = Path("data/fabric_bank.npz")
    assert f"Saved fabric bank -> {bank}" == lines[3]
    assert lines[4:6] == ["   Total fabrics: 3", "   Total images: 9"]
    assert f"   File size: {bank.stat().st_size / 1024:.1f} KB" == lines[6]
    assert len(lines[7:]) == 5
    assert all(line.startswith("✓ ") for line in lines[7:])


def test_build_names_what_it_skipped_and_marks_missed_checks(layout: Path) -> None:
    """A damaged file is named with its reason, an empty fabric is shown, and the points that fail have a cross."""
    (layout / "data/fabrics/silk/broken.jpg").write_text("no image")
    (layout / "data/fabrics/linen").mkdir()
    Image.new("RGB", (20, 20)).save(layout / "data/fabrics/cotton/small.png")
    output = run("build", "--out", "other.npz").stdout
    assert "[SKIPPED] silk/broken.jpg: must be a JPEG" in output
    assert "[EMPTY] linen: 0 images" in output
    crosses = [line for line in output.splitlines() if line.startswith("✗")]
    assert crosses == [
        "✗ Every fabric has a vector: 3 of 4 (not: linen)",
        "✗ 3-5 photos of every fabric: 3 of 4 (not: linen 0)",
        "✗ Photos of 224 x 224 pixels or more: 9 of 10 (not: cotton/small.png)",
    ]
    assert Path("other.npz").is_file()


def test_build_json_is_one_object(layout: Path) -> None:
    """Counts, skipped files, path and checks are in one JSON object."""
    (layout / "data/fabrics/silk/broken.jpg").write_text("no image")
    result = run_json(
        "build", "data/fabrics", "--out", "b.npz", "--model", "m", "--threads", "2", "--max-pixels", "50176"
    )
    assert (
        result["path"], result["total_images"], result["fabrics"],
    ) == ("b.npz", 9, {"cotton": 3, "silk": 3, "羊毛": 3})  # fmt: skip
    assert [skipped["path"] for skipped in result["skipped"]] == ["silk/broken.jpg"]
    assert [check["ok"] for check in result["checks"]] == [True] * 5
    assert LoadedClip.loads == [("m", {"provider": None, "precision": "fp32", "threads": 2})]


def test_strict_build_fails_and_writes_nothing(layout: Path) -> None:
    """With --strict the first bad file is the error, and no bank is written."""
    (layout / "data/fabrics/silk/broken.jpg").write_text("no image")
    with pytest.raises(ImageError, match=r"silk/broken\.jpg"):
        CliRunner().invoke(app, ["build", "--strict"], catch_exceptions=False)
    assert not Path("data/fabric_bank.npz").exists()


def test_search_ranks_and_shows_the_nearest_photo() -> None:
    """Each ranked fabric comes with its nearest reference; --json has the same."""
    run("build")
    photo = "data/fabrics/羊毛/ref_01.PNG"
    lines = run("search", photo, "--topk", "2").stdout.splitlines()
    assert [line[0] for line in lines] == ["1", "2", "✓", "✓"]
    assert lines[0] == "1. 羊毛: 1.000   nearest 羊毛/ref_01.PNG (1.000)"
    for score in ("max", "mean", "centroid"):
        result = run_json("search", photo, "--score", score, "--bank", "data/fabric_bank.npz")
        assert ("羊毛", score, 3) == (result["results"][0]["id"], result["score"], len(result["results"]))
        assert result["results"][0]["nearest"]["path"] == "羊毛/ref_01.PNG"


def test_a_bank_may_be_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, or because there are too many photos for a file; every command takes it."""
    lines = run("build", "--out", "banks/mine/").stdout.splitlines()
    assert "Saved fabric bank -> banks/mine" in lines
    photo = "data/fabrics/羊毛/ref_01.PNG"
    assert run("search", photo, "--bank", "banks/mine/", "--verify").stdout.startswith("1. 羊毛: 1.000")
    assert run_json("remove", "silk", "--bank", "banks/mine")["total_images"] == 6
    assert run_json("list", "--bank", "banks/mine")["bytes"] > 0
    assert run_json("check", "banks/mine")["found"]["counts"] == {"cotton": 3, "羊毛": 3}
    monkeypatch.setattr("clipfast.retrieval.bankfile.FOLDER_FROM", 8)
    assert run_json("build")["path"] == "data/fabric_bank"
    assert run_json("list")["total_images"] == 9  # found under the default's name


def test_add_list_and_remove_change_the_file(layout: Path) -> None:
    """Photos can be added to a new fabric and removed again; the list shows counts, photos and the model."""
    run("build")
    before = Path("data/fabric_bank.npz").read_bytes()
    Image.new("RGB", (9, 9), (90, 150, 150)).save("new.png")
    assert "[OK] linen: 1 image -> shape (1, 3)" in run("add", "new.png", "--fabric", "linen").stdout
    assert "[REPLACED] linen/new.png" in run("add", "new.png", "--fabric", "linen").stdout
    listed = run("list", "--photos").stdout
    assert "linen: 1 image\n" in listed
    assert "  linen/new.png\n" in listed
    assert "Model: colour (fp32, fingerprint aaaaaaaaaaaaaaaa…)" in listed
    assert run_json("list")["total_images"] == 10
    assert run_json("remove", "linen")["removed"] == {"linen": 1}
    assert before == Path("data/fabric_bank.npz").read_bytes()
    assert "[REMOVED] silk/ref_00.PNG: 1 image" in run("remove", "silk/ref_00.PNG").stdout
    assert run_json("add", "data/fabrics")["total_images"] == 9


def test_environment_names_the_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLIPFAST_BANK is the default of every command, as it is of rank_by_retrieval."""
    monkeypatch.setenv("CLIPFAST_BANK", "env.npz")
    run("build")
    assert run_json("list")["path"] == "env.npz"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["list", "--bank", "none.npz"], ArtifactError, "No bank at none.npz. Build it: clipfast bank build"),
        (["search", "nothing.png"], ImageError, "nothing.png"),
        (["search", "new.png", "--precision", "int8"], ArtifactError, "--accept-precision"),
        (["remove", "linen"], DataError, "The bank's fabrics: cotton, silk, 羊毛"),
        (["add", "new.png", "data/fabrics"], DataError, "one folder"),
        (["build", "nowhere"], DataError, "No folder at nowhere"),
        (["build", "bare"], DataError, "No embeddings collected"),
    ],
)
def test_failures_are_one_clear_error(arguments: list[str], error: type[ClipfastError], message: str) -> None:
    """What a user can get wrong raises a ClipfastError, which main() prints as one sentence."""
    run("build")
    Path("bare").mkdir()
    Image.new("RGB", (9, 9)).save("new.png")
    with pytest.raises(error) as caught:
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [["search", "x.png", "--score", "best"], ["search", "x.png", "--topk", "0"], ["search"], ["nothing"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    """Unknown options and missing arguments are usage errors."""
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_accepted_precision_is_used() -> None:
    """--accept-precision takes a bank of another precision."""
    run("build")
    assert (
        len(
            run_json(
                "search", "data/fabrics/silk/ref_00.PNG", "--precision", "int8", "--accept-precision", "--topk", "1"
            )["results"]
        )
        == 1
    )
