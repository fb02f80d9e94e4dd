"""`clipfast models` in the owner's layout: put to use, compared, refused, gone back from, used elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clipfast.cli.commands import app
from clipfast.errors import ClipfastError
from reference.colour_clip import COLOURS, ColourClip, draw


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bank, evaluation set, head and weights, made by the commands."""
    root = tmp_path_factory.mktemp("made")
    for at, fabric in enumerate(COLOURS):
        for number in range(3):
            draw(root / "data/fabrics" / fabric / f"ref_{number:02}.png", fabric, 900 + number, noise=9)
        for number in range(12):
            draw(root / "data/patches/labeled" / fabric / f"patch_{number:03}.png", fabric, 20 * at + number)
    with pytest.MonkeyPatch.context() as patch:
        _stand_in(patch, root)
        run("bank", "build")
        run("evalset", "make")
        run("head", "train")
        run("fuse", "fit", "--head", "data/clip_head.npz", "--exclude", "data/eval_set.jsonl")
    return root


@pytest.fixture(autouse=True)
def layout(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a copy of it."""
    shutil.copytree(made / "data", tmp_path / "data")
    _stand_in(monkeypatch, tmp_path)
    return tmp_path


def _stand_in(patch: pytest.MonkeyPatch, root: Path) -> None:
    patch.setattr("clipfast.runtime.clip.Clip", ColourClip)
    for name in ("CLIPFAST_BANK", "CLIPFAST_FUSION", "CLIPFAST_MODELS"):
        patch.delenv(name, raising=False)
    patch.chdir(root)


def invoke(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})


def run(*arguments: str) -> str:
    """Run a command that must succeed; returns standard output."""
    result = invoke(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def run_json(*arguments: str) -> Any:
    """Run a command with --json; standard output must be one JSON object."""
    return json.loads(run(*arguments, "--json"))


def failure(*arguments: str) -> str:
    """Run a command that must fail with one of our errors; returns its sentence."""
    result = invoke(*arguments)
    assert isinstance(result.exception, ClipfastError), (result.output, result.exception)
    return str(result.exception)


def test_nothing_is_in_use_at_first() -> None:
    """The list says so, in either language; a head cannot come before a bank, nor anything be gone back to."""
    assert "Nothing is in use yet." in run("models", "list")
    assert "尚未使用任何版本" in run("models", "list", "--lang", "zh")
    assert "No bank is in use yet" in failure("models", "promote", "data/clip_head.npz")
    assert "No bank is in use" in failure("models", "compare", "data/clip_head.npz")
    assert "no head to go back to" in failure("models", "rollback", "head")


def test_forward_compared_and_back() -> None:
    """The file says what it is; a head without a proven gain is refused, promoted for a reason, and gone back from."""
    bank = run_json("models", "promote", "data/fabric_bank.npz")
    assert (bank["kind"], bank["gain"], bank["checks"]) == ("bank", None, [])
    looked = run_json("models", "compare", "data/clip_head.npz")
    assert looked["kind"] == "head"
    assert (looked["gain"]["look"], looked["gain"]["photos"], looked["gain"]["proven"]) == (1, 6, False)
    assert [check["ok"] for check in looked["checks"]] == [False, True]
    assert run_json("models", "compare", "data/clip_head.npz")["gain"] == looked["gain"]  # the same look is free
    assert "The gain is not proven" in failure("models", "promote", "data/clip_head.npz")
    first = run_json("models", "promote", "data/clip_head.npz", "--because", "the first head")["promoted"]
    draw(Path("data/patches/labeled/linen/more.png"), "linen", 777)
    run("head", "train", "--out", "other.npz")
    second = run_json("models", "promote", "other.npz", "--because", "more linen")["promoted"]
    assert second != first
    weights = run_json("models", "promote", "data/fusion.json", "--because", "fitted")
    assert weights["kind"] == "alpha"

    assert run_json("models", "rollback", "head")["version"] == first
    assert f"Gone back -> {second}" in run("models", "rollback", "head", "--to", second)
    listed = run_json("models", "list")
    assert listed["current"] == {"bank": bank["promoted"], "head": second, "alpha": weights["promoted"]}
    assert [event["action"] for event in listed["history"]] == [
        "promote",
        "compare",
        *["promote"] * 3,
        *["rollback"] * 2,
    ]
    shown = run("models", "list")
    assert f"In use: head {second}" in shown
    assert "more linen" in shown
    assert "+0.0% (-0.0%" not in shown


def test_twenty_new_samples_suggest_retraining() -> None:
    """Counted in the folder of labels since the last head; --samples says otherwise."""
    run("models", "promote", "data/fabric_bank.npz")
    run("models", "promote", "data/clip_head.npz", "--because", "the first head")
    assert run_json("models", "list")["retrain"] == {"new": 0, "wanted": 20, "due": False}
    for number in range(20):
        draw(Path(f"data/patches/labeled/linen/new_{number}.png"), "linen", 500 + number)
    assert run_json("models", "list")["retrain"] == {"new": 20, "wanted": 20, "due": True}
    assert "20 new samples since the last head: retraining pays" in run("models", "list")
    assert run_json("models", "list", "--samples", "40")["retrain"]["due"] is False


def test_other_commands_use_what_is_in_use() -> None:
    """--models answers as the same files by name do; naming both is wrong usage."""
    run("models", "promote", "data/fabric_bank.npz")
    run("models", "promote", "data/clip_head.npz", "--because", "the first head")
    run("models", "promote", "data/fusion.json", "--because", "fitted")
    photo = "data/patches/labeled/linen/patch_003.png"
    files = ["--head", "data/clip_head.npz", "--alpha", "fit"]
    assert run_json("recommend", photo, "--models", "data/models") == run_json("recommend", photo, *files)
    by_files, in_use = run_json("evaluate", *files), run_json("evaluate", "--models", "data/models")
    for key in ("fusion", "alpha", "doubts", "comparisons"):
        assert in_use[key] == by_files[key]
    for wrong in (files[:2], ["--fusion", "data/fusion.json"], ["--bank", "b.npz"]):
        assert invoke("recommend", photo, "--models", "data/models", *wrong).exit_code == 2
    assert "No bank is in use" in failure("recommend", photo, "--models", "nowhere")


def test_a_candidate_that_cannot_be_used_is_refused() -> None:
    """Unknown versions and kinds, files of another kind, and what is no version at all."""
    run("models", "promote", "data/fabric_bank.npz")
    assert "No version 'head-0'" in failure("models", "compare", "head-0")
    assert invoke("models", "rollback", "photo").exit_code == 2
    assert invoke("models", "compare", "data/clip_head.npz", "--kind", "photo").exit_code == 2
    assert failure("models", "promote", "data/clip_head.npz", "--kind", "bank", "--because", "x")
    Path("notes.txt").write_text("x", encoding="utf-8")
    assert "must be a head or bank" in failure("models", "compare", "notes.txt")
    assert run_json("models", "list")["history"][1:] == []
