"""Engines are found by everything they depend on, whole or not at all."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipfast.artifact import Artifact
from clipfast.errors import ProviderError
from clipfast.runtime import engines, session
from clipfast.runtime.engine_cache import CONTEXT_MODEL, EngineCache, Ingredients
from clipfast.runtime.engines import engine_ingredients
from clipfast.runtime.gpu import Gpu
from clipfast.runtime.provider_options import ShapeProfile, TensorRtOptions

ROOT = Path(__file__).resolve().parents[2]
MINI = Artifact.open(ROOT / "clipfast" / "models" / "mini")
A100 = Gpu("NVIDIA A100-SXM4-40GB", "8.0", 40 << 30, "580.65.06")
BASE = Ingredients(
    head="embed",
    files=("0" * 64, "1" * 64),
    precision="fp16",
    profile=("pixels:1x2", "pixels:8x2", "pixels:32x2"),
    builder=(("trt_builder_optimization_level", "3"),),
    onnxruntime="1.31.1",
    tensorrt="101600",
    driver="580.65.06",
    gpu="NVIDIA A100-SXM4-40GB",
    capability="8.0",
)
SHA = st.text("0123456789abcdef", min_size=64, max_size=64)
WORD = st.text(min_size=1, max_size=20)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "head": WORD,
    "files": st.lists(SHA, min_size=1, max_size=3).map(tuple),
    "precision": st.sampled_from(["fp32", "fp16"]),
    "profile": st.tuples(WORD, WORD, WORD),
    "builder": st.lists(st.tuples(WORD, WORD), max_size=3).map(tuple),
    "onnxruntime": WORD,
    "tensorrt": WORD,
    "driver": WORD,
    "gpu": WORD,
    "capability": WORD,
}


def test_the_property_test_covers_every_ingredient() -> None:
    """A new ingredient without a strategy would not be tested."""
    assert set(VALUES) == set(Ingredients.__struct_fields__)


@given(st.data())
def test_the_key_changes_when_any_ingredient_changes(data: st.DataObject) -> None:
    """Equal ingredients give equal keys; one other value anywhere gives another key."""
    name = data.draw(st.sampled_from(sorted(VALUES)))
    changed = msgspec.structs.replace(BASE, **{name: data.draw(VALUES[name])})
    same = getattr(changed, name) == getattr(BASE, name)

    assert (changed.key() == BASE.key()) is same
    assert BASE.differences(changed) == (() if same else (name,))


@given(st.lists(WORD, min_size=2, max_size=2), st.lists(WORD, min_size=2, max_size=2))
def test_neighbouring_ingredients_do_not_run_into_each_other(a: list[str], b: list[str]) -> None:
    """Driver "1" on GPU "2x" is not driver "12" on GPU "x"."""
    one, two = (msgspec.structs.replace(BASE, driver=p[0], gpu=p[1]) for p in (a, b))

    assert (one.key() == two.key()) is (a == b)


def test_a_graph_or_weights_or_option_of_another_kind_is_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the ingredients are made of: file hashes, versions, GPU, options; not which of two equal GPUs."""
    monkeypatch.setattr(engines, "tensorrt_version", lambda: "101600")
    spec = MINI.manifest.graphs["embed"]

    def key(
        options: TensorRtOptions | None = None, *, ort: str = "1", gpu: Gpu = A100, artifact: Artifact = MINI
    ) -> str:
        return engine_ingredients(artifact, "embed", options or TensorRtOptions(), spec, ort, gpu=gpu).key()

    weights = spec.files[1]
    files = dict(MINI.manifest.files)
    files[weights] = msgspec.structs.replace(files[weights], sha256="f" * 64)
    other = Artifact(MINI.path, msgspec.structs.replace(MINI.manifest, files=files))
    keys = [
        key(),
        key(ort="2"),
        key(gpu=dataclasses.replace(A100, driver="581")),
        key(gpu=dataclasses.replace(A100, name="NVIDIA L4")),
        key(gpu=dataclasses.replace(A100, capability="8.9")),
        key(TensorRtOptions(profile=ShapeProfile(1, 8, 16))),
        key(TensorRtOptions(builder_optimization_level=5)),
        key(TensorRtOptions.latency()),
        key(artifact=other),  # the same graph with other weights
    ]

    assert len(set(keys)) == len(keys)
    assert key(TensorRtOptions(device_id=1)) == keys[0]


def _make(folder: Path) -> None:
    (folder / CONTEXT_MODEL).write_bytes(b"context")
    (folder / "trt.engine").write_bytes(b"plan")


def test_an_engine_is_built_once_and_found(tmp_path: Path) -> None:
    """Afterwards the folder holds three files, and nothing temporary is left."""
    cache = EngineCache(tmp_path / "engines")
    assert cache.find(BASE) is None
    built = cache.build(BASE, _make)

    assert built == cache.find(BASE) == tmp_path / "engines" / BASE.key() / CONTEXT_MODEL
    assert sorted(p.name for p in built.parent.iterdir()) == ["engine.json", CONTEXT_MODEL, "trt.engine"]
    assert sorted(p.name for p in cache.folder.iterdir()) == sorted([BASE.key(), "timing"])
    assert cache.find(msgspec.structs.replace(BASE, driver="581")) is None


def test_a_half_written_engine_is_never_seen(tmp_path: Path) -> None:
    """While it is being built, and when building fails, nobody finds it."""
    cache = EngineCache(tmp_path)

    def fail(folder: Path) -> None:
        _make(folder)
        assert cache.find(BASE) is None
        raise ProviderError("the builder ran out of memory")

    with pytest.raises(ProviderError, match="out of memory"):
        cache.build(BASE, fail)
    assert cache.find(BASE) is None
    assert [p.name for p in tmp_path.iterdir()] == ["timing"]


def test_a_builder_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    """An old ONNX Runtime knows no context models and says nothing."""
    with pytest.raises(ProviderError, match="wrote no context model for embed"):
        EngineCache(tmp_path).build(BASE, lambda _: None)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "trt.engine").write_bytes(b"plam"),  # one byte changed
        lambda folder: (folder / "trt.engine").write_bytes(b"pla"),  # cut
        lambda folder: (folder / "trt.engine").unlink(),
        lambda folder: (folder / "engine.json").unlink(),  # a folder of someone else's
        lambda folder: (folder / "engine.json").write_text("{"),
        lambda folder: (folder / "engine.json").write_text(  # moved here from another GPU's folder
            (folder / "engine.json").read_text().replace("A100-SXM4-40GB", "H100")
        ),
    ],
)
def test_a_damaged_or_foreign_engine_is_not_used(damage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is removed with a warning and can be built again."""
    cache = EngineCache(tmp_path)
    damage(cache.build(BASE, _make).parent)

    with caplog.at_level(logging.WARNING):
        assert cache.find(BASE) is None
    assert "is not used" in caplog.text
    assert cache.build(BASE, _make) == cache.find(BASE)


def test_two_builders_at_once_leave_one_engine(tmp_path: Path) -> None:
    """The slower one takes the quicker one's."""
    cache = EngineCache(tmp_path)
    together = threading.Barrier(2, timeout=20)

    def slow(folder: Path) -> None:
        _make(folder)
        together.wait()

    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(cache.build(BASE, slow))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert found == [cache.find(BASE)] * 2
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([BASE.key(), "timing"])


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With the three ways to name another one."""
    tmp_path.chmod(0o500)
    with pytest.raises(ProviderError, match=r"cannot be written .*--engine-dir"):
        EngineCache(tmp_path / "engines").build(BASE, _make)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    """The same, where root may write everywhere."""
    (tmp_path / "engines").write_text("no folder")

    with pytest.raises(ProviderError, match=r"cannot be written .*CLIPFAST_CACHE"):
        EngineCache(tmp_path / "engines").build(BASE, _make)


class _TensorRt:
    """Stands for a session that builds what it is told to build, as ONNX Runtime's TensorRT provider does."""

    opened: list[tuple[str, dict[str, str]]]

    def __init__(self, path: str, **given: Any) -> None:
        ((_, entries),) = given["providers"]
        self.opened.append((path, entries))
        if context := entries.get("trt_ep_context_file_path"):
            _make(Path(context).parent)

    def get_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider"]

    def get_inputs(self) -> list[Any]:
        return []


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    """A pretended GPU with TensorRT; gives what was opened, with which options."""
    opened: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(_TensorRt, "opened", opened, raising=False)
    monkeypatch.setattr("clipfast.runtime.gpu.describe_gpu", lambda _: A100)
    monkeypatch.setattr(engines, "describe_gpu", lambda _: A100)
    monkeypatch.setattr(engines, "tensorrt_version", lambda: "101600")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["TensorrtExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", _TensorRt)
    return opened


def _artifact() -> Artifact:
    spec = msgspec.structs.replace(MINI.manifest.graphs["embed"], flavour="tensorrt")
    graphs = MINI.manifest.graphs | {"embed.tensorrt": spec}
    return Artifact(MINI.path, msgspec.structs.replace(MINI.manifest, graphs=graphs))


def test_an_engine_is_built_at_the_first_opening_and_only_opened_afterwards(
    tensorrt: list[tuple[str, dict[str, str]]], tmp_path: Path
) -> None:
    """First the graph with everything for the builder, then twice the context model with nothing of it."""
    options = TensorRtOptions(engines=tmp_path, profile=ShapeProfile(1, 4, 8))
    for _ in range(2):
        session.open_session(_artifact(), "embed", provider=options, precision="fp32", threads=1)
    (graph, told), *later = tensorrt

    assert graph == str(MINI.path / "embed.onnx")
    assert told["trt_profile_max_shapes"] == "pixels:8x224x224x3"
    assert told["trt_timing_cache_path"] == str(tmp_path / "timing")
    assert Path(told["trt_ep_context_file_path"]).parent.parent == tmp_path
    assert len(later) == 2
    assert {path for path, _ in later} == {str(next(tmp_path.glob(f"*/{CONTEXT_MODEL}")))}
    assert all("trt_ep_context_file_path" not in entries for _, entries in later)


def test_an_engine_of_another_gpu_is_an_error_where_building_is_forbidden(
    tensorrt: list[tuple[str, dict[str, str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names both GPUs; without any engine it says so."""
    never = TensorRtOptions(engines=tmp_path, build="never")
    with pytest.raises(ProviderError, match="holds no engine of 'embed'"):
        session.open_session(_artifact(), "embed", provider=never, precision="fp32", threads=1)
    session.open_session(_artifact(), "embed", provider=TensorRtOptions(engines=tmp_path), precision="fp32", threads=1)
    monkeypatch.setattr(
        engines, "describe_gpu", lambda _: dataclasses.replace(A100, name="NVIDIA L4", capability="8.9")
    )

    with pytest.raises(ProviderError, match=r"another gpu \(NVIDIA A100-SXM4-40GB there, NVIDIA L4 here\), capability"):
        session.open_session(_artifact(), "embed", provider=never, precision="fp32", threads=1)
