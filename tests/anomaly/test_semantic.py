"""Tests of clipfast.anomaly.semantic and clipfast.anomaly.prompting."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.anomaly.options import LEGACY_TEMPERATURE, PromptOptions
from clipfast.anomaly.prompting import build_prompts, choose_phrases, english_class_name, load_prompt_features
from clipfast.anomaly.semantic import TextPrompts, log_odds, semantic_scores, unit_rows
from clipfast.errors import ArtifactError, DataError, FingerprintError, ShapeError
from clipfast.prompts import ABNORMAL_STATES, CLASS_STATES, FABRIC_STATES, INSPECTION, NORMAL_STATES
from clipfast.types import Floats
from reference.anomaly_stubs import JointStub
from reference.naive_anomaly import semantic_score


def rows(*shape: int, seed: int = 0) -> Floats:
    """Seeded unit rows."""
    return unit_rows(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("pooling", ["mean", "best"])
@pytest.mark.parametrize("temperature", [1.0, 0.1, LEGACY_TEMPERATURE])
def test_scores_are_those_of_the_definition(pooling: Any, temperature: float) -> None:
    """Images by the mean of each group; patches by the mean or by the best prompt of each, against the naive twin."""
    normal, abnormal, embedding = rows(3, 8, seed=1), rows(4, 8, seed=2), rows(2, 8, seed=3)
    tokens = np.random.default_rng(4).normal(size=(2, 6, 8)).astype(np.float32)
    found = semantic_scores(embedding, tokens, (2, 3), TextPrompts(normal, abnormal, temperature, pooling))
    means = [[unit_rows(group.mean(axis=0))] for group in (normal, abnormal)]
    groups = means if pooling == "mean" else [list(normal), list(abnormal)]

    for i in range(2):
        twin_of_image = semantic_score(embedding[i], means[0], means[1], temperature)
        assert found.image[i] == pytest.approx(twin_of_image, abs=1e-5)
        twin = [semantic_score(token, groups[0], groups[1], temperature) for token in tokens[i]]
        np.testing.assert_allclose(found.pixel[i].ravel(), twin, atol=1e-5)


def test_swapping_the_groups_swaps_the_shares() -> None:
    """Both shares sum to one."""
    prompts = TextPrompts(rows(3, 8, seed=1), rows(4, 8, seed=2), 0.05)
    swapped = TextPrompts(prompts.abnormal, prompts.normal, 0.05)
    embedding, tokens = rows(5, 8, seed=3), rows(5, 6, 8, seed=4)
    one, other = (semantic_scores(embedding, tokens, (2, 3), p) for p in (prompts, swapped))

    np.testing.assert_allclose(one.pixel + other.pixel, 1, atol=1e-6)
    np.testing.assert_allclose(one.image + other.image, 1, atol=1e-6)


def test_the_original_temperature_flattens_the_scores() -> None:
    """With ln 100 instead of 100, cosines that differ by 0.1 give shares between 0.38 and 0.62."""
    texts = np.array([[1, 0], [0, 1]], np.float32)
    tokens = unit_rows(np.array([[[0.7, 0.7 + gap] for gap in (-0.14, 0, 0.14)]], np.float32))
    assert np.abs(tokens[0] @ (texts[1] - texts[0])).max() == pytest.approx(0.14 / np.sqrt(2 * 0.63**2), abs=0.02)
    found = semantic_scores(rows(1, 2), tokens, (1, 3), TextPrompts(texts[:1], texts[1:], LEGACY_TEMPERATURE))
    sharp = semantic_scores(rows(1, 2), tokens, (1, 3), TextPrompts(texts[:1], texts[1:], 0.01))

    assert 1 / math.log(100) == LEGACY_TEMPERATURE
    assert found.pixel.max() - found.pixel.min() < 0.4
    assert sharp.pixel.max() - sharp.pixel.min() > 0.99


def test_log_odds_undo_the_softmax() -> None:
    """They are the difference of cosines over the temperature, and finite at the ends."""
    shares = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)

    np.testing.assert_allclose(log_odds(shares)[1:4], [-math.log(3), 0, math.log(3)], atol=1e-6)
    assert np.isfinite(log_odds(shares)).all()


@pytest.mark.parametrize(
    ("name", "english"),
    [
        ("denim", "denim"),
        ("牛仔布", "denim"),
        ("红色牛仔布", "red denim fabric"),
        ("metal_nut", "metal nut"),
        (" bottle ", "bottle"),
    ],
)
def test_class_names_become_english(name: str, english: str) -> None:
    """Chinese names by the table, others as they are."""
    assert english_class_name(name) == english


@pytest.mark.parametrize("name", ["", "瓶子", "Flasche für Öl"])
def test_names_that_the_text_tower_cannot_read_are_refused(name: str) -> None:
    """Empty ones and what is in no table."""
    with pytest.raises(DataError, match="class_name"):
        english_class_name(name)


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("tartan", (*ABNORMAL_STATES, *FABRIC_STATES)),
        ("红色牛仔布", (*ABNORMAL_STATES, *FABRIC_STATES)),
        ("metal_nut", (*ABNORMAL_STATES, *CLASS_STATES["metal nut"])),
        ("teapot", ABNORMAL_STATES),
    ],
)
def test_prompts_hold_what_is_known_of_a_class(name: str, states: tuple[str, ...]) -> None:
    """General states, and those of fabrics or of the product."""
    english = english_class_name(name)
    prompts = build_prompts(JointStub(), name, PromptOptions())
    texts = [state.replace("{}", english) for state in (*NORMAL_STATES, *states)]

    assert list(prompts.texts) == texts
    assert (len(prompts.normal), len(prompts.abnormal)) == (len(NORMAL_STATES), len(states))
    assert prompts.temperature == 0.01  # the stub does not tell its own


def test_chinese_states_are_those_of_the_table() -> None:
    """A hole and missing stitches, with and without an article."""
    options = PromptOptions(abnormal=("{}破洞", "漏针{}"), class_states=False)

    assert build_prompts(JointStub(), "denim", options).texts[-2:] == (
        "denim with a hole",
        "denim with missing stitches",
    )
    with pytest.raises(DataError, match="a state must be English"):
        build_prompts(JointStub(), "denim", PromptOptions(abnormal=("{}坏",)))


def test_the_models_own_temperature_is_taken(mini: Any) -> None:
    """One over the logit scale; an explicit one and the original's mistake come first."""
    own = 1 / mini.manifest.model.logit_scale

    assert build_prompts(mini, "denim", PromptOptions()).temperature == pytest.approx(own)
    assert build_prompts(mini, "denim", PromptOptions(temperature=0.07)).temperature == 0.07
    assert build_prompts(mini, "denim", PromptOptions(legacy_temperature=True)).temperature == LEGACY_TEMPERATURE


class PhraseStub(JointStub):
    """Each phrase has a direction of its own."""

    def encode_texts(self, texts: Any, templates: Any = None) -> Floats:
        directions = {"smooth": 0, "rough": 1, "glossy": 2}
        return np.array([[0.1 + (directions.get(t.split()[-1]) == i) for i in range(3)] for t in texts], np.float32)


def test_phrases_are_chosen_by_the_supports_patches() -> None:
    """The phrase whose direction the patches share comes first, and joins both groups."""
    tokens = np.tile(np.array([0.2, 1, 0.6], np.float32), (2, 4, 1))
    options = PromptOptions(guided=2, phrases=("smooth", "rough", "glossy"))

    assert choose_phrases(PhraseStub(), options, "cloth", tokens) == ("rough", "glossy")
    prompts = build_prompts(PhraseStub(), "cloth", options, tokens)
    assert prompts.texts[len(NORMAL_STATES) : len(NORMAL_STATES) + 2] == ("cloth with rough", "cloth with glossy")
    assert prompts.texts[-1] == "cloth with damaged glossy"
    with pytest.raises(DataError, match="need the support's patch tokens"):
        build_prompts(PhraseStub(), "cloth", options)


def test_learned_features_are_read_and_scaled(tmp_path: Path) -> None:
    """Half precision and any length; another model's are refused."""
    path = tmp_path / "prompts.npz"
    np.savez(path, normal=rows(2, 4) * 3, abnormal=rows(1, 4).astype(np.float16), fingerprint=np.array("a" * 64))
    prompts = load_prompt_features(path, temperature=0.02, fingerprint="a" * 64)

    np.testing.assert_allclose(prompts.normal, rows(2, 4), atol=1e-6)
    assert prompts.temperature == 0.02
    assert prompts.abnormal.dtype == np.float32
    with pytest.raises(FingerprintError):
        load_prompt_features(path, fingerprint="b" * 64)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"normal": np.ones((2, 4))}, "abnormal"),  # one group is missing
        ({"normal": np.ones((2, 4)), "abnormal": np.ones((2, 5))}, "two groups of rows"),
        ({"normal": np.ones((2, 4)), "abnormal": np.full((1, 4), np.nan)}, "finite rows"),
        ({"normal": np.ones((2, 4)), "abnormal": np.zeros((1, 4))}, "row of zeros"),
        ({"normal": np.ones((2, 4), int), "abnormal": np.ones((1, 4))}, "finite rows"),
        ({"normal": np.array([{}]), "abnormal": np.ones((1, 4))}, "allow_pickle"),  # must not be unpickled
    ],
)
def test_files_that_hold_no_features_are_refused(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Each with its reason."""
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ArtifactError, match=message):
        load_prompt_features(tmp_path / "bad.npz")


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    """No file, and one that is no .npz."""
    (tmp_path / "text.npz").write_text("no")
    for path, message in ((tmp_path / "no.npz", "No prompt features"), (tmp_path / "text.npz", "does not hold")):
        with pytest.raises(ArtifactError, match=message):
            load_prompt_features(path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"temperature": 0}, ShapeError, "positive"),
        ({"temperature": 0.1, "legacy_temperature": True}, DataError, "not both"),
        ({"pooling": "sum"}, DataError, "pooling must be one of mean, best"),
        ({"guided": 99}, ShapeError, "number of phrases"),
        ({"normal": ()}, DataError, "one at least"),
        ({"templates": ("a photo",)}, DataError, "exactly once"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each fault has its sentence."""
    with pytest.raises(error, match=message):
        PromptOptions(**options)


def test_shapes_that_do_not_fit_are_named() -> None:
    """Tokens of another width."""
    with pytest.raises(ShapeError, match="of the prompts' e = 8"):
        semantic_scores(rows(1, 4), rows(1, 6, 4), (2, 3), TextPrompts(rows(1, 8), rows(1, 8), 0.1))


def test_templates_go_around_every_state() -> None:
    """The texts are encoded within the inspection templates."""
    seen: list[Any] = []

    class Spy(JointStub):
        def encode_texts(self, texts: Any, templates: Any = None) -> Floats:
            seen.append(templates)
            return super().encode_texts(texts, templates)

    build_prompts(Spy(), "denim", PromptOptions())
    assert seen == [INSPECTION]
