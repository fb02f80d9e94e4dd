"""Importing clipfast is cheap, and pulls in nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ["torch", "open_clip", "onnx", "onnxruntime", "numba", "faiss", "sklearn", "matplotlib", "PIL", "tokenizers"]
SCRIPT = f"""
import json, sys, time
begin = time.perf_counter()
import clipfast
print(json.dumps({{"seconds": time.perf_counter() - begin, "loaded": [m for m in {HEAVY!r} if m in sys.modules]}}))
"""


def test_import_loads_nothing_heavy_and_is_quick() -> None:
    """A fresh process imports clipfast in at most 0.25 s, best of three, without any heavy module."""
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]

    assert runs[0]["loaded"] == []
    assert min(run["seconds"] for run in runs) <= 0.25


def test_help_of_export_needs_no_torch() -> None:
    """`python -m clipfast.export --help` works where torch is not installed."""
    script = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['open_clip'] = sys.modules['onnx_ir'] = None\n"
        "sys.argv = ['x', '--help']\n"
        "from clipfast.export.cli import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "--pretrained" in done.stdout


def test_export_without_torch_says_what_to_install() -> None:
    """Exit code 2 and the pip line, no traceback."""
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "sys.argv = ['x', 'ViT-B-32', '--out', 'nowhere']\n"
        "from clipfast.export.cli import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "pip install 'clipfast[cpu,export]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_first_embedding_loads_only_what_it_needs() -> None:
    """One image is embedded without compiler, tokenizer or the reader of package metadata: a start waits for them."""
    script = (
        "import sys, numpy, clipfast\n"
        "clipfast.Clip.load('mini', threads=1).encode_images(numpy.zeros((8, 8, 3), numpy.uint8))\n"
        "print([m for m in ('numba', 'tokenizers', 'regex', 'importlib.metadata', 'faiss') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
