"""Every command of the fabric workflow ends with its check points: as ✓ and ✗ lines, and as `checks` in --json."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from clipfast.cli.commands import COMMANDS
from reference.colour_clip import draw
from reference.fabric_commands import Commands, draw_layout, stand_in

_commands = Commands()

HEAD, PHOTO = "data/clip_head.npz", "photos/a.png"
LABELLED = ["Journal and folder agree", "5 samples of every class or more", "20 samples or more"]
IN_USE = ["A bank is in use", "Every version in use is there and unchanged"]
BANK = ["File written", "Every fabric has a vector", "3-5 photos of every fabric", "Sensible file size"]
LOOK = ["The gain is proven", "The evaluation set is not spent"]

# In the order in which a week runs them: (command, its words, its check points, whether it shows a class distribution).
WEEK: list[tuple[str, list[str], list[str], bool]] = [
    ("bank build", [], [*BANK[:3], "Photos of 224 x 224 pixels or more", BANK[3]], False),
    ("bank add", [PHOTO, "--fabric", "cotton"], BANK, False),
    ("bank remove", ["cotton/a.png"], BANK, False),
    ("bank rebuild", [], [*BANK[:3], "Photos of 224 x 224 pixels or more", BANK[3]], False),
    ("bank import", ["old.npz", "--model", "colour", "--out", "old_bank.npz"], BANK, False),
    ("bank list", [], ["The file is whole and unchanged", *BANK[2:]], False),
    ("bank check", ["data/fabric_bank.npz"], ["Enough photos of every fabric", "No photo is there twice"], False),
    ("bank search", [PHOTO], ["Confidence of 50 % or more", "The bank seems to hold this fabric"], False),
    (
        "evalset make",
        [],
        ["File written", "Every class has a test sample", "One JSON object a line", "No picture has two labels"],
        False,
    ),
    (
        "evalset verify",
        ["data/eval_set.jsonl"],
        ["Every picture is there and unchanged", "One JSON object a line"],
        True,
    ),
    (
        "head train",
        [],
        [
            "File written",
            "Cross-validated accuracy above 80 %",
            "Classes are balanced",
            LABELLED[1],
            "50 samples or more",
        ],
        True,
    ),
    (
        "fuse fit",
        ["--head", HEAD],
        [
            *("File written", "The evaluation set was left out", "50 patches or more"),
            "The best alpha is not at an end of its range",
        ],
        True,
    ),
    (
        "evaluate",
        ["--head", HEAD, "--alpha", "fit"],
        [
            "Top@1 above 75 %",
            "Top@3 above 90 %",
            "No errors",
            "+CLIP is better than rules",
            "+head is better than +CLIP",
        ],
        False,
    ),
    (
        "recommend",
        [PHOTO, "--labels", "data/patches/labeled", "--ask-below", "1", "--lang", "en"],
        [
            *("Confidence is calibrated", "Confidence of 50 % or more", "The bank seems to hold this fabric"),
            "The first fabric has photos in the bank",
        ],
        False,
    ),
    ("label next", [], LABELLED[2:], False),
    ("label add", [PHOTO, "--label", "linen"], ["Patch and side-car are there", *LABELLED], True),
    ("label stats", [], [*LABELLED, "Fewer than 20 new samples since training"], True),
    ("label undo", [], ["Every patch is in its place", *LABELLED], True),
    ("label rename", ["linen", "flax"], ["Every patch is in its place", *LABELLED], True),
    ("label merge", ["flax", "cotton"], ["Every patch is in its place", *LABELLED], True),
    ("models promote", ["data/fabric_bank.npz"], IN_USE, False),
    ("models compare", [HEAD], LOOK, False),
    ("models list", [], [*IN_USE, LOOK[1], "Fewer than 20 new samples since the last head"], False),
    ("models rollback", ["bank", "--to", "BANK"], IN_USE, False),
]


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str, Any]]:
    """Run the week three times over, in English, Chinese and JSON; the outputs by command."""
    root = tmp_path_factory.mktemp("weeks")
    draw_layout(root / "data")
    draw(root / "photos/a.png", "cotton", 5000)
    rows = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    np.savez(root / "old.npz", cotton=rows, linen=rows[::-1])
    outputs = []
    for way in (["--lang", "en"], ["--lang", "zh"], ["--json", "--lang", "en"]):
        here = root / "_".join(way).replace("-", "")
        here.mkdir(parents=True)
        for name in ("data", "photos"):
            shutil.copytree(root / name, here / name)
        shutil.copy(root / "old.npz", here)
        with pytest.MonkeyPatch.context() as patch:
            stand_in(patch, here)
            outputs.append([_run(command, words, way) for command, words, *_ in WEEK])
    english, chinese, encoded = outputs
    named = [command for command, *_ in WEEK]
    return list(zip(named, english, chinese, map(json.loads, encoded), strict=True))


def _run(command: str, words: list[str], way: list[str]) -> str:
    if "BANK" in words:
        (bank,) = Path("data/models").glob("bank-*.npz")
        words = [bank.stem if word == "BANK" else word for word in words]
    words = words if "--lang" not in words else words[: words.index("--lang")]
    return _commands.run(*command.split(), *words, *way)


@pytest.mark.parametrize(("place", "week"), list(enumerate(WEEK)), ids=[command for command, *_ in WEEK])
def test_a_command_ends_with_its_check_points(
    place: int, week: tuple[str, list[str], list[str], bool], weeks: list[tuple[str, str, str, Any]]
) -> None:
    """The last lines of the output, in both languages, are the check points that --json has."""
    command, _, wanted, distribution = week
    named, english, chinese, encoded = weeks[place]
    assert named == command
    names = [check["name"] for check in encoded["checks"]]
    assert [name for name in names if name in wanted] == wanted
    assert all(set(check) == {"name", "ok", "detail"} for check in encoded["checks"])
    for output in (english, chinese):
        lines = output.splitlines()[-len(names) :]
        assert [line[:2] for line in lines] == ["✓ " if check["ok"] else "✗ " for check in encoded["checks"]]
    assert [line[2:].split(": ")[0] for line in english.splitlines()[-len(names) :]] == names
    assert all(any("\u4e00" <= sign <= "\u9fff" for sign in line) for line in chinese.splitlines()[-len(names) :])
    assert ("Class Distribution:" in english, "类别分布：" in chinese) == (distribution, distribution)


def test_no_command_of_the_workflow_is_missing() -> None:
    """Each that is registered is run above."""
    known = set()
    for group in ("bank", "evalset", "head", "fuse", "evaluate", "recommend", "label", "models"):
        command = typer.main.get_command(importlib.import_module(COMMANDS[group][0]).app)
        known |= {f"{group} {name}" for name in getattr(command, "commands", {})} or {group}
    assert {command for command, *_ in WEEK} == known
