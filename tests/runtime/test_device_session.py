"""Sessions of a GPU's graphs: inputs in their form, fixed buffers, the profile; run on the CPU."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from clipfast.errors import ShapeError
from clipfast.runtime.device_session import DeviceSession, FixedBuffers, fit_feeds
from clipfast.runtime.provider_options import ShapeProfile, TensorRtOptions
from reference.gpu_artifacts import MINI

SHAPES: dict[str, tuple[int | None, ...]] = {"pixels": (None, 2, 2, 3), "alpha": (None, 1), "ids": (None, 5)}


def test_inputs_are_brought_into_the_gpu_graphs_form() -> None:
    """One alpha a row; token rows of the full length; pixels as they are."""
    pixels, ids = np.zeros((3, 2, 2, 3), np.uint8), np.array([[7, 9], [8, 9]])
    fitted = fit_feeds({"pixels": pixels, "alpha": np.asarray(0.25, np.float32)}, SHAPES)

    assert fitted["alpha"].tolist() == [[0.25], [0.25], [0.25]]
    assert fitted["pixels"].shape == pixels.shape
    assert fit_feeds({"ids": ids}, SHAPES)["ids"].tolist() == [[7, 9, 0, 0, 0], [8, 9, 0, 0, 0]]
    with pytest.raises(ShapeError, match=r"ids must be \(n, 5\) at most; got \(1, 6\)"):
        fit_feeds({"ids": np.zeros((1, 6), np.int64)}, SHAPES)


def test_fixed_buffers_give_each_image_its_own_result() -> None:
    """Run here on the CPU's buffers: pieces of two, the last filled up, and never the first image's result again."""
    inner = onnxruntime.InferenceSession(str(MINI.path / "embed.onnx"), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)
    expected = inner.run(["embedding"], {"pixels": pixels})[0]
    buffers = FixedBuffers(onnxruntime, inner, 2, ("cpu", 0))
    once, again = buffers.run({"pixels": pixels})["embedding"], buffers.run({"pixels": pixels[::-1]})["embedding"]

    assert np.abs(once - expected).max() < 1e-5
    assert np.abs(again - expected[::-1]).max() < 1e-5


def test_a_device_session_holds_the_profile() -> None:
    """A batch that the engine was not built for never reaches it."""
    inner = onnxruntime.InferenceSession(str(MINI.path / "embed.onnx"), providers=["CPUExecutionProvider"])
    options = TensorRtOptions(profile=ShapeProfile(1, 1, 2))
    opened = DeviceSession(onnxruntime, inner, "embed", ("embedding",), options)
    pixels = np.zeros((3, 224, 224, 3), np.uint8)

    assert opened.run({"pixels": pixels[:2]})["embedding"].shape == (2, 192)
    with pytest.raises(ShapeError, match="batches of 1 to 2; got 3"):
        opened.run({"pixels": pixels})
