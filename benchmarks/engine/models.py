"""The models that are raced: ours, open_clip's in PyTorch, ONNX Runtime and OpenVINO, and their bare products."""

from __future__ import annotations

import functools
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clipfast import Clip
from clipfast.artifact import MANIFEST_NAME, Artifact
from clipfast.runtime.models import embedded_models, find_model
from clipfast.runtime.session import Session, open_packaged

THREADS = 2
Array = np.ndarray[Any, Any]


_FOLDERS: list[Path] = []
_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def keep_in(path: Path) -> None:
    """Make graphs in this folder, and take those that an earlier run of the same code left there."""
    path.mkdir(parents=True, exist_ok=True)
    _FOLDERS[:] = [path]


def folder() -> Path:
    """Where the graphs of this run lie; gone when it ends, unless `keep_in` named one."""
    if not _FOLDERS:
        kept = tempfile.TemporaryDirectory(prefix="clipfast-engine-")
        _KEPT.append(kept)
        _FOLDERS.append(Path(kept.name))
    return _FOLDERS[0]


@functools.cache
def artifact(model: str) -> Artifact:
    """Copy an embedded model, or export seeded weights: speed does not depend on the values."""
    from clipfast.export.options import ExportOptions
    from clipfast.export.pipeline import export

    path = folder() / Path(model).stem
    if (path / MANIFEST_NAME).is_file():
        return Artifact.open(path)
    if model in embedded_models():
        shutil.copytree(find_model(model), path)
        return Artifact.open(path)
    return export(ExportOptions(model, heads=("embed", "text")), path)


@functools.cache
def clip(model: str, provider: str = "cpu", precision: str = "fp32") -> Clip:
    """Ours."""
    return Clip.load(artifact(model).path, provider=provider, precision=precision, threads=THREADS)


@functools.cache
def torch_model(model: str) -> Any:
    """open_clip's own model with the same weights: same name, same seed."""
    from clipfast.export.options import ExportOptions
    from clipfast.export.pipeline import load_source

    return load_source(ExportOptions(model)).model.eval()


def inputs(model: str, batch: int, *, seed: int | None = None) -> tuple[Array, Any]:
    """The same pixels for us, (b, h, w, 3) uint8, and for the peers, normalised (b, 3, h, w) float32 tensors."""
    import torch

    from clipfast.export.sample_inputs import sample_pixels

    spec = artifact(model).manifest.image
    pixels = sample_pixels(spec.size_hw, batch, seed=batch if seed is None else seed)
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
    if path.is_file():
        return path
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
    if path.is_file():
        return path
    quantize_dynamic(
        plain_graph(model), path, per_channel=True, weight_type=QuantType.QInt8, use_external_data_format=True
    )
    return path


@functools.cache
def int8_graph(model: str) -> Path:
    """Our int8 `embed`, without the gate: seeded weights mean nothing, but take the same time as trained ones."""
    from clipfast.export import int8
    from clipfast.export.int8_images import image_sets

    made, path = artifact(model), folder() / f"{Path(model).stem}.int8"
    file = path / "embed.int8.onnx"
    if not file.is_file():
        recipe = int8.calibrated(made, image_sets(made.manifest.image, None))
        file = int8.write_ungated(made, recipe, path)["embed"]
    return file


def by_session(session: Session, pixels: Array) -> Callable[[], Array]:
    """One of our graphs, opened without a manifest."""

    def run() -> Array:
        return session.run({"pixels": pixels})["embedding"]

    return run


def by_openvino(path: Path, tensor: Any, precision: str) -> Callable[[], Array]:
    """A plain or quantised graph in OpenVINO, for one request at a time, unit rows."""
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(THREADS),
        "INFERENCE_PRECISION_HINT": precision,
    }
    core = openvino.Core()
    model = core.read_model(str(path))
    feeds = tensor.numpy()
    model.reshape(list(feeds.shape))  # a fixed batch is its best setting
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run() -> Array:
        request.infer([feeds], share_inputs=True)
        rows = np.array(request.get_output_tensor(0).data)
        out: Array = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
        return out

    return run


@functools.cache
def nncf_graph(model: str) -> Path:
    """The plain graph after NNCF's post-training quantisation for transformers, as its documentation does it."""
    import nncf
    import openvino

    path = folder() / f"{Path(model).stem}.nncf.xml"
    if path.is_file():
        return path
    tensors = [inputs(model, 1, seed=seed)[1].numpy() for seed in range(100, 164)]
    quantized = nncf.quantize(
        openvino.Core().read_model(str(plain_graph(model))),
        nncf.Dataset(tensors),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(tensors),
    )
    openvino.save_model(quantized, str(path), compress_to_fp16=False)
    return path
