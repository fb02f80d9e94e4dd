"""The manifest is strict, versioned and sealed, and files are verified when they are opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clipfast.artifact import Artifact, require_fingerprint
from clipfast.errors import ArtifactError, FingerprintError
from clipfast.runtime.clip import Clip

MINI = Path(__file__).resolve().parent.parent / "clipfast" / "models" / "mini"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the embedded artifact that a test may damage."""
    return Path(shutil.copytree(MINI, tmp_path / "mini"))


def _rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest as someone would who knows how to seal it again."""
    data = json.loads((folder / "manifest.json").read_text())
    change(data)
    data["seal"] = "0" * 64
    import hashlib

    blank = json.dumps(data).encode()
    sealed = blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode())
    (folder / "manifest.json").write_bytes(sealed)


def test_the_embedded_artifact_is_whole() -> None:
    """Every file of mini has the size and checksum that its manifest says."""
    artifact = Artifact.open(MINI)

    assert len(artifact.verified(artifact.manifest.files, rehash=True)) == len(artifact.manifest.files)


def test_the_embedded_artifact_is_small() -> None:
    """What git stores of mini is at most 10 MB."""
    assert sum(path.stat().st_size for path in MINI.iterdir()) <= 10_000_000


def test_a_folder_without_manifest_is_no_artifact(tmp_path: Path) -> None:
    """The message says how to make one."""
    with pytest.raises(ArtifactError, match=r"python -m clipfast.export"):
        Artifact.open(tmp_path)


@pytest.mark.parametrize("name", ["vision.weights", "embed.onnx", "text.onnx", "text.weights", "tokenizer.json"])
def test_a_changed_byte_is_refused_by_name(copy: Path, name: str) -> None:
    """One flipped bit in any file is noticed when that file is opened."""
    path = copy / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    clip = Clip.load(copy)

    with pytest.raises(ArtifactError, match=name):
        clip.warm_up()


def test_a_changed_file_is_noticed_after_a_good_load(copy: Path) -> None:
    """The stamp that spares hashing does not hide a later change."""
    Clip.load(copy).encode_texts(["denim"])
    data = bytearray((copy / "text.weights").read_bytes())
    data[5] ^= 1
    (copy / "text.weights").write_bytes(data)

    with pytest.raises(ArtifactError, match=r"text\.weights"):
        Clip.load(copy).encode_texts(["linen"])


def test_a_missing_file_is_refused_by_name(copy: Path) -> None:
    """A folder that was copied in part says which part is missing."""
    (copy / "vision.weights").unlink()

    with pytest.raises(ArtifactError, match=r"vision\.weights is missing"):
        Clip.load(copy).warm_up()


def test_a_changed_number_in_the_manifest_is_noticed(copy: Path) -> None:
    """The seal covers every byte of the manifest."""
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace('"surgery_depth": 6', '"surgery_depth": 5'))

    with pytest.raises(ArtifactError, match="its seal"):
        Artifact.open(copy)


def test_any_changed_byte_of_the_manifest_is_refused(copy: Path) -> None:
    """Every fifth byte set to 0xff, which is no UTF-8, and every seventh flipped: always an ArtifactError."""
    path = copy / "manifest.json"
    good = path.read_bytes()
    changes = [(at, 0xFF) for at in range(0, len(good), 5)] + [(at, good[at] ^ 1) for at in range(0, len(good), 7)]
    for at, value in changes:
        path.write_bytes(good[:at] + bytes([value]) + good[at + 1 :])
        with pytest.raises(ArtifactError, match=r"manifest\.json"):
            Artifact.open(copy)


def test_a_damaged_stamp_costs_only_a_hash(copy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nonsense in the cache folder does not stop a load."""
    monkeypatch.setenv("CLIPFAST_CACHE", str(tmp_path / "cache"))
    artifact = Artifact.open(copy)
    artifact.verified(["text.onnx"])
    for stamp in (tmp_path / "cache" / "verified").iterdir():
        stamp.write_bytes(b"\xff\xfe")

    assert artifact.verified(["text.onnx"]) == (copy / "text.onnx",)


@pytest.mark.parametrize(
    ("version", "advice"),
    [(0, "Export the model again"), (2, "Update clipfast"), (999, "Update clipfast")],  # older, newer, far newer
)
def test_another_schema_version_names_both(copy: Path, version: int, advice: str) -> None:
    """The reader accepts exactly the version it knows."""
    _rewrite(copy, lambda data: data.update(schema_version=version))

    with pytest.raises(ArtifactError, match=f"version {version}.*version 1.*{advice}"):
        Artifact.open(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(surprise=1),  # an unknown field
        lambda data: data.pop("image"),  # a missing one
        lambda data: data["model"].update(activation="relu"),  # outside the closed choice
        lambda data: data["model"].update(embed_dim="192"),  # a string where a number must be
        lambda data: data["files"]["vision.weights"].update(sha256="abc"),  # no checksum
    ],
)
def test_a_strange_manifest_is_refused(copy: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Strict: nothing is guessed and nothing is ignored."""
    _rewrite(copy, change)

    with pytest.raises(ArtifactError, match="not a valid manifest"):
        Artifact.open(copy)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b.onnx", "..\\x", "C:x"])
def test_file_names_cannot_leave_the_folder(copy: Path, name: str) -> None:
    """A manifest from elsewhere cannot point at other files."""
    _rewrite(copy, lambda data: data["files"].update({name: {"bytes": 1, "sha256": "0" * 63 + "1"}}))

    with pytest.raises(ArtifactError, match="plain names inside the folder"):
        Artifact.open(copy)


def test_the_fingerprint_covers_what_changes_vectors() -> None:
    """Weights, activation, image rule, depth and output change it; parity figures and notices do not."""
    manifest = Artifact.open(MINI).manifest
    base = manifest.fingerprint()
    replace = msgspec.structs.replace
    changed = [
        replace(manifest, source=replace(manifest.source, weights_sha256="0" * 64)),
        replace(manifest, model=replace(manifest.model, activation="quick_gelu")),
        replace(manifest, model=replace(manifest.model, surgery_depth=5)),
        replace(manifest, image=replace(manifest.image, resize="squash")),
    ]

    assert base not in {m.fingerprint() for m in changed}
    assert manifest.fingerprint("vv") != base
    assert replace(manifest, notice="x", parity=(), name="other").fingerprint() == base


def test_another_models_vectors_are_refused_naming_both() -> None:
    """Both fingerprints are in the message."""
    with pytest.raises(FingerprintError, match=r"aaaaaaaaaaaaaaaa.*bbbbbbbbbbbbbbbb"):
        require_fingerprint("a" * 64, "b" * 64, what="bank.npz")
