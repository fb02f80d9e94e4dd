"""Tests of clipfast.runtime.batching."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clipfast.errors import ShapeError
from clipfast.runtime.batching import batches, prefetch


def inverse(number: int) -> float:
    """Fail at zero."""
    return 1 / number


def numbers_then_failure() -> Iterator[int]:
    """Yield two items, then fail as a broken file list would."""
    yield from (1, 2)
    raise OSError("disk gone")


@pytest.mark.parametrize(
    ("count", "size", "lengths"),
    [
        (0, 3, []),
        (2, 3, [2]),
        (3, 3, [3]),
        (7, 3, [3, 3, 1]),
        (2, 1, [1, 1]),
    ],
)
def test_batches_keep_order_and_only_the_last_is_short(count: int, size: int, lengths: list[int]) -> None:
    """All items come once, in order, in lists of the size."""
    groups = list(batches(range(count), size))
    assert [len(group) for group in groups] == lengths
    assert [item for group in groups for item in group] == list(range(count))


def test_batches_do_not_read_ahead() -> None:
    """A generator is read one batch at a time."""
    source = iter(range(10))
    assert next(batches(source, 3)) == [0, 1, 2]
    assert next(source) == 3


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_prefetch_keeps_order(workers: int) -> None:
    """Results come in the order of the items, however long each takes."""

    def slow_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number * number

    assert list(prefetch(slow_first, range(20), workers=workers, ahead=4)) == [n * n for n in range(20)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("function", "items", "before", "error"),
    [
        (inverse, [1, 2, 0, 4], [1.0, 0.5], ZeroDivisionError),
        (inverse, [0], [], ZeroDivisionError),
        (inverse, numbers_then_failure, [1.0, 0.5], OSError),  # the items fail, not the function
    ],
)
def test_exception_surfaces_at_its_place(
    workers: int, function: Callable[[int], float], items: Any, before: list[float], error: type[Exception]
) -> None:
    """Everything before the failure is delivered, then the failure itself."""
    results = prefetch(function, items() if callable(items) else items, workers=workers, ahead=3)
    got: list[float] = []
    with pytest.raises(error):
        got.extend(iter(lambda: next(results), None))
    assert got == before
    assert list(results) == []


def test_look_ahead_is_bounded() -> None:
    """No more than `ahead` items are drawn beyond the one in use."""
    drawn = 0

    def source() -> Iterator[int]:
        nonlocal drawn
        for number in range(100):
            drawn += 1
            yield number

    results = prefetch(str, source(), workers=2, ahead=5)
    assert drawn == 0
    for used in range(1, 20):
        next(results)
        assert drawn == used + 5


def test_close_drops_what_has_not_started() -> None:
    """A consumer that leaves early does not wait for the queue."""
    started = []
    gate = threading.Event()

    def work(number: int) -> int:
        started.append(number)
        gate.wait(0 if number == 0 else 10)
        return number

    results = prefetch(work, range(100), workers=1, ahead=50)
    threading.Timer(0.2, gate.set).start()
    assert next(results) == 0
    assert isinstance(results, Iterator)
    results.close()  # type: ignore[attr-defined]  # a generator, which has it
    assert len(started) <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clipfast-prefetch")]


@pytest.mark.parametrize(("size", "workers", "ahead"), [(0, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_counts_are_checked_at_once(size: int, workers: int, ahead: int) -> None:
    """A wrong count is refused by the call, not by the first result."""
    with pytest.raises(ShapeError, match="must be at least"):
        prefetch(str, batches([], size), workers=workers, ahead=ahead)
