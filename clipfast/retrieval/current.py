"""The small file that points to the versions in use; replaced as a whole."""

from __future__ import annotations

from pathlib import Path

import msgspec

from clipfast.errors import ArtifactError
from clipfast.retrieval.history import Kind, Name
from clipfast.storage import atomic_write, require_format, sync_folder

__all__ = ["Current", "read_current", "write_current"]

FORMAT_VERSION = 1


class Current(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is in use.

    Attributes:
        versions: By kind.
        generation: Grows with every change.
        format: Version of the file.
    """

    versions: dict[Kind, Name]
    generation: int = 0
    format: int = FORMAT_VERSION


def read_current(path: Path) -> Current:
    """Read what is in use; nothing, where there is no file.

    Raises:
        ArtifactError: The file cannot be read.
    """
    if not path.is_file():
        return Current(versions={})
    try:
        text = path.read_text(encoding="utf-8")
        require_format(text, FORMAT_VERSION, path, remedy="Promote again.")
        return msgspec.json.decode(text, type=Current)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{path} does not say what is in use: {error}. Promote again.", code="not_pointer", path=path, error=error
        ) from error


def write_current(path: Path, current: Current) -> None:
    """Write what is in use, and return when it is on disk."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(msgspec.json.encode(current) + b"\n")
    sync_folder(path.parent)
