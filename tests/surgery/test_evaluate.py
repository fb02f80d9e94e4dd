"""The evaluation of known maps, in every geometry; and of the embedded model, from files to figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets.box_records import BoxSet
from clipfast.datasets.box_samples import read_boxes
from clipfast.errors import DataError, ImageError
from clipfast.kernels import box_iou
from clipfast.prompts import PLAIN
from clipfast.runtime.clip import Clip
from clipfast.surgery import EdgeAware, heatmaps
from clipfast.surgery.box_sources import ImageRegions
from clipfast.surgery.evaluate import evaluate_localisation, measure_sample
from clipfast.surgery.geometry import GeometryName
from clipfast.surgery.localise_options import BoxSource, LocaliseOptions, phrase_of
from clipfast.surgery.map_stream import sample_digest, stream_maps
from clipfast.surgery.options import MapOptions
from clipfast.surgery.tuning import SearchSpace, tune
from reference.box_folders import write_voc
from reference.localise_cases import dataset, measured, planted, sample

TRUE = {"standard": lambda truth: truth, "vv_vv": lambda truth: -truth}
ONE_PATH = LocaliseOptions(paths=("standard",))


@pytest.mark.parametrize("geometry", ["squash", "letterbox", "centre_crop"])
@pytest.mark.parametrize("size_hw", [(300, 400), (400, 300), (224, 224), (90, 333)])
def test_a_true_map_finds_its_box_in_every_geometry(geometry: GeometryName, size_hw: tuple[int, int]) -> None:
    """Boxes come back in pixels of the image, within a patch; the map points into the box, all energy inside."""
    height, width = size_hw
    box = (width / 2 - height * 0.2, height * 0.25, width / 2 + height * 0.2, height * 0.7)
    case = sample("a", {"cat": box}, size_hw)
    seen = min(size_hw) ** 2 if geometry == "centre_crop" else height * width
    percentile = 100 * (1 - height * 0.4 * height * 0.45 / seen)
    options = replace(ONE_PATH, maps=MapOptions(geometry=geometry), percentile=percentile)
    record = measure_sample(planted(case, ("cat",), TRUE, geometry, grid=56), ("cat",), options)
    boxes, scores, names = record.found["standard"]
    measures = record.measures["standard"][0]

    assert names[0] == "cat"
    assert len(scores) == len(names)
    assert box_iou(boxes, np.array([box])).max() > 0.6
    assert measures.best_iou[options.levels.index(percentile)] == box_iou(boxes, np.array([box])).max()
    assert measures.response[5] == 1.0  # pointing
    assert measures.response[4] > 0.85  # energy; the rest is the bilinear rim
    assert boxes.min() >= 0
    assert (boxes <= [width, height, width, height]).all()


def test_sides_are_told_in_patches() -> None:
    """A box of 100 x 75 of 400 x 300 pixels is a quarter of the map each way."""
    case = sample("a", {"cat": (0, 0, 100, 75)})
    record = measure_sample(planted(case, ("cat",), TRUE, grid=16), ("cat",), ONE_PATH)

    assert record.truth_sides.tolist() == [4.0]


def test_only_classes_that_are_there_are_looked_for() -> None:
    """Unless all are asked for; difficult ones alone make no class present, and are spared as ground truth."""
    data = dataset(sample("a", {"cat": (50, 50, 150, 150), "hard dog": (200, 100, 300, 200)}), sample("b", {}))
    given = measured(data, {"standard": lambda truth: truth}, ONE_PATH)
    every = measured(data, {"standard": lambda truth: truth}, replace(ONE_PATH, all_classes=True))

    assert given.map_class == every.map_class == ("cat",)
    assert set(given.paths["standard"].detections.classes.tolist()) == {"cat"}
    assert set(every.paths["standard"].detections.classes.tolist()) == {"cat", "hard dog"}
    assert given.truths.spared().tolist() == [False, True]
    assert given.map_truths.tolist() == [1]


def test_the_scale_of_scores() -> None:
    """Raw similarity, or each map from 0 to 1: the boxes are the same, their scores an affine change."""
    data = dataset(sample("a", {"cat": (50, 50, 150, 150)}))
    raw = measured(data, {"standard": lambda truth: 0.1 * truth + 0.3}, ONE_PATH).paths["standard"]
    unit = measured(data, {"standard": lambda truth: 0.1 * truth + 0.3}, replace(ONE_PATH, scores="unit"))

    assert np.array_equal(unit.paths["standard"].detections.boxes, raw.detections.boxes)
    assert 0.1 * unit.paths["standard"].detections.scores + 0.3 == pytest.approx(raw.detections.scores, abs=1e-6)


def test_many_thresholds_are_one_more_source_of_boxes() -> None:
    """The quality table stays that of percentiles, the boxes scored are others."""
    data = dataset(sample("a", {"cat": (50, 50, 110, 110)}))
    one = measured(data, {"standard": lambda truth: truth}, ONE_PATH)
    many = measured(data, {"standard": lambda truth: truth}, replace(ONE_PATH, box_source="multi"))

    assert np.array_equal(one.paths["standard"].best_iou, many.paths["standard"].best_iou)
    truth = np.array([[50.0, 50, 110, 110]])
    better = box_iou(many.paths["standard"].detections.boxes, truth).max()
    assert better > box_iou(one.paths["standard"].detections.boxes, truth).max()


@pytest.mark.parametrize("source", ["proposals", "snapped"])
def test_regions_of_the_image_are_a_source_of_boxes(mini: Clip, fabrics: BoxSet, source: BoxSource) -> None:
    """Corners lie on edges of the image, and tuning takes them as it takes others."""
    pytest.importorskip("skimage", reason="needs the extra proposals")
    one = replace(fabrics, samples=fabrics.samples[:1])
    options = LocaliseOptions(paths=("vv_vv",), box_source=source)
    found = evaluate_localisation(mini, one, options).paths["vv_vv"].detections
    space = SearchSpace((90,), ("squash",), ("none",), (6,), (source,))

    assert len(found.scores) > 0
    assert tune(mini, one, options, space).chosen.box_source == source
    if source == "proposals":
        known = ImageRegions(np.asarray(one.samples[0].image)).proposals.boxes.tolist()
        assert all(box in known for box in found.boxes.tolist())


def test_the_scored_percentile_joins_the_table() -> None:
    """So that what is scored is also measured."""
    data = dataset(sample("a", {"cat": (50, 50, 150, 150)}))
    options = replace(ONE_PATH, percentile=97.5)
    found = measured(data, {"standard": lambda truth: np.arange(float(truth.size)).reshape(truth.shape)}, options)

    assert list(options.levels) == [75, 80, 85, 90, 95, 97.5]
    assert found.paths["standard"].best_iou.shape == (1, 6)
    assert found.paths["standard"].activated[0] == pytest.approx([0.25, 0.2, 0.15, 0.1, 0.05, 0.025], abs=0.01)


# --- with the embedded model ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fabrics() -> BoxSet:
    """Four rendered pictures with their boxes."""
    return read_boxes("fabricworld", "", limit=4)


def test_the_embedded_model_finds_rendered_objects(mini: Clip, fabrics: BoxSet) -> None:
    """All four paths from one stream; objects respond more than cloth."""
    seen: list[str] = []
    counted: list[tuple[int, int]] = []
    records = evaluate_localisation(
        mini,
        fabrics,
        watch=lambda maps, record: seen.append(f"{maps.sample.id} {record.id}"),
        progress=lambda done, total: counted.append((done, total)),
    )

    assert list(records.paths) == ["standard", "vv_qk", "vv_vv", "vv_mixed"]
    assert records.images == 4
    assert seen == [f"{name} {name}" for name in records.ids]
    assert counted == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for path in records.paths.values():
        assert np.mean(path.response["inside_mean"] > path.response["background_mean"]) >= 0.8


def test_nothing_depends_on_the_size_of_a_batch(mini: Clip, fabrics: BoxSet) -> None:
    """Forwarded alone or together, within rounding."""
    alone = evaluate_localisation(mini, fabrics, LocaliseOptions(maps=MapOptions(geometry="squash", batch_size=1)))
    together = evaluate_localisation(mini, fabrics)

    assert alone.digests == together.digests
    for path, held in alone.paths.items():
        other = together.paths[path]
        assert held.response["inside_mean"] == pytest.approx(other.response["inside_mean"], abs=1e-5)
        assert held.detections.boxes.shape == other.detections.boxes.shape


def test_windows_are_another_look(mini: Clip, fabrics: BoxSet) -> None:
    """At two scales maps are finer than the grid, and cover the whole image."""
    options = LocaliseOptions(paths=("vv_vv",), maps=MapOptions(geometry="squash", scales=(1, 2)))
    maps = next(iter(stream_maps(mini, fabrics.samples[:1], options.texts(fabrics.classes), options)))

    assert maps.pixels.shape == (224, 224, 3)
    assert maps.maps["vv_vv"].shape == (len(fabrics.classes), 224, 224)
    assert maps.patch_hw == pytest.approx((8, 8))
    assert evaluate_localisation(mini, replace(fabrics, samples=fabrics.samples[:1]), options).images == 1


@pytest.mark.parametrize("geometry", ["squash", "letterbox"])
def test_maps_follow_edges_where_it_is_asked(mini: Clip, geometry: GeometryName) -> None:
    """As `heatmaps` lays them over the image, bars aside."""
    data = read_boxes("fabricworld", "", limit=1)
    wide = replace(data.samples[0], image=np.asarray(data.samples[0].image)[:112], size_hw=(112, 224))
    asked = MapOptions(geometry=geometry, edge_aware=EdgeAware(), templates=PLAIN)
    options = LocaliseOptions(paths=("vv_vv",), maps=asked)
    texts = options.texts(data.classes)
    maps = next(iter(stream_maps(mini, [wide], texts, options)))
    size_hw = maps.pixels.shape[:2]
    expected = heatmaps(mini, np.asarray(wide.image), texts, "vv_vv", size_hw, asked)[0, 0]
    plain = heatmaps(mini, np.asarray(wide.image), texts, "vv_vv", size_hw, replace(asked, edge_aware=None))[0, 0]

    assert size_hw == ((112, 224) if geometry == "letterbox" else (224, 224))
    assert np.abs(maps.heat("vv_vv", 0) - expected).max() < 0.1 * np.ptp(expected)  # the guide is scaled once, or twice
    assert np.abs(maps.heat("vv_vv", 0) - expected).mean() < 0.2 * np.abs(plain - expected).mean()


def test_images_are_taken_as_they_are_stored(mini: Clip, tmp_path: Path) -> None:
    """A camera's turn is not applied: boxes refer to stored pixels. Grey, alpha and CMYK are read too."""
    root = write_voc(tmp_path, {name: [("red star", (11, 11, 30, 30))] for name in "abcd"})
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / "JPEGImages" / "a.png").unlink()
    Image.fromarray(pixels[..., :3]).save(root / "JPEGImages" / "a.jpg", exif=exif)
    Image.fromarray(pixels[..., 0]).save(root / "JPEGImages" / "b.png")
    Image.fromarray(pixels).save(root / "JPEGImages" / "c.png")
    (root / "JPEGImages" / "d.png").unlink()
    Image.fromarray(pixels).convert("RGB").convert("CMYK").save(root / "JPEGImages" / "d.jpg")
    records = evaluate_localisation(mini, read_boxes("voc", root))

    assert records.ids == ("a", "b", "c", "d")
    assert len(set(records.digests)) == 4
    assert all(len(path.response["energy"]) == 4 for path in records.paths.values())


@pytest.mark.parametrize("scales", [(), (1, 2)])
def test_images_that_cannot_be_read_are_counted_and_named(
    mini: Clip, tmp_path: Path, scales: tuple[float, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Half a PNG and a TIFF of floats; the others are scored and tuned on, and where none is left that is an error."""
    root = write_voc(tmp_path, {name: [("red star", (11, 11, 30, 30))] for name in "abc"})
    data = (root / "JPEGImages" / "a.png").read_bytes()
    (root / "JPEGImages" / "a.png").write_bytes(data[:-30])
    (root / "JPEGImages" / "b.png").unlink()
    Image.fromarray(np.zeros((40, 60), np.float32)).save(root / "JPEGImages" / "b.tif")
    asked = MapOptions(geometry="squash", scales=scales, templates=PLAIN)
    options = LocaliseOptions(paths=("vv_vv",), maps=asked)
    found = read_boxes("voc", root)
    counted: list[tuple[int, int]] = []
    records = evaluate_localisation(mini, found, options, progress=lambda done, total: counted.append((done, total)))

    assert (len(found), records.ids, counted) == (3, ("c",), [(3, 3)])
    assert records.unread.counts == {"unreadable": 2}
    first, second = records.unread.examples["unreadable"]
    assert first.startswith("a: ")
    assert second.startswith("b: an image must have 8-bit or 16-bit integer values; got mode F")
    tuned = tune(mini, found, options, SearchSpace(percentiles=(90.0,), morphologies=("none",), min_sizes=(1,)))
    assert tuned.images == 1
    assert [record.message[:24] for record in caplog.records] == [
        "nothing is tuned on a: t",
        "nothing is tuned on b: a",
    ]
    with pytest.raises(ImageError, match=r"no image can be read: 2 images cannot be read and were left out \(a: "):
        evaluate_localisation(mini, replace(found, samples=found.samples[:2]), options)


def test_nothing_to_find_is_said(mini: Clip, tmp_path: Path) -> None:
    """No class at all, and no box that counts."""
    with pytest.raises(DataError, match="must name a class"):
        evaluate_localisation(mini, read_boxes("voc", write_voc(tmp_path / "none", {"a": []})))
    root = write_voc(tmp_path / "hard", {"a": [("red star", (11, 11, 30, 30))]})
    xml = root / "Annotations" / "a.xml"
    xml.write_text(xml.read_text().replace("<difficult>0", "<difficult>1"))
    with pytest.raises(DataError, match="must have a box that counts"):
        evaluate_localisation(mini, read_boxes("voc", root))


def test_digests_tell_pixels_boxes_and_classes_apart() -> None:
    """What is compared later must be the same in all of them."""
    case = sample("a", {"cat": (0, 0, 9, 9)})
    known = {
        sample_digest(case, b"x"),
        sample_digest(case, b"y"),
        sample_digest(sample("a", {"cat": (0, 0, 9, 8)}), b"x"),
        sample_digest(sample("a", {"dog": (0, 0, 9, 9)}), b"x"),
        sample_digest(sample("a", {"hard": (0, 0, 9, 9)}), b"x"),
    }

    assert len(known) == 5
    assert sample_digest(sample("another name", {"cat": (0, 0, 9, 9)}), b"x") in known


# --- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"paths": ()}, "paths must be named"),
        ({"paths": ("standard", "standard")}, "named once each"),
        ({"iou_thresholds": (0.0,)}, "above 0 and at most 1"),
        ({"iou_thresholds": (0.5, 0.5)}, "different numbers"),
        ({"percentiles": ()}, "must name one or more"),
        ({"percentiles": (90, 90.0)}, "percentiles must be different numbers"),
        ({"percentile": 101.0}, "0 to 100"),
        ({"box_source": "magic"}, "percentile, multi, proposals, snapped; got 'magic'"),
        ({"scores": "log"}, "raw, unit; got 'log'"),
        ({"tolerance": -1.0}, "tolerance must be a number of 0 or more"),
        ({"maps": MapOptions(templates=("a photo",))}, "must have {}"),
    ],
)
def test_options_that_mean_nothing(wrong: dict[str, object], message: str) -> None:
    """Are refused before anything is read."""
    with pytest.raises(ValueError, match=message):
        LocaliseOptions(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_what_classes_are_called() -> None:
    """By their names as words, or by a phrase; two alike would have the same map."""
    assert phrase_of("Expressway-Service-area") == "Expressway Service area"
    assert LocaliseOptions(phrases=(("RBC", "red cell"),)).texts(["RBC", "WBC"]) == ["red cell", "WBC"]
    with pytest.raises(DataError, match="called differently; got red cell twice"):
        LocaliseOptions(phrases=(("RBC", "red cell"),)).texts(["RBC", "red_cell"])
    with pytest.raises(DataError, match="must be of classes of the data set; got XBC"):
        LocaliseOptions(phrases=(("XBC", "x"),)).texts(["RBC"])


def test_an_unknown_path_is_told_before_images_are_read(mini: Clip, fabrics: BoxSet) -> None:
    """By the table of paths."""
    with pytest.raises(DataError, match="got 'vv'"):
        evaluate_localisation(mini, fabrics, LocaliseOptions(paths=("vv",)))  # type: ignore[arg-type]  # wrong on purpose
