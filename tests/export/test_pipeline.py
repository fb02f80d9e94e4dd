"""Export end to end: proven, whole or not there at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch: pip install --group test")
pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")

import onnx_ir as ir

from clipfast.artifact import Artifact
from clipfast.errors import ArtifactError, DataError, ParityError, ShapeError
from clipfast.export import parity, pipeline, plan
from clipfast.export.heads import DenseHead
from clipfast.export.options import ExportOptions
from clipfast.export.weights import load_model
from clipfast.runtime.clip import Clip

pytestmark = pytest.mark.torch


def test_the_manifest_records_the_gate(tiny_artifact: Artifact) -> None:
    """Every output of every graph at both batch sizes, all within the limits."""
    rows = tiny_artifact.manifest.parity
    outputs = {(g, o) for g, spec in tiny_artifact.manifest.graphs.items() for o in spec.outputs}

    assert {(row.graph, row.output, row.batch) for row in rows} == {(g, o, b) for g, o in outputs for b in (1, 5)}
    assert all(row.max_abs_diff <= 1e-4 and row.max_norm_error <= 1e-4 and row.min_cosine >= 1 - 1e-6 for row in rows)


def test_graphs_share_one_weights_file(tiny_artifact: Artifact) -> None:
    """The two vision graphs name the same external file, and it is not much larger than the tower."""
    graphs = tiny_artifact.manifest.graphs

    assert graphs["embed"].files[1:] == graphs["dense"].files[1:] == ("vision.weights",)
    assert tiny_artifact.manifest.files["embed.onnx"].bytes < 200_000


def test_an_exported_model_runs(tiny_artifact: Artifact) -> None:
    """A Clip loads the folder and gives unit rows of the right size."""
    clip = Clip.load(tiny_artifact.path, threads=1)
    pixels = parity.sample_pixels((64, 64), 2, seed=0)

    assert clip.encode_images(pixels).shape == (2, 48)
    assert clip.encode_dense(pixels).vv.shape == (2, 16, 48)
    assert clip.encode_texts(["denim", "a much longer text about linen"]).shape == (2, 48)


def test_no_path_of_the_machine_is_in_the_artifact(tiny_artifact: Artifact) -> None:
    """Graphs and manifest can be handed on: no source file, no home folder."""
    for name in ("embed.onnx", "dense.onnx", "text.onnx", "manifest.json"):
        data = (tiny_artifact.path / name).read_bytes()
        assert b"site-packages" not in data
        assert str(Path.cwd()).encode() not in data


def test_a_missed_gate_writes_nothing(tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong graph raises, names the output and the figures, and leaves no folder."""

    class Mutated(DenseHead):
        def forward(self, pixels: Any, alpha: Any) -> Any:
            embedding, qk, vv, mixed = super().forward(pixels, alpha)
            return embedding, qk, vv + 0.01 * vv.roll(1, -1), mixed

    monkeypatch.setattr(plan, "DenseHead", Mutated)

    with pytest.raises(ParityError, match=r"dense\.vv at batch"):
        pipeline.export(ExportOptions(str(tiny_config), heads=("embed", "dense")), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_another_folder_is_left_alone(tiny_config: Path, tmp_path: Path) -> None:
    """A folder that is no artifact is never overwritten."""
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(ArtifactError, match="is no artifact"):
        pipeline.export(ExportOptions(str(tiny_config)), tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(ArtifactError, match="is no artifact"):
        pipeline.export(ExportOptions(str(tiny_config)), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_artifact_with_other_files_is_left_alone(tiny_config: Path, tiny_artifact: Artifact, tmp_path: Path) -> None:
    """Notes that someone keeps beside the graphs are not deleted."""
    folder = Path(shutil.copytree(tiny_artifact.path, tmp_path / "model"))
    (folder / "notes.txt").write_text("keep")

    with pytest.raises(ArtifactError, match=r"'notes\.txt'"):
        pipeline.export(ExportOptions(str(tiny_config)), folder)


def test_the_current_folder_is_not_replaced(tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--out .` would pull the ground from under the shell."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ArtifactError, match="cannot be replaced"):
        pipeline.export(ExportOptions(str(tiny_config)), Path())


def test_the_written_tokenizer_fits_the_text_graph(tiny_artifact: Artifact) -> None:
    """A real sentence through tokenizer.json and text.onnx equals open_clip's own tokenizer and tower."""
    import open_clip
    import torch

    from clipfast.export import reference

    texts = ["a photo of blue denim fabric", "Grüße, 你好! it's"]
    ids = open_clip.get_tokenizer("ViT-B-32")(texts)
    clip = Clip.load(tiny_artifact.path, threads=1)
    config = json.loads(tiny_artifact.manifest.source.config)
    path = tiny_artifact.path.parent / "again.json"
    path.write_text(json.dumps(config))
    model = load_model(str(path), None).model
    expected = reference.text_embedding(model, torch.as_tensor(ids)).numpy()

    assert np.abs(clip.encode_texts(texts) - expected).max() < 1e-5


def test_an_old_artifact_is_replaced_whole(tiny_artifact: Artifact, tmp_path: Path) -> None:
    """The new folder takes the old one's place in one rename; nothing of the old one stays."""
    out, new = tmp_path / "model", tmp_path / "new"
    for folder in (out, new):
        shutil.copytree(tiny_artifact.path, folder)
    (out / "stale").write_text("")
    pipeline._put_in_place(new, out)

    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]
    assert not (out / "stale").exists()


@pytest.mark.parametrize("depth", [0, 8])  # below one block, above the model's seven
def test_the_depth_must_fit_the_model(tiny_config: Path, tmp_path: Path, depth: int) -> None:
    """The limits are in the message."""
    with pytest.raises((ShapeError, DataError), match="surgery_depth must be"):
        pipeline.export(ExportOptions(str(tiny_config), surgery_depth=depth), tmp_path / "out")


def test_compact_storage_loses_nothing(tiny_config: Path, tiny_artifact: Artifact, tmp_path: Path) -> None:
    """int8 and fp16 initialisers are exact for the rounded model, pass the same gate, and take less space."""
    artifact = pipeline.export(
        ExportOptions(str(tiny_config), compact=True, notice="tiny", heads=("embed", "text")), tmp_path / "compact"
    )
    sizes = [a.manifest.files["vision.weights"].bytes for a in (artifact, tiny_artifact)]
    clips = [Clip.load(a.path, threads=1) for a in (artifact, tiny_artifact)]
    pixels = parity.sample_pixels((64, 64), 4, seed=2)
    cosines = (clips[0].encode_images(pixels) * clips[1].encode_images(pixels)).sum(axis=1)

    assert sizes[0] < 0.65 * sizes[1]  # matrices below 16,384 values stay as they are
    assert max(row.max_abs_diff for row in artifact.manifest.parity) < 1e-5
    assert cosines.min() > 0.99
    assert artifact.manifest.fingerprint() != tiny_artifact.manifest.fingerprint()
    assert artifact.manifest.notice == "tiny"


def _own_gains(path: Path) -> set[str]:
    """Names of the norms of a graph that have a gain or a shift of their own."""
    graph: Any = ir.load(path).graph
    norms = [node.inputs[1:] for node in graph if node.op_type == "LayerNormalization"]
    return {
        gain.name.removeprefix("tower.").removesuffix(".weight")
        for gain, shift in norms
        if (gain.const_value.numpy() != 1).any() or (shift.const_value.numpy() != 0).any()
    }


def test_gains_and_shifts_are_in_the_products(tiny_config: Path, tiny_artifact: Artifact, tmp_path: Path) -> None:
    """In all graphs the ends alone keep theirs; so do norms that GEM reads, and all of compact storage."""
    ends = {"norm_pre", "norm_post"}
    expected = {"text": {"norm_final"}, "patches": {"norm_pre"}}
    for head in tiny_artifact.manifest.graphs:
        assert _own_gains(tiny_artifact.path / f"{head}.onnx") == expected.get(head, ends)

    gem = ExportOptions(str(tiny_config), heads=("tokens", "embed"), presets=("gem",), surgery_depth=2)
    folder = pipeline.export(gem, tmp_path / "gem").path
    assert _own_gains(folder / "embed.onnx") == ends | {"blocks.5.norm_1", "blocks.6.norm_1"}

    compact = ExportOptions(str(tiny_config), heads=("embed",), compact=True)
    folder = pipeline.export(compact, tmp_path / "compact").path
    assert _own_gains(folder / "embed.onnx") == ends | {f"blocks.{n}.norm_{i}" for n in range(7) for i in (1, 2)}


def test_the_embedded_model_was_exported_by_this_code() -> None:
    """mini's manifest records a passed gate, its 291 words, and the line that is shown with it."""
    manifest = Clip.load("mini").manifest

    assert max(row.max_abs_diff for row in manifest.parity) < 1e-5
    assert len(manifest.tokenizer.known_tokens or ()) == 291
    assert "demo model" in (manifest.notice or "")


def test_parity_inputs_tell_channels_apart() -> None:
    """A red-blue swap of the test images is far from the images themselves."""
    pixels = parity.sample_pixels((64, 64), 2, seed=0).astype(float)

    assert np.abs(pixels - pixels[..., ::-1]).mean() > 20


def test_the_exported_manifest_is_readable_json(tiny_artifact: Artifact) -> None:
    """People read it too: indented JSON with the figures."""
    data = json.loads((tiny_artifact.path / "manifest.json").read_text())

    assert data["source"]["checkpoint"] is None
    assert data["model"]["activation"] == "gelu"
    assert data["parity"][0]["max_abs_diff"] <= 1e-4
