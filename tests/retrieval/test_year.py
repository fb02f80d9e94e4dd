"""A year of candidates that are no better, through the registry and a real evaluation set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from clipfast.errors import DataError
from clipfast.retrieval import BankModel, FabricBank, LinearHead, References
from clipfast.retrieval.evalset import EvalSample, EvalSet
from clipfast.retrieval.fusion import Fusion, Voices
from clipfast.retrieval.live import measure_gain, retired_voices
from clipfast.retrieval.promotion import LOOKS, Gain, gain_of
from clipfast.retrieval.registry import Registry, Setting
from clipfast.runtime.images import load_image
from clipfast.storage import sha256_file
from clipfast.types import Floats, Images

PHOTOS, PATCHES = 10, 3
MODEL = BankModel("d" * 64, "fp32", "photo")


class PhotoClip:
    """Sees which photo a patch was cut from, and nothing else."""

    name, precision = "photo", "fp32"

    def fingerprint(self, output: str = "embedding") -> str:
        return MODEL.fingerprint

    def encode_images(self, images: Images) -> Floats:
        listed = images if isinstance(images, list) else [images]
        numbers = [int(np.asarray(load_image(image).convert("L"))[0, 0]) for image in listed]  # type: ignore[arg-type]  # of any kind that the stub takes
        return np.eye(PHOTOS + 2, dtype=np.float32)[numbers]


@dataclass(frozen=True)
class Shop:
    """An evaluation set of three patches of each photo, all of them cotton, and a folder of versions."""

    root: Path
    held: EvalSet
    registry: Registry
    voices: Voices

    def head(self, right: np.ndarray, week: int = 0) -> tuple[LinearHead, Path]:
        """Make a head that answers given photos rightly, and the others wrongly; each week's is another file."""
        sign = np.concatenate([np.where(right, 9.0, -9.0), [0, 0]]).astype(np.float32) * np.float32(1 + week / 100)
        head = LinearHead(
            np.array(["cotton", "silk"]), np.stack([sign, -sign]), np.zeros(2, np.float32), 1.0, model=MODEL
        )
        head.save(self.root / "head.npz")
        return head, self.root / "head.npz"

    def look(self, head: LinearHead, file: Path, present: LinearHead, held: EvalSet) -> Gain:
        """Compare as `clipfast models compare` does."""
        both = replace(self.voices, head=present), replace(self.voices, head=head)
        return self.registry.look(
            "head",
            file,
            held.version,
            lambda number: measure_gain(*both, held, look=number),
            setting=Setting(None, held.pictures),
        )


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Draw the pictures, and put a bank to use that knows nothing of them."""
    samples = []
    for photo in range(PHOTOS):
        for patch in range(PATCHES):
            pixels = np.full((16, 16), photo, np.uint8)
            pixels[8:, patch:] = 200
            path = tmp_path / f"{photo}_{patch}.png"
            Image.fromarray(pixels).save(path)
            where = {"image": path.name, "coords": (8, 8), "sha256": sha256_file(path)}
            samples.append(EvalSample(**where, label="cotton", group=photo))  # type: ignore[arg-type]  # of any kind that the stub takes
    rows = np.eye(PHOTOS + 2, dtype=np.float32)[-2:]
    bank = FabricBank(References(rows, ["cotton", "silk"], ["cotton/1", "silk/1"], ["0" * 64] * 2), MODEL)
    bank.save(tmp_path / "bank.npz")
    registry = Registry(tmp_path / "models", who="Li")
    registry.promote("bank", tmp_path / "bank.npz", gain=None, eval_version=None, note=None)
    bank = FabricBank.load(tmp_path / "bank.npz", PhotoClip())
    return Shop(tmp_path, EvalSet(tuple(samples), tmp_path), registry, Voices(bank, fusion=Fusion(head_share=1.0)))


def test_taking_the_head_out_first_does_not_prove_a_worse_one(shop: Shop) -> None:
    """Right on nine photos of ten, it is proven beside the bank alone; the one that was taken out was right on ten."""
    silk = replace(shop.held, samples=tuple(msgspec.structs.replace(each, label="silk") for each in shop.held.samples))
    _, file = shop.head(np.zeros(PHOTOS, np.bool_))
    shop.registry.promote("head", file, gain=None, eval_version=None, note="the first")
    shop.registry.rollback("head", to="none", note="to see")
    out = shop.registry.retired("head")
    assert out is not None
    alone, clip = shop.voices, PhotoClip()
    worse, file = shop.head(np.arange(PHOTOS) == 0, 1)
    named = retired_voices(shop.registry, alone, ("head", file), clip)
    assert named is not None
    assert named[0] == out
    other = replace(alone, head=worse)
    assert measure_gain(alone, other, silk, look=1).proven
    gain = measure_gain(alone, other, silk, look=1, retired=named[1])
    assert (gain.proven, gain.better, gain.worse) == (False, 0, 1)
    assert retired_voices(shop.registry, alone, ("head", shop.registry.file(out)), clip) is None
    (shop.root / "models" / f"{out}.npz").unlink()
    assert retired_voices(shop.registry, alone, ("head", file), clip) is None


def test_a_year_of_useless_heads_promotes_none(shop: Shop) -> None:
    """52 looks are counted whatever the set's order is; photos count and not patches; then the set is spent.

    Each head is a coin for each photo. Were patches counted, or looks begun anew with every order of the set, the same
    answers would promote: that is asked, too, so that this year could catch it.
    """
    rng = np.random.default_rng(14)  # a year in which both of these would promote
    present, file = shop.head(rng.random(PHOTOS) < 0.5, -1)
    shop.registry.promote("head", file, gain=None, eval_version=None, note="the first")
    looks, promoted, by_patches, anew = [], 0, 0, 0
    for week in range(LOOKS):
        held = shop.held if week % 2 else replace(shop.held, samples=shop.held.samples[::-1])
        candidate, file = shop.head(rng.random(PHOTOS) < 0.5, week)
        gain = shop.look(candidate, file, present, held)
        looks.append(gain.look)
        assert gain.photos == PHOTOS
        promoted += gain.proven
        old, new = np.zeros(gain.better + gain.worse, np.bool_), np.arange(gain.better + gain.worse) < gain.better
        old[gain.better :] = True
        every = np.repeat(old, PATCHES), np.repeat(new, PATCHES)
        by_patches += gain_of(every[0], every[1], range(len(every[0])), look=gain.look).proven
        anew += gain_of(old, new, range(len(old)), look=1).proven

    assert looks == list(range(1, LOOKS + 1))
    assert promoted == 0
    assert by_patches > 0
    assert anew > 0
    candidate, file = shop.head(rng.random(PHOTOS) < 0.5, LOOKS)
    with pytest.raises(DataError, match="looked at 52 times"):
        shop.look(candidate, file, present, shop.held)


def test_a_better_head_is_promoted_and_measured_anew_beside_another_bank(shop: Shop) -> None:
    """The same year can promote: a head that answers all photos; and its gain is not taken over to another bank."""
    poor, file = shop.head(np.arange(PHOTOS) < 3)
    shop.registry.promote("head", file, gain=None, eval_version=None, note="the first")
    good, file = shop.head(np.ones(PHOTOS, np.bool_))
    gain = shop.look(good, file, poor, shop.held)
    assert (gain.photos, gain.better, gain.worse, gain.proven) == (PHOTOS, PHOTOS - 3, 0, True)
    assert shop.look(good, file, poor, shop.held) == gain
    other = shop.root / "other.npz"
    FabricBank(shop.voices.bank.references.taken([0, 1]), BankModel("d" * 64, "fp32", "again")).save(other)
    shop.registry.promote("bank", other, gain=None, eval_version=None, note="new photos")
    assert shop.look(good, file, poor, shop.held).look == 2
    with pytest.raises(DataError, match="changed since the candidate was measured"):
        shop.registry.promote("head", file, gain=gain, eval_version=shop.held.version, note=None)
