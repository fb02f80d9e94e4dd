"""Tests of clipfast.retrieval.legacy: the owner's older file, and everything that it might be instead."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.errors import ArtifactError, ClipfastError, DataError
from clipfast.retrieval import BankModel, FabricBank, check_references, import_vectors
from clipfast.retrieval import legacy as legacy_module
from clipfast.retrieval.references import NO_PHOTO
from clipfast.types import Floats

MODEL = BankModel("c" * 64, "fp32", "owner's")


def unit(count: int, seed: int = 0, dim: int = 8) -> Floats:
    """Draw unit rows."""
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    """Return the header of an array."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    """Write a zip file of any content."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<f2", ">f4"])
def test_an_old_file_becomes_a_bank(tmp_path: Path, save: Any, dtype: str) -> None:
    """Names, Chinese ones too, are fabrics; rows keep their order; the bank is saved, loaded and searched."""
    arrays = {"silk": unit(12, 1), "羊毛": unit(3, 2), "棉 01": np.asfortranarray(unit(2, 3))}
    save(tmp_path / "old.npz", **{name: rows.astype(dtype) for name, rows in arrays.items()})
    found = import_vectors(tmp_path / "old.npz", MODEL, dim=8)
    found.bank.save(tmp_path / "bank.npz")
    bank = FabricBank.load(tmp_path / "bank.npz")
    assert bank.fabrics == {"silk": 12, "棉 01": 2, "羊毛": 3}
    assert (found.empty, found.rescaled, bank.model) == ((), {}, MODEL)
    assert bank.references.paths[:2] == ("silk/imported_001", "silk/imported_002")
    assert bank.references.paths == bank.references.imported
    assert set(bank.references.sha256) == {NO_PHOTO}
    rows = np.concatenate([arrays[name] for name in bank.references.names])
    np.testing.assert_allclose(bank.references.embeddings, rows, atol=1e-3 if dtype == "<f2" else 1e-6)
    best = bank.search(arrays["羊毛"][1], 1)[0]
    assert (best.path, best.fabric) == ("羊毛/imported_002", "羊毛")


def test_more_than_999_rows_keep_their_order(tmp_path: Path) -> None:
    """Numbers are as wide as the last one, so that names sort as rows do."""
    rows = unit(1203)
    np.savez(tmp_path / "old.npz", silk=rows)
    bank = import_vectors(tmp_path / "old.npz", MODEL, dim=8).bank
    assert bank.references.paths[0] == "silk/imported_0001"
    np.testing.assert_allclose(bank.references.embeddings, rows, atol=1e-6)


def test_rows_are_made_unit_and_empty_fabrics_named(tmp_path: Path) -> None:
    """Rows of another length are scaled and told with the length farthest from 1; a fabric without rows is left out."""
    scaled = unit(3) * np.array([[1], [2.5], [0.5]], np.float32)
    np.savez(tmp_path / "old.npz", silk=scaled, wool=unit(2) * np.float32(1.0001), none=unit(0))
    found = import_vectors(tmp_path / "old.npz", MODEL, dim=8)
    assert (list(found.rescaled), found.empty) == (["silk"], ("none",))
    assert found.rescaled["silk"] == pytest.approx(2.5)
    np.testing.assert_allclose(found.bank.references.embeddings[:3], unit(3), atol=1e-6)


def test_check_says_what_is_impossible(tmp_path: Path) -> None:
    """The report of an imported bank names what cannot be checked, and finds equal vectors."""
    np.savez(tmp_path / "old.npz", silk=np.repeat(unit(1), 2, axis=0), wool=unit(3, 4))
    check = check_references(import_vectors(tmp_path / "old.npz", MODEL, dim=8).bank.references, MODEL)
    assert "5 of 5 rows were imported as vectors without a photo" in check.unchecked[1]
    assert ("equal", "silk/imported_002") in {(problem.kind, problem.path) for problem in check.problems}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"silk": np.array([object()])}, "'silk' holds Python objects, which are pickled"),
        ({"silk": np.array([[1.0, "x"]], dtype=object)}, "never read"),
        ({"silk": np.zeros((2, 7), np.float32)}, r"must be floats \(r, 8\).*got float32 \(2, 7\).*--model"),
        ({"silk": np.zeros(8, np.float32)}, r"got float32 \(8,\)"),
        ({"silk": np.zeros((1, 1, 8), np.float32)}, "must be floats"),
        ({"silk": np.zeros((2, 8), np.int64)}, "got int64"),
        ({"silk": np.array([["a"] * 8])}, "must be floats"),
        ({"silk": np.zeros((2, 8), np.complex64)}, "got complex64"),
        ({"silk": np.zeros((2, 8), np.longdouble)}, "must be floats"),
        ({"silk": np.zeros((1, 8), np.float32)}, "row 0 of 'silk' must have a direction; its length is 0"),
        ({"silk": np.vstack([unit(1), np.full((1, 8), np.nan)])}, "row 1 of 'silk' .* nan"),
        ({"silk": np.full((1, 8), np.inf)}, "length is inf"),
        ({"silk": np.full((1, 8), 1e300)}, "length is inf"),
        ({"a/b": unit(1)}, "must be a folder name"),
        ({".hidden": unit(1)}, "must be a folder name"),
        ({"silk": unit(0)}, r"holds no row. An old bank has one array \(r, 8\)"),
        ({}, "holds no row"),
        ({"é": unit(1), "e\u0301": unit(1)}, "holds 'é' twice"),
        ({name: np.zeros(1) for name in ("embeddings", "fabric_ids", "paths", "sha256", "meta")}, "needs no import"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    """What is not one float array (r, 8) a fabric is an error that names file, array and reason."""
    np.savez(tmp_path / "old.npz", **arrays)
    with pytest.raises(ClipfastError, match=message):
        import_vectors(tmp_path / "old.npz", MODEL, dim=8)


class Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """A pickle, by its name or by its first byte, and a pickled array are refused without being run."""
    trap = Trap(tmp_path / "sprung")
    (tmp_path / "old.pkl").write_bytes(pickle.dumps(trap))
    (tmp_path / "old.npz").write_bytes(pickle.dumps(trap))
    np.savez(tmp_path / "inside.npz", silk=np.array([trap], dtype=object))
    for name, message in (("old.pkl", "is a pickle"), ("old.npz", "is a pickle"), ("inside.npz", "Python objects")):
        with pytest.raises(ArtifactError, match=message) as caught:
            import_vectors(tmp_path / name, MODEL, dim=8)
        assert str(caught.value).count(". ") == 0  # one sentence
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"silk.npy": header((10**12, 8))}, "does not hold the"),  # promises terabytes
        ({"silk.npy": header((2, 8)) + bytes(63)}, "does not hold the"),
        ({"silk.npy": header((2, 8)) + bytes(65)}, "does not hold the"),
        ({"silk.npy": b"\x93NUMPY\x02\x00" + bytes(20)}, r"version \(2, 0\)"),
        ({"silk.npy": b"no array"}, "not a readable .npz"),
        ({"silk.npy": b""}, "not a readable .npz"),
        ({"silk.npy": header((1, 8)).replace(b"'<f4'", b"exec()")}, "not a readable .npz"),
        ({"notes.txt": b"hello"}, "'notes.txt', which is no array"),
        ({"silk.npy": header((1, -8))}, "must be floats"),
    ],
)
def test_headers_are_not_believed(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    """A header that lies, or is none, is refused before anything is allocated."""
    with pytest.raises(ArtifactError, match=message):
        import_vectors(zipped(tmp_path / "old.npz", members), MODEL, dim=8)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes, packed or unpacked, or more arrays than an old bank may have are refused."""
    np.savez_compressed(tmp_path / "packed.npz", silk=np.zeros((2000, 8), np.float32))
    np.savez(tmp_path / "plain.npz", silk=unit(2000))
    monkeypatch.setattr(legacy_module, "MAX_BYTES", 9000)
    with pytest.raises(ArtifactError, match="promises 64,128 bytes in 1 arrays"):
        import_vectors(tmp_path / "packed.npz", MODEL, dim=8)
    with pytest.raises(ArtifactError, match="an old bank may have 9,000 at most"):
        import_vectors(tmp_path / "plain.npz", MODEL, dim=8)
    monkeypatch.setattr(legacy_module, "_MAX_FABRICS", 1)
    np.savez(tmp_path / "two.npz", silk=unit(1), wool=unit(1))
    with pytest.raises(ArtifactError, match="2 arrays"):
        import_vectors(tmp_path / "two.npz", MODEL, dim=8)


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    """Half a file, a flipped byte, no zip, an empty file and no file are errors that name it."""
    np.savez(tmp_path / "good.npz", silk=unit(9))
    data = (tmp_path / "good.npz").read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for wrong in (data[: len(data) // 2], bytes(flipped), b"hello, I am text", b""):
        (tmp_path / "old.npz").write_bytes(wrong)
        with pytest.raises(ArtifactError, match=r"old\.npz"):
            import_vectors(tmp_path / "old.npz", MODEL, dim=8)
    for missing in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(ArtifactError, match="No file at"):
            import_vectors(missing, MODEL, dim=8)


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    """A zip file may hold a name twice; a bank may not."""
    np.save(tmp_path / "a.npy", unit(1))
    with zipfile.ZipFile(tmp_path / "old.npz", "w") as archive:
        archive.write(tmp_path / "a.npy", "silk.npy")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.write(tmp_path / "a.npy", "silk.npy")
    with pytest.raises(ArtifactError, match="holds 'silk' twice"):
        import_vectors(tmp_path / "old.npz", MODEL, dim=8)


def test_fabric_names_are_checked_as_those_of_folders(tmp_path: Path) -> None:
    """A name that no folder could have is a DataError, as it is when photos are added."""
    arrays: dict[str, Any] = {"棉/麻": unit(1)}
    np.savez(tmp_path / "old.npz", **arrays)
    with pytest.raises(DataError, match="must be a folder name"):
        import_vectors(tmp_path / "old.npz", MODEL, dim=8)
