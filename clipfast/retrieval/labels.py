"""Labelled patches that grow from day to day: add, undo, rename, merge, and what to label next.

The folder is the owner's, `root/<fabric>/patch_001.png` with `patch_001.json` beside it; patches that were put there by
hand count like all others. `root/.labels/` holds the journal, the lock, and what was undone. Every change is one event:
written to the journal and flushed, then carried out. A process that is killed in between leaves a journal that is
whole, and the next one finishes what it began. Writers take turns by a lock.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from clipfast.arguments import Span, require_number, require_path, require_text, require_type, shown
from clipfast.errors import DataError
from clipfast.retrieval.answers import UNCERTAIN
from clipfast.retrieval.crops import Region
from clipfast.retrieval.journal import Added, Event, Journal, Moved, Passed, Queued, QueueItem, Undone
from clipfast.retrieval.labelfiles import (
    STORE_FOLDER,
    eval_edits,
    finish,
    free_name,
    label_folders,
    merge_moves,
    require_unharmed,
    stage,
    stems_of,
    sweep,
)
from clipfast.retrieval.labelguard import FolderGuard
from clipfast.retrieval.labelitems import (
    Labeller,
    SeenCrop,
    asked_photo,
    existing_photo,
    patch_bytes,
    photo_path,
    queue_item,
    read_photo,
    sidecar_of,
)
from clipfast.retrieval.labelled import LABELLED_FOLDER
from clipfast.retrieval.labelnames import require_label, require_new_label
from clipfast.retrieval.labelqueue import item_id, ordered, pick
from clipfast.retrieval.labelstate import UNDONE_FOLDER, LabelState, replayed
from clipfast.retrieval.labelstats import RETRAIN_AFTER, LabelStats, label_counts, label_stats, new_since
from clipfast.storage import locked, sha256_file

__all__ = ["RETRAIN_AFTER", "LabelStats", "LabelStore", "Labeller", "SeenCrop", "new_since"]


class LabelStore:
    """A folder of labelled patches.

    Args:
        root: The folder; made when the first patch is added.
        seconds: How long to wait for another process.

    >>> store = LabelStore("data/patches/labeled")
    >>> added = store.add("shirt.jpg", "cotton", region=Region(coords=(150, 200)))  # doctest: +SKIP
    >>> added.key  # doctest: +SKIP
    'cotton/patch_001.png'
    """

    def __init__(self, root: str | os.PathLike[str] = LABELLED_FOLDER, *, seconds: float = 60.0) -> None:
        self.root = require_path("root", root)
        self._journal = Journal(self.root / STORE_FOLDER / "journal.jsonl")
        self._seconds = seconds
        self._guard = FolderGuard(self.root)

    @property
    def labels(self) -> tuple[str, ...]:
        """The fabrics that have a folder, sorted."""
        return tuple(sorted(label_folders(self.root)))

    def state(self) -> LabelState:
        """Return what the journal says, without waiting for anybody.

        Raises:
            DataError: The journal was changed by hand.
        """
        return replayed(self._journal.read())

    def recover(self) -> str | None:
        """Finish what a killed process began; returns what was mended, or None. Every change does this first."""
        if not self.root.is_dir():
            return None
        with self._writing() as (_, mended):
            return mended

    def add(
        self,
        photo: str | os.PathLike[str],
        label: str,
        *,
        region: Region | None = None,
        by: Labeller | None = None,
        not_a_copy: bool = False,
    ) -> Added:
        """Cut a patch out of a photo and file it under its fabric.

        What waited in the queue for this very part waits no more; its model, confidence and answer are noted.

        Args:
            photo: The photo's file.
            label: The fabric.
            region: Which part; None is all of it.
            by: Who says so.
            not_a_copy: Declares that it is another photograph than the evaluation picture that it looks like. That is
                written into side-car and journal, and `train_head` heeds it.

        Returns:
            What was written to the journal: the patch's `key`, and `held_out` where its photo is in the evaluation
            set, so that it will never be trained on.

        Raises:
            DataError: The label cannot be a folder's name, the patch is there already, or it nearly repeats a picture
                of the evaluation set; declared, if it is the same to the pixel.
            ImageError: The photo cannot be read.
            ShapeError: The region leaves the photo.
        """
        require_label(label)
        path, by = photo_path(photo), Labeller() if by is None else by
        require_type("by", by, Labeller, 'Labeller(who="Li")')
        region = Region() if region is None else require_type("region", region, Region, "Region(coords=(150, 200))")
        photo_sha256, image = read_photo(path)
        patch = region.cut(image)
        data, suffix = patch_bytes(path, patch, whole=region.whole)
        held_out, declared = self._guard.require_unseen(path, photo_sha256, patch, not_a_copy=not_a_copy)
        sha256, item = hashlib.sha256(data).hexdigest(), item_id(photo_sha256, region)
        with self._writing() as (state, _):
            known = label_folders(self.root)
            require_new_label(label, known)
            self._require_new_picture(state, sha256, label)
            folder = known.get(label, label)
            name = free_name(state.stems.get(folder, set()) | stems_of(self.root, folder), suffix)
            event = Added(
                n=state.last + 1,
                when=by.moment,
                who=by.who,
                key=f"{folder}/{name}",
                sha256=sha256,
                sidecar=msgspec.structs.replace(
                    sidecar_of(self.root / folder, path, region, by, state.queue.get(item)), not_copy_of=declared
                ),
                item=item,
                held_out=held_out,
            )
            stage(self.root, event.n, suffix, data)
            self._commit(event)
        return event

    def answer(self, item: str, label: str, *, by: Labeller | None = None, not_a_copy: bool = False) -> Added:
        """Label what waits; see `add`.

        Raises:
            DataError: Nothing of that id waits, its photo is gone or changed, or the label cannot be one.
        """
        waited = _waiting(self.state(), item)
        return self.add(asked_photo(self.root, waited), label, region=waited.region, by=by, not_a_copy=not_a_copy)

    def undo(self, *, by: Labeller | None = None) -> tuple[Added | Moved | Passed, Undone]:
        """Take the last change back that is not taken back yet; returns that change and how it was undone.

        A patch goes to `.labels/undone/`, and what it answered waits again.

        Raises:
            DataError: There is nothing to undo, a patch is no longer where it was put, or the evaluation set holds it.
        """
        by = by or Labeller()
        with self._writing() as (state, _):
            if not state.undoable:
                raise DataError(
                    f"there is nothing to undo in {self.root}: no label was added, renamed or merged.",
                    code="nothing_to_undo",
                    folder=self.root,
                )
            last = state.undoable[-1]
            moves: tuple[tuple[str, str], ...] = ()
            if isinstance(last, Added):
                moves = ((last.key, f"{UNDONE_FOLDER}/{last.n:08}_{Path(last.key).name}"),)
            elif isinstance(last, Moved):
                moves = tuple((target, source) for source, target in last.moves)
            edits = tuple(edit.back for edit in last.edits) if isinstance(last, Moved) else ()
            self._require_free(moves)
            require_unharmed(self.root, moves, edits)
            event = Undone(n=state.last + 1, when=by.moment, who=by.who, of=last.n, moves=moves, edits=edits)
            self._commit(event)
        return last, event

    def rename(self, label: str, new: str, *, by: Labeller | None = None) -> Moved:
        """Give a label another name; the evaluation set beside the folder follows, and gets a new version.

        Raises:
            DataError: There is no such label, the new name cannot be one, or is taken: merge then.
        """
        require_label(new)
        with self._writing() as (state, _):
            known = label_folders(self.root)
            folder = _known(label, known)
            if new in known:
                raise DataError(
                    f"the label {new!r} is there already. To put {label!r} into it: clipfast label merge",
                    code="label_taken",
                    label=label,
                    new=new,
                )
            require_new_label(new, known)
            return self._move(state, "rename", (label, new), (folder, new), by or Labeller())

    def merge(self, label: str, into: str, *, by: Labeller | None = None) -> Moved:
        """Put all patches of a label into another; a file name that is taken there is replaced by a new number.

        Raises:
            DataError: There is no such label, or both are one.
        """
        with self._writing() as (state, _):
            known = label_folders(self.root)
            folders = _known(label, known), _known(into, known)
            if label == into:
                raise DataError(
                    f"a label must be merged into another; got {label!r} twice.", code="merge_twice", label=label
                )
            return self._move(state, "merge", (label, into), folders, by or Labeller())

    def enqueue(
        self, crops: Sequence[SeenCrop], *, threshold: float = UNCERTAIN, seed: int = 0
    ) -> tuple[QueueItem, ...]:
        """Let crops wait for labels: those below the threshold, none-of-these, and by chance one in five of all.

        Crops of the evaluation set's photos never wait, nor does what was answered before.

        Args:
            crops: What the system answered.
            threshold: Below this confidence a crop waits.
            seed: Of chance.

        Returns:
            What waits now of these.

        Raises:
            ShapeError: The threshold is outside [0, 1].
            DataError: What came is no list of crops, a photo is not there, or the journal was changed.
        """
        require_number("threshold", threshold, Span(0, 1))
        if not isinstance(crops, Sequence) or not all(isinstance(crop, SeenCrop) for crop in crops):
            raise DataError(f"crops must be a list of SeenCrop; got {shown(crops)}. Write [SeenCrop(...)].")
        found = [item for crop in crops if (item := self._item(crop, threshold, seed)) is not None]
        if not found:
            return ()
        with self._writing() as (state, _):
            fresh = tuple(item for item in found if not state.is_closed(item.id) and state.queue.get(item.id) != item)
            if fresh:
                self._commit(Queued(n=state.last + 1, when=Labeller().moment, items=fresh))
            return tuple(item for item in found if not state.is_closed(item.id))

    def waiting(self, *, seed: int = 0) -> list[QueueItem]:
        """Return what waits, the most useful first; see `clipfast.retrieval.labelqueue`."""
        state = self.state()
        return ordered(list(state.queue.values()), label_counts(self.root), answered=state.answered, seed=seed)

    def skip(self, item: str, *, by: Labeller | None = None) -> None:
        """Let an item wait no more, because nobody can tell what it is.

        Raises:
            DataError: Nothing of that id waits.
        """
        by = by or Labeller()
        with self._writing() as (state, _):
            _waiting(state, item)
            self._commit(Passed(n=state.last + 1, when=by.moment, who=by.who, item=item))

    def stats(self, trained_on: Collection[str] = ()) -> LabelStats:
        """Count, compare with the targets, and see whether journal and folder agree.

        Args:
            trained_on: Checksums that the present head was trained on, see `LinearHead.trained_on`.
        """
        if not isinstance(trained_on, Collection):
            raise DataError(f"trained_on must be checksums; got {shown(trained_on)}. Pass head.trained_on, or ().")
        return label_stats(self.root, self.state(), trained_on)

    @contextmanager
    def _writing(self) -> Iterator[tuple[LabelState, str | None]]:
        with locked(self.root / STORE_FOLDER / "lock", seconds=self._seconds):
            events = self._journal.read()
            torn = len(self._journal.torn)
            sweep(self.root, events[-1].n if events else 0)
            if events:
                finish(self.root, events[-1])
            mended = f"{torn} bytes of a line that was never finished are passed over" if torn else None
            yield replayed(events), mended

    def _commit(self, event: Event) -> None:
        self._journal.append(event)
        finish(self.root, event)

    def _move(
        self,
        state: LabelState,
        kind: Literal["rename", "merge"],
        labels: tuple[str, str],
        folders: tuple[str, str],
        by: Labeller,
    ) -> Moved:
        moves = merge_moves(self.root, *folders, state.stems.get(folders[1], set()) if kind == "merge" else set())
        if not moves:
            raise DataError(
                f"the label {labels[0]!r} holds no patch. Remove the folder {self.root / folders[0]}.",
                code="label_without_patch",
                label=labels[0],
                folder=self.root / folders[0],
            )
        event = Moved(
            n=state.last + 1,
            when=by.moment,
            who=by.who,
            kind=kind,
            labels=labels,
            moves=moves,
            edits=eval_edits(self.root, moves, labels),
        )
        self._commit(event)
        return event

    def _require_free(self, moves: Sequence[tuple[str, str]]) -> None:
        for source, target in moves:
            if not (self.root / source).is_file():
                raise DataError(
                    f"{source} is no longer in {self.root}, so this cannot be undone. Put it back there.",
                    code="undo_gone",
                    path=source,
                    folder=self.root,
                )
            if (self.root / target).exists():
                raise DataError(
                    f"{target} is there again, so this cannot be undone. Move it away.",
                    code="undo_blocked",
                    path=target,
                )

    def _require_new_picture(self, state: LabelState, sha256: str, label: str) -> None:
        for key, patch in state.patches.items():
            if patch.sha256 == sha256 and (self.root / key).is_file():
                other = key.split("/", maxsplit=1)[0]
                what = "twice" if other == label else f"under two labels, {other!r} and {label!r}"
                raise DataError(
                    f"{key} is this very patch; it must not be there {what}. Label another place, or take that back: "
                    "clipfast label undo",
                    code="same_patch",
                    patch=key,
                )

    def _item(self, crop: SeenCrop, threshold: float, seed: int) -> QueueItem | None:
        sha256 = sha256_file(existing_photo(crop.photo))
        if self._guard.holds(crop.photo, sha256):
            return None
        name = item_id(sha256, crop.region)
        picked = pick(name, crop.confidence, none=crop.none, threshold=threshold, seed=seed)
        return None if picked is None else queue_item(self.root, crop, name=name, sha256=sha256, picked=picked)


def _waiting(state: LabelState, item: str) -> QueueItem:
    if require_text("item", item) not in state.queue:
        raise DataError(
            f"nothing of the id {item!r} waits for a label. See what does: clipfast label next",
            code="no_such_item",
            item=item,
        )
    return state.queue[item]


def _known(label: str, known: dict[str, str]) -> str:
    if require_text("label", label) not in known:
        raise DataError(
            f"there is no label {label!r}; there are: {', '.join(sorted(known)) or 'none'}.",
            code="no_label",
            label=label,
            known=", ".join(sorted(known)) or "-",
        )
    return known[label]
