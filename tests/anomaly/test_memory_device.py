"""A detector's patch memory on a device: the same scores, and nothing of the device in its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from clipfast.anomaly import AnomalyDetector, AnomalyOptions, MemoryOptions
from clipfast.anomaly.memory import MemoryBank, Reference
from clipfast.errors import ProviderError
from clipfast.runtime import nearest
from clipfast.runtime.device_session import ResidentSession
from clipfast.runtime.provider_options import CudaOptions
from clipfast.types import PatchFeatures


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[CudaOptions]:
    """A GPU that is played by the CPU; gives with which options rows were sent there."""
    seen: list[CudaOptions] = []

    def open_there(path: Path, outputs: Any, resident: Any, *, threads: int, provider: CudaOptions) -> ResidentSession:
        seen.append(provider)
        inner = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return ResidentSession(onnxruntime, inner, outputs, resident, ("cpu", 0))

    monkeypatch.setattr(nearest, "open_resident", open_there)
    return seen


def _patches(seed: int, count: int = 3) -> PatchFeatures:
    rng = np.random.default_rng(seed)
    return PatchFeatures({b: rng.normal(size=(count, 4, 8)).astype(np.float32) for b in (2, 5)}, (2, 2))


def _references(*names: str) -> list[Reference]:
    return [Reference(name, f"{i:064x}") for i, name in enumerate(names)]


@pytest.mark.parametrize("rows", ["unit", "centred", "raw"])
def test_a_memory_on_a_device_scores_the_same(opened: list[CudaOptions], rows: Any) -> None:
    """Also where a reference is left out; every block is sent there, with the options that were given."""
    there = CudaOptions(device_id=1)
    metric: Any = "euclidean" if rows == "raw" else "cosine"
    bank = MemoryBank.build(_patches(0), _references("a", "b", "c"), MemoryOptions(rows=rows, metric=metric))
    moved = bank.on(there)

    assert opened == [there, there]
    for without in (None, 1):
        expected, got = bank.score(_patches(9), without=without), moved.score(_patches(9), without=without)
        np.testing.assert_allclose(got.image, expected.image, atol=1e-6)
        np.testing.assert_allclose(got.pixel, expected.pixel, atol=1e-6)


def test_added_and_removed_references_stay_there(opened: list[CudaOptions]) -> None:
    """A changed memory is searched where the old one was; brought back, on the CPU."""
    bank = MemoryBank.build(_patches(0), _references("a", "b", "c")).on("cuda")
    more = bank.added(_patches(1, count=1), [Reference("d", "f" * 64)])

    assert (more.provider, more.removed("a").provider, more.on("cpu").provider) == ("cuda", "cuda", "cpu")
    assert len(opened) == 6  # three memories of two blocks


def test_a_detector_moves_its_memory_and_stores_the_same_file(
    mini: Any, opened: list[CudaOptions], tmp_path: Path
) -> None:
    """Scores, threshold and bytes are those of the CPU."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(4)]
    options = AnomalyOptions(memory=MemoryOptions(coreset=0.2), size_hw=(32, 32))
    detector = AnomalyDetector.fit(
        mini, images[:3], class_name="denim", image_mode="memory_only", pixel_mode="memory_only", options=options
    )
    before = detector.score(images[3:])
    detector.save(tmp_path / "cpu.npz")
    detector.search_on("cuda")
    after = detector.score(images[3:])
    detector.save(tmp_path / "cuda.npz")

    assert opened
    np.testing.assert_allclose(after.pixel, before.pixel, atol=1e-5)
    assert (tmp_path / "cpu.npz").read_bytes() == (tmp_path / "cuda.npz").read_bytes()


def test_without_a_gpu_a_detector_stays_as_it_is(mini: Any) -> None:
    """One sentence, and the memory that was there goes on."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this wheel has the provider")
    bank = MemoryBank.build(_patches(0), _references("a", "b", "c"))

    with pytest.raises(ProviderError, match="'cuda' cannot run here"):
        bank.on("cuda")
    with pytest.raises(ProviderError, match=r"clipfast\[gpu\]|knows no GPUs|cannot run here"):
        MemoryBank.build(_patches(0), _references("a", "b", "c"), MemoryOptions(search="faiss")).on("cuda")
