"""The store of labels: journal and folder agree, every change has its inverse, bad labels and leaks are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.errors import DataError, ShapeError
from clipfast.retrieval.crops import Region, read_sidecar
from clipfast.retrieval.labelitems import Labeller
from clipfast.retrieval.labels import LabelStore
from reference.label_store import at, noisy_photo, on_disk, require_whole


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return a photo in which every place looks different."""
    return noisy_photo(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    """Return an empty store in the owner's layout."""
    return LabelStore(tmp_path / "data" / "patches" / "labeled")


def test_a_patch_lies_in_the_owners_layout_with_its_side_car(store: LabelStore, photo: Path) -> None:
    """`fabric/patch_001.png`, loss-free, and who said what of which click."""
    by = Labeller(who="李", when="2026-01-05T09:00:00+08:00", model="mini", confidence=0.41)
    event = store.add(photo, "silk_satin", region=at(3), by=by)
    assert event.key == "silk_satin/patch_001.png"
    patch = store.root / event.key
    assert np.array_equal(np.asarray(Image.open(patch)), np.asarray(at(3).cut(photo)))
    sidecar = read_sidecar(patch)
    assert sidecar is not None
    assert sidecar.photo(patch) == photo
    assert (sidecar.coords, sidecar.size, sidecar.who, sidecar.confidence) == ((44, 20), 16, "李", 0.41)
    whole = store.add(photo, "羊毛")
    assert (store.root / whole.key).read_bytes() == photo.read_bytes()
    assert store.labels == ("silk_satin", "羊毛")
    require_whole(store)


def test_undo_takes_back_the_last_change_and_then_the_one_before(store: LabelStore, photo: Path) -> None:
    """After n changes, n undos show every earlier state of the folder once more, to the byte."""
    changes: tuple[Callable[[], object], ...] = (
        lambda: store.add(photo, "silk", region=at(0)),
        lambda: store.add(photo, "satin", region=at(1)),
        lambda: store.add(photo, "silk", region=at(2)),
        lambda: store.merge("silk", "satin"),
        lambda: store.rename("satin", "silk_satin"),
        lambda: store.add(photo, "wool", region=at(3)),
        lambda: store.rename("wool", "羊毛"),
    )
    states = [on_disk(store)]
    for change in changes:
        change()
        require_whole(store)
        states.append(on_disk(store))
    assert sorted(states[4]) == ["satin/patch_001.png", "satin/patch_002.png", "satin/patch_003.png"]
    for state in reversed(states[:-1]):
        store.undo()
        require_whole(store)
        assert on_disk(store) == state
    with pytest.raises(DataError, match="there is nothing to undo"):
        store.undo()
    assert store.add(photo, "silk", region=at(0)).key == "silk/patch_003.png"  # no name is given twice


def test_chance_sequences_leave_journal_and_folder_in_agreement(store: LabelStore, photo: Path) -> None:
    """A plain dictionary of place to label, kept by hand, says what the folder holds."""
    rng, labels = np.random.default_rng(1), ["cotton", "linen", "wool"]
    history: list[dict[int, str]] = [{}]
    for step in range(60):
        kind, (one, other) = rng.integers(6), [str(name) for name in rng.permutation(labels)[:2]]
        now = history[-1]
        try:
            if kind < 3:
                store.add(photo, one, region=at(step))
                history.append({**now, step: one})
            elif kind == 3:
                store.undo()
                history.pop()
            else:
                (store.rename if kind == 4 else store.merge)(one, other)
                history.append({place: other if label == one else label for place, label in now.items()})
        except DataError:
            held = set(now.values())
            refused = len(history) == 1 if kind == 3 else one not in held or (other in held) == (kind == 4)
            assert refused
    require_whole(store)
    places = {at(step).coords: step for step in range(60)}
    found = {places[sidecar.coords]: key.split("/")[0] for key, (_, sidecar) in on_disk(store).items()}
    assert found == history[-1]
    assert len(found) > 5


class PowerCut(BaseException):
    """The process ends here."""


CHANGES: dict[str, Callable[[LabelStore, Path], object]] = {
    "add": lambda store, photo: store.add(photo, "silk", region=at(9)),
    "undo": lambda store, photo: store.undo(),
    "rename": lambda store, photo: store.rename("silk", "seide"),
    "merge": lambda store, photo: store.merge("silk", "satin"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_is_cut_off_anywhere_happens_wholly_or_not_at_all(
    name: str, tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before its first, second, ... write to the disk; the next who writes finds one state or the other."""
    first = LabelStore(tmp_path / "first")
    for number, label in enumerate(("satin", "silk", "silk", "silk")):
        first.add(photo, label, region=at(number))
    done = LabelStore(shutil.copytree(first.root, tmp_path / "done"))
    CHANGES[name](done, photo)
    before, after = ({key: sha for key, (sha, _) in on_disk(s).items()} for s in (first, done))
    outcomes = []
    for stop in range(40):
        store = LabelStore(shutil.copytree(first.root, tmp_path / str(stop)))
        with monkeypatch.context() as patched:
            _cut_off(patched, stop)
            try:
                CHANGES[name](store, photo)
            except PowerCut:
                pass
            else:
                break
        LabelStore(store.root).recover()
        require_whole(store)
        outcomes.append({key: sha for key, (sha, _) in on_disk(store).items()})
        assert outcomes[-1] in (before, after)
    assert (before in outcomes) == (name == "add")  # the others' line is written before their first flush
    assert outcomes[-1] == after
    assert outcomes == sorted(outcomes, key=lambda state: state == after)


def _cut_off(patched: pytest.MonkeyPatch, stop: int) -> None:
    """Let the process end at a call that writes: the `stop`-th of flushing, moving and removing."""
    import os

    left = [stop]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if left[0] == 0:
                raise PowerCut
            left[0] -= 1
            return real(*arguments, **options)

        return call

    for owner, called in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "rmdir")):
        patched.setattr(owner, called, counted(getattr(owner, called)))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("", "must not be empty"),
        ("  ", "must not be empty"),
        ("a/b", r"must not hold a path separator \(/\); got 'a/b'\. Write 'a_b'"),
        ("..\\b", "must not hold a path separator"),
        ("/etc", "must not hold a path separator"),
        ("..", "must not begin with a dot"),
        (".labels", "must not begin with a dot"),
        ("a\nb", r"must not hold a control character \(U\+000A\)"),
        ("a\0", r"must not hold a control character \(U\+0000\)"),
        ("a\u200bb", "must not hold an invisible character"),
        ("a\ud800", "must not hold a surrogate"),
        ("a\u2028b", "must not hold a line break"),
        ("a:b", "must not hold :"),
        ("a ", "must not begin or end with a space"),
        ("a.", "or end with a dot"),
        ("CON", "that Windows keeps for devices"),
        ("com1.silk", "that Windows keeps for devices"),
        ("x" * 201, "must have at most 200 bytes; got 201"),
        ("羊" * 67, "must have at most 200 bytes; got 201"),
        ("cafe\u0301", "must be in Unicode normal form C"),
        ("SILK", "differs from the existing 'silk' only in case"),
        ("ｓilk", "differs from the existing 'silk' only in the Unicode form"),
    ],
)
def test_labels_that_cannot_be_a_folder_are_refused(store: LabelStore, photo: Path, label: str, words: str) -> None:
    """By add and rename alike, before anything is written."""
    store.add(photo, "silk", region=at(0))
    store.add(photo, "wool", region=at(1))
    before = on_disk(store), LabelStore(store.root).state().last
    with pytest.raises(DataError, match=words):
        store.add(photo, label, region=at(2))
    with pytest.raises(DataError, match=words):
        store.rename("wool", label)
    assert (on_disk(store), LabelStore(store.root).state().last) == before


def test_changes_that_make_no_sense_are_refused(store: LabelStore, photo: Path) -> None:
    """Each with what there is instead."""
    store.add(photo, "silk", region=at(0))
    store.add(photo, "wool", region=at(1))
    for change, words in (
        (lambda: store.rename("linen", "x"), "there is no label 'linen'; there are: silk, wool"),
        (lambda: store.rename("silk", "wool"), "is there already. To put 'silk' into it: clipfast label merge"),
        (lambda: store.merge("silk", "silk"), "must be merged into another"),
        (lambda: store.merge("silk", "linen"), "there is no label 'linen'"),
        (lambda: store.add(photo, "silk", region=at(0)), "must not be there twice"),
        (lambda: store.add(photo, "wool", region=at(0)), "under two labels, 'silk' and 'wool'"),
        (lambda: store.add(photo.with_name("no.png"), "silk"), "No photo at"),
        (lambda: store.answer("0" * 12, "silk"), "nothing of the id '000000000000' waits"),
        (lambda: store.skip("0" * 12), "nothing of the id"),
    ):
        with pytest.raises(DataError, match=words):
            change()
    with pytest.raises(ShapeError, match=r"threshold must be a number from 0 to 1; got 1\.5"):
        store.enqueue([], threshold=1.5)
    with pytest.raises(ShapeError, match="must be inside the photo"):
        store.add(photo, "silk", region=Region(coords=(256, 0)))
    (store.root / "empty").mkdir()
    with pytest.raises(DataError, match="the label 'empty' holds no patch"):
        store.merge("empty", "silk")
    (store.root / "wool" / "patch_001.png").unlink()
    with pytest.raises(DataError, match=r"wool/patch_001\.png is no longer in"):
        store.undo()
    assert LabelStore(store.root).stats().missing == ("wool/patch_001.png",)


def test_what_was_put_there_by_hand_counts(store: LabelStore, photo: Path) -> None:
    """It is moved by a rename, and its number is not given again."""
    (store.root / "silk").mkdir(parents=True)
    at(5).cut(photo).save(store.root / "silk" / "Patch_007.PNG")
    assert store.add(photo, "silk", region=at(1)).key == "silk/patch_008.png"
    store.rename("silk", "seide")
    stats = store.stats()
    assert (stats.counts, stats.by_hand, stats.missing, stats.changed) == ({"seide": 2}, 1, (), ())
    (store.root / "seide" / "patch_008.png").write_bytes(b"x")
    assert store.stats().changed == ("seide/patch_008.png",)
    store.undo()
    assert sorted(on_disk(store)) == ["silk/Patch_007.PNG", "silk/patch_008.png"]
