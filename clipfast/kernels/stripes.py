"""Work cut into stripes that only the shape decides, shared out to threads."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeAlias

from clipfast.errors import ShapeError

__all__ = ["ForEach", "share_out", "threads_to_use"]

ForEach: TypeAlias = Callable[[Callable[[int], None], int], None]
"""`for_each(work, count)` calls `work(0)` to `work(count - 1)` and returns when all are done."""

_MOST = 8  # labels are written at memory speed: more threads than channels only wait


def threads_to_use(threads: int | None, stripes: int) -> int:
    """Return how many threads work on so many stripes; None takes the cores that this process may use, 8 at most.

    Raises:
        ShapeError: If `threads` is not positive.
    """
    if threads is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = min(cores, _MOST)
    if threads < 1:
        raise ShapeError(f"threads must be at least 1; got {threads}. Pass None for the cores of this process.")
    return max(1, min(threads, stripes))


@contextmanager
def share_out(threads: int) -> Iterator[ForEach]:
    """Give a `ForEach` whose calls run on so many threads, this one among them.

    The threads live as long as the block: nothing is left that a fork could find half copied. With one thread, no
    thread is started. The first error is raised after all have stopped.

    On Linux the others start on other cores than this thread's: a scheduler may leave a new thread beside its parent
    for ten milliseconds, longer than most of this work takes, while the next core is idle.
    """
    if threads == 1:
        yield _in_turn
        return
    core = _core()
    elsewhere = (os.sched_getaffinity(0) if core >= 0 else set()) - {core}
    others = ThreadPoolExecutor(threads - 1, "clipfast-stripes", initializer=_allow, initargs=(elsewhere,))
    with others as pool:

        def for_each(work: Callable[[int], None], count: int) -> None:
            def every(first: int) -> None:
                for stripe in range(first, count, threads):
                    work(stripe)

            with _staying_on(core):  # a start waits for the new thread, and would wake up beside it
                parts = [pool.submit(every, first) for first in range(1, threads)]
            every(0)
            for part in parts:
                part.result()

        yield for_each


def _in_turn(work: Callable[[int], None], count: int) -> None:
    for stripe in range(count):
        work(stripe)


def _core() -> int:
    """Return the core that this thread is on, or -1 where the system does not tell."""
    return int(_getcpu()) if _getcpu is not None and hasattr(os, "sched_setaffinity") else -1


@contextmanager
def _staying_on(core: int) -> Iterator[None]:
    """Keep this thread on one core as long as the block; -1 keeps it nowhere."""
    allowed = os.sched_getaffinity(0) if core >= 0 else set()
    try:
        _allow({core} & allowed)
        yield
    finally:
        _allow(allowed)


def _allow(cores: set[int]) -> None:
    """Let this thread run on these cores only; nothing changes if there are none."""
    if cores:
        with contextlib.suppress(OSError):  # cores that went away meanwhile
            os.sched_setaffinity(0, cores)


def _find_getcpu() -> Callable[[], int] | None:
    try:
        found: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu
    except (AttributeError, OSError, TypeError):  # not Linux
        return None
    return found


_getcpu = _find_getcpu()
