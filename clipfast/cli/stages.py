"""The stages of a query, each as something to call, and how long it takes with one caller and with several."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clipfast.runtime.clip import Clip

__all__ = ["Latency", "Stage", "example_photo", "measure", "stages"]

_BATCH = 8
_ROWS = (1_000, 100_000)
_TOPK = 10
_MOST_BYTES = 256 << 20  # of the vectors that a search is measured on


@dataclass(frozen=True)
class Stage:
    """A piece of the work.

    Attributes:
        name: What it is called in the table.
        run: Does it once; safe to call from many threads.
        items: Images or texts of one call.
    """

    name: str
    run: Callable[[], object]
    items: int = 1


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a stage took.

    Attributes:
        stage: Its name.
        clients: How many called at a time, each waiting for its own answer.
        calls: How many calls were timed.
        min_ms: The fastest.
        p50_ms: The median.
        p95_ms: The 95th percentile.
        per_second: Images or texts in a second, all clients together.
    """

    stage: str
    clients: int
    calls: int
    min_ms: float
    p50_ms: float
    p95_ms: float
    per_second: float


def example_photo(size_wh: tuple[int, int]) -> bytes:
    """Return a rendered cloth as a camera would store it: a JPEG of quality 90."""
    from PIL import Image

    from clipfast.datasets.fabricworld import render

    image = Image.fromarray(render(1, fabric="denim", colour="blue", size=min(max(size_wh), 2048)).image)
    data = io.BytesIO()
    image.resize(size_wh).save(data, "JPEG", quality=90)
    return data.getvalue()


def stages(clip: Clip, photo: bytes) -> Iterator[Stage]:
    """Give every stage that the artifact has, in the order of a query."""
    from clipfast.index import VectorIndex
    from clipfast.runtime.images import load_pixels
    from clipfast.runtime.preprocess import load_kernel, preprocess

    load_kernel()
    decoded, spec = load_pixels(photo), clip.manifest.image
    ready = np.stack([preprocess(decoded, spec)] * _BATCH)
    yield Stage("decode the photo", lambda: load_pixels(photo))
    yield Stage("scale it to the model's size", lambda: preprocess(decoded, spec))
    yield Stage("embed, ready pixels", lambda: clip.encode_images(ready[0]))
    yield Stage(f"embed {_BATCH} at once", lambda: clip.encode_images(ready), _BATCH)
    for graph, name, run in (
        ("dense", "all Surgery streams", clip.encode_dense),
        ("tokens", "plain patch tokens", clip.encode_tokens),
        ("patches", "patch features", clip.encode_patches),
        ("joint", "embedding, v-v stream and patch features", clip.encode_joint),
    ):
        if graph in clip.manifest.graphs:
            yield Stage(name, partial(run, ready[0]))
    numbers = iter(range(1 << 62))
    yield Stage("embed a text not met before", lambda: clip.encode_texts([f"a photo of denim {next(numbers)}"]))
    query = clip.encode_images(ready[0])
    for rows in _ROWS:
        if rows * clip.embed_dim * 4 > _MOST_BYTES:
            continue
        index = VectorIndex(clip.embed_dim)
        vectors = np.random.default_rng(0).standard_normal((rows, clip.embed_dim), dtype=np.float32)
        index.add(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        yield Stage(f"search {rows:,} vectors, best {_TOPK}", partial(index.search, query, _TOPK))
    yield Stage(f"photo to the best {_TOPK} of {len(index):,}", lambda: index.search(clip.encode_images(photo), _TOPK))


def measure(stage: Stage, *, clients: int, rounds: int) -> Latency:
    """Time `rounds` calls, shared among clients that call at the same time; the warm-up is not counted."""
    stage.run()
    each = max(1, rounds // clients)
    times = np.zeros((clients, each))
    failures: list[BaseException] = []
    start = threading.Barrier(clients + 1)

    def client(number: int) -> None:
        start.wait()
        try:
            for turn in range(each):
                begin = time.perf_counter()
                stage.run()
                times[number, turn] = time.perf_counter() - begin
        except BaseException as error:  # noqa: BLE001  # raised again by the thread that measures
            failures.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    if failures:
        raise failures[0]
    p50, p95 = (float(value) for value in np.percentile(times, (50, 95)) * 1e3)
    return Latency(
        stage.name, clients, times.size, float(times.min()) * 1e3, p50, p95, times.size * stage.items / seconds
    )
