"""Tests of clipfast.index."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfast.errors import ArtifactError, DataError, FingerprintError, MissingExtraError, ShapeError
from clipfast.index import Hits, VectorIndex
from clipfast.kernels.screening import encode_rows
from clipfast.storage import save_sealed_npz
from clipfast.types import Floats, Ints


def brute_force(rows: Floats, ids: Ints, queries: Floats, k: int) -> tuple[list[list[float]], list[list[int]]]:
    """Sort all (-score, id) pairs of every query: the twin of VectorIndex.search."""
    scores: list[list[float]] = []
    found: list[list[int]] = []
    for query in queries:
        pairs = sorted(
            (-float(np.dot(row.astype(float), query)), int(name)) for row, name in zip(rows, ids, strict=True)
        )
        pairs = (pairs + [(np.inf, -1)] * k)[:k]
        scores.append([-score for score, _ in pairs])
        found.append([name for _, name in pairs])
    return scores, found


def unit_rows(count: int, dim: int, seed: int) -> Floats:
    """Return seeded random unit rows."""
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def exact_rows(count: int, seed: int) -> Floats:
    """Return unit rows of four +-.5 among 8 columns: products are exact, and many are tied."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((count, 8), dtype=np.float32)
    for row in rows:
        row[rng.choice(8, 4, replace=False)] = rng.choice([-0.5, 0.5], 4)
    return rows


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 60), queries=st.integers(1, 40), k=st.integers(1, 70), seed=st.integers(0, 999)
)  # 40 queries cross the batch in which they are searched; 70 neighbours are more than there are
def test_equals_brute_force_with_ties(count: int, queries: int, k: int, seed: int) -> None:
    """Ids and scores equal the twin's where most scores are tied and ids are in no order."""
    rows, asked = exact_rows(count, seed), exact_rows(queries, seed + 1)
    ids = np.random.default_rng(seed).permutation(1000)[:count].astype(np.int64)
    index = VectorIndex(8)
    index.add(rows, ids)
    hits = index.search(asked, k)
    scores, found = brute_force(rows, ids, asked, k)
    assert found == hits.ids.tolist()
    assert scores == hits.scores.tolist()
    assert (hits.scores.dtype, hits.ids.dtype) == (np.dtype(np.float32), np.dtype(np.int64))


@pytest.mark.parametrize("k", [1, 5, 150])  # of 300 rows: screened, and looked at straight away
def test_equals_brute_force_on_random_rows(k: int) -> None:
    """Without ties, ids are the twin's and scores are within 1e-6."""
    rows, asked = unit_rows(300, 64, 0), unit_rows(30, 64, 1)
    index = VectorIndex(64)
    ids = index.add(rows)
    hits = index.search(asked, k)
    scores, found = brute_force(rows, ids, asked, k)
    assert found == hits.ids.tolist()
    np.testing.assert_allclose(hits.scores, scores, atol=1e-6, rtol=0)


def test_equal_rows_stand_in_the_order_of_their_ids() -> None:
    """Five hundred copies of one row come back by id, whatever the heap does."""
    row = unit_rows(1, 64, 3)
    index = VectorIndex(64)
    index.add(np.repeat(row, 500, axis=0), np.arange(500, dtype=np.int64)[::-1].copy())
    assert index.search(row, 7).ids.tolist() == [[0, 1, 2, 3, 4, 5, 6]]


def test_results_do_not_depend_on_batch_and_threads() -> None:
    """One query alone, in a batch, and on one thread gives the same bits."""
    index, serial = VectorIndex(512, threads=3), VectorIndex(512, threads=1)
    rows = unit_rows(2001, 512, 0)
    rows[[1000, 2000]] = rows[0]
    index.add(rows)
    serial.add(rows)
    asked = rows[:1000]
    together = index.search(asked, 9)
    assert np.unique(together.scores[0, :3]).size == 1
    alone = [index.search(query[None], 9) for query in asked[:100]]
    assert together.scores[:100].tolist() == [hits.scores[0].tolist() for hits in alone]
    single = serial.search(asked, 9)
    assert (together.scores.tolist(), together.ids.tolist()) == (single.scores.tolist(), single.ids.tolist())


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(0, 400),
    share=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    k=st.integers(1, 30),
    seed=st.integers(0, 999),
    kind=st.sampled_from(["ids", "mask", "selection", "twice"]),
    screening=st.booleans(),
)
def test_search_among_some_equals_an_index_of_only_those(
    count: int, share: float, k: int, seed: int, kind: str, screening: bool
) -> None:
    """Filters that let nothing, little, much and everything through, by ids in no order; most scores are tied."""
    rng = np.random.default_rng(seed)
    rows, asked = exact_rows(count, seed), exact_rows(3, seed + 1)
    ids = rng.permutation(1000)[:count].astype(np.int64)
    index = VectorIndex(8, screening=screening)
    index.add(rows, ids)
    mask = rng.random(count) < share
    among: Any = {"mask": mask, "twice": np.concatenate([ids[mask], ids[mask]])}.get(kind, rng.permutation(ids[mask]))

    hits = index.search(asked, k, among=index.select(among) if kind == "selection" else among)

    scores, found = brute_force(rows[mask], ids[mask], asked, k)
    assert hits.ids.tolist() == found
    assert hits.scores.tolist() == scores


def test_a_selection_outlives_additions_but_not_removals() -> None:
    """Rows that are added are not in it; after a removal its places would be others."""
    rows = unit_rows(40, 8, 0)
    index = VectorIndex(8)
    index.add(rows[:30])
    some = index.select(np.array([3, 7, 11]))
    index.add(rows[30:])
    assert sorted(index.search(rows[35:36], 9, among=some).ids[0].tolist()) == [-1] * 6 + [3, 7, 11]
    index.remove(np.array([0]))
    with pytest.raises(DataError, match="Select again"):
        index.search(rows[:1], 1, among=some)
    with pytest.raises(DataError, match="it is another's"):
        VectorIndex(8).search(rows[:1], 1, among=some)


@pytest.mark.parametrize(
    ("among", "error", "message"),
    [
        (np.array([1, 99]), DataError, "99 are not"),
        (np.array([-1]), DataError, "-1 are not"),
        (np.ones(3, np.bool_), ShapeError, "one boolean for each of the 4 rows"),
        (np.array([1.0]), ShapeError, "ids must be one row of int64"),
        ([1], ShapeError, "got list"),
    ],
)
def test_filters_that_are_none_are_named(among: Any, error: type[Exception], message: str) -> None:
    """Unknown ids, a mask of another length, numbers that are no ids."""
    index = VectorIndex(4)
    index.add(np.eye(4, dtype=np.float32))
    with pytest.raises(error, match=message):
        index.search(np.eye(4, dtype=np.float32), 1, among=among)


def test_rows_in_a_mapped_file_are_searched_there_and_copied_when_changed(tmp_path: Path) -> None:
    """Reading needs no right to write; adding leaves the file alone."""
    rows = unit_rows(300, 16, 0)
    np.save(tmp_path / "rows.npy", rows)
    (tmp_path / "rows.npy").chmod(0o444)
    index = VectorIndex.over(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    assert index.search(rows[7:9], 1).ids.tolist() == [[7], [8]]
    index.add(unit_rows(5, 16, 1))
    index.remove(np.array([7]))
    assert index.search(rows[7:9], 1).ids[1].tolist() == [8]
    assert (np.load(tmp_path / "rows.npy") == rows).all()


def test_rows_of_the_caller_are_never_moved() -> None:
    """An array that could be written to is the caller's all the same, and so are its codes."""
    rows = unit_rows(300, 16, 0)
    codes = encode_rows(rows)
    before, codes_before = rows.copy(), codes.codes.copy()
    index = VectorIndex.over(rows, codes=codes)
    index.remove(np.array([3, 7]))
    index.add(unit_rows(5, 16, 1))
    assert (rows == before).all()
    assert (codes.codes == codes_before).all()
    assert index.search(before[7:9], 1).ids[1].tolist() == [8]


def test_remove_keeps_the_ids_of_the_others() -> None:
    """After a removal the index answers like one that never held the rows; new ids continue after the highest."""
    rows = unit_rows(30, 8, 0)
    index = VectorIndex(8)
    ids = index.add(rows)
    gone = np.array([0, 7, 28], dtype=np.int64)
    index.remove(gone)
    keep = np.setdiff1d(ids, gone)
    scores, found = brute_force(rows[keep], keep, rows[:5], 40)
    hits = index.search(rows[:5], 40)
    assert found == hits.ids.tolist()
    np.testing.assert_allclose(hits.scores, scores, atol=1e-6)
    assert index.add(rows[:1]).tolist() == [30]


def test_empty_index_answers_with_empty_places() -> None:
    """An index without rows gives -1 and -inf."""
    hits = VectorIndex(4).search(np.eye(4, dtype=np.float32), 2)
    assert isinstance(hits, Hits)
    assert hits.ids.tolist() == [[-1, -1]] * 4
    assert np.isneginf(hits.scores).all()


def test_file_round_trip_is_equal_and_reproducible(tmp_path: Path) -> None:
    """A loaded index answers alike, saves equal bytes, and is readable with numpy alone."""
    index = VectorIndex(8, fingerprint="f" * 64)
    index.add(unit_rows(20, 8, 0), np.arange(40, 60, dtype=np.int64))
    index.save(tmp_path / "a.npz")
    again = VectorIndex.load(tmp_path / "a.npz", fingerprint="f" * 64)
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    asked = unit_rows(3, 8, 1)
    assert index.search(asked, 5).ids.tolist() == again.search(asked, 5).ids.tolist()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["ids", "meta", "vectors"]


def test_other_fingerprint_is_refused(tmp_path: Path) -> None:
    """The error of an index of another model names both."""
    VectorIndex(8, fingerprint="a" * 64).save(tmp_path / "a.npz")
    with pytest.raises(FingerprintError, match=r"aaaa.*bbbb"):
        VectorIndex.load(tmp_path / "a.npz", fingerprint="b" * 64)


META = '{"format":1,"fingerprint":""}'


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vectors": np.full((2, 4), np.nan, np.float32)}, "finite"),
        ({"vectors": np.ones((2, 4), np.float32)}, "unit rows"),
        ({"vectors": np.eye(4)[:2]}, "float32"),
        ({"vectors": np.float32(1)}, "must be an array"),
        ({"ids": np.array([3, 3])}, "unique"),
        ({"ids": np.array([[1, 2]])}, "one row"),
        ({"meta": np.array('{"format":2,"fingerprint":""}')}, "format 2"),
        ({"meta": np.array("{")}, "not a readable index"),
    ],
)
def test_sealed_file_with_wrong_content_is_refused(
    tmp_path: Path, changed: dict[str, np.ndarray], message: str
) -> None:
    """A file that is sealed but holds something else is an ArtifactError that names it."""
    arrays = {"vectors": np.eye(4, dtype=np.float32)[:2], "ids": np.arange(2), "meta": np.array(META), **changed}
    save_sealed_npz(tmp_path / "a.npz", {name: np.asarray(array) for name, array in arrays.items()})
    with pytest.raises(ArtifactError, match=rf"a\.npz.*{message}"):
        VectorIndex.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.eye(4, dtype=np.float32)[0], r"must be an array \(n, 4\); got \(4,\)"),
        (np.eye(5, dtype=np.float32), r"must be \(n, 4\); got \(5, 5\)"),
        (np.eye(4), r"must be float32; got float64"),
        (np.full((1, 4), np.nan, dtype=np.float32), "row 0 holds NaN"),
        (np.array([[1, 0, 0, 0], [0, 2, 0, 0]], dtype=np.float32), "row 1 has length 2"),
        (np.zeros((1, 4), dtype=np.float32), "row 0 has length 0"),
        ([[1.0, 0, 0, 0]], "got list"),
    ],
)
def test_add_says_what_it_wants(vectors: Floats, message: str) -> None:
    """Wrong shape, dtype, values and lengths are refused with expected and got, and nothing is added."""
    index = VectorIndex(4)
    with pytest.raises(ShapeError, match=message):
        index.add(vectors)
    assert len(index) == 0


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        (np.array([1, 1]), DataError),
        (np.array([0, 5]), DataError),  # 0 is in use
        (np.array([-1, 5]), DataError),
        (np.array([5]), ShapeError),
        (np.array([5, 6], dtype=np.int32), ShapeError),
        ([5, 6], ShapeError),
    ],
)
def test_add_refuses_wrong_ids(ids: Ints, error: type[Exception]) -> None:
    """Ids that are not unique, not as many or not int64 are refused, and nothing is added."""
    index = VectorIndex(4)
    index.add(np.eye(4, dtype=np.float32)[:1])
    with pytest.raises(error, match="ids must"):
        index.add(np.eye(4, dtype=np.float32)[1:3], ids)
    assert len(index) == 1


def test_search_and_remove_refuse_what_is_not_there() -> None:
    """k below 1, a width of none and unknown ids are errors."""
    index = VectorIndex(4)
    index.add(np.eye(4, dtype=np.float32))
    with pytest.raises(ShapeError, match="k must be an integer of at least 1; got 0"):
        index.search(np.eye(4, dtype=np.float32), 0)
    with pytest.raises(ShapeError, match="queries x k must be at most"):
        index.search(np.eye(4, dtype=np.float32), 10**12)
    with pytest.raises(ShapeError, match="dim must be at least 1"):
        VectorIndex(0)
    with pytest.raises(DataError, match="9 are not"):
        index.remove(np.array([1, 9]))
    assert len(index) == 4


def test_missing_faiss_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without FAISS the exact search works; where it is needed, the error is the line that installs it."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert len(VectorIndex(4)) == 0
    with pytest.raises(MissingExtraError, match=r"pip install 'clipfast\[cpu\]'"):
        VectorIndex(4, gpu=0)


def test_import_loads_no_faiss() -> None:
    """Importing the module leaves FAISS for the first index."""
    code = "import sys, clipfast.index; sys.exit('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
