"""An index on a GPU: refused clearly without one, and the same answers with one that is played by the CPU."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from clipfast import flat_faiss as module
from clipfast.errors import ProviderError, ShapeError
from clipfast.index import VectorIndex


def _rows(count: int) -> Any:
    rows = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _faiss_with_gpus(count: int, seen: list[int]) -> Any:
    def move(_resources: object, gpu: int, flat: Any) -> Any:
        seen.append(gpu)
        return flat

    return types.SimpleNamespace(
        IndexFlatIP=faiss.IndexFlatIP,
        StandardGpuResources=object,
        get_num_gpus=lambda: count,
        index_cpu_to_gpu=move,
    )


def test_a_faiss_without_gpus_says_what_to_install() -> None:
    """faiss-cpu has no such class at all."""
    if hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this is faiss-gpu")

    with pytest.raises(ProviderError, match=r"knows no GPUs\. Install it: .*clipfast\[gpu\]"):
        VectorIndex(8, gpu=0)


@pytest.mark.parametrize(("count", "gpu"), [(0, 0), (1, 1), (2, -1)])  # none; beyond the last; negative
def test_a_gpu_that_is_not_there_is_named(count: int, gpu: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAISS itself would throw from C++ later."""
    monkeypatch.setattr(module, "load_faiss", lambda: _faiss_with_gpus(count, []))

    with pytest.raises(ProviderError, match=rf"gpu must be below {count}, .* got {gpu}"):
        VectorIndex(8, gpu=gpu)


def test_the_rows_go_to_the_gpu_and_answers_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added, searched, removed, saved and loaded there."""
    seen: list[int] = []
    rows = _rows(50)
    ordinary = VectorIndex(8)
    ordinary.add(rows)
    monkeypatch.setattr(module, "load_faiss", lambda: _faiss_with_gpus(2, seen))
    there = VectorIndex(8, gpu=1)
    there.add(rows)
    there.save(tmp_path / "rows.npz")
    again = VectorIndex.load(tmp_path / "rows.npz", gpu=0)

    assert seen == [1, 0]
    expected = ordinary.search(rows[:5], 4)
    for found in (there.search(rows[:5], 4), again.search(rows[:5], 4)):
        assert found.ids.tolist() == expected.ids.tolist()
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)  # of a GPU: single precision


def test_more_rows_than_a_gpu_can_select_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only the rows that are needed to order equal scores are too many."""
    monkeypatch.setattr(module, "load_faiss", lambda: _faiss_with_gpus(1, []))
    there = VectorIndex(8, gpu=0)
    there.add(_rows(3000))

    assert there.search(_rows(1), 2040).ids.shape == (1, 2040)
    with pytest.raises(ShapeError, match="at most 2,048 rows, and 2,049 are needed"):
        there.search(_rows(1), 2041)


@pytest.mark.gpu
def test_a_real_gpu_gives_what_the_cpu_gives() -> None:
    """Run by `pytest -m gpu` on a machine that has one, with faiss-gpu; scores to fp32's rounding."""
    if not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        pytest.skip("needs faiss-gpu and a GPU")
    rows = _rows(5000)
    index = VectorIndex(8, gpu=0)
    index.add(rows)
    found = index.search(rows[:100], 5)
    scores = np.sort(rows[:100] @ rows.T, axis=1)[:, ::-1][:, :5]

    assert np.abs(found.scores - scores).max() < 1e-5
    assert found.ids[:, 0].tolist() == list(range(100))
