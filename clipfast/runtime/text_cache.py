"""Text embeddings that were computed before: in memory for all, on disk for template ensembles."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from clipfast.storage import atomic_write, cache_dir
from clipfast.types import Floats

__all__ = ["TextCache"]

_FORMAT = 2  # 1 also kept texts that are warned of
_IN_MEMORY = 16_384  # rows; at 768 floats each that is 50 MB


class TextCache:
    """Rows by (text, templates), for one model and precision. Safe from many threads."""

    def __init__(self, fingerprint: str, precision: str, dim: int) -> None:
        self._rows: OrderedDict[tuple[str, tuple[str, ...] | None], Floats] = OrderedDict()
        self._lock = threading.Lock()
        self._identity = f"{fingerprint}-{precision}"
        self._dim = dim

    def get(self, text: str, templates: tuple[str, ...] | None) -> Floats | None:
        """Return the row of a text, (e,), or None."""
        key = (text, templates)
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
                return self._rows[key]
        if templates is None:
            return None
        row = self._read(self._file(text, templates))
        if row is not None:
            self._keep(key, row)
        return row

    def put(self, text: str, templates: tuple[str, ...] | None, row: Floats, *, on_disk: bool = True) -> None:
        """Keep a row; ensembles, which cost many forwards, also on disk.

        Args:
            text: The text.
            templates: What it was put into.
            row: Its row, (e,).
            on_disk: False of a text that is warned of: every process that uses it must warn again.
        """
        self._keep((text, templates), row)
        if templates is not None and on_disk:
            # The cache only saves time: a full or read-only disk must not fail an encode.
            with (
                suppress(OSError),
                atomic_write(self._file(text, templates)) as temporary,
                temporary.open("wb") as file,
            ):
                np.save(file, row, allow_pickle=False)

    def _keep(self, key: tuple[str, tuple[str, ...] | None], row: Floats) -> None:
        with self._lock:
            self._rows[key] = row
            while len(self._rows) > _IN_MEMORY:
                self._rows.popitem(last=False)

    def _file(self, text: str, templates: Sequence[str]) -> Path:
        name = hashlib.sha256(msgspec.json.encode([_FORMAT, self._identity, text, templates])).hexdigest()
        return cache_dir() / "texts" / name[:2] / f"{name}.npy"

    def _read(self, path: Path) -> Floats | None:
        try:
            row: Floats = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        intact = row.dtype == np.float32 and row.shape == (self._dim,) and abs(float(row @ row) - 1) < 1e-3
        return row if intact else None
