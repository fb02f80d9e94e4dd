"""The artifact: one folder that export writes and everything else reads.

`manifest.json` describes it; the graphs, their shared weights file and the tokenizer lie beside it. Nothing about a
model is a Python subclass: what differs between models is data in the manifest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec

from clipfast.errors import ArtifactError, FingerprintError
from clipfast.storage import atomic_write, cache_dir, sha256_file

__all__ = [
    "MANIFEST_NAME",
    "REFERENCE_NAME",
    "SCHEMA_VERSION",
    "Artifact",
    "FileSpec",
    "Flavour",
    "GraphSpec",
    "ImageSpec",
    "Int8Figures",
    "Int8Report",
    "Manifest",
    "ModelSpec",
    "Parity",
    "Peak",
    "Precision",
    "SourceSpec",
    "TokenizerSpec",
    "graph_key",
    "head_of",
    "require_fingerprint",
]

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
REFERENCE_NAME = "reference.npz"
_MAX_MANIFEST_BYTES = 16 << 20

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
Activation = Literal["gelu", "quick_gelu"]
Precision = Literal["fp32", "fp16", "int8"]
Flavour = Literal["fused", "cuda", "tensorrt"]
Triple = tuple[float, float, float]
_NO_SEAL = "0" * 64


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict and immutable: an unknown or missing field is an error, not a default."""


class FileSpec(_Spec, frozen=True):
    """One file of the artifact: its size in bytes and its SHA-256."""

    bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Sha256


class SourceSpec(_Spec, frozen=True):
    """Where the weights came from.

    `weights_sha256` is taken over the fp32 tensors in the order of their names, so the same weights as .pt or
    .safetensors are one model. `checkpoint` is the file's name or the pretrained tag; None means random weights of
    `seed`. `config` is the open_clip model config as JSON; `compact` says that weights were rounded to int8 levels.
    """

    architecture: str
    checkpoint: str | None
    weights_sha256: Sha256
    config: str
    seed: int = 0
    compact: bool = False


class ImageSpec(_Spec, frozen=True):
    """How pixels become input: resize rule, size in pixels as (height, width), and what the graph subtracts."""

    size_hw: tuple[Positive, Positive]
    mean: Triple
    std: Triple
    resize: Literal["shortest", "squash"] = "shortest"
    interpolation: Literal["bicubic"] = "bicubic"


class TokenizerSpec(_Spec, frozen=True):
    """CLIP's byte-pair tokenizer. `known_tokens` lists the ids a small model was trained on; None means all."""

    file: str
    context_length: Positive
    vocab_size: Positive
    known_tokens: tuple[int, ...] | None = None


class ModelSpec(_Spec, frozen=True):
    """Facts about the towers.

    `patch_size` in pixels, `grid_hw` in patches, `surgery_depth` in blocks from the end; `feature_blocks` are the
    blocks (from 1) after which `patches` and `joint` give features.
    """

    activation: Activation
    embed_dim: Positive
    width: Positive
    heads: Positive
    layers: Positive
    patch_size: Positive
    grid_hw: tuple[Positive, Positive]
    surgery_depth: Positive
    feature_blocks: tuple[Positive, ...]
    text_width: Positive
    text_layers: Positive
    logit_scale: float
    logit_bias: float | None = None


class GraphSpec(_Spec, frozen=True):
    """One ONNX graph. `files` names every file that opening it reads, the graph itself first.

    Flavours: "fused" for CPUs (fused attention), "cuda" (the same without shape arithmetic, which would land on the
    CPU), "tensorrt" (plain ops only). Inputs and outputs are fp32 and integers in every precision.
    """

    files: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    precision: Precision = "fp32"
    flavour: Flavour = "fused"


class Peak(_Spec, frozen=True):
    """The largest absolute value that a head computed in fp32 on sample inputs, and where: fp16 ends at 65,504."""

    head: str
    where: str
    largest: float


class Parity(_Spec, frozen=True):
    """How far one output was from the PyTorch reference at one batch size.

    Difference and cosine are of unit rows; `max_norm_error` is the largest relative error of a row's length.
    """

    graph: str
    output: str
    batch: Positive
    max_abs_diff: float
    min_cosine: float
    max_norm_error: float


class Int8Figures(_Spec, frozen=True):
    """int8 beside fp32 on images that served no choice. None where the artifact lacks a graph that it needs.

    Cosines are of class tokens; `same_neighbour` is the share of images that keep their nearest neighbour; accuracy is
    of naming rendered fabrics, AUROC that of patches inside named objects on the value-value path. A loss is
    fp32 - int8, so a negative one is a gain.
    """

    images: int
    class_cosine: float | None = None
    worst_class_cosine: float | None = None
    same_neighbour: float | None = None
    zero_shot_fp32: float | None = None
    zero_shot_int8: float | None = None
    zero_shot_loss: float | None = None
    map_auroc_fp32: float | None = None
    map_auroc_int8: float | None = None
    map_auroc_loss: float | None = None


class Int8Report(_Spec, frozen=True):
    """What became of int8: whether its graphs are in the artifact, or why they were refused.

    `kept_fp32` names the products that stay fp32 because they are sensitive; `int8_share` is the rest's share of the
    weights. `figures` were measured on ONNX Runtime, `figures_openvino` on OpenVINO, if that was installed; both count.
    Those of `int8_rest="bf16"` are there if the CPU had bf16; `reasons_bf16_rest` say why that alone is refused.
    """

    passed: bool
    reasons: tuple[str, ...]
    calibration: str
    calibration_images: int
    kept_fp32: tuple[str, ...]
    int8_share: float
    figures: Int8Figures
    figures_openvino: Int8Figures | None = None
    figures_bf16_rest: Int8Figures | None = None
    reasons_bf16_rest: tuple[str, ...] = ()


class Manifest(_Spec, frozen=True):
    """Everything a reader of the artifact needs to know, and nothing it must guess.

    `seal` is the SHA-256 of the file's bytes with the seal itself written as 64 zeros, so a changed digit is noticed.
    """

    schema_version: int
    name: str
    source: SourceSpec
    model: ModelSpec
    image: ImageSpec
    tokenizer: TokenizerSpec
    graphs: dict[str, GraphSpec]
    files: dict[str, FileSpec]
    parity: tuple[Parity, ...]
    made_with: dict[str, str]
    notice: str | None = None
    peaks: tuple[Peak, ...] = ()
    int8: Int8Report | None = None
    seal: Sha256 = _NO_SEAL

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the graphs without precision and flavour, such as "embed"."""
        return tuple(dict.fromkeys(head_of(key) for key in self.graphs))

    def fingerprint(self, output: str = "embedding") -> str:
        """Return the identity of one output's vectors.

        It covers what changes the vectors (weights, activation, image rule, tokenizer, depth), not the folder: adding
        a graph of another precision leaves banks valid.
        """
        parts = (
            self.source.weights_sha256,
            self.model.activation,
            msgspec.json.encode(self.image).decode(),
            self.files[self.tokenizer.file].sha256,
            str(self.model.surgery_depth),
            output,
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def graph_key(head: str, precision: Precision = "fp32", flavour: Flavour = "fused") -> str:
    """Return the name under which a manifest lists a graph.

    >>> graph_key("embed"), graph_key("embed", "fp16", "tensorrt")
    ('embed', 'embed.fp16.tensorrt')
    """
    kinds = [kind for kind, ordinary in ((precision, "fp32"), (flavour, "fused")) if kind != ordinary]
    return ".".join([head, *kinds])


def head_of(key: str) -> str:
    """Return the head of a graph's name: "embed" of "embed.fp16.tensorrt"."""
    return key.partition(".")[0]


class _SchemaOnly(msgspec.Struct):
    schema_version: int


class Artifact:
    """A folder with a valid manifest, opened for reading. Files are verified when they are opened.

    Attributes:
        path: The folder.
        manifest: Its description.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Artifact:
        """Read and check the manifest of a folder; no graph is opened yet.

        Raises:
            ArtifactError: No artifact there, an unknown schema version, or a manifest that is not valid.
        """
        folder = Path(path)
        file = folder / MANIFEST_NAME
        if not file.is_file():
            raise ArtifactError(
                f"{folder} holds no artifact (no {MANIFEST_NAME}). Make one: python -m clipfast.export MODEL --out DIR",
                code="no_artifact",
                path=folder,
            )
        if file.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ArtifactError(
                f"{file} is larger than {_MAX_MANIFEST_BYTES:,} bytes; that is no manifest.",
                code="too_large",
                path=file,
                most=_MAX_MANIFEST_BYTES,
            )
        return cls(folder, _decode(file))

    def verified(self, names: Iterable[str], *, rehash: bool = False) -> tuple[Path, ...]:
        """Return the paths of files after checking size and SHA-256, two at a time.

        A stamp (size, time, inode) in the cache folder spares the hash when the file has not changed since the last
        check; `rehash` ignores it.

        Raises:
            ArtifactError: A file is missing or differs from the manifest; the message names it.
        """
        wanted = tuple(names)
        with ThreadPoolExecutor(2) as pool:
            return tuple(pool.map(lambda name: self._verify(name, rehash=rehash), wanted))

    def _verify(self, name: str, *, rehash: bool) -> Path:
        spec = self.manifest.files[name]
        path = self.path / name
        if not path.is_file():
            sentence = f"{path} is missing. Copy the whole artifact folder again, or export it again."
            raise ArtifactError(sentence, code="file_missing", path=path)
        state = path.stat()
        stamp = cache_dir() / "verified" / spec.sha256
        mark = f"{state.st_size} {state.st_mtime_ns} {state.st_ino} {path.resolve()}"
        with suppress(OSError, ValueError):
            if not rehash and stamp.read_text(encoding="utf-8") == mark:
                return path
        if state.st_size != spec.bytes or sha256_file(path) != spec.sha256:
            raise ArtifactError(
                f"{path} is not the file that was exported: its checksum differs. Copy it again, or export again.",
                code="file_changed",
                path=path,
            )
        with suppress(OSError), atomic_write(stamp) as temporary:  # a read-only cache only costs the next hash
            temporary.write_text(mark, encoding="utf-8")
        return path

    def write_manifest(self) -> None:
        """Write `manifest.json`, atomically and last: a folder without it is no artifact."""
        blank = msgspec.structs.replace(self.manifest, seal=_NO_SEAL)
        encoded = msgspec.json.format(msgspec.json.encode(blank), indent=2) + b"\n"
        seal = hashlib.sha256(encoded).hexdigest()
        with atomic_write(self.path / MANIFEST_NAME) as temporary:
            temporary.write_bytes(encoded.replace(_NO_SEAL.encode(), seal.encode()))
        self.manifest = msgspec.structs.replace(self.manifest, seal=seal)


def require_fingerprint(got: str, wanted: str, *, what: str) -> None:
    """Refuse vectors of another model.

    Raises:
        FingerprintError: The two differ; the message names both.
    """
    if got != wanted:
        raise FingerprintError(
            f"{what} was made by another model: its fingerprint is {got[:16]}…, this model's is {wanted[:16]}…. "
            "Load the model it was made with, or build it again with this one.",
            code="other_model",
            what=what,
            got=got[:16],
            wanted=wanted[:16],
        )


def _decode(file: Path) -> Manifest:
    data = file.read_bytes()
    try:
        version = msgspec.json.decode(data, type=_SchemaOnly).schema_version
        if version != SCHEMA_VERSION:
            raise ArtifactError(
                f"{file} has schema version {version}; this clipfast reads version {SCHEMA_VERSION}. "
                + ("Update clipfast." if version > SCHEMA_VERSION else "Export the model again."),
                code="other_format",
                path=file,
                found=version,
                known=SCHEMA_VERSION,
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        sentence = f"{file} is not a valid manifest: {error}. Export the model again."
        raise ArtifactError(sentence, code="bad_manifest", path=file, error=error) from error
    if hashlib.sha256(data.replace(manifest.seal.encode(), _NO_SEAL.encode())).hexdigest() != manifest.seal:
        sentence = f"{file} was changed after it was written: its seal does not match. Export the model again."
        raise ArtifactError(sentence, code="file_changed", path=file)
    _check_names(manifest, file)
    return manifest


def _check_names(manifest: Manifest, file: Path) -> None:
    """Every file that is referred to is listed, and none leads out of the folder."""
    for name in manifest.files:
        parts = PurePosixPath(name).parts
        if len(parts) != 1 or parts[0] in {"..", "/", "."} or "\\" in name or ":" in name:
            sentence = f"{file} names the file {name!r}; only plain names inside the folder are read."
            raise ArtifactError(sentence, code="bad_manifest", path=file, error=name)
    for graph, spec in manifest.graphs.items():
        if missing := [name for name in spec.files if name not in manifest.files] or (not spec.files and ["its graph"]):
            sentence = f"{file}: graph {graph!r} needs {missing}, which the manifest does not list."
            raise ArtifactError(sentence, code="bad_manifest", path=file, error=missing)
    if manifest.tokenizer.file not in manifest.files:
        sentence = f"{file}: the tokenizer {manifest.tokenizer.file!r} is not listed."
        raise ArtifactError(sentence, code="bad_manifest", path=file, error=manifest.tokenizer.file)
