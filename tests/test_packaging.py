"""What users install: wheel and sdist, outside the checkout, without symbolic links."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytest.importorskip("build", reason="needs build: pip install --group test")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel and an sdist of what git tracks, built from a copy in which the root links are missing (Windows)."""
    copy = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        [  # noqa: S607  (whatever git the checkout was made with)
            "git",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("needs a git checkout")
    for name in listed.stdout.splitlines():
        source = ROOT / name
        if source.is_file() and not source.is_symlink():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy / name)
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", out, copy], check=True, capture_output=True)
    return out


def test_the_wheel_holds_the_package_once(archives: Path) -> None:
    """Type marker, embedded model and licences are in; links, tests and caches are not."""
    (wheel,) = archives.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert "clipfast/py.typed" in names
    assert "clipfast/models/mini/manifest.json" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [n for n in names if n.startswith(("export/", "kernels/", "tests/")) or "__pycache__" in n]
    assert len(names) == len(set(names))
    assert wheel.stat().st_size < 12_000_000


def test_the_sdist_can_be_built_from(archives: Path) -> None:
    """It holds the sources, the tests and the documents, and no link."""
    (sdist,) = archives.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    names = [m.name.split("/", 1)[-1] for m in members]

    assert {"pyproject.toml", "README.md", "clipfast/__init__.py", "tests/conftest.py"} <= set(names)
    assert not [m.name for m in members if m.issym() or m.islnk()]
    assert not [n for n in names if n.startswith(("export/", "kernels/"))]


def test_the_wheel_runs_in_an_empty_environment(archives: Path, tmp_path: Path) -> None:
    """Installed with the CPU extra outside the tree, `clipfast demo` answers, and torch is not there."""
    (wheel,) = archives.glob("*.whl")
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", f"{wheel}[cpu]"]
    done = subprocess.run(install, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and "Connection" in done.stderr:
        pytest.skip("needs the package index")
    assert done.returncode == 0, done.stderr
    demo = subprocess.run(
        [python.with_name("clipfast"), "demo", "--rounds", "2"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )

    assert demo.returncode == 0, demo.stderr
    assert "✓ houndstooth" in demo.stdout
    torch = subprocess.run([python, "-c", "import torch"], env=environment, capture_output=True, check=False)
    assert torch.returncode != 0
