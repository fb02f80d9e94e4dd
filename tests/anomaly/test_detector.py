"""Tests of clipfast.anomaly.detector: scores and modes, with stand-ins and with the embedded model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from PIL import Image

from clipfast.anomaly import (
    AnomalyDetector,
    AnomalyOptions,
    MemoryOptions,
    PromptOptions,
    at_size,
    branch_maps,
    choose_shots,
    estimate_kind,
    fuse,
)
from clipfast.anomaly.kinds import place_ratio
from clipfast.datasets.fabricworld import Wishes, anomaly_samples
from clipfast.errors import ArtifactError, DataError, ImageError, NotComputedError, ShapeError
from clipfast.metrics import auroc_score
from clipfast.types import Floats, PatchFeatures
from reference.anomaly_stubs import JointStub, PatchStub, picture
from reference.detector_cases import BAD, GOOD, SMALL, fit

if TYPE_CHECKING:
    from clipfast.runtime.clip import Clip


@pytest.mark.parametrize("shots", [1, 2, 4])
@pytest.mark.parametrize("mode", ["auto", "memory_only", "memory", "calibrated_mean", "gate", "routed"])
def test_damage_is_found_and_shown_where_it_is(shots: int, mode: str) -> None:
    """Scores of damaged pictures are above intact ones, and the highest pixel lies in the red square."""
    detector = fit(images=GOOD[:shots], image_mode=mode, pixel_mode=mode)
    detector.threshold(0.01)
    scores = detector.score([*BAD, *(picture(i) for i in range(20, 24))])

    assert scores.image[:3].min() > scores.image[3:].max()
    assert scores.is_anomalous[:3].all()
    peaks = [np.unravel_index(m.argmax(), m.shape) for m in scores.pixel[:3]]
    assert all(6 <= y < 12 and 12 <= x < 18 for y, x in peaks)
    assert scores.masks[0, 9, 15]
    assert scores.pixel.shape == (7, 18, 24)
    assert len(scores) == 7


@pytest.mark.parametrize("mode", ["auto", "semantic", "memory", "max", "calibrated_harmonic"])
def test_both_branches_are_there_whatever_the_mode(mode: str) -> None:
    """Raw scores of both, with the same two figures, and the modes' own from them."""
    detector = fit(image_mode=mode, pixel_mode=mode)
    scores = detector.score(BAD)
    raw = detector.branch_maps(BAD)

    for branch in (scores.semantic, scores.memory):
        assert branch.image.shape == (3,)
        assert branch.pixel.shape == (3, 18, 24)
    np.testing.assert_allclose(scores.memory.pixel, at_size(raw.memory.pixel, (18, 24), 1.0), atol=1e-6)
    fused = fuse(raw.resized((18, 24), 1.0), detector.calibration, mode)
    np.testing.assert_allclose(scores.image, fused.image, rtol=1e-5)
    np.testing.assert_allclose(scores.pixel, fused.pixel, rtol=1e-5)


@pytest.mark.parametrize("modes", [{"image_mode": "earned"}, {"image_mode": "memory", "pixel_mode": "earned"}])
def test_the_mode_earned_tests_the_texts_as_auto_does(modes: dict[str, Any]) -> None:
    """Else its share would always be 0, and nobody would be told."""
    found, auto = fit(**modes), fit()

    assert found.fitted.evidence == auto.fitted.evidence
    assert found.fitted.evidence.share > 0
    assert auto.fitted.evidence.note in found.notes


@pytest.mark.parametrize("mode", ["auto", "earned"])
def test_the_mean_gives_texts_no_share_by_local_damage(mode: str) -> None:
    """Local copies are no test of a score that asks for changes everywhere; the note says so."""
    detector = fit(image_mode=mode, options=replace(SMALL, memory=MemoryOptions(image_score="mean")))

    assert fit(image_mode=mode).fitted.evidence.share > 0
    assert detector.fitted.evidence.share == 0
    assert any("asks for changes everywhere" in line for line in detector.notes)


def test_memory_only_never_runs_the_text_branch() -> None:
    """Neither texts nor the joint graph are asked for, and the text branch's scores are refused."""

    class Silent(JointStub):
        def encode_texts(self, texts: Any, templates: Any = None) -> Floats:
            raise AssertionError("texts were encoded")

        def encode_joint(self, images: Any) -> Any:
            raise AssertionError("the joint graph ran")

    detector = fit(Silent(), image_mode="memory_only")
    scores = detector.score(BAD)

    assert np.array_equal(scores.image, scores.memory.image)
    assert np.array_equal(scores.image, fit(image_mode="memory").score(BAD).image)
    with pytest.raises(NotComputedError, match="memory_only"):
        _ = scores.semantic


def test_an_encoder_of_patches_feeds_the_memory() -> None:
    """By default with a note; a mode that needs texts is refused."""
    detector = fit(PatchStub())

    assert detector.modes.image == "memory_only"
    assert "no text tower" in detector.notes[0]
    assert detector.score(BAD).image.min() > detector.score(GOOD).image.max()
    with pytest.raises(DataError, match='image_mode="memory_only"'):
        fit(PatchStub(), image_mode="max")


def test_images_do_not_depend_on_their_batch() -> None:
    """Scored together, one by one, and as a generator."""
    # Raw scores: calibrated ones of the stand-in multiply the last bit of its narrow texts by some thousand.
    detector, images = fit(image_mode="harmonic"), [*BAD, *GOOD] * 6  # more than one batch
    together = detector.score(images)
    alone = [detector.score(image) for image in images[:7]]

    np.testing.assert_allclose(together.image[:7], np.concatenate([a.image for a in alone]), rtol=1e-5)
    np.testing.assert_allclose(together.pixel[:7], np.concatenate([a.pixel for a in alone]), atol=1e-5)
    assert np.array_equal(detector.score(image for image in images).image, together.image)
    assert detector.score([]).pixel.shape == (0, 18, 24)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit(images=[]), DataError, "at least one intact image"),
        (lambda: fit(images=[GOOD[0], GOOD[0]]), DataError, "are one image"),
        (lambda: fit(class_name="瓶子"), DataError, "class_name"),
        (lambda: fit(image_mode="best"), DataError, "image_mode must be one of auto"),
        (lambda: fit(pixel_mode="oracle"), DataError, "for evaluations only"),
        (lambda: fit(image_mode="memory_only", pixel_mode="max"), DataError, "never runs the text branch"),
        (lambda: fit(image_mode="learned_gate"), DataError, "learned on other classes"),
        (lambda: fit(images=["/no/such.png"]), ImageError, "cannot be read"),
        (lambda: fit().score(["/no/such.png"]), ImageError, "cannot be read"),
        (lambda: fit().threshold(0), ShapeError, "fpr must be"),
        (lambda: fit().score(BAD).is_anomalous, NotComputedError, r"detector.threshold\(fpr=0.01\)"),
        (lambda: fit().score(BAD).masks, NotComputedError, "no threshold"),
        (lambda: fit(options=replace(SMALL, memory=MemoryOptions(blocks=(9,)))), ArtifactError, "9"),
        (lambda: replace(SMALL, size_hw=(0, 4)), ShapeError, "size_hw must be"),
        (lambda: replace(SMALL, seed=-1), ShapeError, "seed must be"),
        (lambda: replace(SMALL, seed=cast("int", "1")), DataError, "seed must be a whole number; got '1'"),
        (
            lambda: replace(SMALL, size_hw=cast("tuple[int, int]", 18)),
            DataError,
            "size_hw must be a tuple of 2 numbers; got 18",
        ),
        (
            lambda: replace(SMALL, size_hw=cast("tuple[int, int]", (18, 24, 3))),
            DataError,
            "size_hw must be a tuple of 2 numbers",
        ),
        (lambda: MemoryOptions(coreset=cast("float", "a")), DataError, "coreset must be a number"),
        (
            lambda: MemoryOptions(blocks=cast("tuple[int, ...]", 2)),
            DataError,
            "blocks must be a tuple of num",
        ),
        (lambda: MemoryOptions(zooms=cast("tuple[float, ...]", 1.5)), DataError, "zooms must be a tuple of numbers"),
        (lambda: MemoryOptions(projection=cast("int", 1.5)), DataError, "projection must be a whole number; got 1.5"),
        (lambda: PromptOptions(temperature=cast("float", "a")), DataError, "temperature must be a number"),
        (lambda: PromptOptions(guided=cast("int", 1.5)), DataError, "guided must be a whole number"),
        (lambda: PromptOptions(normal=()), DataError, "normal must be texts with {} in each, one at least"),
        (lambda: PromptOptions(abnormal=("broken",)), DataError, "each of abnormal must hold {} exactly once"),
        (lambda: AnomalyOptions(memory=cast("MemoryOptions", "x")), DataError, "memory must be of MemoryOptions"),
        (lambda: AnomalyOptions(progress=cast("Any", 5)), DataError, "progress must be called with"),
        (lambda: fit(options="x"), DataError, "options must be of AnomalyOptions"),
        (lambda: fit(options=replace(SMALL, learned=cast("Any", np.ones(3)))), DataError, "learned must be of TextP"),
        (lambda: choose_shots(["a"], cast("int", "1"), seed=0), DataError, "shots must be a whole number; got '1'"),
        (lambda: at_size(np.ones((1, 2, 2), np.float32), cast("Any", 3)), DataError, "size_hw must be a tuple of 2"),
        (lambda: MemoryOptions(projection=10**9), ShapeError, "projection 1 to 4096"),
        (lambda: fit(class_name=None), DataError, "class_name must name what is inspected; got None"),
        (lambda: fit().threshold(cast("float", "a")), DataError, "fpr must be a number"),
        (lambda: replace(SMALL, kind="thing"), DataError, "kind must be one of texture, object, logical"),  # type: ignore[arg-type]
    ],
)
def test_bad_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    """Each fault has its sentence."""
    with pytest.raises(error, match=message):
        call()


def test_flat_pictures_do_not_divide_by_zero() -> None:
    """Two grey cards as references: scores are finite, and a black one is NG."""
    cards = [np.full((36, 48, 3), level, np.uint8) for level in (120, 121)]
    detector = fit(images=cards)
    detector.threshold(0.01)
    scores = detector.score([np.full((36, 48, 3), 120, np.uint8), np.zeros((36, 48, 3), np.uint8)])

    assert np.isfinite(scores.image).all()
    assert np.isfinite(scores.pixel).all()
    assert scores.is_anomalous.tolist() == [False, True]


def test_many_threads_may_score() -> None:
    """Eight at once get what one gets."""
    detector = fit()
    alone = detector.score(BAD)
    with ThreadPoolExecutor(8) as pool:
        every = list(pool.map(lambda _: detector.score(BAD), range(16)))

    assert all(np.array_equal(scores.pixel, alone.pixel) for scores in every)


def test_large_maps_are_calibrated_by_a_part_of_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the pixels gives nearly the same scales, and thresholds are those of all pixels."""
    whole = fit(pixel_mode="calibrated_mean")
    monkeypatch.setattr("clipfast.anomaly.fitting.MOST_PIXELS", 20 * 18 * 24 // 10)
    part = fit(pixel_mode="calibrated_mean")

    np.testing.assert_allclose(part.score(GOOD).pixel, whole.score(GOOD).pixel, rtol=0.2, atol=0.2)
    raw = whole.fitted.holdout.maps.resized((18, 24), 1.0)
    peaks = fuse(raw, whole.calibration, "calibrated_mean").pixel.max(axis=(1, 2))
    assert whole.threshold(0.01).pixel_threshold >= peaks.max() * 0.9999


def test_objects_and_textures_are_told_apart() -> None:
    """Something in the middle of something else is an object; noise is a texture; one cell says nothing."""
    rng = np.random.default_rng(0)
    texture = rng.normal(size=(2, 64, 5)).astype(np.float32) + 3
    middle = texture.reshape(2, 8, 8, 5).copy()
    middle[:, 2:6, 2:6, 0] += 12

    assert estimate_kind(PatchFeatures({3: texture}, (8, 8))) == "texture"
    assert estimate_kind(PatchFeatures({3: middle.reshape(2, 64, 5)}, (8, 8))) == "object"
    assert place_ratio(texture[:, :1], (1, 1)) == 0


@pytest.fixture(scope="module")
def pieces() -> list[Any]:
    """Pieces of one denim: 12 intact ones and 3 of each of three defects."""
    wishes = Wishes(fabric="denim", defects=["hole", "stain", "missing stitches"])
    return list(anomaly_samples(500_000_011, good=12, each=3, wishes=wishes))


def test_the_embedded_model_finds_damage_in_cloth(mini: Clip, pieces: list[Any]) -> None:
    """Four references, images and pixels; by name and in Chinese the same."""
    test, labels = pieces[4:], np.array([piece.label != "good" for piece in pieces[4:]]).astype(int)
    masks = np.stack([piece.mask for piece in test])
    options = AnomalyOptions(size_hw=(224, 224))
    images = [piece.image for piece in pieces[:4]]
    detector = AnomalyDetector.fit(mini, images, class_name="denim", options=options)
    scores = detector.score([piece.image for piece in test])

    assert auroc_score(labels, scores.image) > 0.8
    assert auroc_score(labels, scores.memory.image) > 0.8
    assert auroc_score(masks.ravel(), scores.pixel.ravel()) > 0.85
    chinese = AnomalyDetector.fit(mini, images, class_name="牛仔布", options=options)
    assert np.array_equal(chinese.score([piece.image for piece in test]).image, scores.image)


def test_pictures_as_files_are_the_same(mini: Clip, pieces: list[Any], tmp_path: Path) -> None:
    """PNG files give the scores of the arrays, and their names are in the manifest."""
    paths = []
    for number, piece in enumerate(pieces[:3]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(piece.image).save(paths[-1])
    by_file = AnomalyDetector.fit(mini, paths[:2], class_name="denim")
    by_array = AnomalyDetector.fit(mini, [piece.image for piece in pieces[:2]], class_name="denim")

    np.testing.assert_allclose(
        by_file.score(paths[2]).memory.pixel, by_array.score(pieces[2].image).memory.pixel, atol=1e-6
    )
    assert {shot.name for shot in by_file.manifest.shots} == {path.as_posix() for path in paths[:2]}


def test_the_joint_graph_and_that_of_patches_agree(mini: Clip, pieces: list[Any]) -> None:
    """memory_only runs another graph, and its scores are those of the memory."""
    images = [piece.image for piece in pieces[:4]]
    full = AnomalyDetector.fit(mini, images[:2], class_name="denim")
    only = AnomalyDetector.fit(mini, images[:2], class_name="denim", image_mode="memory_only")

    np.testing.assert_allclose(full.score(images[2:]).memory.pixel, only.score(images[2:]).pixel, atol=1e-6)


def test_branch_maps_need_what_they_compare(mini: Clip, pieces: list[Any]) -> None:
    """Prompts with patch features alone are refused."""
    detector = AnomalyDetector.fit(mini, [piece.image for piece in pieces[:2]], class_name="denim")
    patches = mini.encode_patches([pieces[2].image])
    with pytest.raises(ArtifactError, match="needs embeddings"):
        branch_maps(patches, detector.fitted.bank, detector.fitted.prompts)
