"""A head behind its image graph: NumPy's probabilities from one call, and nothing written where they differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx_ir", reason="needs the extra export")

import onnx_ir as ir

from clipfast.errors import ParityError, ShapeError
from clipfast.export import head_graph
from clipfast.export.head_graph import ClassifierSpec, write_head_graph
from clipfast.export.sample_inputs import sample_pixels
from clipfast.runtime.clip import Clip
from clipfast.runtime.session import open_packaged


def spec(dim: int, *, seed: int = 0) -> ClassifierSpec:
    """Draw a head of three classes."""
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=(3, dim)) * 4, rng.normal(size=3)
    return ClassifierSpec(("cotton", "silk", "羊毛"), weights.astype(np.float32), bias.astype(np.float32))


def test_one_call_gives_the_class(mini: Clip, tmp_path: Path) -> None:
    """Pixels in, the probabilities that NumPy gives out, for any batch; the file needs no weights beside it."""
    head = spec(mini.embed_dim)
    found = write_head_graph(mini.artifact, head, tmp_path / "h.onnx")
    assert found.max_abs_diff <= 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["h.onnx"]
    pixels = sample_pixels(mini.manifest.image.size_hw, 3, seed=9)
    session = open_packaged(tmp_path / "h.onnx", ["probabilities", "embedding"], threads=1)
    got = session.run({"pixels": pixels})
    embeddings = mini.encode_images(pixels)
    np.testing.assert_allclose(got["embedding"], embeddings, atol=1e-6)
    logits = embeddings.astype(float) @ head.weights.T + head.bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(got["probabilities"], shares / shares.sum(axis=1, keepdims=True), atol=1e-5)
    stored = ir.load(tmp_path / "h.onnx").metadata_props
    assert json.loads(stored["clipfast.classes"]) == ["cotton", "silk", "羊毛"]
    assert stored["clipfast.fingerprint"] == mini.fingerprint()


def test_a_graph_that_differs_is_not_written(mini: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another head folded in than the one that was asked for, the proof fails and an older file stays."""
    (tmp_path / "h.onnx").write_bytes(b"older")
    write = head_graph._write
    monkeypatch.setattr(head_graph, "_write", lambda art, head, path: write(art, spec(mini.embed_dim, seed=1), path))
    with pytest.raises(ParityError, match="away from NumPy's"):
        write_head_graph(mini.artifact, spec(mini.embed_dim), tmp_path / "h.onnx")
    assert (tmp_path / "h.onnx").read_bytes() == b"older"


def test_a_head_of_another_width_is_refused(mini: Clip, tmp_path: Path) -> None:
    """Both shapes are named."""
    with pytest.raises(ShapeError, match=r"weights \(3, 192\)"):
        write_head_graph(mini.artifact, spec(48), tmp_path / "h.onnx")
