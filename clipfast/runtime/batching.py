"""Groups of items, and a bounded look-ahead that keeps decoding and computing busy at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from clipfast.errors import ShapeError

__all__ = ["batches", "prefetch"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items in order; the last may be shorter.

    Raises:
        ShapeError: `size` is below 1.

    >>> list(batches("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    if size < 1:
        raise ShapeError(f"size must be at least 1; got {size}.")
    source = iter(items)
    return iter(lambda: list(islice(source, size)), [])


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, ahead: int
) -> Iterator[Result]:
    """Yield `function(item)` in the order of the items, computed by threads up to `ahead` items early.

    An exception of the function, or of the items themselves, is raised at its item's place; earlier results come
    first. Closing the generator drops what was not started. Items are drawn by the thread that iterates.

    Args:
        function: Called in the worker threads.
        items: Read no further than `ahead` items beyond the one being yielded.
        workers: Threads; 0 calls the function inline, when its result is asked for.
        ahead: How many results may be waiting or in work while one is used, at least 1.

    Raises:
        ShapeError: `workers` is below 0 or `ahead` is below 1.
    """
    if workers < 0 or ahead < 1:
        raise ShapeError(f"workers must be at least 0 and ahead at least 1; got {workers} and {ahead}.")
    return _ahead(function, items, workers, ahead) if workers else (function(item) for item in items)


def _ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int) -> Iterator[Result]:
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="clipfast-prefetch")
    try:
        for future in _submitted(pool, function, items):
            pending.append(future)
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Future[Result]]:
    try:
        for item in items:
            yield pool.submit(function, item)
    except Exception as error:  # noqa: BLE001 - handed over as the result at this item's place
        failed: Future[Result] = Future()
        failed.set_exception(error)
        yield failed
