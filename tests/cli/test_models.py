"""`clipfast models` in the owner's layout: put to use, compared, refused, gone back from, used elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from reference.colour_clip import draw
from reference.fabric_commands import Commands, draw_layout, stand_in

_commands = Commands()
invoke, run, run_json, failure = _commands.invoke, _commands.run, _commands.run_json, _commands.failure


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bank, evaluation set, head and weights, made by the commands."""
    root = tmp_path_factory.mktemp("made")
    draw_layout(root / "data")
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch, root)
        run("bank", "build")
        run("evalset", "make")
        run("head", "train")
        run("fuse", "fit", "--head", "data/clip_head.npz", "--exclude", "data/eval_set.jsonl")
    return root


@pytest.fixture(autouse=True)
def layout(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a copy of it."""
    shutil.copytree(made / "data", tmp_path / "data")
    stand_in(monkeypatch, tmp_path)
    return tmp_path


def test_nothing_is_in_use_at_first() -> None:
    """The list says so, in either language; a head cannot come before a bank, nor anything be gone back to."""
    assert "Nothing is in use yet." in run("models", "list")
    assert [check["ok"] for check in run_json("models", "list")["checks"]] == [False, True, True, False]
    assert "尚未使用任何版本" in run("models", "list", "--lang", "zh")
    assert "No bank is in use yet" in failure("models", "promote", "data/clip_head.npz")
    assert "No bank is in use" in failure("models", "compare", "data/clip_head.npz")
    assert "no head to go back to" in failure("models", "rollback", "head")


def test_forward_compared_and_back() -> None:
    """The file says what it is; a head without a proven gain is refused, promoted for a reason, and gone back from."""
    bank = run_json("models", "promote", "data/fabric_bank.npz")
    assert (bank["kind"], bank["gain"]) == ("bank", None)
    assert [check["ok"] for check in bank["checks"]] == [True, True]
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
    assert [check["ok"] for check in listed["checks"]] == [True] * 4
    assert "✓ A bank is in use: bank-" in shown
    assert "look 1 of 52 at this evaluation set" in shown
    damaged = Path(f"data/models/{second}.npz")
    damaged.write_bytes(damaged.read_bytes() + b"x")
    assert f"✗ Every version in use is there and unchanged: 2 of 3 (not: {second})" in run("models", "list")


def test_twenty_new_samples_suggest_retraining() -> None:
    """What the last head has not seen is counted in the folder of labels, without the evaluation set."""
    run("models", "promote", "data/fabric_bank.npz")
    run("models", "promote", "data/clip_head.npz", "--because", "the first head")
    assert run_json("models", "list")["retrain"] == {"new": 0, "wanted": 20, "due": False}
    for number in range(20):
        draw(Path(f"data/patches/labeled/linen/new_{number}.png"), "linen", 500 + number)
    assert run_json("models", "list")["retrain"] == {"new": 20, "wanted": 20, "due": True}
    assert "New samples since the last head: 20. Retraining pays" in run("models", "list")
    assert run_json("models", "list", "--labels", "nowhere")["retrain"] is None
    run("head", "train", "--out", "other.npz")
    run("models", "compare", "other.npz")  # whoever trained again need not be told to, promoted or not
    assert run_json("models", "list")["retrain"]["new"] == 0
    assert run_json("models", "list")["history"][-1]["samples"] == 56


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
    assert "must name a folder of versions" in failure("models", "list", "--models", "notes.txt")
    assert run_json("models", "list")["history"][1:] == []


def test_what_could_not_answer_with_the_others_is_refused_and_the_first_can_be_taken_out() -> None:
    """Another model's weights or other rules' never come into use; a first head and weights go out of use again."""
    run("models", "promote", "data/fabric_bank.npz")
    text = Path("data/fusion.json").read_text(encoding="utf-8")
    for old, new, words in (("a" * 64, "b" * 64, "another model"), ('"fine"', '"coarse"', "with the rules coarse")):
        Path("alien.json").write_text(text.replace(old, new), encoding="utf-8")
        assert words in failure("models", "promote", "alien.json", "--because", "x")
    photo = "data/patches/labeled/linen/patch_003.png"
    plain = run_json("recommend", photo, "--models", "data/models")
    head = run_json("models", "promote", "data/clip_head.npz", "--because", "the first head")["promoted"]
    run("models", "promote", "data/fusion.json", "--because", "fitted")
    assert "rollback alpha --to none" in failure("models", "rollback", "alpha")
    assert "Why is alpha-" in failure("models", "rollback", "alpha", "--to", "none")
    out_of_use = run_json("models", "rollback", "alpha", "--to", "none", "--note", "to see")
    assert (out_of_use["kind"], out_of_use["version"]) == ("alpha", "none")
    assert "alpha" not in out_of_use["current"]
    run("models", "rollback", "head", "--to", "none", "--note", "it errs")
    assert run_json("recommend", photo, "--models", "data/models") == plain
    assert "No head is in use" in failure("models", "rollback", "head", "--to", "none")
    assert "A bank must be in use" in failure("models", "rollback", "bank", "--to", "none")
    assert list(run_json("models", "list")["current"]) == ["bank"]
    assert "it errs" in run("models", "list")
    assert run_json("models", "rollback", "head")["version"] == head


def test_the_first_weights_need_no_proof_and_what_was_taken_out_is_named() -> None:
    """Confidence becomes a calibrated one without a look; after --to none a comparison says what it does not tell."""
    run("models", "promote", "data/fabric_bank.npz")
    photo = "data/patches/labeled/linen/patch_003.png"
    assert "clipfast models promote data/fusion.json" in run(
        "recommend", photo, "--models", "data/models", "--lang", "en"
    )
    weights = run_json("models", "promote", "data/fusion.json")
    assert (weights["kind"], weights["gain"], weights["retired"]) == ("alpha", None, None)
    assert run_json("recommend", photo, "--models", "data/models")["confidence_calibrated"] is True
    for named in (["--models", "data/models"], ["--fusion", "data/fusion.json"]):
        by_hand = run("recommend", photo, *named, "--alpha", "0.3", "--lang", "en")
        assert "fitted with another alpha: leave --alpha out" in by_hand
        assert "✗ Confidence is calibrated: no; leave --alpha out" in by_hand
    run("models", "rollback", "alpha", "--to", "none", "--note", "to see")
    assert "The gain is not proven" in failure("models", "promote", "data/fusion.json")
    looked = run_json("models", "compare", "data/fusion.json")
    assert looked["retired"] == weights["promoted"]
    assert f"without any alpha: {weights['promoted']} was taken out" in run("models", "compare", "data/fusion.json")
    head = run_json("models", "compare", "data/clip_head.npz")
    assert (head["retired"], head["compared_with"], looked["compared_with"]) == (None, None, None)


def test_a_candidate_is_compared_with_the_head_that_was_taken_out(layout: Path) -> None:
    """Not with what is left alone; it is said, and written down."""
    run("models", "promote", "data/fabric_bank.npz")
    first = run_json("models", "promote", "data/clip_head.npz", "--because", "the first head")["promoted"]
    run("models", "rollback", "head", "--to", "none", "--note", "to see")
    draw(layout / "data/patches/labeled/linen/more.png", "linen", 777)
    run("head", "train", "--out", "other.npz")
    looked = run_json("models", "compare", "other.npz")
    assert (looked["retired"], looked["compared_with"]) == (first, first)
    assert f"and with {first}, which was taken out of use" in run("models", "compare", "other.npz")
    assert run_json("models", "list")["history"][-1]["retired"] == first
    assert "The gain is not proven" in failure("models", "promote", "other.npz")
