"""The report of `make gpu-check`, without a GPU: what it says, how it times, which option names a wheel knows."""

from __future__ import annotations

import itertools
import json
import types
from pathlib import Path

import pytest

from clipfast.artifact import Artifact
from clipfast.errors import DataError
from clipfast.export import gpu_check
from clipfast.export.engines import why_not_here
from clipfast.export.gpu_options import read_options
from clipfast.runtime.gpu import Gpu
from clipfast.runtime.provider_options import CudaOptions

pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")
pytestmark = pytest.mark.torch


def test_gpu_check_says_that_there_is_no_gpu(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It exits with 2 and writes no table."""
    if why_not_here(CudaOptions()) is None:
        pytest.skip("this machine has a GPU")

    assert gpu_check.main(["--out", str(tmp_path / "table.md")]) == 2
    assert (
        "Nothing was checked; this is not yet run on a GPU: no GPU provider can run on this machine."
        in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_gpu_check() -> None:
    """A row that was measured, one without its program, and what it was measured on."""
    rows = [
        gpu_check.Timing("ViT-B-32", 8, "clipfast cuda", 2.0, 0.99991),
        gpu_check.Timing("ViT-B-32", 8, "trtexec", None, None),
    ]
    text = gpu_check.table(rows, Gpu("NVIDIA L4", "8.9", 1, "580"))

    assert "| ViT-B-32 | 8 | clipfast cuda | 2.00 | 4,000 | 0.999910 |" in text
    assert "| ViT-B-32 | 8 | trtexec | not installed |  |  |" in text
    assert "NVIDIA L4 (compute capability 8.9), driver 580" in text
    assert gpu_check.trtexec_milliseconds("nothing of it") is None


def test_timing_warms_up_and_takes_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a clock that goes 1, 1, 1, 9 ms."""
    ticks = iter(itertools.accumulate([0, 0.001, 0, 0.001, 0, 0.001, 0, 0.009]))
    calls: list[int] = []
    monkeypatch.setattr("clipfast.export.gpu_check.time", types.SimpleNamespace(perf_counter=lambda: next(ticks)))

    assert gpu_check.timed(lambda: calls.append(1), warm_up=3, rounds=4) == pytest.approx(1.0)
    assert len(calls) == 7


def test_option_names_are_read_from_the_libraries(tmp_path: Path) -> None:
    """From a wheel made for the purpose; anything else is refused."""
    import zipfile

    wheel = tmp_path / "onnxruntime_gpu-9.9.9-cp311-cp311-linux.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        cuda = b"\0device_id\0use_tf32\0not an option\0kernel_enable_x\0"
        archive.writestr("onnxruntime/capi/libonnxruntime_providers_cuda.so", cuda)
        archive.writestr("onnxruntime/capi/libonnxruntime_providers_tensorrt.so", b"\0trt_fp16_enable\0xtrt_no\0")
        archive.writestr("onnxruntime/capi/onnxruntime_pybind11_state.so", b"\0session.use_env_allocators\0session.x\0")

    assert read_options(wheel) == {
        "wheel": ["onnxruntime_gpu-9.9.9"],
        "cuda": ["device_id", "use_tf32"],
        "tensorrt": ["trt_fp16_enable"],
        "session": ["session.use_env_allocators"],
    }
    (tmp_path / "no.whl").write_bytes(b"no zip")
    with pytest.raises(DataError, match="must be a Linux wheel of onnxruntime-gpu"):
        read_options(tmp_path / "no.whl")


def test_the_report_lists_graphs_peaks_and_parity_as_json(half: Artifact) -> None:
    """The manifest on disk holds what the report says."""
    stored = json.loads((half.path / "manifest.json").read_text())

    assert len(stored["peaks"]) == 6
    assert {"embed.fp16.cuda", "embed.fp16.tensorrt"} <= {row["graph"] for row in stored["parity"]}
