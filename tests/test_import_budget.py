"""Importing clipfast is cheap, and pulls in nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from clipfast.types import Pixels

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


def test_one_photo_is_read_beside_the_opening_of_its_graph(tmp_path: Path, photo: Pixels) -> None:
    """onnxruntime is imported first, Pillow after it in the thread that decodes, and nothing of GPUs at all."""
    script = (
        "import sys, threading, clipfast\n"
        "order = []\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        order.append((name, threading.current_thread() is threading.main_thread()))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "clip = clipfast.Clip.load('mini', threads=1)\n"
        "assert 'PIL' not in sys.modules\n"
        "clip.encode_images(sys.argv[1])\n"
        "first = {name: i for i, (name, _) in reversed(list(enumerate(order)))}\n"
        "print(first['onnxruntime.capi'] < first['PIL'], order[first['PIL']][1],\n"
        "      [name for name, _ in order if name.startswith('clipfast.runtime.device')])\n"
    )
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "photo.jpg")], capture_output=True, text=True, check=True
    )

    assert done.stdout == "True False []\n"
