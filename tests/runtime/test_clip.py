"""The class that users meet."""

from __future__ import annotations

import io
import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.artifact import Artifact
from clipfast.errors import ArtifactError, DataError, ImageError, ShapeError
from clipfast.prompts import IMAGENET, PLAIN
from clipfast.runtime.clip import Clip, ImageOptions, embedded_models
from clipfast.runtime.preprocess import preprocess
from clipfast.types import DenseEncoder, ImageEncoder, Pixels, TextEncoder


def test_embeddings_are_unit_rows(mini: Clip, photo: Pixels) -> None:
    """Images and texts leave as float32 unit rows of the model's size."""
    for rows in (mini.encode_images([photo, photo]), mini.encode_texts(["denim", "a red star"])):
        assert rows.shape == (2, mini.embed_dim)
        assert rows.dtype == np.float32
        assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() < 1e-5


def test_every_kind_of_source_gives_the_same_embedding(mini: Clip, photo: Pixels, tmp_path: Path) -> None:
    """Path, string, bytes, open file, PIL image and array are one image."""
    path = tmp_path / "photo.png"
    Image.fromarray(photo).save(path)
    data = path.read_bytes()
    with path.open("rb") as file:
        rows = mini.encode_images([path, str(path), data, io.BytesIO(data), file, Image.open(path), photo])

    assert np.abs(rows - rows[0]).max() < 1e-6


def test_one_image_is_a_row(mini: Clip, photo: Pixels) -> None:
    """A single source, a list of one and a 4-D array of one are the same."""
    expected = mini.encode_images([photo])

    assert (mini.encode_images(photo) == expected).all()
    assert (mini.encode_images(photo[None]) == expected).all()


def test_no_images_is_no_rows(mini: Clip) -> None:
    """Empty in, empty out, with the right width."""
    assert mini.encode_images([]).shape == (0, mini.embed_dim)
    assert mini.encode_texts([]).shape == (0, mini.embed_dim)
    assert mini.encode_dense([]).vv.shape == (0, 196, mini.embed_dim)


def test_batching_does_not_change_a_row(photo: Pixels) -> None:
    """Batches of 1, 3 and 32, decoded inline or ahead, give the same rows in the same order."""
    images = [np.roll(photo, 7 * i, axis=1) for i in range(7)]
    rows = [
        Clip.load("mini", threads=1, images=ImageOptions(batch_size=size, decoders=decoders)).encode_images(
            iter(images)
        )
        for size, decoders in ((1, 0), (3, 2), (32, 1))
    ]

    assert np.abs(rows[0] - rows[1]).max() < 1e-6
    assert np.abs(rows[0] - rows[2]).max() < 1e-6
    assert np.abs(rows[0][0] - rows[0][3]).max() > 1e-3


def test_dense_agrees_with_embed_and_blends(mini: Clip, photo: Pixels) -> None:
    """The dense graph's embedding is the embed graph's, and alpha 1 and 0 give the pure streams."""
    expected = mini.encode_images(photo)
    qk, vv = mini.encode_dense(photo, alpha=1.0), mini.encode_dense(photo, alpha=0.0)

    assert np.abs(qk.embedding - expected).max() < 1e-5
    assert np.abs(qk.mixed - qk.qk).max() < 1e-4
    assert np.abs(vv.mixed - vv.vv).max() < 1e-4
    assert np.abs(qk.qk - qk.vv).max() > 1e-2
    assert qk.grid_hw == (14, 14)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_must_be_a_share(mini: Clip, photo: Pixels, alpha: float) -> None:
    """Outside [0, 1] it is no blend."""
    with pytest.raises(ShapeError, match=r"alpha must be in \[0, 1\]"):
        mini.encode_dense(photo, alpha=alpha)


def test_an_ensemble_is_the_normalised_mean_of_normalised_prompts(mini: Clip) -> None:
    """encode_texts with templates equals doing it by hand."""
    prompts = mini.encode_texts([t.replace("{}", "denim") for t in IMAGENET[:5]])
    mean = prompts.mean(axis=0)

    assert np.abs(mini.encode_texts(["denim"], IMAGENET[:5])[0] - mean / np.linalg.norm(mean)).max() < 1e-6


def test_a_single_string_is_one_text(mini: Clip) -> None:
    """A string is not taken letter by letter."""
    assert (mini.encode_texts("denim") == mini.encode_texts(["denim"])).all()


def test_repeated_texts_keep_their_places(mini: Clip) -> None:
    """Duplicates are embedded once and returned each time."""
    rows = mini.encode_texts(["denim", "linen", "denim"])

    assert (rows[0] == rows[2]).all()
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_ensembles_are_cached_on_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A second process reads the row instead of opening the text graph; a damaged file is computed again."""
    monkeypatch.setenv("CLIPFAST_CACHE", str(tmp_path))
    first = Clip.load("mini", threads=1).encode_texts(["denim"], PLAIN)
    (file,) = (tmp_path / "texts").rglob("*.npy")
    again = Clip.load("mini", threads=1)
    monkeypatch.setattr(again._opened, "session", lambda name: pytest.fail(f"opened {name}"))

    assert (again.encode_texts(["denim"], PLAIN) == first).all()
    file.write_bytes(b"broken")
    assert np.abs(Clip.load("mini", threads=1).encode_texts(["denim"], PLAIN) - first).max() < 1e-6


def test_an_unwritable_cache_costs_only_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache folder that cannot be made does not fail an encode."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLIPFAST_CACHE", str(tmp_path / "file" / "below"))

    assert Clip.load("mini", threads=1).encode_texts(["denim"], PLAIN).shape == (1, 192)


def test_mostly_unknown_words_are_warned_of(mini: Clip, caplog: pytest.LogCaptureFixture) -> None:
    """The small model says when a prompt means little to it, and keeps quiet otherwise."""
    with caplog.at_level(logging.WARNING):
        mini.encode_texts(["a photo of blue denim fabric, please", "blue denim fabric"])
        assert caplog.messages == []
        mini.encode_texts(["quantum chromodynamics lecture"])

    assert "'quantum chromodynamics lecture'" in caplog.text


def test_no_model_named_falls_back_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The fallback to the demo model is said; naming it is not commented on."""
    with caplog.at_level(logging.WARNING):
        Clip.load("mini")
        assert caplog.messages == []
        Clip.load()

    assert len(caplog.messages) == 1
    assert "demo model trained on rendered fabrics" in caplog.text


def test_the_environment_names_the_model(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """`CLIPFAST_MODEL` is a name like any other."""
    monkeypatch.setenv("CLIPFAST_MODEL", "mini")

    assert Clip.load().name == "mini"
    assert caplog.messages == []


def test_an_unknown_model_says_what_there_is(tmp_path: Path) -> None:
    """Embedded names and the export command are in the message."""
    with pytest.raises(ArtifactError, match=r"there is mini.*python -m clipfast\.export"):
        Clip.load(tmp_path / "none")
    assert "mini" in embedded_models()


def test_a_bad_image_in_a_list_is_named(mini: Clip, photo: Pixels, tmp_path: Path) -> None:
    """The error names the one that cannot be read."""
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff but no picture")

    with pytest.raises(ImageError, match=r"broken\.jpg"):
        mini.encode_images([photo, tmp_path / "broken.jpg", photo])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), "must be uint8"),  # floats
        (np.zeros((4, 4), np.uint8), r"uint8 \(h, w, 3\)"),  # grey
        (7, "image or an iterable of images; got int"),  # no image at all
    ],
)
def test_what_is_no_image_is_told(mini: Clip, images: object, message: str) -> None:
    """Expected and got are in the message."""
    with pytest.raises(ShapeError, match=message):
        mini.encode_images(images)  # type: ignore[arg-type]  # what must be refused


def test_bad_templates_are_told(mini: Clip) -> None:
    """A template must have one place for the name."""
    with pytest.raises(DataError, match=r"exactly once"):
        mini.encode_texts(["denim"], ["a photo"])
    with pytest.raises(DataError, match="at least one"):
        mini.encode_texts(["denim"], [])
    with pytest.raises(ShapeError, match="texts must be a string or a list of strings; got NoneType"):
        mini.encode_texts(None)  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(ShapeError, match="texts must be strings; got int"):
        mini.encode_texts([3])  # type: ignore[list-item]


def test_many_threads_get_what_one_gets(photo: Pixels) -> None:
    """Eight threads on a model that nobody has opened yet: one set of sessions, equal answers."""
    clip = Clip.load("mini", threads=1)
    images = [np.roll(photo, i, axis=0) for i in range(8)]
    expected = Clip.load("mini", threads=1).encode_images(images)
    rows = np.zeros_like(expected)

    def work(i: int) -> None:
        rows[i] = clip.encode_images(images[i])[0]
        clip.encode_texts([f"denim {i}"])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert np.abs(rows - expected).max() < 1e-6
    assert set(clip._opened.graphs) == {"embed", "text"}


def test_a_fork_opens_its_own_sessions(photo: Pixels) -> None:
    """After a fork the parent's worker threads are gone; the child must not wait for them."""
    clip = Clip.load("mini", threads=2)
    expected = clip.encode_images(photo)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # in the child: nothing of pytest must run on
        try:
            os.write(write, clip.encode_images(photo).tobytes())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        got = np.frombuffer(pipe.read(), np.float32)
    os.waitpid(child, 0)

    assert np.abs(got - expected[0]).max() < 1e-6


def test_a_fork_in_the_middle_of_calls_is_harmless(photo: Pixels) -> None:
    """Threads decode, encode and fill the text cache while the process forks; the child answers as if it were new."""
    clip = Clip.load("mini", threads=2)
    data = io.BytesIO()
    Image.fromarray(photo).save(data, "PNG")
    expected = clip.encode_images(data.getvalue())
    asked = [threading.Event() for _ in range(3)]
    done = threading.Event()

    def ask(number: int) -> None:
        turn = 0
        while not done.is_set():
            clip.encode_images(data.getvalue())
            clip.encode_texts([f"denim {number} {turn}"])
            turn += 1
            asked[number].set()

    workers = [threading.Thread(target=ask, args=(number,)) for number in range(len(asked))]
    for worker in workers:
        worker.start()
    for event in asked:
        event.wait()
    answers = []
    for _ in range(3):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # in the child: nothing of pytest must run on
            try:
                signal.alarm(60)  # a child that hangs is a failure, not a test that never ends
                os.write(write, clip.encode_images(data.getvalue()).tobytes() + clip.encode_texts(["linen"]).tobytes())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            answers.append(np.frombuffer(pipe.read(), np.float32))
        os.waitpid(child, 0)
    done.set()
    for worker in workers:
        worker.join()

    wanted = np.concatenate([expected[0], clip.encode_texts(["linen"])[0]])
    assert [answer.shape for answer in answers] == [wanted.shape] * 3
    assert max(np.abs(answer - wanted).max() for answer in answers) < 1e-6


@pytest.fixture
def decoding(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads that scaled an image, in order."""
    threads = []

    def recorded(*args: Any, **options: Any) -> Pixels:
        threads.append(threading.current_thread())
        return preprocess(*args, **options)

    monkeypatch.setattr("clipfast.runtime.clip.preprocess", recorded)
    return threads


def test_few_threads_decode_for_all_callers(photo: Pixels, decoding: list[threading.Thread]) -> None:
    """Eight callers with one photo each share two threads, so memory does not grow with callers; `close` ends them."""
    clip = Clip.load("mini", threads=1, images=ImageOptions(decoders=2))
    callers = [threading.Thread(target=clip.encode_images, args=(photo,)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    clip.close()
    for thread in decoding:
        thread.join(timeout=30)

    assert len(decoding) == 8
    assert len(set(decoding)) <= 2
    assert not set(decoding) & {threading.current_thread(), *callers}
    assert not any(thread.is_alive() for thread in decoding)


def test_without_decoders_the_caller_decodes(photo: Pixels, decoding: list[threading.Thread]) -> None:
    """`decoders=0` starts no thread, for one image or for many."""
    clip = Clip.load("mini", threads=1, images=ImageOptions(decoders=0))
    clip.encode_images(photo)
    clip.encode_images([photo, photo])

    assert decoding == [threading.current_thread()] * 3


def test_closing_during_calls_is_harmless(photo: Pixels) -> None:
    """Another thread may close the model while texts are encoded; nothing fails and answers stay equal."""
    clip = Clip.load("mini", threads=1)
    expected = clip.encode_texts(["denim"])
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(6):
                clip.encode_texts([f"linen {number} {turn}"])
                assert np.abs(clip.encode_texts(["denim"]) - expected).max() < 1e-6
        except Exception as error:  # noqa: BLE001  (whatever it is, the test reports it)
            failures.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        clip.close()
    assert failures == []


def test_closing_lets_go_and_opens_again(photo: Pixels) -> None:
    """`close` frees the graphs; the next call opens them again."""
    with Clip.load("mini", threads=1) as clip:
        clip.warm_up()
        assert set(clip._opened.graphs) == set(clip.manifest.graphs)
        clip.close()
        assert clip._opened.graphs == ()
        assert clip.encode_images(photo).shape == (1, 192)


def test_clip_is_every_encoder_of_the_protocols(mini: Clip) -> None:
    """Anything written against the Protocols takes a Clip."""
    assert isinstance(mini, ImageEncoder)
    assert isinstance(mini, TextEncoder)
    assert isinstance(mini, DenseEncoder)
    assert mini.fingerprint() == Artifact.open(mini.artifact.path).manifest.fingerprint()


def test_exif_can_be_ignored(photo: Pixels) -> None:
    """A photo that lies on its side is turned upright, unless parity with open_clip is wanted."""
    data = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(data, "JPEG", quality=95, exif=exif)
    plain = io.BytesIO()
    Image.fromarray(photo).save(plain, "JPEG", quality=95)
    ignoring = Clip.load("mini", threads=1, images=ImageOptions(exif="ignore"))
    applying = Clip.load("mini", threads=1)

    assert (ignoring.encode_images(data.getvalue()) == ignoring.encode_images(plain.getvalue())).all()
    assert np.abs(applying.encode_images(data.getvalue()) - ignoring.encode_images(data.getvalue())).max() > 1e-3


def test_a_huge_picture_is_refused_unless_the_limit_is_raised(photo: Pixels) -> None:
    """The limit is a number of pixels, and the user's to set."""
    data = io.BytesIO()
    Image.fromarray(photo).save(data, "PNG")
    small = Clip.load("mini", threads=1, images=ImageOptions(max_pixels=100))

    with pytest.raises(ImageError, match="must have at most 100 pixels"):
        small.encode_images(data.getvalue())
    assert small.encode_images(photo).shape == (1, 192)  # what is in memory already cannot be refused any more


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"decoders": -1}, {"max_pixels": 0}, {"exif": "aply"}])
def test_image_options_are_checked(options: dict[str, Any]) -> None:
    """Nonsense is refused when it is said, not when an image comes."""
    with pytest.raises(ShapeError, match=r"1 or more|got 'aply'"):
        ImageOptions(**options)


def test_inner_blocks_and_joint_features(mini: Clip, photo: Pixels) -> None:
    """Patch features by block number; the joint graph gives the same, with embedding and vv, in one pass."""
    patches, joint, dense = mini.encode_patches(photo), mini.encode_joint(photo), mini.encode_dense(photo)

    assert set(patches.features) == set(mini.manifest.model.feature_blocks) == {2, 5, 7}
    assert patches.features[2].shape == (1, 196, 192)
    assert np.abs(joint.patches.features[5] - patches.features[5]).max() < 1e-4
    assert np.abs(joint.embedding - dense.embedding).max() < 1e-5
    assert np.abs(joint.vv - dense.vv).max() < 1e-4
    assert set(mini.encode_patches(photo, blocks=[5]).features) == {5}


def test_a_block_that_is_not_there_says_how_to_get_it(mini: Clip, photo: Pixels) -> None:
    """The blocks that are held, and the export option."""
    with pytest.raises(ArtifactError, match=r"after blocks 2, 5, 7, not after 3.*--blocks 2,3"):
        mini.encode_patches(photo, blocks=[2, 3])


def test_plain_tokens_are_not_the_surgery_ones(mini: Clip, photo: Pixels) -> None:
    """The unmodified tower's tokens, by both names."""
    plain = mini.encode_tokens(photo)

    assert (plain == mini.encode_presets(photo)["plain"]).all()
    assert np.abs(plain - mini.encode_dense(photo).vv).max() > 1e-2


@pytest.mark.torch
def test_two_models_in_one_process_do_not_mix(mini: Clip, tiny_artifact: Artifact, photo: Pixels) -> None:
    """Alternating, and from two threads at once, each model answers as it does alone; each has its own texts."""
    prompts = ["denim", "a red star"]
    with Clip.load(tiny_artifact.path, threads=1) as tiny:
        images, texts = (mini.encode_images(photo), tiny.encode_images(photo)), tiny.encode_texts(prompts)

        def ask(clip: Clip, expected: Any, wrong: list[str]) -> None:
            answers = [clip.encode_images(photo) for _ in range(5)]
            wrong.extend(clip.name for answer in answers if not np.array_equal(answer, expected))

        wrong: list[str] = []
        pairs = zip((mini, tiny), images, strict=True)
        threads = [threading.Thread(target=ask, args=(clip, expected, wrong)) for clip, expected in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert wrong == []
        assert mini.encode_texts(prompts).shape == (2, mini.embed_dim)
        assert np.array_equal(tiny.encode_texts(prompts), texts)
        assert mini.fingerprint() != tiny.fingerprint()
