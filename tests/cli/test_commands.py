"""The command line as a user types it: every command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.artifact import Artifact
from clipfast.cli.commands import COMMANDS
from clipfast.cli.info import find_clashes

RUN = [sys.executable, "-c", "from clipfast.cli import main; main()"]


def _run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_help_lists_every_command(tmp_path: Path) -> None:
    """One line a command, without importing any of them."""
    done = _run("--help", cwd=tmp_path)

    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("arguments", [["nothing"], ["heatmap"], ["demo", "--rounds", "0"], ["bank", "build", "--no"]])
def test_wrong_usage_exits_2(tmp_path: Path, arguments: list[str]) -> None:
    """Unknown command, missing argument, out of range, unknown option."""
    assert _run(*arguments, cwd=tmp_path).returncode == 2


def test_demo_answers_and_draws(tmp_path: Path) -> None:
    """The whole library at work: the right fabric first, the pictures written, one JSON object on standard output."""
    done = _run("demo", "--rounds", "3", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)

    assert done.returncode == 0
    assert result["query"]["ranked"][0]["id"] == result["query"]["answer"] == "houndstooth"
    assert result["bank"]["images"] == 24
    assert {t["step"].split(":")[0] for t in result["timings"]} == {"query", "heat maps", "anomaly", "text"}
    assert all(0 < t["p50_ms"] <= t["p95_ms"] for t in result["timings"])
    with Image.open(tmp_path / "demo" / "heatmap.png") as picture:
        assert picture.size[0] > 800
    with Image.open(tmp_path / "demo" / "anomaly.png") as picture:
        assert picture.size[0] > 800
    assert result["anomaly"]["auroc"] > 0.95
    assert done.stderr.count("demo model trained on rendered fabrics") == 1


def test_the_owners_layout_is_the_default(tmp_path: Path) -> None:
    """`bank build` and `bank search` without options read data/fabrics and data/fabric_bank.npz."""
    from clipfast.datasets.fabricworld import render, write_folder

    write_folder(tmp_path / "data" / "fabrics", fabrics=["denim", "lace"], per_fabric=3, seed=0)
    Image.fromarray(render(9, fabric="lace").image).save(tmp_path / "query.png")
    built = _run("bank", "build", cwd=tmp_path)
    found = _run("bank", "search", "query.png", "--topk", "1", "--json", "--model", "mini", cwd=tmp_path)

    assert built.returncode == 0, built.stderr
    assert "[OK] denim: 3 images" in built.stdout
    assert (tmp_path / "data" / "fabric_bank.npz").is_file()
    assert json.loads(found.stdout)["results"][0]["id"] == "lace"
    assert found.stderr == ""


def test_heatmap_draws_and_points(tmp_path: Path) -> None:
    """The picture is written, and the peak lies on the object that the text names."""
    from clipfast.datasets.fabricworld import render

    scene = render(43, fabric="linen", colour="white", objects=3)
    Image.fromarray(scene.image).save(tmp_path / "scene.png")
    thing = scene.objects[0]
    done = _run(
        "heatmap", "scene.png", "--text", f"{thing.colour} {thing.shape}", "--path", "vv_vv", "--json", cwd=tmp_path
    )
    x, y = json.loads(done.stdout)["maps"][0]["peak_xy"]

    assert (tmp_path / "heat.png").is_file()
    assert thing.box[0] <= x < thing.box[2]
    assert thing.box[1] <= y < thing.box[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["heatmap", "none.jpg", "--text", "denim"], "none.jpg cannot be read as an image"),
        (["info", "nowhere"], "No artifact folder at nowhere"),
        (["bank", "build", "--model", "mini"], "data/fabrics"),
        (
            ["heatmap", "x.png", "--text", "a", "--provider", "gpu"],
            "provider must be one of cpu, openvino, cuda, tensorrt",
        ),
        (
            ["heatmap", "x.png", "--text", "a", "--precision", "int8"],
            "has no int8 graphs. Export it with --precision fp32,int8",
        ),
    ],
)
def test_a_failed_job_is_one_sentence(tmp_path: Path, arguments: list[str], message: str) -> None:
    """Exit code 1, the sentence on standard error, nothing on standard output, no traceback."""
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "x.png")
    done = _run(*arguments, cwd=tmp_path)

    assert done.returncode == 1
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_info_shows_the_parity_figures(tmp_path: Path) -> None:
    """As a table for people, and whole for machines."""
    table, data = _run("info", "mini", cwd=tmp_path), _run("info", "mini", "--json", cwd=tmp_path)

    assert "Parity of mini with PyTorch" in table.stdout
    assert len(json.loads(data.stdout)["parity"]) == 34


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="resident memory is read from /proc")
def test_info_measures_memory(tmp_path: Path) -> None:
    """Every graph's share, above nothing and below a gigabyte for the small model."""
    megabytes = json.loads(_run("info", "mini", "--memory", "--json", cwd=tmp_path).stdout)["memory_mb"]

    assert set(megabytes) == {"embed", "dense", "text", "patches", "joint", "tokens"}
    assert 1 < sum(megabytes.values()) < 1000


@pytest.mark.torch
def test_verify_on_the_command_line(tiny_artifact: Artifact, tmp_path: Path) -> None:
    """Without a checkpoint from the stored answers; other weights are refused by name."""
    done = _run("verify", tiny_artifact.path, "--json", cwd=tmp_path)
    wrong = _run("verify", "mini", "--against", tmp_path / "none.pt", cwd=tmp_path)

    assert json.loads(done.stdout)["passed"] is True
    assert wrong.returncode == 1
    assert "none.pt" in wrong.stderr


def test_info_of_the_system(tmp_path: Path) -> None:
    """What runs here; brackets of pip lines are not taken for markup."""
    table, data = _run("info", "--system", cwd=tmp_path), _run("info", "--system", "--json", cwd=tmp_path)
    facts = json.loads(data.stdout)

    assert facts["providers"]["cpu"] is True
    assert facts["clashes"] == []
    assert "mini" in facts["embedded_models"]
    assert "[gpu]" in table.stdout.replace("\n", "").replace(" ", "") or facts["providers"]["cuda"]


@pytest.mark.parametrize(
    ("wheels", "repair"),
    [
        ({"onnxruntime": "1.31.1", "faiss-cpu": "1.15"}, None),  # as it should be
        (
            {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.0"},
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu==1.31.0",
        ),
        (
            {"faiss-cpu": "1.15", "faiss-gpu": "1.14"},
            "pip uninstall -y faiss-cpu faiss-gpu && pip install faiss-gpu==1.14",
        ),
    ],
)
def test_clashing_wheels_get_a_repair_line(wheels: dict[str, str], repair: str | None) -> None:
    """Two wheels of one import name overwrite each other's files."""
    assert [clash["repair"] for clash in find_clashes(wheels)] == ([] if repair is None else [repair])


@pytest.mark.torch
def test_export_on_the_command_line(tiny_config: Path, tiny_artifact: Artifact, tmp_path: Path) -> None:
    """Random weights are said loudly, and the figures are printed as JSON; weights equal those of the library."""
    done = _run("export", tiny_config, "--heads", "embed,text", "--out", "art", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert "RANDOM weights" in done.stderr
    assert result["fingerprint"] == tiny_artifact.manifest.fingerprint()
    assert len(result["parity"]) == 4


@pytest.mark.torch
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RN50", "--out", "art"], "cannot be exported"),
        (["ViT-B-32", "--pretrained", "none.pt", "--out", "art"], "neither a file nor a tag"),
    ],
)
def test_export_refuses_in_one_sentence(tmp_path: Path, arguments: list[str], message: str) -> None:
    """Exit code 1 and nothing written."""
    done = _run("export", *arguments, cwd=tmp_path)

    assert done.returncode == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
