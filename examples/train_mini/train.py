"""Train the embedded model from nothing, on pictures that it renders itself. Needs: pip install 'clipfast[cpu,export]'.

    python examples/train_mini/train.py --out runs/mini --minutes 110
    python examples/train_mini/train.py --out runs/mini_contrastive --minutes 110 --contrastive-only
    python examples/train_mini/train.py --out try --quick

It renders a store of scenes (once, in OUT/scenes or --store), trains, exports OUT/<name> and measures it on seeds that
were never trained on (OUT/report.json). The same command goes on where a broken run stopped; `--continue-from` begins a
further leg with the weights of an earlier one. `--minutes 0 --scenes 16` gives the untrained model to compare with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Threads that spin while they wait crawl as soon as anything else runs; it must be said before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from arguments import existing, positive, whole
from batches import Batch, Batches
from captions import CaptionWriter
from checkpoints import Progress, load_state, load_weights, save_state
from clipfast.export.weights import OPENAI_MEAN, OPENAI_STD
from losses import Weights, losses
from model import MiniClip
from publish import publish
from schedule import PEAK, Leg, Stage
from store import TRAINING_SEEDS, Store, write_store

SCENES, QUICK_SCENES = 40_000, 240
SAVE_EVERY, SAY_EVERY = 300.0, 30.0  # seconds
_SMOOTH = 0.95  # of the figures in the log
SHARPEST = 50.0  # of the contrast of pictures and captions


@dataclass(frozen=True)
class Recipe:
    """What the command line decides.

    Attributes:
        out: Where everything is written.
        store: Where rendered scenes are.
        scenes: How many.
        seed: Of initial weights and of the order of batches.
        leg: How long, and how fast.
        threads: Of torch; one more process composes batches.
        weights: Of the parts of the loss.
        begin: Weights of an earlier leg, or None.
        compiled: Whether the image tower is compiled: a fifth faster on small crops, after a minute and a half.
    """

    out: Path
    store: Path
    scenes: int
    seed: int
    leg: Leg
    threads: int
    weights: Weights
    begin: Path | None
    compiled: bool

    @property
    def asked(self) -> dict[str, Any]:
        """What a leg that was broken off must be asked for again."""
        begin = None if self.begin is None else hashlib.sha256(self.begin.read_bytes()).hexdigest()
        return {"seed": self.seed, "scenes": self.scenes, "weights": asdict(self.weights), "begin": begin}


def train(recipe: Recipe) -> MiniClip:
    """Run one leg, from its beginning or from where it was broken off."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    store = write_store(recipe.store, recipe.scenes, TRAINING_SEEDS, _say_rendered)
    writer = CaptionWriter()
    model = MiniClip(writer.known_tokens)
    optimiser = make_optimiser(model)
    if recipe.begin is not None:
        load_weights(recipe.begin, model)
    progress = load_state(recipe.out, model, optimiser, recipe.asked)
    if recipe.compiled:
        model.images = torch.compile(model.images)  # type: ignore[method-assign]  # the same call, faster
    batches: Iterator[Batch] | None = None
    stage: Stage | None = None
    said, saved = Said(time.monotonic(), progress.images), time.monotonic()
    parts: dict[str, float] = {}
    while progress.elapsed < recipe.leg.seconds:
        began = time.monotonic()
        if recipe.leg.stage(progress.elapsed) != stage:
            stage = recipe.leg.stage(progress.elapsed)
            batches = load_batches(store, writer, stage, recipe.seed, progress.step)
        assert batches is not None  # noqa: S101  # for the type checker: there is a stage
        new = step(model, optimiser, next(batches), recipe.weights, recipe.leg.rate(progress.elapsed))
        parts = {name: _SMOOTH * parts.get(name, value) + (1 - _SMOOTH) * value for name, value in new.items()}
        progress.step += 1
        progress.images += stage.images
        progress.elapsed += time.monotonic() - began
        if time.monotonic() - said.when > SAY_EVERY:
            said = said.report(recipe.out, progress, stage, parts)
        if time.monotonic() - saved > SAVE_EVERY:
            saved = time.monotonic()
            save_state(recipe.out, model, optimiser, progress, recipe.asked)
    save_state(recipe.out, model, optimiser, progress, recipe.asked)
    said.report(recipe.out, progress, stage, parts)
    model.eval()
    return model


def step(
    model: MiniClip, optimiser: torch.optim.Optimizer, batch: Batch, weights: Weights, rate: float
) -> dict[str, float]:
    """Take one step; return the parts of the loss, and for how many pictures the best caption is true."""
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (OPENAI_MEAN, OPENAI_STD))
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    singles = len(batch.singles)
    with torch.autocast("cpu", torch.bfloat16):
        rows = model.images((batch.pixels.float() / 255 - mean) / std, batch.positions)
        # Single claims are short: beside long captions they would be padded to thrice their length.
        long = model.texts(batch.rows[:-singles], batch.ends[:-singles])
        short = model.texts(batch.rows[-singles:], batch.ends[-singles:])
    parts = losses(model, batch, rows, torch.cat([long, short]), weights)
    factors = asdict(weights)
    total = sum(factors[name] * part for name, part in parts.items())
    total.backward()
    clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], 1.0)
    optimiser.step()
    model.clip.logit_scale.data.clamp_(0, float(np.log(SHARPEST)))
    best = (rows.embedding.detach() @ torch.cat([long, short]).detach().T).argmax(1, keepdim=True)
    return {name: float(part.detach()) for name, part in parts.items()} | {
        "right": float(batch.truth.gather(1, best).mean())
    }


def make_optimiser(model: MiniClip) -> torch.optim.Optimizer:
    """AdamW; matrices decay, everything else and the token table do not."""
    learned = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decaying = [p for name, p in learned if p.ndim >= 2 and name != "table.weight"]
    rest = [p for name, p in learned if p.ndim < 2 or name == "table.weight"]
    groups = [{"params": decaying, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.98))


def load_batches(store: Store, writer: CaptionWriter, stage: Stage, seed: int, first_step: int) -> Iterator[Batch]:
    """Compose batches in another process, a few ahead."""
    data = Batches(store, writer, size=stage.images, grid=stage.grid, seed=seed, first_step=first_step)
    return iter(torch.utils.data.DataLoader(data, batch_size=None, num_workers=1, prefetch_factor=4))


@dataclass(frozen=True)
class Said:
    """When progress was last reported, and how many pictures had been seen by then."""

    when: float
    images: int

    def report(self, folder: Path, progress: Progress, stage: Stage | None, parts: dict[str, float]) -> Said:
        """Print a line and append it to `log.jsonl`."""
        now = time.monotonic()
        rate = (progress.images - self.images) / max(now - self.when, 1e-9)
        row = asdict(progress) | {"grid": stage.grid if stage else 0, "images_per_s": rate} | parts
        row = {name: round(value, 3) for name, value in row.items()}
        with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        return Said(now, progress.images)


def _say_rendered(done: int, total: int) -> None:
    if done % 2000 == 0 or done == total:
        print(f"rendered {done:,} of {total:,} scenes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="Where everything is written.")
    parser.add_argument("--minutes", type=positive, default=110.0, help="How long to train.")
    parser.add_argument("--contrastive-only", action="store_true", help="Teach no exact place: the sibling model.")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--threads", type=whole(1), default=2, help="Threads of torch.")
    parser.add_argument("--store", type=Path, help="Where rendered scenes are; OUT/scenes if left out.")
    parser.add_argument("--scenes", type=whole(1), help=f"How many scenes to render; {SCENES} if left out.")
    parser.add_argument("--continue-from", type=existing, help="weights.safetensors of an earlier leg.")
    parser.add_argument("--peak", type=positive, default=PEAK, help="The largest learning rate; less in a further leg.")
    parser.add_argument("--compile", action="store_true", help="Compile the image tower; needs a C++ compiler.")
    parser.add_argument("--quick", action="store_true", help="All steps in less than two minutes, learning little.")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    name = "mini_contrastive" if asked.contrastive_only else "mini"
    recipe = Recipe(
        out=asked.out,
        store=asked.store or asked.out / "scenes",
        scenes=asked.scenes or (QUICK_SCENES if asked.quick else SCENES),
        seed=asked.seed,
        leg=Leg(15.0 if asked.quick else 60 * asked.minutes, asked.peak),
        threads=asked.threads,
        weights=Weights.contrastive_only() if asked.contrastive_only else Weights(),
        begin=asked.continue_from,
        compiled=asked.compile,
    )
    model = train(recipe)
    artifact = publish(asked.out, model, name)
    print(f"exported {artifact.path}", flush=True)
    from evaluate import Sizes, measure_all

    measure_all(artifact.path, asked.out / "report.json", Sizes.quick() if asked.quick else Sizes())


if __name__ == "__main__":
    main()
