"""A study's pictures and texts as embeddings, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice

import numpy as np

from clipfast.diagnostics.captions import PairEncoder
from clipfast.diagnostics.experiments.heads import HeadData
from clipfast.diagnostics.experiments.study_data import Part, StudyData
from clipfast.errors import DataError
from clipfast.runtime.images import load_image
from clipfast.types import Floats, ImageSource, Ints, Pixels

__all__ = ["EncodedStudy", "pixels_of"]


class EncodedStudy:
    """What experiments read.

    Args:
        encoder: Of images and texts.
        data: The data set.
        batch_size: Images at once.
        tick: Called with the number of images after each batch.
    """

    def __init__(
        self, encoder: PairEncoder, data: StudyData, *, batch_size: int = 32, tick: Callable[[int], None] | None = None
    ) -> None:
        self.encoder, self.data, self.batch_size, self.tick = encoder, data, batch_size, tick

    @cached_property
    def train(self) -> Floats:
        """Image rows of the training samples."""
        return self._images(self._part("train"))

    @cached_property
    def test(self) -> Floats:
        """Image rows of the judged samples."""
        return self._images(self.data.test)

    @cached_property
    def other(self) -> Floats:
        """Image rows of the other data set."""
        return self._images(self._part("other"))

    @cached_property
    def images(self) -> HeadData:
        """Training and test images."""
        train = self._part("train")
        return HeadData(self.train, train.labels, self.test, self.data.test.labels, len(self.data.classes))

    @cached_property
    def texts(self) -> HeadData:
        """The same samples as texts."""
        train = self._part("train")
        rows = [self.encoder.encode_texts(list(part.texts)) for part in (train, self.data.test)]
        return HeadData(rows[0], train.labels, rows[1], self.data.test.labels, len(self.data.classes))

    def other_halves(self, seed: int = 0) -> tuple[Ints, Ints]:
        """Return which samples of the other data set are drawn from, and which are tested on."""
        order = np.random.default_rng(seed).permutation(len(self._part("other"))).astype(np.int64)
        half = len(order) // 2
        return np.sort(order[:half]), np.sort(order[half:])

    def _part(self, name: str) -> Part:
        part = self.data.train if name == "train" else self.data.other
        if part is None:
            raise DataError(f"{self.data.name} has no {name} samples.")
        return part

    def _images(self, part: Part) -> Floats:
        found = []
        for batch in _batches(part.images, self.batch_size):
            found.append(self.encoder.encode_images(batch))
            if self.tick:
                self.tick(len(batch))
        return np.concatenate(found)


def _batches(images: Sequence[ImageSource], size: int) -> Iterator[list[ImageSource]]:
    stream = iter(images)
    while batch := list(islice(stream, size)):
        yield batch


def pixels_of(image: ImageSource) -> Pixels:
    """Return RGB pixels, (h, w, 3) uint8.

    Raises:
        ImageError: The image cannot be read.
    """
    if isinstance(image, np.ndarray):
        return image
    return np.asarray(load_image(image).convert("RGB"))
