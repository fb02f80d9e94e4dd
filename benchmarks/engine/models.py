"""The models that are raced: ours as artifacts, open_clip's in PyTorch and in ONNX Runtime, and their bare products."""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clipfast import Clip
from clipfast.artifact import Artifact
from clipfast.runtime.session import OrtSession, Session, open_packaged

THREADS = 2
Array = np.ndarray[Any, Any]


@functools.cache
def folder() -> Path:
    """Where artifacts of this run lie; gone when it ends."""
    kept = tempfile.TemporaryDirectory(prefix="clipfast-engine-")
    _KEPT.append(kept)
    return Path(kept.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def artifact(model: str) -> Artifact:
    """Export seeded weights: speed does not depend on the values."""
    from clipfast.export.options import ExportOptions
    from clipfast.export.pipeline import export

    return export(ExportOptions(model, heads=("embed", "dense", "text")), folder() / Path(model).stem)


@functools.cache
def clip(model: str) -> Clip:
    """Ours, in fp32."""
    return Clip.load(artifact(model).path, threads=THREADS)


@functools.cache
def torch_model(model: str) -> Any:
    """open_clip's own model with the same weights: same name, same seed."""
    from clipfast.export.options import ExportOptions
    from clipfast.export.pipeline import load_source

    return load_source(ExportOptions(model)).model.eval()


def inputs(model: str, batch: int) -> tuple[Array, Any]:
    """The same pixels for us, (b, h, w, 3) uint8, and for the peers, normalised (b, 3, h, w) float32 tensors."""
    import torch

    from clipfast.export.sample_inputs import sample_pixels

    spec = artifact(model).manifest.image
    pixels = sample_pixels(spec.size_hw, batch, seed=batch)
    mean, std = (np.asarray(v, np.float32) for v in (spec.mean, spec.std))
    floats = ((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    return pixels, torch.from_numpy(np.ascontiguousarray(floats))


def eager(model: str, tensor: Any) -> Callable[[], Array]:
    """PyTorch as open_clip's users call it."""
    import torch

    network = torch_model(model)

    def run() -> Array:
        with torch.inference_mode():
            out: Array = network.encode_image(tensor, normalize=True).numpy()
        return out

    return run


def compiled(model: str, tensor: Any) -> Callable[[], Array]:
    """torch.compile of the image tower."""
    import torch

    network = torch.compile(torch_model(model).visual)

    def run() -> Array:
        with torch.inference_mode():
            out: Array = torch.nn.functional.normalize(network(tensor), dim=-1).numpy()
        return out

    return run


def autocast(model: str, tensor: Any) -> Callable[[], Array]:
    """PyTorch in bf16 autocast."""
    import torch

    network = torch_model(model)

    def run() -> Array:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            out: Array = network.encode_image(tensor, normalize=True).float().numpy()
        return out

    return run


@functools.cache
def plain_graph(model: str) -> Path:
    """open_clip's image tower by torch.onnx.export with its defaults."""
    import torch

    path = folder() / f"{Path(model).stem}.plain.onnx"
    size = artifact(model).manifest.image.size_hw
    torch.backends.mha.set_fastpath_enabled(False)  # its operation has no ONNX form
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch_model(model).visual,
            (torch.zeros(2, 3, *size),),
            str(path),
            input_names=["pixels"],
            output_names=["embedding"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            verbose=False,
        )
    torch.backends.mha.set_fastpath_enabled(True)
    return path


def by_ort(path: Path, tensor: Any) -> Callable[[], Array]:
    """A plain graph in ONNX Runtime, all optimisations on, unit rows."""
    session, feeds = open_packaged(path, ["embedding"], threads=THREADS), {"pixels": tensor.numpy()}

    def run() -> Array:
        rows = session.run(feeds)["embedding"]
        out: Array = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
        return out

    return run


@functools.cache
def dynamic_graph(model: str) -> Path:
    """The plain graph after ONNX Runtime's own quantize_dynamic, per channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = folder() / f"{Path(model).stem}.dynamic.onnx"
    quantize_dynamic(
        plain_graph(model), path, per_channel=True, weight_type=QuantType.QInt8, use_external_data_format=True
    )
    return path


@functools.cache
def int8_session(model: str) -> Session:
    """Our int8 `embed`, without the gate: seeded weights mean nothing, but take the same time as trained ones."""
    from clipfast.export import int8
    from clipfast.export.int8_images import image_sets

    made = artifact(model)
    recipe = int8.calibrated(made, image_sets(made.manifest.image, None))
    paths = int8.write_ungated(made, recipe, folder() / f"{Path(model).stem}.int8")
    session = open_packaged(paths["embed"], ["embedding"], threads=THREADS)
    assert isinstance(session, OrtSession)
    return session


def product_shapes(model: str, batch: int) -> list[tuple[int, int, int]]:
    """(m, k, n) of every product with a weight in the `embed` graph: what remains if all else were free."""
    spec = artifact(model).manifest.model
    tokens, c, side = spec.grid_hw[0] * spec.grid_hw[1] + 1, spec.width, spec.patch_size
    hidden = mlp_width(model)
    block = [(tokens, c, 3 * c), (tokens, c, c), (tokens, c, hidden), (tokens, hidden, c)]
    last = [(tokens, c, 2 * c), (1, c, c), (1, c, c), (1, c, hidden), (1, hidden, c), (1, c, spec.embed_dim)]
    one = [(tokens - 1, 3 * side * side, c), *block * (spec.layers - 1), *last]
    return [(batch * m, k, n) for m, k, n in one]


def mlp_width(model: str) -> int:
    """Columns of the first MLP product."""
    width: int = torch_model(model).visual.transformer.resblocks[0].mlp.c_fc.weight.shape[0]
    return width


def giga_flop(model: str, batch: int) -> float:
    """Of those products, in units of 10^9, a multiply-add counting two."""
    return sum(2.0 * m * k * n for m, k, n in product_shapes(model, batch)) / 1e9


def numpy_products(model: str, batch: int) -> Callable[[], Array]:
    """The products by NumPy's BLAS, each with its own weight, so that weights stream from memory as in the model."""
    rng = np.random.default_rng(0)
    work = []
    for m, k, n in product_shapes(model, batch):
        x, w = (rng.standard_normal(shape, np.float32) for shape in ((m, k), (k, n)))
        work.append((x, w, np.empty((m, n), np.float32)))

    def run() -> Array:
        for x, w, out in work:
            np.matmul(x, w, out=out)
        return work[-1][2]

    return run


def torch_products(model: str, batch: int) -> Callable[[], Array]:
    """The products by PyTorch's library (MKL or oneDNN)."""
    import torch

    generator = torch.Generator().manual_seed(0)
    work = []
    for m, k, n in product_shapes(model, batch):
        x, w = (torch.randn(shape, generator=generator) for shape in ((m, k), (k, n)))
        work.append((x, w, torch.empty(m, n)))

    def run() -> Array:
        with torch.inference_mode():
            for x, w, out in work:
                torch.mm(x, w, out=out)
        last: Array = work[-1][2].numpy()
        return last

    return run
