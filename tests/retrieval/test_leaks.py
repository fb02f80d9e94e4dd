"""What was seen is not evaluated on: evaluation samples that are places in photos, and what weights were fitted on."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from clipfast.errors import DataError
from clipfast.retrieval import FabricBank
from clipfast.retrieval.crops import Sidecar, crop_patch, write_sidecar
from clipfast.retrieval.evalset import EvalSet, make_eval_set
from clipfast.retrieval.evaluation import evaluate
from clipfast.retrieval.fusion import Voices
from clipfast.retrieval.head import HeadOptions
from clipfast.retrieval.heldout import leave_out, train_head
from clipfast.retrieval.labelled import encode_labelled
from clipfast.retrieval.live import measure_gain
from reference.colour_clip import ColourClip
from reference.copied import cloth

LABELS = ("cotton", "linen", "velvet")
EACH = 8


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of three fabrics, one patch cut from each, with the side-car that says where."""
    root = tmp_path_factory.mktemp("photos")
    for at, label in enumerate(LABELS):
        (root / "labeled" / label).mkdir(parents=True)
        (root / "photos").mkdir(exist_ok=True)
        (root / "references" / label).mkdir(parents=True)
        cloth(100 + at).save(root / "references" / label / "a.png")
        for number in range(EACH):
            photo = root / "photos" / f"{label}_{number}.png"
            picture = Image.new("RGB", (448, 448))
            for place, (x, y) in enumerate(((0, 0), (224, 0), (0, 224), (224, 224))):
                picture.paste(cloth(1000 * place + EACH * at + number).resize((224, 224)), (x, y))
            picture.save(photo)
            patch = root / "labeled" / label / f"patch_{number:03}.png"
            crop_patch(picture, (112, 112)).save(patch)
            write_sidecar(patch, Sidecar(source=f"../../photos/{photo.name}", coords=(112, 112), size=224))
    return root


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Path:
    """The same, to be changed at will."""
    return Path(shutil.copytree(drawn, tmp_path / "data"))


@pytest.fixture
def held(root: Path) -> EvalSet:
    """An evaluation set whose samples are places in photos."""
    made = make_eval_set(root / "labeled", split=0.15)
    assert {Path(sample.image).parent.name for sample in made.samples} == {"photos"}
    return made


def test_patches_of_evaluation_photos_are_known_in_bank_and_head(root: Path, held: EvalSet) -> None:
    """The sample is the photo; what was trained on, or is in the bank, is its patch, or another patch of the photo."""
    clip = ColourClip()
    bank = FabricBank.build(clip, root / "references")
    leaky = train_head(clip, root / "labeled", options=HeadOptions(strengths=(10.0,))).head
    with pytest.raises(DataError, match=r"was trained on \(3 such pictures\)"):
        evaluate(held, Voices(bank, leaky))
    for sidecar in (root / "labeled").rglob("*.json"):
        sidecar.unlink()
    with pytest.raises(DataError, match=r"is in the bank \(3 such pictures\)"):
        evaluate(held, Voices(FabricBank.build(clip, root / "labeled")))
    honest = train_head(clip, root / "labeled", eval_set=held, options=HeadOptions(strengths=(10.0,)))
    assert len(honest.excluded) == len(held) == 3
    evaluate(held, Voices(bank, honest.head))


def test_another_patch_of_an_evaluation_photo_was_trained_on(root: Path, held: EvalSet) -> None:
    """The head remembers photos, too: patches of one photo are not on both sides."""
    clip = ColourClip()
    for sample in held.samples:
        photo = held.file(sample)
        (old,) = (
            p for p in (root / "labeled").rglob("*.png") if p.stem[-1] + p.parent.name == photo.stem[-1] + sample.label
        )
        crop_patch(photo, (336, 336)).save(old)
        write_sidecar(old, Sidecar(source=f"../../photos/{photo.name}", coords=(336, 336), size=224))
    leaky = train_head(clip, root / "labeled", options=HeadOptions(strengths=(10.0,))).head
    with pytest.raises(DataError, match=r"was trained on \(3 such pictures\)"):
        evaluate(held, Voices(FabricBank.build(clip, root / "references"), leaky))


@pytest.mark.parametrize("side", [448, 224])
def test_an_evaluation_photo_planted_in_training_is_refused(root: Path, held: EvalSet, side: int) -> None:
    """The whole photo, saved again as JPEG and perhaps smaller, though only a crop of it is asked about."""
    Image.open(held.file(held.samples[0])).resize((side, side)).save(root / "labeled" / "linen" / "x.jpg", quality=85)
    rows = encode_labelled(ColourClip(), root / "labeled")
    with pytest.raises(DataError, match=r"linen/x\.jpg is nearly the same picture as"):
        leave_out(rows, held)


def test_photos_are_counted_not_patches(tmp_path: Path) -> None:
    """Patches of photos that are gone, and near copies: as many independent pictures as there are photos."""
    folder = tmp_path / "labeled"
    for at, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            patch = folder / label / f"patch_{number}.png"
            cloth(40 * at + number, seed=1).save(patch)
            if label != "velvet":
                write_sidecar(patch, Sidecar(source=f"../../gone/{label}_{number // 4}.png", coords=(5, 5)))
    cloth(80, seed=1).save(folder / "velvet" / "again.jpg", quality=85)
    made = make_eval_set(folder, split=0.5, seed=3)
    made.save(tmp_path / "e.jsonl")
    old = EvalSet(tuple(msgspec.structs.replace(sample, group=None) for sample in made.samples), made.root)
    counts = [
        len({group for group, sample in zip(each.groups(), each.samples, strict=True) if sample.label != "velvet"})
        for each in (made, EvalSet.load(tmp_path / "e.jsonl"), old)
    ]
    assert counts == [2, 2, 2]  # of 8 patches
    together = dict.fromkeys(("patch_0.png", "again.jpg"), -1)
    for seed in range(9):  # until the two copies are in the set
        chosen = make_eval_set(folder, split=0.5, seed=seed)
        together |= {
            Path(sample.image).name: group
            for group, sample in zip(chosen.groups(), chosen.samples, strict=True)
            if sample.label == "velvet" and Path(sample.image).name in together
        }
    assert together["patch_0.png"] == together["again.jpg"] >= 0
    voices = Voices(FabricBank.build(ColourClip(), _references(tmp_path)))
    gain = measure_gain(voices, voices, made, look=1)
    assert gain.photos == len(set(made.groups())) < len(made)


def _references(tmp_path: Path) -> Path:
    for at, label in enumerate(LABELS):
        (tmp_path / "references" / label).mkdir(parents=True)
        cloth(100 + at, seed=7).save(tmp_path / "references" / label / "a.png")
    return tmp_path / "references"
