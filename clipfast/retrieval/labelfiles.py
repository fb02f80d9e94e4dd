"""The files of a folder of labels: where patches go, and how an event of the journal becomes true on the disk.

An event is written to the journal first and carried out then. Only the last one can have been interrupted, because
whoever writes finishes it before; carrying an event out again changes nothing.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import msgspec

from clipfast.datasets.folders import list_images
from clipfast.errors import DataError
from clipfast.retrieval.crops import sidecar_path, write_sidecar
from clipfast.retrieval.evalset import EvalSample, EvalSet
from clipfast.retrieval.heldout import find_eval_set
from clipfast.retrieval.journal import Added, EvalEdit, Event, Moved, Undone
from clipfast.storage import sync_folder

__all__ = [
    "STORE_FOLDER", "eval_edits", "finish", "free_name", "label_folders", "merge_moves", "require_unharmed", "stage",
    "stems_of", "sweep",
]  # fmt: skip

STORE_FOLDER = ".labels"
_NUMBERED = re.compile(r"patch_(\d+)")


def label_folders(root: Path) -> dict[str, str]:
    """Return the labels of a folder, in NFC, each with its folder's name as the disk has it."""
    if not root.is_dir():
        return {}
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {unicodedata.normalize("NFC", name): name for name in reversed(names)}


def stems_of(root: Path, folder: str) -> set[str]:
    """Return the stems of all files of a label's folder, case folded: a side-car is shared by a stem."""
    path = root / folder
    return {entry.stem.casefold() for entry in path.iterdir()} if path.is_dir() else set()


def free_name(stems: Iterable[str], suffix: str) -> str:
    """Return the next `patch_001.png` after all those numbers that were ever given."""
    numbers = [int(found[1]) for stem in stems if (found := _NUMBERED.fullmatch(stem))]
    return f"patch_{max(numbers, default=0) + 1:03}{suffix}"


def merge_moves(root: Path, source: str, target: str, used: set[str]) -> tuple[tuple[str, str], ...]:
    """Plan where the patches of one folder go in another; a name that is taken there is replaced by a new number."""
    taken = used | stems_of(root, target)
    moves = []
    for path in list_images(root / source)[0]:
        name = path.name if path.stem.casefold() not in taken else free_name(taken, path.suffix)
        taken.add(PurePosixPath(name).stem.casefold())
        moves.append((f"{source}/{path.name}", f"{target}/{name}"))
    return tuple(moves)


def stage(root: Path, number: int, suffix: str, data: bytes) -> None:
    """Bring a patch to the disk beside the folders; its event, once written, puts it in its place."""
    path = _staged(root, number, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def finish(root: Path, event: Event) -> None:
    """Make an event true on the disk, or see that it is."""
    match event:
        case Added():
            _put(root, event)
        case Moved() | Undone():
            _carry(root, event.moves)
            _edit(root, event.edits)
        case _:
            pass


def sweep(root: Path, last: int) -> None:
    """Remove staged patches whose event was never written."""
    folder = root / STORE_FOLDER / "staged"
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.stem.isdecimal() and int(path.stem) > last:
            path.unlink()


def eval_edits(root: Path, moves: Sequence[tuple[str, str]], labels: tuple[str, str]) -> tuple[EvalEdit, ...]:
    """Say what a move changes in the evaluation set beside the folder: its samples' paths and fabrics."""
    held = find_eval_set(root)
    if held is None:
        return ()
    base = root.absolute()
    moved = {base / source: base / target for source, target in moves}
    edits = []
    for sample in held.samples:
        file = held.file(sample)
        if file not in moved and (sample.label != labels[0] or file.is_relative_to(base)):
            continue
        images, label = (_shown(held, file), _shown(held, moved.get(file, file))), (sample.label, labels[1])
        edits.append(EvalEdit(sha256=sample.sha256, coords=sample.coords, image=images, label=label))
    return tuple(edits)


def require_unharmed(root: Path, moves: Sequence[tuple[str, str]], edits: Sequence[EvalEdit]) -> None:
    """Refuse moves that would take a picture away from the evaluation set.

    Raises:
        DataError: One would; the set was made after what is to be undone.
    """
    held = find_eval_set(root)
    if held is None:
        return
    base, edited = root.absolute(), {edit.image[0] for edit in edits}
    moved = {base / source: source for source, _ in moves}
    for sample in held.samples:
        file = held.file(sample)
        if file in moved and _shown(held, file) not in edited:
            raise DataError(
                f"{moved[file]} is in the evaluation set {held.path}, version {held.version}, which is frozen: it must "
                "stay where it is. Replace the set first (clipfast evalset make --replace), or leave the patch.",
                code="frozen_patch",
                patch=moved[file],
                path=held.path,
                version=held.version,
            )


def _put(root: Path, event: Added) -> None:
    final = root / event.key
    staged = _staged(root, event.n, final.suffix)
    if not staged.is_file():
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(f".{sidecar_path(final).name}.*.tmp"):  # of a writer that was killed
        left.unlink()
    write_sidecar(final, event.sidecar)  # first, so that nobody meets the patch without its photo's name
    staged.replace(final)
    sync_folder(final.parent)


def _carry(root: Path, moves: Iterable[tuple[str, str]]) -> None:
    left: set[Path] = set()
    for source, target in moves:
        old, new = root / source, root / target
        if not old.is_file() or new.exists():
            continue
        new.parent.mkdir(parents=True, exist_ok=True)
        if sidecar_path(old).is_file():
            sidecar_path(old).replace(sidecar_path(new))
        old.replace(new)
        left.add(old.parent)
    for folder in left:
        with suppress(OSError):  # something else is in it
            folder.rmdir()


def _edit(root: Path, edits: Sequence[EvalEdit]) -> None:
    held = find_eval_set(root) if edits else None
    if held is None or held.path is None:
        return
    wanted = {(edit.sha256, edit.coords, edit.image[0], edit.label[0]): edit for edit in edits}

    def edited(sample: EvalSample) -> EvalSample:
        edit = wanted.get((sample.sha256, sample.coords, _shown(held, held.file(sample)), sample.label))
        if edit is None:
            return sample
        return msgspec.structs.replace(sample, image=edit.image[1], label=edit.label[1])

    samples = tuple(edited(sample) for sample in held.samples)
    if samples != held.samples:
        replace(held, samples=samples).save(held.path)


def _shown(held: EvalSet, file: Path) -> str:
    return Path(os.path.relpath(file, held.root.absolute())).as_posix()


def _staged(root: Path, number: int, suffix: str) -> Path:
    return root / STORE_FOLDER / "staged" / f"{number:08}{suffix}"
