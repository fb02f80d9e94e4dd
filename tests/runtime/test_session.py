"""Sessions run where they were told to, or say why they cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from clipfast.artifact import Artifact
from clipfast.errors import ArtifactError, MissingExtraError, ProviderError
from clipfast.runtime import session
from clipfast.runtime.session import open_session

MINI = Artifact.open(Path(__file__).resolve().parents[2] / "clipfast" / "models" / "mini")
NAMES = MINI.manifest.graphs["text"].outputs


def test_an_unknown_provider_lists_the_known_ones() -> None:
    """The message names what can be asked for."""
    with pytest.raises(ProviderError, match="cpu, openvino, cuda, tensorrt; got 'gpu'"):
        open_session(MINI, "text", provider="gpu", precision="fp32", threads=1)


def test_a_missing_onnxruntime_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the pip line."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'clipfast\[cpu\]'"):
        open_session(MINI, "text", provider="cpu", precision="fp32", threads=1)


@pytest.mark.parametrize(
    ("graph", "precision"),
    [("nothing", "fp32"), ("text", "int8")],  # no such graph; not in this precision
)
def test_a_graph_that_is_not_there_lists_those_that_are(graph: str, precision: str) -> None:
    """What the artifact holds is in the message."""
    with pytest.raises(ArtifactError, match=r"it holds embed \(fp32\), dense \(fp32\), text \(fp32\)"):
        open_session(MINI, graph, provider="cpu", precision=precision, threads=1)


def test_threads_must_be_positive() -> None:
    """0 would mean ONNX Runtime's own idea of the machine."""
    with pytest.raises(ProviderError, match=r"threads must be a whole number, 1 to \d+; got 0"):
        open_session(MINI, "text", provider="cpu", precision="fp32", threads=0)


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_session_options_are_what_was_asked_for(provider: str) -> None:
    """Threads are set, and a GPU session may not put nodes on the CPU."""
    options = session._options(onnxruntime, 3, provider)

    assert options.intra_op_num_threads == 3
    if provider == "cuda":
        assert options.get_session_config_entry("session.disable_cpu_ep_fallback") == "1"


@pytest.mark.parametrize("found", ["empty", "broken"])
def test_a_broken_onnxruntime_says_how_to_repair_it(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an uninstalled rival leaves behind is not "not installed"."""
    import types

    if found == "empty":
        monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    else:
        monkeypatch.setitem(sys.modules, "onnxruntime.capi", None)
        monkeypatch.delitem(sys.modules, "onnxruntime")

    with pytest.raises(ProviderError, match="clipfast info --system"):
        session.offered_providers()


def test_results_do_not_depend_on_threads() -> None:
    """One and two threads give the same embedding to rounding."""
    ids = np.array([[49406, 320, 1125, 49407]])
    one, two = (
        open_session(MINI, "text", provider="cpu", precision="fp32", threads=n).run({"ids": ids})["embedding"]
        for n in (1, 2)
    )

    assert np.abs(one - two).max() < 1e-6


def test_wheels_are_reported_by_distribution_name() -> None:
    """What `info --system` builds on."""
    assert "onnxruntime" in session.installed_wheels()


def test_onnxruntime_neither_reports_nor_keeps_what_it_would_report(tmp_path: Path) -> None:
    """No identifier and no database of events under the user's folders; CI would silence onnxruntime by itself."""
    script = (
        "import numpy, clipfast\n"
        "clipfast.Clip.load('mini', threads=1).encode_images(numpy.zeros((8, 8, 3), numpy.uint8))\n"
    )
    silencers = {"CI", "TF_BUILD", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY"}
    environment = {name: value for name, value in os.environ.items() if name not in silencers}
    folders = {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }

    subprocess.run([sys.executable, "-c", script], check=True, env=environment | folders)

    assert [path.name for path in tmp_path.rglob("*") if "microsoft" in str(path.relative_to(tmp_path)).lower()] == []
