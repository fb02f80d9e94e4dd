"""The figures of an evaluation of localisation: one a sample and path, and a contact sheet of all paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clipfast.report.fonts import drawable
from clipfast.report.images import contact_sheet, draw_boxes, overlay, save_png
from clipfast.report.plots import LocalisationPanel, localisation_figure, require_matplotlib
from clipfast.storage import atomic_write
from clipfast.surgery.heatmap import unit_range
from clipfast.surgery.localise_records import SampleRecord
from clipfast.surgery.map_stream import SampleMaps
from clipfast.types import Pixels

__all__ = ["FigureWriter"]

_ROWS = 4  # classes of one image that are drawn
_SHEET = 8  # images of the contact sheet
_GREEN = (0, 220, 0)


class FigureWriter:
    """Draws samples as they are evaluated: pass it as `watch`.

    Samples are numbered in the order of the data set, only those with a box to be found. Files are
    `OUT/<path>/sample_000.png` and `OUT/contact_sheet.png`. Of an image with many classes, those with the largest
    ground truths are drawn.

    Attributes:
        written: Files, in the order they were written.
        unnamed: Whether a class was drawn as a number, because no font at hand can draw its name.
    """

    def __init__(self, folder: Path, classes: Sequence[str], count: int | None) -> None:
        """Draw at most `count` samples, all if None.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        require_matplotlib()
        self.written: list[Path] = []
        self.unnamed = False
        self._folder, self._classes, self._count = folder, tuple(classes), count
        self._seen = 0
        self._tiles: list[Pixels] = []
        self._captions: list[str] = []

    def __call__(self, maps: SampleMaps, record: SampleRecord) -> None:
        """Draw one sample."""
        if not record.classes or (self._count is not None and self._seen >= self._count):
            return
        names = self._largest(record)
        for path in maps.maps:
            target = self._folder / path / f"sample_{self._seen:03d}.png"
            self._write(target, localisation_figure([self._panel(maps, record, path, name) for name in names]))
        if self._seen < _SHEET:
            self._add_tiles(maps, record, names[0])
        self._seen += 1

    def finish(self) -> None:
        """Write the contact sheet."""
        if self._tiles:
            columns = len(self._tiles) // min(self._seen, _SHEET)
            path = self._folder / "contact_sheet.png"
            save_png(path, contact_sheet(self._tiles, self._captions, columns=columns))
            self.written.append(path)

    def _largest(self, record: SampleRecord) -> list[str]:
        boxes = record.truth_boxes
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        labels = np.array(record.truth_labels, dtype=object)
        return sorted(record.classes, key=lambda name: (-float(areas[labels == name].sum()), name))[:_ROWS]

    def _panel(self, maps: SampleMaps, record: SampleRecord, path: str, name: str) -> LocalisationPanel:
        height, width = maps.pixels.shape[:2]
        left, top, right, bottom = maps.to_image(np.array([[0.0, 0.0, width, height]]))[0].tolist()
        boxes, scores, labels = record.found[path]
        mine = np.array(labels, dtype=object) == name
        return LocalisationPanel(
            f"{record.id if drawable(record.id) else 'image'}: {self._caption(name)} ({path})",
            maps.pixels,
            maps.heat(path, self._classes.index(name)),
            (left, top, right, bottom),
            record.truth_boxes[np.array(record.truth_labels, dtype=object) == name],
            boxes[mine],
            scores[mine],
        )

    def _caption(self, name: str) -> str:
        if drawable(name):
            return name
        self.unnamed = True
        return f"class {self._classes.index(name)}"

    def _add_tiles(self, maps: SampleMaps, record: SampleRecord, name: str) -> None:
        mine = np.array(record.truth_labels, dtype=object) == name
        truths = maps.to_pixels(record.truth_boxes[mine])
        self._tiles.append(draw_boxes(maps.pixels, truths, _GREEN))
        self._captions.append(self._caption(name))
        for path in maps.maps:
            heat = unit_range(maps.heat(path, self._classes.index(name)))
            self._tiles.append(draw_boxes(overlay(maps.pixels, heat), truths, _GREEN))
            self._captions.append(path)

    def _write(self, path: Path, data: bytes) -> None:
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
        self.written.append(path)
