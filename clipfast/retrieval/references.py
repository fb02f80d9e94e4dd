"""The reference photos of a bank as arrays: one row each, grouped by fabric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from clipfast.arguments import require_array, require_names
from clipfast.errors import DataError, ShapeError
from clipfast.retrieval.declared import Declared
from clipfast.types import Floats, Ints
from clipfast.vectors import require_unit_rows

if TYPE_CHECKING:
    from clipfast.kernels.screening import RowCodes

__all__ = ["NO_LOOK", "NO_PHOTO", "Marks", "References"]

Hashes = NDArray[np.uint64]

NO_LOOK = 0
"""Stands for the look of a picture without a pattern, or one that was not kept."""
NO_PHOTO = "0" * 64
"""Stands for the checksum of a row that was imported as a vector: there is no photo that it could be compared with."""


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """By what the photos of a bank are known again; banks of older versions have none.

    Attributes:
        sources: Checksum of the photo that each was cut from, as its side-car says; `NO_PHOTO` where there is none.
        looks: Perceptual hash of each, (m,) uint64; `NO_LOOK` where there is none.
        declared: Of each, of which evaluation pictures it was declared to be no copy; () for none of any.
    """

    sources: tuple[str, ...]
    looks: Hashes
    declared: tuple[tuple[Declared, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.declared and len(self.declared) != len(self.sources):
            raise ShapeError(f"declared must be one for each of {len(self.sources)} photos; got {len(self.declared)}.")
        if self.looks.shape != (len(self.sources),) or self.looks.dtype != np.uint64:
            raise ShapeError(
                f"looks must be uint64 ({len(self.sources)},), one for each source; got {self.looks.dtype} "
                f"{self.looks.shape}."
            )

    @classmethod
    def none(cls, count: int) -> Marks:
        """Return marks of photos of which nothing is known."""
        return cls((NO_PHOTO,) * count, np.full(count, NO_LOOK, np.uint64))

    @property
    def empty(self) -> bool:
        """Whether nothing is known of any photo."""
        return not self.looks.any() and set(self.sources) <= {NO_PHOTO} and not any(self.declared)

    @property
    def all_declared(self) -> tuple[Declared, ...]:
        """All that was declared."""
        return tuple(each for said in self.declared for each in said)

    def taken(self, rows: Sequence[int]) -> Marks:
        """Return those of the given rows."""
        declared = tuple(self.declared[row] for row in rows) if any(self.declared) else ()
        return Marks(tuple(self.sources[row] for row in rows), self.looks[list(rows)], declared)

    def joined(self, other: Marks) -> Marks:
        """Return these, then the others."""
        declared: tuple[tuple[Declared, ...], ...] = ()
        if any(self.declared) or any(other.declared):
            declared = tuple(said for each in (self, other) for said in each.declared or ((),) * len(each.sources))
        return Marks(self.sources + other.sources, np.concatenate([self.looks, other.looks]), declared)


class References:
    """Embeddings with fabric, path and checksum of each, in code-point order of (fabric, path). Never changed.

    One matrix with the first row of each fabric beside it: a class score is one product and one segmented reduction.

    Args:
        embeddings: Unit rows, (m, e) float32.
        fabrics: Fabric id of each row.
        paths: Name of each row: `fabric/file`, unique.
        sha256: Checksum of each photo, hexadecimal; `NO_PHOTO` where there is none.
        marks: By what photos are known again; None where nobody kept that.

    Attributes:
        names: Fabric ids, sorted, (c,).
        starts: First row of each fabric, (c,) int64.
        counts: Rows of each fabric, (c,) int64.
        codes: 8-bit codes of the rows, where they were stored with them.

    Raises:
        ShapeError: The rows are not finite unit rows, or the lengths differ.
        DataError: A path comes twice.
    """

    def __init__(
        self,
        embeddings: Floats,
        fabrics: Sequence[str],
        paths: Sequence[str],
        sha256: Sequence[str],
        marks: Marks | None = None,
    ) -> None:
        self._take(embeddings, fabrics, paths, (sha256, marks))
        self.embeddings: Floats = require_unit_rows(self.embeddings, embeddings.shape[-1], what="embeddings").view()
        self.embeddings.flags.writeable = False

    @classmethod
    def stored(
        cls,
        vectors: tuple[Floats, RowCodes],
        fabrics: Sequence[str],
        paths: Sequence[str],
        sha256: Sequence[str],
        marks: Marks | None = None,
    ) -> References:
        """Return rows that were checked when they were written, with their codes; they are not read now.

        Args:
            vectors: Unit rows in order, (m, e) float32, as in a mapped file, and their codes.
            fabrics: As for new references.
            paths: As for new references.
            sha256: As for new references.
            marks: As for new references.

        Raises:
            ShapeError: The lengths differ.
            DataError: A path comes twice, or the rows are not in the order of (fabric, path).
        """
        made = cls.__new__(cls)
        made._take(vectors[0], fabrics, paths, (sha256, marks))  # noqa: SLF001  (a second way to make the same class)
        if made.fabrics != tuple(fabrics) or made.paths != tuple(paths):
            raise DataError("rows must stand in the order of (fabric, path)")
        made.codes = vectors[1]
        return made

    def _take(
        self,
        embeddings: Floats,
        fabrics: Sequence[str],
        paths: Sequence[str],
        known: tuple[Sequence[str], Marks | None],
    ) -> None:
        """Put everything in order; `known` are checksums and marks."""
        sha256 = require_names("sha256", known[0])
        fabrics, paths = require_names("fabrics", fabrics), require_names("paths", paths)
        require_array("embeddings", embeddings, "(m, e)")
        marks = Marks.none(len(sha256)) if known[1] is None else known[1]
        if len(marks.sources) != len(sha256):
            raise ShapeError(f"marks must be of {len(sha256)} photos; got {len(marks.sources)}.")
        if not len(embeddings) == len(fabrics) == len(paths) == len(sha256):
            raise ShapeError(
                "embeddings, fabrics, paths and sha256 must be of one length; "
                f"got {len(embeddings)}, {len(fabrics)}, {len(paths)} and {len(sha256)}."
            )
        if not len(embeddings):
            raise DataError("No embeddings collected: a bank must hold at least one photo.")
        order = sorted(range(len(paths)), key=lambda row: (fabrics[row], paths[row]))
        self.codes: RowCodes | None = None
        self.embeddings = embeddings if order == list(range(len(paths))) else embeddings[order]
        self.fabrics = tuple(fabrics[row] for row in order)
        self.paths = tuple(paths[row] for row in order)
        self.sha256 = tuple(sha256[row] for row in order)
        self.marks = marks.taken(order)
        if len(set(self.paths)) < len(self.paths):
            raise DataError(f"paths must be unique; {Counter(self.paths).most_common(1)[0][0]!r} comes twice.")
        self.starts: Ints = np.array(
            [row for row, fabric in enumerate(self.fabrics) if row == 0 or fabric != self.fabrics[row - 1]],
            dtype=np.int64,
        )
        self.names = tuple(self.fabrics[row] for row in self.starts)
        self.counts: Ints = np.diff(np.append(self.starts, len(self.paths)))
        self.starts.flags.writeable = False
        self.counts.flags.writeable = False

    def __len__(self) -> int:
        """How many photos."""
        return len(self.paths)

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return int(self.embeddings.shape[1])

    @cached_property
    def centroids(self) -> Floats:
        """Normalised mean of each fabric, (c, e) float32; zero where the photos cancel out."""
        sums = np.add.reduceat(self.embeddings, self.starts, axis=0, dtype=np.float64)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        # Photos that cancel out have no direction: similar to nothing, rather than NaN or amplified rounding.
        clear = norms > 1e-6 * self.counts[:, None]
        centroids: Floats = np.divide(sums, norms, out=np.zeros_like(sums), where=clear).astype(np.float32)
        centroids.flags.writeable = False
        return centroids

    @cached_property
    def digests(self) -> frozenset[str]:
        """Checksums of all files that the photos are, or were cut from."""
        return frozenset((*self.sha256, *self.marks.sources)) - {NO_PHOTO}

    @cached_property
    def photos(self) -> Ints:
        """Number of the photo that each row is, or was cut from, (m,) int64; of an imported row, one of its own."""
        known = [
            sha256 if source == NO_PHOTO else source
            for sha256, source in zip(self.sha256, self.marks.sources, strict=True)
        ]
        numbers: dict[str | int, int] = {}
        found: Ints = np.array(
            [numbers.setdefault(row if name == NO_PHOTO else name, len(numbers)) for row, name in enumerate(known)],
            np.int64,
        )
        found.flags.writeable = False
        return found

    @property
    def imported(self) -> tuple[str, ...]:
        """Names of the rows that were imported as vectors, without a photo."""
        return tuple(path for path, sha256 in zip(self.paths, self.sha256, strict=True) if sha256 == NO_PHOTO)

    def declaring(self, declared: Sequence[Declared]) -> References:
        """Return the same photos with more of them declared to be no copies; they are found by their files' checksums.

        What is declared is named as the photo is called here.
        """
        if not declared:
            return self
        marks, embeddings = self.marks, self.embeddings
        known = marks.declared or ((),) * len(self)
        said = tuple(
            (*before, *(replace(each, path=path) for each in declared if each.file == sha256))
            for path, sha256, before in zip(self.paths, self.sha256, known, strict=True)
        )
        return References(embeddings, self.fabrics, self.paths, self.sha256, Marks(marks.sources, marks.looks, said))

    def merged(self, other: References) -> References:
        """Return these and `other`; where both hold a path, `other`'s row is taken.

        Raises:
            ShapeError: The widths differ.
        """
        if other.dim != self.dim:
            raise ShapeError(
                f"new embeddings must be (n, {self.dim}); got (n, {other.dim}). Encode them with the bank's model."
            )
        replaced = set(other.paths)
        kept = [row for row, path in enumerate(self.paths) if path not in replaced]
        return References(
            np.concatenate([self.embeddings[kept], other.embeddings]),
            [*(self.fabrics[row] for row in kept), *other.fabrics],
            [*(self.paths[row] for row in kept), *other.paths],
            [*(self.sha256[row] for row in kept), *other.sha256],
            self.marks.taken(kept).joined(other.marks),
        )

    def taken(self, rows: Sequence[int]) -> References:
        """Return the given rows only.

        Raises:
            DataError: No row is given.
        """
        return References(
            self.embeddings[list(rows)],
            [self.fabrics[row] for row in rows],
            [self.paths[row] for row in rows],
            [self.sha256[row] for row in rows],
            self.marks.taken(rows),
        )
