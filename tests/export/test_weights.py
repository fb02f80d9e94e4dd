"""Checkpoints are read safely and checked in full."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install --group test")
pytest.importorskip("open_clip", reason="needs open_clip: pip install --group test")

from clipfast.errors import ArtifactError, DataError
from clipfast.export.weights import load_model

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def state(tiny_config: Path) -> dict[str, Any]:
    """A tiny model's state dict."""
    return dict(load_model(str(tiny_config), None).model.state_dict())


def _save(path: Path, content: Any) -> str:
    torch.save(content, path)
    return str(path)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,  # a plain state dict, as RemoteCLIP publishes
        lambda s: {"state_dict": s, "epoch": 3, "name": "run"},  # a training script's checkpoint
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},  # of a distributed run
        lambda s: {k: v.half() for k, v in s.items()} | {"logit_scale": s["logit_scale"].reshape(1)},  # fp16, 1-D scale
        lambda s: s | {"attn_mask": torch.zeros(77, 77)},  # with a buffer of old open_clip versions
        lambda s: s | {"input_resolution": torch.tensor(64), "vocab_size": torch.tensor(49408)},  # OpenAI's sizes
    ],
)
def test_every_common_form_of_checkpoint_is_read(
    tiny_config: Path, state: dict[str, Any], tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    """Containers, prefixes and precisions of training scripts are understood."""
    loaded = load_model(str(tiny_config), _save(tmp_path / "model.pt", wrap(state)), activation="gelu")

    for name, value in loaded.model.state_dict().items():
        assert torch.allclose(value, state[name], atol=2e-3)


def test_safetensors_and_torch_files_are_one_model(tiny_config: Path, state: dict[str, Any], tmp_path: Path) -> None:
    """The same weights in either format have the same hash."""
    from safetensors.torch import save_file

    save_file(state, str(tmp_path / "m.safetensors"))
    pt = _save(tmp_path / "m.pt", state)
    hashes = {
        load_model(str(tiny_config), f, activation="gelu").weights_sha256 for f in (pt, str(tmp_path / "m.safetensors"))
    }

    assert len(hashes) == 1


def test_code_in_a_checkpoint_is_not_run(tiny_config: Path, tmp_path: Path) -> None:
    """A pickle that would run code is refused, and has not run."""
    import pickle

    flag = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (flag,)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=2))

    with pytest.raises(ArtifactError, match="Files that need code to load"):
        load_model(str(tiny_config), str(tmp_path / "evil.pt"), activation="gelu")
    assert not flag.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.pt", b"", "cannot be read as plain weights"),  # empty
        ("m.pt", b"PK\x03\x04 not a zip", "cannot be read as plain weights"),  # damaged
        ("m.safetensors", b"\xff" * 64, "cannot be read as plain weights"),  # nonsense
    ],
)
def test_damaged_files_are_refused(tiny_config: Path, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """One sentence that names the file."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ArtifactError, match=message):
        load_model(str(tiny_config), str(tmp_path / name), activation="gelu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("visual.proj"), "visual.proj is missing"),
        (lambda s: s.update(extra=torch.zeros(2)), "extra is not expected"),
        (lambda s: s.update({"visual.proj": torch.zeros(64, 7)}), r"visual.proj must be \(64, 48\), is \(64, 7\)"),
        (lambda s: s.update({"visual.proj": torch.full((64, 48), float("nan"))}), "values that are not finite"),
        (lambda s: s.update(logit_scale=torch.tensor(float("nan"))), "logit_scale holds values that are not finite"),
        (lambda s: [s.pop(k) for k in list(s)[:20]], "and 10 more"),  # a long list is cut at ten
    ],
)
def test_a_checkpoint_that_does_not_fit_lists_why(
    tiny_config: Path, state: dict[str, Any], tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    """Missing, unexpected, misshapen and not finite tensors are named, at most ten."""
    broken = dict(state)
    change(broken)

    with pytest.raises(ArtifactError, match=message):
        load_model(str(tiny_config), _save(tmp_path / "m.pt", broken), activation="gelu")


def test_no_more_than_ten_misfits_are_listed(tiny_config: Path, state: dict[str, Any], tmp_path: Path) -> None:
    """Four of each kind: ten in the message, two counted."""
    broken = dict(state)
    names = list(broken)
    for i, name in enumerate(names[:4]):
        del broken[name]
        broken[f"stranger.{i}"] = torch.zeros(2)
    for name in names[4:8]:
        broken[name] = torch.zeros(3, 3, 3)

    with pytest.raises(ArtifactError) as caught:
        load_model(str(tiny_config), _save(tmp_path / "m.pt", broken), activation="gelu")
    listed = str(caught.value).split(": ", 1)[1].split("; ")
    assert listed[-1] == "and 2 more."
    assert len(listed) == 11
    assert {word for problem in listed[:-1] for word in ("missing", "not expected", "must be") if word in problem} == {
        "missing",
        "not expected",
        "must be",
    }


def test_the_activation_of_a_local_file_is_warned_of(
    tiny_config: Path, state: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A local file does not say which GELU it wants; saying it ends the warning."""
    file = _save(tmp_path / "m.pt", state)
    with caplog.at_level(logging.WARNING):
        assert load_model(str(tiny_config), file).activation == "gelu"
        assert "RemoteCLIP, want quick_gelu" in caplog.text
        caplog.clear()
        assert load_model(str(tiny_config), file, activation="quick_gelu").activation == "quick_gelu"

    assert caplog.text == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-Z-99", "no model 'ViT-Z-99'"),
        ("RN50", "a list"),
        ("ViT-B-16-SigLIP", "cannot be exported"),
        ("EVA02-B-16", "cannot be exported"),
        ("coca_ViT-B-32", "multimodal_cfg"),
        ("roberta-ViT-B-32", "hf_model_name"),
        ("nowhere.json", "No model config"),
    ],
)
def test_models_that_cannot_be_exported_say_what_can(name: str, message: str) -> None:
    """One sentence that names the feature and what works."""
    with pytest.raises(DataError, match=message):
        load_model(name, None)


def test_an_unknown_tag_lists_the_known_ones() -> None:
    """Neither a file nor a tag."""
    with pytest.raises(DataError, match=r"laion2b_s34b_b79k"):
        load_model("ViT-B-32", "laion9b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_cfg": {"vocab_size": 1000}}, "CLIP's vocabulary has 49,408"),
        ({"embed_dim": "x"}, "open_clip cannot build"),
        ({"text_cfg": {"width": 64, "heads": 3}}, "open_clip cannot build"),
    ],
)
def test_a_config_with_impossible_numbers_is_told(
    tiny_config: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """Another vocabulary, a word for a number, heads that do not divide the width."""
    (tmp_path / "c.json").write_text(json.dumps(json.loads(tiny_config.read_text()) | change))

    with pytest.raises(DataError, match=message):
        load_model(str(tmp_path / "c.json"), None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is no open_clip config"),  # JSON of another kind
        ("{}", "is no open_clip config"),
        ('{"embed_dim": 4, "vision_cfg": {}}', "is no open_clip config"),  # half of one
        ('{"embed_dim": 4, "vision_cfg": {"layers": [3, 4, 6, 3]}, "text_cfg": {}}', "as a list .a ResNet.*ViT-B-32"),
        ('{"embed_dim": 4, "vision_cfg": {"timm_model_name": "convnext_base"}, "text_cfg": {}}', "timm_model_name"),
    ],
)
def test_a_config_that_is_no_vit_is_told(tmp_path: Path, content: str, message: str) -> None:
    """Broken JSON, JSON of another kind, and towers that are no ViT of ours."""
    (tmp_path / "c.json").write_text(content)

    with pytest.raises(DataError, match=message):
        load_model(str(tmp_path / "c.json"), None)
