"""The commands of the fabric workflow, in the owner's layout, with a stand-in for the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from clipfast.cli.messages import MESSAGES
from reference.colour_clip import COLOURS
from reference.drawn_font import draw_font
from reference.fabric_commands import Commands

_commands = Commands()
invoke, run, run_json, failure = _commands.invoke, _commands.run, _commands.run_json, _commands.failure


PHOTO = "data/fabrics/cotton/ref_00.png"


pytestmark = pytest.mark.usefixtures("layout")


def test_the_whole_loop_runs_in_the_owners_layout() -> None:
    """Bank, evaluation set, head, weights, evaluation, answer: each finds what the one before left."""
    run("bank", "build")
    made = run_json("evalset", "make")
    assert made["path"] == "data/eval_set.jsonl"
    assert made["classes"] == {name: {"total": 12, "test": 2} for name in COLOURS}
    assert run_json("evalset", "verify", "data/eval_set.jsonl")["version"] == made["version"]
    head = run_json("head", "train", "--out", "head.npz")
    assert (head["samples"], head["excluded"], head["eval_version"]) == (30, 6, made["version"])
    assert 0 <= head["accuracy_interval"][0] <= head["accuracy"] <= head["accuracy_interval"][1] <= 1
    assert head["classes"] == dict.fromkeys(COLOURS, 10)
    assert run_json("label", "stats")["new"] == 30
    run("head", "train")
    assert run_json("label", "stats")["new"] == 0  # the head in its usual place is known without being named
    fitted = run_json("fuse", "fit", "--exclude", "data/eval_set.jsonl", "--head", "head.npz")
    assert fitted["path"] == "data/fusion.json"
    assert (fitted["fit"]["samples"], fitted["fit"]["excluded"]) == (30, 6)
    unfitted = run("recommend", PHOTO, "--lang", "en")
    assert "data/fusion.json is fitted: pass --alpha fit" in unfitted
    assert "✗ Confidence is calibrated: no; pass --alpha fit" in unfitted
    assert "pass --alpha fit" not in run("recommend", PHOTO, "--lang", "en", "--alpha", "fit")
    found = run_json("evaluate", "--head", "head.npz", "--alpha", "fit", "--topk", "1,2", "--out", "evaluated")
    assert found["photos"] == found["processed"] == 6
    compared = run_json("compare", "evaluated", "evaluated")
    assert (compared["kind"], compared["samples"]) == ("evaluate", 6)
    assert [phase["name"] for phase in found["phases"]] == ["rules", "+CLIP", "+head"]
    assert found["fusion"]["alpha"] == fitted["fit"]["alpha"]
    assert set(found["phases"][0]["top"]) == {"1", "2"}
    assert (found["total"], found["processed"], found["errors"]) == (6, 6, [])
    answer = run_json("recommend", "data/patches/labeled/linen/patch_003.png", "--head", "head.npz", "--alpha", "0")
    assert answer["results"][0]["name"] == "linen"
    assert answer["results"][0]["display_name"] == "亚麻布 Linen"
    assert set(answer["attributes"]) >= {"dominant_color_name", "sheen_score", "texture_complexity", "pattern"}


def test_the_bank_speaks_chinese_too() -> None:
    """Summary, check points, list, search and care of the bank; figures are the same in both languages."""
    built = run("bank", "build", "--lang", "zh")
    assert "[成功] cotton：3 张图像 -> 形状 (3, 3)" in built
    assert "已保存面料向量库 -> data/fabric_bank.npz" in built
    ticks = [line for line in built.splitlines() if line[0] in "✓✗"]
    assert [line.split("：")[0] for line in ticks] == [
        "✓ 文件已生成", "✓ 每个面料至少有 1 个嵌入向量", "✓ 每个面料 3-5 张图像", "✓ 图像分辨率不低于 224x224",
        "✓ 文件大小合理",
    ]  # fmt: skip
    assert "面料总数：3" in run("bank", "list", "--lang", "zh")
    assert "最近的照片 cotton/" in run("bank", "search", PHOTO, "--lang", "zh")
    assert "每张照片都能在其他照片中找到自己的面料" in run("bank", "check", "--lang", "zh")
    listed = [run_json("bank", "list", *words) for words in (["--lang", "zh"], [])]
    checks = [[check["ok"] for check in each.pop("checks")] for each in listed]
    assert checks[0] == checks[1]
    assert listed[0] == listed[1]


def test_head_train_prints_the_summary_of_the_owners_tool() -> None:
    """Class distribution, totals, what was left out, accuracy with its interval, and check points."""
    run("evalset", "make")
    lines = run("head", "train", "--out", "h.npz").splitlines()
    assert "Class Distribution:" in lines
    assert "  cotton: 10 samples" in lines
    assert "Total: 30 samples, 3 classes" in lines
    assert "Left out: 6 samples of the evaluation set data/eval_set.jsonl" in lines
    assert "Saved linear head -> h.npz" in lines
    assert any(line.startswith("   Cross-validated accuracy: ") and "% to " in line for line in lines)
    points = [line for line in lines if line[0] in "✓✗"]
    assert len(points) == 5
    assert points[0] == "✓ File written: h.npz, read back"
    assert points[-1] == "✗ 50 samples or more: 30"


def test_without_an_evaluation_set_nothing_is_left_out_and_it_is_said() -> None:
    """On standard error, so that --json stays one object."""
    result = invoke("head", "train", "--out", "h.npz", "--json")
    assert json.loads(result.stdout)["excluded"] == 0
    assert "No evaluation set was found beside" in result.stderr


def test_evalset_make_prints_the_summary_of_the_owners_tool() -> None:
    """One line a class, totals, two sample lines that are the file's own."""
    lines = run("evalset", "make", "--split", "0.25", "--output", "e.jsonl").splitlines()
    assert lines[0] == "[cotton] Total: 12, Test: 3"
    assert "   Total samples: 9" in lines
    assert "   Classes: 3" in lines
    assert f"  {Path('e.jsonl').read_text(encoding='utf-8').splitlines()[0]}" in lines
    assert sum(line.startswith("✓") for line in lines) == 4


def test_evaluate_prints_the_summary_of_the_owners_tool() -> None:
    """Phases side by side, top-k with intervals, gains with their tests, check points."""
    run("bank", "build")
    run("evalset", "make")
    output = run("evaluate", "data/eval_set.jsonl", "--alpha", "0.2")
    assert "CLIP Retrieval Evaluation (JSONL)" in output
    assert "Total samples: 6" in output
    assert "Errors: 0" in output
    assert "Top@1 Accuracy: " in output
    assert "+CLIP less rules: " in output
    assert "McNemar p = " in output
    assert "✓ No errors: 0" in output


def test_recommend_looks_at_a_part(layout: Path) -> None:
    """A photo of two fabrics: the box and the point decide which one is asked about, in either language."""
    run("bank", "build")
    both = Image.new("RGB", (448, 224))
    for at, fabric in enumerate(("cotton", "silk_satin")):
        both.paste(Image.open(layout / "data" / "fabrics" / fabric / "ref_00.png"), (224 * at, 0))
    both.save("both.png")
    for arguments, name in (
        (["--at", "112,100"], "cotton"),
        (["--at", "400,100", "--size", "60"], "silk_satin"),
        (["--crop", "230,0,448,224"], "silk_satin"),
    ):
        found = run_json("recommend", "both.png", *arguments, "--alpha", "0", "--lang", "en", "--topk", "2")
        assert found["results"][0]["name"] == name
        assert len(found["results"]) == 2
    output = run("recommend", "both.png", "--rules", "none", "--lang", "zh")
    assert "属性：" in output
    assert "面料" in output
    assert run_json("recommend", "both.png", "--rules", "none")["alpha"] is None
    assert "Silk Satin" in run("recommend", "both.png", "--lang", "en", "--at", "400,100", "--alpha", "0")


def test_the_curve_is_drawn_in_chinese_or_says_why_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line where no font has the glyphs, and an English title; none where one has."""
    pytest.importorskip("matplotlib", reason="needs the extra report")
    monkeypatch.delenv("CLIPFAST_FONT", raising=False)
    monkeypatch.setattr("clipfast.report.fonts._of_the_system", lambda: None)
    run("bank", "build")
    without = invoke("fuse", "fit", "--plot", "without.png", "--lang", "zh")
    assert (without.exit_code, "未找到含中文字形的字体" in without.stderr) == (0, True)
    signs = "".join(chinese for _, chinese in MESSAGES.values()) + "面"
    monkeypatch.setenv("CLIPFAST_FONT", str(draw_font(tmp_path / "drawn.ttf", signs)))
    drawn = invoke("fuse", "fit", "--plot", "drawn.png", "--lang", "zh")
    assert (drawn.exit_code, "未找到含中文字形的字体" in drawn.stderr) == (0, False)
    assert Path("without.png").read_bytes() != Path("drawn.png").read_bytes()


def test_recommend_lets_what_it_is_unsure_of_wait_for_a_label() -> None:
    """Below the threshold it waits, with part and answers; evaluation pictures never do."""
    run("bank", "build")
    run("evalset", "make")
    photo, labels = "data/fabrics/cotton/ref_00.png", ["--labels", "data/patches/labeled"]
    assert run_json("recommend", photo)["queued"] is None
    found = run_json("recommend", photo, "--at", "60,70", "--size", "50", *labels, "--ask-below", "1")
    waiting = run_json("label", "next")["items"]
    assert [item["id"] for item in waiting] == [found["queued"]["id"]]
    assert waiting[0]["region"] == {"coords": [60, 70], "size": 50}
    assert waiting[0]["answers"][0][0] == found["results"][0]["name"]
    assert waiting[0]["confidence"] == pytest.approx(found["results"][0]["score"])
    added = run_json("label", "add", "--item", found["queued"]["id"], "--label", "cotton")
    assert added["added"]["sidecar"]["model"] == "colour"
    sure = [
        run_json("recommend", photo, "--at", f"{x},99", *labels, "--ask-below", "0")["queued"] for x in (40, 90, 140)
    ]
    assert {item["picked"] for item in sure if item is not None} <= {"random"}
    line = json.loads(Path("data/eval_set.jsonl").read_text(encoding="utf-8").splitlines()[0])
    held = (Path("data") / line["image"]).as_posix()
    assert run_json("recommend", held, *labels, "--ask-below", "1")["queued"] is None


def test_recommend_lets_a_fabric_wait_that_the_bank_does_not_hold() -> None:
    """None of these, however sure the weights are: it waits, is said in both languages, and becomes a new label."""
    run("bank", "build")
    run("fuse", "fit")
    labels = ["--labels", "data/patches/labeled", "--ask-below", "0", "--alpha", "fit"]
    for number in range(3):
        Image.new("RGB", (224, 224), (200, 200, 40 + number)).save(f"yellow_{number}.png")
    found = [run_json("recommend", f"yellow_{number}.png", *labels) for number in range(3)]
    assert all(answer["none_of_these"] for answer in found)
    picked = [answer["queued"]["picked"] for answer in found]
    assert set(picked) <= {"none_of_these", "random"}
    assert "none_of_these" in picked
    assert "以上皆非" in run("label", "next", "--lang", "zh")
    assert "none of these" in run("label", "next")
    waiting = run_json("label", "next")["items"][0]
    assert run_json("label", "add", "--item", waiting["id"], "--label", "satin")["classes"]["satin"] == 1


def test_a_fabric_that_the_bank_lacks_is_listed_and_more_rules_raise_it() -> None:
    """Problem 4 of the owner's document: check the bank, then raise alpha."""
    shutil.rmtree("data/fabrics/linen")
    run("bank", "build")
    shares = []
    for alpha in ("0", "0.5", "1"):
        found = run_json("recommend", PHOTO, "--alpha", alpha, "--topk", "60")["results"]
        shares.append({result["name"]: result["score"] for result in found}["linen"])
    assert shares[0] == 0
    assert shares[1] == pytest.approx(shares[2] / 2)
    assert shares[2] > 0


def test_every_message_says_the_same_in_both_languages() -> None:
    """The same values are put into both, and Chinese is Chinese."""
    from string import Formatter

    for key, (english, chinese) in MESSAGES.items():
        fields = [sorted(name for _, name, _, _ in Formatter().parse(text) if name) for text in (english, chinese)]
        assert fields[0] == fields[1], key
        if any(sign.isalpha() for sign in chinese.split("{")[0]) and key != "skipped":
            assert any("\u4e00" <= sign <= "\u9fff" for sign in chinese), key


def test_renaming_a_label_says_who_still_uses_the_old_name() -> None:
    """Bank, head and rules do, with the command that mends each; after a rename they do not know nobody is named."""
    run("bank", "build")
    run("head", "train")
    found = run("label", "rename", "linen", "flax")
    assert "The bank still says linen: rename its folder of photos to flax, then clipfast bank build" in found
    assert "The head still says linen: clipfast head train" in found
    assert "The rules 'fine' know linen" in found
    assert run_json("label", "rename", "flax", "hemp_9")["left_behind"] == []
    assert "向量库中仍为 cotton" in run("label", "rename", "cotton", "c_1", "--lang", "zh")


def test_patches_of_one_photo_are_named_as_such() -> None:
    """Two patches a group: the table and JSON say how many photos; unfitted weights are said to be so."""
    run("bank", "build")
    run("evalset", "make")
    path = Path("data/eval_set.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line | {"group": at // 2} for at, line in enumerate(lines)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = run_json("evaluate")
    assert (found["processed"], found["photos"]) == (6, 3)
    assert found["comparisons"][0]["mcnemar"]["method"].endswith("a sign a photo")
    assert "Results: 6 patches of 3 photos" in run("evaluate")
    assert "3 张照片的 6 个图块" in run("evaluate", "--lang", "zh")
    assert "fit it: clipfast fuse fit" in run("recommend", PHOTO, "--lang", "en")


def test_many_conflicts_are_not_all_printed() -> None:
    """Twelve patches once more under another label: ten are named, and how many more; JSON has them all."""
    folder = Path("data/patches/labeled")
    for patch in sorted((folder / "cotton").glob("*.png")):
        shutil.copy(patch, folder / "linen" / f"again_{patch.name}")
    found = run_json("evalset", "make", "--replace")["conflicts"]
    shown = run("evalset", "make", "--replace")
    assert len(found) >= 12
    assert shown.count("[CONFLICT]") == 10
    assert f"and {len(found) - 10} more" in shown
