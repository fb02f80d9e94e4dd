"""How many copies of a picture are found, and how many different pictures are called copies?

    python examples/fabric_copies.py [--seed N] [--per-fabric 9] [--photos DIR] [--only copies|scenes] [--out DIR]

Needs clipfast[cpu] and no model. Drawn cloth of 24 fabrics, and photographs of your own. Everything is decided by
`clipfast.retrieval.looks`, as in `evalset make`, `head train` and `bank build`; nothing is chosen here. Thresholds were
chosen on the seed 984,000,000, faults were found on 985 and 986 million, and the figures of docs/fabric-workflow.md are
of 987,000,000, run once. Pairs are not independent, because each picture is in many: the interval of their share is a
little too narrow.
"""

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance
from rich.console import Console

from clipfast.datasets.fabricworld import FABRICS, class_samples
from clipfast.metrics import Interval, wilson_interval
from clipfast.provenance import Provenance
from clipfast.report.results import write_json
from clipfast.retrieval.looks import Look, copies_between, copies_within, look_hash, look_of, nearly

Picture = Image.Image
SEED = 987_000_000
IN_SCENES = 1  # pieces of each fabric that are laid into a scene
console = Console(width=110, highlight=False)


def jpeg(image: Picture, quality: int) -> Picture:
    """Encode again."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def scaled(image: Picture, factor: float) -> Picture:
    """Scale by a bicubic filter."""
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def cut(image: Picture, *shares: float) -> Picture:
    """Cut shares off the left, top, right and bottom."""
    left, top, right, bottom = (round(share * image.width) for share in shares)
    return image.crop((left, top, image.width - right, image.height - bottom))


def bordered(image: Picture, share: float) -> Picture:
    """Lay a white border around it."""
    wide = round(image.width * share)
    photo = Image.new("RGB", (image.width + 2 * wide, image.height + 2 * wide), "white")
    photo.paste(image, (wide, wide))
    return photo


def turned(image: Picture, turn: Image.Transpose) -> Picture:
    """Mirror or turn it."""
    return image.transpose(turn)


MIRROR, QUARTER, HALF = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180
WAYS: dict[str, Callable[[Picture], Picture]] = {
    "the same pixels": lambda image: image,
    "JPEG of quality 95": lambda image: jpeg(image, 95),
    "JPEG of quality 85": lambda image: jpeg(image, 85),
    "JPEG of quality 70": lambda image: jpeg(image, 70),
    "JPEG of quality 40": lambda image: jpeg(image, 40),
    "half the size": lambda image: scaled(image, 0.5),
    "seven tenths of the size": lambda image: scaled(image, 0.7),
    "one and a half of the size": lambda image: scaled(image, 1.5),
    "twice the size": lambda image: scaled(image, 2),
    "a quarter of the size": lambda image: scaled(image, 0.25),
    "cut by 2 % at every side": lambda image: cut(image, 0.02, 0.02, 0.02, 0.02),
    "cut by 1 % at every side": lambda image: cut(image, 0.01, 0.01, 0.01, 0.01),
    "cut by 2 % at one side": lambda image: cut(image, 0.02, 0, 0, 0),
    "cut by 2 % at a corner": lambda image: cut(image, 0, 0.02, 0.02, 0),
    "cut by 5 % at every side": lambda image: cut(image, 0.05, 0.05, 0.05, 0.05),
    "cut by 5 % at one side": lambda image: cut(image, 0.05, 0, 0, 0),
    "mirrored": lambda image: turned(image, MIRROR),
    "turned by 90 degrees": lambda image: turned(image, QUARTER),
    "turned by 180 degrees": lambda image: turned(image, HALF),
    "mirrored and cut by 5 %": lambda image: cut(turned(image, MIRROR), 0.05, 0.05, 0.05, 0.05),
    "turned by 90 degrees and cut by 2 %": lambda image: cut(turned(image, QUARTER), 0.02, 0.02, 0.02, 0.02),
    "1.3 times as bright": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    ".7 times as bright": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "turned by 1 degree and cut by 2 %": lambda image: cut(
        image.rotate(1, Image.Resampling.BICUBIC), 0.02, 0.02, 0.02, 0.02
    ),
    "a white border of 2 %": lambda image: bordered(image, 0.02),
    "cut by 2 %, half the size, JPEG 70": lambda image: jpeg(scaled(cut(image, 0.02, 0.02, 0.02, 0.02), 0.5), 70),
    "cut by 3 %, half the size, JPEG 60": lambda image: jpeg(scaled(cut(image, 0.03, 0.03, 0.03, 0.03), 0.5), 60),
}


def scenes(pieces: Sequence[Picture], seed: int) -> Iterator[tuple[str, list[Picture]]]:
    """Yield different cloths in one scene: what all photos share is no reason to call them one."""
    rng = np.random.default_rng(seed)
    yield "as they are", list(pieces)
    for share, far, level in ((0.9, 0, 245), (0.8, 0, 245), (0.8, 8, 245), (0.6, 0, 245), (0.6, 16, 245), (0.6, 0, 10)):
        where = f", placed by up to {far} pixels" if far else ""
        table = "white" if level > 99 else "black"
        yield (
            f"swatch of {share:.0%} on a {table} table{where}",
            [swatch(piece, share, far, level, rng) for piece in pieces],
        )
    yield "a ruler and a label card on each", [labelled(piece) for piece in pieces]
    for share in (0.3, 0.6):
        yield f"one lamp, a spot of {share}", [lit(piece, share) for piece in pieces]
    for noise in (2, 8):
        yield f"plain cloths of other colours, one lamp, noise {noise}", [lit(plain(noise, rng), 0.3) for _ in pieces]


def swatch(piece: Picture, share: float, far: int, level: int, rng: np.random.Generator) -> Picture:
    """Lay cloth on a table of 320 pixels that has the noise of a camera."""
    side = int(320 * share)
    photo = Image.fromarray(rng.normal(level, 2, (320, 320, 3)).clip(0, 255).astype(np.uint8))
    left, top = ((320 - side) // 2 + rng.integers(-far, far + 1, 2)).tolist()
    photo.paste(piece.resize((side, side)), (left, top))
    return photo


def labelled(piece: Picture) -> Picture:
    """Lay a ruler and a paper label on cloth."""
    levels = np.array(piece.resize((320, 320)))
    levels[290:] = 250
    for left in range(0, 320, 16):
        levels[290:305, left : left + 3] = 10
    levels[250:285, 200:310] = 240
    levels[258:262, 210:300] = levels[270:274, 210:280] = 20
    return Image.fromarray(levels)


def lit(piece: Picture, share: float) -> Picture:
    """Light cloth by one lamp from the upper left."""
    levels = np.asarray(piece).astype(float)
    y, x = np.mgrid[-1 : 1 : levels.shape[0] * 1j, -1 : 1 : levels.shape[1] * 1j]
    light = 1 - share + share * np.exp(-((x + 0.4) ** 2 + (y + 0.3) ** 2) / 0.25)
    return Image.fromarray((levels * light[..., None]).clip(0, 255).astype(np.uint8))


def plain(noise: float, rng: np.random.Generator) -> Picture:
    """Return a plain colour with the noise of a camera."""
    levels = rng.uniform(60, 230, 3) + rng.normal(0, noise, (224, 224, 1))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def found_copies(pictures: Sequence[Picture], names: Sequence[str]) -> dict[str, Any]:
    """Copy every picture in every way: how many are found, which are not, and how many by the kept hash alone."""
    looks = [look_of(picture) for picture in pictures]
    kept = np.array([look_hash(picture) for picture in pictures], np.uint64)
    found: dict[str, Any] = {}
    for way, copy in WAYS.items():
        copied = [look_of(copy(picture)) for picture in pictures]
        missed = [
            at for at, pair in enumerate(zip(looks, copied, strict=True)) if not copies_between(pair[:1], pair[1:])
        ]
        bits = [dict(nearly(look, kept)).get(at, 64) for at, look in enumerate(copied)]
        found[way] = {
            "found": wilson_interval(len(looks) - len(missed), len(looks)),
            "of": len(looks),
            "missed": [names[at] for at in missed],
            "by hash within 2 bits": sum(each <= 2 for each in bits),
            "by hash within 6 bits": sum(each <= 6 for each in bits),
        }
        shown = found[way]
        console.print(
            f"  {way}: {len(looks) - len(missed)} of {len(looks)} ({_text(shown['found'])}); hash alone "
            f"{shown['by hash within 2 bits']}, {shown['by hash within 6 bits']}; missed {shown['missed'][:6]}"
        )
    return found


def false_pairs(name: str, pictures: Sequence[Picture]) -> dict[str, Any]:
    """Compare different pictures with each other: how many pairs are called copies?"""
    looks: list[Look] = [look_of(picture) for picture in pictures]
    wrong = copies_within(looks)
    count = len(looks) * (len(looks) - 1) // 2
    kept = np.array([look.hash for look in looks], np.uint64)
    bits = [each for at, look in enumerate(looks) for place, each in nearly(look, kept) if place != at]
    found: dict[str, Any] = {
        "pairs": count,
        "called copies": wilson_interval(len(wrong), count),
        "which": [(pair.one, pair.other) for pair in wrong[:20]],
        "wrong": len(wrong),
        "by hash within 2 bits, each pair twice": sum(each <= 2 for each in bits),
        "by hash within 6 bits, each pair twice": len(bits),
    }
    console.print(
        f"  {name}: {len(wrong)} of {count:,} ({_text(found['called copies'])}); hash alone "
        f"{found['by hash within 2 bits, each pair twice']}, {len(bits)}; {found['which'][:6]}"
    )
    return found


def crops(photos: Sequence[Picture], side: int) -> list[Picture]:
    """Part photographs into squares that do not overlap."""
    return [
        photo.crop((left, top, left + side, top + side))
        for photo in photos
        for left in range(0, photo.width - side + 1, side)
        for top in range(0, photo.height - side + 1, side)
    ]


def _text(share: Interval) -> str:
    return f"{100 * share.low:.2f}-{100 * share.high:.2f} %"


def main() -> None:
    """Read options, measure, print, and write fabric_copies.json where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--per-fabric", type=int, default=9)
    parser.add_argument("--photos", type=Path, help="folder of photographs, each of something else")
    parser.add_argument("--only", choices=["copies", "scenes"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    samples = list(class_samples(given.seed, per_fabric=given.per_fabric, fabrics=list(FABRICS)))
    drawn = [Image.fromarray(sample.image) for sample in samples]
    photos = [] if given.photos is None else [Image.open(f).convert("RGB") for f in sorted(given.photos.glob("*.jpg"))]
    found: dict[str, Any] = {}
    if given.only != "scenes":
        console.print("Copies that are found, drawn cloth:")
        found["copies, drawn"] = found_copies(drawn, [str(sample.label) for sample in samples])
        if photos:
            console.print("Copies that are found, photographs:")
            found["copies, photographs"] = found_copies(photos, [str(at) for at in range(len(photos))])
    if given.only != "copies":
        console.print("Different pictures that are called copies:")
        different = {"all drawn pieces": drawn}
        two = [piece for at, piece in enumerate(drawn) if at % given.per_fabric < IN_SCENES]
        different |= dict(scenes(two, given.seed))
        if photos:
            different["photographs"] = photos
            different |= {f"photographs' crops of {side} pixels": crops(photos, side) for side in (224, 128)}
        found["different pictures"] = {name: false_pairs(name, pictures) for name, pictures in different.items()}
    if given.out is not None:
        made = Provenance.collect(seeds={"fabrics": given.seed})
        part = "" if given.only is None else f"_{given.only}"
        write_json(given.out / f"fabric_copies{part}.json", {"provenance": made, **found})


if __name__ == "__main__":
    main()
