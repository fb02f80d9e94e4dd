"""Waits for a quiet machine, and tells afterwards whether it stayed quiet."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LIMIT", "Watch", "others_share", "wait_until_quiet"]

LIMIT = 0.05  # of all cores' time that other processes may take
_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Watch:
    """Times at one moment, in seconds over all cores: all work of the machine, and this process's with its children."""

    wall: float
    busy: float
    own: float

    @classmethod
    def now(cls) -> Watch:
        """Read the clocks."""
        fields = [int(part) for part in _STAT.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
        user, nice, system, _idle, _waiting, irq, soft, stolen = fields
        tick = os.sysconf("SC_CLK_TCK")
        t = os.times()
        own = t.user + t.system + t.children_user + t.children_system
        return cls(time.monotonic(), (user + nice + system + irq + soft + stolen) / tick, own)


def others_share(since: Watch) -> float:
    """Return the share of the cores' time that others took since then, stolen time of the host included."""
    now = Watch.now()
    wall = max(now.wall - since.wall, 1e-9) * (os.cpu_count() or 1)
    return max(0.0, (now.busy - since.busy) - (now.own - since.own)) / wall


def wait_until_quiet(*, seconds: float, patience: float) -> bool:
    """Wait until others took less than `LIMIT` for some seconds on end; False if patience ends first."""
    end = time.monotonic() + patience
    while True:
        before = Watch.now()
        time.sleep(seconds)
        if others_share(before) <= LIMIT:
            return True
        if time.monotonic() > end:
            return False
