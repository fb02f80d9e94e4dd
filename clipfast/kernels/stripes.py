"""Work cut into stripes that only the shape decides, shared out to threads."""

from __future__ import annotations

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
    """
    if threads == 1:
        yield _in_turn
        return
    with ThreadPoolExecutor(threads - 1, thread_name_prefix="clipfast-stripes") as pool:

        def for_each(work: Callable[[int], None], count: int) -> None:
            def every(first: int) -> None:
                for stripe in range(first, count, threads):
                    work(stripe)

            others = [pool.submit(every, first) for first in range(1, threads)]
            every(0)
            for other in others:
                other.result()

        yield for_each


def _in_turn(work: Callable[[int], None], count: int) -> None:
    for stripe in range(count):
        work(stripe)
