"""Grad-CAM of the PyTorch reference: its definition by finite differences, and as one more row of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the export extra")
pytest.importorskip("open_clip", reason="needs the export extra")

import torch

from clipfast.artifact import Artifact
from clipfast.datasets.box_samples import read_boxes
from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.export.grad_cam import GradCam
from clipfast.export.reference import normalised
from clipfast.export.reverify import source_of
from clipfast.export.weights import LoadedModel, load_model
from clipfast.runtime.clip import Clip
from clipfast.surgery.evaluate import evaluate_localisation
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.options import MapOptions
from clipfast.types import Floats, Pixels

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def source(tiny_config: Path) -> LoadedModel:
    """A tiny ViT with seeded weights."""
    return load_model(str(tiny_config), None)


def _inputs(count: int = 2) -> tuple[Pixels, Floats]:
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(3, 48)).astype(np.float32)
    pixels = rng.integers(0, 255, (count, 64, 64, 3)).astype(np.uint8)
    return pixels, texts / np.linalg.norm(texts, axis=1, keepdims=True)


def test_gradients_are_those_of_finite_differences(source: LoadedModel) -> None:
    """Channels' weights, by changing all patches of a channel a little and looking at the cosine."""
    pixels, texts = _inputs(1)
    model, block = source.model, source.model.visual.transformer.resblocks[-1]
    given = normalised(torch.from_numpy(pixels), source.image)

    def cosine(change: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen: list[torch.Tensor] = []

        def changed(_module: object, _inputs: object, out: torch.Tensor) -> torch.Tensor:
            seen.append(out)
            return out + change

        handle = block.ln_1.register_forward_hook(changed)
        with torch.no_grad():
            found = model.encode_image(given, normalize=True) @ torch.from_numpy(texts).T
        handle.remove()
        return found[0].double(), seen[0][0]

    _, tokens = cosine(torch.zeros(1))
    count, channels = tokens.shape[0] - 1, tokens.shape[1]
    step, weights = 1e-2, torch.zeros(3, channels, dtype=torch.float64)
    for channel in range(channels):
        change = torch.zeros(1, *tokens.shape)
        change[0, 1:, channel] = step
        weights[:, channel] = (cosine(change)[0] - cosine(-change)[0]) / (2 * step * count)
    expected = torch.relu(weights @ tokens[1:].double().T).reshape(3, 4, 4).numpy()
    found = GradCam(source).maps(pixels, texts)[0]

    assert found.shape == (3, 4, 4)
    assert expected.max() > 0
    assert np.abs(found - expected).max() < 0.02 * expected.max()


def test_images_are_computed_for_themselves(source: LoadedModel) -> None:
    """A batch is its images; nothing is left behind on the model."""
    pixels, texts = _inputs(2)
    cam = GradCam(source)
    together = cam.maps(pixels, texts)

    assert together.min() >= 0
    assert np.abs(together[1:] - cam.maps(pixels[1:], texts)).max() < 1e-6 * together.max() + 1e-9
    assert not source.model.visual.transformer.resblocks[-1].ln_1._forward_hooks
    with pytest.raises(ShapeError, match="pixels must be"):
        cam.maps(pixels[:, :32], texts)


def test_it_is_one_more_row(tiny_artifact: Artifact, tiny_config: Path, tmp_path: Path) -> None:
    """Measured and compared as the paths are; only with the weights that the artifact was made from."""
    checkpoint, other = tmp_path / "weights.pt", tmp_path / "other.pt"
    torch.save(load_model(str(tiny_config), None).model.state_dict(), checkpoint)
    torch.save(load_model(str(tiny_config), None, seed=1).model.state_dict(), other)
    data = read_boxes("fabricworld", "", limit=2)
    with pytest.raises(ArtifactError, match="was not made from"):
        source_of(tiny_artifact, other)
    cam = GradCam(source_of(tiny_artifact, checkpoint))
    with Clip.load(tiny_artifact.path, threads=1) as clip:
        options = LocaliseOptions(paths=("vv_vv",), maps=MapOptions(geometry="squash", templates=("a {}",)))
        records = evaluate_localisation(clip, data, options, further={"grad_cam": cam.maps})
        windows = LocaliseOptions(paths=("vv_vv",), maps=MapOptions(scales=(1, 2)))
        with pytest.raises(DataError, match="grad_cam cannot be made of windows"):
            evaluate_localisation(clip, data, windows, further={"grad_cam": cam.maps})

    assert list(records.paths) == ["vv_vv", "grad_cam"]
    assert len(records.paths["grad_cam"].response["energy"]) == len(records.map_class)
