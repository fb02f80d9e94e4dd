"""For each reference a memory that does not know it: what held-out scores are taken against."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from clipfast.anomaly.memory import MemoryBank
from clipfast.anomaly.options import MemoryOptions

__all__ = ["LeaveOut", "knows_others"]

_FEWEST = 8  # groups of references, each left out of one memory that is built again
_COMPARISONS = 1 << 29  # of pairs of rows in all memories that are built again; some 15 seconds at worst
_PASSES = 64  # as many comparisons of a row as its preparation costs


@dataclass(frozen=True, slots=True, eq=False)
class LeaveOut:
    """Memories without a reference.

    Of plain rows it is enough to bar those of the reference. A coreset is chosen, and centred and standardised rows are
    prepared, with the reference among the others (`knows_others`): there the memory is built again without it. Where
    references are many, it is built without a group of them, one of eight at least, so that held-out scores are those
    of a memory that is a little smaller still.

    Attributes:
        bank: With all references.
        build: Builds the memory without references of those numbers, among the references that are held out.
        first: Number in the bank of the first reference that may be held out.
    """

    bank: MemoryBank
    build: Callable[[Collection[int]], MemoryBank]
    first: int = 0

    def each(self, held: Sequence[int]) -> Iterator[tuple[int, MemoryBank, int | None]]:
        """Give each reference's number, a memory to score it with, and whose rows of it do not count.

        Args:
            held: Numbers of the references that are held out, from 0 for `first`.

        Yields:
            Number, memory, number of a reference in it or None. A single reference has no other: it is given the
            memory that knows it.
        """
        if len(self.bank.references) == 1:
            yield from ((number, self.bank, None) for number in held)
        elif not knows_others(self.bank.options):
            yield from ((number, self.bank, self.first + number) for number in held)
        else:
            for group in np.array_split(np.asarray(held, np.int64), self._groups(len(held))):
                without = self.build(frozenset(group.tolist()))
                yield from ((number, without, None) for number in group.tolist())

    def together(self, held: int) -> int:
        """Return how many of so many references are left out at once."""
        return -(-held // self._groups(held)) if knows_others(self.bank.options) else 1

    def _groups(self, held: int) -> int:
        """In how many groups references are left out; as many as there are, if that is cheap."""
        share = self.bank.options.coreset
        once = sum(
            len(memory.rows) / share * (len(memory.rows) if share < 1 else _PASSES)
            for memory in self.bank.blocks.values()
        )
        return min(held, max(_FEWEST, int(_COMPARISONS / once)))


def knows_others(options: MemoryOptions) -> bool:
    """Whether a reference decides what is kept of the others, or how it is compared."""
    return options.coreset < 1 or options.rows in ("centred", "standardised")
