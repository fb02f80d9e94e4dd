"""What is raced, by name. A case is made only when its turn comes, because models are large."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from benchmarks.engine import cold_start, models, products
from benchmarks.race import Case

__all__ = ["MODELS", "photo", "rows"]

MODELS = ("ViT-B-32", "ViT-B-16", "ViT-L-14")
BANK = 100_000
AUTOCAST = "torch, bf16 autocast"
Array = np.ndarray[Any, Any]


def rows(names: tuple[str, ...] = MODELS) -> dict[str, Callable[[], Case]]:
    """Every row by name, such as "embed-ViT-B-32"."""
    found: dict[str, Callable[[], Case]] = {}
    for model in names:
        found[f"embed-{model}"] = partial(embed, model, 1)
        found[f"openvino-{model}"] = partial(embed_on_openvino, model, 1)
        found[f"bf16-{model}"] = partial(bf16, model)
        found[f"int8-{model}"] = partial(int8, model, "fp32")
        found[f"int8rest-{model}"] = partial(int8, model, "bf16")
        found[f"batch8-{model}"] = partial(embed, model, 8)
        found[f"batch32-{model}"] = partial(embed, model, 32)
        found[f"openvino8-{model}"] = partial(embed_on_openvino, model, 8)
        found[f"openvino32-{model}"] = partial(embed_on_openvino, model, 32)
        found[f"together-{model}"] = partial(together, model)
        found[f"query-{model}"] = partial(query, model)
        found[f"cold-{model}"] = partial(cold_start.case, model)
    found |= {
        "precisions-mini": lambda: precisions("mini"),
        "jpeg-1080p-exact": lambda: jpeg(1920, 1080, fast=False, must=2.5),
        "jpeg-1080p-fast": lambda: jpeg(1920, 1080, fast=True, must=4.0),
        "jpeg-12mp-exact": lambda: jpeg(4000, 3000, fast=False),
        "jpeg-12mp-fast": lambda: jpeg(4000, 3000, fast=True, must=4.0),
    }
    return found


def embed(model: str, batch: int) -> Case:
    """Pixels to unit rows in fp32, where nobody names a provider; for one image with the bare products as the floor."""
    pixels, tensor = models.inputs(model, batch)
    ours = models.clip(model)
    return _embedding(
        f"embedding, {model}, fp32, batch {batch}",
        {"clipfast": lambda: ours.encode_images(pixels)},
        (model, batch, tensor),
        {"torch.compile": models.compiled(model, tensor)},
    )


def embed_on_openvino(model: str, batch: int) -> Case:
    """The same with `provider="openvino"`."""
    pixels, tensor = models.inputs(model, batch)
    ours, default = models.clip(model, "openvino"), models.clip(model)
    floor = {"bare products, OpenVINO": products.openvino_products(model, batch)} if batch == 1 else {}
    return _embedding(
        f"embedding, {model}, fp32 on OpenVINO, batch {batch}",
        {
            "clipfast": lambda: ours.encode_images(pixels),
            "clipfast on ONNX Runtime": lambda: default.encode_images(pixels),
        },
        (model, batch, tensor),
        floor,
    )


def _embedding(
    name: str,
    ours: dict[str, Callable[[], Array]],
    work: tuple[str, int, Any],
    peers: Mapping[str, Callable[[], Array]],
) -> Case:
    """A race in fp32: ours, the peers that every such race has, and these."""
    model, batch, tensor = work
    contenders = {
        **ours,
        "plain ONNX Runtime": models.by_ort(models.plain_graph(model), tensor),
        "OpenVINO, f32": models.by_openvino(models.plain_graph(model), tensor, "f32"),
        "torch eager": models.eager(model, tensor),
        **peers,
    }
    musts = {"plain ONNX Runtime": 1.15}
    if batch == 1:
        contenders["bare products, ONNX Runtime"] = products.ort_products(model, batch)
        floors = [name for name in contenders if name.startswith("bare")]
        # Of a floor ours may take 1.12 times as long.
        musts = {"plain ONNX Runtime": 1.08, "torch eager": 1.4} | dict.fromkeys(floors, 1 / 1.12)
    giga = products.giga_flop(model, batch)
    return Case(name, contenders, _near, musts, rounds=31 if batch == 1 else 11, giga=giga)


def bf16(model: str) -> Case:
    """One image in bf16, on OpenVINO; what it differs from fp32 by is in the agreement."""
    pixels, tensor = models.inputs(model, 1)
    exact, ours, plain = models.clip(model), models.clip(model, "openvino", "bf16"), models.plain_graph(model)
    return Case(
        f"embedding, {model}, bf16, batch 1",
        {
            "clipfast": lambda: ours.encode_images(pixels),
            "clipfast, fp32": lambda: exact.encode_images(pixels),
            "plain ONNX Runtime, fp32": models.by_ort(plain, tensor),
            "OpenVINO, bf16": models.by_openvino(plain, tensor, "bf16"),
            AUTOCAST: models.autocast(model, tensor),
        },
        partial(_cosines, least=0.99),
        {"plain ONNX Runtime, fp32": 1.7, "OpenVINO, bf16": 1.0},
        rounds=31,
        giga=products.giga_flop(model, 1),
    )


def int8(model: str, rest: str) -> Case:
    """One image in int8; seeded weights, so accuracy means nothing here and is only shown not to be broken.

    Ours is on OpenVINO, which `Clip` takes for int8 where it is installed; on ONNX Runtime it runs elsewhere. `rest` is
    `OpenVinoOptions.int8_rest`; the peer that computes its rest in the same precision is the one to be compared with.
    """
    from clipfast.runtime.openvino import open_openvino
    from clipfast.runtime.session import open_packaged

    pixels, tensor = models.inputs(model, 1)
    plain, graph, quantized = models.plain_graph(model), models.int8_graph(model), models.nncf_graph(model)

    def ours(floats: str) -> Callable[[], Array]:
        session = open_openvino(graph, ["embedding"], precision="int8", threads=models.THREADS, int8_rest=floats)
        return models.by_session(session, pixels)

    contenders = {"clipfast": ours(rest)}
    if rest == "fp32":
        session = open_packaged(graph, ["embedding"], threads=models.THREADS)
        contenders["clipfast, on ONNX Runtime"] = models.by_session(session, pixels)
    peers = {
        "plain ONNX Runtime, fp32": models.by_ort(plain, tensor),
        "ONNX Runtime, quantize_dynamic": models.by_ort(models.dynamic_graph(model), tensor),
        "OpenVINO, NNCF int8": models.by_openvino(quantized, tensor, "f32"),
        "OpenVINO, NNCF int8, bf16 for the rest": models.by_openvino(quantized, tensor, "bf16"),
    }
    musts = dict.fromkeys(list(peers)[1:] if rest == "bf16" else list(peers)[1:3], 1.05)
    return Case(
        f"embedding, {model}, int8{' with bf16 for the rest' if rest == 'bf16' else ''}, batch 1",
        contenders | peers,
        partial(_cosines, least=0.5),
        {"plain ONNX Runtime, fp32": 2.6} | musts,
        rounds=31,
        giga=products.giga_flop(model, 1),
    )


def precisions(model: str) -> Case:
    """A trained model in the precisions that it can run in: ours against ours. Its int8 passed the accuracy gate."""
    from clipfast.runtime.openvino import open_openvino
    from clipfast.runtime.session import open_packaged

    pixels, _ = models.inputs(model, 1)
    exact, half = models.clip(model), models.clip(model, "openvino", "bf16")
    graph = models.int8_graph(model)
    session = open_packaged(graph, ["embedding"], threads=models.THREADS)
    on_openvino = open_openvino(graph, ["embedding"], precision="int8", threads=models.THREADS)
    return Case(
        f"embedding, {model}, trained weights, batch 1",
        {
            "clipfast": models.by_session(on_openvino, pixels),  # int8
            "clipfast, int8 on ONNX Runtime": models.by_session(session, pixels),
            "clipfast, fp32": lambda: exact.encode_images(pixels),
            "clipfast, bf16": lambda: half.encode_images(pixels),
        },
        partial(_cosines, least=0.99),
        rounds=21,
    )


def together(model: str) -> Case:
    """Eight images in one call, beside eight calls of one: ours against ours."""
    pixels, _ = models.inputs(model, 8)
    ours = models.clip(model)
    return Case(
        f"eight images in one call, {model}, fp32",
        {
            "clipfast": lambda: ours.encode_images(pixels),
            "eight calls": lambda: np.concatenate([ours.encode_images(pixels[i : i + 1]) for i in range(8)]),
        },
        _near,
        {"eight calls": 1 / 0.75} if model == "ViT-B-32" else {},
    )


def jpeg(width: int, height: int, *, fast: bool, must: float | None = None) -> Case:
    """A JPEG file to the model's input: `exact` is equal to open_clip's pixels, `fast` scales while decoding."""
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

    def with_draft() -> Array:
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", (448, 448))
        pixels: Array = transform(image).numpy()
        return pixels

    def agree(answers: Mapping[str, Any]) -> dict[str, float]:
        theirs = np.rint(answers["open_clip"].transpose(1, 2, 0) * 255).astype(np.int16)
        apart = np.abs(theirs - answers["clipfast"])
        assert fast or not apart.any(), apart.max()
        assert apart.mean() < 1.0, apart.mean()
        return {"mean grey levels apart": float(apart.mean()), "largest": float(apart.max())}

    contenders: dict[str, Callable[[], Array]] = {
        "clipfast": lambda: preprocess(
            load_pixels(data, wanted_hw=spec.size_hw if fast else None), spec, threads=models.THREADS
        ),
        "open_clip": peer,
    }
    if fast:
        contenders["open_clip after Pillow's draft"] = with_draft
    return Case(
        f"JPEG {width} x {height} to input, {'fast' if fast else 'exact'}",
        contenders,
        agree,
        {"open_clip": must} if must else {},
        rounds=21,
    )


def query(model: str) -> Case:
    """A 1080p JPEG to the ten nearest of 100,000 rows, one request at a time."""
    import faiss
    import torch
    from open_clip.transform import image_transform
    from PIL import Image

    from clipfast.index import VectorIndex
    from clipfast.runtime.images import load_pixels
    from clipfast.runtime.openvino import open_openvino
    from clipfast.runtime.preprocess import preprocess

    data, ours = photo(1920, 1080), models.clip(model)
    half = models.clip(model, "openvino", "bf16")
    small = open_openvino(models.int8_graph(model), ["embedding"], precision="int8", threads=models.THREADS)
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

    def by(encode: Callable[[], Array]) -> Callable[[], list[int]]:
        return lambda: [int(at) for at in index.search(encode(), 10).ids[0]]

    def small_row() -> Array:
        return small.run({"pixels": preprocess(load_pixels(data), spec, threads=models.THREADS)[None]})["embedding"]

    def agree(answers: Mapping[str, Any]) -> dict[str, float]:
        same = len(set(answers["clipfast"]) & set(answers["open_clip, Pillow, FAISS"]))
        assert same >= 9, same
        return {"same of ten": float(same)}

    cases = {
        "clipfast": by(lambda: ours.encode_images(data)),
        "clipfast, bf16": by(lambda: half.encode_images(data)),
        "clipfast, int8": by(small_row),
        "open_clip, Pillow, FAISS": theirs,
    }
    return Case(
        f"JPEG 1920 x 1080 to the ten nearest of {BANK:,}, {model}",
        cases,
        agree,
        {"open_clip, Pillow, FAISS": 2.0},
        rounds=15,
    )


def photo(width: int, height: int) -> bytes:
    """A rendered cloth as a camera's JPEG."""
    from PIL import Image

    from clipfast.datasets.fabricworld import render

    data = io.BytesIO()
    image = Image.fromarray(render(1, fabric="denim", colour="blue", size=640).image)
    image.resize((width, height), Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
    return data.getvalue()


def _near(answers: Mapping[str, Any]) -> dict[str, float]:
    """Unit rows of all but the bare products are the same, to 1e-4."""
    apart = {
        name: float(np.abs(value - answers["clipfast"]).max())
        for name, value in answers.items()
        if name != "clipfast" and not name.startswith("bare")
    }
    for name, value in apart.items():
        assert value <= 1e-4, (name, value)
    return {f"difference from {name}": value for name, value in apart.items()}


def _cosines(answers: Mapping[str, Any], *, least: float) -> dict[str, float]:
    found = {
        f"cosine, {name}": float((value * answers["clipfast"]).sum(axis=-1).min())
        for name, value in answers.items()
        if name != "clipfast"
    }
    for name, value in found.items():
        assert value >= least, (name, value)
    return found
