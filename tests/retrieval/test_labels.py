"""The store of labels: journal and folder agree, every change has its inverse, bad labels and leaks are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets.folders import list_fabrics
from clipfast.errors import DataError, ShapeError
from clipfast.retrieval.crops import Region, read_sidecar
from clipfast.retrieval.evalset import EvalSet, make_eval_set
from clipfast.retrieval.journal import Picked, QueueItem
from clipfast.retrieval.labelitems import Labeller, SeenCrop
from clipfast.retrieval.labelqueue import lack, ordered, pick
from clipfast.retrieval.labels import LabelStore, new_since
from clipfast.storage import sha256_file
from reference.copied import WAYS, cloth


def at(number: int) -> Region:
    """Return a place in the photo."""
    return Region(coords=(20 + 8 * (number % 25), 20 + 8 * (number // 25)), size=16)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo in which every place looks different."""
    path = tmp_path / "photos" / "shirt.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    """An empty store in the owner's layout."""
    return LabelStore(tmp_path / "data" / "patches" / "labeled")


def on_disk(store: LabelStore) -> dict[str, tuple[str, Any]]:
    """Return what a reader of the folder finds: checksum and side-car of each patch."""
    if not store.root.is_dir():
        return {}
    return {
        f"{label}/{path.name}": (sha256_file(path), read_sidecar(path))
        for label, paths in list_fabrics(store.root).items()
        for path in paths
    }


def require_whole(store: LabelStore) -> None:
    """Check that the journal, read afresh, says what the folder holds, and that nothing is left over."""
    said = LabelStore(store.root).state().patches
    assert on_disk(store) == {key: (patch.sha256, patch.sidecar) for key, patch in said.items()}
    names = [path.name for path in store.root.rglob("*") if path.is_file()]
    assert not [name for name in names if name.endswith(".tmp")]
    assert not list((store.root / ".labels").glob("staged/*"))


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
        (lambda: store.enqueue([], threshold=1.5), r"threshold must be a probability in \[0, 1\]; got 1.5"),
    ):
        with pytest.raises(DataError, match=words):
            change()
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


@pytest.fixture
def evaluated(store: LabelStore, tmp_path: Path) -> LabelStore:
    """Eight labelled pieces of cloth, one of each label evaluated on."""
    for number in range(8):
        cloth(number).save(tmp_path / f"{number}.png")
        store.add(tmp_path / f"{number}.png", "ab"[number % 2])
    make_eval_set(store.root, split=0.3).save(store.root.parent.parent / "eval_set.jsonl")
    return store


def test_near_copies_of_evaluation_pictures_are_refused(evaluated: LabelStore, tmp_path: Path) -> None:
    """Saved again, scaled, or cut by 2 %: nothing of it may be trained on."""
    held = EvalSet.load(evaluated.root.parent.parent / "eval_set.jsonl")
    for way in WAYS.values():
        way(held.crop(held.samples[0])).convert("RGB").save(tmp_path / "copy.png")
        with pytest.raises(DataError, match=r"copy\.png is nearly the same picture as .* which is never trained on"):
            evaluated.add(tmp_path / "copy.png", "b")


def test_other_patches_of_evaluation_photos_are_held_out_and_never_asked_about(
    evaluated: LabelStore, tmp_path: Path
) -> None:
    """They are labelled, marked, not counted as new, and do not wait."""
    held = EvalSet.load(evaluated.root.parent.parent / "eval_set.jsonl")
    photo = held.file(held.samples[0])
    before = evaluated.stats()
    corner = Region(box=(0, 0, 90, 90))
    assert evaluated.add(photo, "a", region=corner).held_out
    after = evaluated.stats()
    assert (after.total, after.held_out, after.new) == (before.total + 1, before.held_out + 1, before.new)
    assert evaluated.enqueue([SeenCrop(photo, Region(box=(9, 9, 99, 99)), 0.1, ())]) == ()
    assert new_since(evaluated.root) == after.new


def test_rename_takes_the_evaluation_set_along_and_undo_brings_it_back(evaluated: LabelStore) -> None:
    """Its pictures stay findable, its labels change, and so does its version."""
    path = evaluated.root.parent.parent / "eval_set.jsonl"
    before = EvalSet.load(path)
    evaluated.rename("a", "c")
    renamed = EvalSet.load(path)
    renamed.verify()
    assert set(renamed.labels) == {"b", "c"}
    assert renamed.version != before.version
    evaluated.undo()
    assert EvalSet.load(path).samples == before.samples
    with pytest.raises(DataError, match=r"which is frozen: it must stay where it is"):
        undo_all(evaluated)
    EvalSet.load(path).verify()


def undo_all(store: LabelStore) -> None:
    """Undo until it is refused."""
    while True:
        store.undo()


def test_what_waits_is_answered_once_and_waits_again_when_undone(store: LabelStore, photo: Path) -> None:
    """By its id or by labelling the very part; its model, confidence and answer are noted beside the patch."""
    crops = [SeenCrop(photo, at(n), 0.2, (("silk", 0.2), ("wool", 0.1)), "mini") for n in range(3)]
    one, two, three = store.enqueue(crops)
    assert store.enqueue(crops) == (one, two, three)
    added = store.answer(one.id, "wool")
    assert (added.sidecar.answer, added.sidecar.confidence, added.sidecar.model) == ("silk", 0.2, "mini")
    assert added.sidecar.picked == one.picked
    assert store.add(photo, "silk", region=two.region).item == two.id
    store.skip(three.id)
    assert (store.waiting(), store.state().answered) == ([], 3)
    assert store.enqueue(crops) == ()
    for left in ([three.id], [two.id, three.id], [one.id, two.id, three.id]):
        store.undo()
        assert sorted(item.id for item in store.waiting()) == sorted(left)
    assert store.state().answered == 0
    Image.open(photo).rotate(90).save(photo)
    with pytest.raises(DataError, match=f"was changed since {one.id} was asked about"):
        store.answer(one.id, "wool")


def test_one_crop_in_five_waits_by_chance_and_says_how_good_the_system_is(store: LabelStore, photo: Path) -> None:
    """Chance does not look at the confidence; the share of right first answers is theirs alone, also after a rename."""
    ids = [f"{number:012x}" for number in range(5000)]
    sure = sum(pick(name, 1.0) == "random" for name in ids)
    assert 920 < sure < 1080
    assert [pick(name, 1.0) == "random" for name in ids] == [pick(name, 0.1) == "random" for name in ids]
    assert {pick(name, 0.49) for name in ids} == {"random", "uncertain"}
    assert {pick(name, 0.5) for name in ids} == {"random", None}
    assert [pick(name, 1.0) == "random" for name in ids] == [pick(name, 0.9, none=True) == "random" for name in ids]
    crops = [SeenCrop(photo, at(n), 0.9, (("silk", 0.9),), "mini") for n in range(40)]
    waiting = store.enqueue(crops)
    assert {item.picked for item in waiting} == {"random"}
    for number, item in enumerate(waiting):
        store.answer(item.id, "wool" if number == 0 else "silk")
    store.rename("silk", "seide")
    found = store.stats().by_chance
    assert found is not None
    assert found.estimate == (len(waiting) - 1) / len(waiting)
    assert len(waiting) > 2


def test_none_of_these_waits_however_sure_and_comes_first(store: LabelStore, photo: Path) -> None:
    """A fabric that nobody has labelled lacks everything; chance still has its fifth."""
    sure = [SeenCrop(photo, at(n), 0.97, (("silk", 0.97),), "mini", none=True) for n in range(30)]
    unsure = [SeenCrop(photo, at(n), 0.01, (("wool", 0.5),)) for n in range(30, 40)]
    waiting = store.enqueue([*sure, *unsure], threshold=0.5)
    kinds = [one.picked for one in store.waiting()]
    assert len(waiting) == 40
    assert set(kinds) == {"none_of_these", "random", "uncertain"}
    asked = [kind for kind in kinds if kind != "random"]
    assert asked == sorted(asked)  # none of these before what is uncertain
    assert store.stats().waiting == {kind: kinds.count(kind) for kind in ("uncertain", "none_of_these", "random")}
    first = next(one for one in store.waiting() if one.picked == "none_of_these")
    assert store.answer(first.id, "velvet").sidecar.picked == "none_of_these"


def item(number: int, confidence: float, answers: dict[str, float], picked: Picked = "uncertain") -> QueueItem:
    """Return something that waits."""
    return QueueItem(
        id=f"{number:012x}", photo="a.png", sha256="ab" * 32, region=Region(), confidence=confidence,
        answers=tuple(answers.items()), picked=picked,
    )  # fmt: skip


def test_the_queue_begins_with_what_teaches_most(store: LabelStore) -> None:
    """Uncertainty times what the class lacks; every fifth is one by chance."""
    counts = {"full": 30, "some": 7, "none": 0}
    items = [
        item(0, 0.4, {"full": 1.0}), item(1, 0.4, {"none": 1.0}), item(2, 0.4, {"some": 1.0}),
        item(3, 0.1, {"some": 1.0}), item(4, 0.4, {"full": 0.5, "none": 0.5}),
    ]  # fmt: skip
    goal = 50 / 3
    wanted = {
        "full": 0.05,
        "some": (0 + 0.3 + (1 - 7 / goal)) / 3,
        "none": 1.0,
    }
    for name, value in wanted.items():
        assert lack(counts[name], total=37, classes=3) == pytest.approx(value)
    values = [0.6 * 0.05, 0.6, 0.6 * wanted["some"], 0.9 * wanted["some"], 0.6 * (0.05 + 1) / 2]
    expected = [items[number].id for number in np.argsort([-value for value in values], kind="stable")]
    assert [one.id for one in ordered(items, counts, answered=0)] == expected
    chance = [item(10 + n, 0.9, {"full": 1.0}, "random") for n in range(3)]
    unsure = [item(20 + n, 0.3, {"none": 1.0}) for n in range(12)]
    places = [at for at, one in enumerate(ordered([*chance, *unsure], counts, answered=0)) if one.picked == "random"]
    assert places == [4, 9, 14]
    places = [at for at, one in enumerate(ordered([*chance, *unsure], counts, answered=3)) if one.picked == "random"]
    assert places == [1, 6, 11]


def test_stats_say_what_is_lacking_and_when_to_train_again(store: LabelStore, photo: Path) -> None:
    """5, then 10 a class; 20, 50, 200 in all; 20 new samples."""
    events = [store.add(photo, "silk" if n < 6 else "wool", region=at(n)) for n in range(19)]
    stats = store.stats()
    assert (stats.total, stats.next_total, stats.lacking, stats.retrain) == (19, 20, {"silk": (6, 10)}, False)
    events.append(store.add(photo, "linen", region=at(19)))
    stats = store.stats()
    assert (stats.next_total, stats.lacking["linen"], stats.new, stats.retrain) == (50, (1, 5), 20, True)
    assert store.stats([event.sha256 for event in events[:3]]).new == 17


@pytest.mark.parametrize("confidence", [float("nan"), 2.0, -0.1, None, "0.5"])
def test_a_confidence_that_is_none_is_refused(tmp_path: Path, confidence: Any) -> None:
    """It would be no lower than any threshold, and the crop would never wait."""
    with pytest.raises(ShapeError, match=r"confidence must be a number in \[0, 1\]"):
        SeenCrop(tmp_path / "a.png", Region(), confidence, ())
