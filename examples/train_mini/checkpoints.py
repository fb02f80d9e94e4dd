"""Two files: `state.safetensors`, from which a broken leg goes on, and `weights.safetensors`, which can be committed.

The state holds fp32 weights and the optimiser's moments (about 45 MB); the weights are fp16, without the 49,408-row
token matrix, of which only the table of known words is trained (below 10 MB). Neither is a pickle.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from clipfast.storage import atomic_write
from model import MiniClip

STATE, WEIGHTS = "state.safetensors", "weights.safetensors"
_LEFT_OUT = ("clip.token_embedding.", "clip.attn_mask", "row_of_token")


@dataclass
class Progress:
    """Where a leg is.

    Attributes:
        step: Steps done.
        images: Pictures seen.
        elapsed: Seconds of training, pauses left out.
    """

    step: int = 0
    images: int = 0
    elapsed: float = 0.0


def trained(model: MiniClip) -> dict[str, Tensor]:
    """Return what a checkpoint holds: all weights but the full token matrix and buffers."""
    return {name: value for name, value in model.state_dict().items() if not name.startswith(_LEFT_OUT)}


def save_state(
    folder: Path, model: MiniClip, optimiser: torch.optim.Optimizer, progress: Progress, asked: dict[str, Any]
) -> None:
    """Write both files; `asked` is what must be asked again to go on."""
    tensors = {f"model.{name}": value.contiguous() for name, value in trained(model).items()}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for parameter, moments in optimiser.state.items():
        tensors[f"mean.{names[id(parameter)]}"] = moments["exp_avg"]
        tensors[f"square.{names[id(parameter)]}"] = moments["exp_avg_sq"]
    with atomic_write(folder / STATE) as temporary:
        save_file(tensors, temporary, {"progress": json.dumps(asdict(progress)), "asked": json.dumps(asked)})
    save_weights(folder / WEIGHTS, model)


def save_weights(path: Path, model: MiniClip) -> None:
    """Write the fp16 weights, from which a further leg can begin."""
    halves = {name: value.half().contiguous() for name, value in trained(model).items()}
    with atomic_write(path) as temporary:
        save_file(halves, temporary)


def load_state(folder: Path, model: MiniClip, optimiser: torch.optim.Optimizer, asked: dict[str, Any]) -> Progress:
    """Go on from where `save_state` left off; a folder without one is the beginning."""
    if not (folder / STATE).is_file():
        return Progress()
    parameters = dict(model.named_parameters())
    with safe_open(folder / STATE, framework="pt") as file:
        held = json.loads(file.metadata().get("asked", "{}"))
        if differing := sorted(name for name in held.keys() | asked.keys() if held.get(name) != asked.get(name)):
            raise SystemExit(
                f"{folder} holds a leg with other {', '.join(differing)}. Take another --out, or remove it."
            )
        progress = Progress(**json.loads(file.metadata()["progress"]))
        _fill(model, {name.removeprefix("model."): file.get_tensor(name) for name in _named(file, "model.")})
        for name in _named(file, "mean."):
            plain = name.removeprefix("mean.")
            optimiser.state[parameters[plain]] = {
                "step": torch.tensor(float(progress.step)),
                "exp_avg": file.get_tensor(name),
                "exp_avg_sq": file.get_tensor(f"square.{plain}"),
            }
    return progress


def load_weights(path: Path, model: MiniClip) -> None:
    """Fill a model with fp16 weights."""
    with safe_open(path, framework="pt") as file:
        _fill(model, {name: file.get_tensor(name).float() for name in _named(file, "")})


def _named(file: Any, prefix: str) -> list[str]:
    return [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118  # not a dict


def _fill(model: MiniClip, tensors: dict[str, Tensor]) -> None:
    missing = trained(model).keys() ^ tensors.keys()
    wrong = [name for name, value in trained(model).items() if name in tensors and tensors[name].shape != value.shape]
    if missing or wrong:
        raise SystemExit(
            f"The checkpoint is of another model: {', '.join(sorted([*missing, *wrong])[:5])} differ. "
            "Words, shapes or defects were added since; train from the beginning, with another --out."
        )
    model.load_state_dict(tensors, strict=False)
