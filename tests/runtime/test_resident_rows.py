"""Rows that stay on a device: the same answers, sent there once. The device is the CPU here, with the GPU's code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from clipfast.errors import ProviderError
from clipfast.runtime import nearest, session
from clipfast.runtime.device_session import ResidentSession, explained, first_line
from clipfast.runtime.gpu import describe_gpu
from clipfast.runtime.nearest import NearestRows
from clipfast.runtime.provider_options import CudaOptions
from clipfast.types import Floats

GRAPH = Path(nearest.__file__).with_name("nearest.onnx")


class _Counted:
    """The onnxruntime module, counting what is copied to a device."""

    def __init__(self) -> None:
        self.copied: list[tuple[int, ...]] = []
        self.OrtValue = self

    def ortvalue_from_numpy(self, value: Floats, device: str, number: int) -> Any:
        self.copied.append(value.shape)
        return onnxruntime.OrtValue.ortvalue_from_numpy(value, device, number)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> _Counted:
    """A GPU that is played by the CPU."""
    counted = _Counted()

    def open_there(path: Path, outputs: Any, resident: Any, *, threads: int, provider: Any) -> ResidentSession:
        assert isinstance(provider, CudaOptions)
        inner = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return ResidentSession(counted, inner, outputs, resident, ("cpu", 0))

    monkeypatch.setattr(nearest, "open_resident", open_there)
    return counted


def _rows(count: int, seed: int, *, unit: bool) -> Floats:
    rows = np.random.default_rng(seed).normal(size=(count, 24)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True) if unit else rows


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("barring", [True, False])
def test_rows_on_a_device_give_what_the_definition_gives(played: _Counted, unit: bool, barring: bool) -> None:
    """Places and distances of brute force, for unit rows and others, with and without barred ones."""
    rows, queries = _rows(300, 1, unit=unit), _rows(40, 2, unit=unit)
    barred = np.random.default_rng(3).random(300) < 0.5 if barring else None
    apart = np.linalg.norm(queries[:, None].astype(np.float64) - rows[None], axis=2)
    apart[:, barred if barred is not None else slice(0)] = np.inf
    found = NearestRows(rows, threads=1, provider="cuda").search(queries, barred)

    assert found.places.tolist() == apart.argmin(axis=1).tolist()
    np.testing.assert_allclose(found.distances, apart.min(axis=1), rtol=1e-5)


def test_rows_travel_once(played: _Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three searches in pieces of two queries: rows and offsets were copied when the memory was made, and not again."""
    rows = _rows(50, 1, unit=False)
    monkeypatch.setattr(nearest, "_PRODUCTS", 100)
    search = NearestRows(rows, threads=1, provider=CudaOptions(device_id=1))
    for seed in range(3):
        search.search(_rows(7, seed, unit=False))

    assert played.copied == [(50, 24), (50,)]
    assert search.search(rows).places.tolist() == list(range(50))


def test_a_bar_is_for_one_call(played: _Counted) -> None:
    """The next search finds the row again."""
    rows = _rows(20, 1, unit=True)
    search = NearestRows(rows, threads=1, provider="cuda")
    barred = np.arange(20) == 4

    assert search.search(rows[4:5], barred).places[0] != 4
    assert search.search(rows[4:5]).places[0] == 4


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("tensorrt", "cannot run here|runs on cpu or cuda"),
        ("rocm", "provider must be one of"),
        (CudaOptions.latency(), r"takes any number of rows; got CudaOptions\(fixed_batch=1\)"),
    ],
)
def test_providers_that_cannot_hold_rows_are_refused(provider: Any, message: str) -> None:
    """In one sentence."""
    with pytest.raises(ProviderError, match=message):
        NearestRows(np.eye(3, dtype=np.float32), provider=provider)


def test_without_a_gpu_rows_do_not_end_on_the_cpu() -> None:
    """The sentence of every GPU provider."""
    with suppress(ProviderError):
        describe_gpu(0)
        pytest.skip("this machine has a GPU")
    session.load_gpu_libraries()

    with pytest.raises(ProviderError, match=r"cannot run here|NVIDIA driver"):
        NearestRows(np.eye(3, dtype=np.float32), provider="cuda")


def test_open_resident_runs_on_the_cpu_too() -> None:
    """With a value that stays and one that a call replaces."""
    rows = np.eye(3, dtype=np.float32)
    held = {"rows": rows, "offsets": np.zeros(3, np.float32)}
    opened = session.open_resident(GRAPH, ["places"], held, threads=1, provider="cpu")
    queries = np.array([[3, 2, 1]], np.float32)

    assert opened.run({"queries": queries})["places"].tolist() == [0]
    assert opened.run({"queries": queries, "offsets": np.array([-9, 0, 0], np.float32)})["places"].tolist() == [1]
    with pytest.raises(ProviderError, match="cannot run this here"):
        opened.run({"queries": np.zeros((1, 5), np.float32)})


def _full(*_: object) -> Any:
    raise RuntimeError("CUDA failure 2: out of memory ; GPU=0\nmore")


def test_a_memory_that_does_not_fit_is_explained() -> None:
    """When it is copied, not when it is searched first."""
    counted = _Counted()
    refuse: Callable[..., Any] = _full
    counted.ortvalue_from_numpy = refuse  # type: ignore[method-assign]  # what the test watches

    with pytest.raises(ProviderError, match=r"too little free memory \(CUDA failure 2"):
        ResidentSession(counted, None, ["places"], {"rows": np.eye(3, dtype=np.float32)}, ("cuda", 0))


def test_what_onnxruntime_says_becomes_the_right_remedy() -> None:
    """A failed build is not a missing wheel, and an error without words has its name."""
    built = explained("TensorRT EP failed to create engine from network for fused node: x", "pip install y")

    assert "max_workspace_size" in built
    assert "pip install" not in built
    assert first_line(RuntimeError("")) == "RuntimeError"
    assert first_line(RuntimeError("one\ntwo")) == "one"


@pytest.mark.gpu
def test_a_real_gpu_finds_the_nearest_rows() -> None:
    """Run by `pytest -m gpu` on a machine that has one."""
    rows = _rows(5000, 1, unit=False)

    assert NearestRows(rows, provider="cuda").search(rows[:100]).places.tolist() == list(range(100))
