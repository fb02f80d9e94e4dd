"""Experiments: one factor at a time, and conclusions that follow from what was put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.datasets.fabricworld import render
from clipfast.diagnostics.experiments import (
    Factors,
    HeadData,
    augmentation_shift,
    cleaning,
    compare_arms,
    context_ablation,
    cross_dataset,
    few_shot_curve,
    imputation,
    localisation_probe,
    modality_drop,
    noise_injection,
    prompt_knowledge,
    read_knowledge,
    relation_probe,
    run_factors,
)
from clipfast.diagnostics.experiments.heads import label_suspicion
from clipfast.errors import DataError, ShapeError
from clipfast.runtime.clip import Clip
from clipfast.types import Floats, Images

CENTRES = np.random.default_rng(0).normal(size=(5, 12))


def _samples(count: int, seed: int, spread: float = 0.9, move: float = 0.0) -> tuple[Floats, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, count)
    turned = np.roll(CENTRES, 1, axis=1) if move else CENTRES
    rows = (1 - move) * CENTRES[labels] + move * turned[labels] + spread * rng.normal(size=(count, 12))
    return rows.astype(np.float32), labels


def _data(**changes: Any) -> HeadData:
    train, train_labels = _samples(200, 1)
    test, test_labels = _samples(200, 2)
    return HeadData(
        **(
            {"train": train, "train_labels": train_labels, "test": test, "test_labels": test_labels, "classes": 5}
            | changes
        )
    )


def test_arms_are_compared_by_sample() -> None:
    """Means, spreads over seeds, differences and corrected p-values, beside what they must be."""
    rng = np.random.default_rng(0)
    base = (rng.random((3, 100)) < 0.5).astype(float)
    better = np.maximum(base, rng.random((3, 100)) < 0.6)

    found = compare_arms("e", {"same": base, "base": base, "better": better}, "base")

    assert [arm.name for arm in found.arms] == ["base", "same", "better"]
    arm = found.arm("better")
    assert arm.mean == pytest.approx(better.mean())
    assert arm.std == pytest.approx(better.mean(axis=1).std(ddof=1))
    assert arm.difference is not None
    assert arm.difference.estimate == pytest.approx(better.mean() - base.mean())
    assert [arm.p_value, arm.p_holm] == pytest.approx([1 / 2000, 2 / 2000])
    assert found.arm("same").p_holm == 1.0
    assert "better" in found.says
    with pytest.raises(DataError, match="arm must be one of base, same, better"):
        found.arm("worse")
    with pytest.raises(ShapeError, match="baseline"):
        compare_arms("e", {"a": base}, "b")
    with pytest.raises(ShapeError, match="the same two samples"):
        compare_arms("e", {"a": base, "b": base[:, :50]}, "a")


def test_one_factor_at_a_time() -> None:
    """Two changes at once, none, and unknown factors are refused; runs hold every single change."""
    factors = Factors({"clean": [True], "head": ["svm", "ridge"]}, {"clean": False, "head": "ridge", "size": 1})

    assert list(factors.runs()) == ["baseline", "clean = True", "head = svm"]
    assert factors.require_one({"clean": True, "head": "ridge", "size": 1}) == "clean"
    for settings, message in (
        ({"clean": True, "head": "svm", "size": 1}, "one factor may be changed at a time; clean, head"),
        ({"clean": False, "head": "ridge", "size": 1}, "none differ"),
        ({"clean": True}, "settings must name exactly"),
    ):
        with pytest.raises(DataError, match=message):
            factors.require_one(settings)
    with pytest.raises(DataError, match="every factor needs a baseline"):
        Factors({"depth": [1]}, {"clean": True})


def test_factors_are_run_with_every_seed() -> None:
    """Each run gets its settings and seed; the arm that helps is the one that was made to."""
    called: list[tuple[bool, int]] = []

    def run(settings: Mapping[str, Any], seed: int) -> Any:
        called.append((settings["clean"], seed))
        return np.random.default_rng(seed).random(200) < (0.9 if settings["clean"] else 0.6)

    found = run_factors("f", Factors({"clean": [True]}, {"clean": False}), run, seeds=(0, 1))

    assert called == [(False, 0), (False, 1), (True, 0), (True, 1)]
    assert found.arm("clean = True").p_holm is not None
    assert found.arm("clean = True").p_holm < 0.01  # type: ignore[operator]
    with pytest.raises(DataError, match="needs a seed"):
        run_factors("f", Factors({"clean": [True]}, {"clean": False}), run, seeds=())


def test_injected_noise_costs_accuracy() -> None:
    """More noise, less accuracy; rates out of range are refused."""
    found = noise_injection(_data(), rates=(0.1, 0.6))

    assert found.arms[0].mean > found.arm("60% wrong labels").mean
    assert found.arm("60% wrong labels").p_holm is not None
    assert found.arm("60% wrong labels").p_holm < 0.05  # type: ignore[operator]
    with pytest.raises(ShapeError, match="rates must be in"):
        noise_injection(_data(), rates=(1.0,))


def test_cleaning_drops_the_wrong_ones() -> None:
    """Most suspects are wrong labels; dropping them helps, dropping random ones does not."""
    data = _data()
    labels = data.train_labels.copy()
    labels[:60] = (labels[:60] + 1) % 5
    noisy = _data(train_labels=labels)
    suspicion = label_suspicion(noisy.train, labels, 5)
    found = cleaning(noisy, share=0.3)

    assert np.mean(np.argsort(-suspicion)[:60] < 60) > 0.7
    assert found.arm("without suspects").mean > found.arms[0].mean + 0.03
    assert found.arm("without suspects").mean > found.arm("without random ones").mean
    with pytest.raises(ShapeError, match="share must drop"):
        cleaning(noisy, share=0.0)


def test_a_few_samples_of_a_new_domain_help() -> None:
    """Where the domain moved, accuracy drops and shots win it back."""
    pool, pool_labels = _samples(200, 3, move=1.0)
    test, test_labels = _samples(200, 4, move=1.0)
    drop = cross_dataset(_data(), test, test_labels)
    curve = few_shot_curve(_data(test=test, test_labels=test_labels), pool, pool_labels, shots=(1, 20))

    assert drop.apart
    assert drop.drop > 0.2
    assert curve.arm("20 shots").mean > curve.arms[0].mean + 0.1
    assert curve.arms[0].mean == pytest.approx(drop.new_accuracy.estimate)


def test_modalities_dropped_and_filled_in() -> None:
    """With an image that says little, the text decides; filling in texts by images that know the class helps."""
    images = _data()
    texts = _data(train=_samples(200, 5)[0] * 0 + images.train, test=images.test)
    weak = np.random.default_rng(0).normal(size=images.train.shape).astype(np.float32)
    blind = HeadData(weak, images.train_labels, weak.copy(), images.test_labels, 5)

    found = modality_drop(blind, texts)
    assert found.arm("plain: image only").mean < 0.5 < found.arm("plain: text only").mean
    filled = imputation(images, texts, missing=1.0)
    assert filled.arm("complete").mean > filled.arms[0].mean
    assert filled.arms[0].name == "missing"
    with pytest.raises(ShapeError, match="the same samples"):
        imputation(images, _data(test_labels=(images.test_labels + 1) % 5))


class Words:
    """Embeds a text as the sum of its words' rows, and an image as the text that it stands for."""

    def __init__(self) -> None:
        self.rows: dict[str, Floats] = {}

    def encode_texts(self, texts: Sequence[str], templates: Sequence[str] | None = None) -> Floats:
        found = np.stack(
            [np.sum([self._row(word) for word in text.split()] or [np.full(32, 1e-3)], axis=0) for text in texts]
        )
        unit: Floats = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def encode_images(self, images: Images) -> Floats:
        """Tell a picture's colour by its brightest channel."""
        names = ["red", "green", "blue"]
        assert isinstance(images, list)
        pictures = [np.asarray(image).reshape(-1, 3) for image in images]
        return self.encode_texts([names[int(picture.mean(axis=0).argmax())] for picture in pictures])

    def fingerprint(self, output: str = "embedding") -> str:
        return "words"

    def _row(self, word: str) -> Floats:
        if word not in self.rows:
            rng = np.random.default_rng(len(self.rows))
            self.rows[word] = rng.normal(size=32).astype(np.float32)
        return self.rows[word]


def test_context_ablation_finds_what_counts() -> None:
    """Where only the context differs, the keyword alone is a guess; where only the keyword does, the context is."""
    words = Words()
    texts = [f"the bank {place}" for place in ("of the river", "with money", "in a game", "of data")]
    found = context_ablation(words, words.encode_texts(texts), texts, ["bank"] * 4)

    assert found.arms[0].mean == 1.0
    assert found.arm("keyword only").mean == pytest.approx(0.25)
    assert found.arm("context only").mean == 1.0
    with pytest.raises(DataError, match="a keyword must occur in its text"):
        context_ablation(words, words.encode_texts(texts), texts, ["tree"] * 4)


def test_knowledge_helps_where_words_are_missing(tmp_path: Path) -> None:
    """A class whose pictures are called otherwise is found by its synonym; files are checked."""
    words = Words()
    images = words.encode_texts(["atlas"] * 20 + ["felt"] * 20)
    (tmp_path / "k.toml").write_text('satin = ["atlas"]\n')
    labels = np.repeat([0, 1], 20)
    found = prompt_knowledge(words, images, labels, ["satin", "felt"], read_knowledge(tmp_path / "k.toml"))

    assert found.arm("names and knowledge").mean == 1.0
    with pytest.raises(DataError, match="knowledge must be of the classes satin, felt; got 'silk'"):
        prompt_knowledge(words, images, labels, ["satin", "felt"], {"silk": ["a"]})
    (tmp_path / "bad.toml").write_text("satin = 3\n")
    with pytest.raises(DataError, match="satin must be a list of texts"):
        read_knowledge(tmp_path / "bad.toml")


def test_regions_are_told_apart() -> None:
    """The red half of a picture is what "red" means; boxes outside are refused."""
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10, 0] = image[:, 10:, 2] = 255
    boxes = np.array([[0, 0, 10, 10], [10, 0, 20, 10]])
    found = localisation_probe(Words(), [image] * 12, [boxes] * 12, ["red", "blue"] * 6, [0, 1] * 6)

    assert found.arm("chosen").mean == 1.0
    assert found.arms[0].mean == 0.5
    with pytest.raises(ShapeError, match="must lie inside the picture of 20 x 10"):
        localisation_probe(Words(), [image], [boxes + 5], ["red"], [0])


def test_light_that_hides_colours_is_noticed() -> None:
    """Warm light turns green pictures red for a judge of the brightest channel; darkness does not matter."""
    pictures = [np.full((8, 8, 3), (100, 120, 40), np.uint8)] * 20
    found = augmentation_shift(
        Words(), pictures, np.ones(20, np.int64), ["red", "green", "blue"], shifts=("dark", "warm light")
    )

    assert [arm.mean for arm in found.arms] == [1.0, 1.0, 0.0]
    assert found.arm("warm light").p_holm is not None
    assert found.arm("warm light").p_holm < 0.01  # type: ignore[operator]


def test_relations_with_a_reader_and_a_bag_of_words(mini: Clip) -> None:
    """A bag of words is undecided between two orders; the embedded model gives shares in [0, 1]."""
    bag = relation_probe(Words(), scenes=4, relations=("left of", "on"))
    found = relation_probe(mini, scenes=4)

    assert [score.undecided for score in bag] == [4, 4]
    assert [score.accuracy.estimate for score in bag] == [0.5, 0.5]
    assert [score.relation for score in found] == ["left of", "right of", "on", "count"]
    assert all(0 <= score.accuracy.estimate <= 1 for score in found)
    with pytest.raises(ShapeError, match="scenes must be at least 1"):
        relation_probe(mini, scenes=0)


def test_shifts_of_the_embedded_model(mini: Clip) -> None:
    """Every shift and another background give an arm over the same pictures."""
    pictures = [render(i, fabric=name, size=64).image for i, name in enumerate(["denim", "lace"] * 3)]
    found = augmentation_shift(
        mini, pictures, np.array([0, 1] * 3), ["a photo of denim fabric", "a photo of lace fabric"],
        backgrounds=pictures[::-1],
    )  # fmt: skip

    assert len(found.arms) == 9
    assert {arm.samples for arm in found.arms} == {6}
