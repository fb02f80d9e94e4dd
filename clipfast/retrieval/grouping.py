"""What belongs together, and a split that never parts it: patches of one photo, equal files, near copies."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from clipfast.errors import ShapeError
from clipfast.metrics.resampling import seeded
from clipfast.retrieval.looks import Look, copies_within
from clipfast.types import Ints

__all__ = ["photo_groups", "require_split", "stratified_split"]


def photo_groups(
    sources: Sequence[Hashable | None],
    sha256: Sequence[str],
    looks: Sequence[Look],
    *,
    also: Iterable[tuple[int, int]] = (),
) -> Ints:
    """Number the groups of pictures that must stay on one side.

    Two pictures are of one group if they were cut from the same photo, are equal files, or look nearly the same; and
    what is joined to one of a group is joined to all.

    Args:
        sources: Photo that each was cut from; None where nobody knows.
        sha256: Checksum of each file.
        looks: Look of each.
        also: Further pairs to join.

    Returns:
        Group of each picture, (n,) int64, numbered from 0 in the order of their first pictures.
    """
    parent = list(range(len(sha256)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    def join(one: int, other: int) -> None:
        first, second = sorted((root(one), root(other)))
        parent[second] = first

    seen: dict[Hashable, int] = {}
    for at, (source, digest) in enumerate(zip(sources, sha256, strict=True)):
        join(seen.setdefault(("file", digest), at), at)
        if source is not None:
            join(seen.setdefault(("photo", source), at), at)
    for pair in copies_within(looks):
        join(pair.one, pair.other)
    for one, other in also:
        join(one, other)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(at), len(numbers)) for at in range(len(parent))], np.int64)


def stratified_split(labels: Sequence[str], groups: Ints, *, split: float, seed: int) -> list[int]:
    """Choose the rows of the smaller part of a split: the same share of each class, groups whole.

    Of n pictures of a class, round(n * split) are wanted, one at least; groups are taken in random order where that
    brings their number nearer, and one larger than all that is wanted only where otherwise none would be there. A class
    keeps one group at least on the other side, so a class of a single group gives none; nor does a group that also
    shows a class of which it is the last.

    Args:
        labels: Class of each row.
        groups: Group of each row, (n,) int64.
        split: Share of the chosen part, in (0, 1).
        seed: Orders the groups.

    Returns:
        Row numbers, ascending.

    Raises:
        ShapeError: `split` is not in (0, 1), or the seed is none.

    >>> stratified_split(["cotton"] * 5 + ["silk"] * 5, np.arange(10), split=0.2, seed=42)
    [4, 8]
    """
    require_split(split)
    rng = seeded(seed)
    names = np.asarray(labels)
    groups_of = {name: set(groups[names == name].tolist()) for name in set(labels)}
    chosen: set[int] = set()
    kept: set[int] = set()
    for name in sorted(set(labels)):
        mine = names == name
        order: list[int] = rng.permutation(np.unique(groups[mine])).tolist()
        sizes = {group: int((groups[mine] == group).sum()) for group in order}
        wanted = max(1, round(int(mine.sum()) * split))
        taken = sum(sizes[group] for group in order if group in chosen)  # a group may show several classes
        for group in sorted((g for g in order if g not in chosen and g not in kept), key=lambda g: sizes[g] > wanted):
            left = all(shown - chosen - {group} for shown in groups_of.values() if group in shown)
            nearer = abs(taken + sizes[group] - wanted) < abs(taken - wanted)
            if left and (nearer or taken == 0):
                chosen.add(group)
                taken += sizes[group]
        kept |= {group for group in order if group not in chosen}
    return np.flatnonzero(np.isin(groups, sorted(chosen))).tolist()


def require_split(split: float) -> None:
    """Check the share of a split.

    Raises:
        ShapeError: It is no number in (0, 1).
    """
    kind: type[object] = type(split)
    if kind is bool or not issubclass(kind, int | float | np.number) or not 0 < split < 1:
        raise ShapeError(
            f"split must be a number above 0 and below 1, such as 0.2; got {split!r}.", code="bad_split", got=split
        )
