"""The files of one run in a folder: written aside, then put in the place of those of the run before.

`files.json` lists what a run wrote, with SHA-256. The next run into the folder removes exactly these, so that a report
never lies beside figures of other images; a file that was changed since, and every other file, stays. A run that fails
leaves what was there.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from clipfast.errors import DataError
from clipfast.report.results import RESULT_FILES, write_json
from clipfast.storage import sha256_file

__all__ = ["MANIFEST", "Replaced", "replacing_results"]

MANIFEST = "files.json"
_LARGEST = 1 << 28
_ABANDONED = 86_400.0  # seconds after which what a killed run left aside is taken away


class _File(msgspec.Struct):
    path: str
    sha256: str


class _Manifest(msgspec.Struct):
    kind: str
    files: list[_File]


@dataclass(slots=True)
class Replaced:
    """A run's place.

    Attributes:
        folder: Where results go.
        aside: Where the run writes them until it is done.
        removed: Files of the run before that this one did not write; known at the end.
        kept: Those of them that were changed since and stay.
    """

    folder: Path
    aside: Path
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def placed(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Return where files that were written aside lie in the end."""
        return tuple(self.folder / path.relative_to(self.aside) for path in paths)

    def sentences(self) -> list[str]:
        """Return what happened to the files of the run before, for people."""
        said = [f"{len(self.removed)} files of the run before were removed from {self.folder}"] if self.removed else []
        if self.kept:
            said.append(f"changed since the run before, and still in {self.folder}: {', '.join(self.kept)}")
        return said


@contextmanager
def replacing_results(folder: Path, kind: str) -> Iterator[Replaced]:
    """Give a place to write results of a kind to; they come to the folder when the block ends without an error.

    Args:
        folder: Made if it is not there.
        kind: A key of `RESULT_FILES`.

    Raises:
        DataError: The folder holds results of another kind, or results that do not list their files.
    """
    before = _held(folder, kind)
    there = folder.is_dir()
    run = Replaced(folder, folder / f".{kind}-{os.getpid()}.tmp")
    _sweep(folder, kind)
    shutil.rmtree(run.aside, ignore_errors=True)
    try:
        run.aside.mkdir(parents=True)  # what cannot be written to is said before the work
        yield run
        written = sorted(path.relative_to(run.aside).as_posix() for path in run.aside.rglob("*") if path.is_file())
        listed = [{"path": name, "sha256": sha256_file(run.aside / name)} for name in written]
        # First the old result goes and last the new one comes: between, the folder holds none.
        (folder / RESULT_FILES[kind]).unlink(missing_ok=True)
        _remove_old(run, before, frozenset(written))
        write_json(folder / MANIFEST, {"kind": kind, "files": listed})
        for name in sorted(written, key=lambda each: each == RESULT_FILES[kind]):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (run.aside / name).replace(folder / name)
    finally:
        shutil.rmtree(run.aside, ignore_errors=True)
        if not there:
            with suppress(OSError):  # not empty: it holds results
                folder.rmdir()


def _held(folder: Path, kind: str) -> list[_File]:
    """Return what the run before wrote."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"results go to a folder; {folder} is a file. Name a folder as --out.")
    for other, name in RESULT_FILES.items():
        if other != kind and (folder / name).is_file():
            raise DataError(f"{folder} holds {name}, a result of {other}. Name another folder as --out.")
    path = folder / MANIFEST
    if not path.is_file():
        if (folder / RESULT_FILES[kind]).is_file():
            raise DataError(
                f"{folder} holds results that do not list their files (there is no {MANIFEST}), so old and new ones "
                "could not be told apart. Empty it, or name another folder as --out."
            )
        return []
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path} must have at most {_LARGEST:,} bytes; got {path.stat().st_size:,}.")
        held = msgspec.json.decode(path.read_bytes(), type=_Manifest)
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} must list the files of a run: {error}. Name another folder as --out.") from error
    if held.kind != kind:
        raise DataError(f"{path} lists results of {held.kind}, not of {kind}. Name another folder as --out.")
    for file in held.files:
        pure = PurePosixPath(file.path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in file.path or not pure.name:
            raise DataError(f"{path} must name files in its folder; got {file.path!r}. Name another folder as --out.")
    return held.files


def _remove_old(run: Replaced, before: Sequence[_File], written: frozenset[str]) -> None:
    removed, kept = [], []
    for file in before:
        path = run.folder / file.path
        if file.path in written or not path.is_file():
            continue
        if sha256_file(path) != file.sha256:
            kept.append(file.path)
            continue
        path.unlink()
        removed.append(file.path)
        if path.parent != run.folder:
            with suppress(OSError):  # something else lies there
                path.parent.rmdir()
    run.removed, run.kept = tuple(removed), tuple(kept)


def _sweep(folder: Path, kind: str) -> None:
    for path in folder.glob(f".{kind}-*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
