"""Errors in Chinese: by code and class, never by words of the English sentence; wrong usage, too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import clipfast
from clipfast import errors
from clipfast.cli.error_messages import BY_CLASS, BY_CODE, wants_chinese
from clipfast.cli.messages import Speaker, in_language
from clipfast.errors import ClipfastError, DataError, ImageError, MissingExtraError
from reference.fabric_commands import Commands, draw_layout, stand_in

_commands = Commands()
invoke, run, failure = _commands.invoke, _commands.run, _commands.failure


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder in the owner's layout."""
    draw_layout(tmp_path / "data")
    stand_in(monkeypatch, tmp_path)
    return tmp_path


def codes_used() -> set[str]:
    """Return every code that an error is raised with, or that is named as one."""
    found = set()
    for path in Path(clipfast.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error"):
                values = [key.value for key in node.keywords if key.arg == "code"]
                found |= {str(value.value) for value in values if isinstance(value, ast.Constant)}
    return found | {"bad_alpha", "bad_share", "eval_in_bank", "eval_trained_on", "eval_fitted_on"}  # held in names


def test_every_code_and_class_has_its_chinese() -> None:
    """None is missing, none is left over."""
    assert codes_used() - {"no_access"} == set(BY_CODE)
    classes = {getattr(errors, name) for name in errors.__all__} - {ClipfastError}
    assert classes == set(BY_CLASS)
    for said in (*BY_CODE.values(), *BY_CLASS.values()):
        assert any("\u4e00" <= sign <= "\u9fff" for sign in said)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DataError("Too few samples to train: x", code="too_few_samples"), "训练样本太少"),
        (DataError("the words say nothing: Too few samples to train", code="no_photo"), "找不到照片"),
        (DataError("unheard of"), "数据不符合要求。unheard of"),
        (ImageError("x.jpg cannot be read"), "图像无法读取。x.jpg"),
        (MissingExtraError.of("sklearn", extra="train"), "缺少可选依赖。sklearn is not installed"),
        (PermissionError(13, "Permission denied", "a/b"), "无法读写文件，请检查路径和权限。a/b：Permission denied"),
    ],
)
def test_code_and_class_decide_and_the_kind_stays(error: Exception, said: str) -> None:
    """Exit codes and `except` clauses do not depend on the language; English is as it was."""
    kind = type(error) if isinstance(error, ClipfastError) else DataError
    with pytest.raises(kind) as caught, in_language(Speaker("zh")):
        raise error
    assert str(caught.value).startswith(said)
    assert getattr(caught.value, "code", None) == getattr(error, "code", "no_access")
    with pytest.raises(type(error)) as same, in_language(Speaker("en")):
        raise error
    assert same.value is error


def test_a_damaged_bank_is_not_called_a_journal(layout: Path) -> None:
    """What was changed is said; other files are said not to be what they are taken for."""
    run("bank", "build")
    bank = layout / "data/fabric_bank.npz"
    data = bytearray(bank.read_bytes())
    data[len(data) // 2] ^= 1
    bank.write_bytes(data)
    assert failure("bank", "list", "--lang", "zh").startswith("文件写入后被修改")
    bank.write_bytes(b"PK")
    assert failure("bank", "list", "--lang", "zh").startswith("文件不是 clipfast 写的")
    photo = "data/fabrics/linen/ref_00.png"
    run("bank", "build")
    assert failure("recommend", photo, "--rules", "none.toml").startswith("找不到规则文件")  # zh where nothing is said
    assert failure("recommend", photo, "--head", photo).startswith("文件不是 clipfast 写的")
    (layout / "no.png").write_bytes(b"no picture")
    assert failure("recommend", "no.png").startswith("图像无法读取")
    assert failure("recommend", "nowhere.png").startswith("图像无法读取")
    assert failure("evalset", "make", "--split", "1.5", "--lang", "zh").startswith("评估集比例必须大于 0 且小于 1")
    (layout / "data/eval_set.jsonl").write_text("{}\n", encoding="utf-8")
    assert failure("evaluate", "--lang", "zh").startswith("评估集中有一行格式不正确")
    (layout / "data/eval_set.jsonl").write_text("\n", encoding="utf-8")
    assert failure("evaluate", "--lang", "zh").startswith("评估集是空的")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recommend", "x.png", "--alpha", "1.5"], "--alpha 的值无效：必须是 0 到 1 之间的数，或 fit"),
        (["recommend", "x.png", "--lang", "zh", "--topk", "0"], "--topk 的值无效：必须不小于 1"),
        (["recommend", "x.png", "--ask-below", "2", "--labels", "x"], "--ask-below 的值无效：必须在"),
        (["recommend"], "缺少参数 image"),
        (["label", "add", "x.png", "--lang", "zh"], "缺少参数 --label"),
        (["label", "add", "--label", "x", "--lang=zh"], "命令用法有误"),
        (["bank", "build", "--lang", "zh", "--nothing"], "没有这个选项 --nothing"),
    ],
)
def test_wrong_usage_is_explained_in_chinese(arguments: list[str], said: str) -> None:
    """With the parser's own sentence behind it, and exit code 2; in English without a word of Chinese."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    plain = " ".join(result.output.replace("│", " ").split())
    assert said in plain, plain
    english = [word for word in arguments if word not in ("--lang", "zh", "--lang=zh")]
    result = invoke(*english, "--lang", "en")
    assert result.exit_code == 2
    assert "无效" not in result.output
    assert "用法" not in result.output


def test_the_language_is_read_from_words_that_could_not_be_understood() -> None:
    """The last word decides nothing; what --lang says does, else the command's own default."""
    assert wants_chinese(["bank", "build", "--lang", "zh"])
    assert wants_chinese(["bank", "build", "--lang=zh"])
    assert wants_chinese(["recommend", "zh"])
    assert not wants_chinese(["recommend", "--lang", "en"])
    assert not wants_chinese(["bank", "zh"])
    assert not wants_chinese(["bank", "--lang"])
