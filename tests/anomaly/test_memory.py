"""Tests of clipfast.anomaly.memory and clipfast.anomaly.rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clipfast.anomaly.memory import MemoryBank, Reference
from clipfast.anomaly.options import MemoryOptions
from clipfast.anomaly.rows import Preparation
from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.types import PatchFeatures
from reference.anomaly_stubs import GRID, features
from reference.naive_anomaly import coreset as naive_coreset
from reference.naive_anomaly import memory_map, reweighted


def names(n: int, start: int = 0) -> list[Reference]:
    """References with checksums of their own."""
    return [Reference(f"ref {i}", f"{i:064}") for i in range(start, start + n)]


def taken(patches: PatchFeatures, rows: Any) -> PatchFeatures:
    """Some of the images."""
    return PatchFeatures({b: values[rows] for b, values in patches.features.items()}, patches.grid_hw)


def equal(one: MemoryBank, other: MemoryBank) -> bool:
    """Whether two banks hold the same, to the bit."""
    return one.references == other.references and all(
        np.array_equal(one.blocks[b].rows, other.blocks[b].rows)
        and np.array_equal(one.blocks[b].owners, other.blocks[b].owners)
        and np.array_equal(one.blocks[b].preparation.shift, other.blocks[b].preparation.shift)
        and np.array_equal(one.blocks[b].preparation.scale, other.blocks[b].preparation.scale)
        for b in one.blocks
    )


def test_the_map_is_that_of_the_definition() -> None:
    """Cosine, both blocks averaged, against the naive twin; the image takes the highest patch."""
    support, query = features(3, 1), features(2, 2)
    found = MemoryBank.build(support, names(3)).score(query)

    for i in range(2):
        twin = memory_map(
            {b: query.features[b][i] for b in (2, 5)}, {b: support.features[b].reshape(-1, 6) for b in (2, 5)}
        )
        np.testing.assert_allclose(found.pixel[i].ravel(), twin, atol=1e-5)
        assert found.image[i] == pytest.approx(twin.max(), abs=1e-5)


def test_euclidean_distances_of_raw_rows() -> None:
    """Raw rows and plain distances, checked by hand."""
    support, query = features(2, 1, blocks=(3,)), features(1, 2, blocks=(3,))
    bank = MemoryBank.build(support, names(2), MemoryOptions(metric="euclidean", rows="raw"))
    rows = support.features[3].reshape(-1, 6).astype(np.float64)
    twin = [np.linalg.norm(rows - patch, axis=1).min() for patch in query.features[3][0].astype(np.float64)]

    np.testing.assert_allclose(bank.score(query).pixel.ravel(), twin, atol=1e-5)


@pytest.mark.parametrize("kind", ["centred", "standardised"])
def test_what_all_patches_share_is_taken_away(kind: Any) -> None:
    """A huge constant channel decides every cosine of unit rows and none of the prepared ones."""
    support, query = features(3, 1), features(2, 2)
    plain = MemoryBank.build(support, names(3), MemoryOptions(rows=kind)).score(query)
    for patches in (support, query):
        for values in patches.features.values():
            values[..., 0] += 500
    shifted = MemoryBank.build(support, names(3), MemoryOptions(rows=kind)).score(query)
    unit = MemoryBank.build(support, names(3)).score(query)

    np.testing.assert_allclose(shifted.pixel, plain.pixel, atol=1e-4)
    assert unit.pixel.max() < 1e-4


def test_an_image_of_the_memory_is_at_zero_and_without_itself_it_is_not() -> None:
    """Leaving an image out gives what a memory of the others gives."""
    support = features(4, 3)
    bank = MemoryBank.build(support, names(4))
    third = taken(support, [2])
    others = MemoryBank.build(taken(support, [0, 1, 3]), [names(4)[i] for i in (0, 1, 3)])

    assert bank.score(third).pixel.max() == 0
    np.testing.assert_allclose(bank.score(third, without=2).pixel, others.score(third).pixel, atol=1e-7)


@pytest.mark.parametrize("kind", ["unit", "centred", "standardised"])
def test_adding_and_removing_equal_building_anew(kind: Any) -> None:
    """Without a coreset, to the bit."""
    options, support = MemoryOptions(rows=kind), features(5, 4)
    whole = MemoryBank.build(support, names(5), options)
    grown = MemoryBank.build(taken(support, [0, 1, 2]), names(3), options).added(
        taken(support, [3, 4]), names(2, start=3)
    )
    kept = [0, 2, 3, 4]

    assert equal(whole, grown)
    assert equal(grown.removed("ref 1"), MemoryBank.build(taken(support, kept), [names(5)[i] for i in kept], options))


def test_a_coreset_covers_and_goes_on() -> None:
    """A quarter of the rows by the naive twin's picks; added images go on from the rows that are kept."""
    rng = np.random.default_rng(0)
    values = rng.integers(-20, 20, (4, 12, 3)).astype(np.float32)
    options = MemoryOptions(metric="euclidean", rows="raw", coreset=0.25, blocks=(1,))
    bank = MemoryBank.build(PatchFeatures({1: values[:3]}, GRID), names(3), options, seed=5)
    rows = values[:3].reshape(-1, 3)
    first = int(np.random.default_rng(5).integers(36))
    picks, _ = naive_coreset(rows - rows.mean(axis=0), 9, first)

    assert bank.blocks[1].rows.tolist() == rows[picks].tolist()
    assert bank.blocks[1].owners.tolist() == [pick // 12 for pick in picks]
    grown = bank.added(PatchFeatures({1: values[3:]}, GRID), names(1, start=3))
    more, _ = naive_coreset(values[3], 3, None, covered=list(rows[picks]))
    assert grown.blocks[1].rows[9:].tolist() == values[3][more].tolist()
    assert set(grown.blocks[1].owners[9:].tolist()) == {3}
    assert len(grown.removed("ref 3").blocks[1].rows) == 9


def test_a_projected_coreset_is_seeded() -> None:
    """Equal seeds keep equal rows, also in a projection to two channels."""
    support = features(3, 1)
    kept = [
        MemoryBank.build(support, names(3), MemoryOptions(coreset=0.5, projection=2), seed=s).blocks[2].rows
        for s in (1, 1, 2)
    ]

    assert np.array_equal(kept[0], kept[1])
    assert not np.array_equal(kept[0], kept[2])


@pytest.mark.parametrize("neighbours", [1, 3, 9])
def test_reweighting_is_anomalibs(neighbours: int) -> None:
    """Plain Euclidean distances of one block against the naive twin; one neighbour is the maximum."""
    support, query = features(2, 1, blocks=(4,)), features(3, 2, blocks=(4,))
    options = MemoryOptions(metric="euclidean", rows="raw", image_score="reweighted", neighbours=neighbours)
    found = MemoryBank.build(support, names(2), options).score(query).image

    for i in range(3):
        twin = reweighted(query.features[4][i], support.features[4].reshape(-1, 6), neighbours)
        if neighbours == 1:
            twin = float(MemoryBank.build(support, names(2), options).score(query).pixel[i].max())
        assert found[i] == pytest.approx(twin, abs=1e-5)


def test_the_top_is_a_mean_of_one_in_a_hundred() -> None:
    """On a grid of 15 x 16 the three highest of 240."""
    rng = np.random.default_rng(0)
    patches = PatchFeatures({1: rng.normal(size=(2, 240, 4)).astype(np.float32)}, (15, 16))
    bank = MemoryBank.build(taken(patches, [0]), names(1), MemoryOptions(image_score="top"))
    found = bank.score(taken(patches, [1]))

    assert found.image[0] == pytest.approx(np.sort(found.pixel.ravel())[-3:].mean(), abs=1e-6)


@pytest.mark.parametrize("rows", ["unit", "standardised"])
def test_the_mean_is_that_of_all_patches(rows: Any) -> None:
    """Of the definition's averaged distances, in the naive twin's words."""
    support, query = features(3, 1), features(2, 2)
    bank = MemoryBank.build(support, names(3), MemoryOptions(rows=rows, image_score="mean"))
    known = {b: bank.blocks[b].preparation.apply(support.features[b].reshape(-1, 6)) for b in (2, 5)}
    for i, found in enumerate(bank.score(query).image):
        asked = {b: bank.blocks[b].preparation.apply(query.features[b][i]) for b in (2, 5)}
        assert found == pytest.approx(sum(memory_map(asked, known)) / 12, abs=1e-6)


def test_the_mean_sees_a_change_everywhere_and_the_highest_one_somewhere() -> None:
    """Every patch turned a little, against one turned round."""
    support, query = features(3, 1), features(2, 2)
    everywhere, somewhere = (
        PatchFeatures({b: v[:1].copy() for b, v in support.features.items()}, GRID) for _ in range(2)
    )
    for b in (2, 5):
        everywhere.features[b][...] += np.float32(0.5) * query.features[b][:1]
        somewhere.features[b][0, 3] = -everywhere.features[b][0, 3]
    bank = MemoryBank.build(support, names(3), MemoryOptions(image_score="mean"))
    highest = MemoryBank.build(support, names(3))
    assert bank.score(everywhere).image[0] > bank.score(somewhere).image[0]
    assert highest.score(everywhere).image[0] < highest.score(somewhere).image[0]


def test_contrast_is_the_highest_less_the_images_own_median() -> None:
    """What is added to every distance of an image does not count; a single far patch does."""
    support, query = features(2, 1), features(3, 2)
    highest = MemoryBank.build(support, names(2)).score(query)
    found = MemoryBank.build(support, names(2), MemoryOptions(image_score="contrast")).score(query)

    maps = highest.pixel.reshape(3, -1)
    np.testing.assert_array_equal(found.pixel, highest.pixel)
    np.testing.assert_allclose(found.image, maps.max(axis=1) - np.median(maps, axis=1), atol=1e-7)
    assert not np.allclose(found.image, highest.image)


@pytest.mark.parametrize("zooms", [(1.0,), (0.5,), (4.5,), (float("nan"),), (1.25, 1.25)])
def test_zooms_magnify(zooms: tuple[float, ...]) -> None:
    """Each above 1, at most 4, once."""
    with pytest.raises(ShapeError, match="zooms must be different numbers above 1"):
        MemoryOptions(zooms=zooms)


def test_faiss_finds_the_same() -> None:
    """The exact index and the fused product give equal scores."""
    support, query = features(4, 1), features(3, 2)
    product = MemoryBank.build(support, names(4)).score(query)
    faiss = MemoryBank.build(support, names(4), MemoryOptions(search="faiss")).score(query)

    np.testing.assert_allclose(product.pixel, faiss.pixel, atol=1e-6)


def test_images_do_not_depend_on_their_batch() -> None:
    """Scored one by one or together."""
    support, query = features(3, 1), features(7, 2)
    bank = MemoryBank.build(support, names(3))
    together = bank.score(query)
    alone = [bank.score(taken(query, [i])) for i in range(7)]

    np.testing.assert_allclose(together.pixel, np.concatenate([a.pixel for a in alone]), atol=1e-6)
    np.testing.assert_allclose(together.image, np.concatenate([a.image for a in alone]), atol=1e-6)


def test_turned_copies_belong_to_their_image() -> None:
    """Two pictures of each reference: leaving one out leaves both out."""
    support = features(4, 1)
    owners = np.array([0, 0, 1, 1])
    bank = MemoryBank.build(support, names(2), owners=owners)

    assert bank.score(taken(support, [1]), without=0).pixel.min() > 0
    assert bank.removed("ref 0").references == (names(2)[1],)


def test_a_name_that_several_have_removes_none_of_them() -> None:
    """Arrays are named by their place; their SHA-256 tells them apart."""
    twice = [Reference("image 1", f"{i:064}") for i in range(2)]
    bank = MemoryBank.build(features(3), [*twice, Reference("image 2", f"{2:064}")])

    with pytest.raises(DataError, match=f"2 reference images are named 'image 1'.*SHA-256 of one: {0:064}, {1:064}"):
        bank.removed("image 1")
    assert bank.removed(twice[0].sha256).references == (twice[1], bank.references[2])


def test_a_dead_channel_stays_dead() -> None:
    """A channel that never moves is not divided by zero."""
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    rows[:, 1] = 7

    assert np.isfinite(Preparation.fit(rows, "standardised").apply(rows)).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda: MemoryBank.build(features(0), []), DataError, "at least one intact image"),
        (lambda: MemoryBank.build(features(2), names(1)), DataError, "must come from one of the 1 references"),
        (lambda: MemoryBank.build(features(2), names(1) * 2), DataError, "are one image"),
        (lambda: MemoryBank.build(features(1), names(1), MemoryOptions(blocks=(9,))), ArtifactError, "9 are not there"),
        (lambda: MemoryBank.build(replace(features(1), grid_hw=(2, 2)), names(1)), ShapeError, r"must be \(n, 4, c\)"),
        (lambda: MemoryBank.build(features(1), names(1)).removed("ref 0"), DataError, "all that the bank holds"),
        (lambda: MemoryBank.build(features(1), names(1)).removed("no"), DataError, "No reference image"),
        (lambda: MemoryBank.build(features(1), names(1)).added(features(1), names(1)), DataError, "are one image"),
        (
            lambda: MemoryBank.build(features(1), names(1)).added(features(1, channels=5), names(1, 1)),
            ShapeError,
            r"must be \(n, p, 6\)",
        ),
        (lambda: MemoryBank.build(features(1), names(1)).score(features(1), without=0), DataError, "no row of block 2"),
        (lambda: MemoryOptions(rows="raw"), DataError, 'goes with metric="euclidean"'),
        (lambda: MemoryOptions(coreset=0), ShapeError, "share in"),
        (lambda: MemoryOptions(metric="l1"), DataError, "metric must be one of"),  # type: ignore[arg-type]
        (lambda: MemoryOptions(projection="some"), DataError, "projection must be"),  # type: ignore[arg-type]
        (lambda: MemoryOptions(neighbours=0), ShapeError, "1 or more"),
    ],
)
def test_bad_input_is_named(change: Any, error: type[Exception], message: str) -> None:
    """Each fault has its sentence."""
    with pytest.raises(error, match=message):
        change()
