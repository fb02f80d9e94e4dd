"""`clipfast localize` and `clipfast compare` as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from clipfast.datasets.box_samples import read_boxes
from reference.box_folders import voc_xml

RUN = [sys.executable, "-c", "from clipfast.cli import main; main()"]


def _run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *map(str, arguments)], cwd=cwd, env=os.environ | {"CLIPFAST_MODEL": "mini"}, capture_output=True,
        text=True, encoding="utf-8", check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rendered pictures as VOC, two to train and two to score."""
    root = tmp_path_factory.mktemp("rendered")
    names: dict[str, list[str]] = {"train": [], "test": []}
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for at, sample in enumerate(read_boxes("fabricworld", "", limit=4)):
        Image.fromarray(sample.image).save(root / "JPEGImages" / f"{sample.id}.png")  # type: ignore[arg-type]  # an array
        boxes = [
            (label, (box[0] + 1, box[1] + 1, box[2], box[3]))
            for label, box in zip(sample.labels, sample.boxes.tolist(), strict=True)
        ]
        (root / "Annotations" / f"{sample.id}.xml").write_text(voc_xml(boxes, sample.size_hw))
        names["train" if at < 2 else "test"].append(sample.id)
    for split, ids in names.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(ids))
    return root


def test_the_whole_way(rendered: Path, tmp_path: Path) -> None:
    """Evaluate a split with figures, score its own boxes again without the model, compare the two."""
    done = _run("localize", rendered, "--split", "test", "--figures", "1", "--out", "a", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert (result["kind"], result["data"]["format"], result["data"]["images"]) == ("localize", "voc", 2)
    assert set(result["paths"]) == {"standard", "vv_qk", "vv_vv", "vv_mixed"}
    assert result["paths"]["vv_vv"]["thresholds"][0]["map"]["value"] > 0
    assert result["provenance"]["model"]["name"] == "mini"
    for path in result["paths"]:
        assert (tmp_path / "a" / path / "sample_000.png").is_file()
        assert not (tmp_path / "a" / path / "sample_001.png").exists()
    assert (tmp_path / "a" / "contact_sheet.png").is_file()
    listed = {each["path"] for each in json.loads((tmp_path / "a" / "files.json").read_text())["files"]}
    assert {"map_results.json", "contact_sheet.png", "vv_vv/sample_000.png", "outcomes.npz"} <= listed
    assert not list((tmp_path / "a").glob(".*"))

    own = "a/vv_vv/predictions.json"
    again = _run("localize", rendered, "--split", "test", "--predictions", own, "--out", "b", "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    rescored = json.loads(again.stdout)["paths"]["predictions"]["thresholds"]
    assert [row["map"] for row in rescored] == [row["map"] for row in result["paths"]["vv_vv"]["thresholds"]]

    same = _run("compare", "a", "b", "--systems", "vv_vv,predictions", "--json", cwd=tmp_path)
    assert same.returncode == 0, same.stderr
    assert {row["difference"] for row in json.loads(same.stdout)["rows"]} == {0.0}


def test_tuning_sees_other_images_only(rendered: Path, tmp_path: Path) -> None:
    """The training split is found by its name; what was chosen is applied and written down."""
    done = _run(
        "localize", rendered, "--split", "test", "--tune", "--paths", "vv_vv", "--figures", "none", "--out", "t",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    result = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert (result["tuning"]["source"], result["tuning"]["images"], result["data"]["images"]) == ("split train", 2, 2)
    assert result["settings"]["geometry"] == result["tuning"]["chosen"]["geometry"]
    assert result["settings"]["box_source"] == result["tuning"]["chosen"]["box_source"]
    assert "none of which is scored above" in (tmp_path / "t" / "evaluation_report.md").read_text()
    refused = _run("localize", rendered, "--split", "test", "--tune-split", "test", "--figures", "none", cwd=tmp_path)
    assert refused.returncode == 1
    assert "tuning must not see what is scored" in refused.stderr


def test_boxes_are_refined_and_texts_compared(rendered: Path, tmp_path: Path) -> None:
    """What is learned on drawn training pictures moves the boxes of others; what was compared is written down."""
    (tmp_path / "labels.txt").write_text("denim\n\nlinen\n")
    done = _run(
        "localize", "x", "--format", "fabricworld", "--limit", "2", "--paths", "standard,vv_vv", "--figures", "none",
        "--refine", "train", "--refine-limit", "40", "--percentile", "85", "--label-list", "labels", "--label", "lace",
        "--labels-from", "labels.txt", "--prompt", "a {}", "--prompt", "the {} there", "--out", "r", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    result = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert result["settings"]["label_list"] == "labels"
    assert result["settings"]["maps"]["labels"] == ["lace", "denim", "linen"]
    assert result["settings"]["maps"]["templates"] == ["a {}", "the {} there"]
    assert (result["refining"]["source"], result["refining"]["images"]) == ("split train", 40)
    for path in ("standard", "vv_vv"):
        learned = result["refining"]["paths"][path]
        assert learned["iou_after"] > learned["iou_before"]
        assert (tmp_path / "r" / path / "refiner.npz").is_file()
        assert 0 <= result["paths"][path]["fit"]["peak"]["value"] <= 1
    assert "## Box refiner" in (tmp_path / "r" / "evaluation_report.md").read_text()
    overlap = _run("localize", rendered, "--refine", f"{rendered}/", "--figures", "none", "--out", "o", cwd=tmp_path)
    assert overlap.returncode == 1
    assert "must not learn from what is scored; 4 of 4 images" in overlap.stderr


def test_redundant_text_and_sets_of_prompts(tmp_path: Path) -> None:
    """The empty text is one too."""
    done = _run(
        "localize", "x", "--format", "fabricworld", "--limit", "2", "--paths", "vv_vv", "--figures", "none",
        "--redundant", "", "--templates", "none", "--out", "r", "--json", cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    settings = json.loads(done.stdout)["settings"]
    assert (settings["maps"]["redundant"], settings["maps"]["templates"]) == ("", None)
    assert settings["label_list"] == "redundant"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "No folder at nowhere"),
        (["x", "--format", "fabricworld", "--split", "dev"], 1, "train, val, test"),
        (["x", "--format", "fabricworld", "--limit", "2", "--paths", "magic", "--figures", "none"], 1, "got 'magic'"),
        (["x", "--format", "fabricworld", "--iou", "half"], 2, "numbers with commas"),
        (["x", "--format", "fabricworld", "--figures", "some"], 2, "all or none"),
        (["x", "--format", "fabricworld", "--phrase", "star"], 2, "CLASS=WORDS"),
        (["x", "--format", "pascal"], 2, "pascal"),
        (["x", "--format", "fabricworld", "--label-list", "labels"], 1, "need labels; got none"),
        (["x", "--format", "fabricworld", "--label-list", "photo"], 2, "photo"),
        (["x", "--format", "fabricworld", "--depths", "deep"], 2, "whole numbers"),
        (["x", "--format", "fabricworld", "--depths", "4", "--figures", "none"], 1, "--presets sweep"),
        (["x", "--format", "fabricworld", "--label-list", "image", "--all-classes"], 1, "they compete too"),
        (["x", "--format", "fabricworld", "--labels-from", "no.txt"], 2, "context59"),
        (["x", "--format", "fabricworld", "--label", "a", "--paths", "vv_vv", "--figures", "none"], 1, "standard only"),
        (["x", "--format", "fabricworld", "--label", "a", "--redundant", ""], 1, "choose one"),
        (["x", "--format", "fabricworld", "--prompt", "a {}", "--templates", "plain"], 2, "--prompt is given"),
        (["x", "--format", "fabricworld", "--refine", "test", "--figures", "none"], 1, "both are the split 'test'"),
        (["x", "--format", "fabricworld", "--refine", "./no", "--figures", "none"], 1, "No folder at no"),
    ],
)
def test_wrong_wishes_are_one_sentence(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    """On standard error, without a traceback."""
    done = _run("localize", *arguments, cwd=tmp_path)

    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_compare_refuses_what_is_no_result(tmp_path: Path) -> None:
    """One sentence; two names are wanted for --systems."""
    done = _run("compare", tmp_path, tmp_path, cwd=tmp_path)

    assert done.returncode == 1
    assert "must hold one of map_results.json" in done.stderr
    assert _run("compare", "a", "b", "--systems", "one", cwd=tmp_path).returncode == 2
