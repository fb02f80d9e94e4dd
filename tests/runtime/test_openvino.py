"""OpenVINO gives the answers of the reference in the precision that was asked for, or says why it cannot."""

from __future__ import annotations

import importlib
import logging
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.artifact import Artifact
from clipfast.errors import ArtifactError, MissingExtraError, ProviderError
from clipfast.runtime.clip import Clip
from clipfast.runtime.openvino import open_openvino, require_precision
from clipfast.runtime.openvino_graph import fix_rows, separate_projections, unpack_weights
from clipfast.runtime.parity import verify
from clipfast.runtime.session import open_packaged, open_session

MINI = Path(__file__).resolve().parents[2] / "clipfast" / "models" / "mini"


def _fake(monkeypatch: pytest.MonkeyPatch, *, offers: list[str], hint: str = "bf16", reason: str = "") -> None:
    """Put an openvino in place whose CPU offers this, and which compiles for `hint`, or refuses for `reason`."""

    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return offers

        def read_model(self, path: str) -> Any:
            return types.SimpleNamespace(inputs=[], reshape=lambda shapes: None)

        def compile_model(self, model: Any, device: str, wanted: dict[str, str]) -> Any:
            if reason:
                raise RuntimeError(f"Exception from src/somewhere.cpp:1\n{reason}\n")
            return types.SimpleNamespace(get_property=lambda name: hint)

    for change in ("unpack_weights", "separate_projections"):
        monkeypatch.setattr(f"clipfast.runtime.openvino.{change}", lambda model: None)
    module = types.ModuleType("openvino")
    module.Core = Core  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "openvino", module)


def test_a_missing_openvino_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with the pip line."""
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'clipfast\[openvino\]'"):
        Clip.load("mini", provider="openvino", threads=1).encode_texts(["a"])


def test_a_cpu_without_bf16_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be emulated, slower than fp32; what the CPU has is in the message."""
    _fake(monkeypatch, offers=["FP32", "INT8"])

    with pytest.raises(ProviderError, match=r"no bf16 arithmetic .*OpenVINO offers FP32, INT8\. Use precision='fp32'"):
        open_openvino(MINI / "embed.onnx", ["embedding"], precision="bf16", threads=1)
    require_precision("int8", ["FP32"])  # slower, with the same answers


def test_a_cpu_that_openvino_refuses_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's last line is the reason; the lines before name its own files."""
    _fake(monkeypatch, offers=["BF16"], reason="Platform has not sufficient ISA.")

    with pytest.raises(ProviderError, match=r"refuses to run embed\.onnx on this CPU: Platform .* ISA\. Use provider"):
        open_openvino(MINI / "embed.onnx", ["embedding"], precision="bf16", threads=1)


def test_another_precision_than_asked_for_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO takes bf16 by itself; the precision is read back."""
    _fake(monkeypatch, offers=["BF16"], hint="bf16")

    with pytest.raises(ProviderError, match=r"was to run in f32; OpenVINO .* runs it in bf16"):
        open_openvino(MINI / "embed.onnx", ["embedding"], precision="fp32", threads=1)


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_bf16_elsewhere_names_openvino(provider: str) -> None:
    """ONNX Runtime has no bf16 products: the message says where they are."""
    with pytest.raises(ProviderError, match=f"bf16 runs on provider 'openvino' only; got '{provider}'"):
        Clip.load("mini", provider=provider, precision="bf16")


def test_precisions_that_openvino_does_not_have_are_listed() -> None:
    """fp16 is for GPUs; and a graph of no manifest stays with ONNX Runtime."""
    with pytest.raises(ProviderError, match="must be one of fp32, bf16, int8; got 'fp16'"):
        open_session(Artifact.open(MINI), "embed", provider="openvino", precision="fp16", threads=1)
    with pytest.raises(ProviderError, match="runs on cpu or cuda; got openvino"):
        open_packaged(MINI / "embed.onnx", ["embedding"], threads=1, provider="openvino")


def test_more_threads_than_cores_are_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They run, slower, and the log says so."""
    monkeypatch.setattr("clipfast.runtime.clip.available_cores", lambda: 2)
    with caplog.at_level(logging.WARNING):
        Clip.load("mini", threads=2)
        assert not [r for r in caplog.records if "threads" in r.getMessage()]
        Clip.load("mini", threads=64)

    assert "64 threads for 2 cores" in caplog.text


@pytest.fixture(scope="module")
def openvino() -> Any:
    """The real one."""
    return pytest.importorskip("openvino", reason="needs openvino: pip install 'clipfast[openvino]'")


def _precisions(openvino: Any) -> list[str]:
    offers = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["fp32", "bf16"] if "BF16" in offers else ["fp32"]


def test_every_graph_is_near_pytorch_in_every_precision(openvino: Any) -> None:
    """fp32 within the gate of the export, bf16 within its own; the two differ, so each is what it says."""
    found = {p: verify(Artifact.open(MINI), provider="openvino", precision=p) for p in _precisions(openvino)}

    assert {len(rows) for rows in found.values()} == {len(verify(Artifact.open(MINI)))}
    if "bf16" in found:
        assert found["bf16"][0].max_abs_diff > 10 * found["fp32"][0].max_abs_diff


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_row_does_not_depend_on_batch_or_thread(openvino: Any, precision: str) -> None:
    """Not by a bit: alone, in a piece, in two pieces with a rest, and from four threads at once."""
    if precision not in _precisions(openvino):
        pytest.skip("needs a CPU with bf16")
    clip = Clip.load("mini", provider="openvino", precision=precision, threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (19, 224, 224, 3), np.uint8)
    alone = np.concatenate([clip.encode_images(pixels[i : i + 1]) for i in range(19)])
    for count in (2, 8, 9, 16, 19):
        assert np.array_equal(clip.encode_images(pixels[:count]), alone[:count]), count
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(clip.encode_images, [pixels[:11]] * 8))

    for rows in together:
        assert np.array_equal(rows, alone[:11])
    assert clip.encode_texts(["red denim"]).shape == (1, clip.embed_dim)


@pytest.mark.parametrize("graph", ["embed", "dense", "patches", "text"])
def test_divided_projections_give_the_same_answers(openvino: Any, graph: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums keep their terms and order, also for value-value attention."""
    outputs = Artifact.open(MINI).manifest.graphs[graph].outputs
    feeds: dict[str, Any] = (
        {"ids": np.arange(1, 78, dtype=np.int64)[None]}
        if graph == "text"
        else {"pixels": np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)}
    )
    if graph == "dense":
        feeds["alpha"] = np.float32(0.5)
    answers = []
    for change in (separate_projections, lambda model: 0):
        monkeypatch.setattr("clipfast.runtime.openvino.separate_projections", change)
        answers.append(open_openvino(MINI / f"{graph}.onnx", outputs, precision="fp32", threads=1).run(feeds))

    for name in outputs:
        assert np.abs(answers[0][name] - answers[1][name]).max() <= 1e-6, name


@pytest.mark.parametrize("kind", ["read elsewhere", "biases differ", "no bias", "not a constant", "rows"])
def test_what_is_no_projection_is_left_alone(openvino: Any, kind: str) -> None:
    """A Split is only divided where nobody else reads the product and every reader adds the same constant."""
    op = importlib.import_module("openvino.opset13")
    rng = np.random.default_rng(0)
    x = op.parameter([1, 6, 6], np.float32, name="x")
    product = op.matmul(x, x if kind == "not a constant" else op.constant(rng.random((6, 6), np.float32)), False, False)
    split = op.split(product, op.constant(np.int64(1 if kind == "rows" else 2)), 2)
    rows = [op.constant(rng.random((1, 1, 6 if kind == "rows" else 3), np.float32)) for _ in range(3)]
    sums = [op.add(split.output(at), rows[at]) for at in range(2)]
    if kind == "no bias":
        sums.append(op.relu(split.output(1)))
    if kind == "biases differ":
        sums.append(op.add(split.output(0), rows[2]))
    if kind == "read elsewhere":
        sums.append(op.relu(product))
    model, ones = openvino.Model(sums, [x]), np.ones((1, 6, 6), np.float32)
    before = openvino.Core().compile_model(model.clone(), "CPU")([ones])

    assert separate_projections(model) == 0
    after = openvino.Core().compile_model(model, "CPU")([ones])
    assert all(np.array_equal(before[at], after[at]) for at in range(len(sums)))


@pytest.mark.parametrize("graph", ["embed.onnx", "dense.onnx", "text.onnx"])
def test_every_split_of_a_graph_is_divided(openvino: Any, graph: str) -> None:
    """Also those whose values are attended to twice; fewer would cost time without a word."""
    model = openvino.Core().read_model(str(MINI / graph))
    unpack_weights(model)
    splits = [node for node in model.get_ordered_ops() if node.get_type_name() == "Split"]

    assert separate_projections(model) == len(splits) >= 3
    assert not [node for node in model.get_ordered_ops() if node.get_type_name() == "Split"]


@pytest.mark.torch
@pytest.mark.parametrize("rows", [1, None])
def test_nothing_is_left_between_norms_and_products(openvino: Any, tiny_artifact: Artifact, rows: int | None) -> None:
    """An export leaves ones and zeros in a block's norms, which OpenVINO drops; the norms at both ends keep theirs."""
    model = openvino.Core().read_model(str(tiny_artifact.path / "embed.onnx"))
    separate_projections(model)
    if rows is not None:
        fix_rows(model, rows)
    compiled = openvino.Core().compile_model(model, "CPU").get_runtime_model()
    readers = [
        {reader.get_node().get_rt_info()["layerType"].astype(str) for reader in node.output(0).get_target_inputs()}
        for node in compiled.get_ordered_ops()
        if node.get_rt_info()["layerType"].astype(str) == "MVN"
    ]

    assert len(readers) == 16
    assert sum(kinds <= {"FullyConnected", "StridedSlice"} for kinds in readers) == 14


def test_a_file_that_is_no_graph_is_an_artifact_error(openvino: Any, tmp_path: Path) -> None:
    """OpenVINO's exception does not reach the caller."""
    (tmp_path / "bad.onnx").write_bytes(b"no graph")

    with pytest.raises(ArtifactError, match="cannot read"):
        open_openvino(tmp_path / "bad.onnx", ["embedding"], precision="fp32", threads=1)
