"""Files that survive a crash and tell when they were changed."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from clipfast.errors import ArtifactError
from clipfast.storage import atomic_write, cache_dir, load_sealed_npz, save_sealed_npz, sha256_file

ARRAYS = {
    "rows": np.arange(12, dtype=np.float32).reshape(3, 4),
    "names": np.array(["棉布", "linen"]),
    "one": np.array(7),
}


def test_sealed_arrays_come_back_equal(tmp_path: Path) -> None:
    """Values, shapes and dtypes survive, and numpy reads the file without unpickling."""
    path = tmp_path / "a.npz"
    save_sealed_npz(path, ARRAYS)
    back = load_sealed_npz(path, kind="bank")

    with np.load(path, allow_pickle=False) as plain:
        for name, array in ARRAYS.items():
            assert back[name].dtype == array.dtype
            assert back[name].shape == array.shape
            assert (back[name] == array).all()
            assert (plain[name] == array).all()


def test_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    """No timestamp and no order of the file system gets into the file."""
    for name in ("a.npz", "b.npz"):
        save_sealed_npz(tmp_path / name, ARRAYS)

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Flipping any single byte of the file makes it refused, by name."""
    path = tmp_path / "bank.npz"
    save_sealed_npz(path, {"a": np.arange(3, dtype=np.uint8)})
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(ArtifactError, match=r"bank.npz"):
            load_sealed_npz(path, kind="bank")


@pytest.mark.parametrize("keep", [0, 1, 40, -1])  # empty, a byte, a piece, all but the last byte
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    """A file that was not written to its end is refused, by name."""
    path = tmp_path / "bank.npz"
    save_sealed_npz(path, ARRAYS)
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(ArtifactError, match=r"bank.npz"):
        load_sealed_npz(path, kind="bank")


def test_a_foreign_npz_is_refused(tmp_path: Path) -> None:
    """A file that numpy wrote has no seal; the message says so."""
    np.savez(tmp_path / "x.npz", a=np.zeros(3))

    with pytest.raises(ArtifactError, match="not a bank written by clipfast"):
        load_sealed_npz(tmp_path / "x.npz", kind="bank")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(ArtifactError, match=r"No head at .*h.npz"):
        load_sealed_npz(tmp_path / "h.npz", kind="head")


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    """A sealed file with a compressed member could unpack to any size, so it is refused."""
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"0" * 1_000_000)
        archive.comment = b"clipfast-sha256:" + b"0" * 64
    body = path.read_bytes()[:-64]
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())

    with pytest.raises(ArtifactError, match="stored plainly"):
        load_sealed_npz(path, kind="bank")


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    """A forged shape is noticed before memory is asked for, even where every checksum fits."""
    path = tmp_path / "forged.npz"
    save_sealed_npz(path, {"a": np.zeros((4, 4), np.float32)})
    with zipfile.ZipFile(path) as archive:
        member = archive.read("a.npy")
    forged = member.replace(b"'shape': (4, 4)", b"'shape': (99,9)")
    body = path.read_bytes().replace(member, forged)[:-64]
    body = body.replace(zlib.crc32(member).to_bytes(4, "little"), zlib.crc32(forged).to_bytes(4, "little"))
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())

    with pytest.raises(ArtifactError, match="does not hold the"):
        load_sealed_npz(path, kind="bank")


def test_objects_are_never_stored(tmp_path: Path) -> None:
    """An object array would have to be pickled."""
    with pytest.raises(TypeError, match="plain array"):
        save_sealed_npz(tmp_path / "x.npz", {"a": np.array([object()])})


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """An exception in the middle keeps the old content and leaves no temporary file."""
    path = tmp_path / "f.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_half_way()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]


def test_the_checksum_is_sha256(tmp_path: Path) -> None:
    """The published digest of "abc" (FIPS 180-2)."""
    (tmp_path / "f").write_bytes(b"abc")

    assert sha256_file(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_cache_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`CLIPFAST_CACHE` wins over the platform's folder."""
    monkeypatch.setenv("CLIPFAST_CACHE", str(tmp_path / "c"))

    assert cache_dir() == tmp_path / "c"
