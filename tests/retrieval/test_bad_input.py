"""What is no point, label, seed, split, rule file, confidence or score is named in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.errors import ClipfastError, DataError
from clipfast.retrieval import (
    FabricBank,
    FittedFusion,
    Fusion,
    HeadOptions,
    LinearHead,
    LiveVoices,
    PhotoLimits,
    References,
    Registry,
    bank_judge,
    check_folder,
    check_references,
    evaluate,
    fit_fusion,
    fuse_with_clip,
    import_vectors,
    leave_one_out,
    read_sidecar,
    rebuild_bank,
    recommend_fabrics_localized,
    train_head,
    write_sidecar,
)
from clipfast.retrieval.confidence import fit_confidence
from clipfast.retrieval.crops import Region, crop_box, crop_patch
from clipfast.retrieval.evalset import EvalSet, make_eval_set
from clipfast.retrieval.fused import with_alpha
from clipfast.retrieval.labels import Labeller, LabelStore, SeenCrop
from clipfast.retrieval.live import measure_gain
from clipfast.retrieval.openset import fit_openset
from clipfast.retrieval.promotion import look_error
from reference.colour_clip import ColourClip, draw
from reference.colour_voices import colour_bank, colour_voices

PHOTO: Any = np.zeros((30, 40, 3), np.uint8)
NAN, INF = float("nan"), float("inf")
ROWS = np.repeat(np.eye(4, dtype=np.float32)[:2], 15, axis=0)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw a few labelled patches."""
    root = tmp_path_factory.mktemp("bad") / "labeled"
    for fabric in ("cotton", "linen"):
        for number in range(4):
            draw(root / fabric / f"{number}.png", fabric, number)
    return root


def crop(path: Path, confidence: Any = 0.4, share: Any = 0.5) -> SeenCrop:
    """Return a crop that was answered so."""
    return SeenCrop(path, Region(), confidence, (("linen", share),))


def photo_of(folder: Path) -> Path:
    """Return one of the drawn patches."""
    return folder / "cotton/0.png"


def copied_bank() -> FabricBank:
    """Return a bank that may be changed."""
    return FabricBank(BANK.references, BANK.model, clip=CLIP)


def _evaluated_set(_: Path, held: Any) -> object:
    return evaluate(held, VOICES)


def _evaluated_voices(_: Path, voices: Any) -> object:
    return evaluate(EvalSet((), Path()), voices)


def _fitted_voices(path: Path, voices: Any) -> object:
    return fit_fusion(voices, path)


def _compared(_: Path, voices: Any) -> object:
    return measure_gain(voices, VOICES, EvalSet((), Path()), look=1)


def _trained_without(path: Path, held: Any) -> object:
    return train_head(CLIP, path, eval_set=held or 5)  # type: ignore[arg-type]  # None leaves nothing out


def _fused(_: Path, voices: Any) -> object:
    return fuse_with_clip(PHOTO, [], "zh", 0.5, voices=voices or 5)  # type: ignore[arg-type]  # None is the default


def _weighed(_: Path, fitted: Any) -> object:
    return with_alpha(VOICES, "fit", fitted or 5)  # type: ignore[arg-type]  # None is the default


def _checked(_: Path, references: Any) -> object:
    return check_references(references, BANK.model)


def _left_out(_: Path, references: Any) -> object:
    return leave_one_out(references)


def _judged(_: Path, references: Any) -> object:
    return bank_judge(references)


def _rebuilt(path: Path, references: Any) -> object:
    return rebuild_bank(references, CLIP, path)


def _followed(_: Path, registry: Any) -> object:
    return LiveVoices(registry, CLIP)


def _encoded(path: Path, clip: Any) -> object:
    return FabricBank.build(clip, path)


def _opened(path: Path, clip: Any) -> object:
    BANK.save(path.parent / "bank.npz")
    return FabricBank.load(path.parent / "bank.npz", clip or 5)  # type: ignore[arg-type]  # None opens without one


def _trained(path: Path, clip: Any) -> object:
    return train_head(clip, path)


Call = Callable[[Path, Any], object]
NO_PATH: tuple[Any, ...] = (None, 5, b"x", ["x"], "", NAN, PHOTO)
NO_OBJECT: tuple[Any, ...] = (None, 5, "x", ["x"], object())
PLAIN: dict[str, Any] = {"gain": None, "eval_version": None, "note": "x"}
CLIP, BANK = ColourClip(), colour_bank()
VOICES = colour_voices(BANK)
CALLS: list[tuple[str, Call, tuple[Any, ...]]] = [
    # what is called, how, and with what
    ("xy", lambda _, xy: crop_patch(PHOTO, xy), ((NAN, 1), (INF, 1), "12", None, 5, ("a", 1), (1,), (1, 2, 3))),
    ("xy", lambda _, xy: crop_patch(PHOTO, xy), ((1.5, 2), (True, True))),
    ("size", lambda _, size: crop_patch(PHOTO, (1, 1), size), (NAN, INF, None, "a", 1.5, 0, True)),
    ("box", lambda _, box: crop_box(PHOTO, box), ((0, 0, 5), None, (0, 0, NAN, 5), "0,0,5,5")),
    ("region", lambda _, xy: Region(coords=xy).cut(PHOTO), (("a", "b"),)),
    ("label", lambda path, name: LabelStore(path).add(path, name), (5, b"x", ["x"], None)),
    ("photo", lambda path, photo: LabelStore(path).add(photo, "silk"), (None, 5, "nowhere.png")),
    ("split", make_eval_set, ("a", None, NAN, True, 1.5, 0)),
    ("seed", lambda path, seed: make_eval_set(path, 0.2, seed), (-1, 1.5, "x", None)),
    ("seed of a head", lambda _, seed: LinearHead.fit(ROWS, ["a", "b"] * 15, seed=seed), (-1, 1.5, None)),
    ("rules", lambda _, rules: recommend_fabrics_localized({}, rules_source=rules), (None, 5, b"fine", "")),
    ("confidence", crop, (None, NAN, 2, "x", True)),
    ("share", lambda path, share: crop(path, share=share), (NAN, None, 1.5)),
    ("labeller", lambda _, confidence: Labeller(confidence=confidence), (NAN, 2, "x")),
    ("photo to ask about", lambda path, name: LabelStore(path).enqueue([crop(path / name)]), ("nowhere.png",)),
    ("scores", lambda _, score: fit_openset([(np.array([score, 0.2]), np.array([0.1]))] * 30), (NAN, INF)),
    ("features", lambda _, value: fit_confidence(np.full((30, 2), value), np.ones(30, np.bool_)), (NAN, INF)),
    ("look", lambda _, look: look_error(look), (NAN, 1.5, 0, True)),
    # paths
    ("folder", make_eval_set, NO_PATH),
    ("folder of fabrics", lambda _, folder: FabricBank.build(CLIP, folder), NO_PATH),
    ("folder to check", lambda _, folder: check_folder(CLIP, folder), NO_PATH),
    ("folder to train on", lambda _, folder: train_head(CLIP, folder), NO_PATH),
    ("folder of labels", lambda _, folder: LabelStore(folder), NO_PATH),
    ("old vectors", lambda _, path: import_vectors(path, BANK.model, dim=3), NO_PATH),
    ("patch", lambda _, path: read_sidecar(path), NO_PATH),
    ("candidate", lambda path, file: Registry(path).promote("bank", file, **PLAIN), NO_PATH),
    *(
        (f"file of {kind.__name__}", lambda _, path, kind=kind: kind.load(path), NO_PATH)
        for kind in (EvalSet, FabricBank, LinearHead, FittedFusion)
    ),
    ("file to write", lambda _, path: BANK.save(path), NO_PATH),
    # objects of a class
    *(
        (f"{what} of {call.__name__}", lambda path, value, call=call: call(path, value), NO_OBJECT)
        for call in (
            *(_evaluated_set, _evaluated_voices, _fitted_voices, _compared, _trained_without, _fused, _weighed),
            *(_checked, _left_out, _judged, _rebuilt, _followed, _encoded, _opened, _trained),
        )
        for what in [call.__name__.rsplit("_", 1)[-1]]
    ),
    ("region", lambda path, region: LabelStore(path / "s").add(photo_of(path), "silk", region=region), NO_OBJECT[1:]),
    ("by", lambda path, by: LabelStore(path / "s").add(photo_of(path), "silk", by=by), NO_OBJECT[1:]),
    ("crops", lambda path, crops: LabelStore(path).enqueue(crops), (None, 5, [5], "x", object())),
    ("trained on", lambda path, seen: LabelStore(path).stats(seen), (None, 5)),
    ("gain", lambda path, gain: Registry(path).promote("bank", path, **PLAIN | {"gain": gain}), NO_OBJECT[1:]),
    ("side-car", lambda path, sidecar: write_sidecar(path / "p.png", sidecar), NO_OBJECT),
    # numbers and lists of them
    ("batch size", lambda path, size: FabricBank.build(CLIP, path, batch_size=size), (None, 0, 1.5, NAN, "x", True)),
    ("few", lambda _, few: PhotoLimits(few=few), (None, 0, 1.5, NAN, "x")),
    ("clipped", lambda _, clipped: PhotoLimits(clipped=clipped), (None, 2, NAN, "x")),
    ("strengths", lambda _, values: HeadOptions(strengths=values), (None, 1.0, (), (0,), (NAN,), ("a",))),
    ("folds", lambda _, folds: HeadOptions(folds=folds), (None, 1, 2.5, "x")),
    ("temperature", lambda _, value: Fusion(rules_temperature=value), (None, 0, NAN, INF, "x", [1])),
    ("threshold", lambda path, value: LabelStore(path).enqueue([], threshold=value), (None, NAN, 2, "x", [0.5])),
    ("ks", lambda _, ks: evaluate(EvalSet((), Path()), VOICES, ks=ks), (None, 3, (), (0,), ("a",), (1.5,))),
    ("score", lambda _, score: BANK.rank(ROWS[0][:3], 5, score), (None, "best", ["max"], 5)),
    ("topk", lambda _, topk: BANK.rank(ROWS[0][:3], topk), (None, 0, 1.5, "x", [5])),
    # texts and lists of them
    ("fabric", lambda path, name: copied_bank().add(photo_of(path), name), (5, b"x", ["x"], "", "a/b")),
    ("name", lambda _, name: copied_bank().remove(name), (None, 5, ["cotton"], "", "nothing")),
    ("item", lambda path, item: LabelStore(path).skip(item), (None, 5, ["x"])),
    ("new name", lambda path, name: LabelStore(path).rename("cotton", name), (None, 5, ["x"], "")),
    ("kind", lambda path, kind: Registry(path).rollback(kind), (None, 5, ["head"], "photo")),
    ("to", lambda path, to: Registry(path).rollback("head", to=to), (5, ["x"], "head-x")),
    ("note", lambda path, note: Registry(path).rollback("head", to="none", note=note), (5, ["x"], "", " ")),
    ("lang", lambda _, lang: recommend_fabrics_localized({}, lang=lang), (None, "de", ["zh"], PHOTO)),
    ("alpha", lambda _, alpha: fuse_with_clip(PHOTO, [], "zh", alpha, voices=VOICES), (None, "x", 2, NAN, [1], PHOTO)),
    ("base results", lambda _, base: fuse_with_clip(PHOTO, base, "zh", 0.5, voices=VOICES), (None, 5, [5], [(1,)])),
    ("labels", lambda _, labels: LinearHead.fit(ROWS, labels, seed=0), (None, 5, [], [None] * 30, ["a"])),
    ("groups", lambda _, groups: LinearHead.fit(ROWS, ["a", "b"] * 15, seed=0, groups=groups), (5, [1], object())),
    ("sha256", lambda _, sha256: References(ROWS[:1], ["a"], ["a/1"], sha256), (None, 5, [5], "x", [])),
    ("rows", lambda _, rows: References(rows, ["a"], ["a/1"], ["0" * 64]), (None, 5, [[1.0]], ROWS[:1] * NAN, ROWS)),
    ("answers", lambda path, answers: SeenCrop(path, Region(), 0.4, answers), (None, 5, ["x"], [("a",)], [(5, 0.5)])),
]


@pytest.mark.parametrize(
    ("call", "value"),
    [pytest.param(call, each, id=f"{name} {str(each)[:20]!r}") for name, call, given in CALLS for each in given],
)
def test_one_sentence_says_what_must_be(call: Call, value: Any, labelled: Path) -> None:
    """One of our errors, with a sentence; never Python's own."""
    with pytest.raises(ClipfastError) as caught:
        call(labelled, value)
    assert str(caught.value).strip().endswith((".", "]", ")")), str(caught.value)


def test_whole_numbers_of_any_kind_are_points() -> None:
    """NumPy's and floats without a fraction."""
    for xy in (np.array([3, 4]), [3.0, 4.0], (np.int32(3), np.float32(4))):
        assert crop_patch(PHOTO, xy, np.int64(10)).size == (10, 10)  # type: ignore[arg-type]  # a number of NumPy


def test_a_repeated_line_is_refused(labelled: Path, tmp_path: Path) -> None:
    """It would count twice, under another label too; two patches of one click are one sample."""
    path = tmp_path / "e.jsonl"
    make_eval_set(labelled, 0.5).save(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    for again in (lines[0], lines[0].replace('cotton",', 'silk",').replace('"label":"cotton"', '"label":"silk"')):
        path.write_text("\n".join([*lines, "", again]), encoding="utf-8")
        with pytest.raises(DataError, match=rf"line {len(lines) + 2} asks about the same place as line 1"):
            EvalSet.load(path)
    path.write_text("\n".join(lines), encoding="utf-8")
    assert len(EvalSet.load(path)) == len(lines)


def test_two_patches_of_one_click_are_one_sample(tmp_path: Path) -> None:
    """Both checksums are remembered, so that neither is trained on."""
    from clipfast.retrieval.crops import Sidecar, write_sidecar

    for fabric in ("cotton", "linen"):
        for number in range(3):
            draw(tmp_path / f"photos/{fabric}{number}.png", fabric, number, size=300)
            for copy in ("png", "bmp"):
                patch = tmp_path / "labeled" / fabric / f"{number}_{copy}.{copy}"
                patch.parent.mkdir(parents=True, exist_ok=True)
                Image.open(tmp_path / f"photos/{fabric}{number}.png").crop((38, 38, 262, 262)).save(patch)
                write_sidecar(patch, Sidecar(source=f"../../photos/{fabric}{number}.png", coords=(150, 150)))
    made = make_eval_set(tmp_path / "labeled", 0.3)
    assert [len(sample.digests) for sample in made.samples] == [3, 3]
    assert made.report is not None
    assert {name: test for name, (_, test) in made.report.counts.items()} == {"cotton": 1, "linen": 1}
