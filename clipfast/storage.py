"""Files that survive a crash and tell when they were changed: cache folder, atomic writes, checksums, sealed .npz.

Nothing is ever unpickled. A sealed .npz is an ordinary uncompressed .npz whose zip comment holds the SHA-256 of every
byte before it, so `numpy.load(path, allow_pickle=False)` reads it and one changed byte anywhere is noticed.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import struct
import sys
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast.errors import ArtifactError, DataError

__all__ = [
    "atomic_write",
    "cache_dir",
    "load_sealed_npz",
    "locked",
    "require_format",
    "save_sealed_npz",
    "sha256_file",
    "sync_folder",
]


class _Format(msgspec.Struct):
    format: int


_SEAL = b"clipfast-sha256:"
_CHUNK = 1 << 22
_EOCD = struct.Struct("<4s4H2LH")
MAX_SEALED_BYTES = 8 << 30


def cache_dir() -> Path:
    """Return the folder for things that can be made again: `CLIPFAST_CACHE`, else the platform's cache folder."""
    if named := os.environ.get("CLIPFAST_CACHE"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "clipfast"
    if sys.platform == "darwin":
        return Path("~/Library/Caches/clipfast").expanduser()
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "clipfast"
    try:
        return Path.home() / ".cache" / "clipfast"
    except RuntimeError:  # a user without a home folder, as in containers
        return Path(tempfile.gettempdir()) / "clipfast-cache"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success flush it to disk and rename it over `path`.

    A reader sees the old file or the new one, never a part. On an exception the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes 0600; others may read what the user's umask allows
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def locked(path: Path, *, seconds: float = 60.0) -> Iterator[None]:
    """Hold a file's lock: of all processes and threads that ask for it, one at a time goes on.

    The system lets go of the lock when its process ends, however it ends.

    Args:
        path: The lock file; it holds nothing and may stay.
        seconds: How long to wait for it.

    Raises:
        DataError: Another holds it for longer, or the file system knows no locks.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=seconds)
    try:
        lock.acquire()
    except Timeout as error:
        raise DataError(
            f"{path} is held by another process for more than {seconds:g} seconds. Wait for it to finish, or end it.",
            code="locked",
            path=path,
            seconds=seconds,
        ) from error
    except NotImplementedError as error:
        raise DataError(
            f"{path} cannot be locked: its file system knows no locks. Use a folder on a local disk.",
            code="no_locks",
            path=path,
        ) from error
    try:
        yield
    finally:
        lock.release()


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to disk, so that a rename outlives a loss of power; nothing is done on Windows."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def require_format(meta: str, known: int, path: Path, *, remedy: str, older: Collection[int] = ()) -> None:
    """Refuse a file of another version, before anything else of its description is read.

    Args:
        meta: The description, JSON with a field `format`.
        known: The version that this clipfast reads.
        path: The file, for the message.
        remedy: What makes an older file new, such as "Build it again."
        older: Earlier versions that it reads, too.

    Raises:
        ArtifactError: It is of another version.
        msgspec.MsgspecError: It is no JSON, or has no version.
    """
    found = msgspec.json.decode(meta, type=_Format).format
    if found != known and found not in older:
        raise ArtifactError(
            f"{path} has format {found}; this clipfast reads format {known}. "
            + ("Update clipfast." if found > known else remedy),
            code="other_format",
            path=path,
            found=found,
            known=known,
        )


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in large chunks."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def save_sealed_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as an uncompressed .npz, sealed and atomic; equal arrays give equal bytes."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            if array.dtype.hasobject:
                raise TypeError(f"{name!r} must be a plain array; got dtype {array.dtype}, which would be pickled.")
            member = io.BytesIO()
            plain = np.ascontiguousarray(array).reshape(array.shape)
            np.lib.format.write_array(member, plain, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), member.getbuffer())
        archive.comment = _SEAL + b"0" * 64
    sealed = body.getbuffer()
    seal = hashlib.sha256(sealed[:-64]).hexdigest().encode()
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(sealed[:-64])
        file.write(seal)


def load_sealed_npz(path: Path, *, kind: str) -> dict[str, NDArray[Any]]:
    """Read what `save_sealed_npz` wrote.

    Args:
        path: The file.
        kind: What the file is, for the error text: "bank", "head", ...

    Raises:
        ArtifactError: The file is missing, too large, damaged, or not sealed by clipfast.
    """
    if not path.is_file():
        raise ArtifactError(f"No {kind} at {path}. Build it first, or name the right file.", code="no_file", path=path)
    size = path.stat().st_size
    if size > MAX_SEALED_BYTES:
        raise ArtifactError(
            f"{path} is {size:,} bytes; a {kind} may have {MAX_SEALED_BYTES:,} at most.",
            code="too_large",
            path=path,
            most=MAX_SEALED_BYTES,
        )
    _check_seal(path, size, kind)
    try:
        with zipfile.ZipFile(path) as archive:
            return {_stem(info, size, kind): _member(archive, info) for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        raise ArtifactError(
            f"{path} is not a readable {kind} ({error}). Build it again.", code="not_readable", path=path, error=error
        ) from error


def _check_seal(path: Path, size: int, kind: str) -> None:
    tail = _EOCD.size + len(_SEAL) + 64
    with path.open("rb") as file:
        file.seek(max(0, size - tail))
        end = file.read()
        if len(end) < tail or end[:4] != b"PK\x05\x06" or end[_EOCD.size :][: len(_SEAL)] != _SEAL:
            raise ArtifactError(
                f"{path} is not a {kind} written by clipfast, or its end is missing. Build it again, or import it.",
                code="not_written_by_us",
                path=path,
            )
        file.seek(0)
        digest = hashlib.sha256()
        left = size - 64
        while left:
            chunk = file.read(min(_CHUNK, left))
            digest.update(chunk)
            left -= len(chunk)
    if digest.hexdigest().encode() != end[-64:]:
        raise ArtifactError(
            f"{path} was changed after it was written: its checksum does not match. Build it again.",
            code="file_changed",
            path=path,
        )


def _stem(info: zipfile.ZipInfo, size: int, kind: str) -> str:
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
        raise ValueError(f"member {info.filename!r} of a {kind} must be stored plainly")
    return info.filename.removesuffix(".npy")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """Read one array; a header that promises more than the member holds is refused before anything is allocated."""
    data = io.BytesIO(archive.read(info))
    version = np.lib.format.read_magic(data)
    if version != (1, 0):
        raise ValueError(f"member {info.filename!r} has .npy version {version}; (1, 0) is read")
    shape, _, dtype = np.lib.format.read_array_header_1_0(data)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != info.file_size - data.tell():
        raise ValueError(f"member {info.filename!r} does not hold the {shape} {dtype} that it promises")
    data.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(data, allow_pickle=False)
    return array
