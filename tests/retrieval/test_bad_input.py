"""What is no point, label, seed, split, rule file, confidence or score is named in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.errors import ClipfastError, DataError
from clipfast.retrieval import LinearHead, recommend_fabrics_localized
from clipfast.retrieval.confidence import fit_confidence
from clipfast.retrieval.crops import Region, crop_box, crop_patch
from clipfast.retrieval.evalset import EvalSet, make_eval_set
from clipfast.retrieval.labels import Labeller, LabelStore, SeenCrop
from clipfast.retrieval.openset import fit_openset
from clipfast.retrieval.promotion import look_error
from reference.colour_clip import draw

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


Call = Callable[[Path, Any], object]
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
]


@pytest.mark.parametrize(
    ("call", "value"),
    [pytest.param(call, each, id=f"{name} {each!r}") for name, call, given in CALLS for each in given],
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
