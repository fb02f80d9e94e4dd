"""What is raced, by name. A case is made only when its turn comes, because models are large."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from benchmarks.engine import models
from benchmarks.race import Case

__all__ = ["MODELS", "rows"]

MODELS = ("ViT-B-32", "ViT-B-16", "ViT-L-14")
BANK = 100_000
Array = np.ndarray[Any, Any]


def rows(names: tuple[str, ...] = MODELS) -> dict[str, Callable[[], Case]]:
    """Every row by name, such as "embed-ViT-B-32"."""
    found: dict[str, Callable[[], Case]] = {}
    for model in names:
        found[f"embed-{model}"] = partial(embed, model, 1)
        found[f"batch8-{model}"] = partial(embed, model, 8)
        found[f"batch32-{model}"] = partial(embed, model, 32)
        found[f"dense-{model}"] = partial(dense, model)
        found[f"int8-{model}"] = partial(int8, model)
    found |= {
        "jpeg-1080p": lambda: jpeg(1920, 1080, {"open_clip, exact": 2.5}),
        "jpeg-12mp": lambda: jpeg(4000, 3000, {}),
        "query-1080p": lambda: query(names[0]),
    }
    return found


def embed(model: str, batch: int) -> Case:
    """Pixels to unit rows, in fp32, with the bare products of the same shapes as the floor."""
    pixels, tensor = models.inputs(model, batch)
    ours = models.clip(model)
    peers = {
        "clipfast": lambda: ours.encode_images(pixels),
        "plain ONNX Runtime": models.by_ort(models.plain_graph(model), tensor),
        "torch eager": models.eager(model, tensor),
        "torch.compile": models.compiled(model, tensor),
        "torch, bf16 autocast": models.autocast(model, tensor),
    }
    if batch == 1:
        peers["bare products, NumPy"] = models.numpy_products(model, batch)
        peers["bare products, torch"] = models.torch_products(model, batch)
    musts = {"plain ONNX Runtime": 1.08, "torch eager": 1.4} if batch == 1 else {"plain ONNX Runtime": 1.15}
    # The bare products are a floor: ours may take 1.12 times as long.
    musts |= {"bare products, NumPy": 1 / 1.12, "bare products, torch": 1 / 1.12} if batch == 1 else {}
    return Case(
        f"embedding, {model}, fp32, batch {batch}",
        peers,
        lambda answers: _near(answers, {"torch, bf16 autocast": 0.05}),
        musts,
        giga=models.giga_flop(model, batch),
    )


def int8(model: str) -> Case:
    """int8 beside fp32 and ONNX Runtime's dynamic quantisation, one image, without judging accuracy."""
    pixels, tensor = models.inputs(model, 1)
    session = models.int8_session(model)
    return Case(
        f"embedding, {model}, int8, batch 1",
        {
            "clipfast": lambda: session.run({"pixels": pixels})["embedding"],
            "plain ONNX Runtime, fp32": models.by_ort(models.plain_graph(model), tensor),
            "ONNX Runtime, quantize_dynamic": models.by_ort(models.dynamic_graph(model), tensor),
        },
        lambda answers: {f"cosine, {name}": _cosine(answers, name) for name in answers if name != "clipfast"},
        {"plain ONNX Runtime, fp32": 2.6, "ONNX Runtime, quantize_dynamic": 1.05},
        giga=models.giga_flop(model, 1),
    )


def dense(model: str) -> Case:
    """All Surgery streams in one forward, beside the embedding alone: ours against ours."""
    pixels, _ = models.inputs(model, 1)
    ours = models.clip(model)
    return Case(
        f"all Surgery streams, {model}, beside the embedding",
        {
            "clipfast": lambda: ours.encode_dense(pixels).embedding,
            "embedding alone": lambda: ours.encode_images(pixels),
        },
        lambda answers: _near(answers, {}),
    )


def jpeg(width: int, height: int, musts: Mapping[str, float]) -> Case:
    """A JPEG file to the model's input. `clipfast` is the exact mode, equal to open_clip's pixels."""
    from open_clip.transform import image_transform
    from PIL import Image

    from clipfast.artifact import ImageSpec
    from clipfast.runtime.images import load_pixels
    from clipfast.runtime.preprocess import load_kernel, preprocess

    load_kernel()
    data, spec = photo(width, height), ImageSpec(size_hw=(224, 224), mean=(0.0,) * 3, std=(1.0,) * 3)
    transform = image_transform(224, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3)

    def peer() -> Array:
        pixels: Array = transform(Image.open(io.BytesIO(data))).numpy()
        return pixels

    def agree(answers: Mapping[str, Any]) -> dict[str, float]:
        theirs = np.rint(answers["open_clip, exact"].transpose(1, 2, 0) * 255).astype(np.int16)
        apart = np.abs(theirs - answers["clipfast"]).max()
        assert apart == 0, apart
        return {
            "grey levels apart, exact": float(apart),
            "mean grey levels apart, fast": float(np.abs(theirs - answers["clipfast, fast"]).mean()),
        }

    return Case(
        f"JPEG {width} x {height} to input",
        {
            "clipfast": lambda: preprocess(load_pixels(data), spec),
            "clipfast, fast": lambda: preprocess(load_pixels(data, wanted_hw=spec.size_hw), spec),
            "open_clip, exact": peer,
        },
        agree,
        musts,
    )


def query(model: str) -> Case:
    """A 1080p JPEG to the ten nearest of 100,000 rows."""
    import faiss
    import torch
    from open_clip.transform import image_transform
    from PIL import Image

    from clipfast.index import VectorIndex

    data, ours = photo(1920, 1080), models.clip(model)
    bank = np.random.default_rng(0).standard_normal((BANK, ours.embed_dim), np.float32)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    index, flat = VectorIndex(ours.embed_dim), faiss.IndexFlatIP(ours.embed_dim)
    index.add(bank)
    flat.add(bank)
    network, spec = models.torch_model(model), ours.manifest.image
    transform = image_transform(spec.size_hw[0], is_train=False, mean=spec.mean, std=spec.std)

    def theirs() -> list[int]:
        with torch.inference_mode():
            row = network.encode_image(transform(Image.open(io.BytesIO(data)))[None], normalize=True).numpy()
        return [int(at) for at in flat.search(row, 10)[1][0]]

    def agree(answers: Mapping[str, Any]) -> dict[str, float]:
        return {"same of ten": float(len(set(answers["clipfast"]) & set(answers["open_clip, Pillow, FAISS"])))}

    return Case(
        f"JPEG 1920 x 1080 to the ten nearest of {BANK:,}, {model}",
        {
            "clipfast": lambda: list(index.search(ours.encode_images(data), 10).ids[0].tolist()),
            "open_clip, Pillow, FAISS": theirs,
        },
        agree,
        {"open_clip, Pillow, FAISS": 2.0},
    )


def photo(width: int, height: int) -> bytes:
    """A rendered cloth as a camera's JPEG."""
    from PIL import Image

    from clipfast.datasets.fabricworld import render

    data = io.BytesIO()
    image = Image.fromarray(render(1, fabric="denim", colour="blue", size=640).image)
    image.resize((width, height), Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
    return data.getvalue()


def _near(answers: Mapping[str, Any], loose: Mapping[str, float]) -> dict[str, float]:
    """Unit rows of all but the bare products are the same, to 1e-4 or what a lower precision may differ by."""
    apart = {
        name: float(np.abs(value - answers["clipfast"]).max())
        for name, value in answers.items()
        if name != "clipfast" and not name.startswith("bare")
    }
    for name, value in apart.items():
        assert value <= loose.get(name, 1e-4), (name, value)
    return {f"difference from {name}": value for name, value in apart.items()}


def _cosine(answers: Mapping[str, Any], name: str) -> float:
    return float((answers[name] * answers["clipfast"]).sum(axis=-1).min())
