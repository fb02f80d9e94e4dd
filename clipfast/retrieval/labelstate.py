"""What a journal amounts to: which patches are there, what waits for a label, and what can be undone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from clipfast.retrieval.journal import Added, Event, Moved, Passed, Queued, QueueItem, Undone

__all__ = ["UNDONE_FOLDER", "LabelState", "replayed"]

UNDONE_FOLDER = ".labels/undone"


@dataclass(slots=True)
class LabelState:
    """The sum of all events.

    Attributes:
        patches: What was said when each patch was labelled, by its key `label/file`.
        queue: What waits, by id.
        answered: How many items that waited were answered or passed.
        last: Number of the last event; 0 where there is none.
        undoable: Events that are not undone, in order; the last of them is undone next.
        stems: Stems of file names that a label ever had, so that none is given twice.
    """

    patches: dict[str, Added] = field(default_factory=dict)
    queue: dict[str, QueueItem] = field(default_factory=dict)
    answered: int = 0
    last: int = 0
    undoable: list[Added | Moved | Passed] = field(default_factory=list)
    stems: dict[str, set[str]] = field(default_factory=dict)
    _closed: dict[str, QueueItem | None] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Go on by one event."""
        self.last = event.n
        match event:
            case Added():
                self.patches[event.key] = event
                self._remember(event.key)
                self._close(event.item)
                self.undoable.append(event)
            case Moved():
                self._move(event.moves)
                self.undoable.append(event)
            case Passed():
                self._close(event.item)
                self.undoable.append(event)
            case Queued():
                self.queue |= {item.id: item for item in event.items if item.id not in self._closed}
            case Undone():
                self._move(event.moves)
                for undone in [other for other in self.undoable if other.n == event.of]:
                    self.undoable.remove(undone)
                    if not isinstance(undone, Moved):
                        self._open(undone.item)

    def is_closed(self, item: str) -> bool:
        """Tell whether an item was answered or passed."""
        return item in self._closed

    def _move(self, moves: Iterable[tuple[str, str]]) -> None:
        found = [(target, self.patches.pop(source, None)) for source, target in moves]
        for target, patch in found:
            if target.startswith(f"{UNDONE_FOLDER}/"):
                continue
            self._remember(target)
            if patch is not None:  # others were put into the folder by hand
                self.patches[target] = patch

    def _remember(self, key: str) -> None:
        label, name = key.split("/", 1)
        self.stems.setdefault(label, set()).add(PurePosixPath(name).stem.casefold())

    def _close(self, item: str | None) -> None:
        if item is None:
            return
        waiting = self.queue.pop(item, None)
        if waiting is not None:
            self.answered += 1
            self._closed[item] = waiting
        else:
            self._closed.setdefault(item, None)  # labelled unasked: it need not be asked about any more

    def _open(self, item: str | None) -> None:
        if item is None:
            return
        waiting = self._closed.pop(item, None)
        if waiting is not None:
            self.answered -= 1
            self.queue[item] = waiting


def replayed(events: Iterable[Event]) -> LabelState:
    """Go through events from the beginning."""
    state = LabelState()
    for event in events:
        state.take(event)
    return state
