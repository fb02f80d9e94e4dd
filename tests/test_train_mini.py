"""The recipe of the embedded model: every step runs, a broken leg goes on, captions and claims say the truth."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "examples" / "train_mini"

torch = pytest.importorskip("torch", reason="needs torch and open_clip (dependency group test)")
pytest.importorskip("open_clip", reason="needs torch and open_clip (dependency group test)")
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def recipe() -> Any:
    """The modules of the recipe, imported as its script imports them."""
    sys.path.insert(0, str(RECIPE))
    try:
        names = ("claims", "captions", "store", "batches", "model", "losses", "schedule", "checkpoints")
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(RECIPE))


@pytest.fixture(scope="module")
def writer(recipe: Any) -> Any:
    """One caption writer: open_clip's tokenizer takes a second to load."""
    return recipe["captions"].CaptionWriter()


@pytest.fixture(scope="module")
def store(recipe: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Forty rendered scenes."""
    return recipe["store"].write_store(tmp_path_factory.mktemp("scenes"), 40, 0)


def run(script: str, *options: str) -> str:
    """Run a script in a process of its own, as a user does."""
    command = [sys.executable, str(RECIPE / script), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        ("train.py", ["--minutes", "0"], "must be a number above 0; got '0'"),
        ("train.py", ["--peak", "nan"], "must be a number above 0; got 'nan'"),
        ("train.py", ["--seed", "-1"], "must be a whole number of 0 or more; got '-1'"),
        ("train.py", ["--scenes", "0"], "must be a whole number of 1 or more; got '0'"),
        ("train.py", ["--threads", "two"], "must be a whole number of 1 or more; got 'two'"),
        ("train.py", ["--continue-from", "none"], "must be a file; there is none at 'none'"),
        ("compare.py", ["a.npz", "b.npz"], "must be a file; there is none at 'a.npz'"),
        ("card.py", ["README.md", "mini"], "must be column=REPORT.json; got 'mini'"),
        ("evaluate.py", ["nowhere"], "error: "),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path: Path, script: str, options: list[str], words: str) -> None:
    """Before any minute is spent, and without a traceback."""
    (tmp_path / "README.md").touch()
    further = {"train.py": ["--out", "out"], "evaluate.py": ["--out", "out.json"]}.get(script, [])
    done = subprocess.run(
        [sys.executable, str(RECIPE / script), *options, *further], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.timeout(900)
def test_quick_run_makes_a_model_that_is_measured(tmp_path: Path) -> None:
    """Render, train, export through the gate, measure: everything is there, and the weights can be committed."""
    from clipfast import Clip

    run("train.py", "--out", str(tmp_path), "--quick")

    report = json.loads((tmp_path / "report.json").read_text())
    figures = report["worlds"]["fabricworld"]
    assert {"zero-shot fabric top-1", "memory, image AUROC [vv]", "shape word, mAP@.5 [vv_vv]"} <= figures.keys()
    assert all(0 <= row["estimate"] <= 1 for row in figures.values() if row["estimate"] is not None)
    assert (tmp_path / "weights.safetensors").stat().st_size < 10e6
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {"step", "images", "elapsed", "contrast", "fabric", "dense", "region", "reading"} <= log[-1].keys()
    compared = run("compare.py", *[str(tmp_path / "report.npz")] * 2).splitlines()
    assert all("+0.000 [+0.000, +0.000]" in line or "not comparable" in line for line in compared)
    assert len(compared) == sum(len(world) for world in report["worlds"].values())
    with Clip.load(tmp_path / "mini") as clip:
        assert clip.encode_dense([np.zeros((224, 224, 3), np.uint8)]).grid_hw == (14, 14)


@pytest.mark.parametrize("name", ["captions", "schedule", "losses", "figures"])
def test_examples_in_docstrings(recipe: Any, name: str) -> None:
    """No example fails, and there is one."""
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np, "torch": torch})

    assert result.attempted > 0
    assert result.failed == 0


def test_captions_are_read_back_token_by_token(recipe: Any, writer: Any) -> None:
    """The fast tokenizer gives open_clip's tokens, and every caption is made of known words."""
    captions, claims = recipe["captions"], recipe["claims"]
    rng = np.random.default_rng(0)
    seen = claims.Seen(0, 5, ((2, 0), (7, 3)), (1, 5), unsure=False, empty=False)
    bits = claims.true_claims(seen)
    texts = [captions.write(rng, claims.sample_claims(rng, bits)) for _ in range(300)]
    texts += [captions.write(rng, [claims.single_claim(rng, [claims.object_claim(1, 1)])]) for _ in range(300)]

    assert [writer._tokens(text) for text in texts] == [writer._tokenizer.encode(text) for text in texts]
    assert {token for text in texts for token in writer._tokens(text)} <= set(writer.known_tokens)
    assert len(set(texts)) > 400


def test_a_caption_says_all_of_its_claims(recipe: Any) -> None:
    """Names, or synonyms of them, of everything that is claimed, and of nothing else."""
    captions, claims = recipe["captions"], recipe["claims"]
    import words

    rng = np.random.default_rng(1)
    star, hole = claims.object_claim(claims.SHAPE_NAMES.index("star"), 0), claims.DEFECT
    for _ in range(100):
        text = captions.write(rng, [claims.FABRIC, claims.COLOUR + 5, star, hole])

        assert any(word in text for word in words.FABRIC_WORDS["denim"])
        assert any(word in text for word in words.COLOUR_WORDS["blue"])
        assert any(f"{red} {star}" in text for red in words.COLOUR_WORDS["red"] for star in words.SHAPE_WORDS["star"])
        assert any(word in text for word in words.DEFECT_WORDS["hole"])


def test_wrong_captions_are_wrong_in_one_claim(recipe: Any) -> None:
    """One claim differs, it is false, and an object mostly keeps its colour and changes its shape."""
    claims = recipe["claims"]
    rng = np.random.default_rng(2)
    bits = claims.true_claims(claims.Seen(3, 4, ((2, 0),), (), unsure=False, empty=False))
    own = claims.object_claim(2, 0)
    same_colour = 0
    for _ in range(200):
        said = [3, claims.COLOUR + 4, own]
        wrong = claims.wrong_claims(rng, said, bits)
        changed = [(one, other) for one, other in zip(said, wrong, strict=True) if one != other]

        assert len(changed) == 1
        assert changed[0][0] == own
        assert not bits[changed[0][1]]
        same_colour += claims.colour_of(changed[0][1]) == 0
    assert same_colour > 120


@pytest.mark.parametrize("grid", [7, 14])
def test_batches_are_true(recipe: Any, store: Any, writer: Any, grid: int) -> None:
    """The same step is the same batch; captions of a picture are true of it, their wrong twins of none that differs."""
    batches = recipe["batches"]
    data = batches.Batches(store, writer, size=8, grid=grid, seed=0, first_step=3)
    batch, again, later = next(iter(data)), next(iter(data)), data.batch(np.random.default_rng([0, grid, 4]))

    assert torch.equal(batch.pixels, again.pixels)
    assert torch.equal(batch.rows, again.rows)
    assert not torch.equal(batch.pixels, later.pixels)
    assert batch.pixels.shape == (8, 3, 16 * grid, 16 * grid)
    assert batch.truth[:, :8].diagonal().min() == 1
    assert batch.patches.shape == (8, grid * grid, batches.SINGLE_CLAIMS)
    assert (batch.shares >= 0).all()
    assert (batch.shares.sum(1) <= 1 + 1e-6).all()
    single_truth = batch.truth[:, -batches.SINGLE_CLAIMS :]
    shown = (batch.patches == 2).any(1)
    about = torch.tensor([recipe["claims"].SHAPE <= c < recipe["claims"].DEFECT for c in batch.singles.tolist()])
    assert (single_truth[:, about].bool() <= (batch.patches > 0).any(1)[:, about]).all()
    assert shown.any()


def test_a_patch_label_lies_where_the_object_is(recipe: Any, store: Any, writer: Any) -> None:
    """At full size and unflipped scale, patches labelled with an object's claim are those its mask covers."""
    claims, batches = recipe["claims"], recipe["batches"]
    number = next(i for i in range(len(store)) if (store.objects[i, :, 0] >= 0).sum() == 1)
    where = np.ix_(*([((np.arange(14 * 4) + 0.5) * 2).astype(np.int64)] * 2))
    crop = batches._Crop.of(store, number, store.images[number], where, 14)
    shape, colour = store.objects[number, 0].tolist()
    covered = (store.object_masks[number] == 1).reshape(14, 8, 14, 8).mean((1, 3)).reshape(-1)

    label = crop.patches[:, claims.object_claim(shape, colour)]
    assert (label[covered > 0.6] == 2).all()
    assert (label[covered == 0] == 0).all()
    assert crop.bits[claims.object_claim(shape, colour)] == 1
    assert crop.patches[covered == 0, claims.FABRIC + int(store.fabrics[number])].min() == 2


def test_a_broken_leg_goes_on_where_it_stopped(
    recipe: Any, writer: Any, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, moments and progress come back bit for bit, so the next step is the same; fp16 weights fill a model."""
    import train

    checkpoints, model = recipe["checkpoints"], recipe["model"]
    torch.manual_seed(0)
    first = model.MiniClip(writer.known_tokens)
    optimiser = train.make_optimiser(first)
    data = recipe["batches"].Batches(store, writer, size=4, grid=7, seed=0, first_step=0)
    batch, weights = next(iter(data)), recipe["losses"].Weights()
    train.step(first, optimiser, batch, weights, 1e-3)
    checkpoints.save_state(tmp_path, first, optimiser, checkpoints.Progress(1, 4, 2.5), {"seed": 0})

    second = model.MiniClip(writer.known_tokens)
    restored = train.make_optimiser(second)
    progress = checkpoints.load_state(tmp_path, second, restored, {"seed": 0})
    again = train.step(second, restored, batch, weights, 1e-3)

    assert progress == checkpoints.Progress(1, 4, 2.5)
    assert again == train.step(first, optimiser, batch, weights, 1e-3)
    with pytest.raises(SystemExit, match="a leg with other seed"):
        checkpoints.load_state(tmp_path, second, restored, {"seed": 1})
    third = model.MiniClip(writer.known_tokens)
    checkpoints.load_weights(tmp_path / checkpoints.WEIGHTS, third)
    other = model.MiniClip(writer.known_tokens[:-1])
    with pytest.raises(SystemExit, match=r"The checkpoint is of another model: table\.weight"):
        checkpoints.load_weights(tmp_path / checkpoints.WEIGHTS, other)


def test_forwards_are_open_clips(recipe: Any, writer: Any) -> None:
    """Our forwards for training give what open_clip's own model gives with the exported weights."""
    import open_clip

    model = recipe["model"]
    torch.manual_seed(0)
    ours = model.MiniClip(writer.known_tokens).eval()
    config = model.CONFIG
    theirs = open_clip.model.CLIP(
        config["embed_dim"],
        open_clip.model.CLIPVisionCfg(**config["vision_cfg"]),
        open_clip.model.CLIPTextCfg(**config["text_cfg"]),
    ).eval()
    theirs.load_state_dict(ours.open_clip_state())
    rows, ends = writer.encode(np.random.default_rng(0), [[0], [3, 40], [100]])
    tokens = torch.tensor([*writer.known_tokens, 1])[torch.from_numpy(rows)]
    padded = torch.zeros(3, 77, dtype=torch.long)
    for row, (token, end) in enumerate(zip(tokens, ends, strict=True)):
        padded[row, : end + 1] = token[: end + 1]
    pixels = torch.randn(2, 3, 224, 224)

    with torch.no_grad():
        images = torch.nn.functional.normalize(theirs.encode_image(pixels), dim=-1)
        texts = torch.nn.functional.normalize(theirs.encode_text(padded), dim=-1)
        assert torch.allclose(ours.images(pixels).embedding, images, atol=1e-5)
        assert torch.allclose(ours.texts(torch.from_numpy(rows), torch.from_numpy(ends)), texts, atol=1e-5)


def test_contrastive_only_teaches_no_place(recipe: Any, writer: Any, store: Any) -> None:
    """The sibling's loss has no dense, region or reading part."""
    import train

    torch.manual_seed(0)
    model = recipe["model"].MiniClip(writer.known_tokens)
    data = recipe["batches"].Batches(store, writer, size=4, grid=7, seed=0, first_step=0)
    weights = recipe["losses"].Weights.contrastive_only()

    assert train.step(model, train.make_optimiser(model), next(iter(data)), weights, 1e-3).keys() == {
        "contrast",
        "fabric",
        "right",
    }
