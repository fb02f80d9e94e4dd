"""The fabric bank: reference photos of every fabric as vectors, and what a photo resembles most."""

from __future__ import annotations

import os
import threading
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from clipfast.arguments import require_path, require_text
from clipfast.errors import DataError
from clipfast.index import VectorIndex
from clipfast.retrieval.answers import Answer, Judgement
from clipfast.retrieval.bankfile import BankModel, open_bank, require_model, save_bank
from clipfast.retrieval.build import encode_fabric, encode_folder
from clipfast.retrieval.declared import Declared
from clipfast.retrieval.encode import BuildReport, EncodeOptions
from clipfast.retrieval.queries import many_queries, one_query, require_encoder, require_topk
from clipfast.retrieval.references import References
from clipfast.retrieval.scoring import ClassScore, Neighbour, Ranked, class_scores, products, ranking
from clipfast.runtime.images import DEFAULT_MAX_PIXELS
from clipfast.types import Floats, ImageEncoder, Images, ImageSource

__all__ = ["FabricBank"]

_QUERIES_PER_PRODUCT = 64


class FabricBank:
    """Reference photos of fabrics, searched by cosine. Make one with `build` or `load`.

    Ranking and searching from several threads is safe, also while another thread adds or removes.

    Args:
        references: The photos.
        model: Who made their vectors.
        clip: The encoder, where queries may be images and photos may be added.
        report: What `build` found.

    Attributes:
        model: Fingerprint, precision and name of the model that made the vectors.
        clip: The encoder, or None: then queries are vectors.
        report: What `build` found, or None.
    """

    def __init__(
        self,
        references: References,
        model: BankModel,
        *,
        clip: ImageEncoder | None = None,
        report: BuildReport | None = None,
    ) -> None:
        self.model = model
        self.clip = clip
        self.report = report
        self._references = references
        self._index: tuple[References, VectorIndex] | None = None
        self._lock = threading.Lock()

    @classmethod
    def build(
        cls,
        clip: ImageEncoder,
        folder: str | os.PathLike[str],
        *,
        strict: bool = False,
        batch_size: int = 32,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        progress: Callable[[int, int], None] | None = None,
    ) -> FabricBank:
        """Encode `folder/<fabric_id>/<photo>`; what could not be read is in `bank.report`.

        Args:
            clip: The encoder.
            folder: One folder a fabric, 3-5 photos in each.
            strict: The first file that cannot be used is an error, instead of being skipped.
            batch_size: Photos an encoder call, at most; does not change the vectors.
            max_pixels: Larger photos are refused before they are decoded.
            progress: Called with (done, total) files.

        Raises:
            DataError: No folder there, or no photo in it that can be read ("No embeddings collected").
            ImageError: `strict`, and a file cannot be read; the message names it.
        """
        options = EncodeOptions(strict, batch_size, max_pixels, progress)
        references, report = encode_folder(clip, require_path("folder", folder), options)
        return cls(references, BankModel.of(clip), clip=clip, report=report)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        clip: ImageEncoder | None = None,
        *,
        accept_precision: bool = False,
        verify: bool = False,
    ) -> FabricBank:
        """Open what `save` wrote.

        Args:
            path: The file or folder.
            clip: The encoder that queries will come from. Its identity is checked, and queries may then be images.
            accept_precision: Also take an encoder of another precision, whose scores differ a little.
            verify: Read a folder whole: hash its files and check its rows. A file is always read whole.

        Raises:
            ArtifactError: The bank is missing, damaged or none, or `clip` runs in another precision.
            FingerprintError: Another model made the bank; the message names both fingerprints.
        """
        references, model = open_bank(require_path("path", path), verify=verify)
        if clip is not None:
            require_model(model, clip, what=str(path), kind="bank", accept_precision=accept_precision)
        return cls(references, model, clip=clip)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the bank as one sealed file, or as a folder whose vectors are mapped; equal banks give equal bytes.

        Args:
            path: `bank.npz` is a file; a path without a suffix, or of a folder, is a folder. More than 100,000 photos
                are always a folder: `bank` for `bank.npz`, which `load` finds under either name.

        Returns:
            Where it was written.

        Raises:
            ArtifactError: A folder is there that holds something else.
        """
        return save_bank(require_path("path", path), self._references, self.model)

    def __len__(self) -> int:
        """How many photos."""
        return len(self._references)

    @property
    def references(self) -> References:
        """The photos: embeddings, fabrics, paths and checksums; a snapshot that adding and removing do not change."""
        return self._references

    @property
    def fabrics(self) -> dict[str, int]:
        """How many photos each fabric has, by id, sorted."""
        references = self._references
        return dict(zip(references.names, references.counts.tolist(), strict=True))

    def add(
        self,
        images: Images,
        fabric_id: str | None = None,
        *,
        strict: bool = False,
        batch_size: int = 32,
        progress: Callable[[int, int], None] | None = None,
    ) -> BuildReport:
        """Encode further photos into the bank.

        A photo whose path the bank holds already takes the other's place, so adding a folder again brings it up to
        date; `report.replaced` names them.

        Args:
            images: A folder, or one image, or several. A folder without `fabric_id` is read as `build` reads it.
            fabric_id: Fabric of the photos; needed unless `images` is a folder of fabrics.
            strict: As in `build`.
            batch_size: As in `build`.
            progress: As in `build`.

        Raises:
            ArtifactError: The bank has no clip.
            DataError: `fabric_id` is missing or is no folder name, or no photo can be read.
            ImageError: `strict`, and a photo cannot be read.
        """
        clip = require_encoder(self.clip, "add photos")
        options = EncodeOptions(strict=strict, batch_size=batch_size, progress=progress)
        folder = Path(images) if isinstance(images, str | os.PathLike) and Path(images).is_dir() else None
        if fabric_id is not None:
            new, report = encode_fabric(clip, images, fabric_id, options)
        elif folder is not None:
            new, report = encode_folder(clip, folder, options)
        else:
            raise DataError(
                "fabric_id must name the fabric of these photos; got None. Pass fabric_id='cotton'.",
                code="no_fabric_id",
            )
        with self._lock:
            known = set(self._references.paths)
            self._references = self._references.merged(new)
        return replace(report, replaced=tuple(path for path in new.paths if path in known))

    def declare(self, declared: Sequence[Declared]) -> None:
        """Write down which photos are no copies of the evaluation pictures that they look like.

        Args:
            declared: What `clipfast.retrieval.heldout.require_no_copies` returned; found again by the files' checksums.
        """
        with self._lock:
            self._references = self._references.declaring(declared)

    def remove(self, name: str) -> int:
        """Remove a fabric by its id, or one photo by its path; returns how many photos went.

        Raises:
            DataError: Nothing has that name (the message lists the fabrics), or nothing would be left.
        """
        wanted = unicodedata.normalize("NFC", require_text("name", name))
        with self._lock:
            old = self._references
            keep = [row for row, path in enumerate(old.paths) if wanted not in (path, old.fabrics[row])]
            if len(keep) == len(old):
                known = ", ".join(old.names[:20]) + (", …" if len(old.names) > 20 else "")
                raise DataError(
                    f"No fabric and no photo is named {name!r}. The bank's fabrics: {known}.",
                    code="not_in_bank",
                    name=name,
                    known=known,
                )
            if not keep:
                raise DataError(
                    f"{name!r} is all that the bank holds; an empty bank answers nothing. Delete its file.",
                    code="all_of_bank",
                    name=name,
                )
            self._references = old.taken(keep)
        return len(old) - len(keep)

    def rank(self, query: Floats | ImageSource, topk: int = 5, score: ClassScore = "max") -> Answer[Ranked]:
        """Rank the fabrics for one query, best first; equal scores stand in the order of fabric ids.

        The list also has `.confidence`, the probability that its first fabric is right, and `.none_of_these`; both rest
        on asking the bank for its own photos, see `clipfast.retrieval.bank_judge`.

        Args:
            query: One unit vector, (e,) or (1, e) float32; or one image, where the bank has its clip.
            topk: How many fabrics, at least 1; a bank with fewer gives all.
            score: `max`, `mean` or `centroid`; see `clipfast.retrieval.class_scores`.

        Raises:
            ShapeError: Not one query, not the bank's width, no unit vector, `topk` below 1, or an unknown `score`.
            ArtifactError: The query is an image, and the bank has no clip.
        """
        return self._rank(self._one(query), topk, score)[0]

    def rank_many(
        self, queries: Floats | Iterable[ImageSource], topk: int = 5, score: ClassScore = "max"
    ) -> list[Answer[Ranked]]:
        """Rank the fabrics for several queries; each answer equals that of `rank`.

        Args:
            queries: Unit rows, (q, e) float32; or images, where the bank has its clip.
            topk: As in `rank`.
            score: As in `rank`.

        Raises:
            ShapeError: As in `rank`.
            ArtifactError: As in `rank`.
        """
        return self._rank(many_queries(queries, self._references.dim, self.clip), topk, score)

    def search(self, query: Floats | ImageSource, topk: int = 5) -> list[Neighbour]:
        """Find the nearest reference photos, best first; equal scores stand in the order of (fabric, path).

        Args:
            query: As in `rank`.
            topk: How many photos, at least 1; a bank with fewer gives all.

        Raises:
            ShapeError: As in `rank`.
            ArtifactError: As in `rank`.
        """
        require_topk(topk)
        row = self._one(query)
        references, index = self._indexed()
        hits = index.search(row, min(topk, len(references)))
        return [
            _neighbour(references, int(place), float(score))
            for place, score in zip(hits.ids[0], hits.scores[0], strict=True)
        ]

    def nearest(self, query: Floats | ImageSource) -> dict[str, Neighbour]:
        """Return each fabric's photo that is most similar to the query, by fabric id.

        Raises:
            ShapeError: As in `rank`.
            ArtifactError: As in `rank`.
        """
        references = self._references
        cosines = products(self._one(query), references.embeddings)[0]
        places = [
            int(start) + int(np.argmax(part))
            for start, part in zip(references.starts, np.split(cosines, references.starts[1:]), strict=True)
        ]
        return {references.fabrics[place]: _neighbour(references, place, float(cosines[place])) for place in places}

    def _rank(self, rows: Floats, topk: int, score: ClassScore) -> list[Answer[Ranked]]:
        require_topk(topk)
        references = self._references
        answers: list[Answer[Ranked]] = []
        for start in range(0, len(rows), _QUERIES_PER_PRODUCT):
            part = rows[start : start + _QUERIES_PER_PRODUCT]
            for row, scores in zip(part, class_scores(part, references, score), strict=True):
                answers.append(Answer(ranking(scores, references, topk), partial(_judged, references, row)))
        return answers

    def _one(self, query: Floats | ImageSource) -> Floats:
        return one_query(query, self._references.dim, self.clip)

    def _indexed(self) -> tuple[References, VectorIndex]:
        with self._lock:
            if self._index is None or self._index[0] is not self._references:
                rows, codes = self._references.embeddings, self._references.codes
                index = VectorIndex.over(rows, fingerprint=self.model.fingerprint, codes=codes)
                self._index = (self._references, index)
            return self._index


def _judged(references: References, row: Floats) -> Judgement:
    """Judge an answer by the highest cosines, whatever score ranked it: those are what the judge was fitted on."""
    from clipfast.retrieval.confidence import judge_bank  # brings the metrics with it

    return judge_bank(references, class_scores(row[None], references))[0]


def _neighbour(references: References, place: int, score: float) -> Neighbour:
    return Neighbour(references.paths[place], references.fabrics[place], score)
