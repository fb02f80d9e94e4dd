"""Models and checkpoints: read safely, checked in full, with the activation made explicit."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipfast.artifact import Activation, ImageSpec
from clipfast.errors import ArtifactError, DataError, MissingExtraError

__all__ = ["LoadedModel", "hash_state", "load_model", "model_config", "randomise", "read_checkpoint"]

log = logging.getLogger(__name__)

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
_LISTED = 10
# Buffers of old open_clip versions and the three sizes that OpenAI's own files carry.
_NO_WEIGHTS = {"attn_mask", "input_resolution", "context_length", "vocab_size"}
_VOCABULARY = 49_408
_WORKS = "What works: open_clip ViTs with a class token and CLIP's own text tower, such as ViT-B-32 or ViT-B-16"
_PLAIN_VISION = {"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size"}
_PLAIN_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
_PLAIN_TOP = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checked open_clip model in fp32 evaluation mode, and what is known about it."""

    model: nn.Module
    architecture: str
    checkpoint: str | None
    activation: Activation
    image: ImageSpec
    weights_sha256: str
    config: str


def load_model(
    architecture: str,
    pretrained: str | None,
    *,
    activation: Activation | None = None,
    image_size: int | None = None,
    seed: int = 0,
) -> LoadedModel:
    """Build a model and fill it.

    Args:
        architecture: An open_clip name ("ViT-B-32") or the path of a config JSON.
        pretrained: A checkpoint file, a tag of open_clip's list, or None for seeded random weights.
        activation: Which GELU the weights were trained with; None takes what is known of the tag, or the config's.
        image_size: Pixels along each side; None takes the model's own. The position embedding of a checkpoint is
            interpolated as open_clip does (bicubic, antialiased); no module is changed.
        seed: For random weights only.

    Raises:
        DataError: No such model, tag or file, or a model that cannot be exported; the message says what works.
        ArtifactError: A checkpoint that cannot be read safely or does not fit the model.
    """
    _require_torch()
    name, config = model_config(architecture)
    file, known = _find_checkpoint(name, pretrained)
    _require_plain(name, config)
    if image_size is not None:
        config["vision_cfg"]["image_size"] = image_size
    chosen = _choose_activation(config, known, activation, file if known is None else None)
    try:
        model = _build(config, chosen)
    except (TypeError, ValueError, AssertionError, RuntimeError, ZeroDivisionError) as error:
        raise DataError(f"open_clip cannot build {name} from its config: {error}. Check its numbers.") from error
    if file is None:
        randomise(model, seed=seed)
    else:
        fill(model, _resized_positions(read_checkpoint(file), model))
    size = config["vision_cfg"].get("image_size", 224)
    known = known or {}
    image = ImageSpec(
        size_hw=(size, size) if isinstance(size, int) else tuple(size),
        mean=tuple(known.get("mean") or OPENAI_MEAN),
        std=tuple(known.get("std") or OPENAI_STD),
        resize=known.get("resize_mode") or "shortest",
        interpolation=known.get("interpolation") or "bicubic",
    )
    label = None if file is None else (pretrained if known else file.name)
    return LoadedModel(model.eval(), name, label, chosen, image, hash_state(model.state_dict()), json.dumps(config))


def model_config(architecture: str) -> tuple[str, dict[str, Any]]:
    """Return the name and configuration of an open_clip model, by name or from a config JSON."""
    import open_clip

    path = Path(architecture)
    if path.suffix == ".json":
        if not path.is_file():
            raise DataError(f"No model config at {path}.")
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path} is not JSON: {error}.") from error
        config = config.get("model_cfg", config) if isinstance(config, dict) else {}
        return path.stem, config
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise DataError(f"open_clip has no model {architecture!r}. {_WORKS}; or name a config JSON.")
    return architecture, copy.deepcopy(config)


def _require_plain(name: str, config: Mapping[str, Any]) -> None:
    """Refuse every feature that the exported graphs do not compute, by name."""
    vision, text = config.get("vision_cfg"), config.get("text_cfg")
    if not isinstance(vision, dict) or not isinstance(text, dict) or "embed_dim" not in config:
        raise DataError(f"{name} is no open_clip config: embed_dim, vision_cfg and text_cfg must be there. {_WORKS}.")
    strange = sorted(set(config) - _PLAIN_TOP)
    strange += [f"vision_cfg.{key}" for key in sorted(set(vision) - _PLAIN_VISION)]
    strange += [f"text_cfg.{key}" for key in sorted(set(text) - _PLAIN_TEXT)]
    if not isinstance(vision.get("layers", 12), int):
        strange.append("vision_cfg.layers as a list (a ResNet)")
    if text.get("vocab_size", _VOCABULARY) != _VOCABULARY:
        strange.append(f"text_cfg.vocab_size {text['vocab_size']} (CLIP's vocabulary has {_VOCABULARY:,})")
    if strange:
        raise DataError(f"{name} cannot be exported: it uses {', '.join(strange)}. {_WORKS}.")


def _find_checkpoint(name: str, pretrained: str | None) -> tuple[Path | None, dict[str, Any] | None]:
    """Return the file to read and, for a tag of open_clip's list, what is published about it."""
    if pretrained is None:
        return None, None
    if Path(pretrained).is_file():
        return Path(pretrained), None
    from open_clip import pretrained as catalogue

    published = catalogue.get_pretrained_cfg(name, pretrained)
    if not published:
        tags = ", ".join(catalogue.list_pretrained_tags_by_model(name)) or "none"
        raise DataError(f"{pretrained!r} is neither a file nor a tag of {name}. Tags that open_clip knows: {tags}.")
    try:
        path = catalogue.download_pretrained(published)
    except Exception as error:
        raise DataError(
            f"The weights {pretrained!r} of {name} could not be downloaded ({type(error).__name__}). "
            "Fetch the file on a machine that reaches the hub and pass its path as --pretrained."
        ) from error
    return Path(path), dict(published)


def _choose_activation(
    config: Mapping[str, Any], published: Mapping[str, Any] | None, asked: Activation | None, file: Path | None
) -> Activation:
    quick = (published or {}).get("quick_gelu", config.get("quick_gelu", False))
    default: Activation = "quick_gelu" if quick else "gelu"
    if asked is None and file is not None:
        log.warning(
            "%s does not say which GELU it was trained with; the model's config says %s and that is used. OpenAI's "
            "weights, and weights fine-tuned from them such as RemoteCLIP, want quick_gelu; with the wrong one the "
            "embeddings are close but worse, and nothing else tells. Pass --activation to settle it.",
            file.name,
            default,
        )
    return asked or default


def _build(config: Mapping[str, Any], activation: Activation) -> nn.Module:
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    return CLIP(
        config["embed_dim"],
        CLIPVisionCfg(**config["vision_cfg"]),
        CLIPTextCfg(**config["text_cfg"]),
        quick_gelu=activation == "quick_gelu",
    )


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """Read a state dict without running any code that the file may hold.

    `.safetensors`, or a torch file read with `weights_only=True`; `state_dict` containers and `module.` prefixes of
    training scripts are taken off.

    Raises:
        ArtifactError: The file cannot be read this way.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            loaded: Any = load_file(str(file))
        else:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ArtifactError(
            f"{file} cannot be read as plain weights ({type(error).__name__}): it is damaged, or holds code. Files "
            "that need code to load (TorchScript archives, pickled models) are refused: save the state_dict alone, "
            "or convert it to .safetensors."
        ) from error
    return _plain_state(loaded, file)


def _plain_state(loaded: Any, file: Path) -> dict[str, Tensor]:
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ArtifactError(f"{file} must hold a state_dict (names to tensors); got {type(loaded).__name__}.")
    prefix = "module."
    if all(key.startswith(prefix) for key in state):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def fill(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy a state dict into a model, refusing anything missing, unexpected, misshapen or not finite."""
    wanted = model.state_dict()
    state = {key: value for key, value in state.items() if key not in _NO_WEIGHTS}
    problems = [f"{key} is missing" for key in wanted if key not in state]
    problems += [f"{key} is not expected" for key in state if key not in wanted]
    for key in wanted.keys() & state.keys():
        scalar = wanted[key].numel() == state[key].numel() == 1  # some checkpoints hold (1,) for ()
        if not scalar and wanted[key].shape != state[key].shape:
            problems.append(f"{key} must be {tuple(wanted[key].shape)}, is {tuple(state[key].shape)}")
        elif not torch.isfinite(state[key]).all():
            problems.append(f"{key} holds values that are not finite")
    if problems:
        shown = "; ".join(sorted(problems)[:_LISTED])
        more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise ArtifactError(f"The checkpoint does not fit the model: {shown}{more}.")
    model.load_state_dict({key: state[key].float().reshape(wanted[key].shape) for key in wanted})


@torch.no_grad()
def randomise(model: nn.Module, *, seed: int) -> None:
    """Fill a model with seeded weights that make every tensor matter.

    A fresh initialisation proves little: half of its tensors are all 0 or all 1. Here biases and betas are not 0,
    gammas are not 1, queries and keys are sharp enough for attention to choose, and a few channels are outliers.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(parameter: Tensor, std: float, mean: float = 0.0) -> None:
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * std + mean)

    for name, parameter in model.named_parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        if name == "logit_scale":
            parameter.fill_(4.6052)
        elif ".ln_" in name or "ln_final" in name:
            normal(parameter, 0.2, 1.0 if name.endswith("weight") else 0.0)
            outliers = torch.randperm(len(parameter), generator=generator)[: max(1, len(parameter) // 192)]
            parameter[outliers] *= 4.0
        elif name.endswith("in_proj_weight"):
            normal(parameter, fan_in**-0.5)
            parameter[: 2 * fan_in] *= 1.6  # queries and keys
        elif name.endswith("bias"):
            normal(parameter, 0.1)
        elif "embedding" in name:
            normal(parameter, 0.3)
        else:
            normal(parameter, (fan_in if "proj" not in name.rsplit(".", 1)[-1] else len(parameter)) ** -0.5)


def hash_state(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, shapes and fp32 values in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().float().contiguous()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _resized_positions(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Fit the position embedding of the state to the model's grid, on a copy of the state."""
    key = "visual.positional_embedding"
    grid_hw = model.visual.grid_size
    rows = state.get(key)
    if rows is None or rows.ndim != 2 or len(rows) == 1 + grid_hw[0] * grid_hw[1]:
        return state
    side = math.isqrt(len(rows) - 1)
    if side * side != len(rows) - 1:
        raise ArtifactError(f"{key} must hold a square grid and the class token; it has {len(rows)} rows.")
    old = rows[1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    new = nn.functional.interpolate(old, size=grid_hw, mode="bicubic", antialias=True, align_corners=False)
    fitted = torch.cat([rows[:1].float(), new.permute(0, 2, 3, 1).reshape(grid_hw[0] * grid_hw[1], -1)])
    return state | {key: fitted}


def _require_torch() -> None:
    try:
        import open_clip  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise MissingExtraError.of("open_clip", extra="export") from error
