"""A ranked answer that knows how sure it is. Light: what makes the judgement is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["UNCERTAIN", "Answer", "Judgement"]

UNCERTAIN = 0.5
"""Below it an answer is uncertain, and worth a label."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be thought of an answer.

    Attributes:
        confidence: Probability that the first fabric is right, in [0, 1].
        none: True where the bank holds none of what the picture shows, as far as can be told.
        calibrated: False where nothing was fitted on known answers, so that `confidence` is the first fabric's share.
    """

    confidence: float
    none: bool
    calibrated: bool = True

    @property
    def uncertain(self) -> bool:
        """Whether somebody should look: a confidence below one half, or none of these."""
        return self.none or self.confidence < UNCERTAIN


class Answer(list[Item], Generic[Item]):
    """A ranked answer that knows how sure it is: a list, best first, with the fields of a `Judgement`.

    The judgement is made when it is first asked for, so an answer that nobody doubts costs nothing more.
    """

    __slots__ = ("_judge", "_judgement")

    def __init__(self, items: Sequence[Item], judge: Callable[[], Judgement]) -> None:
        super().__init__(items)
        self._judge = judge
        self._judgement: Judgement | None = None

    @property
    def judgement(self) -> Judgement:
        """Confidence and none-of-these together."""
        if self._judgement is None:
            self._judgement = self._judge()
        return self._judgement

    @property
    def confidence(self) -> float:
        """Probability that the first fabric is right, in [0, 1]."""
        return self.judgement.confidence

    @property
    def none_of_these(self) -> bool:
        """True where the bank holds none of what the picture shows, as far as can be told."""
        return self.judgement.none
