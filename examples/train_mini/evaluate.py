"""Measure an artifact on pictures that no training has seen. Needs: pip install 'clipfast[cpu]'.

    python examples/train_mini/evaluate.py runs/mini/mini --out runs/mini/report.json
    python examples/train_mini/evaluate.py mini --out prototype.json --purpose test

Choices are made on the seeds of `--purpose choice`; those of `test` are looked at once, for the model card. Beside the
JSON a `.npz` holds what was said of each picture, for `compare.py`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipfast import Clip
from clipfast.datasets.fabricworld import caption_samples
from clipfast.errors import ClipfastError
from clipfast.storage import atomic_write
from figures import Figure
from photographs import photographs
from places import damage_by_text, memory, objects
from recognition import bank, captions, linear_head, zero_shot
from store import CHOICE_SEEDS, TEST_SEEDS
from worlds import World, worlds

PURPOSES = {"choice": CHOICE_SEEDS, "test": TEST_SEEDS}
# Each measure has seeds of its own, so far apart that none meets another's.
_BANK, _MEMORY, _CAPTIONS, _HEAD = 10_000_000, 20_000_000, 30_000_000, 40_000_000


@dataclass(frozen=True)
class Sizes:
    """How many pictures each measure sees.

    Attributes:
        scenes: Of recognition.
        objects: Of those with objects, how many are searched; the same number of damaged ones.
        products: Of the memory.
        samples: Of the linear head.
        photographs: Whether what is no rendering is measured too.
    """

    scenes: int = 1600
    objects: int = 400
    products: int = 240
    samples: int = 1200
    photographs: bool = True

    @classmethod
    def quick(cls) -> Sizes:
        """Enough to run every line."""
        return cls(48, 12, 6, 60, photographs=False)


def measure(clip: Clip, world: World, sizes: Sizes, seed: int) -> Iterator[Figure]:
    """Give every figure of a model in a world."""
    truths = [world.scene(seed + number) for number in range(sizes.scenes)]
    images = clip.encode_images([truth.image for truth in truths])
    yield from zero_shot(clip, truths, images)
    yield from bank(clip, world, truths, images, seed + _BANK)
    samples = [world.scene(seed + _HEAD + number) for number in range(sizes.samples)]
    known = clip.encode_images([truth.image for truth in samples])
    yield from linear_head((samples, known), (truths, images))
    yield from objects(clip, [truth for truth in truths if truth.objects][: sizes.objects])
    damaged = [truth for truth in truths if truth.mask.any()][: sizes.objects]
    yield from damage_by_text(clip, damaged + [truth for truth in truths if not truth.mask.any()][: sizes.objects])
    yield from memory(clip, world, sizes.products, seed + _MEMORY)
    if world.name == "fabricworld":
        pairs = list(caption_samples(seed + _CAPTIONS, sizes.objects))
        texts, pictures = [pair.caption for pair in pairs], [pair.image for pair in pairs]
        yield from captions(clip, texts, clip.encode_images(pictures))


def measure_all(artifact: Path | str, out: Path, sizes: Sizes, purpose: str = "choice") -> dict[str, dict[str, object]]:
    """Measure in every world that is at hand, and on photographs; write `out` and, beside it, the rows."""
    table: dict[str, dict[str, object]] = {}
    rows = {}
    with Clip.load(artifact) as clip:
        sources = {world.name: measure(clip, world, sizes, PURPOSES[purpose]) for world in worlds()}
        if sizes.photographs:
            sources["photographs"] = photographs(clip)
        for source, figures in sources.items():
            table[source] = {}
            for figure in figures:
                known = not math.isnan(figure.estimate)
                table[source][figure.name] = {
                    "estimate": round(figure.estimate, 4) if known else None,
                    "interval": [round(figure.low, 4), round(figure.high, 4)] if known else None,
                    "pictures": len(figure.rows),
                }
                rows[f"{source} / {figure.name}"] = figure.rows
                if figure.labels is not None:
                    rows[f"{source} / {figure.name} / labels"] = figure.labels
                print(f"{source:12} {figure.name:52} {figure.estimate:.3f} [{figure.low:.3f}, {figure.high:.3f}]")
        report = {"model": clip.name, "fingerprint": clip.fingerprint(), "purpose": purpose, "worlds": table}
    with atomic_write(out) as temporary:
        temporary.write_text(json.dumps(report, indent=1), encoding="utf-8")
    with atomic_write(out.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **rows)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("artifact", help="An artifact folder, or the name of an embedded model.")
    parser.add_argument("--out", type=Path, required=True, help="The JSON to write.")
    parser.add_argument("--purpose", choices=sorted(PURPOSES), default="choice")
    parser.add_argument("--quick", action="store_true", help="Few pictures: to see that it runs.")
    asked = parser.parse_args()
    try:
        measure_all(asked.artifact, asked.out, Sizes.quick() if asked.quick else Sizes(), asked.purpose)
    except ClipfastError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
