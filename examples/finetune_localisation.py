"""Teach any open_clip checkpoint where things are, from images with boxes. Needs: pip install 'clipfast[cpu,export]'.

    python examples/finetune_localisation.py ViT-B-32 --pretrained RemoteCLIP-ViT-B-32.pt --activation quick_gelu
        --format dior --data DIOR --split trainval --held-out-split test --rank 8 --out runs/dior     (one line)
    python -m clipfast.export runs/dior/tuned.json --pretrained runs/dior/tuned.safetensors --out runs/dior/artifact

The patch tokens of CLIP Surgery's v-v path learn which class covers them; whole images stay where they were, so that
zero-shot answers do not drift. Formats: fabricworld (drawn, needs no data), voc, dior, coco, yolo. It writes the
checkpoint, its config, and `report.json`: boxes by name, pointing and drift on images that were not trained on, before
and after, with intervals. Without arguments: all steps on a tiny model with random weights, to show that they run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from clipfast.export.weights import LoadedModel, load_model
from clipfast.prompts import PLAIN, SURGERY
from clipfast.storage import atomic_write
from finetuning.held_out import compare, listen
from finetuning.objective import Weights
from finetuning.supervision import BoxedImage, Examples, load_samples
from finetuning.tower import encode_names, merge
from finetuning.training import Course, fine_tune

TINY = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
HELD_OUT = 5  # one image in five is held out, where no split is named for it
RATE, ADAPTER_RATE = 1e-4, 2e-3


@dataclass(frozen=True)
class Data:
    """Which images are trained on, and which are held out.

    Attributes:
        format: Of the data set.
        folder: Where it is; None for fabricworld.
        split: To train on.
        held_out_split: To measure on; None holds one image in five of the training split out.
        limit: Images of each at most; all are held in memory, 150 kB each at 224 pixels.
    """

    format: str
    folder: Path | None
    split: str | None
    held_out_split: str | None
    limit: int

    def read(self) -> tuple[list[BoxedImage], list[BoxedImage]]:
        """Return what is trained on and what is held out; no image is in both."""
        part = self.held_out_split or ("val" if self.format == "fabricworld" else None)
        first = list(islice(load_samples(self.format, self.folder, self.split, self.limit), self.limit))
        if part is None:
            held = [sample for sample in first if _is_held_out(sample.id)]
            return [sample for sample in first if not _is_held_out(sample.id)], held
        held = list(islice(load_samples(self.format, self.folder, part, self.limit), self.limit))
        if both := {sample.id for sample in first} & {sample.id for sample in held}:
            raise SystemExit(f"{len(both)} images are in both splits, such as {min(both)}. Name two that differ.")
        return first, held


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", help="An open_clip name or a config JSON; a tiny one if left out.")
    parser.add_argument("--pretrained", help="A checkpoint file or a tag of open_clip.")
    parser.add_argument("--activation", choices=["gelu", "quick_gelu"], help="Which GELU it was trained with.")
    parser.add_argument("--format", default="fabricworld", choices=["fabricworld", "voc", "dior", "coco", "yolo"])
    parser.add_argument("--data", type=Path, help="The data set's folder.")
    parser.add_argument("--split", help="To train on.")
    parser.add_argument("--held-out-split", help="To measure on; one image in five of the training split if left out.")
    parser.add_argument("--limit", type=int, default=2000, help="Images of each split at most.")
    parser.add_argument("--templates", choices=["surgery", "plain"], default="surgery", help="What names are put into.")
    parser.add_argument("--surgery-depth", type=int, default=6, help="Blocks of the v-v path, as at export.")
    parser.add_argument("--blocks", type=int, default=6, help="Blocks from the end that learn.")
    parser.add_argument("--rank", type=int, default=0, help="Of low-rank adapters; 0 trains the blocks themselves.")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, help=f"Learning rate; {RATE}, or {ADAPTER_RATE} for adapters.")
    parser.add_argument("--dense", type=float, default=Weights.dense, help="Weight of patches and boxes.")
    parser.add_argument("--contrast", type=float, default=Weights.contrast, help="Weight of images and names.")
    parser.add_argument("--keep", type=float, default=Weights.keep, help="Weight of staying where images were.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="Of torch.")
    parser.add_argument("--out", type=Path, help="Where everything is written.")
    parser.add_argument("--quick", action="store_true", help="All steps in less than a minute, learning little.")
    asked = parser.parse_args()
    if asked.model is None:
        asked.quick = True
    elif asked.out is None:
        parser.error("--out must name a folder.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run(asked, folder)


def run(asked: argparse.Namespace, folder: Path) -> None:
    if asked.threads:
        torch.set_num_threads(asked.threads)
    source = load_model(asked.model or _tiny(folder), asked.pretrained, activation=asked.activation, seed=asked.seed)
    layers = len(source.model.visual.transformer.resblocks)
    if not asked.surgery_depth >= 1 or not asked.blocks >= 1 or asked.rank < 0 or min(asked.epochs, asked.batch) < 1:
        raise SystemExit("--surgery-depth, --blocks, --epochs and --batch must be 1 or more, and --rank 0 or more.")
    limit = 24 if asked.quick else asked.limit
    course = Course(
        depth=min(asked.surgery_depth, layers),
        blocks=min(asked.blocks, layers),
        rank=asked.rank,
        epochs=2 if asked.quick else asked.epochs,
        batch=asked.batch,
        rate=asked.rate or (ADAPTER_RATE if asked.rank else RATE),
        weights=Weights(asked.dense, asked.contrast, asked.keep),
        seed=asked.seed,
    )
    data = Data(asked.format, asked.data, asked.split, asked.held_out_split, limit)
    first, held = data.read()
    examples = Examples.of(first, source.image)
    others = Examples.of(held, source.image, examples.classes)
    print(f"{len(examples)} images train, {len(others)} are held out, {len(examples.classes)} classes")
    templates = PLAIN if asked.templates == "plain" or asked.quick else SURGERY
    names = encode_names(source.model, examples.classes, templates)
    before = listen(source.model, others, source.image, names, course.depth)
    for row in fine_tune(source.model, examples, source.image, names, course):
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    merge(source.model)
    after = listen(source.model, others, source.image, names, course.depth)
    figures = compare(others, before, after, 100 if asked.quick else 1000)
    for name, row in figures.items():
        print(f"{name:16} " + "  ".join(f"{key} {value}" for key, value in row.items()))
    write(folder, source, asked, figures)


def write(folder: Path, source: LoadedModel, asked: argparse.Namespace, figures: dict[str, Any]) -> None:
    """Write what `python -m clipfast.export` takes, and the report."""
    config = json.loads(source.config) | {"quick_gelu": source.activation == "quick_gelu"}
    state = {name: value.detach().contiguous() for name, value in source.model.state_dict().items()}
    options = {name: str(value) if isinstance(value, Path) else value for name, value in vars(asked).items()}
    report = {"source": source.weights_sha256, "options": options, "held out": figures}
    with atomic_write(folder / "tuned.safetensors") as temporary:
        save_file(state, temporary)
    for name, content in (("tuned.json", config), ("report.json", report)):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    checkpoint = folder / "tuned.safetensors"
    depth = "" if asked.surgery_depth == 6 else f" --surgery-depth {asked.surgery_depth}"
    print(
        f"wrote {checkpoint}; now: python -m clipfast.export {folder / 'tuned.json'} --pretrained {checkpoint} "
        f"--activation {source.activation}{depth} --out {folder / 'artifact'}"
    )


def _tiny(folder: Path) -> str:
    path = folder / "tiny.json"
    path.write_text(json.dumps(TINY), encoding="utf-8")
    return str(path)


def _is_held_out(name: str) -> bool:
    """Tell by its name whether an image is held out: the same ones in every run, wherever the folder lies."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % HELD_OUT == 0


if __name__ == "__main__":
    main()
