"""What to label next: the crops that the system is unsure of, those first that teach it most, and some at random.

An answer of "none of these" waits too: a fabric that nobody has labelled yet lacks everything.

Of labels that were all chosen because the system was unsure, nothing can be learnt about how good it is. So one crop in
five is picked by chance, whatever its confidence, and one in five is served by chance; how often the first answer was
right on those is an honest figure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from clipfast.retrieval.answers import UNCERTAIN
from clipfast.retrieval.crops import Region
from clipfast.retrieval.journal import Picked, QueueItem

__all__ = ["CLASS_TARGETS", "TOTAL_TARGETS", "item_id", "lack", "next_total", "ordered", "pick"]

CLASS_TARGETS = (5, 10)
TOTAL_TARGETS = (20, 50, 200)
_EVERY = 5
_LEAST = 0.05  # a class that has all it needs still counts a little, so that uncertainty decides among such


def item_id(photo_sha256: str, region: Region) -> str:
    """Return the twelve digits of a part of a photo: the same part has the same, wherever the file lies."""
    size = region.size if region.coords is not None else 0
    return hashlib.sha256(f"{photo_sha256} {region.coords} {size} {region.box}".encode()).hexdigest()[:12]


def pick(
    item: str, confidence: float, *, none: bool = False, threshold: float = UNCERTAIN, seed: int = 0
) -> Picked | None:
    """Say whether a crop is to wait for a label, and why.

    Chance comes first and does not look at the answer: one crop in five, by a hash of its id and the seed, so that
    asking again changes nothing.

    >>> pick("0123456789ab", 0.9), pick("0123456789ab", 0.3), pick("0123456789ab", 0.9, none=True)
    (None, 'uncertain', 'none_of_these')
    """
    if _chance(item, seed) % _EVERY == 0:
        return "random"
    if none:
        return "none_of_these"
    return "uncertain" if confidence < threshold else None


def next_total(total: int) -> int | None:
    """Return how many labelled patches to aim for: 20, 50, then 200; None beyond.

    >>> next_total(19), next_total(20), next_total(200)
    (20, 50, None)
    """
    return next((target for target in TOTAL_TARGETS if total < target), None)


def lack(count: int, *, total: int, classes: int) -> float:
    """Say how much a class needs more patches, in [.05, 1].

    The mean share that is missing of 5, of 10, and of its part of the next total (20, 50 or 200).

    >>> lack(0, total=0, classes=3), lack(10, total=400, classes=3)
    (1.0, 0.05)
    """
    targets = [float(target) for target in CLASS_TARGETS]
    if (goal := next_total(total)) is not None:
        targets.append(goal / max(classes, 1))
    return max(_LEAST, sum(max(0.0, 1 - count / target) for target in targets) / len(targets))


def ordered(items: Sequence[QueueItem], counts: Mapping[str, int], *, answered: int, seed: int = 0) -> list[QueueItem]:
    """Order what waits: uncertainty times what the classes lack, every fifth by chance.

    An item's classes are its answers, each by its share: what is probably silk counts as much as silk lacks. What is
    none of these is sure to be wrong, of a class that has nothing: it counts 1.

    Args:
        items: What waits.
        counts: Labelled patches of each class.
        answered: How many items were answered or passed before; every fifth of all is one by chance.
        seed: Of the order by chance.
    """
    total = sum(counts.values())
    classes = len({*counts, *(name for item in items for name, _ in item.answers)})

    def value(item: QueueItem) -> float:
        if item.picked == "none_of_these":
            return 1.0
        whole = sum(share for _, share in item.answers)
        lacks = sum(share * lack(counts.get(name, 0), total=total, classes=classes) for name, share in item.answers)
        return (1 - item.confidence) * (lacks / whole if whole > 0 else 1.0)

    unsure = sorted((item for item in items if item.picked != "random"), key=lambda item: (-value(item), item.id))
    chance = sorted((item for item in items if item.picked == "random"), key=lambda item: _chance(item.id, seed))
    found: list[QueueItem] = []
    while unsure and chance:
        by_chance = (answered + len(found)) % _EVERY == _EVERY - 1
        found.append((chance if by_chance else unsure).pop(0))
    return found + unsure + chance


def _chance(item: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {item}".encode()).digest()[:8], "big")
