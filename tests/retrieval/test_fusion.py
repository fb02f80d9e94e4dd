"""Fusion: weights that mean what they say, calibrated voices, fitted α, and evaluation phase by phase."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest

from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.retrieval import FabricBank, References
from clipfast.retrieval.crops import Sidecar, write_sidecar
from clipfast.retrieval.evalset import make_eval_set
from clipfast.retrieval.fused import FittedFusion, fit_fusion, with_alpha
from clipfast.retrieval.fusion import Fusion, Voices, bank_temperature, fuse_with_clip
from clipfast.retrieval.head import HeadOptions, LinearHead
from clipfast.retrieval.heldout import train_head
from clipfast.retrieval.recommend import Recommendation, recommend_fabrics_localized
from clipfast.retrieval.rules import load_rules
from clipfast.storage import sha256_file
from reference.colour_voices import (
    BASE,
    COLOURS,
    ColourClip,
    patch,
    scores,
)


def test_the_call_of_the_source_document_works(voices: Voices) -> None:
    """Its attributes, its signature, its tuples."""
    image = patch("cotton", 1)
    attrs = {"visual": {"dominant_color_name": "blue", "sheen_score": 0.6, "texture_complexity": 0.4}}
    base_results = recommend_fabrics_localized(attrs, lang="zh", top_k=10, rules_source="fine")
    fused = fuse_with_clip(patch_img=image, base_results=base_results, lang="zh", alpha=0.7, topk=5, voices=voices)
    assert len(fused) == 5
    for name, score, display_name, notes in fused:
        assert isinstance(display_name, str)
        assert isinstance(notes, str)
        assert 0 <= score <= 1
        assert name in {*COLOURS, *(result.name for result in base_results)}
    assert [score for _, score, _, _ in fused] == sorted((score for _, score, _, _ in fused), reverse=True)


def test_one_is_rules_alone_and_zero_photos_alone(voices: Voices) -> None:
    """The order at either end is that of one voice; in between, scores lie on the line between them."""
    image = patch("sku_77", 2, noise=5)
    ends = {
        alpha: scores(fuse_with_clip(image, BASE, alpha=alpha, topk=99, voices=voices)) for alpha in (0.0, 0.3, 1.0)
    }
    by_rules = sorted(ends[1.0], key=lambda name: -ends[1.0][name])
    assert by_rules[:3] == ["linen", "velvet", "cotton"]
    by_photos = [ranked.id for ranked in voices.bank.rank(image)]
    assert sorted(ends[0.0], key=lambda name: -ends[0.0][name])[:4] == by_photos
    for name, value in ends[0.3].items():
        assert value == pytest.approx(0.3 * ends[1.0][name] + 0.7 * ends[0.0][name])


def test_a_fabric_the_bank_does_not_hold_is_listed_and_scored_by_rules_alone(voices: Voices) -> None:
    """Velvet has no photo: its score moves with α, not with the photo, and it is never dropped."""
    for alpha in (0.2, 0.7):
        found = [
            scores(fuse_with_clip(patch(name, 3), BASE, alpha=alpha, topk=99, voices=voices))["velvet"]
            for name in ("cotton", "silk_satin")
        ]
        assert found[0] == found[1]
        alone = scores(fuse_with_clip(patch("cotton", 3), BASE, alpha=1.0, topk=99, voices=voices))["velvet"]
        assert found[0] == pytest.approx(alpha * alone)


def test_a_fabric_without_a_rule_has_its_id_for_a_name(voices: Voices) -> None:
    """And one with a rule that the rules did not name has its names all the same."""
    results = fuse_with_clip(patch("sku_77", 2, noise=5), BASE, alpha=0.1, topk=99, voices=voices)
    by_name = {result.name: result for result in results}
    assert results[0][0] == "sku_77"
    assert by_name["sku_77"][2:] == ("sku_77", "")
    assert by_name["silk_satin"].display_name == "真丝缎 Silk Satin"
    english = fuse_with_clip(patch("cotton", 2), [], lang="en", topk=99, voices=voices)
    assert {result.display_name for result in english} == {"Cotton", "Linen", "Silk Satin", "sku_77"}


def test_scores_of_all_fabrics_sum_to_one(voices: Voices) -> None:
    """Probabilities of calibrated voices, averaged: with every rule named, nothing is lost."""
    base = recommend_fabrics_localized({"sheen_score": 0.5}, top_k=999)
    assert sum(scores(fuse_with_clip(patch("linen", 9), base, topk=999, voices=voices)).values()) == pytest.approx(1)


def test_cosines_do_not_drown_the_rules(voices: Voices) -> None:
    """Raw cosines of .9 beside .8 would leave all to the rules' .9 beside .5; calibrated, a clear photo prevails."""
    image = patch("cotton", 4, noise=3)
    results = fuse_with_clip(image, BASE, alpha=0.4, voices=voices)
    assert results[0].name == "cotton"


def test_families_take_the_sum_of_their_fabrics(bank: FabricBank) -> None:
    """With the coarse rules, silk_satin counts for the family silk."""
    voices = Voices(bank, rules=load_rules("coarse"), fusion=Fusion(alpha=0.0))
    base = [Recommendation("silk", 0.5, "丝与薄纱 Silk and Sheer", "x")]
    results = fuse_with_clip(patch("silk_satin", 5, noise=5), base, alpha=0.0, topk=99, voices=voices)
    assert results[0].name == "silk"
    assert "silk_satin" not in scores(results)


def test_the_head_is_a_third_voice(voices: Voices, folder: Path) -> None:
    """Its share moves scores along the line between bank and head."""
    trained = train_head(ColourClip(), folder, options=HeadOptions(strengths=(10.0,)))
    image = patch("linen", 6)
    found = {}
    for share in (0.0, 0.5, 1.0):
        asked = replace(voices, head=trained.head, fusion=Fusion(head_share=share))
        found[share] = scores(fuse_with_clip(image, [], alpha=0.0, topk=99, voices=asked))
    assert found[0.0] == scores(fuse_with_clip(image, [], alpha=0.0, topk=99, voices=voices))
    probs = trained.head.predict_proba(ColourClip().encode_images(image))[0]
    for at, name in enumerate(trained.head.classes):
        assert found[1.0][name] == pytest.approx(probs[at])
        assert found[0.5][name] == pytest.approx((found[0.0][name] + found[1.0][name]) / 2)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), "auto", None, True])
def test_alpha_outside_is_refused(voices: Voices, alpha: object) -> None:
    """What must be, what came."""
    with pytest.raises(ShapeError, match=r"alpha must be a number in \[0, 1\] or 'fit'; got"):
        fuse_with_clip(patch("cotton", 1), BASE, alpha=alpha, voices=voices)  # type: ignore[arg-type]
    if alpha != "auto":
        with pytest.raises(ShapeError, match="alpha must be"):
            Fusion(alpha=alpha)  # type: ignore[arg-type]


def test_other_bad_input_is_named(voices: Voices) -> None:
    """Base results of another form, scores outside, temperatures, places."""
    with pytest.raises(DataError, match="base_results must be tuples"):
        fuse_with_clip(patch("cotton", 1), [("cotton", 0.5)], voices=voices)  # type: ignore[list-item]
    with pytest.raises(ShapeError, match="score of base_results"):
        fuse_with_clip(patch("cotton", 1), [("cotton", 85.0, "", "")], voices=voices)
    with pytest.raises(ShapeError, match="topk"):
        fuse_with_clip(patch("cotton", 1), BASE, topk=0, voices=voices)
    with pytest.raises(ShapeError, match="temperatures"):
        Fusion(bank_temperature=0.0)
    with pytest.raises(DataError, match="lang"):
        fuse_with_clip(patch("cotton", 1), BASE, lang="fr", voices=voices)  # type: ignore[arg-type]


def test_a_banks_temperature_makes_its_answers_true_as_often_as_they_say(bank: FabricBank) -> None:
    """New photos asked for: mean confidence is near the share that is right; lone photos give the constant."""
    rng = np.random.default_rng(0)
    middle = rng.normal(size=(6, 12))
    rows = np.repeat(middle, 30, axis=0) + 1.1 * rng.normal(size=(180, 12))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    names = [f"f{at // 30}" for at in range(180)]
    half = [at for at in range(180) if at % 2]
    references = References(rows[half], [names[at] for at in half], [f"{at}" for at in half], ["0" * 64] * 90)
    voices = Voices(FabricBank(references, bank.model))
    new = [at for at in range(180) if not at % 2]
    probs = voices.bank_voice(rows[new]).probs(references.names, {})
    right = np.array(references.names)[probs.argmax(axis=1)] == np.array(names)[new]
    assert 0.4 < right.mean() < 0.98
    assert abs(probs.max(axis=1).mean() - right.mean()) < 0.12
    lone = References(np.eye(3, dtype=np.float32), ["a", "b", "c"], ["a", "b", "c"], ["0" * 64] * 3)
    assert bank_temperature(lone) == 0.05


def test_alpha_is_fitted_without_the_evaluation_set(voices: Voices, folder: Path, tmp_path: Path) -> None:
    """The curve has every α, the chosen one has its best rank, nothing of the set is used, and the file comes back."""
    held = make_eval_set(folder, split=0.25)
    head = train_head(ColourClip(), folder, eval_set=held, options=HeadOptions(strengths=(10.0,))).head
    for asked in (voices, replace(voices, head=head)):
        fitted = fit_fusion(asked, folder, exclude=held)
        assert [point.alpha for point in fitted.curve] == pytest.approx(np.linspace(0, 1, 21))
        best = max(point.mrr for point in fitted.curve)
        assert next(point.mrr for point in fitted.curve if point.alpha == fitted.alpha) == best
        assert fitted.samples == 36
        assert fitted.excluded == len(held) == 12
        assert fitted.eval_version == held.version
        assert fitted.alpha < 1  # colours tell these fabrics, the rules hardly do
    assert fitted.head_share is not None
    fitted.save(tmp_path / "fusion.json")
    assert FittedFusion.load(tmp_path / "fusion.json") == fitted
    after = with_alpha(replace(voices, head=head), "fit", fitted).fusion
    assert (after.alpha, after.head_share, after.bank_temperature) == (
        fitted.alpha, fitted.head_share, fitted.bank_temperature,
    )  # fmt: skip


def test_fit_is_read_from_the_default_file(
    voices: Voices, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """alpha="fit" takes what was fitted, says how to fit where nothing was, and refuses another model's."""
    monkeypatch.setenv("CLIPFAST_FUSION", str(tmp_path / "fusion.json"))
    with pytest.raises(ArtifactError, match="clipfast fuse fit"):
        fuse_with_clip(patch("cotton", 1), BASE, alpha="fit", voices=voices)
    fitted = fit_fusion(voices, folder)
    fitted.save(tmp_path / "fusion.json")
    got = fuse_with_clip(patch("cotton", 1), BASE, alpha="fit", topk=99, voices=voices)
    asked = replace(voices, fusion=fitted.fusion())
    wanted = fuse_with_clip(patch("cotton", 1), BASE, alpha=fitted.alpha, topk=99, voices=asked)
    assert got == wanted
    msgspec.structs.replace(fitted, fingerprint="e" * 64).save(tmp_path / "fusion.json")
    with pytest.raises(ArtifactError, match="another model"):
        fuse_with_clip(patch("cotton", 1), BASE, alpha="fit", voices=voices)
    msgspec.structs.replace(fitted, rules="coarse").save(tmp_path / "fusion.json")
    with pytest.raises(ArtifactError, match="fitted with the rules coarse; these are fine"):
        fuse_with_clip(patch("cotton", 1), BASE, alpha="fit", voices=voices)
    for text, said in (
        ("{}", "holds no fitted weights"),
        ("no json", "holds no fitted weights"),
        ('{"format": 3}', "holds no fitted weights"),
        ('{"format": 2}', "format 2"),
    ):
        (tmp_path / "fusion.json").write_text(text)
        with pytest.raises(ArtifactError, match=said):
            fuse_with_clip(patch("cotton", 1), BASE, alpha="fit", voices=voices)


def test_patches_of_the_banks_photos_are_not_fitted_on(voices: Voices, folder: Path, tmp_path: Path) -> None:
    """They would find their own photo; side-cars name it, and the bank holds its checksum."""
    copy = Path(shutil.copytree(folder, tmp_path / "labeled"))
    photo = tmp_path / "ref.png"
    patch("cotton", 900).save(photo)
    for number in range(4):
        write_sidecar(
            copy / "cotton" / f"patch_{number:03}.png", Sidecar(source=os.path.relpath(photo, copy / "cotton"))
        )
    old = voices.bank.references
    sha256 = [sha256_file(photo), *old.sha256[1:]]
    bank = FabricBank(
        References(old.embeddings, old.fabrics, old.paths, sha256), voices.bank.model, clip=voices.bank.clip
    )
    with_photo = fit_fusion(replace(voices, bank=bank), copy)

    assert (with_photo.samples, with_photo.in_bank) == (44, 4)
    assert fit_fusion(voices, copy).in_bank == 0
    assert not bank.references.digests & set(with_photo.fitted_on)


def test_too_few_patches_are_not_fitted_on(voices: Voices, folder: Path, tmp_path: Path) -> None:
    """The counts say where they went."""
    for name in ("cotton", "linen"):
        (tmp_path / "few" / name).mkdir(parents=True)
        for file in sorted((folder / name).iterdir())[:4]:
            (tmp_path / "few" / name / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="Too few patches to fit on: 8 of 8 are left"):
        fit_fusion(voices, tmp_path / "few")
    with pytest.raises(ArtifactError, match="needs rules"):
        fit_fusion(replace(voices, rules=None), folder)


def test_a_stored_head_answers_for_its_model_only(folder: Path, tmp_path: Path) -> None:
    """The file of a trained head loads with the clip that made it."""
    train_head(ColourClip(), folder, options=HeadOptions(strengths=(10.0,))).head.save(tmp_path / "h.npz")
    assert LinearHead.load(tmp_path / "h.npz", ColourClip()).classes.tolist() == sorted(COLOURS)


def test_confidence_is_of_the_fitted_weights_only(voices: Voices, folder: Path) -> None:
    """With another α, share, head or rules the first share is said, and not called calibrated."""
    heads = [
        train_head(ColourClip(), folder, seed=seed, options=HeadOptions(strengths=(strength,))).head
        for seed, strength in ((0, 10.0), (1, 0.01))
    ]
    found = fit_fusion(replace(voices, head=heads[0]), folder)
    found = msgspec.structs.replace(found, alpha=0.2, head_share=0.5)
    fitted = with_alpha(replace(voices, head=heads[0]), "fit", found)

    def calibrated(asked: Voices, alpha: float | Literal["fit"] = 0.2) -> bool:
        got = fuse_with_clip(patch("cotton", 1), BASE, alpha=alpha, voices=asked)
        if not got.judgement.calibrated:
            assert got.confidence == pytest.approx(got[0].score)
        return got.judgement.calibrated

    assert calibrated(fitted)
    assert not calibrated(fitted, 1.0)
    assert not calibrated(replace(fitted, head=None))
    assert not calibrated(replace(fitted, head=heads[1]))
    assert not calibrated(replace(fitted, rules=load_rules("coarse")))
    for other in (replace(voices, head=heads[1]), voices):
        assert not calibrated(with_alpha(other, "fit", found))
    sharper = msgspec.structs.replace(found, rules_sha256="0" * 64)
    assert not calibrated(with_alpha(replace(voices, head=heads[0]), "fit", sharper))
