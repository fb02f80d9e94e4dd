"""Where is the line between texture and object? `place_ratio` of both, for the model at hand.

    python examples/anomaly_kinds.py [--model ARTIFACT] [--pieces 2] [--seed 500000000] [--fabrics all]

Textures are rendered pieces of cloth; objects are a disc of one cloth on another. `clipfast.anomaly.kinds` takes the
line for the embedded model from such figures, of seeds that no training and no test renders (500,000,000 and on).
"""

from __future__ import annotations

import argparse

import numpy as np

import clipfast
from clipfast.anomaly.kinds import OBJECT_FROM, place_ratio
from clipfast.datasets.fabricworld import FABRICS, render
from clipfast.types import Pixels


def disc_on(inner: Pixels, outer: Pixels) -> Pixels:
    size = len(inner)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.where((np.hypot(x, y) < 0.3 * size)[..., None], inner, outer)


def ratio(clip: clipfast.Clip, pictures: list[Pixels]) -> float:
    patches = clip.encode_patches(pictures)
    return place_ratio(patches.features[max(patches.features)], patches.grid_hw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--pieces", type=int, default=2, help="pictures of one class")
    parser.add_argument("--seed", type=int, default=500_000_000)
    parser.add_argument("--fabrics", default="denim,felt,lace,satin", help="with commas between, or all")
    given = parser.parse_args()

    fabrics = list(FABRICS) if given.fabrics == "all" else given.fabrics.split(",")
    textures, objects = [], []
    with clipfast.Clip.load(given.model) as clip:
        cloth = {
            name: [render(given.seed + 100 * at + i, fabric=name, size=224).image for i in range(given.pieces)]
            for at, name in enumerate(fabrics)
        }
        for at, name in enumerate(fabrics):
            around = cloth[fabrics[(at + 1) % len(fabrics)]]
            textures.append(ratio(clip, cloth[name]))
            objects.append(ratio(clip, [disc_on(*pair) for pair in zip(cloth[name], around, strict=True)]))
    for name, found in (("texture", textures), ("object", objects)):
        low, middle, high = np.quantile(found, (0.05, 0.5, 0.95))
        print(f"{name:8} {len(found)} classes: 5 % {low:.3f}, median {middle:.3f}, 95 % {high:.3f}")

    def right_at(at: float) -> float:
        return float(np.mean([*(value < at for value in textures), *(value >= at for value in objects)]))

    line = max(sorted({*textures, *objects}), key=right_at)
    below = max([value for value in (*textures, *objects) if value < line], default=line)
    best = (line + below) / 2
    print(f"best line {best:.3f}, right for {right_at(line):.0%}; clipfast.anomaly.kinds has {OBJECT_FROM}")


if __name__ == "__main__":
    main()
