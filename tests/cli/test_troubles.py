"""Everything that may go wrong in the fabric workflow: it is named, in the words of the owner's document."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from clipfast.retrieval.evalset import EvalSet
from clipfast.types import Floats, Images
from reference.colour_clip import COLOURS, ColourClip, draw
from reference.fabric_commands import Commands

_commands = Commands()
invoke, run, run_json, failure = _commands.invoke, _commands.run, _commands.run_json, _commands.failure


pytestmark = pytest.mark.usefixtures("layout")


def test_rules_that_know_none_of_the_fabrics_are_left_out(layout: Path) -> None:
    """They could only be wrong, and it is said."""
    for folder in ("fabrics", "patches/labeled"):
        for name in COLOURS:
            (layout / "data" / folder / name).rename(layout / "data" / folder / f"sku {name}")
    run("bank", "build")
    run("evalset", "make")
    result = invoke("evaluate", "--json")
    assert [phase["name"] for phase in json.loads(result.stdout)["phases"]] == ["+CLIP"]
    assert "has a rule in fine" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["recommend", "x.png", "--ask-below", "0.5"],
        ["recommend", "x.png", "--labels", "data", "--ask-below", "1.5"],
        ["recommend", "x.png", "--alpha", "1.5"],
        ["recommend", "x.png", "--alpha", "much"],
        ["recommend", "x.png", "--at", "1"],
        ["recommend", "x.png", "--crop", "1,2,3,x"],
        ["recommend", "x.png", "--at", "1,2", "--crop", "1,2,3,4"],
        ["recommend", "x.png", "--lang", "de"],
        ["evaluate", "--topk", "0"],
        ["evaluate", "--topk", "one"],
        ["head"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    """Before anything is loaded."""
    assert invoke(*arguments).exit_code == 2


def test_errors_come_in_the_words_of_the_owners_document(layout: Path) -> None:
    """English by default; with --lang zh a hint in Chinese stands before the sentence."""
    for name in COLOURS:
        for file in sorted((layout / "data/patches/labeled" / name).iterdir())[4:]:
            file.unlink()
    said = failure("head", "train")
    assert said.startswith("Too few samples to train: there are 12 (cotton 4, linen 4, silk_satin 4)")
    assert failure("head", "train", "--lang", "zh").startswith("训练样本太少：至少需要 20 个")
    assert failure("recommend", "data/fabrics/cotton/ref_00.png").startswith("找不到面料向量库")
    assert failure("evaluate").startswith("No evaluation set at data/eval_set.jsonl")
    assert failure("evaluate", "--lang", "zh").startswith("找不到评估集")
    assert "No fitted weights" in _after_bank(
        "recommend", "data/fabrics/cotton/ref_00.png", "--alpha", "fit", "--lang", "en"
    )
    assert failure("evalset", "make", "nowhere", "--lang", "zh").startswith("目录不存在")
    Path("bad.toml").write_text('[[fabric]]\nid = "a"\nen = "A"\nzh = "甲"\nattributes.shine = { low = 0.5 }\n')
    said = failure("recommend", "data/fabrics/cotton/ref_00.png", "--rules", "bad.toml")
    assert said.startswith("规则文件中有未知属性：bad.toml 第 5 行，面料 a 的 shine。可用的属性：sheen_score")


def _empty_fabrics() -> None:
    shutil.rmtree("data/fabrics")
    Path("data/fabrics").mkdir()


def _flat_fabrics() -> None:
    for file in sorted(Path("data/fabrics").rglob("*.png")):
        file.rename(f"data/fabrics/{file.parent.name}_{file.name}")
    for folder in COLOURS:
        Path("data/fabrics", folder).rmdir()


def _few_labels() -> None:
    for name in COLOURS:
        for file in sorted(Path("data/patches/labeled", name).iterdir())[6:]:
            file.unlink()


def _odd_rules() -> None:
    run("bank", "build")
    text = '[[fabric]]\nid = "a"\nen = "A"\nzh = "甲"\nattributes.shine = { low = 0.5 }\n'
    Path("odd.toml").write_text(text, encoding="utf-8")


def _eval_image(change: str) -> None:
    run("bank", "build")
    run("evalset", "make")
    line = json.loads(Path("data/eval_set.jsonl").read_text(encoding="utf-8").splitlines()[0])
    image = Path("data") / line["image"]
    if change == "moved":
        image.rename(image.with_name("elsewhere.png"))
    else:
        draw(image, "cotton", 777)


PHOTO = "data/fabrics/cotton/ref_00.png"


NO_PHOTO = "中没有可读取的照片（跳过 0 个）。请检查目录结构，应为 data/fabrics/<fabric_id>/<photo>.jpg"
TOO_FEW = (
    "训练样本太少：至少需要 20 个（建议 50 个以上），现有 18 个（cotton 6, linen 6, silk_satin 6）。"
    "请先标注样本最少的类别；此前可先使用纯检索模式"
)
TROUBLES: list[tuple[Callable[[], object], list[str], str, str]] = [
    # the owner's problem 1: the folder is empty, or its structure is wrong
    (_empty_fabrics, ["bank", "build"], "No embeddings collected", f"没有收集到任何嵌入：data/fabrics {NO_PHOTO}"),
    (_flat_fabrics, ["bank", "build"], "No embeddings collected", f"没有收集到任何嵌入：data/fabrics {NO_PHOTO}"),
    # problem 2: fewer than 20 labelled samples
    (_few_labels, ["head", "train"], "Too few samples to train: there are 18", TOO_FEW),
    # bad input of the issue
    (_odd_rules, ["recommend", PHOTO, "--rules", "odd.toml"], "unknown attribute 'shine'", "规则文件中有未知属性"),
    (lambda: None, ["label", "add", PHOTO, "--label", "a/b"], "must not hold a path separator", "标签名称无效"),
    (lambda: None, ["label", "add", PHOTO, "--label", "..\\b"], "must not hold a path separator", "标签名称无效"),
    (lambda: _eval_image("moved"), ["evaluate"], "was moved or removed", "评估集中的图像已被移动或删除"),
    (lambda: _eval_image("changed"), ["evaluate"], "its checksum differs", "评估集中的图像已被修改"),
    (lambda: _eval_image("moved"), ["head", "train"], "was moved or removed", "评估集中的图像已被移动或删除"),
    (lambda: _eval_image("changed"), ["head", "train"], "its checksum differs", "评估集中的图像已被修改"),
]


@pytest.mark.parametrize(("prepare", "arguments", "english", "chinese"), TROUBLES)
def test_every_trouble_of_the_owners_document_has_its_words(
    prepare: Callable[[], object], arguments: list[str], english: str, chinese: str
) -> None:
    """One sentence, exit by our own error, with --lang zh a hint in Chinese before it."""
    prepare()
    assert english in failure(*arguments, "--lang", "en")
    said = failure(*arguments, "--lang", "zh")
    assert said.startswith(chinese)
    assert english in said


def test_fusion_that_answers_worse_is_said_with_what_can_be_done() -> None:
    """Problem 4 of the owner's document, in its words: is the fabric in the bank, another alpha, more references."""
    Path("sure.toml").write_text("".join(map(_sure_rule, COLOURS)), encoding="utf-8")
    shutil.rmtree("data/fabrics/linen")
    run("bank", "build")
    run("evalset", "make")
    answered = run("evaluate", "--rules", "sure.toml", "--alpha", "0.01", "--lang", "zh")
    assert "融合后准确率反而下降：+CLIP 66.7%，rules 100.0%。1. 检查参考库是否包含这些面料：缺少 linen。" in answered
    for remedy in ("调整 alpha 权重（现为 0.01；增大则更依赖规则）", "增加更多高质量参考图", "clipfast fuse fit"):
        assert remedy in answered
    assert "It lacks linen." in run("evaluate", "--rules", "sure.toml", "--alpha", "0.01")
    assert "融合后准确率" not in run("evaluate", "--rules", "sure.toml", "--alpha", "0.9", "--lang", "zh")


def test_slow_retrieval_is_said_with_what_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Problem 3: above 100 ms a picture the remedy is named; below it nothing is."""
    run("bank", "build")
    run("evalset", "make")
    assert "检索速度慢" not in run("evaluate", "--lang", "zh")
    fast = ColourClip.encode_images

    def slow(self: ColourClip, images: Images) -> Floats:
        time.sleep(0.12)
        return fast(self, images)

    monkeypatch.setattr(ColourClip, "encode_images", slow)
    answered = run("evaluate", "--lang", "zh")
    assert "检索速度慢：+CLIP 每张图像" in answered
    assert "模型在每个进程中只加载一次" in answered
    assert "Retrieval is slow" in run("evaluate")


def _sure_rule(fabric: str) -> str:
    """A rule that knows its fabric by the colour it is drawn in."""
    colours = {"cotton": "red", "linen": "green", "silk_satin": "blue"}
    condition = f'any = ["{colours[fabric]}"], otherwise = 0.0'
    return (
        f'[[fabric]]\nid = "{fabric}"\nen = "{fabric}"\nzh = "{fabric}"\n'
        f"attributes.dominant_color_name = {{ {condition} }}\n"
    )


def test_a_planted_evaluation_image_stops_training() -> None:
    """Saved again under another name, it is named, and no head is written."""
    run("evalset", "make")
    line = json.loads(Path("data/eval_set.jsonl").read_text(encoding="utf-8").splitlines()[0])
    Image.open(Path("data") / line["image"]).save("data/patches/labeled/linen/new.jpg", quality=85)
    said = failure("head", "train", "--out", "h.npz")
    assert "linen/new.jpg is nearly the same picture as" in said
    assert not Path("h.npz").exists()


def test_a_changed_evaluation_image_is_named() -> None:
    """By training, fitting and evaluating alike."""
    run("bank", "build")
    run("evalset", "make")
    line = json.loads(Path("data/eval_set.jsonl").read_text(encoding="utf-8").splitlines()[0])
    draw(Path("data") / line["image"], "cotton", 12345)
    for command in (["head", "train"], ["fuse", "fit"], ["evaluate"], ["evalset", "verify", "data/eval_set.jsonl"]):
        assert "its checksum differs. It was changed" in failure(*command)
    (Path("data") / line["image"]).unlink()
    for command in (["head", "train"], ["fuse", "fit"], ["evaluate"]):
        assert "was moved or removed" in failure(*command)


def test_the_onnx_file_must_be_named_so() -> None:
    """Anything else is refused before it is written."""
    assert "must name a .onnx file" in failure("head", "train", "--export-onnx", "head.bin")


def test_a_copy_of_an_evaluation_picture_does_not_get_into_the_bank(layout: Path) -> None:
    """Saved again under another name among the references: `bank build` and `bank add` refuse it and name both."""
    run("bank", "build")
    run("evalset", "make")
    run("bank", "build")
    held = EvalSet.load("data/eval_set.jsonl")
    copy = layout / "data/fabrics/linen/innocent.jpg"
    picture = Image.open(held.file(held.samples[0])).convert("RGB")
    picture.crop((4, 4, picture.width - 4, picture.height - 4)).save(copy, quality=85)
    for command in (["build"], ["add", "data/fabrics"], ["add", str(copy), "--fabric", "linen"]):
        words = failure("bank", *command)
        assert "innocent.jpg is nearly the same picture as" in words
        assert held.samples[0].image in words
    said = run("bank", "build", "--not-a-copy", str(copy))
    assert "linen/innocent.jpg is no copy of" in said
    assert "linen/innocent.jpg is no copy of" in run("bank", "list")
    assert "linen/innocent.jpg is no copy of" in run("evaluate", "--rules", "none")
    Image.open(held.file(held.samples[0])).save(copy.with_suffix(".bmp"))
    both = ["--not-a-copy", str(copy), "--not-a-copy", str(copy.with_suffix(".bmp"))]
    assert "shows the very pixels of" in failure("bank", "build", *both)
    copy.with_suffix(".bmp").unlink()
    copy.unlink()
    run("bank", "build")


def _after_bank(*arguments: str) -> str:
    run("bank", "build")
    return failure(*arguments)
