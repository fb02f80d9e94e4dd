"""What is said of GPUs: marked as not yet run, and the commands that will run it say so where there is none."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CLAIM = re.compile(r"tensorrt|triton|faiss-gpu|cuda provider|gpu graphs|on a gpu", re.IGNORECASE)
MARK = re.compile(r"not yet run\W+on a gpu|was run on a gpu yet", re.IGNORECASE)
DECIDES_WHEELS = {"0002-compute-wheels-are-extras.md"}  # which wheels clash, not what they do


@pytest.mark.parametrize(
    "path",
    sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]),
    ids=lambda path: path.name,
)
def test_every_page_that_names_gpus_says_that_nothing_was_run_on_one(path: Path) -> None:
    """In the same paragraph in README and CHANGELOG, which are long; anywhere on a page of the documents."""
    text = path.read_text(encoding="utf-8")
    parts = re.split(r"\n\s*\n|\n(?=- )", text) if path.name in {"README.md", "CHANGELOG.md"} else [text]
    silent = [part for part in parts if CLAIM.search(part) and not MARK.search(part)]

    assert path.name in DECIDES_WHEELS or silent == []


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(shutil.which("make") is None or _has_driver(), reason="needs make, and no NVIDIA driver")
def test_gpu_check_without_a_driver_installs_nothing_and_says_so() -> None:
    """One sentence and exit code 2, before any wheel is downloaded."""
    done = subprocess.run(
        ["make", "gpu-check", f"PYTHON={sys.executable}"],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "gpu-check: not yet run on a GPU. This machine has no NVIDIA driver" in done.stderr
    assert "pip" not in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_gpu_targets_run_what_they_promise() -> None:
    """The commands of both, as make would run them: the wheels' group, the marked tests, the check, the list."""
    said = {
        target: subprocess.run(
            ["make", "--dry-run", "--always-make", target],  # noqa: S607  # whatever make there is
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for target in (".venv-gpu/.check", "gpu-check", "gpu-options")
    }

    assert "--group gpu" in said[".venv-gpu/.check"]
    assert "-m pytest -m gpu tests" in said["gpu-check"]
    assert "-m clipfast.export.gpu_check" in said["gpu-check"]
    assert "-m clipfast.export.gpu_options" in said["gpu-options"]
    assert "-m pytest -m gpuwheel" in said["gpu-options"]
