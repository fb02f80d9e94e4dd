"""Figures of a cell: every mode at both levels, from raw scores and the truth.

Modes that come to the same scores ("memory", "memory_only", "auto" for pixels, ...) are judged once. Pixels are judged
block by block: a few maps are scaled up, put on the support's scale and fused by every mode while they are in the
cache, and counted among the scores of the anomalous pixels, which a first pass has collected (`PixelPasses`). No stack
of maps is ever in memory, and the figures are exact.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.calibration import Calibration
from clipfast.anomaly.fusion import fuse_all
from clipfast.anomaly.grid.records import GridOptions, LevelResult, ModeFigures
from clipfast.anomaly.modes import MODES, Level, resolve
from clipfast.errors import UndefinedMetricError
from clipfast.metrics import ranking_scores
from clipfast.metrics.pixel_passes import PixelPasses, PixelTruth
from clipfast.types import Ints, Pixels

__all__ = ["ModeClock", "image_figures", "pixel_figures"]

_BLOCK = 1 << 18  # pixels that are fused together: a megabyte a map and branch


@dataclass(slots=True)
class ModeClock:
    """What the evaluation of pixels costs, in CPU time of the threads that judge: other work does not count.

    Attributes:
        seconds: Of fusing and counting, by the mode that computes, both passes together; the first calibrated one pays
            for the scale of all.
        shared: Seconds of scaling maps up and what else all modes share.
        pixels: Pixels of all maps judged.
        modes: Pixels times modes judged, as asked for.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    shared: float = 0.0
    pixels: int = 0
    modes: int = 0

    def tick(self, mode: str, since: float) -> float:
        """Charge a mode with this thread's time since a moment; return the present one."""
        now = time.thread_time()
        self.seconds[mode] += now - since
        return now

    def add(self, other: ModeClock) -> None:
        """Add what another has counted."""
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        self.shared += other.shared
        self.pixels += other.pixels
        self.modes += other.modes

    @property
    def nanoseconds(self) -> float:
        """For each pixel and mode."""
        return 1e9 * (sum(self.seconds.values()) + self.shared) / max(1, self.modes)


def image_figures(
    maps: BranchMaps, calibration: Calibration, labels: Ints, no_gate: str | None = None
) -> tuple[LevelResult, dict[str, tuple[float, ...]]]:
    """Judge images by every mode; give their scores by mode, too.

    Args:
        maps: Raw scores of n images.
        calibration: From the support, with the gate that was learned on other classes.
        labels: 0 intact, 1 anomalous, (n,).
        no_gate: Why there is no gate.
    """
    judged = _Judged.of(maps, calibration, "image", no_gate)
    figures: dict[str, ModeFigures] = {}
    scores: dict[str, tuple[float, ...]] = {}
    undefined = None
    for name, fused in fuse_all(maps, calibration, judged.computed, "image", labels):
        scores[name] = tuple(fused.tolist())
        try:
            figures[name] = ModeFigures(**asdict(ranking_scores(labels, fused, threads=1)))
        except UndefinedMetricError as error:
            undefined = str(error)
    anomalous = int(labels.sum())
    result = judged.result(figures, (anomalous, len(labels) - anomalous), undefined)
    return result, {mode: scores[name] for mode, name in judged.owners.items()}


def pixel_figures(
    maps: BranchMaps,
    calibration: Calibration,
    masks: Pixels,
    options: GridOptions,
    no_gate: str | None = None,
) -> tuple[LevelResult, ModeClock]:
    """Judge pixels by every mode, and say what it costs.

    Args:
        maps: Raw scores of n images on the patch grid.
        calibration: From the support, with the gate that was learned on other classes.
        masks: 0 and 1, (n, h, w) uint8, of the size that the options say.
        options: Size and blur of the maps, and the limit of AUPRO.
        no_gate: Why there is no gate.
    """
    judged, clock = _Judged.of(maps, calibration, "pixel", no_gate), ModeClock()
    anomalous = int(np.count_nonzero(masks))
    counts = anomalous, masks.size - anomalous
    try:
        truth = PixelTruth.of(masks, threads=1)
    except UndefinedMetricError as error:
        return judged.result({}, counts, str(error)), clock
    passes = {name: PixelPasses(truth, limit=options.aupro_limit) for name in judged.computed}
    step = max(1, _BLOCK // (options.size_hw[0] * options.size_hw[1]))
    for first in (True, False):
        places = np.flatnonzero(truth.anomalous) if first else np.arange(len(maps))
        for begin in range(0, len(places), step):
            block = places[begin : begin + step]
            started = time.thread_time()
            some = maps.taken(block).resized(options.size_hw, options.sigma)
            before = time.thread_time()
            clock.shared += before - started
            for name, fused in fuse_all(some, calibration, judged.computed, "pixel", masks[block]):
                if first:
                    passes[name].show_anomalous(fused, block)
                else:
                    passes[name].show(fused)
                before = clock.tick(name, before)
    figures = {}
    for name, each in passes.items():
        before = time.thread_time()
        figures[name] = ModeFigures(**asdict(each.scores()))
        clock.tick(name, before)
    clock.pixels, clock.modes = masks.size, masks.size * len(judged.owners)
    return judged.result(figures, counts, None), clock


@dataclass(frozen=True, slots=True)
class _Judged:
    """Which modes are judged at a level.

    Attributes:
        owners: By mode, in the order of `MODES`: the one that computes for it.
        omitted: The other modes, and why.
        taken: What "auto" and "routed" came to.
    """

    owners: dict[str, str]
    omitted: dict[str, str]
    taken: dict[str, str]

    @classmethod
    def of(cls, maps: BranchMaps, calibration: Calibration, level: Level, no_gate: str | None) -> _Judged:
        owners, omitted, taken = {}, {}, {}
        for mode in MODES:
            name = resolve(mode, level, calibration)
            if maps.semantic is None and MODES[name].text:
                omitted[mode] = "the text branch did not run"
            elif name == "learned_gate" and calibration.gate is None:
                omitted[mode] = no_gate or "no gate was learned"
            else:
                owners[mode] = "memory" if name == "memory_only" else name
                if MODES[mode].combine is None:
                    taken[mode] = name
        return cls(owners, omitted, taken)

    @property
    def computed(self) -> list[str]:
        """Each mode that computes, once."""
        return list(dict.fromkeys(self.owners.values()))

    def result(self, figures: Mapping[str, ModeFigures], counts: tuple[int, int], undefined: str | None) -> LevelResult:
        return LevelResult(
            anomalous=counts[0],
            intact=counts[1],
            modes={mode: figures[name] for mode, name in self.owners.items() if name in figures},
            taken=self.taken,
            omitted=self.omitted,
            undefined=undefined,
        )
