"""What was seen is not evaluated on: evaluation samples that are places in photos, and what weights were fitted on."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageOps

from clipfast.errors import DataError
from clipfast.retrieval import FabricBank, References, check_folder, check_references
from clipfast.retrieval.crops import Sidecar, crop_patch, write_sidecar
from clipfast.retrieval.evalset import EvalSet, make_eval_set
from clipfast.retrieval.evaluation import evaluate
from clipfast.retrieval.fused import FittedFusion, fit_fusion, with_alpha
from clipfast.retrieval.fusion import Voices
from clipfast.retrieval.head import HeadOptions, LinearHead
from clipfast.retrieval.heldout import leave_out, require_no_copies, train_head
from clipfast.retrieval.labelled import encode_labelled
from clipfast.retrieval.live import measure_gain
from clipfast.retrieval.looks import SURE_BITS, look_of, nearly
from clipfast.retrieval.rules import load_rules
from clipfast.storage import load_sealed_npz, save_sealed_npz
from reference.colour_clip import ColourClip
from reference.copied import cloth, cut, jpeg

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


def _bank_of(folder: Path, *pictures: tuple[str, Image.Image]) -> FabricBank:
    for name, picture in pictures:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.convert("RGB").save(folder / name, quality=85)
    return FabricBank.build(ColourClip(), folder)


def test_a_bank_tells_near_copies_again_without_their_pixels(root: Path, held: EvalSet, tmp_path: Path) -> None:
    """Saved again, mirrored, the whole photo: by what the bank kept; a bank of an older version kept nothing."""
    photo = held.picture(held.samples[0])
    ways = (held.crop(held.samples[0]), ImageOps.mirror(held.crop(held.samples[0])), photo.resize((300, 300)))
    for picture in ways:
        bank = _bank_of(root / "references", ("linen/innocent.jpg", picture))
        with pytest.raises(DataError, match=r"linen/innocent\.jpg is nearly the same picture as photos/") as caught:
            evaluate(held, Voices(bank))
        assert caught.value.code == "eval_in_bank"
    found = check_references(bank.references, bank.model, eval_set=held)
    assert [(p.kind, p.path) for p in found.problems if p.kind == "evaluated"] == [("evaluated", "linen/innocent.jpg")]
    seen = check_folder(ColourClip(), root / "references", eval_set=held)
    assert [p.path for p in seen.problems if p.kind == "evaluated"] == ["linen/innocent.jpg"]
    assert "evaluated" not in check_folder(ColourClip(), root / "references").checked

    references = bank.references
    old = References(references.embeddings, references.fabrics, references.paths, references.sha256)
    FabricBank(old, bank.model).save(tmp_path / "old.npz")
    opened = FabricBank.load(tmp_path / "old.npz", ColourClip())
    assert opened.references.marks.empty
    evaluate(held, Voices(opened))
    assert any("kept no looks" in why for why in check_references(old, bank.model, eval_set=held).unchecked)


@pytest.mark.parametrize("name", ["bank.npz", "bank"])
def test_a_bank_remembers_the_photos_that_its_patches_were_cut_from(root: Path, held: EvalSet, name: str) -> None:
    """Another place of an evaluation photo among the references; the same after saving as file and as folder."""
    clip, sample = ColourClip(), held.samples[0]
    patch = root / "references" / "velvet" / "b.png"
    crop_patch(held.file(sample), (336, 336)).save(patch)
    write_sidecar(patch, Sidecar(source=f"../../photos/{held.file(sample).name}", coords=(336, 336)))
    FabricBank.build(clip, root / "references").save(root / name)
    bank = FabricBank.load(root / name, clip)
    assert sample.sha256 in bank.references.marks.sources
    with pytest.raises(DataError, match="is in the bank, so it would be found"):
        evaluate(held, Voices(bank))
    bank.add(root / "references")
    bank.remove("cotton")
    assert dict(zip(bank.references.paths, bank.references.marks.sources, strict=True))["velvet/b.png"] == sample.sha256
    bank.remove("velvet/b.png")
    evaluate(held, Voices(bank))


def test_the_photo_of_a_patch_cut_as_a_box_is_watched_too(root: Path) -> None:
    """Its side-car has no click, so the sample is the patch; a copy of its whole photo is refused all the same."""
    for sidecar in (root / "labeled").rglob("*.json"):
        number, fabric = sidecar.stem[-1], sidecar.parent.name
        write_sidecar(
            sidecar.with_suffix(".png"), Sidecar(source=f"../../photos/{fabric}_{number}.png", box=(0, 0, 224, 224))
        )
    made = make_eval_set(root / "labeled", split=0.15)
    assert {Path(sample.image).parent.parent.name for sample in made.samples} == {"labeled"}
    source = Path(made.samples[0].image)
    photo = root / "photos" / f"{source.parent.name}_{source.stem[-1]}.png"
    Image.open(photo).resize((300, 300)).save(root / "labeled" / "linen" / "x.jpg", quality=85)
    with pytest.raises(DataError, match=r"linen/x\.jpg is nearly the same picture as"):
        leave_out(encode_labelled(ColourClip(), root / "labeled"), made)


def test_weights_are_not_fitted_on_copies_of_the_banks_photos(root: Path) -> None:
    """A labelled patch that is a reference saved again, turned upside down, would find itself."""
    upside_down = Image.open(root / "references" / "linen" / "a.png").transpose(Image.Transpose.ROTATE_180)
    upside_down.convert("RGB").save(root / "labeled" / "linen" / "again.jpg", quality=85)
    bank = FabricBank.build(ColourClip(), root / "references")
    found = fit_fusion(Voices(bank, None, load_rules("fine")), root / "labeled")
    assert (found.in_bank, found.samples) == (1, len(LABELS) * EACH)


def test_heads_and_weights_know_what_is_saved_again(root: Path, held: EvalSet, tmp_path: Path) -> None:
    """All patches as JPEG in another folder, no set beside it: other bytes, and yet nothing honest to evaluate on."""
    clip, elsewhere = ColourClip(), tmp_path / "elsewhere"
    for patch in (root / "labeled").rglob("*.png"):
        (elsewhere / patch.parent.name).mkdir(parents=True, exist_ok=True)
        Image.open(patch).convert("RGB").save(elsewhere / patch.parent.name / f"{patch.stem}.jpg", quality=80)
    bank = FabricBank.build(clip, root / "references")
    train_head(clip, elsewhere, options=HeadOptions(strengths=(10.0,))).head.save(tmp_path / "h.npz")
    head = LinearHead.load(tmp_path / "h.npz", clip)
    with pytest.raises(DataError, match=r"nearly the same picture as .* the head was trained on it") as caught:
        evaluate(held, Voices(bank, head))
    assert caught.value.code == "eval_trained_on"
    fit_fusion(Voices(bank, None, load_rules("fine")), elsewhere).save(tmp_path / "f.json")
    voices = with_alpha(Voices(bank, None, load_rules("fine")), "fit", FittedFusion.load(tmp_path / "f.json"))
    with pytest.raises(DataError, match="the weights were fitted on it") as caught:
        evaluate(held, voices)
    assert caught.value.code == "eval_fitted_on"


def test_heads_of_the_version_before_are_read(root: Path, held: EvalSet, tmp_path: Path) -> None:
    """They kept no looks, so only equal bytes are known."""
    clip = ColourClip()
    train_head(clip, root / "labeled", eval_set=held, options=HeadOptions(strengths=(10.0,))).head.save(tmp_path / "h")
    arrays = load_sealed_npz(tmp_path / "h", kind="head")
    meta = msgspec.json.decode(str(arrays["meta"]))
    old = {name: value for name, value in (meta | {"format": 1}).items() if name != "seen"}
    save_sealed_npz(tmp_path / "old", arrays | {"meta": np.array(msgspec.json.encode(old).decode())})
    assert LinearHead.load(tmp_path / "old", clip).seen.pictures == ()
    assert len(LinearHead.load(tmp_path / "h", clip).seen.pictures) == len(LABELS) * EACH - len(held)


def test_the_banks_photos_are_compared_by_pixels_where_they_are(root: Path, held: EvalSet) -> None:
    """A cut and mirrored copy that the kept hash does not tell; declared, it is let through, and the report says so."""
    picture = held.crop(held.samples[0])
    photo = root / "references" / "linen" / "other.png"
    jpeg(ImageOps.mirror(cut(picture, 0.03, 0.02, 0.03, 0.03)), 85).save(photo)
    bank = FabricBank.build(ColourClip(), root / "references")
    assert nearly(look_of(picture), bank.references.marks.looks, SURE_BITS) == []
    with pytest.raises(DataError, match=r"linen/other\.png is nearly the same picture as") as caught:
        evaluate(held, Voices(bank, photos=root / "references"))
    assert caught.value.code == "eval_in_bank"
    found = evaluate(held, Voices(bank, photos=root / "references", not_copies=("linen/other.png",)))
    assert found.declared == (("linen/other.png", held.samples[0].image),)
    picture.save(photo.with_suffix(".bmp"))
    bank = FabricBank.build(ColourClip(), root / "references")
    with pytest.raises(DataError, match="very pixels of"):
        evaluate(held, Voices(bank, photos=root / "references", not_copies=("linen/other.png", "linen/other.bmp")))


@pytest.mark.parametrize("name", ["bank.npz", "bank"])
def test_a_bank_remembers_what_was_declared(root: Path, held: EvalSet, name: str) -> None:
    """Through file and folder, adding and removing; only of the picture that it was declared of."""
    held.save(root / "eval_set.jsonl")
    photo = root / "references" / "linen" / "other.jpg"
    held.crop(held.samples[0]).save(photo, quality=85)
    photos = sorted((root / "references").rglob("*.*"))
    with pytest.raises(DataError, match="--not-a-copy FILE"):
        require_no_copies(photos, root / "references")
    declared = require_no_copies(photos, root / "references", [photo])
    bank = FabricBank.build(ColourClip(), root / "references")
    bank.declare(declared)
    bank.remove("cotton")
    bank.save(root / name)
    bank = FabricBank.load(root / name, ColourClip())
    (said,) = bank.references.marks.all_declared
    assert (said.path, said.of) == ("linen/other.jpg", held.samples[0].sha256)
    for photos_in in (root / "references", None):
        assert evaluate(held, Voices(bank, photos=photos_in)).declared == (("linen/other.jpg", held.samples[0].image),)
    assert all(p.kind != "evaluated" for p in check_references(bank.references, bank.model, eval_set=held).problems)
    same = photo.with_suffix(".bmp")
    held.crop(held.samples[0]).save(same)
    with pytest.raises(DataError, match="very pixels of"):
        require_no_copies([same], root / "references", [same])
