"""A model used by many threads, after forks, and while it is closed."""

from __future__ import annotations

import io
import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipfast.runtime.clip import Clip, ImageOptions
from clipfast.runtime.preprocess import preprocess
from clipfast.types import Pixels


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

    monkeypatch.setattr("clipfast.runtime.preprocess.preprocess", recorded)
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
