"""Engine folders that cannot be written, engines for several GPUs, and profiles that begin above one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.artifact import Artifact
from clipfast.errors import ProviderError
from clipfast.runtime import engines, opened
from clipfast.runtime.clip import Clip
from clipfast.runtime.engine_cache import EngineCache
from clipfast.runtime.engines import engine_ingredients
from clipfast.runtime.gpu import Gpu
from clipfast.runtime.provider_options import ShapeProfile, TensorRtOptions

MINI = Artifact.open(Path(__file__).resolve().parents[2] / "clipfast" / "models" / "mini")
A100 = Gpu("NVIDIA A100-SXM4-40GB", "8.0", 40 << 30, "580.65.06")


def test_a_folder_is_tried_before_work_begins(tmp_path: Path) -> None:
    """Nothing stays in it; a file in its place is named with the remedy."""
    EngineCache(tmp_path / "engines").require_writable()
    assert list((tmp_path / "engines").iterdir()) == []
    (tmp_path / "file").write_text("")

    with pytest.raises(ProviderError, match=r"file cannot be written .*--engine-dir"):
        EngineCache(tmp_path / "file").require_writable()


@pytest.mark.parametrize(
    ("compatible", "other", "same"),
    [
        (True, Gpu("NVIDIA L4", "8.9", 24 << 30, "580.65.06"), True),  # both Ampere or later
        (True, Gpu("Tesla T4", "7.5", 16 << 30, "580.65.06"), False),  # earlier
        (True, dataclasses.replace(A100, driver="581.1"), False),  # another driver
        (False, Gpu("NVIDIA L4", "8.9", 24 << 30, "580.65.06"), False),
    ],
)
def test_a_compatible_engine_is_found_by_other_gpus(
    compatible: bool, other: Gpu, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only of Ampere and later, as TensorRT defines it, and only where it was asked for."""
    monkeypatch.setattr(engines, "tensorrt_version", lambda: "101600")
    options, spec = TensorRtOptions(engine_hw_compatible=compatible), MINI.manifest.graphs["embed"]
    one, two = (engine_ingredients(MINI, "embed", options, spec, "1.31.1", gpu=gpu).key() for gpu in (A100, other))

    assert (one == two) is same


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (TensorRtOptions(profile=ShapeProfile(4, 8, 32)), 4),
        (TensorRtOptions(fixed_batch=8), 1),  # filled up by the buffers
        (TensorRtOptions(), 1),
    ],
)
def test_a_warm_up_is_a_batch_of_the_profile(
    options: TensorRtOptions, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that was built for 4 to 32 would refuse the one image."""
    seen: list[int] = []

    class Session:
        def run(self, feeds: Any) -> dict[str, Any]:
            seen.append(len(feeds["pixels"]))
            return {"embedding": np.zeros((len(feeds["pixels"]), 192), np.float32)}

    monkeypatch.setattr(opened, "open_session", lambda *_, **__: Session())
    clip = Clip.load("mini", provider=options, threads=1)
    clip.warm_up(["embed"])

    assert seen == [rows]
    assert clip.encode_images([]).shape == (0, 192)
