"""What waits for a label: by doubt and by chance, once, and what teaches most first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.errors import DataError, ShapeError
from clipfast.metrics.intervals import wilson_ends
from clipfast.retrieval.crops import Region
from clipfast.retrieval.journal import Picked, QueueItem
from clipfast.retrieval.labelitems import SeenCrop
from clipfast.retrieval.labelqueue import lack, ordered, pick
from clipfast.retrieval.labels import LabelStore
from reference.label_store import at, noisy_photo


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Return a photo in which every place looks different."""
    return noisy_photo(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    """Return an empty store in the owner's layout."""
    return LabelStore(tmp_path / "data" / "patches" / "labeled")


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
    assert (found.low, found.high) == wilson_ends(found.estimate, 1, 0.95)  # all are of one photo
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
