"""Engines on disk, one folder per engine, under a name that changes with everything the engine depends on.

ONNX Runtime's own cache key leaves out the weights and fixed shapes, so two models of one architecture share an engine
and answer with each other's numbers (microsoft/onnxruntime issues 6455 and 32254), and nothing notices another driver
or GPU (22244). Here the folder's name is the SHA-256 of all of it, the folder appears by one rename when it is
complete, and what is in it is checked against its own record before it is used.

    engines/
      3f9a…/embed.onnx   the context model: a graph of one node that names the engine file beside it
      3f9a…/….engine     TensorRT's plan
      3f9a…/engine.json  the ingredients and every file's SHA-256, written last
      timing/            TensorRT's timing caches, which only make the next build quicker
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from clipfast.artifact import FileSpec, Precision, Sha256
from clipfast.errors import ArtifactError, ProviderError
from clipfast.storage import atomic_write, sha256_file

__all__ = ["CONTEXT_MODEL", "EngineCache", "Ingredients", "recorded_ingredients"]

log = logging.getLogger(__name__)

CONTEXT_MODEL = "engine_ctx.onnx"
_RECORD = "engine.json"
_FORMAT = 1
_MAX_RECORD_BYTES = 1 << 20


class Ingredients(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that an engine depends on.

    Attributes:
        head: Which graph, such as "embed".
        files: SHA-256 of the graph and of its weights, in the graph's order.
        precision: Of the graph.
        profile: The shapes it is built for, as ONNX Runtime is told them.
        builder: What else the builder is told, such as its optimisation level.
        onnxruntime: Version.
        tensorrt: Version.
        driver: Version.
        gpu: Name of the GPU.
        capability: Its compute capability.
    """

    head: str
    files: tuple[Sha256, ...]
    precision: Precision
    profile: tuple[str, str, str]
    builder: tuple[tuple[str, str], ...]
    onnxruntime: str
    tensorrt: str
    driver: str
    gpu: str
    capability: str

    def key(self) -> str:
        """Return the SHA-256 that names the engine's folder."""
        return hashlib.sha256(f"{_FORMAT}\n".encode() + msgspec.json.encode(self, order="deterministic")).hexdigest()

    def differences(self, other: Ingredients) -> tuple[str, ...]:
        """Return the names of the ingredients in which two engines differ."""
        return tuple(name for name in self.__struct_fields__ if getattr(self, name) != getattr(other, name))


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    ingredients: Ingredients
    files: dict[str, FileSpec]


class EngineCache:
    """A folder of engines. Many processes may read and build in it at once.

    Args:
        folder: Made when the first engine is built.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def timing(self) -> Path:
        """Folder of timing caches."""
        return self.folder / "timing"

    def find(self, ingredients: Ingredients) -> Path | None:
        """Return the context model of a complete and undamaged engine, or None.

        A folder that does not hold what its record says is put aside and removed, with a log warning.
        """
        folder = self.folder / ingredients.key()
        if not folder.is_dir():
            return None
        problem = _problem(folder, ingredients)
        if problem is None:
            return folder / CONTEXT_MODEL
        log.warning("The engine in %s is not used: %s. It is built again.", folder, problem)
        _remove(folder)
        return None

    def build(self, ingredients: Ingredients, make: Callable[[Path], None]) -> Path:
        """Build an engine in a hidden folder and put it in place by one rename.

        Args:
            ingredients: Of the engine.
            make: Given a new folder; must write `CONTEXT_MODEL` and what it refers to, and nothing that points outside.

        Returns:
            The context model. Where another process was quicker, its engine.

        Raises:
            ProviderError: The folder cannot be written, or `make` left no context model.
        """
        temporary = self._hidden(self.timing)
        try:
            make(temporary)
            if not (temporary / CONTEXT_MODEL).is_file():
                raise ProviderError(
                    f"TensorRT wrote no context model for {ingredients.head}; ONNX Runtime {ingredients.onnxruntime} "
                    "may be too old (1.18 or later is needed)."
                )
            _write_record(temporary, ingredients)
            return self._put_in_place(temporary, ingredients)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def require_writable(self) -> None:
        """Refuse a folder that cannot be written, before work that takes minutes.

        Raises:
            ProviderError: Names the folder and how to name another.
        """
        self._hidden(self.folder).rmdir()

    def nearest(self, ingredients: Ingredients) -> Ingredients | None:
        """Return the complete engine of the same head that differs least, for error messages; None without one."""
        found = []
        for file in sorted(self.folder.glob(f"*/{_RECORD}")):
            record = _read_record(file)
            if record is not None and record.ingredients.head == ingredients.head:
                found.append(record.ingredients)
        return min(found, key=lambda other: len(ingredients.differences(other)), default=None)

    def _hidden(self, made: Path) -> Path:
        """Make a folder of the cache, and a hidden one in the cache; return that."""
        try:
            made.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=".building-", dir=self.folder))
        except OSError as error:
            raise ProviderError(
                f"The engine folder {self.folder} cannot be written ({error.strerror}). Name one that can: "
                "TensorRtOptions(engines=Path(...)), --engine-dir, or CLIPFAST_CACHE."
            ) from error

    def _put_in_place(self, temporary: Path, ingredients: Ingredients) -> Path:
        folder = self.folder / ingredients.key()
        temporary.chmod(0o755)  # mkdtemp makes 0700
        try:
            temporary.rename(folder)
        except OSError:
            if self.find(ingredients) is None:  # not a quicker twin but something damaged, which is gone now
                temporary.rename(folder)
        return folder / CONTEXT_MODEL


def recorded_ingredients(folder: Path) -> Ingredients | None:
    """Return what the engine in a folder was built from, or None without a readable record."""
    record = _read_record(folder / _RECORD)
    return None if record is None else record.ingredients


def _write_record(folder: Path, ingredients: Ingredients) -> None:
    files = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[path.name] = FileSpec(bytes=path.stat().st_size, sha256=sha256_file(path))
    encoded = msgspec.json.format(msgspec.json.encode(_Record(_FORMAT, ingredients, files)), indent=2)
    with atomic_write(folder / _RECORD) as temporary:
        temporary.write_bytes(encoded + b"\n")


def _read_record(file: Path) -> _Record | None:
    try:
        if file.stat().st_size > _MAX_RECORD_BYTES:
            return None
        return msgspec.json.decode(file.read_bytes(), type=_Record)
    except (OSError, msgspec.MsgspecError):
        return None


def _problem(folder: Path, ingredients: Ingredients) -> str | None:
    """Return why an engine must not be used, or None."""
    record = _read_record(folder / _RECORD)
    if record is None:
        return f"it has no readable {_RECORD}"
    if record.format != _FORMAT or record.ingredients != ingredients:
        return "its record is of something else"
    if CONTEXT_MODEL not in record.files:
        return "its record lists no context model"
    for name, spec in record.files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file() or path.stat().st_size != spec.bytes:
            return f"{name} is missing or has another size"
        if sha256_file(path) != spec.sha256:
            return f"{name} was changed"
    return None


def _remove(folder: Path) -> None:
    """Rename first, so that nobody meets half a folder; then delete."""
    try:
        aside = Path(tempfile.mkdtemp(prefix=".removed-", dir=folder.parent))
        folder.rename(aside / folder.name)
    except OSError as error:
        raise ArtifactError(
            f"The damaged engine {folder} cannot be removed ({error.strerror}). Remove it, or name another folder."
        ) from error
    shutil.rmtree(aside, ignore_errors=True)
