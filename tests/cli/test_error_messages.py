"""Errors in Chinese: by code and class, never by words of the English sentence; wrong usage, too."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from string import Formatter

import pytest

from clipfast import errors
from clipfast.cli.error_messages import NO_ERRORS, chinese_sentences, wants_chinese
from clipfast.cli.messages import Speaker, in_language
from clipfast.errors import ClipfastError, DataError, ImageError, MissingExtraError
from clipfast.retrieval.check import _confused, _copy, _evaluated, _few, _of_photos, _unreadable
from clipfast.retrieval.confusion import Confusion
from clipfast.retrieval.copies import Copy
from clipfast.retrieval.encode import Skipped
from clipfast.retrieval.photos import PhotoFacts, PhotoLimits
from reference.fabric_commands import Commands
from reference.raised_errors import PACKAGE, Raised, raised

_commands = Commands()
invoke, run, failure = _commands.invoke, _commands.run, _commands.failure


WORKFLOW = ("retrieval/", "runtime/", "storage.py", "learning.py", "artifact.py", "datasets/folders.py")
ANSWERING = ("evaluate", "fuse", "models", "models_look", "recommend", "region_options", "voice_options")
MAKING = ("bank", "bank_care", "bank_summary", "copy_options", "evalset", "head", "label", "label_options")
COMMANDS = (*ANSWERING, *MAKING, "clip_options", "console", "messages", "option_groups", "workflow_options")
FILES = (*WORKFLOW, "export/head_graph.py", "report/fonts.py", *(f"cli/{name}.py" for name in COMMANDS))

WRAPPED = "not_bank and not_head are raised of these, and say them as the reason"
PYTHON = "only callers in Python pass such a thing: the command line makes it itself, or checks the option before"
EXEMPT: dict[str, tuple[str, int]] = {  # where errors have no code: why the workflow's user meets none, and how many
    "retrieval/bankfile.py": (WRAPPED, 3),
    "retrieval/bankfolder.py": (WRAPPED, 9),
    "retrieval/bankmarks.py": (WRAPPED, 2),
    "retrieval/headfile.py": (WRAPPED, 2),
    "retrieval/references.py": (WRAPPED, 3),
    "retrieval/attributes.py": (PYTHON, 5),
    "retrieval/evaluation.py": (PYTHON, 2),
    "retrieval/fused.py": (PYTHON, 1),
    "retrieval/fusion.py": (PYTHON, 2),
    "retrieval/labelitems.py": (PYTHON, 1),
    "retrieval/labels.py": (PYTHON, 2),
    "retrieval/queries.py": (PYTHON, 1),
    "retrieval/rules/ruleset.py": (PYTHON, 1),
    "retrieval/voices.py": (PYTHON, 1),
    "learning.py": (PYTHON, 2),
    "runtime/clip.py": (PYTHON, 1),
    "runtime/images.py": (PYTHON, 1),
    "runtime/request.py": (PYTHON, 1),
    "runtime/session.py": (PYTHON, 3),
    "runtime/tokenizer.py": (PYTHON, 1),
    "runtime/provider_options.py": (PYTHON, 7),
    "runtime/parity.py": ("of `clipfast verify`, which is not of the workflow", 3),
}
# GPUs, TensorRT and OpenVINO: the class has its Chinese, and what follows are the words of a driver.
BY_DRIVER = ("device.py", "device_session.py", "engine_cache.py", "engines.py", "gpu.py", "openvino.py")
BY_VARIABLE = {  # where a variable holds the code: which
    ("retrieval/fusion.py", "require_share"): {"bad_alpha", "bad_share"},
    ("retrieval/leaks.py", "require_unseen"): {"eval_in_bank", "eval_trained_on", "eval_fitted_on"},
    ("retrieval/knownlooks.py", "require_none"): {"eval_in_bank", "eval_trained_on", "eval_fitted_on"},
    ("retrieval/bankphotos.py", "compare_photos"): {"eval_in_bank"},
    ("retrieval/labelnames.py", "_wrong"): {
        *("label_separator", "label_invisible", "label_forbidden", "label_dot", "label_ends", "label_reserved")
    },
}


def codes_of(error: Raised) -> set[str]:
    """Return the codes that one place gives."""
    return set(error.codes) if error.codes is not None else BY_VARIABLE[error.file, error.function]


def by_code() -> dict[str, str]:
    """Return the Chinese sentence of every code."""
    groups = [group for name, group in chinese_sentences().items() if name not in NO_ERRORS]
    assert len({code for group in groups for code in group}) == sum(map(len, groups))
    return {code: sentence for group in groups for code, sentence in group.items()}


def fields(sentence: str) -> set[str]:
    """Return the names of the values that a sentence puts in."""
    return {name.split(".")[0] for _, name, _, _ in Formatter().parse(sentence) if name}


ERRORS = [e for e in raised() if e.file.startswith(FILES) and e.file.removeprefix("runtime/") not in BY_DRIVER]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: f"{e.file}:{e.line}")
def test_every_error_of_the_workflow_has_its_chinese(error: Raised) -> None:
    """A code that the table knows, and every value that its sentence puts in; where there is none, a reason why."""
    if error.codes == ():
        assert error.kind == "ShapeError" or error.file in EXEMPT, f"no code; {PYTHON}?"
    for code in codes_of(error):
        assert fields(by_code()[code]) <= error.values


def test_no_exemption_covers_more_than_it_did() -> None:
    """A new error in a file of the list is noticed, and a file without any leaves the list."""
    bare = Counter(error.file for error in ERRORS if error.codes == () and error.kind != "ShapeError")
    assert bare == {file: count for file, (_, count) in EXEMPT.items()}


def test_the_table_holds_what_is_raised_and_it_is_chinese() -> None:
    """No code is left over, every class has a sentence, and every sentence is one."""
    used = {code for error in raised() for code in codes_of(error)} | {"missing_extra"}
    assert set(by_code()) - used == set()
    assert set(chinese_sentences()["classes"]) == set(errors.__all__) - {"ClipfastError"}
    for group in chinese_sentences().values():
        for sentence in group.values():
            assert any("\u4e00" <= sign <= "\u9fff" for sign in sentence), sentence


def test_wrong_usage_of_the_workflow_always_has_its_chinese() -> None:
    """Options are refused by `wrong_usage` alone, with a code that the table knows and the values of its sentence."""
    usage = chinese_sentences()["usage"]
    seen = set()
    for name in COMMANDS:
        for node in ast.walk(ast.parse((PACKAGE / f"cli/{name}.py").read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called not in ("typer.BadParameter", "BadParameter", "UsageError"), f"{name}, line {node.lineno}"
            if called == "wrong_usage":
                code = node.args[1].value  # type: ignore[attr-defined]  # a constant
                seen.add(code)
                assert fields(usage[code]) <= {key.arg for key in node.keywords}, (name, code)
    assert seen == set(usage)


LIGHT = [(0.0, 20.0, 0.0), (240.0, 250.0, 0.0), (90.0, 180.0, 0.9)]  # 5 % below, 5 % above, clipped


def test_every_problem_of_a_bank_is_told_in_chinese() -> None:
    """Each kind, and each way in which light is bad, with the figures of the English phrase."""
    made = [
        *_few({"cotton": 1}, 3),
        *_of_photos([PhotoFacts("a/b.jpg", (9, 9), 0.001, 99.0, *light, None) for light in LIGHT], PhotoLimits()),
        _unreadable(Skipped("a/b.jpg", "no picture")),
        _confused(Confusion("a", "b", ("a/1",), 4)),
        *(_copy(kind, Copy("a/1", "a/2", 3)) for kind in ("equal", "similar")),
        _evaluated("a/1", "c.jpg"),
    ]
    sentences = chinese_sentences()["problems"]
    said = {}
    for problem in made:
        how = problem.values.get("how")
        code = problem.kind if how is None else f"{problem.kind}_{how}"
        said[code] = sentences[code].format(**problem.values)
    assert set(said) == set(sentences)
    assert said["light_dark"] == "光照不良：过暗，95 % 的像素低于 20（共 255 级）"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            DataError("x", code="too_few_samples", count=12, counts="cotton 12", least=20, good=50),
            "训练样本太少：至少需要 20 个（建议 50 个以上），现有 12 个（cotton 12）",
        ),
        (DataError("Too few samples to train", code="no_photo", path="a.jpg"), "找不到照片 a.jpg"),
        (DataError("unheard of"), "数据不符合要求。\nunheard of"),
        (ImageError("x.jpg cannot be read"), "图像无法读取。\nx.jpg"),
        (MissingExtraError.of("sklearn", extra="train"), "缺少可选依赖 sklearn。请运行：pip install 'clipfast[train]'"),
        (PermissionError(13, "Permission denied", "a/b"), "无法读写 a/b：Permission denied"),
        (OSError(28, "No space left on device", "a/b"), "无法写入 a/b：磁盘空间不足"),
    ],
)
def test_code_and_class_decide_and_the_kind_stays(error: Exception, said: str) -> None:
    """Exit codes and `except` clauses do not depend on the language; English is as it was, and follows the Chinese."""
    kind = type(error) if isinstance(error, ClipfastError) else DataError
    with pytest.raises(kind) as caught, in_language(Speaker("zh")):
        raise error
    assert str(caught.value).startswith(said)
    assert str(error).split(":")[0].split("]")[0] in str(caught.value) or isinstance(error, OSError)
    if isinstance(error, ClipfastError):
        assert (caught.value.code, caught.value.values) == (error.code, error.values)
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
        (["recommend", "x.png", "--lang", "zh", "--topk", "0"], "--topk 的值无效：必须是不小于 1 的数"),
        (
            ["recommend", "x.png", "--ask-below", "2", "--labels", "x"],
            "--ask-below 的值无效：必须是 0 到 1 之间的数",
        ),
        (["recommend"], "缺少参数 image"),
        (["label", "add", "x.png", "--lang", "zh"], "缺少参数 --label"),
        (["label", "add", "--label", "x", "--lang=zh"], "请给出一张照片，或用 --item 给出待标注项"),
        (["recommend", "x.png", "--at", "1"], "--at 的值无效：必须是逗号分隔的整数"),
        (["recommend", "x.png", "--topk", "a"], "--topk 的值无效：必须是不小于 1 的整数"),
        (["recommend", "x.png", "y.png"], "多余的参数 y.png"),
        (["recommend", "x.png", "--topk"], "选项缺少值 --topk"),
        (["models", "rollback", "all", "--lang", "zh"], "KIND 的值无效：必须是 head, bank, alpha 之一；实际为 all"),
        (["label", "ad", "--lang", "zh"], "没有这个命令 ad，您是否想用 add"),
        (["reccomend", "x.png", "--lang", "zh"], "没有这个命令 reccomend"),
        (["bank", "add", "x.png", "--lang", "zh"], "请说明这些照片是哪种面料：--fabric 面料名"),
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
