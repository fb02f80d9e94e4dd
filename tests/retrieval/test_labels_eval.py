"""Labels and the evaluation set beside them: copies are refused, its photos never wait, renames take it along."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipfast.errors import DataError
from clipfast.retrieval.crops import Region, Sidecar, write_sidecar
from clipfast.retrieval.evalset import EvalSet, make_eval_set
from clipfast.retrieval.heldout import leave_out
from clipfast.retrieval.labelitems import SeenCrop
from clipfast.retrieval.labelled import encode_labelled
from clipfast.retrieval.labels import LabelStore, new_since
from reference.colour_clip import ColourClip
from reference.copied import WAYS, cloth
from reference.label_store import noisy_photo


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return a photo in which every place looks different."""
    return noisy_photo(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    """Return an empty store in the owner's layout."""
    return LabelStore(tmp_path / "data" / "patches" / "labeled")


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


def test_a_photograph_that_looks_like_one_is_declared_and_trained_on(evaluated: LabelStore, tmp_path: Path) -> None:
    """Side-car and journal say so; training heeds that for this picture of the set only; equal pixels stay refused."""
    held = EvalSet.load(evaluated.root.parent.parent / "eval_set.jsonl")
    picture = held.crop(held.samples[0])
    WAYS["as JPEG of quality 85"](picture).convert("RGB").save(tmp_path / "twin.png")
    added = evaluated.add(tmp_path / "twin.png", "b", not_a_copy=True)
    assert added.sidecar.not_copy_of == (held.samples[0].sha256,)
    assert evaluated.state().patches[added.key] == added
    kept = leave_out(encode_labelled(ColourClip(), evaluated.root), held)
    assert [each.path for each in kept.declared] == [added.key]
    write_sidecar(evaluated.root / added.key, Sidecar(not_copy_of=("0" * 64,)))
    with pytest.raises(DataError, match="nearly the same picture"):
        leave_out(encode_labelled(ColourClip(), evaluated.root), held)
    picture.save(tmp_path / "same.bmp")
    with pytest.raises(DataError, match="very pixels of"):
        evaluated.add(tmp_path / "same.bmp", "b", not_a_copy=True)


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
