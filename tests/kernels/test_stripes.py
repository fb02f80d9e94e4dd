"""Tests of clipfast.kernels.stripes."""

from __future__ import annotations

import os
import threading

import pytest

from clipfast.errors import ShapeError
from clipfast.kernels import stripes
from clipfast.kernels.stripes import share_out, threads_to_use

several_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores"
)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_every_stripe_is_done_once(threads: int, count: int) -> None:
    """More threads than stripes, and fewer; the same block can be used again."""
    done: list[int] = []
    with share_out(threads) as for_each:
        for_each(done.append, count)
        for_each(done.append, count)

    assert sorted(done) == sorted([*range(count), *range(count)])


def test_an_error_is_raised_after_all_have_stopped() -> None:
    """Whichever thread it comes from."""

    def work(stripe: int) -> None:
        if stripe == 1:
            raise KeyError(stripe)

    with pytest.raises(KeyError), share_out(2) as for_each:
        for_each(work, 2)
    assert not [each for each in threading.enumerate() if each.name.startswith("clipfast-stripes")]


@several_cores
def test_others_run_beside_this_thread_which_stays_free() -> None:
    """The others may use every core but the one that this thread was on; its own freedom is as before."""
    before = os.sched_getaffinity(0)
    meanwhile: dict[str, set[int]] = {}

    def work(_stripe: int) -> None:
        meanwhile[threading.current_thread().name] = os.sched_getaffinity(0)

    with share_out(2) as for_each:
        for_each(work, 2)

    assert meanwhile.pop(threading.current_thread().name) == before
    (others,) = meanwhile.values()
    assert len(before - others) == 1
    assert os.sched_getaffinity(0) == before


@several_cores
def test_this_thread_is_free_again_after_an_error() -> None:
    """The core is given back in any case."""
    before = os.sched_getaffinity(0)

    def work(_stripe: int) -> None:
        raise KeyError

    with pytest.raises(KeyError), share_out(2) as for_each:
        for_each(work, 2)
    assert os.sched_getaffinity(0) == before


@several_cores
def test_with_one_core_or_without_the_system_call_threads_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """One allowed core leaves nothing to choose; elsewhere than on Linux nobody chooses."""
    before = os.sched_getaffinity(0)
    done: list[int] = []
    os.sched_setaffinity(0, {min(before)})
    try:
        with share_out(2) as for_each:
            for_each(done.append, 4)
    finally:
        os.sched_setaffinity(0, before)
    monkeypatch.setattr(stripes, "_getcpu", None)
    with share_out(2) as for_each:
        for_each(done.append, 4)

    assert sorted(done) == sorted([*range(4), *range(4)])
    assert os.sched_getaffinity(0) == before


def test_threads_must_be_positive() -> None:
    """None takes the cores; never more threads than stripes, and at least one."""
    with pytest.raises(ShapeError, match="threads must be at least 1; got 0"):
        threads_to_use(0, 4)
    assert threads_to_use(8, 3) == 3
    assert threads_to_use(None, 0) == 1
