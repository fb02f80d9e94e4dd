"""The registry: append-only, atomic, forward and back, and followed by a running process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.errors import ArtifactError, DataError
from clipfast.retrieval import BankModel, FabricBank, LinearHead, References
from clipfast.retrieval.live import LiveVoices, promoted_voices
from clipfast.retrieval.looks import look_of
from clipfast.retrieval.promotion import Gain, gain_of
from clipfast.retrieval.registry import Registry, Setting
from clipfast.types import Floats, Images
from reference.copied import cloth, jpeg


class FlatClip:
    """Stands in for a model."""

    name, precision = "flat", "fp32"

    def fingerprint(self, output: str = "embedding") -> str:
        return "e" * 64

    def encode_images(self, images: Images) -> Floats:
        listed: list[Any] = images if isinstance(images, list) else [images]
        return np.tile(np.eye(4, dtype=np.float32)[:1], (len(listed), 1))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty folder of versions."""
    return Registry(tmp_path / "models", who="Li")


def bank(path: Path, shift: float) -> Path:
    """Write a small bank."""
    rows = np.eye(4, dtype=np.float32) + np.float32(shift)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    references = References(rows, ["a", "a", "b", "b"], ["a/1", "a/2", "b/1", "b/2"], ["0" * 64] * 4)
    FabricBank(references, BankModel("e" * 64, "fp32", "flat")).save(path)
    return path


def gain(better: int, worse: int, look: int) -> Gain:
    """Make a gain of photos that changed."""
    old = np.array([False] * better + [True] * worse)
    return gain_of(old, ~old, range(better + worse), look=look)


def test_forward_and_back(registry: Registry, tmp_path: Path) -> None:
    """The first needs no proof, the next does; going back twice goes back two."""
    files = [bank(tmp_path / f"{at}.npz", at / 10) for at in range(3)]
    first = registry.promote("bank", files[0], gain=None, eval_version=None, note=None)
    with pytest.raises(DataError, match="must be compared first"):
        registry.promote("bank", files[1], gain=None, eval_version=None, note=None)
    with pytest.raises(DataError, match="not proven"):
        registry.promote("bank", files[1], gain=gain(5, 4, 1), eval_version="v", note=None)
    second = registry.promote("bank", files[1], gain=gain(20, 1, 2), eval_version="v", note=None)
    third = registry.promote("bank", files[2], gain=None, eval_version=None, note="the old photos were wrong")

    assert registry.current().versions == {"bank": third}
    assert registry.rollback("bank") == second
    assert registry.rollback("bank") == first
    assert registry.current().generation == 5
    with pytest.raises(DataError, match="no bank to go back to"):
        registry.rollback("bank")
    assert registry.rollback("bank", to=third) == third
    events = registry.history()
    assert [event.action for event in events] == ["promote"] * 3 + ["rollback"] * 3
    assert {event.who for event in events} == {"Li"}


def test_looks_are_counted_and_the_same_look_is_free(registry: Registry, tmp_path: Path) -> None:
    """A candidate that was measured is not measured again; another candidate is the next look."""
    registry.promote("bank", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note=None)
    asked: list[int] = []

    def measure(look: int) -> Gain:
        asked.append(look)
        return gain(3, 2, look)

    one, two = bank(tmp_path / "1.npz", 0.1), bank(tmp_path / "2.npz", 0.2)
    first = registry.look("bank", one, "v", measure)
    assert registry.look("bank", one, "v", measure) == first
    registry.look("bank", two, "v", measure)
    registry.look("bank", one, "another set", measure)

    assert asked == [1, 2, 1]
    assert registry.history()[1].gain == first


def test_an_edited_history_is_noticed_and_a_torn_line_is_passed_over(registry: Registry, tmp_path: Path) -> None:
    """A line that was never finished was never acknowledged; one that was changed is an error."""
    for at in range(2):
        registry.promote("bank", bank(tmp_path / f"{at}.npz", at / 10), gain=None, eval_version=None, note="test")
    path = registry.root / "history.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"before":"00')
    assert len(registry.history()) == 2
    registry.rollback("bank")
    assert len(registry.history()) == 3
    path.write_bytes(path.read_bytes().replace(b'"who":"Li"', b'"who":"Lo"', 1))
    with pytest.raises(ArtifactError, match="was edited"):
        registry.history()


def test_a_changed_version_is_not_used(registry: Registry, tmp_path: Path) -> None:
    """What is in the folder is what was put there."""
    version = registry.promote("bank", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note=None)
    with (registry.root / f"{version}.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match="was changed"):
        registry.in_use("bank")
    with pytest.raises(DataError, match="No version 'bank-000000000000'"):
        registry.file("bank-000000000000")


def test_a_running_process_takes_what_is_promoted(registry: Registry, tmp_path: Path) -> None:
    """Promotion and rollback are noticed; a version that cannot be used leaves the old one, with a warning."""
    registry.promote("bank", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note=None)
    live = LiveVoices(registry, FlatClip(), every_seconds=0)
    before = live.voices()
    assert live.voices() is before
    registry.promote("bank", bank(tmp_path / "1.npz", 0.1), gain=None, eval_version=None, note="newer photos")
    after = live.voices()
    assert after.bank.references.embeddings[0, 1] > before.bank.references.embeddings[0, 1]

    rows = np.repeat(np.eye(4, dtype=np.float32)[:2], 15, axis=0)
    head = LinearHead(
        np.array(["a", "b"]), rows[[0, 29]], np.zeros(2, np.float32), 1.0, BankModel("f" * 64, "fp32", "")
    )
    head.save(tmp_path / "head.npz")
    registry.promote("head", tmp_path / "head.npz", gain=None, eval_version=None, note="another model's")
    with pytest.warns(UserWarning, match="the old one stays"):
        assert live.voices() is after
    assert live.failure is not None
    registry.promote("bank", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note="still that head")
    with pytest.warns(UserWarning, match="the old one stays"):
        live.voices()


def test_a_damaged_version_that_is_put_back_is_taken(registry: Registry, tmp_path: Path) -> None:
    """Without another promotion; as long as it is damaged there is one warning, not one at every look."""
    registry.promote("bank", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note=None)
    live = LiveVoices(registry, FlatClip(), every_seconds=0)
    before = live.voices()
    version = registry.promote("bank", bank(tmp_path / "1.npz", 0.1), gain=None, eval_version=None, note="newer photos")
    file = registry.root / f"{version}.npz"
    whole = file.read_bytes()
    file.write_bytes(whole + b"x")
    with pytest.warns(UserWarning, match="the old one stays") as warned:
        assert all(live.voices() is before for _ in range(5))
    assert len(warned) == 1
    file.write_bytes(whole)
    assert live.voices() is not before
    assert live.failure is None
    assert live.voices() is live.voices()


def test_two_processes_write_one_history(registry: Registry, tmp_path: Path) -> None:
    """Every event of both is there, in one chain."""
    bank(tmp_path / "0.npz", 0)
    code = (
        "import sys; from pathlib import Path; from clipfast.retrieval.registry import Registry, Setting\n"
        "for turn in range(8): Registry(Path(sys.argv[1]), sys.argv[3]).promote("
        "'bank', Path(sys.argv[2]), gain=None, eval_version=None, note=str(turn))"
    )
    arguments = [sys.executable, "-c", code, str(registry.root), str(tmp_path / "0.npz")]
    running = [subprocess.Popen([*arguments, who]) for who in ("Li", "Wu")]
    assert [process.wait(120) for process in running] == [0, 0]
    events = registry.history()

    assert len(events) == 16
    assert registry.current().generation == 16
    for who in ("Li", "Wu"):
        assert [event.note for event in events if event.who == who] == [str(turn) for turn in range(8)]


def test_a_look_is_one_beside_all_that_is_in_use(registry: Registry, tmp_path: Path) -> None:
    """Another bank or other rules since: the head is measured again; back as it was, it need not be."""
    first = registry.promote("bank", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note=None)
    head = bank(tmp_path / "1.npz", 0.1)
    asked: list[int] = []

    def measure(look: int) -> Gain:
        asked.append(look)
        return gain(3, 2, look)

    registry.look("head", head, "v", measure, setting=Setting("fine"))
    registry.look("head", head, "v", measure, setting=Setting("fine"))
    assert asked == [1]
    registry.look("head", head, "v", measure, setting=Setting("coarse"))
    registry.promote("bank", bank(tmp_path / "2.npz", 0.2), gain=None, eval_version=None, note="more photos")
    registry.look("head", head, "v", measure, setting=Setting("fine"))
    registry.rollback("bank", to=first)
    registry.look("head", head, "v", measure, setting=Setting("fine"))
    assert asked == [1, 2, 3]


def test_looks_are_at_pictures_not_at_versions(registry: Registry, tmp_path: Path) -> None:
    """A renamed label, another order, a set that shares a picture: the same budget; other pictures have their own."""
    registry.promote("bank", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note=None)
    one, two, other = "1" * 64, "2" * 64, "3" * 64

    def looked(turn: int, version: str, *pictures: str) -> int:
        file = bank(tmp_path / f"{turn}.npz", turn / 10)
        return registry.look("bank", file, version, lambda look: gain(3, 2, look), setting=Setting(None, pictures)).look

    assert looked(1, "first", one, two) == 1
    assert looked(2, "renamed", two, one) == 2
    assert looked(3, "first", one, two) == 3
    assert looked(4, "replaced", two, other) == 4
    assert looked(5, "elsewhere", "4" * 64) == 1
    assert looked(6, "grown", other) == 5  # shares with "replaced", which went on with the count of "first"
    assert sum(bool(event.pictures) for event in registry.history()) == 5


def test_pictures_that_are_saved_again_go_on_with_the_count(registry: Registry, tmp_path: Path) -> None:
    """Other bytes, other checksums, turned: the history knows them by what they show; other pictures begin anew."""
    pieces = [cloth(at) for at in range(6)]

    def looked(name: str, version: str, images: list[Image.Image]) -> int:
        file = bank(tmp_path / f"{name}.npz", len(name) / 50)
        digests = {hashlib.sha256(f"{version}{at}".encode()).hexdigest() for at in range(len(images))}
        setting = Setting(pictures=digests, looks=lambda: [look_of(image) for image in images])
        return registry.look("bank", file, version, lambda look: gain(3, 2, look), setting=setting).look

    registry.promote("bank", bank(tmp_path / "first.npz", 0.9), gain=None, eval_version=None, note=None)
    assert looked("a", "v1", pieces) == 1
    assert looked("bb", "v2", [jpeg(image, 90) for image in pieces]) == 2
    assert looked("ccc", "v3", [image.transpose(Image.Transpose.ROTATE_90) for image in pieces]) == 3
    assert looked("dddd", "v4", [cloth(at, seed=1) for at in range(6)]) == 1
    assert any(event.looks for event in registry.history())


def test_there_is_no_way_back_to_what_was_never_in_use(registry: Registry, tmp_path: Path) -> None:
    """A candidate that was only compared needs a reason; the way back from it stays. Reasons say something."""
    first = registry.promote("bank", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note=None)
    registry.look("bank", bank(tmp_path / "1.npz", 0.1), "v", lambda look: gain(3, 2, look))
    compared = registry.history()[-1].version
    with pytest.raises(DataError, match="was never in use"):
        registry.rollback("bank", to=compared)
    for empty in ("", "  "):
        with pytest.raises(DataError, match="reason must say something"):
            registry.promote("bank", tmp_path / "1.npz", gain=None, eval_version=None, note=empty)
        with pytest.raises(DataError, match="reason must say something"):
            registry.rollback("bank", to=compared, note=empty)
    assert registry.current().versions == {"bank": first}
    assert registry.rollback("bank", to=compared, note="to look at its answers") == compared
    assert registry.rollback("bank") == first


def test_after_a_crash_one_goes_back_from_what_is_in_use(registry: Registry, tmp_path: Path) -> None:
    """The history was written, the pointer was not: of a promotion, and of a rollback."""
    files = [bank(tmp_path / f"{at}.npz", at / 10) for at in range(3)]
    first = registry.promote("bank", files[0], gain=None, eval_version=None, note=None)
    second = registry.promote("bank", files[1], gain=None, eval_version=None, note="more")
    pointer = registry.pointer.read_bytes()
    registry.promote("bank", files[2], gain=None, eval_version=None, note="still more")
    registry.pointer.write_bytes(pointer)
    assert registry.current().versions == {"bank": second}
    assert registry.rollback("bank") == first
    registry.pointer.write_bytes(pointer)
    assert registry.rollback("bank") == first


def test_what_a_crash_kept_from_use_is_never_gone_back_to(registry: Registry, tmp_path: Path) -> None:
    """Of three promotions the second never reached the pointer."""
    files = [bank(tmp_path / f"{at}.npz", at / 10) for at in range(3)]
    first = registry.promote("bank", files[0], gain=None, eval_version=None, note=None)
    pointer = registry.pointer.read_bytes()
    registry.promote("bank", files[1], gain=None, eval_version=None, note="more")
    registry.pointer.write_bytes(pointer)
    registry.promote("bank", files[2], gain=None, eval_version=None, note="still more")
    assert registry.rollback("bank") == first
    with pytest.raises(DataError, match="no bank to go back to"):
        registry.rollback("bank")


def test_nobody_waits_while_a_candidate_is_measured(registry: Registry, tmp_path: Path) -> None:
    """A second look meanwhile has the earlier number; a promotion meanwhile makes the gain one beside others."""
    registry.promote("bank", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note=None)
    candidates = [bank(tmp_path / f"{at}.npz", at / 10) for at in range(1, 4)]

    def with_another_look(number: int) -> Gain:
        inner = registry.look("bank", candidates[1], "v", lambda look: gain(8, 2, look))
        assert (number, inner.look) == (1, 1)
        return gain(9, 1, number)

    assert registry.look("bank", candidates[0], "v", with_another_look) == gain(9, 1, 2)
    assert [event.gain.look for event in registry.history() if event.gain] == [1, 2]

    def with_a_promotion(number: int) -> Gain:
        registry.promote("bank", candidates[1], gain=None, eval_version=None, note="meanwhile")
        return gain(20, 1, number)

    before = registry.current().versions
    with pytest.raises(DataError, match="changed since the candidate was measured"):
        registry.look("bank", candidates[2], "v", with_a_promotion)
    with pytest.raises(DataError, match="changed since the candidate was measured"):  # voices were loaded before that
        registry.look("bank", candidates[2], "v", lambda look: gain(20, 1, look), setting=Setting(beside=before))
    assert len([event for event in registry.history() if event.gain]) == 2


def test_voices_are_of_one_moment(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bank and head are promoted by another process while the bank in use is being read."""
    banks = [bank(tmp_path / f"{at}.npz", at / 10) for at in range(2)]
    registry.promote("bank", banks[0], gain=None, eval_version=None, note=None)
    heads = []
    for at in range(2):
        head = LinearHead(
            np.array(["a", "b"]), np.eye(4, dtype=np.float32)[:2], np.zeros(2, np.float32), 1.0 + at,
            BankModel("e" * 64, "fp32", ""),
        )  # fmt: skip
        head.save(tmp_path / f"head{at}.npz")
        heads.append(head)
    registry.promote("head", tmp_path / "head0.npz", gain=None, eval_version=None, note=None)
    file, busy = Registry.file, [False]

    def slow(self: Registry, version: str) -> Path:
        found = file(self, version)
        if not busy[0]:
            busy[0] = True
            registry.promote("bank", banks[1], gain=None, eval_version=None, note="newer")
            registry.promote("head", tmp_path / "head1.npz", gain=None, eval_version=None, note="newer")
        return found

    monkeypatch.setattr(Registry, "file", slow)
    voices = promoted_voices(registry, FlatClip())
    assert voices.head is not None
    assert voices.head.sha256 == heads[0].sha256
    assert (voices.bank.references.embeddings == FabricBank.load(banks[0]).references.embeddings).all()


def test_a_gain_beside_what_is_no_longer_in_use_promotes_nothing(registry: Registry, tmp_path: Path) -> None:
    """Somebody promoted another bank between the look and the promotion."""
    registry.promote("bank", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note=None)
    candidate = bank(tmp_path / "1.npz", 0.1)
    found = registry.look("bank", candidate, "v", lambda look: gain(20, 1, look))
    registry.promote("bank", bank(tmp_path / "2.npz", 0.2), gain=None, eval_version=None, note="meanwhile")
    with pytest.raises(DataError, match="changed since the candidate was measured"):
        registry.promote("bank", candidate, gain=found, eval_version="v", note=None)
    registry.rollback("bank")
    registry.promote("bank", candidate, gain=found, eval_version="v", note=None)


def test_a_gain_from_before_one_was_taken_out_promotes_nothing(registry: Registry, tmp_path: Path) -> None:
    """Beside the bank alone it was proven; then a head came into use and was taken out, and the bank is alone again."""
    registry.promote("bank", bank(tmp_path / "b.npz", 0), gain=None, eval_version=None, note=None)
    candidate = bank(tmp_path / "1.npz", 0.1)
    early = registry.look("head", candidate, "v", lambda look: gain(20, 1, look))
    first = registry.promote("head", bank(tmp_path / "0.npz", 0.3), gain=None, eval_version=None, note="the first")
    registry.rollback("head", to="none", note="to see")
    with pytest.raises(DataError, match="changed since the candidate was measured"):
        registry.promote("head", candidate, gain=early, eval_version="v", note=None)
    asked = Setting(retired=first)
    again = [registry.look("head", candidate, "v", lambda look: gain(9, 1, look), setting=asked) for _ in range(2)]
    assert [found.look for found in again] == [2, 2]
    assert registry.history()[-1].retired == first
    with pytest.raises(DataError, match="is not proven"):
        registry.promote("head", candidate, gain=again[0], eval_version="v", note=None)


def test_taking_out_needs_a_reason_and_leaves_no_way_round_the_proof(registry: Registry, tmp_path: Path) -> None:
    """After --to none the next is not the first of its kind; the first weights are, the first head is compared."""
    first = registry.promote("head", bank(tmp_path / "0.npz", 0), gain=None, eval_version=None, note=None)
    with pytest.raises(DataError, match=f"Why is {first} taken out of use"):
        registry.rollback("head", to="none")
    assert registry.current().versions == {"head": first}
    assert registry.retired("head") is None
    registry.rollback("head", to="none", note="it errs")
    assert registry.retired("head") == first
    worse = bank(tmp_path / "1.npz", 0.1)
    with pytest.raises(DataError, match=f"{first} was in use and was taken out; what replaces it must be compared"):
        registry.promote("head", worse, gain=None, eval_version=None, note=None)
    registry.promote("head", worse, gain=None, eval_version=None, note="the other errs more")
    assert registry.retired("head") is None
    assert [registry.needs_proof(kind) for kind in ("bank", "head", "alpha")] == [False, True, False]
