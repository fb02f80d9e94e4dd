"""Tests of `clipfast bank check`, `rebuild` and `import`, with a stand-in for the model and once with the real one."""

import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from clipfast.cli.bank import app
from clipfast.datasets.fabricworld import render, write_folder
from clipfast.errors import ArtifactError, ClipfastError, DataError
from clipfast.types import Floats, Images
from reference.colour_clip import ColourClip

CLOTH = {"denim": "blue", "tweed": "red", "羊毛": "green"}


class ToneClip(ColourClip):
    """The mean colour; another model name turns it."""

    def __init__(self, model: str, precision: str) -> None:
        super().__init__(precision)
        self.name = model

    @classmethod
    def load(cls, model: str | None, **options: Any) -> Self:
        return cls(model or "first", options["precision"])

    def fingerprint(self, output: str = "embedding") -> str:
        return ("a" if self.name == "first" else "b") * 64

    def encode_images(self, images: Images) -> Floats:
        return np.ascontiguousarray(np.roll(super().encode_images(images), self.name != "first", axis=1))


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with the owner's layout: three fabrics of three good photos."""
    monkeypatch.setattr("clipfast.runtime.clip.Clip", ToneClip)
    for place, (fabric, colour) in enumerate(CLOTH.items()):
        (tmp_path / "data/fabrics" / fabric).mkdir(parents=True)
        for number in range(3):
            cloth = render(10 * place + number, fabric="denim", colour=colour).image
            Image.fromarray(cloth).save(tmp_path / "data/fabrics" / fabric / f"ref_{number}.png")
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


# ---- check


def test_check_of_a_good_folder_is_all_ticks(layout: Path) -> None:
    """Eight points, all held; nothing is written; --strict is content."""
    lines = run("check", "--strict").stdout.splitlines()
    assert len(lines) == 8
    assert all(line.startswith("✓ ") for line in lines)
    assert lines[-1] == "✓ Every photo finds its fabric among the others: 100.0% of 9 do"
    assert not Path("data/fabric_bank.npz").exists()


def test_check_shows_problems_and_exits_with_0(layout: Path) -> None:
    """A table by fabric names the photos, and the points that fail have a cross with the fabrics."""
    Image.new("RGB", (40, 300), (20, 20, 220)).save("data/fabrics/羊毛/grey.png")
    (layout / "data/fabrics/tweed/ref_0.png").unlink()
    output = run("check", "data/fabrics").stdout
    assert "羊毛" in output
    assert "small: grey.png: 40 x 300 pixels" in output
    assert "few: 2 photos; 3-5 are recommended" in output
    assert "✗ No photo is too small: 1 found (see 羊毛)" in output
    assert "✓ No photo is there twice: yes" in output


def test_check_json_has_everything(layout: Path) -> None:
    """Counts, problems, measures of every photo, leave-one-out, limits, model and check points."""
    (layout / "data/fabrics/tweed/copy.png").write_bytes((layout / "data/fabrics/denim/ref_1.png").read_bytes())
    (layout / "data/fabrics/tweed/bad.jpg").write_text("no image")
    result = run_json("check")
    found = result["found"]
    assert (result["path"], result["ok"]) == ("data/fabrics", False)
    assert {(p["kind"], p["path"] or p["fabric"]) for p in found["problems"]} == {
        ("equal", "tweed/copy.png"),
        ("unreadable", "tweed/bad.jpg"),
        ("confused", "denim"),
        ("confused", "tweed"),
    }
    assert found["counts"] == {"denim": 3, "tweed": 4, "羊毛": 3}
    assert [photo["size_hw"] for photo in found["photos"]] == [[224, 224]] * 10
    assert all(len(photo["phash"]) == 16 for photo in found["photos"])
    assert found["leave_one_out"]["accuracy"] == 0.8
    assert {"fabric": "tweed", "taken_for": "denim", "photos": ["tweed/copy.png"], "of": 4} in found["leave_one_out"][
        "confusions"
    ]
    assert found["limits"]["few"] == 3
    assert found["model"]["fingerprint"] == "a" * 64
    assert [check["ok"] for check in result["checks"]].count(False) == 3


def test_strict_check_fails_with_one_sentence(layout: Path) -> None:
    """The report comes all the same, and the error counts problems by kind."""
    Image.fromarray(render(30, fabric="denim", colour="green", size=200).image).save("data/fabrics/羊毛/s.png")
    result = CliRunner().invoke(app, ["check", "--strict", "--json"])
    assert json.loads(result.stdout)["ok"] is False
    assert isinstance(result.exception, DataError)
    assert str(result.exception).startswith("data/fabrics has 1 problem in 1 of 3 fabrics (1 small); mend")


def test_many_problems_are_cut_in_the_table_only(layout: Path) -> None:
    """Ten lines a fabric, then how many more; --json has all."""
    for number in range(14):
        Image.new("RGB", (300, 30 + number), (20, 20, 220)).save(f"data/fabrics/羊毛/x{number:02}.png")
    assert "and 18 more; --json has all" in run("check").stdout
    assert len(run_json("check")["found"]["problems"]) == 28


def test_check_of_a_bank_file_says_what_it_cannot_check(layout: Path) -> None:
    """Of a bank its vectors are checked, without a model; standard error says what is left."""
    run("build")
    result = run("check", "data/fabric_bank.npz")
    assert [line[0] for line in result.stdout.splitlines()] == ["✓"] * 3
    assert "holds no pixels" in result.stderr
    assert run_json("check", "data/fabric_bank.npz")["found"]["photos"] == []


# ---- rebuild


def test_rebuild_writes_over_the_bank(layout: Path) -> None:
    """The same photos by another model; the file equals that of a fresh build."""
    run("build")
    output = run("rebuild", "--model", "second").stdout
    assert "Model: first -> second" in output
    assert "Saved fabric bank -> data/fabric_bank.npz" in output
    run("build", "--model", "second", "--out", "fresh.npz")
    assert Path("data/fabric_bank.npz").read_bytes() == Path("fresh.npz").read_bytes()


def test_rebuild_refuses_and_keeps_the_old_bank(layout: Path) -> None:
    """A missing photo is named, and the bank stays byte for byte."""
    run("build")
    before = Path("data/fabric_bank.npz").read_bytes()
    (layout / "data/fabrics/tweed/ref_0.png").unlink()
    with pytest.raises(DataError, match=r"1 of the bank's 9 photos .* data/fabrics: tweed/ref_0\.png \(missing\)"):
        CliRunner().invoke(app, ["rebuild", "--model", "second"], catch_exceptions=False)
    assert before == Path("data/fabric_bank.npz").read_bytes()
    assert sorted(path.name for path in Path("data").iterdir()) == ["fabric_bank.npz", "fabrics"]


def test_rebuild_skips_and_counts(layout: Path) -> None:
    """--skip-missing names what is left out and says how many; --out leaves the old file alone; any folder will do."""
    run("build")
    before = Path("data/fabric_bank.npz").read_bytes()
    Path("data/fabrics").rename("moved")
    Path("moved/tweed/ref_0.png").unlink()
    arguments = ["rebuild", "--folder", "moved", "--out", "new.npz", "--model", "second", "--skip-missing"]
    output = run(*arguments).stdout
    assert "[SKIPPED] tweed/ref_0.png: missing" in output
    assert "Left out 1 of 9 photos." in output
    assert before == Path("data/fabric_bank.npz").read_bytes()
    result = run_json(*arguments)
    assert (result["left_out"], result["total_images"], result["path"]) == (1, 8, "new.npz")
    assert (result["old_model"]["name"], result["model"]["name"]) == ("first", "second")
    assert result["skipped"] == [{"path": "tweed/ref_0.png", "reason": "missing"}]


# ---- import


@pytest.fixture
def old(layout: Path) -> Path:
    """The owner's older file: three fabrics, one of them not of unit length, one without rows."""
    rows = np.eye(3, dtype=np.float32)
    np.savez(layout / "old.npz", denim=rows[:2], 羊毛=2 * rows[2:], none=rows[:0])
    return layout / "old.npz"


def test_import_writes_a_bank_that_answers(old: Path) -> None:
    """Fabrics, what was rescaled or empty, totals; search and list work on the result."""
    output = run("import", "old.npz", "--model", "first", "--out", "b.npz").stdout
    assert output.splitlines()[:4] == [
        "[OK] denim: 2 vectors",
        "[OK] 羊毛: 1 vector",
        "[EMPTY] none: no vector; it is left out",
        "[RESCALED] 羊毛: rows must be of length 1; one had 2",
    ]
    assert "   Imported as vectors, without a photo: 3" in output
    listed = run_json("list", "--bank", "b.npz", "--photos")
    assert (listed["imported"], listed["photos"][0]) == (3, "denim/imported_001")
    Image.new("RGB", (9, 9), (0, 0, 200)).save("blue.png")
    assert run_json("search", "blue.png", "--bank", "b.npz")["results"][0]["id"] == "羊毛"


def test_import_json(old: Path) -> None:
    """The bank's figures, with what was empty and rescaled."""
    result = run_json("import", "old.npz", "--model", "first")
    assert (result["path"], result["fabrics"]) == ("data/fabric_bank.npz", {"denim": 2, "羊毛": 1})
    assert (result["empty"], result["rescaled"]) == (["none"], {"羊毛": 2.0})
    assert result["model"]["name"] == "first"


def test_imported_bank_says_what_is_impossible(old: Path) -> None:
    """`rebuild` refuses its rows for what they are, and `check` says what it cannot look at."""
    run("import", "old.npz", "--model", "first", "--out", "b.npz")
    with pytest.raises(DataError, match=r"3 of the bank's 3 .*denim/imported_001 \(imported as a vector, without a ph"):
        CliRunner().invoke(app, ["rebuild", "--bank", "b.npz"], catch_exceptions=False)
    assert "cannot embed them again" in run("check", "b.npz").stderr


def test_import_refuses_without_a_trace(layout: Path) -> None:
    """A pickle, another width, and the file itself as goal are one sentence, and nothing is written."""
    np.savez("wide.npz", denim=np.zeros((1, 512), np.float32))
    Path("old.pkl").write_bytes(b"\x80\x04.")
    cases: list[tuple[list[str], type[ClipfastError], str]] = [
        (["old.pkl"], ArtifactError, "is a pickle"),
        (["wide.npz"], ArtifactError, r"must be floats \(r, 3\).*got float32 \(1, 512\)"),
        (["none.npz"], ArtifactError, "No file at none.npz"),
        (["wide.npz", "--out", "wide.npz"], DataError, "is the file to be imported"),
    ]
    for arguments, error, message in cases:
        with pytest.raises(error, match=message):
            CliRunner().invoke(app, ["import", *arguments, "--model", "first"], catch_exceptions=False)
    assert not Path("data/fabric_bank.npz").exists()


@pytest.mark.parametrize(
    "arguments",
    [["import", "old.npz"], ["import"], ["check", "--batch-size", "0"], ["rebuild", "--folder"], ["check", "a", "b"]],
)
def test_wrong_usage_exits_with_2(layout: Path, arguments: list[str]) -> None:
    """An import without a named model, missing and impossible values are usage errors."""
    assert CliRunner().invoke(app, arguments).exit_code == 2


# ---- the whole, with the embedded model


def test_a_bank_is_checked_imported_and_rebuilt_with_mini(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rendered fabrics, the owner's older file of the same vectors, and a rebuild that equals the build."""
    monkeypatch.chdir(tmp_path)
    write_folder(Path("data/fabrics"), fabrics=["gingham", "denim"], per_fabric=3, seed=0)
    Image.fromarray(render(1, fabric="denim", size=96).image).save("data/fabrics/denim/small.png")
    problems = run_json("check", "--model", "mini")["found"]["problems"]
    assert ("small", "denim/small.png") in {(p["kind"], p["path"]) for p in problems}
    run("build", "--model", "mini")
    built = Path("data/fabric_bank.npz").read_bytes()
    with np.load("data/fabric_bank.npz", allow_pickle=False) as bank:
        names, rows = bank["fabric_ids"], bank["embeddings"]
    np.savez("old.npz", **{name: rows[names == name] for name in set(names.tolist())})
    imported = run_json("import", "old.npz", "--model", "mini", "--out", "imported.npz")
    assert imported["fabrics"] == {"denim": 4, "gingham": 3}
    photo = "data/fabrics/denim/ref_01.jpg"
    answers = [
        run_json("search", photo, "--bank", bank_file, "--model", "mini")["results"]
        for bank_file in ("data/fabric_bank.npz", "imported.npz")
    ]
    assert [(r["id"], round(r["score"], 5)) for r in answers[0]] == [
        (r["id"], round(r["score"], 5)) for r in answers[1]
    ]
    run("rebuild", "--model", "mini")
    assert built == Path("data/fabric_bank.npz").read_bytes()
