"""Tests of clipfast.cli.anomaly and clipfast.report.anomalies with a stand-in for the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from clipfast.anomaly import MODES, AnomalyDetector
from clipfast.cli.anomaly import app
from clipfast.errors import ArtifactError, DataError, FingerprintError, ImageError, NotComputedError
from clipfast.report.anomalies import ScoreWriter, heat_of
from reference.anomaly_stubs import JointStub, picture


class LoadedStub(JointStub):
    """The stand-in as the command line opens it."""

    name = "stub"

    provider = "cpu"

    @classmethod
    def load(cls, model: str | None, **options: Any) -> LoadedStub:
        return cls() if model is None else OtherStub()

    def __enter__(self) -> LoadedStub:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class OtherStub(LoadedStub):
    """Another model."""

    name = "other"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """MVTec's layout: eight intact images, and two damaged and two intact ones to test."""
    monkeypatch.setattr("clipfast.runtime.clip.Clip", LoadedStub)
    for place, seeds, spot in (
        ("train/good", range(8), False),
        ("test/hole", (20, 21), True),
        ("test/good", (30, 31), False),
    ):
        folder = tmp_path / "denim" / place
        folder.mkdir(parents=True)
        for seed in seeds:
            Image.fromarray(picture(seed, spot=spot)).save(folder / f"{seed:03}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    """Run a command that must succeed."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_fit_and_score_from_folder_to_overlays(folders: Path) -> None:
    """Four shots of eight; every damaged image is NG, every intact one OK; overlay, mask and record of each."""
    fitted = json.loads(run("fit", "denim", "--shots", "4", "--json").stdout)
    scored = json.loads(run("score", "denim/test/hole", "denim/test/good", "--out", "found", "--json").stdout)

    assert fitted["class_name"] == "denim"
    assert len(fitted["shots"]["images"]) == 4
    assert (fitted["guaranteed_fpr"], fitted["method"]) == (0.2, "extrapolated")
    assert [row["verdict"] for row in scored["images"]] == ["NG", "NG", "OK", "OK"]
    stored = json.loads((folders / "found/scores.json").read_text())
    assert stored["images"] == scored["images"]
    assert stored["decision"]["threshold"] == fitted["threshold"]
    for row in stored["images"]:
        mask = np.asarray(Image.open(folders / "found" / row["mask"]))
        assert mask.shape == (36, 48)
        assert (mask[12:24, 24:36] > 0).mean() > 0.5 if row["verdict"] == "NG" else not mask.any()
        with Image.open(folders / "found" / row["overlay"]) as overlay:
            assert overlay.width > 2 * 48


@pytest.mark.parametrize(("provider", "moved"), [("cpu", []), ("cuda", ["cuda"]), ("tensorrt", ["cuda"])])
def test_the_memory_is_searched_where_the_model_runs(
    provider: str, moved: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU for the model is one for the memory; a fake here, no GPU."""
    seen: list[str] = []
    monkeypatch.setattr(AnomalyDetector, "search_on", lambda _, where: seen.append(where))
    run("fit", "denim/train/good", "--class", "denim", "--shots", "2", "--out", "det.npz")
    monkeypatch.setattr(LoadedStub, "provider", provider)
    run("score", "denim/test/good", "--detector", "det.npz", "--out", "found")

    assert seen == moved


def test_a_broken_image_does_not_cost_the_scores_of_those_before(folders: Path) -> None:
    """The sentence names it; numbers, overlays and masks of the others belong together."""
    run("fit", "denim", "--shots", "4")
    Path("denim/test/hole/999.png").write_text("junk")
    with pytest.raises(ImageError, match=r"999\.png"):
        CliRunner().invoke(app, ["score", "denim/test/hole", "--out", "found"], catch_exceptions=False)
    stored = json.loads((folders / "found/scores.json").read_text())
    assert len(stored["images"]) == len(list((folders / "found/overlays").iterdir())) == 2


def test_the_same_seed_chooses_the_same_shots() -> None:
    """And writes the same bytes; another seed chooses others."""
    for out, seed in (("a.npz", "1"), ("b.npz", "1"), ("c.npz", "2")):
        run("fit", "denim", "--shots", "3", "--seed", seed, "--out", out)

    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()
    shots = [AnomalyDetector.load(name, LoadedStub()).manifest for name in ("a.npz", "c.npz")]
    assert (shots[0].seed, shots[1].seed) == (1, 2)
    assert shots[0].shots != shots[1].shots


def test_what_people_read_names_thresholds_and_their_coverage() -> None:
    """The shots, the modes, OK and NG, and what the threshold rests on."""
    fitted = run("fit", "denim", "--shots", "4").stdout
    scored = run("score", "denim/test/hole/020.png", "denim/test/good/030.png").stdout

    assert "Fitted on 4 of 8 intact images of 'denim'" in fitted
    assert "4 references guarantee 20% at best" in fitted
    assert "1 of 2 NG above" in scored
    assert "extrapolated" in scored
    assert "[red]" not in scored
    assert Path("anomaly/scores.json").is_file()


def test_the_class_is_named_by_its_folder() -> None:
    """Not by the folder of its intact images; a name that cannot be read is asked for."""
    fitted = json.loads(run("fit", "denim/train/good", "--shots", "2", "--json").stdout)

    assert fitted["class_name"] == "denim"
    Path("denim").rename("瓶子")
    with pytest.raises(DataError, match="class_name '瓶子'"):
        CliRunner().invoke(app, ["fit", "瓶子", "--shots", "2"], catch_exceptions=False)
    assert (
        json.loads(run("fit", "瓶子", "--shots", "2", "--class", "bottle", "--json").stdout)["class_name"] == "bottle"
    )


def test_memory_only_has_no_semantic_score() -> None:
    """A dash for people, null for machines."""
    run("fit", "denim", "--shots", "4", "--image-mode", "memory_only", "--coreset", "0.5")
    scored = json.loads(run("score", "denim/test/hole", "--json").stdout)

    assert [row["semantic"] for row in scored["images"]] == [None, None]
    assert scored["image_mode"] == {"asked": "memory_only", "taken": "memory_only"}


def test_the_score_of_images_can_be_chosen() -> None:
    """The mean of all patches: lower than the highest, told to people and machines, and stored."""
    highest = json.loads(run("fit", "denim", "--shots", "4", "--image-mode", "memory", "--json").stdout)
    mean = json.loads(
        run("fit", "denim", "--shots", "4", "--image-mode", "memory", "--image-score", "mean", "--json").stdout
    )

    assert (highest["image_score"], mean["image_score"]) == ("max", "mean")
    assert mean["threshold"] < highest["threshold"]
    assert AnomalyDetector.load("det.npz", LoadedStub()).fitted.options.memory.image_score == "mean"
    assert "image score mean" in run("fit", "denim", "--shots", "4", "--image-score", "mean").stdout


def test_another_rate_moves_the_threshold() -> None:
    """A stricter rate needs a higher score."""
    run("fit", "denim", "--shots", "4", "--fpr", "0.2")
    loose = json.loads(run("score", "denim/test/good", "--json").stdout)["threshold"]
    strict = json.loads(run("score", "denim/test/good", "--fpr", "0.001", "--json").stdout)["threshold"]

    assert strict > loose


def test_images_of_the_support_are_told_and_names_that_repeat_are_kept_apart() -> None:
    """A reference among the scored images says so; two files of one name have two overlays."""
    run("fit", "denim")
    Path("other").mkdir()
    Image.fromarray(picture(40)).save("other/020.png")
    rows = json.loads(run("score", "denim/train/good/000.png", "denim/test/hole/020.png", "other", "--json").stdout)[
        "images"
    ]

    assert [row["remembered"] for row in rows] == [True, False, False]
    assert [row["overlay"] for row in rows] == ["overlays/000.png", "overlays/020.png", "overlays/other_020.png"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("fit", "denim", "--shots", "9"), DataError, "9 shots need as many intact images; there are 8"),
        (("fit", "nowhere"), DataError, "No folder at"),
        (("score", "denim/test/good", "--detector", "no.npz"), ArtifactError, "No detector at no.npz"),
        (("score", "denim/train", "--detector", "det.npz"), DataError, "holds no image.*name them: denim/train/good"),
    ],
)
def test_jobs_that_cannot_be_done(arguments: tuple[str, ...], error: type[Exception], message: str) -> None:
    """Each fault has its sentence, as an error that the command line turns into exit code 1."""
    with pytest.raises(error, match=message):
        CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_another_models_detector_is_refused() -> None:
    """By its fingerprint."""
    run("fit", "denim", "--shots", "2")
    with pytest.raises(FingerprintError, match="made by another model"):
        CliRunner().invoke(app, ["score", "denim/test/good", "--model", "other"], catch_exceptions=False)


@pytest.mark.parametrize("mode", ["best", "oracle", "learned_gate"])
def test_modes_that_do_not_exist_are_wrong_usage(mode: str) -> None:
    """Exit code 2, with the choices."""
    result = CliRunner().invoke(app, ["fit", "denim", "--image-mode", mode])

    assert result.exit_code == 2
    assert "calibrated_mean" in result.output


def test_help_names_every_mode_that_can_be_chosen() -> None:
    """Those of the table without the oracle and the gate that must be given."""
    shown = CliRunner().invoke(app, ["fit", "--help"], env={"COLUMNS": "200"}).output
    words = {word.strip(",.") for word in shown.split()}

    assert set(MODES) - words == {"oracle", "learned_gate"}


def test_heat_is_scaled_alike_for_every_image() -> None:
    """Usual intact pixels are 0, the threshold one half, the ends are cut."""
    pixels = np.array([[0.0, 1.0], [2.0, 9.0]], np.float32)

    assert heat_of(pixels, 1.0, 3.0).tolist() == [[0, 0], [0.25, 1]]


def test_a_writer_needs_a_threshold(tmp_path: Path) -> None:
    """Without one there is neither OK nor NG."""
    detector = AnomalyDetector.fit(LoadedStub(), [picture(1), picture(2)], class_name="denim")
    with pytest.raises(NotComputedError, match="no threshold"):
        ScoreWriter(detector, tmp_path)
