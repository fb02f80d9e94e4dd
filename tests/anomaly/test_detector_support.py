"""Tests of clipfast.anomaly.support, leaveout, changes and guarantee: what a detector learns from its references."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from clipfast.anomaly import AnomalyDetector, AnomalyOptions, MemoryOptions
from clipfast.anomaly.pictures import Picture, read_picture
from clipfast.datasets.fabricworld import anomaly_samples
from clipfast.errors import DataError
from reference.anomaly_stubs import picture
from reference.detector_cases import BAD, GOOD, SMALL, fit

if TYPE_CHECKING:
    from clipfast.runtime.clip import Clip


def test_references_are_decoded_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is decoded, at most the one before is still there, however many there are."""
    load, most = Picture.load, 0
    decoded: list[weakref.ref[Any]] = []

    def counted(picture: Picture) -> Any:
        nonlocal most
        most = max(most, sum(each() is not None for each in decoded))
        image = load(picture)
        decoded.append(weakref.ref(image))
        return image

    monkeypatch.setattr(Picture, "load", counted)
    fit(images=[picture(i) for i in range(6)])
    assert len(decoded) >= 6
    assert most <= 1


def test_the_order_of_the_support_changes_nothing() -> None:
    """Bit for bit, coreset and all."""
    options = replace(SMALL, memory=MemoryOptions(coreset=0.5))
    one, other = fit(options=options), fit(images=GOOD[::-1], options=options)

    assert one.threshold() == other.threshold()
    assert np.array_equal(one.score(BAD).pixel, other.score(BAD).pixel)
    assert [shot.sha256 for shot in one.manifest.shots] == [shot.sha256 for shot in other.manifest.shots]


def test_adding_and_removing_references() -> None:
    """The memory equals one built anew; thresholds are dropped; what is left out is unknown again."""
    detector, whole = fit(images=GOOD[:3]), fit()
    detector.threshold()
    detector.add([GOOD[3]])

    assert detector.decision is None
    assert {s.sha256 for s in detector.manifest.shots} == {s.sha256 for s in whole.manifest.shots}
    np.testing.assert_allclose(detector.score(BAD).memory.pixel, whole.score(BAD).memory.pixel, atol=1e-6)
    assert detector.score(GOOD).memory.image.max() == 0
    assert "references were added" in detector.notes[-1]
    assert len(detector.fitted.holdout.maps) == 20
    added = detector.manifest.shots[3]
    detector.remove(added.sha256)
    assert detector.score([GOOD[3]]).memory.image[0] > 0
    assert len(detector.fitted.holdout.maps) == 15
    assert detector.threshold(0.05).references == 3
    with pytest.raises(DataError, match="are one image"):
        detector.add([GOOD[0]])
    with pytest.raises(DataError, match="No reference image"):
        detector.remove("nobody")


@pytest.mark.parametrize(
    ("mode", "memory", "against"),
    [
        ("memory", MemoryOptions(image_score="top"), None),
        ("semantic", MemoryOptions(coreset=0.5), None),
        ("auto", MemoryOptions(), "auto is chosen"),
        ("calibrated_mean", MemoryOptions(), "calibrated_mean is chosen, scaled"),
        ("memory", MemoryOptions(coreset=0.5), "coreset"),
        ("max", MemoryOptions(rows="standardised"), "standardised rows"),
        ("memory", MemoryOptions(image_score="contrast"), "may rise"),
        ("memory", MemoryOptions(image_score="mean"), None),
    ],
)
def test_a_rate_is_guaranteed_only_where_the_argument_holds(
    mode: str, memory: MemoryOptions, against: str | None
) -> None:
    """The place is conformal in all of them; a removed reference ends every guarantee."""
    detector = fit(image_mode=mode, options=replace(SMALL, memory=memory))
    decision = detector.threshold(0.2)
    assert decision.method == "conformal"
    assert (decision.caveat is None) == (against is None)
    assert (against or "guaranteed on average") in decision.coverage
    detector.remove(detector.manifest.shots[0].sha256)
    decision = detector.threshold(0.25)
    assert decision.method == "conformal"
    assert (decision.caveat is None) == (mode == "semantic")
    if against is None and mode == "memory":
        assert "not guaranteed, because a reference was removed" in decision.coverage


def test_adding_to_a_single_reference() -> None:
    """From one to three: the new ones are held out against the others."""
    detector = fit(images=GOOD[:1])
    detector.add(GOOD[1:3])

    assert not any("one reference" in line for line in detector.notes)
    assert detector.threshold(0.1).references == 2
    assert detector.score(BAD).is_anomalous.all()


@pytest.mark.parametrize(
    "memory",
    [
        MemoryOptions(),
        MemoryOptions(coreset=0.3),
        MemoryOptions(coreset=0.04),  # rows of one reference only are kept: barring them would leave nothing
        MemoryOptions(rows="centred", metric="euclidean"),
        MemoryOptions(rows="standardised", coreset=0.5, projection=3),
        MemoryOptions(rows="raw", metric="euclidean"),
    ],
)
def test_the_held_out_scores_leave_each_image_out(memory: MemoryOptions) -> None:
    """Of each reference itself, the score is that of a detector fitted on the others, whatever the memory keeps."""
    options = replace(SMALL, memory=memory)
    detector = fit(options=options)
    holdout = detector.fitted.holdout

    assert int(holdout.original.sum()) == 4
    for place in np.flatnonzero(holdout.original):
        sha256 = detector.manifest.shots[holdout.owners[place]].sha256
        rest = [image for image in GOOD if fit(images=[image]).manifest.shots[0].sha256 != sha256]
        (alone,) = [image for image in GOOD if not any(image is other for other in rest)]
        expected = fit(images=rest, options=options).branch_maps([alone])
        np.testing.assert_allclose(holdout.maps.memory.pixel[place], expected.memory.pixel[0], atol=1e-6)


@pytest.mark.parametrize("memory", [MemoryOptions(coreset=0.3), MemoryOptions(rows="standardised"), MemoryOptions()])
def test_added_references_are_held_out_of_the_memory_that_grew(memory: MemoryOptions) -> None:
    """Each against the memory that had been without it: the earlier references and the other new ones."""
    detector, options = fit(images=GOOD[:2], options=replace(SMALL, memory=memory)), replace(SMALL, memory=memory)
    detector.add(GOOD[2:])
    holdout = detector.fitted.holdout
    for new, other in ((2, 3), (3, 2)):
        twin = fit(images=GOOD[:2], options=options)
        twin.add([GOOD[other]])
        sha256 = read_picture(GOOD[new]).sha256
        owner = [shot.sha256 for shot in detector.manifest.shots].index(sha256)
        (place,) = np.flatnonzero(holdout.original & (holdout.owners == owner))
        expected = twin.branch_maps([GOOD[new]]).memory.pixel[0]
        np.testing.assert_allclose(holdout.maps.memory.pixel[place], expected, atol=1e-6)


def test_many_references_are_left_out_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight groups at least; none of a group is known to its memory, and a note says so."""
    monkeypatch.setattr("clipfast.anomaly.leaveout._COMPARISONS", 1)
    images, options = [picture(i) for i in range(18)], replace(SMALL, memory=MemoryOptions(coreset=0.2))
    detector = fit(images=images, options=options, image_mode="memory_only")
    holdout = detector.fitted.holdout
    assert "3 references at a time" in detector.notes[-1]
    assert not any("at a time" in line for line in fit(images=images).notes)
    order = [shot.sha256 for shot in detector.manifest.shots]
    images.sort(key=lambda image: order.index(read_picture(image).sha256))
    twin = fit(images=images[3:], options=options, image_mode="memory_only").branch_maps(images[:3]).memory.pixel
    places = np.flatnonzero(holdout.original & (holdout.owners < 3))
    np.testing.assert_allclose(holdout.maps.memory.pixel[places], twin, atol=1e-6)


def test_copies_in_another_file_are_one_reference(tmp_path: Path) -> None:
    """Saved again by another compressor, or as a bitmap, and as an array: the pixels tell."""
    image = Image.fromarray(GOOD[0])
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png", compress_level=0)
    image.save(tmp_path / "c.bmp")
    for copy in (tmp_path / "b.png", tmp_path / "c.bmp", GOOD[0]):
        with pytest.raises(DataError, match="are one image"):
            fit(images=[tmp_path / "a.png", copy])
    detector = fit(images=[tmp_path / "a.png", GOOD[1]])
    with pytest.raises(DataError, match="are one image"):
        detector.add([tmp_path / "c.bmp"])


def test_one_reference_is_calibrated_by_views_of_it() -> None:
    """No score of the reference itself is among them, and nothing is guaranteed."""
    detector = fit(images=GOOD[:1])

    assert not detector.fitted.holdout.original.any()
    assert len(detector.fitted.holdout.maps) == 8
    assert detector.fitted.holdout.maps.memory.image.min() > 0
    assert "one reference guarantees nothing" in detector.threshold(0.01).coverage
    assert any("one reference" in note for note in detector.notes)


@pytest.mark.parametrize("views", ["rotations", "dihedral"])
def test_turned_copies_in_the_memory(views: Any) -> None:
    """A turned reference is known, and leaving it out leaves its copies out."""
    images = [np.ascontiguousarray(image[:36, :36]) for image in GOOD]
    detector = fit(images=images, options=replace(SMALL, memory=MemoryOptions(views=views)))

    assert detector.score([np.rot90(images[0]).copy()]).memory.image[0] == 0
    assert detector.fitted.holdout.maps.memory.image.min() > 0
    assert len(detector.fitted.bank) == {"rotations": 4, "dihedral": 8}[views] * 4 * 12 * 2
    with pytest.raises(DataError, match="square input"):
        fit(options=replace(SMALL, memory=MemoryOptions(views=views)))


def test_magnified_copies_in_the_memory(mini: Clip) -> None:
    """The middle of a reference, magnified, is known, and leaving the reference out leaves its copies out."""
    photos = [cloth.image for cloth in anomaly_samples(7, good=2, each=0)]
    alone: dict[str, Any] = {"class_name": "cloth", "image_mode": "memory_only", "pixel_mode": "memory_only"}
    plain = AnomalyDetector.fit(mini, photos, **alone)
    nearer = AnomalyDetector.fit(mini, photos, options=AnomalyOptions(memory=MemoryOptions(zooms=(1.5,))), **alone)
    side = round(224 / 1.5)
    corner = (224 - side) // 2
    closer = photos[0][corner : corner + side, corner : corner + side]

    assert len(nearer.fitted.bank) == 2 * len(plain.fitted.bank)
    assert nearer.score([closer]).memory.image[0] < 0.25 * plain.score([closer]).memory.image[0]
    assert nearer.fitted.holdout.maps.memory.image.min() > 0


def test_magnified_copies_want_an_encoder_of_one_size() -> None:
    """A stub that takes any size cannot hold them."""
    with pytest.raises(DataError, match="tells its image size"):
        fit(options=replace(SMALL, memory=MemoryOptions(zooms=(1.5,))))


def test_progress_is_told() -> None:
    """One by one to a total that is known from the start: references, held-out views of them and damaged copies."""
    told: list[tuple[int, int]] = []
    options = replace(SMALL, progress=lambda done, total: told.append((done, total)))
    fit(options=options)
    assert told == [(done, 4 + 4 * 5 + 48) for done in range(1, 73)]

    told.clear()
    detector = fit(images=GOOD[:1], options=options, image_mode="memory")
    assert told == [(done, 1 + 8) for done in range(1, 10)]
    told.clear()
    detector.add(GOOD[1:])
    assert told == [(done, 3 + 3 * 5) for done in range(1, 19)]
