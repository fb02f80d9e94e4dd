"""From scores to OK or NG: a threshold for a wanted rate of false alarms, and what is known about it.

What can be guaranteed. If a new intact image and the n references are exchangeable, a threshold at the
ceil((n + 1) (1 - fpr))-th smallest of n held-out scores is exceeded by an intact image with a probability of at most
fpr, on average over supports (conformal prediction; scores that leave one of n references out are too high beside those
that know all n, which is the safe side). That needs n >= 1 / fpr - 1 references: 99 for 1 %. It is the method
"conformal". The argument holds for scores that can only fall when a reference is added and that know of the one left
out nothing else: distances to plain rows, and texts that were not chosen by the support. Of a coreset and of centred or
standardised rows the held-out scores are those of memories built without the reference (`LeaveOut`), but with one
more reference a score may rise. There, and where more of the support goes into a score (`why_not_guaranteed`), the
place is the same, and `Decision.caveat` says what stands against it.

With fewer, no distribution-free statement about fpr is possible: the largest of n scores is exceeded with probability
1 / (n + 1), 20 % for 4 references, whatever is done. Method "extrapolated" then assumes a shape: an image's score is
the largest of many patch scores (a mean of them has a shorter tail: there it errs towards fewer alarms), so a Gumbel
distribution is fitted to the held-out scores of references and of their views by the method of moments, its quantile at
1 - fpr is widened by sqrt(1 + 1 / n), and the largest held-out score is the least that is taken. Views are not
independent images, and with one reference they are all there is: then nothing is known about how intact pieces differ
from each other, and the threshold is a starting point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.options import require_number
from clipfast.errors import DataError, ShapeError
from clipfast.types import Floats

__all__ = ["Decision", "decide", "threshold_for"]

Method = Literal["conformal", "extrapolated"]
_EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Decision:
    """Thresholds and what stands behind them. A score above its threshold is NG.

    Attributes:
        threshold: Of image scores.
        pixel_threshold: Of pixel scores, such that an intact image has no pixel above it at the same rate.
        fpr: The rate of false alarms that was asked for, of images.
        method: "conformal" is guaranteed on average over supports; "extrapolated" rests on a fitted shape.
        references: Images of the support that were held out one by one, n.
        samples: Held-out scores, views included.
        caveat: Why nothing is guaranteed all the same; None where nothing stands against it.
    """

    threshold: float
    pixel_threshold: float
    fpr: float
    method: Method
    references: int
    samples: int
    caveat: str | None = None

    @property
    def guaranteed_fpr(self) -> float:
        """The smallest rate that so many references can guarantee at best: 1 / (n + 1); 1 for a single reference."""
        return 1.0 if self.references < 2 else 1 / (self.references + 1)

    @property
    def coverage(self) -> str:
        """One line for people: what was asked for, and what it rests on."""
        if self.method == "conformal" and self.caveat:
            return (
                f"{self.fpr:.2%} false alarms wanted, at the conformal place of {self.references} held-out references; "
                f"not guaranteed, because {self.caveat}"
            )
        if self.method == "conformal":
            return f"at most {self.fpr:.2%} false alarms, guaranteed on average ({self.references} held-out references)"
        known = (
            "one reference guarantees nothing"
            if self.references < 2
            else f"{self.references} references guarantee {self.guaranteed_fpr:.0%} at best"
        )
        return f"{self.fpr:.2%} false alarms wanted, extrapolated from {self.samples} held-out views; {known}"


def decide(
    images: Floats, peaks: Floats, original: NDArray[np.bool_], fpr: float, *, caveat: str | None = None
) -> Decision:
    """Choose thresholds from held-out scores of intact images.

    Args:
        images: Fused image scores, (h,).
        peaks: The highest pixel of each fused map, (h,).
        original: Which of them are references themselves and not views, (h,).
        fpr: Rate of false alarms among intact images, in (0, 0.5].
        caveat: What stands against a guarantee, to be kept.

    Raises:
        DataError: Fewer than two held-out scores, or `fpr` is no number.
        ShapeError: `fpr` is out of range.
    """
    require_number("fpr", fpr)
    if not 0 < fpr <= 0.5:
        raise ShapeError(f"fpr must be in (0, 0.5], such as 0.01; got {fpr}.")
    if len(images) < 2:
        raise DataError(f"a threshold needs two held-out scores or more; got {len(images)}. Add reference images.")
    references = int(original.sum()) or 1
    image, method = threshold_for(images, original, fpr)
    pixel, _ = threshold_for(peaks, original, fpr)
    return Decision(image, pixel, fpr, method, references, len(images), caveat)


def threshold_for(scores: Floats, original: NDArray[np.bool_], fpr: float) -> tuple[float, Method]:
    """Return the threshold of one kind of score, and how it was found; see the module's text.

    >>> threshold_for(np.arange(99, dtype=np.float32), np.ones(99, bool), 0.01)
    (98.0, 'conformal')
    """
    alone = np.sort(scores[original].astype(np.float64))
    place = math.ceil((len(alone) + 1) * (1 - fpr) - 1e-9)
    if len(alone) and place <= len(alone):
        return float(alone[place - 1]), "conformal"
    values = scores.astype(np.float64)
    width = float(values.std(ddof=1)) * math.sqrt(6) / math.pi
    reach = -_EULER - math.log(-math.log1p(-fpr))
    n = max(1, len(alone))
    fitted = float(values.mean()) + width * reach * math.sqrt(1 + 1 / n)
    return max(fitted, float(values.max())), "extrapolated"
