"""One named test for each known trap of CLIP code that concerns model, preprocessing and bank.

The traps were found in the systems this library replaces and in their sources; issues on heat maps and anomaly
detection add theirs.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets.fabricworld import render, write_folder
from clipfast.retrieval import FabricBank
from clipfast.runtime.clip import Clip
from clipfast.runtime.images import load_image
from clipfast.runtime.preprocess import preprocess
from clipfast.similarity import cosine_map, feature_surgery


def _unit(*shape: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return unit


def test_trap_token_axis_norm() -> None:
    """Copies of CLIP Surgery made before 2025-03 normalise over tokens; a single token's length must not matter."""
    tokens, texts = _unit(1, 6, 8, seed=0), _unit(3, 8, seed=1)
    longer = tokens.copy()
    longer[0, 2] *= 50

    assert np.abs(cosine_map(longer, texts) - cosine_map(tokens, texts)).max() < 1e-6


def test_trap_quick_gelu_is_recorded(mini: Clip) -> None:
    """Which GELU a model uses is data in the manifest and part of its identity."""
    assert mini.manifest.model.activation in {"gelu", "quick_gelu"}


def test_trap_bgr_images(mini: Clip) -> None:
    """The same photo as file, PIL image and RGB array is one embedding; swapped channels are another."""
    pixels = render(3, fabric="denim", colour="red").image
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    rows = mini.encode_images([data.getvalue(), Image.fromarray(pixels), pixels, pixels[..., ::-1]])

    assert np.abs(rows[:3] - rows[0]).max() < 1e-6
    assert rows[3] @ rows[0] < 0.98


def test_trap_logit_scale_is_exponentiated(mini: Clip) -> None:
    """The manifest holds the factor itself, not its logarithm (ln 100 = 4.6 made probabilities flat)."""
    assert mini.manifest.model.logit_scale > 10


def test_trap_position_embedding_is_not_changed_by_use(mini: Clip) -> None:
    """Interpolating in place made the second of two sizes wrong; here nothing a call does changes the next."""
    pixels = render(4).image
    first = mini.encode_dense(pixels).vv
    mini.encode_images(render(5, size=400).image)

    assert (mini.encode_dense(pixels).vv == first).all()


def test_trap_surgery_of_a_batch() -> None:
    """The original's weights had shape (1, 1, t, 1) and failed for more than one image."""
    tokens, embedding, texts = _unit(4, 5, 8, seed=2), _unit(4, 8, seed=3), _unit(3, 8, seed=4)
    alone = [feature_surgery(tokens[i : i + 1], embedding[i : i + 1], texts)[0] for i in range(4)]

    assert np.abs(feature_surgery(tokens, embedding, texts) - np.stack(alone)).max() < 1e-6


def test_trap_unsorted_glob(mini: Clip, tmp_path: Path) -> None:
    """A bank does not depend on the order in which the file system lists files."""
    write_folder(tmp_path / "a", fabrics=["lace", "denim"], per_fabric=2, seed=0, size=64)
    for path in sorted((tmp_path / "a").rglob("*.jpg"), reverse=True):  # written in the other order
        copy = tmp_path / "b" / path.relative_to(tmp_path / "a")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for name in ("a", "b"):
        FabricBank.build(mini, tmp_path / name).save(tmp_path / f"{name}.npz")

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_trap_centroids_are_normalised(mini: Clip, tmp_path: Path) -> None:
    """A class with spread-out references is not punished: the centroid's score is a cosine."""
    write_folder(tmp_path, fabrics=["lace", "denim"], per_fabric=3, seed=0, size=96)
    bank = FabricBank.build(mini, tmp_path)
    rows = bank.references.embeddings[:3]
    centroid = rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0))

    best = bank.rank(centroid.astype(np.float32), topk=1, score="centroid")[0]
    assert best.score == pytest.approx(1.0, abs=1e-5)


def test_trap_the_bank_is_not_reloaded_for_a_query(mini: Clip, tmp_path: Path) -> None:
    """Once loaded, a bank answers without its file."""
    write_folder(tmp_path / "fabrics", fabrics=["lace", "denim"], per_fabric=2, seed=0, size=96)
    FabricBank.build(mini, tmp_path / "fabrics").save(tmp_path / "bank.npz")
    bank = FabricBank.load(tmp_path / "bank.npz", clip=mini)
    (tmp_path / "bank.npz").unlink()

    assert bank.rank(tmp_path / "fabrics" / "lace" / "ref_01.jpg", topk=1)[0].id == "lace"


def test_trap_axis_order_of_sizes(mini: Clip) -> None:
    """Height and width are not swapped anywhere on the way: an oblong photo keeps its top at the top."""
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:50] = 255
    seen = preprocess(Image.fromarray(pixels), mini.manifest.image)

    assert seen[:100].mean() > 250
    assert seen[-100:].mean() < 5


def test_trap_exif_orientation(mini: Clip) -> None:
    """A photo taken upright by a turned camera is read upright."""
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees clockwise to see it"
    data = io.BytesIO()
    Image.fromarray(np.rot90(upright)).save(data, "JPEG", exif=exif, quality=95)

    assert np.abs(np.asarray(load_image(data.getvalue())).astype(int) - upright).mean() < 3


def test_trap_text_padding_is_not_seen(mini: Clip) -> None:
    """A short text gives the same row alone and beside a long one (a missing causal mask let padding in)."""
    alone = mini._embed_texts(["blue denim"], None)
    beside = mini._embed_texts(["blue denim", "a very long text about red lace and white linen fabric " * 3], None)

    assert np.abs(alone[0] - beside[0]).max() < 1e-6


def test_trap_import_does_not_change_the_process() -> None:
    """Importing sets no global of Pillow, NumPy or warnings."""
    import subprocess
    import sys

    script = (
        "import warnings, numpy as np, PIL.Image as I\n"
        "before = (I.MAX_IMAGE_PIXELS, list(warnings.filters), np.geterr())\n"
        "import clipfast; clipfast.Clip; clipfast.FabricBank\n"
        "import clipfast.runtime.images\n"
        "assert (I.MAX_IMAGE_PIXELS, list(warnings.filters), np.geterr()) == before\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
