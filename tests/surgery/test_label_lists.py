"""What texts are compared with: the data set's classes, those in the image, labels; and words that are all alike."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.datasets.box_records import BoxSet
from clipfast.datasets.box_samples import read_boxes
from clipfast.datasets.fabricworld import COLOURS, SHAPES
from clipfast.errors import DataError, ShapeError
from clipfast.prompts import CONTEXT_59, PLAIN, SURGERY
from clipfast.runtime.clip import Clip
from clipfast.similarity import feature_surgery, surgery_against
from clipfast.surgery import MapOptions, heatmaps
from clipfast.surgery.diagnosis import diagnose
from clipfast.surgery.evaluate import evaluate_localisation
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_scores import score_records
from clipfast.surgery.map_stream import stream_maps
from clipfast.surgery.texts import alike_texts
from clipfast.types import Floats, Pixels
from reference.box_folders import write_voc

TEXTS = ["denim", "a red star", "lace"]
MAPS = MapOptions(geometry="squash", templates=PLAIN)


def unit(*shape: int, seed: int) -> Floats:
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    out: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return out


@pytest.mark.parametrize("some", [False, True])
def test_a_text_against_labels_is_feature_surgery_of_it_and_them(some: bool) -> None:
    """One by one, with all labels or with different ones for each text."""
    tokens, embedding, texts, labels = (
        unit(3, 10, 16, seed=1),
        unit(3, 16, seed=2),
        unit(4, 16, seed=3),
        unit(6, 16, seed=4),
    )
    rival = np.random.default_rng(5).random((4, 6)) < 0.5 if some else None
    found = surgery_against(tokens, embedding, texts, labels, rival)

    for at, text in enumerate(texts):
        mine = labels if rival is None else labels[rival[at]]
        alone = feature_surgery(tokens, embedding, np.concatenate([text[None], mine]))
        assert np.abs(found[..., at] - alone[..., 0]).max() < 1e-6
    assert np.abs(found).max() > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": unit(2, 8, seed=0)}, r"labels \(l, 16\); got \(3, 16\) and \(2, 8\)"),
        ({"embedding": unit(2, 16, seed=0)}, r"embedding must be \(3, 16\)"),
        ({"labels": unit(0, 16, seed=0)}, "a label for each text"),
        ({"rival": np.zeros((4, 6), np.bool_)}, "a label for each text"),
        ({"rival": np.ones((6, 4), np.bool_)}, r"rival must be \(4, 6\).*got \(6, 4\)"),
    ],
)
def test_labels_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    """What must be, what came."""
    given: dict[str, Any] = {
        "tokens": unit(3, 10, 16, seed=1), "embedding": unit(3, 16, seed=2), "texts": unit(4, 16, seed=3),
        "labels": unit(6, 16, seed=4), "rival": None,
    }  # fmt: skip
    with pytest.raises(ShapeError, match=message):
        surgery_against(**(given | change))


def test_compared_with_labels_only_a_map_is_that_of_its_text_alone(mini: Clip, photo: Pixels) -> None:
    """Whatever else is asked; a label that is the text itself is no rival of it, but of the others."""
    labels = ("linen", "Lace ", "blue button")
    together = heatmaps(mini, photo, TEXTS, options=MapOptions(labels=labels, rivals="labels"))
    alone = [
        heatmaps(
            mini,
            photo,
            text,
            options=MapOptions(labels=tuple(each for each in labels if each != "Lace " or text != "lace")),
        )
        for text in TEXTS
    ]

    assert np.abs(together - np.concatenate(alone, axis=1)).max() < 1e-6
    competing = heatmaps(mini, photo, TEXTS, options=MapOptions(labels=labels))
    assert np.abs(together - competing).max() > 1e-3


def test_the_general_list_is_the_published_one(mini: Clip, photo: Pixels) -> None:
    """59 different names, and a text may be one of them."""
    assert len(set(CONTEXT_59)) == 59
    options = MapOptions(labels=CONTEXT_59, rivals="labels", templates=None)
    assert heatmaps(mini, photo, ["flower", "a red star"], options=options).shape == (1, 2, 14, 14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rivals": "labels"}, "need labels; got none"),
        ({"rivals": "all", "labels": ("a",)}, "texts, labels; got 'all'"),
    ],
)
def test_rivals_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    """When they are said."""
    with pytest.raises(DataError, match=message):
        MapOptions(**options)


def test_a_text_that_is_its_own_only_label(mini: Clip, photo: Pixels) -> None:
    """Has nothing to be compared with."""
    with pytest.raises(DataError, match="'lace' has no other label"):
        heatmaps(mini, photo, TEXTS, options=MapOptions(labels=("LACE",), rivals="labels"))


# --- in an evaluation ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fabrics() -> BoxSet:
    """Three rendered pictures."""
    return read_boxes("fabricworld", "", limit=3)


@pytest.mark.parametrize("scales", [(), (1, 2)])
def test_only_what_is_in_an_image_competes_for_it(mini: Clip, fabrics: BoxSet, scales: tuple[float, ...]) -> None:
    """The map of a class is that of asking for the image's classes alone; of others there is none."""
    options = LocaliseOptions(
        paths=("standard", "vv_vv"),
        maps=replace(MAPS, scales=scales),
        rivals="image",
        phrases=((fabrics.classes[0], "x"),),
    )
    texts = options.texts(fabrics.classes)
    asked = replace(MAPS, scales=scales)
    for maps in stream_maps(mini, fabrics.samples, texts, options):
        there = [name for name in fabrics.classes if name in maps.sample.labels]
        rows = [fabrics.classes.index(name) for name in there]
        size_hw = (224, 224) if scales else None
        expected = heatmaps(
            mini, maps.sample.image, [options.text_of(name) for name in there], "standard", size_hw, asked
        )

        assert np.abs(maps.maps["standard"][rows] - expected[0]).max() < 1e-5
        others = np.setdiff1d(np.arange(len(texts)), rows)
        assert np.isnan(maps.maps["standard"][others]).all()
        assert np.isfinite(maps.maps["vv_vv"][rows]).all()


def test_label_lists_change_standard_and_nothing_else(mini: Clip, fabrics: BoxSet) -> None:
    """Four lists, one set of v-v maps; each run says in its options what was compared."""
    runs = {
        "dataset": LocaliseOptions(paths=("standard", "vv_vv"), maps=MAPS),
        "image": LocaliseOptions(paths=("standard", "vv_vv"), maps=MAPS, rivals="image"),
        "labels": LocaliseOptions(
            paths=("standard", "vv_vv"), maps=replace(MAPS, labels=("denim", "linen"), rivals="labels")
        ),
        "redundant": LocaliseOptions(paths=("standard", "vv_qk"), maps=replace(MAPS, redundant="")),
    }
    found = {name: evaluate_localisation(mini, fabrics, options).paths for name, options in runs.items()}
    inside = {name: paths["standard"].response["inside_mean"] for name, paths in found.items()}

    assert {name: options.label_list for name, options in runs.items()} == {name: name for name in runs}
    for name in ("image", "labels"):
        assert (found[name]["vv_vv"].response["inside_mean"] == found["dataset"]["vv_vv"].response["inside_mean"]).all()
    names = list(runs)
    for one, other in pairwise(names):
        assert np.abs(inside[one] - inside[other]).max() > 1e-3


def test_prompts_are_an_ensemble(mini: Clip, fabrics: BoxSet) -> None:
    """Two prompts are neither of them."""
    runs = [("a {}",), ("the {} there",), ("a {}", "the {} there"), SURGERY]
    found = [
        evaluate_localisation(
            mini, fabrics, LocaliseOptions(paths=("vv_vv",), maps=replace(MAPS, templates=templates))
        ).paths["vv_vv"].response["inside_mean"]
        for templates in runs
    ]  # fmt: skip

    for at, one in enumerate(found):
        assert all(np.abs(one - other).max() > 1e-5 for other in found[at + 1 :])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rivals": "picture"}, "dataset, image; got 'picture'"),
        ({"rivals": "image", "all_classes": True}, "they compete too"),
        ({"rivals": "image", "paths": ("vv_vv",)}, "of the path standard; got vv_vv"),
        ({"rivals": "image", "maps": MapOptions(redundant="")}, "Choose one"),
        ({"rivals": "image", "maps": MapOptions(labels=("a",), rivals="labels")}, "Choose one"),
    ],
)
def test_lists_that_contradict_the_rest(options: dict[str, Any], message: str) -> None:
    """Are refused before anything is read."""
    with pytest.raises(DataError, match=message):
        LocaliseOptions(**options)


# --- words that the model does not know ------------------------------------------------------------------------------


def test_rows_that_differ_by_rounding_are_alike() -> None:
    """Groups in the order of the names; what differs by more is not in one."""
    rows = unit(4, 16, seed=0)
    rows = np.concatenate([rows, rows[[2, 0, 2]] + np.float32(1e-6)])

    assert alike_texts(rows, list("abcdefg")) == (("a", "f"), ("c", "e", "g"))
    assert alike_texts(rows[:4], list("abcd")) == ()


def test_unknown_words_of_several_tokens_are_alike_too(mini: Clip) -> None:
    """And no two names that the model does know."""
    strange = ["zebra", "okapi", "Expressway Service area", "storage tank"]
    known = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    rows = mini.encode_texts([*known, *strange], PLAIN)

    assert alike_texts(rows, [*known, *strange]) == (tuple(strange),)


def test_unknown_words_are_told_with_a_remedy(mini: Clip, tmp_path: Path) -> None:
    """Their maps are identical, and those of `standard` are flat: both are findings, and no figure is NaN."""
    boxes = {"a": [("zebra", (3, 3, 30, 30)), ("horse", (30, 10, 50, 35))], "b": [("zebra", (9, 5, 33, 30))]}
    data = read_boxes("voc", write_voc(tmp_path, boxes))
    options = LocaliseOptions(paths=("standard", "vv_vv"), maps=MAPS, resamples=100)
    records = evaluate_localisation(mini, data, options)
    scores = score_records(records, options)
    found = {(finding.code, finding.path): finding for finding in diagnose(records, scores, options)}

    assert records.alike == (("horse", "zebra"),)
    assert "horse, zebra" in found["same_words", None].says
    assert "--phrase" in found["same_words", None].remedy
    assert "3 of 3 maps are the same everywhere" in found["flat_maps", "standard"].says
    assert "vv_vv has no flat map (--paths vv_vv)" in found["flat_maps", "standard"].remedy
    assert ("flat_maps", "vv_vv") not in found
    known = evaluate_localisation(mini, data, replace(options, phrases=(("zebra", "red star"), ("horse", "lace"))))
    assert known.alike == ()
    for path in scores.paths.values():
        assert path.energy is not None
        assert path.energy.value is not None
