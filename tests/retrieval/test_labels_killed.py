"""Real processes that label at once, and that are killed in the middle of it."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipfast.datasets.folders import list_fabrics
from clipfast.retrieval.crops import read_sidecar
from clipfast.retrieval.journal import Journal
from clipfast.retrieval.labels import LabelStore
from clipfast.storage import sha256_file
from reference.label_worker import add_patches, label_without_end

KILLS = 20


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo in which every place looks different."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """A server that has everything imported and forks quickly."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["reference.label_worker", "clipfast.retrieval.labelguard"])
    return context


def require_whole(root: Path) -> LabelStore:
    """Check that journal and folder agree to the byte and nothing is left over."""
    store = LabelStore(root)
    store.recover()
    said = store.state().patches
    found = {f"{label}/{path.name}": path for label, paths in list_fabrics(root).items() for path in paths}
    assert found.keys() == said.keys()
    for key, path in found.items():
        assert sha256_file(path) == said[key].sha256
        assert read_sidecar(path) == said[key].sidecar
    assert not list((root / ".labels").glob("staged/*"))
    return store


def test_two_processes_add_at_once(tmp_path: Path, photo: Path, processes: ForkServerContext) -> None:
    """Every patch that was acknowledged is there, under its own name, with one journal that is whole."""
    root, each = tmp_path / "labeled", 25
    ends, running = [], []
    for numbers in (range(each), range(each, 2 * each)):
        here, there = processes.Pipe(duplex=False)
        worker = processes.Process(target=add_patches, args=(root, photo, numbers, there))
        worker.start()
        there.close()
        ends.append(here)
        running.append(worker)
    told: list[list[tuple[int, str]]] = [_drained(end) for end in ends]
    for worker in running:
        worker.join(60)
        assert worker.exitcode == 0
    assert [[number for number, _ in side] for side in told] == [list(range(each)), list(range(each, 2 * each))]
    keys = [key for side in told for _, key in side]
    assert sorted(require_whole(root).state().patches) == sorted(keys)
    assert len(set(keys)) == 2 * each
    assert [event.n for event in Journal(root / ".labels" / "journal.jsonl").read()] == list(range(1, 2 * each + 1))


def test_kill_9_at_any_moment_loses_nothing_and_tears_nothing(
    tmp_path: Path, photo: Path, processes: ForkServerContext
) -> None:
    """Two people label; one is killed at a random moment, again and again; the other goes on undisturbed."""
    rng, root = np.random.default_rng(8), tmp_path / "labeled"
    acknowledged = 0
    other, other_end = _started(processes, root, photo, first=0, seed=99)
    for turn in range(KILLS):
        worker, end = _started(processes, root, photo, first=100 + 40 * turn, seed=turn)
        time.sleep(float(rng.uniform(0, 0.06)))
        if turn == KILLS - 1:
            other.kill()
        worker.kill()
        worker.join()
        acknowledged = max([acknowledged, *_drained(end)])
    other.join()
    acknowledged = max([acknowledged, *_drained(other_end)])
    store = require_whole(root)
    events = Journal(root / ".labels" / "journal.jsonl").read()
    assert [event.n for event in events] == list(range(1, len(events) + 1))
    assert len(events) >= acknowledged > KILLS
    before = store.state()
    store.add(photo, "silk")
    assert store.state().last == before.last + 1


def _started(
    processes: ForkServerContext, root: Path, photo: Path, *, first: int, seed: int
) -> tuple[multiprocessing.context.ForkServerProcess, Connection]:
    here, there = processes.Pipe(duplex=False)
    worker = processes.Process(target=label_without_end, args=(root, photo, first, seed, there))
    worker.start()
    there.close()
    assert here.recv() == 0  # it is under way
    return worker, here


def _drained(end: Connection) -> list:  # type: ignore[type-arg]  # whatever was sent
    found = []
    try:
        while True:
            found.append(end.recv())
    except EOFError:
        return found
