"""Fine-tuning for places: the trained path is CLIP Surgery's, nothing else moves, and `export` takes what comes out."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clipfast.surgery import Boxes

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"

torch = pytest.importorskip("torch", reason="needs torch and open_clip (dependency group test)")
pytest.importorskip("open_clip", reason="needs torch and open_clip (dependency group test)")
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def recipe() -> Iterator[Any]:
    """The modules of the example, imported as its script imports them."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        names = ("supervision", "tower", "objective", "held_out", "training")
        yield types.SimpleNamespace(**{name: importlib.import_module(f"finetuning.{name}") for name in names})
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture
def source(tiny_config: Path) -> Any:
    """A tiny model with seeded weights, every tensor of which matters."""
    from clipfast.export.weights import load_model

    return load_model(str(tiny_config), None, activation="quick_gelu", seed=1)


@pytest.fixture(scope="module")
def course(recipe: Any) -> Any:
    """A short course over all that can learn."""
    return recipe.training.Course(
        depth=6, blocks=6, rank=0, epochs=1, batch=4, rate=1e-3, weights=recipe.objective.Weights(), seed=0
    )


@pytest.fixture(scope="module")
def examples(recipe: Any) -> Any:
    """Twelve pictures of fabricworld at 64 pixels."""
    from clipfast.artifact import ImageSpec

    image = ImageSpec(size_hw=(64, 64), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return recipe.supervision.Examples.of(recipe.supervision.load_samples("fabricworld", None, "train", 12), image)


def unit_names(count: int) -> Any:
    """Seeded unit rows in place of texts."""
    rows = torch.randn(count, 48, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(rows, dim=-1)


def test_quick_run_makes_a_checkpoint_that_export_takes(tmp_path: Path) -> None:
    """Read, train with adapters, measure, write, export through the gate: the artifact holds the tuned weights."""
    from clipfast import Clip
    from clipfast.export.options import ExportOptions
    from clipfast.export.pipeline import export

    command = [
        sys.executable,
        str(EXAMPLES / "finetune_localisation.py"),
        "--quick",
        "--rank",
        "2",
        "--out",
        str(tmp_path),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    report = json.loads((tmp_path / "report.json").read_text())
    assert {"mAP@0.1", "mAP@0.3", "mAP@0.5", "pointing", "embedding drift"} == report["held out"].keys()
    assert report["held out"]["embedding drift"]["mean"] > 0
    assert "python -m clipfast.export" in done.stdout
    options = ExportOptions(
        str(tmp_path / "tuned.json"), str(tmp_path / "tuned.safetensors"), activation="gelu", surgery_depth=3,
        heads=("dense", "embed", "text"),
    )  # fmt: skip
    artifact = export(options, tmp_path / "artifact")
    assert artifact.manifest.source.weights_sha256 != report["source"]
    with Clip.load(artifact.path) as clip:
        assert clip.encode_dense([np.zeros((64, 64, 3), np.uint8)]).grid_hw == (4, 4)


@pytest.mark.parametrize("name", ["supervision", "objective", "training"])
def test_examples_in_docstrings(recipe: Any, name: str) -> None:
    """No example fails, and there is one."""
    result = doctest.testmod(getattr(recipe, name), extraglobs={"np": np, "torch": torch})

    assert result.attempted > 0
    assert result.failed == 0


def test_the_trained_path_is_the_references(recipe: Any, source: Any) -> None:
    """Embeddings and v-v tokens are those of the parity gate's plain PyTorch, at two depths."""
    from clipfast.export.reference import image_embedding, normalised, surgery_streams, surgery_tokens

    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for depth in (1, 6):
        with torch.no_grad():
            rows, tokens = recipe.tower.encode_images(source.model, normalised(pixels, source.image), depth)
        _, stream = surgery_streams(source.model, pixels, source.image, depth=depth)
        expected = torch.nn.functional.normalize(surgery_tokens(source.model, [stream])[0], dim=-1)

        assert torch.allclose(rows, image_embedding(source.model, pixels, source.image), atol=1e-5)
        assert torch.allclose(tokens, expected, atol=1e-5)


def test_names_are_encoded_as_open_clip_encodes_them(recipe: Any, source: Any) -> None:
    """Without the padding, but the same rows; several templates are averaged."""
    import open_clip

    names, templates = ["red star", "a rather long name of a thing"], ("a photo of a {}.", "{}")
    found = recipe.tower.encode_names(source.model, names, templates)
    with torch.no_grad():
        rows = [
            source.model.encode_text(open_clip.tokenize([t.format(name) for t in templates]), normalize=True).mean(0)
            for name in names
        ]

    assert torch.allclose(found, torch.nn.functional.normalize(torch.stack(rows), dim=-1), atol=1e-5)


def test_adapters_begin_as_nothing_and_merge_exactly(recipe: Any, source: Any) -> None:
    """Fresh adapters change no output, merged ones leave an ordinary model that says what the adapted one said."""
    model, tower = source.model, recipe.tower
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    keys, before = list(model.state_dict()), tower.encode_images(model, pixels, 6)[1].detach()
    learned = tower.trainable(model, 2, 3)
    assert torch.equal(tower.encode_images(model, pixels, 6)[1], before)

    with torch.no_grad():
        for parameter in learned:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    adapted = tower.encode_images(model, pixels, 6)[1].detach()
    tower.merge(model)
    merged = tower.encode_images(model, pixels, 6)[1].detach()

    assert (adapted - before).abs().max() > 1e-3
    assert torch.allclose(merged, adapted, atol=1e-6)
    assert sorted(model.state_dict()) == sorted(keys)
    assert len(learned) == 2 * 4 * 2


@pytest.mark.parametrize("rank", [0, 2])
def test_only_the_last_image_blocks_move(recipe: Any, source: Any, course: Any, examples: Any, rank: int) -> None:
    """Texts, the first blocks, and with adapters also norms and biases stay bit for bit."""
    before = {name: value.clone() for name, value in source.model.state_dict().items()}
    short = replace(course, blocks=2, rank=rank)
    list(recipe.training.fine_tune(source.model, examples, source.image, unit_names(len(examples.classes)), short))
    recipe.tower.merge(source.model)
    moved = {name for name, value in source.model.state_dict().items() if not torch.equal(value, before[name])}
    allowed = ("visual.transformer.resblocks.5.", "visual.transformer.resblocks.6.")

    assert moved
    if rank:
        assert {name.split(".", 4)[-1] for name in moved} == {
            "attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight",
        }  # fmt: skip
        assert all(name.startswith(allowed) for name in moved)
    else:
        assert {"visual.proj", "visual.ln_post.weight"} <= moved
        assert all(name.startswith((*allowed, "visual.ln_post", "visual.proj")) for name in moved)


def test_places_are_learned(recipe: Any, source: Any, course: Any, examples: Any) -> None:
    """On the pictures it is shown, the loss falls and maps point at objects that they did not point at."""
    names = unit_names(len(examples.classes))
    listen = recipe.held_out.listen
    before = listen(source.model, examples, source.image, names, 6)
    long = replace(course, epochs=80, weights=recipe.objective.Weights(keep=0.0, contrast=0.0))
    rows = list(recipe.training.fine_tune(source.model, examples, source.image, names, long))
    after = listen(source.model, examples, source.image, names, 6)

    assert rows[-1]["dense"] < 0.7 * rows[0]["dense"]
    assert np.mean(np.concatenate(after.hits)) > np.mean(np.concatenate(before.hits)) + 0.2
    assert rows[0].keys() == {"epoch", "dense"}


def test_what_is_kept_stays(recipe: Any, source: Any, course: Any, examples: Any, tiny_config: Path) -> None:
    """With a weight on it, whole images drift less than without."""
    from clipfast.export.weights import load_model

    drifts = []
    for weight in (0.0, 50.0):
        model = load_model(str(tiny_config), None, activation="quick_gelu", seed=1).model
        names = unit_names(len(examples.classes))
        before = recipe.held_out.listen(model, examples, source.image, names, 6)
        weights = recipe.objective.Weights(contrast=0.0, keep=weight)
        list(
            recipe.training.fine_tune(model, examples, source.image, names, replace(course, epochs=4, weights=weights))
        )
        after = recipe.held_out.listen(model, examples, source.image, names, 6)
        drifts.append(recipe.held_out.compare(examples, before, after, 100)["embedding drift"]["mean"])

    assert drifts[1] < 0.5 * drifts[0]


def test_the_same_seed_trains_the_same_weights(recipe: Any, tiny_config: Path, course: Any, examples: Any) -> None:
    """Bit for bit on one machine."""
    from clipfast.export.weights import hash_state, load_model

    hashes = set()
    for _ in range(2):
        found = load_model(str(tiny_config), None, activation="quick_gelu", seed=1)
        names = unit_names(len(examples.classes))
        list(recipe.training.fine_tune(found.model, examples, found.image, names, replace(course, rank=2)))
        recipe.tower.merge(found.model)
        hashes.add(hash_state(found.model.state_dict()))

    assert len(hashes) == 1


def test_the_same_model_differs_in_nothing(recipe: Any, source: Any, examples: Any) -> None:
    """A comparison with itself has differences of exactly 0."""
    said = recipe.held_out.listen(source.model, examples, source.image, unit_names(len(examples.classes)), 6)
    report = recipe.held_out.compare(examples, said, said, 100)

    assert all(report[f"mAP@{iou}"]["interval"] == [0, 0] for iou in recipe.held_out.IOUS)
    assert report["pointing"]["difference"] == 0
    assert abs(report["embedding drift"]["max"]) < 1e-5


def test_boxes_that_are_right_have_full_precision(recipe: Any, examples: Any) -> None:
    """Truth handed in as what was found gives 1 against nothing found."""
    perfect = tuple(
        {label: Boxes(boxes[labels == label], np.ones((labels == label).sum())) for label in set(labels.tolist())}
        for boxes, labels in zip(examples.boxes, examples.labels, strict=True)
    )
    rows = np.ones((len(examples), 1), np.float32)
    hits = tuple([True] * len(each) for each in perfect)
    nothing = tuple({label: Boxes.none() for label in each} for each in perfect)
    said = recipe.held_out.Said
    report = recipe.held_out.compare(examples, said(rows, nothing, hits), said(rows, perfect, hits), 100)

    assert [report[f"mAP@{iou}"]["after"] for iou in (0.1, 0.3, 0.5)] == [1, 1, 1]
    assert [report[f"mAP@{iou}"]["before"] for iou in (0.1, 0.3, 0.5)] == [0, 0, 0]


def test_shares_are_exact_and_mirror(recipe: Any, examples: Any) -> None:
    """Counted on a fine grid; in the mirror image patches of a row are in the other order."""
    boxes = np.array([[3.0, 5.0, 40.0, 33.0], [48.0, 0.0, 64.0, 64.0], [17.25, 17.5, 18.0, 19.0]])
    found = recipe.supervision.patch_shares(boxes, (4, 4), 16)
    at = (np.arange(64 * 8) + 0.5) / 8
    for share, (x1, y1, x2, y2) in zip(found, boxes, strict=True):
        fine = np.outer((at >= y1) & (at < y2), (at >= x1) & (at < x2)).reshape(4, 128, 4, 128).mean((1, 3))

        assert np.allclose(share.reshape(4, 4), fine, atol=1e-6)
    pixels, mirrored = examples.mirrored(0)
    there = recipe.supervision.patch_shares(mirrored, (4, 4), 16).reshape(-1, 4, 4)
    here = recipe.supervision.patch_shares(examples.boxes[0], (4, 4), 16).reshape(-1, 4, 4)

    assert np.allclose(there, here[:, :, ::-1], atol=1e-6)
    assert np.array_equal(pixels[:, ::-1], examples.pixels[0])


def test_patch_truth(recipe: Any) -> None:
    """Covered, in part, not at all; the fullest patch of a small box; what any box of the class covers is covered."""
    truth = recipe.objective.patch_truth
    shares = torch.tensor([[0.6, 0.4, 0.0, 0.0], [0.0, 0.5, 0.2, 0.0], [0.0, 0.0, 0.1, 0.05]])

    assert truth(shares[:2], torch.tensor([0, 0]), 1)[:, 0].tolist() == [1, 1, -1, 0]
    assert truth(shares[2:], torch.tensor([1]), 2).tolist() == [[0, 0], [0, 0], [0, 1], [0, -1]]
    assert truth(torch.zeros(1, 4), torch.tensor([0]), 1)[:, 0].tolist() == [0, 0, 0, 0]
    assert truth(torch.zeros(0, 4), torch.tensor([], dtype=torch.int64), 2).tolist() == [[0, 0]] * 4


def test_the_dense_loss_counts_rare_patches_as_much(recipe: Any) -> None:
    """One covered patch among many weighs a third, and patches that are covered in part count nothing."""
    judge = recipe.objective.DenseJudge()
    cosines = torch.zeros(1, 50, 2)
    truth = torch.zeros(1, 50, 2, dtype=torch.int8)
    truth[0, 0, 0], truth[0, 1, 0] = 1, -1
    with torch.no_grad():
        judge.bias.fill_(-3.0)
        expected = (np.log1p(np.exp(3.0)) + 2 * np.log1p(np.exp(-3.0))) / 3
        assert float(judge(cosines, truth)) == pytest.approx(expected, rel=1e-5)
        cosines[0, 1, 0] = 1.0
        assert float(judge(cosines, truth)) == pytest.approx(expected, rel=1e-5)


@dataclass(frozen=True)
class Record:
    """What a reader of data sets gives."""

    id: str
    image: NDArray[np.uint8]
    size_hw: tuple[int, int]
    boxes: NDArray[np.float64]
    labels: tuple[str, ...]


def test_any_reader_of_boxes_will_do(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of another shape are squeezed with their boxes; boxes of classes unknown to the training are left out."""
    from clipfast.artifact import ImageSpec

    asked = []

    def read_boxes(*given: Any, **options: Any) -> list[Record]:
        asked.append((given, options))
        image = np.zeros((100, 200, 3), np.uint8)
        image[50:, 100:] = 255
        return [Record("one", image, (100, 200), np.array([[100.0, 50, 200, 100], [0, 0, 20, 10]]), ("cell", "plate"))]

    module = types.ModuleType("clipfast.datasets.box_samples")
    module.read_boxes = read_boxes  # type: ignore[attr-defined]  # put in the place of the reader
    monkeypatch.setitem(sys.modules, module.__name__, module)
    samples = list(recipe.supervision.load_samples("voc", Path("somewhere"), "val", 5))
    image = ImageSpec(size_hw=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
    found = recipe.supervision.Examples.of(samples, image, ("cell",))

    assert asked == [(("voc", Path("somewhere")), {"split": "val", "limit": 5})]
    assert found.boxes[0].tolist() == [[16, 16, 32, 32]]
    assert found.labels[0].tolist() == [0]
    assert found.pixels[0][20:, 20:].min() == 255
    assert found.pixels[0][:12].max() == 0
    with pytest.raises(SystemExit, match="No image has a box of a known class"):
        recipe.supervision.Examples.of(samples, image, ("other",))


def test_wrong_questions_are_told(recipe: Any) -> None:
    """A split that fabricworld has not, and a format without a folder."""
    with pytest.raises(SystemExit, match="must be one of train, val"):
        list(recipe.supervision.load_samples("fabricworld", None, "test", 1))
    with pytest.raises(SystemExit, match="one of the first two not 0"):
        recipe.objective.Weights(dense=0.0, contrast=0.0)
    with pytest.raises(SystemExit, match="name it with --data"):
        list(recipe.supervision.load_samples("voc", None, None, 1))
