"""An artifact can be proven again without PyTorch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from clipfast.artifact import Artifact, Parity
from clipfast.errors import ArtifactError, ParityError, ProviderError
from clipfast.runtime import parity
from clipfast.runtime.parity import compare, require, thin, verify
from clipfast.runtime.session import open_session

MINI = Path(__file__).resolve().parents[2] / "clipfast" / "models" / "mini"


def test_the_embedded_model_verifies() -> None:
    """Every output of every graph agrees with PyTorch's stored answer."""
    artifact = Artifact.open(MINI)
    rows = verify(artifact)

    assert {(r.graph, r.output) for r in rows} == {
        (name, output) for name, spec in artifact.manifest.graphs.items() for output in spec.outputs
    }
    assert max(r.max_abs_diff for r in rows) < 1e-5


def test_a_graph_that_answers_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that computes something else is noticed by name."""
    artifact = Artifact.open(MINI)
    whole = open_session

    class Wrong:
        def __init__(self, inner: object) -> None:
            self.inner = inner

        def run(self, feeds: object) -> dict[str, np.ndarray]:
            outputs: dict[str, np.ndarray] = self.inner.run(feeds)  # type: ignore[attr-defined]  # the session inside is a stand-in
            return {name: value[..., ::-1] for name, value in outputs.items()}

    monkeypatch.setattr(parity, "open_session", lambda *a, **o: Wrong(whole(*a, **o)))

    with pytest.raises(ParityError, match=r"embed\.embedding at batch 1 differs"):
        verify(artifact)


def test_verify_always_hashes(tmp_path: Path) -> None:
    """A file whose size and time are kept but whose bytes changed is noticed."""
    import os

    folder = Path(shutil.copytree(MINI, tmp_path / "mini"))
    artifact = Artifact.open(folder)
    verify(artifact)
    path = folder / "tokens.onnx"
    state = path.stat()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    with pytest.raises(ArtifactError, match=r"tokens\.onnx"):
        verify(artifact)


def test_verify_says_when_a_provider_is_missing() -> None:
    """No fallback here either."""
    with pytest.raises(ProviderError, match="provider must be one of"):
        verify(Artifact.open(MINI), provider="npu")


NAN = float("nan")


@pytest.mark.parametrize(
    ("difference", "cosine", "length"),
    [(2e-4, 1.0, 0.0), (0.0, 1 - 2e-6, 0.0), (0.0, 1.0, 2e-4), (NAN, 1.0, 0.0), (0.0, NAN, 0.0), (0.0, 1.0, NAN)],
)
def test_the_limits_refuse_each_kind_of_miss(difference: float, cosine: float, length: float) -> None:
    """A difference, an angle, a wrong length, and not-a-number."""
    row = Parity(
        graph="embed", output="embedding", batch=1, max_abs_diff=difference, min_cosine=cosine, max_norm_error=length
    )

    with pytest.raises(ParityError, match=r"embed\.embedding"):
        require((row,))


def test_comparison_is_on_unit_rows() -> None:
    """Length is measured apart from direction; shapes must be equal."""
    rows = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)

    assert compare("g", "o", 3 * rows, rows).max_abs_diff < 1e-6
    assert compare("g", "o", 3 * rows, rows).max_norm_error == pytest.approx(2)
    assert compare("g", "o", -rows, rows).min_cosine == pytest.approx(-1)
    with pytest.raises(ParityError, match=r"g\.o must be \(2, 3, 8\); the graph gives \(2, 3, 7\)"):
        compare("g", "o", rows[..., :7], rows)


def test_thinning_keeps_ends_of_the_patch_axis() -> None:
    """Four rows, the first and the last among them; embeddings are kept whole."""
    tokens = np.arange(2 * 10 * 3).reshape(2, 10, 3)

    assert thin(tokens).shape == (2, 4, 3)
    assert (thin(tokens)[:, [0, -1]] == tokens[:, [0, -1]]).all()
    assert thin(tokens[:, 0]).shape == (2, 3)
