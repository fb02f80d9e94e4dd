"""Figures of patches, of which a photo may have several: what is independent is the photo.

Patches of one photo are mostly right or wrong together. Who counts them one by one finds intervals too narrow and gains
that are none. So whole photos are resampled, a photo falls to the system that answers more of its patches right (as in
`promotion`), and a share has Wilson's interval with Kish's effective number: n² / Σ m² of n patches, m of a photo. That
is right where all patches of a photo are answered alike, and too wide otherwise. Where every photo has one patch, these
are the usual intervals and tests.

Source: Kish, Survey Sampling, 1965, section 8.2; Field and Welsh, Bootstrapping clustered data, JRSS B 2007.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ShapeError
from clipfast.metrics import (
    BootstrapOptions,
    Interval,
    PairedDifference,
    bootstrap_interval,
    mcnemar_test,
    paired_bootstrap,
)
from clipfast.metrics.intervals import wilson_ends

__all__ = ["PhotoCounts"]

_RESAMPLES = BootstrapOptions(method="percentile")


@dataclass(frozen=True, slots=True)
class PhotoCounts:
    """Which photo each patch is of.

    Attributes:
        owner: Number of each patch's photo, (n,), each from 0 to `count` - 1.
        sizes: Patches of each photo, (count,).

    >>> photos = PhotoCounts.of([7, 7, 9, 4])
    >>> photos.count, photos.owner.tolist(), round(photos.effective, 2)
    (3, [0, 0, 1, 2], 2.67)
    """

    owner: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, photos: Sequence[Hashable]) -> PhotoCounts:
        """Number photos, which are numbers or names, in the order of their first patches.

        Raises:
            ShapeError: There is no patch.
        """
        if not len(photos):
            raise ShapeError("photos must be (n,), 1 at least; got none.")
        numbers: dict[Hashable, int] = {}
        owner = np.array([numbers.setdefault(photo, len(numbers)) for photo in photos], np.int64)
        return cls(owner, np.bincount(owner))

    @classmethod
    def among(cls, photos: Sequence[Hashable] | None, patches: int) -> PhotoCounts:
        """Number the photos of so many patches; None: each is of another.

        Raises:
            ShapeError: They are not one a patch, or there is no patch.
        """
        if photos is not None and len(photos) != patches:
            raise ShapeError(f"photos must be one for each of {patches} answers; got {len(photos)}.")
        return cls.of(range(patches) if photos is None else photos)

    @property
    def count(self) -> int:
        """How many photos."""
        return len(self.sizes)

    @property
    def effective(self) -> float:
        """Kish's effective number: as many independent patches would tell as much, at worst."""
        return float(self.sizes.sum()) ** 2 / float((self.sizes.astype(np.float64) ** 2).sum())

    def share(self, right: NDArray[np.bool_], confidence: float = 0.95) -> Interval:
        """Return the share of right patches with Wilson's interval for the effective number."""
        estimate = int(right.sum()) / len(right)
        low, high = wilson_ends(estimate, self.effective, confidence)
        return Interval(estimate, low, high, confidence, "wilson")

    def mean(self, values: NDArray[np.float64], seed: int) -> Interval:
        """Return the mean over patches, with its interval from resampled photos; one photo has no spread to tell of."""
        if self.count < 2:
            return Interval(float(values.mean()), 0.0, 1.0, _RESAMPLES.confidence, "none: one photo")
        return bootstrap_interval(_mean, self._totals(values), seed=seed, options=_RESAMPLES)

    def gain(self, one: NDArray[np.bool_], other: NDArray[np.bool_], seed: int) -> PairedDifference:
        """Return how many more patches the first answers right, with the interval from resampled photos.

        Raises:
            UndefinedMetricError: There is one photo only.
        """
        return paired_bootstrap(_mean, self._totals(one), self._totals(other), seed=seed, options=_RESAMPLES)

    def mcnemar(self, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> PairedDifference:
        """Test exactly whether more photos fall to the first than to the second; the difference is of photos, too."""
        net = np.bincount(self.owner, weights=one.astype(np.float64) - other.astype(np.float64))
        found = mcnemar_test(net > 0, net < 0)
        return found if self.count == len(self.owner) else replace(found, method=f"{found.method}, a sign a photo")

    def _totals(self, values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """Sum up by photo, beside how many patches it has, (count, 2)."""
        sums = np.bincount(self.owner, weights=values.astype(np.float64))
        return np.stack([sums, self.sizes.astype(np.float64)], axis=1)


def _mean(totals: NDArray[np.float64], axis: int = 0) -> NDArray[np.float64]:
    """Return the mean over the patches of photos, (photos, 2), or of many resamples, (b, photos, 2) with axis 1."""
    sums = totals.sum(axis=axis)
    found: NDArray[np.float64] = sums[..., 0] / sums[..., 1]
    return found
