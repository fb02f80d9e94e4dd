"""Every path is its definition, up to the PyTorch reference; what an artifact lacks is said before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.prompts import IMAGENET, PLAIN, SURGERY
from clipfast.runtime.clip import Clip
from clipfast.similarity import cosine_map, feature_surgery
from clipfast.surgery import (
    FROM_ONE_FORWARD,
    PATHS,
    MapOptions,
    attention_entropy,
    attention_maps,
    class_attention,
    depth_maps,
    fuse_maps,
    heatmaps,
    heatmaps_by_path,
)
from clipfast.surgery.paths import Path as PathName
from clipfast.surgery.paths import score_patches
from clipfast.surgery.texts import TextRows
from clipfast.types import DenseEncoder, DenseTokens, Floats, Images, Pixels

TEXTS = ["denim", "a red star", "lace"]
PRESETS: tuple[PathName, ...] = ("maskclip", "clearclip", "sclip", "naclip", "segearth", "gem")


def grid(scores: Floats, side: int = 14) -> Floats:
    """(n, p, t) as maps."""
    return scores.transpose(0, 2, 1).reshape(len(scores), -1, side, side)


class CountedClip:
    """A model that counts the forwards of each graph."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.calls: list[str] = []
        self.manifest, self.exif, self.max_pixels = clip.manifest, clip.exif, clip.max_pixels

    def encode_texts(self, texts: Sequence[str], templates: Sequence[str] | None = None) -> Floats:
        return self.clip.encode_texts(texts, templates)

    def encode_images(self, images: Images) -> Floats:
        self.calls.append("embed")
        return self.clip.encode_images(images)

    def encode_dense(self, images: Images, alpha: float = 0.5) -> DenseTokens:
        self.calls.append("dense")
        return self.clip.encode_dense(images, alpha)

    def encode_presets(self, images: Images) -> dict[str, Floats]:
        self.calls.append("tokens")
        return self.clip.encode_presets(images)

    def fingerprint(self, output: str = "embedding") -> str:
        return self.clip.fingerprint(output)


def test_the_table_names_every_path_once() -> None:
    """Its keys are the type's choices; each says in one sentence what it is good for."""
    assert tuple(PATHS) == get_args(PathName)
    assert FROM_ONE_FORWARD == ("standard", "vv_qk", "vv_vv", "vv_mixed")
    assert all(row.good_for.endswith(".") and 40 < len(row.good_for) <= 120 for row in PATHS.values())


def test_plain_and_the_original(mini: Clip, photo: Pixels) -> None:
    """`plain` is the unmodified tower with templates, `legacy_seed` the same with the bare name."""
    tokens = mini.encode_tokens(photo)
    maps = heatmaps_by_path(mini, photo, TEXTS, ("plain", "legacy_seed"))

    assert np.abs(maps["plain"] - grid(cosine_map(tokens, mini.encode_texts(TEXTS, SURGERY)))).max() < 1e-6
    assert np.abs(maps["legacy_seed"] - grid(cosine_map(tokens, mini.encode_texts(TEXTS)))).max() < 1e-6
    assert np.abs(maps["plain"] - maps["legacy_seed"]).max() > 1e-3


@pytest.mark.parametrize("templates", [None, PLAIN, IMAGENET, ["cloth like {}"]])
def test_templates_are_the_callers(mini: Clip, photo: Pixels, templates: Any) -> None:
    """Any set, or none."""
    maps = heatmaps(mini, photo, TEXTS, "vv_vv", options=MapOptions(templates=templates))

    assert (
        np.abs(maps - grid(cosine_map(mini.encode_dense(photo).vv, mini.encode_texts(TEXTS, templates)))).max() < 1e-6
    )


@pytest.mark.parametrize("path", ["standard", "vv_vv", "vv_qk", "plain"])
def test_a_redundant_text_is_subtracted_from_all(mini: Clip, photo: Pixels, path: PathName) -> None:
    """For several texts as for one, on every path: the text's similarity less that of the redundant one."""
    found = heatmaps(mini, photo, TEXTS, path, options=MapOptions(redundant="cloth"))
    plain_path: PathName = "vv_vv" if path == "standard" else path
    each = heatmaps(mini, photo, [*TEXTS, "cloth"], plain_path)

    assert np.abs(found - (each[:, :3] - each[:, 3:])).max() < 1e-6
    assert (
        np.abs(heatmaps(mini, photo, "lace", path, options=MapOptions(redundant="cloth")) - found[:, 2:]).max() < 1e-6
    )


def test_one_text_of_standard_is_compared_with_the_empty_one(mini: Clip, photo: Pixels) -> None:
    """The published form for a single text, and the same as asking for it."""
    alone = heatmaps(mini, photo, "denim")

    assert np.abs(alone - heatmaps(mini, photo, "denim", options=MapOptions(redundant=""))).max() < 1e-7


def test_labels_take_part_without_maps(mini: Clip, photo: Pixels) -> None:
    """Feature surgery over texts and labels together; a label that is asked for, too, counts once."""
    dense, rows = mini.encode_dense(photo), mini.encode_texts([*TEXTS, "linen", "satin"], SURGERY)
    expected = grid(feature_surgery(dense.vv, dense.embedding, rows))
    options = MapOptions(labels=("linen", "Denim ", "satin"))

    assert np.abs(heatmaps(mini, photo, TEXTS, options=options) - expected[:, :3]).max() < 1e-6
    one = heatmaps(mini, photo, "denim", options=MapOptions(labels=("a red star", "lace", "linen", "satin")))
    assert np.abs(one - expected[:, :1]).max() < 1e-6


@pytest.mark.parametrize(
    ("paths", "options", "expected"),
    [
        (FROM_ONE_FORWARD, MapOptions(), ["dense"]),  # four maps of one forward
        (("plain", "legacy_seed"), MapOptions(), ["tokens"]),
        ((*FROM_ONE_FORWARD, "plain", "legacy_seed"), MapOptions(), ["dense", "tokens"]),
        (("plain", "vv_vv"), MapOptions(geometry="letterbox"), ["dense", "tokens"]),
    ],
)
def test_no_graph_runs_twice(mini: Clip, photo: Pixels, paths: Any, options: MapOptions, expected: list[str]) -> None:
    """One forward of each graph that is needed gives the maps of all paths, and they are those of each path alone."""
    counted = CountedClip(mini)
    maps = heatmaps_by_path(counted, [photo, photo[:60]], TEXTS, paths, (20, 30), options)

    assert counted.calls == expected
    assert list(maps) == list(paths)
    for path in paths:
        assert np.abs(maps[path] - heatmaps(mini, [photo, photo[:60]], TEXTS, path, (20, 30), options)).max() < 1e-5


def test_long_series_are_read_in_batches(mini: Clip, photo: Pixels) -> None:
    """Memory does not grow with the number of images: tokens of one batch are let go before the next."""
    counted = CountedClip(mini)
    maps = heatmaps(counted, (photo for _ in range(5)), TEXTS, options=MapOptions(batch_size=2))

    assert counted.calls == ["dense"] * 3
    assert maps.shape == (5, 3, 14, 14)


def test_no_image_gives_no_map(mini: Clip) -> None:
    """In the right shape, at any size."""
    assert heatmaps(mini, [], TEXTS).shape == (0, 3, 14, 14)
    assert heatmaps(mini, [], TEXTS, "plain", (5, 6), MapOptions(geometry="squash")).shape == (0, 3, 5, 6)


def test_what_the_artifact_lacks_is_said(mini: Clip, photo: Pixels) -> None:
    """Which path, which tokens, and how to export them, before anything runs; for every preset, and for depths."""
    poor = CountedClip(mini)
    graphs = dict(mini.manifest.graphs)
    graphs["tokens"] = msgspec.structs.replace(graphs["tokens"], outputs=("embedding", "plain"))
    poor.manifest = msgspec.structs.replace(mini.manifest, graphs=graphs)
    for name in PRESETS:
        with pytest.raises(ArtifactError, match=rf"no '{name}' tokens, which the path {name} reads.*--presets {name}"):
            heatmaps(poor, photo, TEXTS, name)
    with pytest.raises(ArtifactError, match=r"at chosen depths.*--presets sweep"):
        heatmaps(poor, photo, TEXTS, "vv_vv", options=MapOptions(depths=(2, 3)))
    del graphs["tokens"]
    poor.manifest = msgspec.structs.replace(mini.manifest, graphs={"embed": graphs["embed"], "text": graphs["text"]})
    with pytest.raises(ArtifactError, match=r"no 'plain' tokens.*WEIGHTS --heads embed,text,tokens --out"):
        heatmaps(poor, photo, TEXTS, "plain")
    with pytest.raises(ArtifactError, match=r"no 'vv' tokens, which the path standard reads.*embed,text,dense"):
        heatmaps(poor, photo, TEXTS)
    assert poor.calls == []


def test_a_class_row_that_is_not_there(mini: Clip, photo: Pixels) -> None:
    """Is told with the export option."""

    class Rowless(CountedClip):
        def encode_dense(self, images: Images, alpha: float = 0.5) -> DenseTokens:
            return replace(super().encode_dense(images, alpha), streams={})

    with pytest.raises(ArtifactError, match="--class-attention"):
        class_attention(Rowless(mini), photo)


def test_a_model_that_gives_surgery_tokens_only(mini: Clip, photo: Pixels) -> None:
    """Is enough for the four paths; others say what they need."""

    class DenseOnly:
        encode_dense = staticmethod(mini.encode_dense)
        encode_texts = staticmethod(mini.encode_texts)

    simple: DenseEncoder = DenseOnly()

    assert (heatmaps(simple, photo, TEXTS) == heatmaps(mini, photo, TEXTS)).all()
    with pytest.raises(ArtifactError, match=r"encode_presets\(\) and a manifest.*got DenseOnly"):
        heatmaps(simple, photo, TEXTS, "plain")
    with pytest.raises(ArtifactError, match="geometry"):
        heatmaps(simple, photo, TEXTS, options=MapOptions(geometry="squash"))


@pytest.mark.parametrize(
    ("options", "path", "error", "message"),
    [
        ({"labels": ("a",)}, "vv_vv", DataError, "labels are compared by the path standard"),
        ({"depths": (1,)}, "vv_qk", DataError, "depths belong to standard and vv_vv"),
        ({"labels": ("a",), "redundant": "b"}, "standard", DataError, "choose one"),
        ({"labels": "linen"}, "standard", DataError, "labels must be a list of names; got the text 'linen'"),
        ({"alpha": 1.5}, "standard", ShapeError, "alpha must be"),
        ({"class_share": float("nan")}, "standard", ShapeError, "class_share"),
        ({"batch_size": 0}, "standard", ShapeError, "batch_size"),
        ({"depths": (0,)}, "vv_vv", ShapeError, "whole numbers of 1 or more"),
        ({"depths": (2, 2)}, "vv_vv", ShapeError, "different"),
        ({"depths": (1.5,)}, "vv_vv", ShapeError, "whole numbers"),
        ({"depths": (1, 2), "depth_weights": (1,)}, "vv_vv", ShapeError, "depth_weights must be 2 numbers above 0"),
        ({"geometry": "fit"}, "vv_vv", DataError, "squash, centre_crop, letterbox; got 'fit'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    mini: Clip, photo: Pixels, options: dict[str, Any], path: PathName, error: type[Exception], message: str
) -> None:
    """When they are said, or with the path that cannot use them."""
    with pytest.raises(error, match=message):
        heatmaps(mini, photo, TEXTS, path, options=MapOptions(**options))


def test_scores_without_the_embedding_that_they_need(mini: Clip, photo: Pixels) -> None:
    """Nothing takes its place."""
    rows = mini.encode_texts(TEXTS)
    texts, vv = TextRows(rows, 3, None, rows[0]), mini.encode_dense(photo).vv

    assert score_patches("vv_vv", {"vv": vv}, None, texts, MapOptions()).shape == (1, 196, 3)
    with pytest.raises(ShapeError, match="needs the image's embedding"):
        score_patches("standard", {"vv": vv}, None, texts, MapOptions())


def test_no_path_is_refused(mini: Clip, photo: Pixels) -> None:
    """There must be one to compute."""
    with pytest.raises(DataError, match="at least one path"):
        heatmaps_by_path(mini, photo, TEXTS, ())


def test_fused_maps_are_weighted_means() -> None:
    """Any number of maps of one shape."""
    maps = [np.full((1, 2, 2), value, np.float32) for value in (1, 2, 6)]

    assert fuse_maps(maps).tolist() == [[[3, 3], [3, 3]]]
    assert fuse_maps(maps, [1, 1, 2]).tolist() == [[[3.75, 3.75], [3.75, 3.75]]]
    with pytest.raises(ShapeError, match="one shape"):
        fuse_maps([maps[0], maps[1][:, :1]])
    with pytest.raises(ShapeError, match="one or more"):
        fuse_maps([])
    with pytest.raises(ShapeError, match="3 numbers above 0"):
        fuse_maps(maps, [1, 2])


def test_attention_as_maps_and_entropy() -> None:
    """The class token's own share is left out of maps; entropy is 0 for one token and the logarithm for all alike."""
    rows = np.zeros((1, 2, 7), np.float32)
    rows[0, 0, 3], rows[0, 1] = 1, 1 / 7

    assert attention_maps(rows, (2, 3))[0, 0].tolist() == [[0, 0, 1], [0, 0, 0]]
    assert attention_entropy(rows)[0].tolist() == [0, pytest.approx(np.log(7))]
    with pytest.raises(ShapeError, match="grid of"):
        attention_maps(rows, (3, 3))
    with pytest.raises(ShapeError, match="sum to 1"):
        attention_entropy(rows * 2)
    with pytest.raises(ShapeError, match="sum to 1"):
        attention_entropy(rows - 1)


@pytest.mark.torch
@pytest.mark.parametrize("batch", [1, 5])
def test_every_path_agrees_with_pytorch(tiny: Clip, tiny_config: Path, batch: int) -> None:
    """Maps of all paths at a size that is not the model's own, from ONNX Runtime, against the plain reference.

    The tokens themselves are compared by the export's gate, at batch 1 and 5 of every artifact that is made.
    """
    from clipfast.export import parity
    from clipfast.export.weights import load_model
    from reference import naive

    source = load_model(str(tiny_config), None, image_size=96)
    inputs = parity.sample_inputs(tiny.manifest, batch, alpha=0.3, seed=batch)
    known = parity.answers(tiny.manifest, source, inputs, ("dense", "tokens"))
    tokens = {**known["tokens"], **known["dense"]}
    rows, bare = tiny.encode_texts(TEXTS, SURGERY), tiny.encode_texts(TEXTS)
    embedding = known["dense"]["embedding"]
    embedding = embedding / np.linalg.norm(embedding, axis=-1, keepdims=True)
    unit = {n: v / np.linalg.norm(v, axis=-1, keepdims=True) for n, v in tokens.items() if v.ndim == 3}
    expected = {name: unit[PATHS[name].stream] @ rows.T for name in PATHS}
    expected["standard"] = naive.feature_surgery(unit["vv"], embedding, rows)
    expected["segearth"] = expected["segearth"] - 0.3 * (embedding @ rows.T)[:, None]
    expected["legacy_seed"] = unit["plain"] @ bare.T
    maps = heatmaps_by_path(tiny, inputs["pixels"], TEXTS, tuple(PATHS), options=MapOptions(alpha=0.3))

    for name in PATHS:
        assert np.abs(maps[name] - grid(expected[name], 6)).max() < 1e-4, name


@pytest.mark.torch
def test_depths_are_the_sweep(tiny: Clip) -> None:
    """Depth 6 is the dense head's own stream; chosen depths are averaged with their weights; L is the last."""
    from clipfast.export.parity import sample_pixels

    pixels = sample_pixels((96, 96), 3, seed=1)
    for path in ("vv_vv", "standard"):
        every = depth_maps(tiny, pixels, TEXTS, path, MapOptions(batch_size=2))
        options = MapOptions(depths=(2, 6), depth_weights=(1, 3))

        assert every.shape == (3, 7, 3, 6, 6)
        assert np.abs(every[:, 5] - heatmaps(tiny, pixels, TEXTS, path)).max() < 1e-4
        assert np.abs(every[:, 0] - every[:, 6]).max() > 1e-3
        fused = heatmaps(tiny, pixels, TEXTS, path, options=options)
        assert np.abs(fused - (0.25 * every[:, 1] + 0.75 * every[:, 5])).max() < 1e-5
        with pytest.raises(DataError, match="at most 7"):
            heatmaps(tiny, pixels, TEXTS, path, options=MapOptions(depths=(8,)))
    mixed = heatmaps_by_path(tiny, pixels, TEXTS, options=MapOptions(depths=(6,)))  # of the tokens' and dense's graphs
    for path in FROM_ONE_FORWARD:
        assert np.abs(mixed[path] - heatmaps(tiny, pixels, TEXTS, path)).max() < 1e-4
    with pytest.raises(DataError, match="takes no geometry"):
        depth_maps(tiny, pixels, TEXTS, options=MapOptions(geometry="squash"))


@pytest.mark.torch
def test_the_class_row(tiny: Clip) -> None:
    """One row a head, as maps on the patch grid, with an entropy below that of looking everywhere alike."""
    from clipfast.export.parity import sample_pixels

    rows = class_attention(tiny, sample_pixels((96, 96), 2, seed=2))
    maps, entropy = attention_maps(rows, (6, 6)), attention_entropy(rows)

    assert maps.shape == (2, 2, 6, 6)
    assert entropy.shape == (2, 2)
    assert ((entropy > 0) & (entropy <= np.log(37) + 1e-6)).all()
    assert np.abs(maps.sum((-2, -1)) + rows[..., 0] - 1).max() < 1e-5


@pytest.mark.torch
def test_the_class_share_shifts_whole_maps(tiny: Clip) -> None:
    """`segearth` adds one number to each text's map, so a single map keeps its shape."""
    from clipfast.export.parity import sample_pixels

    pixels = sample_pixels((96, 96), 2, seed=3)
    none, some = (
        heatmaps(tiny, pixels, TEXTS, "segearth", options=MapOptions(class_share=share)) for share in (0.0, -0.3)
    )

    assert np.abs(np.ptp(some - none, axis=(-2, -1))).max() < 1e-6
    assert np.abs(some - none).max() > 1e-4
