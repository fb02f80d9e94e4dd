"""Fixtures that every test may use, and what runs where."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from clipfast.artifact import Artifact
    from clipfast.runtime.clip import Clip
    from clipfast.types import Pixels

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
HAS_TORCH = importlib.util.find_spec("torch") is not None and importlib.util.find_spec("open_clip") is not None

# Small enough to export in seconds; 7 blocks, so that the Surgery depth of 6 leaves one ordinary block.
TINY_CONFIG = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 64, "layers": 7, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs torch or the shared data where they are not, and a GPU if not asked for."""
    asked = _marks(config)
    for item in items:
        if "gpu" in item.keywords and "gpu" not in asked:
            item.add_marker(pytest.mark.skip(reason="needs a GPU: make gpu-check"))
        if "torch" in item.keywords and not HAS_TORCH:
            item.add_marker(pytest.mark.skip(reason="needs torch and open_clip: pip install --group test"))
        if "shared" in item.keywords and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs ../shared/data beside the checkout"))


def _marks(config: pytest.Config) -> set[str]:
    """Return the marks that `-m` names."""
    return set(re.findall(r"\w+", config.option.markexpr))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what is asked for by `-m gpu` or `-m gpuwheel` and skips itself: it was not checked."""
    report = yield
    if report.skipped and _marks(item.config) & {"gpu", "gpuwheel"} & item.keywords.keys():
        report.outcome, report.longrepr = "failed", f"asked for by -m, but skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's cache, model and bank out of the tests."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPFAST_CACHE", str(cache))
        patch.delenv("CLIPFAST_MODEL", raising=False)
        patch.delenv("CLIPFAST_BANK", raising=False)
        yield cache


@pytest.fixture(scope="session")
def mini(own_cache: Path) -> Iterator[Clip]:
    """The embedded model, opened once."""
    from clipfast.runtime.clip import Clip

    with Clip.load("mini", threads=min(2, len(os.sched_getaffinity(0)))) as clip:
        yield clip


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config JSON of a tiny ViT."""
    path = tmp_path_factory.mktemp("config") / "tiny.json"
    path.write_text(json.dumps(TINY_CONFIG))
    return path


@pytest.fixture(scope="session")
def tiny_artifact(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A tiny ViT with seeded weights, exported once; for tests marked torch."""
    from clipfast.export.options import ExportOptions
    from clipfast.export.pipeline import export

    return export(ExportOptions(str(tiny_config)), tmp_path_factory.mktemp("artifacts") / "tiny")


@pytest.fixture
def photo() -> Pixels:
    """A rendered picture, (120, 160, 3) uint8."""
    from clipfast.datasets.fabricworld import render

    return np.ascontiguousarray(render(3, size=160).image[:120])
