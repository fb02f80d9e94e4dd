"""Ours beside the libraries people use, in one run: the same inputs, answers compared first, rounds interleaved."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Case", "machine", "race"]

OURS = "clipfast"
_PAUSE = 0.1  # s: until then threads of OpenBLAS, OpenMP and ONNX Runtime wait awake, on the core of who comes next


@dataclass(frozen=True)
class Case:
    """One piece of work and everybody who can do it.

    Attributes:
        name: What a reader calls the work, with its size.
        contenders: Who does it, by name; `clipfast` among them. Each call does the whole work from the same raw input.
        agree: Gets one answer of each contender and raises if they do not say the same; returns what to report
            about the agreement (largest difference, interval width, ...).
        musts: The least `peer time / our time` that the project promises, by peer.
        rounds: How often each contender is timed.
        giga: Work in units of 10^9 (operations or bytes), for the rate; 0 for none.
        pieces: Of which a call does so many, such as pixels: nanoseconds for each are reported then. 0 for none.
    """

    name: str
    contenders: Mapping[str, Callable[[], Any]]
    agree: Callable[[Mapping[str, Any]], Mapping[str, float]]
    musts: Mapping[str, float] = field(default_factory=dict)
    rounds: int = 7
    giga: float = 0.0
    pieces: int = 0


def race(case: Case, *, rounds: int | None = None) -> dict[str, Any]:
    """Compare the answers, then time all contenders in changing order, `rounds` times; what differs is not timed.

    Args:
        case: What is raced.
        rounds: Instead of the case's own.

    Returns:
        Median, minimum and every round in milliseconds by contender, and the median of CPU time summed over threads and
        over processes that the contender started and waited for; also a piece of work in nanoseconds; for each peer the
        ratio of medians with a 95 % bootstrap interval over rounds, and that of CPU times; the agreement; the load of
        the machine before the start.
    """
    load = os.getloadavg()[0]
    answers = {name: call() for name, call in case.contenders.items()}  # also the warm-up
    agreement = dict(case.agree(answers))
    del answers
    times: dict[str, list[float]] = {name: [] for name in case.contenders}
    summed: dict[str, list[float]] = {name: [] for name in case.contenders}
    for turn in range(rounds or case.rounds):
        for name in _order(list(case.contenders), turn):
            time.sleep(_PAUSE)
            before, start = _cpu_seconds(), time.perf_counter()
            case.contenders[name]()
            times[name].append(1e3 * (time.perf_counter() - start))
            summed[name].append(1e3 * (_cpu_seconds() - before))
    cpu = {name: statistics.median(each) for name, each in summed.items()}
    return {
        "load_before": load,
        "agreement": agreement,
        "contenders": {
            name: {"median_ms": statistics.median(t), "min_ms": min(t), "cpu_ms": cpu[name], "rounds_ms": t}
            | ({"cpu_ns_each": 1e6 * cpu[name] / case.pieces} if case.pieces else {})
            | ({"giga_per_s": 1e3 * case.giga / statistics.median(t)} if case.giga else {})
            for name, t in times.items()
        },
        "ratios": {
            name: _ratio(times[name], times[OURS])
            | {"cpu": cpu[name] / max(cpu[OURS], 1e-9)}
            | ({"must": case.musts[name]} if name in case.musts else {})
            for name in case.contenders
            if name != OURS
        },
    }


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """What the figures were measured on, with the versions of these packages; no names of machines.

    `kernels` is what OpenBLAS, which NumPy and FAISS multiply with, was told to take; empty where it chose by itself.
    """
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    versions = {"Python": platform.python_version()} | {name: metadata.version(name) for name in packages}
    kernels = os.environ.get("OPENBLAS_CORETYPE", "")
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "versions": versions, "kernels": kernels}


def _cpu_seconds() -> float:
    """Of all threads of this process, and of the processes that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _order(names: Sequence[str], turn: int) -> list[str]:
    """All names in the order of this round: a row of Williams' square, in which place and neighbours change.

    A mere rotation would leave everybody behind the same neighbour.
    """
    zigzag = [(place + 1) // 2 if place % 2 else -place // 2 for place in range(len(names))]  # 0, 1, -1, 2, -2, ...
    order = [names[(place + turn) % len(names)] for place in zigzag]
    return order[::-1] if turn % 2 and len(names) % 2 else order  # an odd number needs mirrored rows too


def _ratio(peer: list[float], ours: list[float]) -> dict[str, float]:
    """Peer's median over ours, and where 95 % of bootstrap resamples of the rounds put it."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(ours), (2000, len(ours)))
    spread = np.median(np.asarray(peer)[draws], axis=1) / np.median(np.asarray(ours)[draws], axis=1)
    low, high = np.percentile(spread, [2.5, 97.5])
    return {"ratio": statistics.median(peer) / statistics.median(ours), "low": float(low), "high": float(high)}
