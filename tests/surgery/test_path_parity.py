"""Every path and preset against PyTorch: mini always, other models where they are asked for.

    CLIPFAST_PARITY_MODELS=ViT-B-32,ViT-B-16 python -m pytest tests/surgery/test_path_parity.py -s

exports each with seeded weights at 224 and 288, with all presets, and prints the largest difference of each path.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from clipfast.runtime.clip import Clip
from clipfast.surgery import PATHS, MapOptions, heatmaps_by_path
from clipfast.types import DenseTokens, Floats, Images
from reference.path_maps import mini_checkpoint, path_maps

if TYPE_CHECKING:
    from clipfast.export.weights import LoadedModel

MINI = Path(__file__).resolve().parents[2] / "clipfast" / "models" / "mini"
FURTHER = [name for name in os.environ.get("CLIPFAST_PARITY_MODELS", "").split(",") if name]
TEXTS = ["denim", "a red star", "lace"]
ALPHA = 0.3
LIMIT = 1e-4

pytestmark = pytest.mark.torch


class Seen:
    """The vision graphs of a model, with texts that are seeded unit rows: no text tower is needed to compare maps."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.manifest, self.exif, self.max_pixels = clip.manifest, clip.exif, clip.max_pixels

    def encode_texts(self, texts: Sequence[str], templates: Sequence[str] | None = None) -> Floats:
        names = [f"{text} {len(templates or ())}" for text in texts]
        rows = [np.random.default_rng(zlib.crc32(name.encode())).normal(size=self.clip.embed_dim) for name in names]
        out: Floats = np.array([row / np.linalg.norm(row) for row in rows], np.float32)
        return out

    def encode_images(self, images: Images) -> Floats:
        return self.clip.encode_images(images)

    def encode_dense(self, images: Images, alpha: float = 0.5) -> DenseTokens:
        return self.clip.encode_dense(images, alpha)

    def encode_presets(self, images: Images) -> dict[str, Floats]:
        return self.clip.encode_presets(images)

    def fingerprint(self, output: str = "embedding") -> str:
        return self.clip.fingerprint(output)


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Config and checkpoint of mini, as open_clip reads them."""
    return mini_checkpoint(MINI, tmp_path_factory.mktemp("mini"))


def _differences(clip: Clip, source: LoadedModel, batch: int) -> dict[str, float]:
    from clipfast.export.parity import sample_inputs

    seen = Seen(clip)
    inputs = sample_inputs(clip.manifest, batch, alpha=ALPHA, seed=batch)
    templates = MapOptions().templates
    expected = path_maps(clip.manifest, source, inputs, seen.encode_texts(TEXTS, templates), seen.encode_texts(TEXTS))
    names: tuple[Any, ...] = tuple(expected)
    maps = heatmaps_by_path(seen, inputs["pixels"], TEXTS, names, options=MapOptions(alpha=ALPHA))
    return {name: float(np.abs(maps[name] - expected[name]).max()) for name in names}


def test_the_rebuilt_model_is_mini(mini: Clip, rebuilt: tuple[Path, Path]) -> None:
    """Its texts and images are those of the artifact, so that it may stand for the checkpoint that is not here."""
    import torch

    from clipfast.export import reference
    from clipfast.export.parity import sample_pixels
    from clipfast.export.weights import load_model

    source = load_model(str(rebuilt[0]), str(rebuilt[1]), activation="gelu")
    pixels = sample_pixels((224, 224), 2, seed=4)
    texts = ["a red star", "a photo of denim fabric"]
    import open_clip

    ids = torch.as_tensor(open_clip.get_tokenizer("ViT-B-32")(texts))
    with torch.no_grad():
        images = reference.image_embedding(source.model, torch.from_numpy(pixels), source.image).numpy()
        words = reference.text_embedding(source.model, ids).numpy()

    for found, expected in ((mini.encode_images(pixels), images), (mini.encode_texts(texts), words)):
        assert np.abs(found - expected / np.linalg.norm(expected, axis=-1, keepdims=True)).max() < 1e-5


@pytest.mark.parametrize("batch", [1, 5])
def test_mini_as_it_is_shipped(mini: Clip, rebuilt: tuple[Path, Path], batch: int) -> None:
    """All paths that it holds, at its own size."""
    from clipfast.export.weights import load_model

    found = _differences(mini, load_model(str(rebuilt[0]), str(rebuilt[1]), activation="gelu"), batch)

    assert set(found) == {"standard", "vv_qk", "vv_vv", "vv_mixed", "plain", "legacy_seed"}
    assert max(found.values()) <= LIMIT, found


@pytest.fixture(scope="module", params=[("mini", 288), *((name, size) for name in FURTHER for size in (224, 288))])
def exported(
    request: pytest.FixtureRequest, rebuilt: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Clip, LoadedModel]]:
    """A model with every preset at a size, and its PyTorch reference."""
    from clipfast.export.options import PRESET_NAMES, ExportOptions
    from clipfast.export.pipeline import export
    from clipfast.export.weights import load_model

    name, size = request.param
    config, weights = (str(rebuilt[0]), str(rebuilt[1])) if name == "mini" else (name, None)
    options = ExportOptions(
        config,
        pretrained=weights,
        activation="gelu",
        image_size=size,
        presets=tuple(preset for preset in PRESET_NAMES if preset != "sweep"),
        heads=("embed", "dense", "tokens"),
    )
    artifact = export(options, tmp_path_factory.mktemp("parity") / "artifact")
    with Clip.load(artifact.path) as clip:
        yield clip, load_model(config, weights, activation="gelu", image_size=size)


@pytest.mark.parametrize("batch", [1, 5])
def test_every_path_and_preset_at_other_sizes(exported: tuple[Clip, LoadedModel], batch: int) -> None:
    """The whole table, larger than the model's own input too."""
    clip, source = exported
    found = _differences(clip, source, batch)
    side = clip.manifest.image.size_hw[0]
    for path, difference in found.items():
        sys.stdout.write(f"{clip.name} {side} batch {batch} {path}: {difference:.1e}\n")

    assert set(found) == set(PATHS)
    assert max(found.values()) <= LIMIT, found
