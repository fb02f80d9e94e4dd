"""The owner's older file: an .npz with one float array a fabric, read without trusting anything in it."""

from __future__ import annotations

import math
import os
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from clipfast.arguments import require_path
from clipfast.errors import ArtifactError, DataError
from clipfast.retrieval.bank import FabricBank
from clipfast.retrieval.bankfile import BankModel
from clipfast.retrieval.build import checked_id
from clipfast.retrieval.references import NO_PHOTO, References
from clipfast.types import Floats

__all__ = ["Imported", "import_vectors"]

MAX_BYTES = 2 << 30
_MAX_FABRICS = 100_000
_NORM_TOLERANCE = 1e-3
_NO_LENGTH = 1e-6
_PICKLES = frozenset({".pkl", ".pickle", ".joblib"})
_FLOATS = ("<f2", "<f4", "<f8")
_OURS = {"embeddings", "fabric_ids", "paths", "sha256", "meta"}


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of an older file.

    Attributes:
        bank: Its vectors under names such as `cotton/imported_001`; they have no photos.
        empty: Fabrics without a row, which a bank cannot hold.
        rescaled: Fabrics with rows that were not of unit length: the length farthest from 1, before it was made 1.
    """

    bank: FabricBank
    empty: tuple[str, ...]
    rescaled: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Member:
    """One array of the file, of which only the header was read."""

    fabric: str
    info: zipfile.ZipInfo
    rows: int


def import_vectors(path: str | os.PathLike[str], model: BankModel, *, dim: int) -> Imported:
    """Read an .npz whose every array, (r, e), holds the vectors of the fabric that it is named for.

    Nothing is unpickled. All headers are read before any array is, and their sizes must fit together. The file says
    nothing of the model that made the vectors, so the caller does; only their width can be compared.

    Args:
        path: The file.
        model: The model that made the vectors.
        dim: Width of its embeddings, `clip.embed_dim`.

    Raises:
        ArtifactError: The file is missing, a pickle, damaged, too large, already a bank, or holds something other
            than rows of that width.
        DataError: A name is no fabric id, or the file holds no row.
    """
    file = require_path("path", path)
    _require_zip(file)
    try:
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, file, dim)
            arrays = [_rows(archive, member, dim, file) for member in members if member.rows]
    # NotImplementedError (compression) and a password are RuntimeErrors of zipfile.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, ArtifactError | DataError):
            raise
        raise ArtifactError(
            f"{file} is not a readable .npz ({error}). Write it again with numpy.savez.",
            code="not_npz",
            path=file,
            error=error,
        ) from error
    filled = [member for member in members if member.rows]
    if not filled:
        raise DataError(
            f"{file} holds no row. An old bank has one array (r, {dim}) for each fabric.",
            code="old_bank_empty",
            path=file,
            dim=dim,
        )
    rescaled = {
        member.fabric: farthest
        for member, (_, farthest) in zip(filled, arrays, strict=True)
        if abs(farthest - 1) > _NORM_TOLERANCE
    }
    bank = FabricBank(_references(filled, [rows for rows, _ in arrays]), model)
    return Imported(bank, tuple(member.fabric for member in members if not member.rows), rescaled)


def _require_zip(file: Path) -> None:
    if not file.is_file():
        raise ArtifactError(
            f"No file at {file}. Name the old .npz, with one array for each fabric.", code="no_old_bank", path=file
        )
    with file.open("rb") as opened:
        start = opened.read(4)
    if file.suffix.lower() in _PICKLES or start[:1] == b"\x80":  # every pickle since protocol 2 begins so
        raise ArtifactError(
            f"{file} is a pickle, which may run any program when it is read, so it is never read here; "
            "load it where it was made and write numpy.savez(file, **{fabric: array}).",
            code="pickle",
            path=file,
        )
    if start[:2] != b"PK":
        raise ArtifactError(
            f"{file} must be an .npz with one array for each fabric; it starts with {start!r}.",
            code="not_npz_start",
            path=file,
        )
    if (size := file.stat().st_size) > MAX_BYTES:
        raise ArtifactError(
            f"{file} is {size:,} bytes; an old bank may have {MAX_BYTES:,} at most.",
            code="too_large",
            path=file,
            most=MAX_BYTES,
        )


def _members(archive: zipfile.ZipFile, file: Path, dim: int) -> list[_Member]:
    infos = archive.infolist()
    names = [info.filename.removesuffix(".npy") for info in infos]
    if set(names) >= _OURS:
        raise ArtifactError(
            f"{file} is a clipfast bank already, or made to look like one; it needs no import.",
            code="bank_already",
            path=file,
        )
    claimed = sum(info.file_size for info in infos)
    if claimed > MAX_BYTES or len(infos) > _MAX_FABRICS:
        raise ArtifactError(
            f"{file} promises {claimed:,} bytes in {len(infos):,} arrays; an old bank may have {MAX_BYTES:,} bytes in "
            f"{_MAX_FABRICS:,} at most.",
            code="old_bank_too_large",
            path=file,
            size=claimed,
            arrays=len(infos),
            most=MAX_BYTES,
            fabrics=_MAX_FABRICS,
        )
    members = [_member(archive, info, file, dim) for info in infos]
    fabric, times = Counter(member.fabric for member in members).most_common(1)[0] if members else ("", 0)
    if times > 1:
        raise ArtifactError(
            f"{file} holds {fabric!r} twice. Rename one of the two arrays.",
            code="fabric_twice",
            path=file,
            fabric=fabric,
        )
    return members


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path, dim: int) -> _Member:
    name = unicodedata.normalize("NFC", info.filename.removesuffix(".npy"))
    if info.filename == name:
        raise ArtifactError(
            f"{file} holds {info.filename!r}, which is no array. Write the file with numpy.savez.",
            code="not_array",
            path=file,
            name=info.filename,
        )
    with archive.open(info) as opened:
        shape, dtype, header = _header(opened, name, file)
    if dtype.hasobject:
        raise ArtifactError(
            f"{file}: {name!r} holds Python objects, which are pickled, so it is never read; "
            "write plain float arrays: numpy.savez(file, **{fabric: numpy.stack(rows)}).",
            code="pickled_array",
            path=file,
            name=name,
        )
    if dtype.newbyteorder("<").str not in _FLOATS or len(shape) != 2 or shape[1] != dim:
        raise ArtifactError(
            f"{file}: {name!r} must be floats (r, {dim}), the width of the model that was named; "
            f"got {dtype} {shape}. Name the model that made the vectors (--model).",
            code="other_width",
            path=file,
            name=name,
            dim=dim,
            dtype=dtype,
            shape=shape,
        )
    if math.prod(shape) * dtype.itemsize != info.file_size - header:
        raise ArtifactError(
            f"{file}: {name!r} does not hold the {shape} {dtype} that it promises.",
            code="array_cut",
            path=file,
            name=name,
        )
    return _Member(checked_id(name), info, shape[0])


def _header(opened: IO[bytes], name: str, file: Path) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    """Return shape, dtype and length of an array's header. Version 1.0 alone bounds the header, to 64 KB."""
    version = np.lib.format.read_magic(opened)
    if version != (1, 0):
        raise ArtifactError(
            f"{file}: {name!r} has .npy version {version}; (1, 0) is read. Write it with numpy.savez.",
            code="npy_version",
            path=file,
            name=name,
        )
    shape, _, dtype = np.lib.format.read_array_header_1_0(opened)
    return shape, dtype, opened.tell()


def _rows(archive: zipfile.ZipFile, member: _Member, dim: int, file: Path) -> tuple[Floats, float]:
    """Return unit rows, (r, e), and the length farthest from 1 that they had."""
    with archive.open(member.info) as opened:
        array = np.lib.format.read_array(opened, allow_pickle=False)
        if opened.read(1) or array.shape != (member.rows, dim):  # reading to the end also compares the checksum
            raise ArtifactError(
                f"{file}: {member.fabric!r} does not end where it promises to.",
                code="array_cut",
                path=file,
                name=member.fabric,
            )
    rows = array.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(rows, axis=1)
    good = np.isfinite(lengths) & (lengths > _NO_LENGTH)
    if not good.all():
        worst = int(np.argmin(good))
        raise ArtifactError(
            f"{file}: row {worst} of {member.fabric!r} must have a direction; its length is {lengths[worst]:g}. "
            "Take it out, or embed its photo again.",
            code="no_direction",
            path=file,
            row=worst,
            fabric=member.fabric,
        )
    units: Floats = (rows / lengths[:, None]).astype(np.float32)
    return units, float(lengths[np.abs(lengths - 1).argmax()])


def _references(members: Sequence[_Member], arrays: Sequence[Floats]) -> References:
    names = [
        (member.fabric, f"{member.fabric}/imported_{number:0{max(3, len(str(member.rows)))}}")
        for member in members
        for number in range(1, member.rows + 1)
    ]
    return References(
        np.concatenate(list(arrays)),
        [fabric for fabric, _ in names],
        [path for _, path in names],
        [NO_PHOTO] * len(names),
    )
