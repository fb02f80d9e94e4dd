"""`clipfast diagnose` as a user types it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diagnostics.samples import clustered, write_lines

RUN = [sys.executable, "-c", "from clipfast.cli import main; main()", "diagnose"]


def _run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *map(str, arguments)], cwd=cwd, env=dict(os.environ), capture_output=True, text=True, encoding="utf-8",
        check=False,
    )  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Predictions with a third of wrong labels, and their embeddings."""
    data = clustered(300, noise=0.3)
    assert data.texts is not None
    assert data.image_rows is not None
    lines: list[dict[str, Any]] = [{"classes": list(data.classes)}]
    for i, name in enumerate(data.ids):
        probs = data.probs[i] / data.probs[i].sum()
        lines.append(
            {
                "id": name, "label": int(data.labels[i]), "probs": probs.tolist(), "text": data.texts[i],
                "split": str(data.columns["split"][i]), "question_type": str(data.columns["question_type"][i]),
            }
        )  # fmt: skip
    write_lines(tmp_path / "p.jsonl", lines)
    np.savez(tmp_path / "e.npz", ids=np.array(data.ids), image=data.image_rows)
    return tmp_path


def test_diagnose_a_file(files: Path) -> None:
    """The report is written; --json is one object and nothing else; the command's name may be left out."""
    done = _run("p.jsonl", "--out", "d", "--embeddings", "e.npz", "--json", cwd=files)
    result = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert result["named"][0] == "noise"
    assert result["label_noise"]["ratio"]["low"] <= 0.3 <= result["label_noise"]["ratio"]["high"]
    assert all((files / name).is_file() for name in result["files"])
    said = _run("--out", "d2", "p.jsonl", cwd=files)
    assert said.returncode == 0, said.stderr
    assert "First to mend: noise" in said.stdout
    assert "The data lack domain" in said.stderr


def test_export_review_and_read_it_again(files: Path) -> None:
    """A plan for people, filled in, changes the diagnosis."""
    plan = json.loads(_run("review", "export", "p.jsonl", "--out", "r.csv", "--right", "5", "--json", cwd=files).stdout)
    with (files / "r.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with (files / "r.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "verdict": "wrong label" if row["stratum"] == "wrong" else "fine"} for row in rows)

    done = _run("p.jsonl", "--review", "r.csv", "--out", "d", "--json", cwd=files)

    assert done.returncode == 0, done.stderr
    review = json.loads(done.stdout)["review"]
    assert plan["wrong"] + plan["right"] == len(rows) == review["reviewed"]
    assert plan["right"] == review["right_looked_at"] == 5
    assert review["noise_first"]


def test_rules_can_be_edited(files: Path) -> None:
    """The default table is written once, and taken with --rules."""
    assert _run("rules", "--out", "mine.toml", cwd=files).returncode == 0
    assert _run("rules", "--out", "mine.toml", cwd=files).returncode == 1
    text = (files / "mine.toml").read_text(encoding="utf-8").replace("raise_from = 0.035", "raise_from = 0.99")
    (files / "mine.toml").write_text(text, encoding="utf-8")

    done = _run("p.jsonl", "--rules", "mine.toml", "--out", "d", "--json", cwd=files)

    assert json.loads(done.stdout)["named"] == []


def test_pairs_from_embeddings_and_from_the_model(tmp_path: Path) -> None:
    """Shuffled captions are suspects; images are embedded by the model that is asked for."""
    from clipfast.datasets.fabricworld import render

    rng = np.random.default_rng(0)
    names = ["denim", "lace", "felt", "houndstooth", "satin", "velvet"]
    for i, name in enumerate(names):
        Image.fromarray(render(i, fabric=name, colour="blue", size=96).image).save(tmp_path / f"{name}.png")
    write_lines(
        tmp_path / "c.jsonl",
        [
            {"id": i, "text": f"a photo of {name} fabric", "image": f"{name}.png", "keyword": name, "split": "new"}
            for i, name in enumerate(names)
        ],
    )
    rows = rng.normal(size=(6, 8))
    np.savez(tmp_path / "e.npz", ids=np.arange(6).astype(str), image=rows, text=np.vstack([rows[[1, 0]], rows[2:]]))

    given = json.loads(_run("pairs", "c.jsonl", "--embeddings", "e.npz", "--out", "a", "--json", cwd=tmp_path).stdout)
    encoded = _run("pairs", "c.jsonl", "--out", "b", "--json", "--model", "mini", cwd=tmp_path)

    assert {suspect["id"] for suspect in given["pairs"]["suspects"][:2]} == {"0", "1"}
    assert encoded.returncode == 0, encoded.stderr
    assert given["keywords"] is None
    assert json.loads(encoded.stdout)["pairs"]["count"] == 6
    assert json.loads(encoded.stdout)["keywords"]["pairs"] == 6
    assert (tmp_path / "b" / "pairs.html").is_file()


def test_a_folder_of_images(tmp_path: Path) -> None:
    """The model names the images; known ones are not judged; nothing there is one sentence."""
    from clipfast.datasets.fabricworld import render

    for part, seeds in (("new", range(3)), ("known", range(3, 5))):
        for name in ("denim", "lace"):
            (tmp_path / part / name).mkdir(parents=True)
            for seed in seeds:
                image = render(seed, fabric=name, colour="blue", size=96).image
                Image.fromarray(image).save(tmp_path / part / name / f"{seed}.png")
    (tmp_path / "empty").mkdir()

    done = _run("folder", "new", "--train", "known", "--model", "mini", "--out", "d", "--json", cwd=tmp_path)
    empty = _run("folder", "empty", "--model", "mini", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["samples"], json.loads(done.stdout)["judged"]) == (10, 6)
    assert (tmp_path / "d" / "diagnosis.html").is_file()
    assert empty.returncode == 1
    assert "empty must hold images in one folder a class; found none." in empty.stderr


def test_worst_images_of_a_folder_get_heat_maps(tmp_path: Path) -> None:
    """A denim among the lace is wrong, and the report shows where the model sees what it said; others cost nothing."""
    from clipfast import Clip
    from clipfast.cli.diagnose import _with_maps
    from clipfast.datasets.fabricworld import render
    from clipfast.diagnostics import diagnose_folder

    for folder, fabric, seed in (
        ("lace", "lace", 0),
        ("lace", "denim", 1),
        ("denim", "denim", 2),
        ("denim", "denim", 3),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        image = render(seed, fabric=fabric, colour="blue", size=128).image
        Image.fromarray(image).save(tmp_path / folder / f"{seed}.png")
    clip = Clip.load("mini", threads=1)
    found, plain = diagnose_folder(clip, tmp_path)
    data = _with_maps(clip, found, plain, tmp_path)

    wrong = np.flatnonzero(plain.predicted != plain.labels)
    assert plain.attention is None
    assert [plain.ids[row] for row in wrong] == ["test/lace/1.png"]
    assert data.attention is not None
    assert np.flatnonzero(~np.isnan(data.attention).any(axis=(1, 2))).tolist() == wrong.tolist()
    assert data.attention[wrong].min() == 0 < data.attention[wrong].max()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.jsonl"], 1, "No file at none.jsonl"),
        (["bad.jsonl"], 1, "bad.jsonl, line 1: Object missing required field"),
        (["pairs", "bad.jsonl"], 1, "line 1"),
        (["p.jsonl", "--novelty", "magic"], 1, "method must be one of knn, mahalanobis, energy"),
        (["p.jsonl", "--novelty", "energy"], 1, "novelty by energy needs `scores`"),
        (["p.jsonl", "--group-by", "colour"], 1, "a group must be one of class, question_type, split; got 'colour'"),
        (["p.jsonl", "--embeddings", "no.npz"], 1, "No file at no.npz"),
        (["p.jsonl", "--seed", "-1"], 2, "--seed"),
        (["p.jsonl", "--nothing"], 2, "--nothing"),
        (["review"], 2, ""),
    ],
)
def test_failures_are_one_sentence(files: Path, arguments: list[str], code: int, message: str) -> None:
    """Exit 1 for data, 2 for usage; no traceback."""
    write_lines(files / "bad.jsonl", [{"id": 1}])
    done = _run(*arguments, cwd=files)

    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_experiments_are_run_and_shown_with_a_diagnosis(files: Path) -> None:
    """One is run on a data set and read again; the diagnosis holds it; what cannot be run is one sentence."""
    from clipfast.datasets.fabricworld import render

    lines = []
    for at in range(8):
        name = ("denim", "lace")[at % 2]
        Image.fromarray(render(at, fabric=name, colour="blue", size=64).image).save(files / f"{at}.png")
        lines.append({"id": at, "image": f"{at}.png", "text": f"a photo of {name} fabric", "keyword": name})
    write_lines(files / "d.jsonl", lines)

    done = _run("experiment", "context", "--data", "d.jsonl", "--model", "mini", "--seeds", "0,1", "--json", cwd=files)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [each["name"] for each in result["outcomes"]] == ["context"]
    assert result["outcomes"][0]["result"]["arms"][0]["seeds"] == 2
    assert all((files / name).exists() for name in result["files"])
    joined = _run("p.jsonl", "--experiments", "experiments/experiments.json", "--out", "d", "--json", cwd=files)
    assert joined.returncode == 0, joined.stderr
    assert json.loads(joined.stdout)["experiments"]["outcomes"] == result["outcomes"]
    assert "Experiments" in (files / "d" / "diagnosis.md").read_text(encoding="utf-8")
    for arguments, code, message in (
        (
            ["experiment", "cleaning", "--data", "d.jsonl", "--model", "mini"],
            1,
            "cleaning cannot be run on d.jsonl: it",
        ),
        (["experiment", "magic"], 1, "experiments are noise-injection"),
        (["experiment", "--seeds", "a"], 2, "seeds are whole numbers such as 0,1,2"),
        (["p.jsonl", "--experiments", "p.jsonl"], 1, "p.jsonl holds no experiments"),
        (["p.jsonl", "--experiments", "none.json"], 1, "No experiments at none.json"),
    ):
        failed = _run(*arguments, cwd=files)
        assert failed.returncode == code, failed.stderr
        assert message in failed.stderr
        assert "Traceback" not in failed.stderr


def test_help_names_the_commands(tmp_path: Path) -> None:
    """Without reading a file."""
    done = _run("--help", cwd=tmp_path)

    assert done.returncode == 0
    assert all(name in done.stdout for name in ("predictions", "folder", "pairs", "experiment", "review", "rules"))
