"""The linear head: training, calibration, the file, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from clipfast.errors import ArtifactError, DataError, FingerprintError, ShapeError
from clipfast.metrics import wilson_interval
from clipfast.retrieval.head import HeadOptions, LinearHead
from clipfast.retrieval.voices import smoothed_temperature
from clipfast.storage import load_sealed_npz, save_sealed_npz
from clipfast.types import Floats, Images

QUICK = HeadOptions(strengths=(1.0, 100.0), folds=3)


class Encoder:
    """Stands in for a model, of which only the identity counts here."""

    name = "stand-in"

    def __init__(self, fingerprint: str = "a" * 64, precision: str = "fp32") -> None:
        self._fingerprint, self.precision = fingerprint, precision

    def fingerprint(self, output: str = "embedding") -> str:
        return self._fingerprint

    def encode_images(self, images: Images) -> Floats:
        raise NotImplementedError


def patches(seed: int = 0, *, each: int = 10, spread: float = 0.5) -> tuple[Floats, list[str]]:
    """Draw embeddings of three fabrics."""
    names = ["cotton", "silk", "羊毛"]
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.eye(3, 16), each, axis=0) + spread * rng.normal(size=(3 * each, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), [
        n for n in names for _ in range(each)
    ]


def test_a_head_learns_and_its_probabilities_are_calibrated() -> None:
    """New rows are told as well as cross-validation says, and confidence is what comes true."""
    rows, labels = patches(each=30, spread=0.35)
    head = LinearHead.fit(rows, labels, seed=0, options=QUICK)
    new, truth = patches(1, each=400, spread=0.35)
    probs = head.predict_proba(new)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    right = float((head.predict(new) == np.array(truth)).mean())
    assert head.report is not None
    accuracy = head.report.accuracy
    assert accuracy.low <= right <= accuracy.high
    assert abs(float(probs.max(axis=1).mean()) - right) < 0.06
    assert head.classes.tolist() == ["cotton", "silk", "羊毛"]


def test_equal_seeds_give_equal_files_and_the_file_comes_back(tmp_path: Path) -> None:
    """Same rows, same seed: the same bytes; what is read predicts the same to the last bit."""
    rows, labels = patches()
    heads = [
        LinearHead.fit(rows, labels, seed=4, clip=Encoder(), options=QUICK).trained_with(["ab" * 32]) for _ in "ab"
    ]
    for name, head in zip("ab", heads, strict=True):
        head.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with np.load(tmp_path / "a", allow_pickle=False) as plain:
        assert plain["weights"].shape == (3, 16)
    back = LinearHead.load(tmp_path / "a", Encoder())
    assert np.array_equal(back.predict_proba(rows), heads[0].predict_proba(rows))
    assert back.report == heads[0].report
    assert back.trained_on == ("ab" * 32,)


def test_patches_of_one_photo_do_not_flatter_the_accuracy() -> None:
    """Labels that say nothing: repeated rows look learnable, until groups keep them on one side."""
    rng = np.random.default_rng(0)
    photos = rng.normal(size=(40, 16))
    rows = np.repeat(photos / np.linalg.norm(photos, axis=1, keepdims=True), 3, axis=0).astype(np.float32)
    labels = np.repeat(np.array(["cotton", "silk"])[np.arange(40) % 2], 3)
    groups = np.repeat(np.arange(40), 3)
    options = HeadOptions(strengths=(1000.0,))
    alone = LinearHead.fit(rows, labels, options=options).report
    together = LinearHead.fit(rows, labels, groups=groups.tolist(), options=options).report
    assert alone is not None
    assert together is not None
    assert alone.accuracy.estimate > 0.9
    assert together.accuracy.estimate < 0.7
    of_photos = wilson_interval(round(together.accuracy.estimate * 40), 40)  # copies are all answered alike
    assert (together.accuracy.low, together.accuracy.high) == pytest.approx((of_photos.low, of_photos.high))


def test_rare_classes_count_as_much_as_frequent_ones() -> None:
    """With balanced weights a class of six among ninety is found more often than with equal ones."""
    rows, labels = patches(each=60, spread=0.6)
    keep = [at for at, name in enumerate(labels) if name != "silk" or at < 66]
    few, names = rows[keep], [labels[at] for at in keep]
    new, truth = patches(5, each=200, spread=0.6)
    recall = {
        kind: (LinearHead.fit(few, names, options=HeadOptions((1.0,), class_weight=kind)).predict(new) == "silk")[
            np.array(truth) == "silk"
        ].mean()
        for kind in ("balanced", "equal")
    }
    assert recall["balanced"] > recall["equal"] + 0.1


def test_integers_may_be_labels(tmp_path: Path) -> None:
    """Numbers come back as numbers, from the file too."""
    rows, labels = patches()
    numbers = [["cotton", "silk", "羊毛"].index(name) * 10 for name in labels]
    head = LinearHead.fit(rows, numbers, options=QUICK)
    head.save(tmp_path / "h.npz")
    assert set(LinearHead.load(tmp_path / "h.npz").predict(rows).tolist()) <= {0, 10, 20}


def test_a_class_of_one_photo_is_trained_on_and_named() -> None:
    """It is never held out, and the report says so."""
    rows, labels = patches()
    report = LinearHead.fit(rows, [*labels[:-1], "linen"], options=QUICK).report
    assert report is not None
    assert report.never_held_out == ("linen",)
    assert report.counts["linen"] == 1
    assert report.per_class["linen"] == (0, 0)


def test_ranking_is_sorted_by_probability() -> None:
    """The first is the prediction, and all classes come if asked for more."""
    rows, labels = patches()
    head = LinearHead.fit(rows, labels, options=QUICK)
    ranked = head.rank(rows[0], topk=9)
    assert ranked[0].id == head.predict(rows[:1])[0]
    assert sum(r.score for r in ranked) == pytest.approx(1)
    with pytest.raises(ShapeError, match="one row"):
        head.rank(rows[:2])


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "there are 0, and at least 20"),
        (12, r"there are 12 \(silk 2, cotton 10\), and at least 20 are needed, 5-10 of each class.* Label 8 more"),
    ],
)
def test_too_few_samples_are_refused_with_what_to_do(count: int, words: str) -> None:
    """The source's words, how many of each class there are, how many are needed, and what works until then."""
    rows, labels = patches()
    with pytest.raises(DataError, match="Too few samples to train") as caught:
        LinearHead.fit(rows[:count], labels[:count])
    assert caught.match(words)
    assert caught.match("the bank alone")


def test_other_bad_input_is_named() -> None:
    """One class, lengths that differ, rows that are no unit rows, floats as labels."""
    rows, labels = patches()
    with pytest.raises(DataError, match="two or more; all 30 samples are of cotton 30"):
        LinearHead.fit(rows, ["cotton"] * 30)
    with pytest.raises(ShapeError, match="one for each of 30 embeddings; got 29"):
        LinearHead.fit(rows, labels[:-1])
    with pytest.raises(ShapeError, match="unit rows"):
        LinearHead.fit(rows * 2, labels)
    with pytest.raises(ShapeError, match="texts or integers"):
        LinearHead.fit(rows, [0.5] * 30)
    with pytest.raises(ShapeError, match="groups must be one for each"):
        LinearHead.fit(rows, labels, groups=[1])
    with pytest.raises(DataError, match="one only"):
        LinearHead.fit(rows, labels, groups=[0] * 30)
    with pytest.raises(ShapeError, match="strengths"):
        HeadOptions(strengths=())


def test_another_models_head_is_refused(tmp_path: Path) -> None:
    """Fingerprint and precision are compared; a head of nobody's embeddings is refused where a model is named."""
    rows, labels = patches()
    LinearHead.fit(rows, labels, clip=Encoder(), options=QUICK).save(tmp_path / "h.npz")
    with pytest.raises(FingerprintError, match="another model"):
        LinearHead.load(tmp_path / "h.npz", Encoder("b" * 64))
    with pytest.raises(ArtifactError, match="precision fp32; this model runs int8"):
        LinearHead.load(tmp_path / "h.npz", Encoder(precision="int8"))
    LinearHead.load(tmp_path / "h.npz", Encoder(precision="int8"), accept_precision=True)
    LinearHead.fit(rows, labels, options=QUICK).save(tmp_path / "nobody.npz")
    with pytest.raises(ArtifactError, match="does not say which model"):
        LinearHead.load(tmp_path / "nobody.npz", Encoder())


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Missing, of another kind, of another version, with arrays that do not fit."""
    rows, labels = patches()
    path = tmp_path / "h.npz"
    with pytest.raises(ArtifactError, match="clipfast head train"):
        LinearHead.load(path)
    LinearHead.fit(rows, labels, options=QUICK).save(path)
    arrays = load_sealed_npz(path, kind="head")
    meta = msgspec.json.decode(str(arrays["meta"]))
    broken = {
        "it has no bias": {name: array for name, array in arrays.items() if name != "bias"},
        "format 9": arrays | {"meta": np.array(msgspec.json.encode(meta | {"format": 9}).decode())},
        "temperature must be above 0": arrays
        | {"meta": np.array(msgspec.json.encode(meta | {"temperature": -1}).decode())},
        "weights must be finite": arrays | {"weights": arrays["weights"] * np.nan},
        "bias must be": arrays | {"bias": arrays["bias"][:2]},
        "classes must be 3 different": arrays | {"classes": np.array(["a", "a", "b"])},
        "trained_on must be": arrays | {"trained_on": np.zeros((2, 31), np.uint8)},
    }
    for words, changed in broken.items():
        save_sealed_npz(path, changed)
        with pytest.raises(ArtifactError, match=words):
            LinearHead.load(path)


def test_predicting_needs_no_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored head is NumPy alone."""
    rows, labels = patches()
    LinearHead.fit(rows, labels, options=QUICK).save(tmp_path / "h.npz")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert LinearHead.load(tmp_path / "h.npz").predict_proba(rows).shape == (30, 3)


def test_the_smoothed_temperature_nears_the_plain_one_as_answers_grow_many() -> None:
    """Against the metric's own fit; all right is finite, knowing nothing is all but equal shares."""
    from clipfast.metrics import apply_temperature, fit_temperature

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 4000)
    logits = 3 * np.eye(4)[truth] + 1.5 * rng.normal(size=(4000, 4))
    assert smoothed_temperature(truth, logits) == pytest.approx(fit_temperature(truth, logits), rel=2e-3)
    assert 0 < smoothed_temperature(truth[:5], np.eye(4)[truth[:5]]) < 1
    wrong = smoothed_temperature((truth + 1) % 4, np.eye(4)[truth])
    assert np.ptp(apply_temperature(np.eye(4), wrong)) < 1e-5
    assert smoothed_temperature(truth, np.zeros((4000, 4))) == 1.0
    with pytest.raises(ShapeError, match="in 0"):
        smoothed_temperature(np.array([4]), np.zeros((1, 4)))
