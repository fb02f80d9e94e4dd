"""Tests of clipfast.retrieval: the bank, its file, its scores and how it is built."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipfast.errors import ArtifactError, ShapeError
from clipfast.retrieval import BankModel, FabricBank, Neighbour, Ranked, class_scores
from clipfast.retrieval.scoring import CLASS_SCORES, ClassScore
from clipfast.types import Floats
from reference.painted_bank import ColourEncoder, floats, painted_folder, references, unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return three fabrics of three photos."""
    return painted_folder(tmp_path)


@pytest.fixture
def bank(folder: Path) -> FabricBank:
    """Return the bank of the folder."""
    return FabricBank.build(ColourEncoder(), folder)


def naive_ranking(query: Floats, fabrics: list[str], rows: Floats, score: str) -> list[tuple[str, float]]:
    """One loop a fabric, one a photo, straight from the definition."""

    def cosines(fabric: str) -> list[float]:
        return [float(np.dot(query.astype(float), row)) for f, row in zip(fabrics, rows, strict=True) if f == fabric]

    def centroid(fabric: str) -> float:
        mean = np.mean([row.astype(float) for f, row in zip(fabrics, rows, strict=True) if f == fabric], axis=0)
        return float(np.dot(query.astype(float), mean / np.linalg.norm(mean)))

    scores: dict[str, float] = {}
    for fabric in set(fabrics):
        scores[fabric] = {"max": max(cosines(fabric)), "mean": float(np.mean(cosines(fabric)))}.get(
            score, centroid(fabric)
        )
    if score == "centroid" and len(scores) > 1:
        first, second = sorted(scores.values(), reverse=True)[:2]
        if first - second < 0.03:
            shortlist = [fabric for fabric in scores if first - scores[fabric] < 0.03]
            lowest = min(max(cosines(fabric)) for fabric in shortlist)
            scores = {f: max(cosines(f)) if f in shortlist else min(max(cosines(f)), lowest - 1e-9) for f in scores}
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), spread=st.sampled_from([0.05, 0.3, 1.0]))
@pytest.mark.parametrize("score", sorted(CLASS_SCORES))
def test_rank_equals_the_naive_ranking(score: ClassScore, seed: int, count: int, spread: float) -> None:
    """Every class score gives the twin's fabrics and scores; a small spread makes centroids close."""
    rng = np.random.default_rng(seed)
    rows = unit(np.ones(16) / 4 + spread * rng.standard_normal((count, 16)))
    fabrics = [f"f{number}" for number in rng.integers(0, 6, count)]
    queries = unit(np.ones(16) / 4 + spread * rng.standard_normal((4, 16)))
    bank = FabricBank(references(fabrics, rows), BankModel("a" * 64, "fp32", "none"))
    answers = bank.rank_many(queries, topk=10, score=score)
    for query, answer in zip(queries, answers, strict=True):
        expected = naive_ranking(query, fabrics, rows, score)
        np.testing.assert_allclose([r.score for r in answer], [value for _, value in expected], atol=1e-6)
        assert sorted((r.score for r in answer), reverse=True) == [r.score for r in answer]
        assert answer == bank.rank(query, topk=10, score=score)
        if np.diff([-value for _, value in expected]).min(initial=1) > 1e-6:  # nearer ones may swap by rounding
            assert [name for name, _ in expected] == [r.id for r in answer]


def test_centroid_rescoring_keeps_others_behind() -> None:
    """Close centroids are decided by photos, and a far fabric with one lucky photo stays behind the shortlist."""
    angles = {"a": [0.30, 0.30], "b": [0.02, 0.60], "lucky": [0.0, 1.6]}
    rows = floats([[np.cos(x), np.sin(x)] for pair in angles.values() for x in pair])
    fabrics = [fabric for fabric in angles for _ in range(2)]
    bank = FabricBank(references(fabrics, rows), BankModel("a" * 64, "fp32", "none"))
    answer = bank.rank(floats([1, 0]), score="centroid")
    assert [r.id for r in answer] == ["b", "a", "lucky"]
    np.testing.assert_allclose([r.score for r in answer], [np.cos(0.02), np.cos(0.3), np.cos(0.3)], atol=1e-6)
    assert [r.id for r in bank.rank(floats([1, 0]), score="max")] == ["lucky", "b", "a"]


def test_photos_that_cancel_out_have_no_centroid() -> None:
    """Opposite photos give a centroid score of 0, not NaN."""
    refs = references(["a", "a", "b"], floats([[1, 0], [-1, 0], [0, 1]]))
    assert refs.centroids[0].tolist() == [0.0, 0.0]
    assert class_scores(floats([[0, 1]]), refs, "centroid").tolist() == [[0.0, 1.0]]


def test_equal_scores_stand_in_the_order_of_ids() -> None:
    """The same photo under several fabrics gives equal scores wherever its rows stand, and ids decide."""
    rows = unit(np.random.default_rng(0).standard_normal((23, 512)))
    rows[[3, 9, 17, 22]] = rows[3]
    fabrics = [f"f{number:02}" for number in range(23)]
    bank = FabricBank(references(fabrics, rows), BankModel("a" * 64, "fp32", "none"))
    for score in CLASS_SCORES:
        assert [r.id for r in bank.rank(rows[3], topk=4, score=score)] == ["f03", "f09", "f17", "f22"]
    assert [n.fabric for n in bank.search(rows[3], topk=4)] == ["f03", "f09", "f17", "f22"]


def test_ranked_answers_both_ways() -> None:
    """r["id"] and r.id are one; an unknown name lists the fields; records cannot be changed."""
    ranked = Ranked("cotton", 0.5)
    assert (ranked["id"], ranked["score"]) == (ranked.id, ranked.score) == ("cotton", 0.5)
    with pytest.raises(KeyError, match="the fields are id, score"):
        ranked["name"]
    with pytest.raises(AttributeError):
        ranked.score = 1.0  # type: ignore[misc]
    assert Neighbour("p", "f", 1.0)["path"] == "p"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (np.eye(4, dtype=np.float32)[:2], r"\(2, 4\)\. Pass several to rank_many"),
        (np.zeros((0, 4), dtype=np.float32), "rank_many"),
        ([np.eye(4, dtype=np.float32)[0]], "list of 1. Pass several to rank_many"),
        (np.eye(5, dtype=np.float32)[0], r"query must be \(n, 4\); got \(1, 5\)"),
        (np.eye(4)[0], "float32; got float64"),
        (np.full(4, np.nan, dtype=np.float32), "finite"),
        (np.ones(4, dtype=np.float32), "unit rows; row 0 has length 2"),
        (np.zeros((1, 1, 4), dtype=np.float32), r"got \(1, 1, 4\)"),
    ],
)
def test_rank_says_what_it_wants(bank: FabricBank, query: Any, message: str) -> None:
    """Several rows, wrong widths, dtypes and values are refused with expected and got."""
    for method in (bank.rank, bank.search, bank.nearest):
        with pytest.raises(ShapeError, match=message):
            method(query)


def test_rank_refuses_unknown_options(bank: FabricBank) -> None:
    """topk below 1 and an unknown score are errors that list what there is."""
    query = np.eye(4, dtype=np.float32)[0]
    with pytest.raises(ShapeError, match="topk must be an integer of at least 1; got 0"):
        bank.rank(query, topk=0)
    with pytest.raises(ShapeError, match=r"topk must be an integer of at least 1; got 2\.5"):
        bank.rank(query, topk=2.5)  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(ShapeError, match="topk must be an integer of at least 1; got -1"):
        bank.search(query, topk=-1)
    with pytest.raises(ShapeError, match="max, mean, centroid; got 'best'"):
        bank.rank(query, score="best")  # type: ignore[arg-type]  # what must be refused


def test_topk_beyond_the_bank_gives_all(bank: FabricBank) -> None:
    """Asking for more than there is gives what there is."""
    query = np.eye(4, dtype=np.float32)[:1]
    assert (len(bank.rank(query, topk=99)), len(bank.search(query, topk=99))) == (3, 9)
    assert bank.rank_many(np.zeros((0, 4), dtype=np.float32)) == []


def test_images_and_vectors_rank_alike(bank: FabricBank, folder: Path, tmp_path: Path) -> None:
    """A path, a PIL image, an array and the vector give one answer; without a clip an image is refused."""
    path = folder / "silk" / "ref_0.png"
    image = Image.open(path)
    vector = ColourEncoder().encode_images([image])
    answers = [bank.rank(query) for query in (path, str(path), image, np.asarray(image), vector, vector[0])]
    assert all(answer == answers[0] for answer in answers)
    assert [answers[0]] * 2 == bank.rank_many([path, image])
    bank.save(tmp_path / "bank.npz")
    plain = FabricBank.load(tmp_path / "bank.npz")
    assert answers[0] == plain.rank(vector)
    for ask in (lambda: plain.rank(path), lambda: plain.rank_many([path]), lambda: plain.add(path, "silk")):
        with pytest.raises(ArtifactError, match=r"FabricBank\.load\(path, clip=clip\)"):
            ask()


def test_search_and_nearest_agree_with_rank(bank: FabricBank, folder: Path) -> None:
    """The nearest photo is the one asked with, and each fabric's nearest photo has its max score."""
    path = folder / "羊毛" / "ref_2.bmp"
    first = bank.search(path, topk=1)[0]
    assert (first.path, first.fabric) == ("羊毛/ref_2.bmp", "羊毛")
    nearest = bank.nearest(path)
    assert {r.id: r.score for r in bank.rank(path)} == {fabric: photo.score for fabric, photo in nearest.items()}
    assert first.path == nearest["羊毛"].path


def test_ranking_beside_changes_is_safe(bank: FabricBank) -> None:
    """Threads that rank while another adds and removes always see a whole bank."""
    failures: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        try:
            while not stop.is_set():
                assert len(bank.search(np.eye(4, dtype=np.float32)[0], 20)) in (9, 10)
                assert len(bank.rank(np.eye(4, dtype=np.float32)[0], 5)) == 3
        except BaseException as error:  # noqa: BLE001  (handed to the test's thread)
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        bank.add(Image.new("RGB", (2, 2)), "silk")
        bank.remove(next(path for path in bank.references.paths if "ref" not in path))
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
