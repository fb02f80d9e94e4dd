"""The large bank on disk: a folder whose vectors are mapped into memory instead of read.

`meta.json` (sealed) names every file with its size and SHA-256. `vectors.npy` holds the rows, `codes.npy`, `facts.npy`
and `centre.npy` what screening them needs, `ids.npz` (sealed) fabrics, paths and checksums of the photos. A folder is
written beside its place and then renamed, so a reader sees the old bank or the new one; one that has it open keeps it.

Opening checks the seal, all sizes and headers, and the names; `verify` also hashes every file and looks at every row.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast import __version__
from clipfast.artifact import FileSpec
from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.retrieval.bankmarks import marks_arrays, marks_of
from clipfast.retrieval.references import Marks, References
from clipfast.storage import load_sealed_npz, require_format, save_sealed_npz, sha256_file
from clipfast.types import Floats
from clipfast.vectors import require_unit_rows

if TYPE_CHECKING:
    from clipfast.kernels.screening import RowCodes
    from clipfast.retrieval.bankfile import BankModel

__all__ = ["META_NAME", "FolderMeta", "is_bank_folder", "read_bank_folder", "set_aside", "write_bank_folder"]

META_NAME = "meta.json"
FORMAT_VERSION = 1
_MOST_META = 1 << 20
_MOST_ROWS = 1 << 31
_BLANK = "0" * 64
_TRIES = 10
_PAUSE = 0.02  # seconds; two renames take far less
_MAPPED = {"vectors.npy": "<f4", "codes.npy": "|i1", "facts.npy": "<f4", "centre.npy": "<f4"}
_NAMES = ("fabrics", "counts", "paths", "sha256")


class FolderMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the folder says about itself; `seal` is the SHA-256 of the text with the seal as 64 zeros."""

    format: int
    rows: Annotated[int, msgspec.Meta(ge=1, le=_MOST_ROWS)]
    dim: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
    fingerprint: str
    precision: str
    model: str
    created_by: str
    files: dict[str, FileSpec]
    seal: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] = _BLANK


def is_bank_folder(path: Path) -> bool:
    """Whether a folder with a bank's description lies there."""
    return (path / META_NAME).is_file()


def write_bank_folder(path: Path, references: References, model: BankModel) -> None:
    """Write a bank as a folder; equal banks give equal bytes.

    Raises:
        ArtifactError: A folder is there that holds something else.
    """
    if path.exists() and not is_bank_folder(path) and (not path.is_dir() or any(path.iterdir())):
        raise ArtifactError(
            f"{path} holds something that is no bank, and is not overwritten. Name another folder.",
            code="no_bank_there",
            path=path,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        _fill(made, references, model)
        umask = os.umask(0)
        os.umask(umask)
        made.chmod(0o777 & ~umask)
        _replace(made, path)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def read_bank_folder(path: Path, *, verify: bool = False) -> tuple[References, FolderMeta]:
    """Open what `write_bank_folder` wrote; vectors and codes are mapped, not read.

    Args:
        path: The folder.
        verify: Hash every file and check every row, instead of sizes and headers only.

    Raises:
        ArtifactError: The folder is no bank, damaged, torn, or of another version.
    """
    for turn in range(_TRIES):  # a bank that is replaced while it is opened is opened again
        if turn:
            time.sleep(_PAUSE)
        try:
            before = _described(path)
        except ArtifactError:  # not there; unless that was between the two renames
            if turn == _TRIES - 1 or not (set_aside(path) or is_bank_folder(path)):
                raise
            continue
        try:
            opened = _open(path, before[0], verify=verify)
        except ArtifactError:
            if _is_still(path, before):
                raise
            continue
        if _is_still(path, before):
            return opened
    raise ArtifactError(f"{path} is replaced again and again. Try later.", code="replaced_again", path=path)


def _fill(folder: Path, references: References, model: BankModel) -> None:
    from clipfast.kernels.screening import encode_rows

    codes = references.codes or encode_rows(references.embeddings)
    arrays = (references.embeddings, codes.codes, codes.facts, codes.centre)
    for name, array in zip(_MAPPED, arrays, strict=True):
        with (folder / name).open("wb") as file:
            np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    save_sealed_npz(
        folder / "ids.npz",
        {
            "fabrics": _packed(references.names),
            "counts": references.counts,
            "paths": _packed(references.paths),
            "sha256": np.frombuffer(bytes.fromhex("".join(references.sha256)), np.uint8),
            **marks_arrays(references.marks),
        },
    )
    files = {
        name: FileSpec(bytes=(folder / name).stat().st_size, sha256=sha256_file(folder / name)) for name in _files()
    }
    meta = FolderMeta(
        format=FORMAT_VERSION,
        rows=len(references),
        dim=references.dim,
        fingerprint=model.fingerprint,
        precision=model.precision,
        model=model.name,
        created_by=f"clipfast {__version__}",
        files=files,
    )
    (folder / META_NAME).write_bytes(_sealed(meta))
    for name in (*_files(), META_NAME):
        with (folder / name).open("rb+") as file:
            os.fsync(file.fileno())


def _replace(made: Path, path: Path) -> None:
    """Put a folder in the place of another. No system call swaps two folders everywhere, so the old one steps aside."""
    for _ in range(_TRIES):
        aside = made.with_suffix(".old")
        with suppress(FileNotFoundError):
            path.rename(aside)
        try:
            made.rename(path)
        except OSError:  # another process put its bank there in between
            if not path.exists():
                aside.rename(path)
                raise
            shutil.rmtree(aside, ignore_errors=True)
            continue
        shutil.rmtree(aside, ignore_errors=True)
        return
    raise ArtifactError(
        f"{path} is replaced by others again and again. Save it later.", code="replaced_again", path=path
    )


def _files() -> tuple[str, ...]:
    return (*_MAPPED, "ids.npz")


def _sealed(meta: FolderMeta) -> bytes:
    blank = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(meta, seal=_BLANK)), indent=2) + b"\n"
    return blank.replace(_BLANK.encode(), hashlib.sha256(blank).hexdigest().encode())


def _described(path: Path) -> tuple[bytes, tuple[int, int, int]]:
    """Return the description and which file it is: an equal bank that was put there anew is another one."""
    file = path / META_NAME
    try:
        state = file.stat()
        if state.st_size > _MOST_META:
            raise ArtifactError(
                f"{file} is larger than {_MOST_META:,} bytes; that describes no bank. Build it again.",
                code="too_large",
                path=file,
                most=_MOST_META,
            )
        return file.read_bytes(), (state.st_ino, state.st_mtime_ns, state.st_ctime_ns)
    except OSError as error:
        if left := set_aside(path):
            raise ArtifactError(
                f"{path} is gone: a save was broken off. The bank is in {left[0]}; rename it.",
                code="save_broken_off",
                path=path,
                left=left[0],
            ) from error
        raise ArtifactError(
            f"{path} holds no bank: {file.name} cannot be read. Build it, or name the right one.",
            code="not_bank",
            path=path,
            error=file.name,
        ) from error


def _is_still(path: Path, before: tuple[bytes, tuple[int, int, int]]) -> bool:
    """Whether the same folder lies there now."""
    try:
        return _described(path) == before
    except ArtifactError:
        return False


def set_aside(path: Path) -> list[Path]:
    """Return folders that a save has moved out of the way."""
    name = f".{path.name}."
    return [each for each in sorted(path.parent.glob(".*.old")) if each.name.startswith(name)]


def _open(path: Path, text: bytes, *, verify: bool) -> tuple[References, FolderMeta]:
    try:
        require_format(text.decode(), FORMAT_VERSION, path / META_NAME, remedy="Build it again.")
        meta = msgspec.json.decode(text, type=FolderMeta)
        if _sealed(meta) != text:
            raise ArtifactError(
                f"{path / META_NAME} was changed after it was written: its seal does not match. Build it again.",
                code="file_changed",
                path=path / META_NAME,
            )
        _check_files(path, meta, verify=verify)
        vectors, codes = _mapped_rows(path, meta)
        fabrics, paths, sha256, marks = _names(path, meta.rows)
        if verify:
            require_unit_rows(vectors, meta.dim, what="vectors.npy")
        return References.stored((vectors, codes), fabrics, paths, sha256, marks), meta
    except (msgspec.MsgspecError, ShapeError, DataError, UnicodeDecodeError, OSError) as error:
        raise ArtifactError(
            f"{path} is not a readable bank: {str(error).rstrip('.')}. Build it again.",
            code="not_bank",
            path=path,
            error=error,
        ) from error


def _check_files(path: Path, meta: FolderMeta, *, verify: bool) -> None:
    if sorted(meta.files) != sorted(_files()):
        raise DataError(f"its files must be {', '.join(_files())}; it names {', '.join(sorted(meta.files))}")
    for name, spec in meta.files.items():
        file = path / name
        if not file.is_file():
            raise ArtifactError(
                f"{file} is missing. Copy the whole bank again, or build it again.", code="file_missing", path=file
            )
        if file.stat().st_size != spec.bytes:
            raise ArtifactError(
                f"{file} must be {spec.bytes:,} bytes; it is {file.stat().st_size:,}. Build the bank again.",
                code="other_size",
                path=file,
                wanted=spec.bytes,
                size=file.stat().st_size,
            )
        if (verify or name == "ids.npz") and sha256_file(file) != spec.sha256:
            raise ArtifactError(
                f"{file} was changed after it was written: its checksum does not match. Build the bank again.",
                code="file_changed",
                path=file,
            )


def _mapped_rows(path: Path, meta: FolderMeta) -> tuple[Floats, RowCodes]:
    from clipfast.kernels.screening import RowCodes, codes_shapes

    codes, facts, centre = codes_shapes((meta.rows, meta.dim))
    shapes = ((meta.rows, meta.dim), codes, facts, centre)
    vectors, *rest = (
        _mapped(path / name, shape, kind) for (name, kind), shape in zip(_MAPPED.items(), shapes, strict=True)
    )
    return vectors, RowCodes(rest[0], rest[1], rest[2])


def _mapped(file: Path, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
    """Map an array whose header says exactly what is expected, and whose file is exactly as long."""
    with file.open("rb") as handle:
        try:
            version = np.lib.format.read_magic(handle)
            if version != (1, 0):
                raise DataError(f"{file.name} has .npy version {version}; (1, 0) is read")
            found, fortran, dtype = np.lib.format.read_array_header_1_0(handle)
        except ValueError as error:
            raise DataError(f"{file.name} is no .npy file ({error})") from error
        start = handle.tell()
    if (found, fortran, dtype.str) != (shape, False, kind):
        raise DataError(f"{file.name} must hold {shape} {kind} in C order; its header says {found} {dtype.str}")
    if file.stat().st_size != start + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
        raise DataError(f"{file.name} does not hold what its header promises")
    return np.asarray(np.memmap(file, dtype, "r", start, shape))


def _packed(names: Sequence[str]) -> NDArray[np.uint8]:
    """One row of bytes: names in UTF-8, divided by NUL, which no file's name holds."""
    return np.frombuffer("\0".join(names).encode(), np.uint8)


def _names(path: Path, rows: int) -> tuple[list[str], list[str], list[str], Marks | None]:
    """Fabric, path and checksum of every row, and by what photos are known again."""
    arrays = load_sealed_npz(path / "ids.npz", kind="list of a bank's photos")
    if missing := [name for name in _NAMES if name not in arrays]:
        raise DataError(f"ids.npz has no {', '.join(missing)}")
    for name in ("fabrics", "paths", "sha256"):
        if arrays[name].ndim != 1 or arrays[name].dtype != np.uint8:
            raise DataError(f"{name} must be one row of bytes; got {arrays[name].shape} {arrays[name].dtype}")
    counts = arrays["counts"]
    names = arrays["fabrics"].tobytes().decode().split("\0")
    paths = arrays["paths"].tobytes().decode().split("\0")
    if counts.dtype != np.int64 or counts.shape != (len(names),) or (counts < 1).any() or counts.sum() != rows:
        raise DataError(f"counts must say how the {rows:,} rows are shared by {len(names):,} fabrics")
    if len(paths) != rows or "" in paths or "" in names or arrays["sha256"].shape != (32 * rows,):
        raise DataError(f"ids.npz must name each of the {rows:,} rows")
    digests = arrays["sha256"].tobytes().hex()
    fabrics = [name for name, count in zip(names, counts.tolist(), strict=True) for _ in range(count)]
    sha256 = [digests[first : first + 64] for first in range(0, len(digests), 64)]
    return fabrics, paths, sha256, marks_of(arrays, rows)
