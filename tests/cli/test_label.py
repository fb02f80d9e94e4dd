"""`clipfast label`, in the owner's layout: what it prints, what it leaves, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from clipfast.cli.commands import app
from clipfast.retrieval.crops import Region, read_sidecar
from clipfast.retrieval.evalset import EvalSet
from clipfast.retrieval.labels import LabelStore, SeenCrop
from reference.fabric_commands import Commands

LABELLED = Path("data/patches/labeled")
_commands = Commands(("label",), columns=200)
invoke, run, run_json, failure = _commands.invoke, _commands.run, _commands.run_json, _commands.failure


@pytest.fixture(autouse=True)
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in the owner's project folder, with one photo."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)).save("photos/shirt.png")
    return tmp_path


def queue(count: int, confidence: float = 0.3) -> list[str]:
    """Let parts of the photo wait."""
    crops = [
        SeenCrop(
            Path("photos/shirt.png"), Region(coords=(40 + 20 * n, 50), size=30), confidence, (("silk", 0.3),), "mini"
        )
        for n in range(count)
    ]
    return [item.id for item in LabelStore(LABELLED).enqueue(crops)]


def test_add_files_a_patch_and_ends_with_check_points() -> None:
    """The owner's folder, a side-car with click and name, class distribution, ticks and crosses."""
    output = run("add", "photos/shirt.png", "--label", "silk_satin", "--at", "150,200", "--size", "64", "--who", "李")
    lines = output.splitlines()
    assert lines[0] == f"Labelled silk_satin -> {LABELLED / 'silk_satin' / 'patch_001.png'}"
    assert "  silk_satin: 1 samples" in lines
    assert "Total: 1 samples, 1 classes" in lines
    assert [line for line in lines if line[0] in "✓✗"] == [
        "✓ Patch and side-car are there: silk_satin/patch_001.png",
        "✓ Journal and folder agree: 0 missing, 0 changed",
        "✗ 5 samples of every class or more: 0 of 1 (not: silk_satin)",
        "✗ 20 samples or more: 1",
    ]
    sidecar = read_sidecar(LABELLED / "silk_satin" / "patch_001.png")
    assert sidecar is not None
    assert (sidecar.source, sidecar.coords, sidecar.who) == ("../../../../photos/shirt.png", (150, 200), "李")
    found = run_json("add", "photos/shirt.png", "--label", "羊毛", "--crop", "0,0,90,80")
    assert found["path"] == "data/patches/labeled/羊毛/patch_001.png"
    assert found["classes"] == {"silk_satin": 1, "羊毛": 1}
    with Image.open(found["path"]) as patch:
        assert patch.size == (90, 80)
    assert [check["ok"] for check in found["checks"]] == [True, True, False, False]


def test_what_waits_is_listed_answered_skipped_and_undone() -> None:
    """`next` shows ids that `add --item` and `--skip` take."""
    assert "Nothing waits for a label." in run("next")
    waiting = set(queue(6))
    assert "5 of 6 that wait for a label:" in run("next")
    found = run_json("next", "--count", "2")
    assert (found["waiting"], len(found["items"])) == (6, 2)
    first, second = (item["id"] for item in found["items"])
    assert {first, second} < waiting
    added = run_json("add", "--item", first, "--label", "wool")["added"]
    assert (added["sidecar"]["answer"], added["sidecar"]["confidence"]) == ("silk", 0.3)
    assert run_json("next", "--skip", second)["waiting"] == 4
    assert "Undone: skip" in run("undo")
    assert run_json("undo")["undone"]["key"] == "wool/patch_001.png"
    assert sum(run_json("stats")["waiting"].values()) == 6
    assert not (LABELLED / "wool").exists()
    assert "nothing of the id 'x' waits" in failure("add", "--item", "x", "--label", "wool")


def test_rename_and_merge_say_what_moved_and_that_the_evaluation_set_followed() -> None:
    """With its new version; undo brings both back."""
    for number in range(12):
        where = f"{50 + 90 * (number % 4)},{50 + 100 * (number // 4)}"
        run("add", "photos/shirt.png", "--label", "ab"[number % 2], "--at", where, "--size", "40")
    for path in LABELLED.glob("*/*.json"):
        path.unlink()  # as if put there by hand: each is a photo of its own
    for path in LABELLED.glob("*/*.png"):
        path.rename(path.with_name(f"x{path.name}"))
    (LABELLED / ".labels" / "journal.jsonl").unlink()
    made = CliRunner().invoke(app, ["evalset", "make", "--json"])
    assert made.exit_code == 0, made.exception
    before = EvalSet.load("data/eval_set.jsonl")
    found = run_json("rename", "a", "silk")
    assert (found["classes"], found["by_hand"], len(found["moves"])) == ({"b": 6, "silk": 6}, 12, 6)
    assert found["eval_version"] == EvalSet.load("data/eval_set.jsonl").version != before.version
    assert "silk -> b: 6 patches" in run("merge", "silk", "b")
    EvalSet.load("data/eval_set.jsonl").verify()
    assert "Undone: label merge silk -> b" in run("undo")
    run("undo")
    assert EvalSet.load("data/eval_set.jsonl").samples == before.samples


def test_an_evaluation_set_is_not_replaced_unasked() -> None:
    """It is frozen by its version; the same once more changes nothing."""
    for number in range(12):
        (LABELLED / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        region = Region(coords=(50 + 90 * (number % 4), 50 + 100 * (number // 4)), size=40)
        region.cut("photos/shirt.png").save(LABELLED / "ab"[number % 2] / f"{number}.png")

    def make(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["evalset", "make", *arguments])

    assert make().exit_code == 0
    whole = Path("data/eval_set.jsonl").read_bytes()
    assert make().exit_code == 0
    refused = make("--seed", "7", "--lang", "zh")
    assert str(refused.exception).startswith("评估集已存在并已冻结：")
    assert "results on version" in str(refused.exception)
    assert Path("data/eval_set.jsonl").read_bytes() == whole
    assert make("--seed", "7", "--output", "other.jsonl").exit_code == 0
    assert make("--seed", "7", "--replace").exit_code == 0
    assert Path("data/eval_set.jsonl").read_bytes() != whole


def test_stats_suggest_training_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 20 new samples, in both languages."""
    store = LabelStore(LABELLED)
    for number in range(20):
        store.add("photos/shirt.png", "silk", region=Region(coords=(50 + 10 * number, 60), size=20))
    assert "20 new samples: train again: clipfast head train" in run("stats")
    output = run("stats", "--lang", "zh")
    assert "新增 20 个样本：建议重新训练" in output
    assert "✓ 样本数达到 20 个：20" in output.replace(": ", "：")
    found = run_json("stats")
    assert (found["retrain"], found["new"], found["next_total"], found["lacking"]) == (True, 20, 50, {})
    (LABELLED / "silk" / "patch_001.png").unlink()
    assert "✗ Journal and folder agree: 1 missing, 0 changed" in run("stats")


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "photos/shirt.png"],
        ["add", "--label", "silk"],
        ["add", "photos/shirt.png", "--item", "x", "--label", "silk"],
        ["add", "--item", "x", "--at", "1,2", "--label", "silk"],
        ["add", "photos/shirt.png", "--label", "silk", "--at", "1"],
        ["add", "photos/shirt.png", "--label", "silk", "--at", "1,2", "--crop", "1,2,3,4"],
        ["add", "photos/shirt.png", "--label", "silk", "--crop", "a,b,c,d"],
        ["next", "--count", "0"],
        ["rename", "silk"],
        ["stats", "--lang", "de"],
        [],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    """Before anything is written."""
    assert invoke(*arguments).exit_code == 2
    assert not LABELLED.exists()


@pytest.mark.parametrize(
    ("arguments", "english", "chinese"),
    [
        (
            ["add", "photos/shirt.png", "--label", "a/b"],
            "must not hold a path separator (/); got 'a/b'",
            "标签名称无效",
        ),
        (["add", "photos/shirt.png", "--label", "SILK"], "only in case", "标签 SILK 与已有标签 silk 仅大小写"),
        (["add", "photos/shirt.png", "--label", "wool", "--at", "50,50"], "under two labels", "该图块已标注过"),
        (
            ["add", "photos/shirt.png", "--label", "wool", "--at", "400,0"],
            "must be inside the photo",
            "坐标 (400, 0) 超出照片范围",
        ),
        (
            ["add", "photos/shirt.png", "--label", "wool", "--crop", "9,9,9,20"],
            "a crop must be",
            "裁剪框 9,9,9,20 超出",
        ),
        (["add", "nowhere.png", "--label", "silk"], "No photo at nowhere.png", "找不到照片"),
        (["rename", "wool", "silk"], "there is no label 'wool'; there are: silk", "没有标签 wool。现有标签：silk"),
        (["rename", "silk", "silk"], "is there already", "标签 silk 已存在"),
        (["merge", "silk", "silk"], "must be merged into another", "标签必须合并到另一个标签"),
        (["next", "--skip", "x"], "nothing of the id 'x' waits", "没有编号为 x 的待标注项"),
    ],
)
def test_bad_input_is_refused_in_both_languages(arguments: list[str], english: str, chinese: str) -> None:
    """The hint in Chinese stands before the sentence; nothing is changed."""
    run("add", "photos/shirt.png", "--label", "silk", "--at", "50,50")
    journal = (LABELLED / ".labels" / "journal.jsonl").read_bytes()
    assert english in failure(*arguments)
    said = failure(*arguments, "--lang", "zh")
    assert said.startswith(chinese)
    assert english in said
    assert (LABELLED / ".labels" / "journal.jsonl").read_bytes() == journal


def test_a_changed_journal_stops_everything_and_nothing_is_lost() -> None:
    """The patches stay; the message says what to do."""
    run("add", "photos/shirt.png", "--label", "silk")
    path = LABELLED / ".labels" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"silk", b"wool"))
    for command in (["stats"], ["next"], ["undo"], ["add", "photos/shirt.png", "--label", "x"]):
        assert "was changed after it was written" in failure(*command)
    assert (LABELLED / "silk" / "patch_001.png").is_file()
    path.write_bytes(path.read_bytes()[:-9])
    result = invoke("stats", "--json")
    assert "of a line that was never finished are passed over" in result.stderr
    assert json.loads(result.stdout)["by_hand"] == 1
