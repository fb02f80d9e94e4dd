"""What every benchmark shares: seeded inputs, explicit threads, and the machine written beside the figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.quiet import Watch, others_share
from clipfast import Clip
from clipfast.datasets.fabricworld import FABRICS, render, write_folder

THREADS = min(2, len(os.sched_getaffinity(0)))
PACKAGES = ("clipfast", "numpy", "onnxruntime", "faiss-cpu", "pillow", "numba")


@pytest.fixture
def timed(benchmark: BenchmarkFixture) -> Iterator[BenchmarkFixture]:
    """The benchmark, with machine, versions, threads, load and what others took meanwhile in its record."""
    info: dict[str, Any] = {name: metadata.version(name) for name in PACKAGES}
    info |= {"threads": THREADS, "cpu": platform.processor() or platform.machine(), "load": os.getloadavg()[0]}
    benchmark.extra_info.update(info)
    watch = Watch.now()
    yield benchmark
    benchmark.extra_info["others"] = others_share(watch)


@pytest.fixture(scope="session")
def mini() -> Iterator[Clip]:
    """The embedded model, warm."""
    with Clip.load("mini", threads=THREADS) as clip:
        clip.warm_up()
        yield clip


@pytest.fixture(scope="session")
def b32(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clip]:
    """ViT-B/32 with seeded weights, exported once: speed does not depend on the values."""
    pytest.importorskip("open_clip", reason="needs the export extra")
    from clipfast.export.options import ExportOptions
    from clipfast.export.pipeline import export

    artifact = export(ExportOptions("ViT-B-32"), tmp_path_factory.mktemp("b32") / "artifact")
    with Clip.load(artifact.path, threads=THREADS) as clip:
        clip.warm_up()
        yield clip


@pytest.fixture(scope="session", params=["mini", "b32"])
def clip(request: pytest.FixtureRequest) -> Clip:
    """Each model in turn."""
    model: Clip = request.getfixturevalue(request.param)
    return model


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A 640 x 480 photo as a camera gives it."""
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(render(1, fabric="denim", colour="blue", size=640).image[80:560]).save(data, "JPEG", quality=90)
    return data.getvalue()


@pytest.fixture(scope="session")
def fabrics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The owner's layout: 15 fabrics, 45 photos."""
    folder = tmp_path_factory.mktemp("data") / "fabrics"
    write_folder(folder, fabrics=list(FABRICS)[:15], per_fabric=3, seed=0, size=320)
    return folder
