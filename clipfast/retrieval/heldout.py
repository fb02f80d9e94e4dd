"""What a head is trained on, and what it must never see: the evaluation set, under its own name or another."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipfast.arguments import require_type
from clipfast.errors import DataError, ImageError
from clipfast.retrieval.declared import HOW_TO_DECLARE, Declared, NotCopies, same_picture
from clipfast.retrieval.encode import Skipped
from clipfast.retrieval.evalguard import EvalCopy, EvalGuard
from clipfast.retrieval.evalset import EVAL_SET_NAME, EvalSet, eval_set_beside
from clipfast.retrieval.grouping import photo_groups
from clipfast.retrieval.head import HeadOptions, LinearHead
from clipfast.retrieval.knownlooks import listed
from clipfast.retrieval.labelled import LabelledRows, encode_labelled, read_picture
from clipfast.retrieval.looks import Look, look_of
from clipfast.types import ImageEncoder

__all__ = ["Kept", "TrainedHead", "declared_copy", "find_eval_set", "leave_out", "require_no_copies", "train_head"]

_TRAINED = (
    "A head trained on pictures of the evaluation set is judged on what it has seen. Remove them from the folder, or "
    "make the evaluation set again, which keeps near copies together."
)
_IN_BANK = "A bank that holds pictures of the evaluation set finds them by themselves. Remove them from the references."


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows of a labelled folder that are not of the evaluation set.

    Attributes:
        rows: Their numbers, ascending.
        excluded: Names of the others.
        declared: Rows that look like a picture of the set and were declared to be no copies.
    """

    rows: tuple[int, ...]
    excluded: tuple[str, ...]
    declared: tuple[Declared, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """A head, and how it was trained.

    Attributes:
        head: The head.
        excluded: Patches that were left out because they are in the evaluation set.
        eval_set: That set, or None where there was none.
        skipped: Patches that could not be read.
    """

    head: LinearHead
    excluded: tuple[str, ...]
    eval_set: EvalSet | None
    skipped: tuple[Skipped, ...]


def train_head(  # noqa: PLR0913  (a folder, and what is left out of it)
    clip: ImageEncoder,
    folder: str | os.PathLike[str],
    *,
    eval_set: EvalSet | None = None,
    not_copies: Sequence[str | os.PathLike[str]] = (),
    seed: int = 0,
    options: HeadOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainedHead:
    """Train a head on a folder of labelled patches, without the evaluation set.

    Args:
        clip: The encoder.
        folder: `<fabric_id>/<patch>`.
        eval_set: What to leave out; None leaves out nothing, see `find_eval_set`.
        not_copies: Files that are declared to be no copies of evaluation pictures, see `clipfast.retrieval.declared`.
            The head remembers them.
        seed: Of the folds.
        options: How to train; its `progress` counts fits.
        progress: Called with (done, total) files.

    Raises:
        DataError: Too few samples, a near copy of an evaluation image under another name, an evaluation image that was
            moved or changed, or no patch at all.
        MissingExtraError: scikit-learn is not installed.
    """
    if options is not None:
        require_type("options", options, HeadOptions, "HeadOptions()")
    rows = encode_labelled(clip, folder, progress=progress)
    kept = (
        leave_out(rows, eval_set, not_copies) if eval_set is not None else Kept(tuple(range(len(rows.references))), ())
    )
    if not kept.rows:
        raise DataError(
            f"Too few samples to train: all {len(kept.excluded)} patches of {os.fspath(folder)} are in the evaluation "
            "set. Label more, or make the set again with a smaller split.",
            code="all_evaluated",
            count=len(kept.excluded),
            folder=folder,
        )
    references = rows.references.taken(kept.rows)
    photos, looks = [rows.photos[row] for row in kept.rows], [rows.looks[row] for row in kept.rows]
    groups = photo_groups(photos, references.sha256, looks)
    head = LinearHead.fit(
        references.embeddings, references.fabrics, seed=seed, groups=groups.tolist(), clip=clip, options=options
    )
    head = head.trained_with(rows.digests(kept.rows), rows.seen(kept.rows, kept.declared))
    return TrainedHead(head, kept.excluded, eval_set, rows.skipped)


def find_eval_set(folder: str | os.PathLike[str]) -> EvalSet | None:
    """Return the evaluation set that lies beside a folder, if there is one.

    One in the working directory counts too, if a picture of it is in the folder: a set that nobody looks for is one
    that is trained on.

    Raises:
        DataError: There is one and it cannot be read.
    """
    beside = [eval_set_beside(folder), Path(folder).absolute().parent / EVAL_SET_NAME]
    for path in beside:
        if path.is_file():
            return EvalSet.load(path)
    here = Path(EVAL_SET_NAME)
    if here.is_file():
        found = EvalSet.load(here)
        base = Path(folder).absolute()
        if any(found.file(sample).is_relative_to(base) for sample in found.samples):
            return found
    return None


def leave_out(rows: LabelledRows, eval_set: EvalSet, not_copies: Sequence[str | os.PathLike[str]] = ()) -> Kept:
    """Part the rows of a folder from the evaluation set.

    Left out are the set's own files, and patches cut from its photos. A near copy of one of its pictures under another
    name is refused: someone put it there, and a head trained on it would be judged on what it has seen.

    Args:
        rows: The folder's rows.
        eval_set: The set.
        not_copies: Files that are declared to be no copies; those whose side-cars say so are, too.

    Raises:
        DataError: A near copy is among the rest, or a picture of the set was moved or changed; or a declared file is
            not there, or is one of the set's to the byte or the pixel.
    """
    require_type("eval_set", eval_set, EvalSet, "EvalSet.load(path)").verify()
    guard, references, said = EvalGuard(eval_set), rows.references, NotCopies(not_copies)
    given = [said.names(*pair) for pair in zip(rows.files, references.paths, strict=True)]
    said.require_met()
    held = [guard.holds(*pair) for pair in zip(references.sha256, rows.photos, strict=True)]
    rest = [row for row, out in enumerate(held) if not out]
    for row in np.flatnonzero(given).tolist():
        if references.sha256[row] in guard.digests:
            raise same_picture(references.paths[row], guard.image_of(references.sha256[row]))
    leaks: dict[str, str] = {}
    declared: list[Declared] = []
    for copy in guard.copies([rows.looks[row] for row in rest]):
        row = rest[copy.place]
        path = references.paths[row]
        if not given[row] and not copy.digests & set(rows.not_copies[row]):
            leaks.setdefault(path, copy.image)
            continue
        declared.append(declared_copy(path, references.sha256[row], copy))
    if leaks:
        raise _leak(list(leaks.items()), _TRAINED)
    return Kept(tuple(rest), tuple(references.paths[row] for row, out in enumerate(held) if out), tuple(declared))


def declared_copy(path: str, sha256: str, copy: EvalCopy) -> Declared:
    """Write down that a picture is no copy of the one that it looks like.

    Raises:
        DataError: It is the same to the pixel.
    """
    if copy.identical:
        raise same_picture(path, copy.image)
    return Declared(path=path, file=sha256, image=copy.image, of=copy.sha256)


def require_no_copies(
    photos: Sequence[Path], beside: str | os.PathLike[str], not_copies: Sequence[str | os.PathLike[str]] = ()
) -> list[Declared]:
    """Refuse reference photos that nearly repeat pictures of the evaluation set beside their folder, or beside a bank.

    Without such a set nothing is read. Photos that cannot be read are passed over: who encodes them names them.

    Args:
        photos: Their files.
        beside: A folder, or a bank's file.
        not_copies: Files that are declared to be no copies.

    Returns:
        What was declared of photos that look like a picture of the set, for `FabricBank.declare`.

    Raises:
        DataError: Some do, or a picture of the set was moved or changed; or a declared file is not among the photos,
            or is one of the set's to the byte or the pixel.
    """
    held, said = find_eval_set(beside), NotCopies(not_copies)
    given = {path: said.names(path, "/".join(path.absolute().parts[-2:])) for path in photos}
    said.require_met()
    if held is None:
        return []
    guard = EvalGuard(held)
    pairs: dict[str, str] = {}
    declared: list[Declared] = []
    for path in photos:
        seen: tuple[str, Look] | None = None
        with suppress(ImageError, OSError):
            sha256, image = read_picture(path)
            seen = sha256, look_of(image)
        if seen is None:
            continue
        if given[path] and seen[0] in guard.digests:
            raise same_picture(path.as_posix(), guard.image_of(seen[0]))
        for copy in guard.copies([seen[1]]):
            if given[path]:
                declared.append(declared_copy(path.as_posix(), seen[0], copy))
            else:
                pairs.setdefault(path.as_posix(), copy.image)
    if pairs:
        raise _leak(list(pairs.items()), _IN_BANK)
    return declared


def _leak(pairs: Sequence[tuple[str, str]], why: str) -> DataError:
    shown = listed([f"{path} is nearly the same picture as {image}" for path, image in sorted(pairs)])
    return DataError(f"{shown}. {why} {HOW_TO_DECLARE}", code="eval_copy")
