"""From trained weights to an artifact: an open_clip checkpoint and its config, then clipfast's own export.

python examples/train_mini/publish.py examples/train_mini/weights/mini_contrastive.safetensors --out runs/sibling
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import save_file

from arguments import existing
from captions import CaptionWriter
from checkpoints import load_weights
from clipfast.artifact import Artifact
from clipfast.export.options import ExportOptions
from clipfast.export.pipeline import export
from clipfast.storage import atomic_write
from model import CONFIG, MiniClip

NOTICE = (
    "{name} is a small demo model trained on rendered fabrics only; for real images export real weights: "
    "python -m clipfast.export ViT-B-16 --pretrained FILE --out DIR"
)
BLOCKS = (2, 5, 7)  # whose patch features a memory bank can use


def write_open_clip(folder: Path, model: MiniClip, name: str) -> tuple[Path, Path]:
    """Write `<name>.json` and `<name>.safetensors` (fp16), which `open_clip.create_model` loads."""
    config, checkpoint = folder / f"{name}.json", folder / f"{name}.safetensors"
    with atomic_write(config) as temporary:
        temporary.write_text(json.dumps(CONFIG), encoding="utf-8")
    state = {key: value.half().contiguous() for key, value in model.open_clip_state().items()}
    with atomic_write(checkpoint) as temporary:
        save_file(state, temporary)
    return config, checkpoint


def publish(folder: Path, model: MiniClip, name: str) -> Artifact:
    """Export to `folder/<name>` and prove it; raises ParityError if a graph does not reproduce PyTorch."""
    config, checkpoint = write_open_clip(folder, model, name)
    options = ExportOptions(
        str(config),
        str(checkpoint),
        activation="gelu",
        blocks=BLOCKS,
        class_attention=True,
        compact=True,
        notice=NOTICE.format(name=name.replace("_", "-")),
    )
    return export(options, folder / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=existing, help="weights.safetensors of a leg; its name becomes the model's.")
    parser.add_argument("--out", type=Path, required=True, help="Where the checkpoint and the artifact go.")
    parser.add_argument("--checkpoint-only", action="store_true", help="What open_clip loads, without an artifact.")
    asked = parser.parse_args()
    model = MiniClip(CaptionWriter().known_tokens).eval()
    load_weights(asked.weights, model)
    if asked.checkpoint_only:
        print(f"wrote {' and '.join(str(path) for path in write_open_clip(asked.out, model, asked.weights.stem))}")
    else:
        print(f"exported {publish(asked.out, model, asked.weights.stem).path}")


if __name__ == "__main__":
    main()
