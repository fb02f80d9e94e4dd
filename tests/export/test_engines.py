"""GPU graphs as far as they can be proven without a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clipfast.artifact import Artifact, head_of
from clipfast.errors import ProviderError
from clipfast.export.engines import build_engines, why_not_here
from clipfast.runtime.gpu import describe_gpu
from clipfast.runtime.parity import verify
from clipfast.runtime.provider_options import CudaOptions, TensorRtOptions

pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")
pytestmark = pytest.mark.torch


@pytest.mark.parametrize("options", [CudaOptions(), TensorRtOptions()])
def test_without_a_gpu_the_reason_is_one_sentence(half: Artifact, options: CudaOptions | TensorRtOptions) -> None:
    """And building fails with it instead of ending on the CPU."""
    if why_not_here(options) is None:
        pytest.skip("this machine has a GPU")

    assert "Install it" in (why_not_here(options) or "") or "NVIDIA driver" in (why_not_here(options) or "")
    with pytest.raises(ProviderError):
        build_engines(half, options, ("fp16",))


def test_the_command_writes_everything_but_the_engine_and_says_so(tiny_config: Path, tmp_path: Path) -> None:
    """`--engine tensorrt --precision fp16 --triton` on a machine without a GPU."""
    if why_not_here(TensorRtOptions()) is None:
        pytest.skip("this machine has a GPU")
    command = [
        sys.executable,
        "-m",
        "clipfast.export",
        str(tiny_config),
        "--out",
        str(tmp_path / "a"),
        "--heads",
        "embed",
    ]
    command += ["--engine", "tensorrt", "--precision", "fp16", "--triton", str(tmp_path / "t"), "--profile", "1,4,8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)

    assert done.returncode == 0, done.stderr
    assert "NO ENGINE WAS BUILT, everything else was." in done.stdout
    assert "still need model.plan" in done.stdout
    assert set(Artifact.open(tmp_path / "a").manifest.graphs) == {"embed", "embed.fp16.tensorrt"}
    assert "8x64x64x3" in (tmp_path / "t" / "tiny_embed" / "1" / "BUILD.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "fp64"], "--precision must be"),
        (["--triton", "t"], "--triton needs GPU graphs"),
        (["--engine", "tensorrt", "--profile", "8,4,1"], "smallest <= usual <= largest"),
    ],
)
def test_the_command_refuses_before_it_exports(
    tiny_config: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    """In one sentence, with nothing written."""
    command = [sys.executable, "-m", "clipfast.export", str(tiny_config), "--out", str(tmp_path / "a"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, cwd=tmp_path)

    assert done.returncode == 1
    assert message in done.stderr.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.parametrize(
    "options", [CudaOptions(), CudaOptions.latency(), TensorRtOptions(), TensorRtOptions.latency()]
)
def test_a_gpu_passes_the_gate(half: Artifact, options: CudaOptions | TensorRtOptions, tmp_path: Path) -> None:
    """Run by `pytest -m gpu` on a machine that has one; `make gpu-check` does it for whole models."""
    if reason := why_not_here(options):
        pytest.skip(reason)
    describe_gpu(0)

    rows = verify(half, provider=options, precision="fp16")
    assert {head_of(row.graph) for row in rows} == set(half.manifest.heads)
