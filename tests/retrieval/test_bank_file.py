"""The bank's file: equal banks are equal bytes, and whatever was changed is refused."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from clipfast.errors import ArtifactError, FingerprintError
from clipfast.retrieval import BankModel, FabricBank
from clipfast.storage import load_sealed_npz, save_sealed_npz
from reference.painted_bank import ColourEncoder, painted_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return three fabrics of three photos."""
    return painted_folder(tmp_path)


@pytest.fixture
def bank(folder: Path) -> FabricBank:
    """Return the bank of the folder."""
    return FabricBank.build(ColourEncoder(), folder)


def test_file_round_trip_is_equal_and_reproducible(bank: FabricBank, folder: Path, tmp_path: Path) -> None:
    """A loaded bank has the same content and saves equal bytes; numpy alone reads it; it holds no machine path."""
    bank.save(tmp_path / "a.npz")
    again = FabricBank.load(tmp_path / "a.npz", clip=ColourEncoder())
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert bank.model == again.model == BankModel("a" * 64, "fp32", "colour")
    assert again.report is None
    path = folder / "silk" / "ref_1.PNG"
    assert bank.rank(path) == again.rank(path)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["embeddings", "fabric_ids", "meta", "paths", "sha256"]
        meta = msgspec.json.decode(str(arrays["meta"]))
    assert sorted(meta) == ["created_by", "fingerprint", "format", "model", "precision"]
    assert str(tmp_path).encode("utf-32-le") not in (tmp_path / "a.npz").read_bytes()


@pytest.mark.parametrize("place", [0.0, 0.05, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
def test_changed_byte_is_refused(bank: FabricBank, tmp_path: Path, place: float) -> None:
    """One changed byte anywhere is noticed, and the message names the file."""
    path = tmp_path / "bank.npz"
    bank.save(path)
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"bank\.npz"):
        FabricBank.load(path)


def test_truncated_and_foreign_files_are_refused(bank: FabricBank, tmp_path: Path) -> None:
    """Half a bank, an empty file and another program's .npz are refused by name."""
    path = tmp_path / "bank.npz"
    bank.save(path)
    half = path.read_bytes()[: path.stat().st_size // 2]
    np.savez(tmp_path / "foreign.npz", embeddings=np.eye(3))
    for data in (half, b"", (tmp_path / "foreign.npz").read_bytes()):
        path.write_bytes(data)
        with pytest.raises(ArtifactError, match=r"bank\.npz"):
            FabricBank.load(path)


def test_missing_bank_says_how_to_build_it(tmp_path: Path) -> None:
    """A bank that is not there is an error with the command that builds it."""
    with pytest.raises(ArtifactError, match="clipfast bank build data/fabrics"):
        FabricBank.load(tmp_path / "none.npz")


def test_other_fingerprint_is_refused_naming_both(bank: FabricBank, tmp_path: Path) -> None:
    """A bank of another model is refused, naming both fingerprints."""
    bank.save(tmp_path / "bank.npz")
    with pytest.raises(FingerprintError, match=r"bank\.npz.*aaaaaaaa.*bbbbbbbb"):
        FabricBank.load(tmp_path / "bank.npz", clip=ColourEncoder("b" * 64))


def test_other_precision_is_refused_unless_accepted(bank: FabricBank, tmp_path: Path) -> None:
    """A bank of another precision is refused, naming both, unless the caller accepts it."""
    bank.save(tmp_path / "bank.npz")
    with pytest.raises(ArtifactError, match=r"precision fp32; this model runs int8.*accept"):
        FabricBank.load(tmp_path / "bank.npz", clip=ColourEncoder(precision="int8"))
    assert len(FabricBank.load(tmp_path / "bank.npz", ColourEncoder(precision="int8"), accept_precision=True)) == 9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"embeddings": np.full((9, 4), np.nan, np.float32)}, "finite"),
        ({"embeddings": np.ones((9, 4), np.float32)}, "unit rows"),
        ({"embeddings": np.full((9, 4), 0.5)}, "float32"),
        ({"embeddings": np.full((8, 4), 0.5, np.float32)}, "one length"),
        ({"embeddings": np.zeros((9, 0), np.float32)}, "unit rows"),
        ({"embeddings": np.zeros(9, np.float32)}, "must be"),
        ({"fabric_ids": np.arange(9)}, "fabric_ids must be one row of texts"),
        ({"fabric_ids": np.array([""] * 9)}, "empty text"),
        ({"paths": np.array(["a/b"] * 9)}, "'a/b' comes twice"),
        ({"sha256": np.array(["zz"] * 9)}, "not a readable bank"),
        ({"meta": np.array('{"format": 2}')}, "format 2; this clipfast reads format 1. Update"),
        ({"meta": np.array('{"format": 1}')}, "missing required field"),
        ({"meta": np.arange(3)}, "not a readable bank"),
        ({"paths": None}, "has no paths"),
    ],
)
def test_sealed_file_with_wrong_content_is_refused(
    bank: FabricBank, tmp_path: Path, changed: dict[str, np.ndarray | None], message: str
) -> None:
    """A file that is sealed but holds something else is an ArtifactError that names it."""
    path = tmp_path / "bank.npz"
    bank.save(path)
    arrays = {**load_sealed_npz(path, kind="bank"), **changed}
    save_sealed_npz(path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ArtifactError, match=rf"bank\.npz.*{message}"):
        FabricBank.load(path)


def test_embeddings_of_a_bank_cannot_be_changed(bank: FabricBank) -> None:
    """A bank's rows are read-only, so no caller can spoil them."""
    with pytest.raises(ValueError, match="read-only"):
        bank.references.embeddings[0, 0] = 1


def test_import_loads_no_heavy_library() -> None:
    """Importing retrieval loads neither FAISS nor ONNX Runtime nor Numba."""
    code = (
        "import sys, clipfast.retrieval as r; sys.exit(any(m in sys.modules for m in ('faiss','onnxruntime','numba')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
