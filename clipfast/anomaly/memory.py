"""The patch memory: how far is each patch from the nearest one of the intact references?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from clipfast.anomaly.branches import BranchScores
from clipfast.anomaly.coreset import select_coreset
from clipfast.anomaly.options import MemoryOptions
from clipfast.anomaly.rows import Preparation, RowSearch, image_scores
from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.runtime.provider_options import ProviderOptions
from clipfast.types import Floats, Ints, PatchFeatures

__all__ = ["BlockMemory", "MemoryBank", "Reference"]


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference image.

    Attributes:
        name: For people.
        sha256: Of its file, or of its pixels where there is no file.
        pixels: SHA-256 of its pixels (`pixel_digest`), which another file of the same picture has, too; "" where they
            were not decoded.
    """

    name: str
    sha256: str
    pixels: str = ""

    @property
    def prints(self) -> set[str]:
        """What tells that another image is the same one."""
        return {self.sha256, self.pixels} - {""}


@dataclass(frozen=True, slots=True, eq=False)
class BlockMemory:
    """What is kept of one block.

    Attributes:
        rows: Features as the encoder gave them, (m, c) float32.
        owners: Number of the reference that each came from, (m,) int64.
        preparation: What is done to a feature before it is compared.
    """

    rows: Floats
    owners: Ints
    preparation: Preparation


class MemoryBank:
    """Patches of reference images, block by block. Immutable; `added` and `removed` return another bank.

    Without a coreset both equal a bank built anew, to the bit. With one, adding goes on with the greedy choice from the
    rows that are kept, and removing drops the image's rows; the preparation stays as it was.

    Args:
        blocks: What is kept, by number of the block.
        references: The images.
        options: How rows are compared.
        seed: Of the coreset.
        provider: Where rows are searched: "cpu", "cuda" or `CudaOptions`. It belongs to the machine and is not stored.
    """

    def __init__(
        self,
        blocks: Mapping[int, BlockMemory],
        references: Sequence[Reference],
        options: MemoryOptions,
        *,
        seed: int = 0,
        provider: str | ProviderOptions = "cpu",
    ) -> None:
        self.provider = provider
        self.blocks: Mapping[int, BlockMemory] = MappingProxyType(dict(sorted(blocks.items())))
        self.references = tuple(references)
        self.options = options
        self.seed = seed
        self._searches = {
            block: RowSearch(memory.preparation.apply(memory.rows), options.search, provider)
            for block, memory in self.blocks.items()
        }

    @classmethod
    def build(
        cls,
        patches: PatchFeatures,
        references: Sequence[Reference],
        options: MemoryOptions | None = None,
        *,
        owners: Ints | None = None,
        seed: int = 0,
    ) -> MemoryBank:
        """Remember patches.

        Args:
            patches: Features of n images by block, (n, p, c).
            references: The images they came from.
            options: How rows are kept and compared.
            owners: Number of the reference of each of the n images, (n,); None means one image each, in order.
            seed: Of the coreset and its projection.

        Raises:
            ArtifactError: A block is asked for that the features do not hold.
            DataError: No image, two of one content, or one without a reference.
            ShapeError: Shapes do not fit.
        """
        options = options or MemoryOptions()
        features = _chosen(patches, options)
        numbers = _owners(owners, features, references)
        blocks = {}
        for block, values in features.items():
            rows, own = values.reshape(-1, values.shape[-1]), np.repeat(numbers, values.shape[1])
            preparation = Preparation.fit(rows, options.rows)
            if options.coreset < 1:
                kept = select_coreset(
                    preparation.apply(rows), _share(options, len(rows)), seed=seed, projection=options.projection
                ).indices
                rows, own = rows[kept], own[kept]
            blocks[block] = BlockMemory(np.ascontiguousarray(rows), own, preparation)
        return cls(blocks, references, options, seed=seed)

    def __len__(self) -> int:
        """How many rows, all blocks together."""
        return sum(len(memory.rows) for memory in self.blocks.values())

    def added(self, patches: PatchFeatures, references: Sequence[Reference], owners: Ints | None = None) -> MemoryBank:
        """Return a bank that also remembers these images.

        Args:
            patches: As in `build`.
            references: The new images.
            owners: As in `build`, numbers among the new references.

        Raises:
            DataError: An image of that content is there already.
            ShapeError: Shapes do not fit.
        """
        features = _chosen(patches, self.options, self.blocks)
        every = (*self.references, *references)
        numbers = _owners(owners, features, references) + len(self.references)
        _require_different(every)
        blocks = {}
        for block, values in features.items():
            old = self.blocks[block]
            new, own = values.reshape(-1, values.shape[-1]), np.repeat(numbers, values.shape[1])
            if new.shape[1] != old.rows.shape[1]:
                raise ShapeError(f"features of block {block} must be (n, p, {old.rows.shape[1]}); got {values.shape}.")
            preparation = old.preparation
            if self.options.coreset < 1:
                kept = select_coreset(
                    preparation.apply(new),
                    _share(self.options, len(new)),
                    seed=self.seed,
                    projection=self.options.projection,
                    covered=preparation.apply(old.rows),
                ).indices
                new, own = new[kept], own[kept]
            rows = np.concatenate([old.rows, new])
            if self.options.coreset == 1:
                preparation = Preparation.fit(rows, self.options.rows)
            blocks[block] = BlockMemory(rows, np.concatenate([old.owners, own]), preparation)
        return MemoryBank(blocks, every, self.options, seed=self.seed, provider=self.provider)

    def removed(self, name: str) -> MemoryBank:
        """Return a bank without the image of that name or SHA-256.

        Raises:
            DataError: There is none, several have that name, or nothing would be left.
        """
        gone = [i for i, reference in enumerate(self.references) if name in (reference.name, reference.sha256)]
        if not gone:
            known = ", ".join(reference.name for reference in self.references[:20])
            raise DataError(f"No reference image is named {name!r}. The bank holds: {known}.")
        if len(gone) > 1:
            prints = ", ".join(self.references[i].sha256 for i in gone[:4])
            raise DataError(f"{len(gone)} reference images are named {name!r}. Give the SHA-256 of one: {prints}.")
        left = [i for i in range(len(self.references)) if i not in gone]
        blocks = {}
        for block, old in self.blocks.items():
            keep = np.isin(old.owners, left)
            if not keep.any():
                raise DataError(f"{name!r} is all that the bank holds; an empty one answers nothing. Fit another.")
            rows, own = old.rows[keep], np.searchsorted(left, old.owners[keep]).astype(np.int64)
            fitted = Preparation.fit(rows, self.options.rows) if self.options.coreset == 1 else old.preparation
            blocks[block] = BlockMemory(rows, own, fitted)
        kept = [self.references[i] for i in left]
        return MemoryBank(blocks, kept, self.options, seed=self.seed, provider=self.provider)

    def on(self, provider: str | ProviderOptions) -> MemoryBank:
        """Return the same bank, searched by another provider.

        Raises:
            ProviderError: It cannot run here, or its memory is too small.
        """
        return MemoryBank(self.blocks, self.references, self.options, seed=self.seed, provider=provider)

    def score(self, patches: PatchFeatures, *, without: int | None = None) -> BranchScores:
        """Score images by their patches' distances to the bank.

        Args:
            patches: Features of n images by block, (n, p, c).
            without: Number of a reference whose rows do not count, for leave-one-image-out.

        Returns:
            Scores on the patch grid.

        Raises:
            ArtifactError: A block of the bank is missing from the features.
            DataError: Without that reference a block is empty.
            ShapeError: Shapes do not fit.
        """
        features = _chosen(patches, self.options, self.blocks)
        first = next(iter(features.values()))
        n, p = first.shape[:2]
        total = np.zeros((n, p), np.float32)
        found = {}
        for block, values in features.items():
            memory = self.blocks[block]
            barred = None if without is None else memory.owners == without
            if barred is not None and barred.all():
                raise DataError(
                    f"without {self.references[without or 0].name!r} no row of block {block} is left. "
                    "Raise coreset, or add references."
                )
            queries = memory.preparation.apply(values.reshape(n * p, values.shape[-1]))
            found[block] = self._searches[block].nearest(queries, barred, self.options.metric, (n, p))
            total += found[block].values
        total /= np.float32(len(features))
        return BranchScores.of(image_scores(total, found, self.options), total.reshape(n, *patches.grid_hw))


def _share(options: MemoryOptions, rows: int) -> int:
    return max(1, int(rows * options.coreset))


def _chosen(
    patches: PatchFeatures, options: MemoryOptions, held: Mapping[int, object] | None = None
) -> dict[int, Floats]:
    wanted = tuple(held) if held is not None else options.blocks or tuple(patches.features)
    if missing := [block for block in wanted if block not in patches.features]:
        raise ArtifactError(
            f"the memory needs features after blocks {', '.join(map(str, wanted))}; those after "
            f"{', '.join(map(str, missing))} are not there. Export the model with --blocks, or choose others."
        )
    if not wanted:
        raise ArtifactError("the encoder gave features of no block. Export the model with --blocks.")
    features = {block: patches.features[block] for block in sorted(wanted)}
    places = patches.grid_hw[0] * patches.grid_hw[1]
    for block, values in features.items():
        if values.ndim != 3 or values.shape[1] != places:
            raise ShapeError(f"features of block {block} must be (n, {places}, c); got {values.shape}.")
    return features


def _owners(owners: Ints | None, features: Mapping[int, Floats], references: Sequence[Reference]) -> Ints:
    n = len(next(iter(features.values())))
    numbers = np.arange(n, dtype=np.int64) if owners is None else owners
    if not references or not n:
        raise DataError("a memory needs at least one intact image; got none.")
    if numbers.shape != (n,) or sorted(set(numbers.tolist())) != list(range(len(references))):
        raise DataError(f"each of the {n} images must come from one of the {len(references)} references, and all must.")
    _require_different(references)
    return numbers


def _require_different(references: Sequence[Reference]) -> None:
    first: dict[str, str] = {}
    for reference in references:
        if same := reference.prints & first.keys():
            raise DataError(
                f"{reference.name} and {first[same.pop()]} are one image: leaving one out would leave it in. "
                "Pass each reference once."
            )
        first |= dict.fromkeys(reference.prints, reference.name)
