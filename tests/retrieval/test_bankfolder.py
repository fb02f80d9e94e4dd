"""The bank as a folder: what it holds, that it is mapped, and that damage is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from clipfast.errors import ArtifactError
from clipfast.retrieval import BankModel, FabricBank, References, bankfile
from clipfast.retrieval.bankfolder import META_NAME, read_bank_folder
from clipfast.storage import load_sealed_npz, save_sealed_npz
from clipfast.types import Floats

MODEL = BankModel("a" * 64, "fp32", "none")


def make_bank(rows: int = 300, dim: int = 40, seed: int = 0) -> FabricBank:
    """Return a bank of a few fabrics, one with a Chinese name."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((rows, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fabrics = [("cotton", "silk", "羊毛")[i] for i in rng.integers(0, 3, rows)]
    paths = [f"{fabric}/{i:04}.jpg" for i, fabric in enumerate(fabrics)]
    return FabricBank(References(vectors, fabrics, paths, [f"{i:064x}" for i in range(rows)]), MODEL)


def same(one: FabricBank, other: FabricBank, query: Floats) -> bool:
    """Whether two banks hold the same and answer alike."""
    a, b = one.references, other.references
    assert (a.embeddings == b.embeddings).all()
    assert (a.fabrics, a.paths, a.sha256, a.names) == (b.fabrics, b.paths, b.sha256, b.names)
    assert (a.centroids == b.centroids).all()
    assert one.search(query, 9) == other.search(query, 9)
    return one.rank(query, 3, "centroid") == other.rank(query, 3, "centroid")


def test_a_folder_holds_what_a_file_holds(tmp_path: Path) -> None:
    """Both layouts give the same bank, and equal banks give equal bytes."""
    bank = make_bank()
    query = bank.references.embeddings[5]
    assert bank.save(tmp_path / "bank.npz") == tmp_path / "bank.npz"
    assert bank.save(tmp_path / "bank") == tmp_path / "bank"
    assert same(FabricBank.load(tmp_path / "bank.npz"), bank, query)
    opened = FabricBank.load(tmp_path / "bank", verify=True)
    assert same(opened, bank, query)
    assert opened.model == MODEL
    opened.save(tmp_path / "again")
    for file in sorted((tmp_path / "bank").iterdir()):
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
    assert (np.load(tmp_path / "bank" / "vectors.npy") == bank.references.embeddings).all()


def test_vectors_are_mapped_and_read_only(tmp_path: Path) -> None:
    """No copy in memory, and no way to write; what is added is in memory, and saved over the folder itself."""
    bank = make_bank()
    bank.save(tmp_path / "bank")
    for file in (tmp_path / "bank").iterdir():
        file.chmod(0o444)
    opened = FabricBank.load(tmp_path / "bank")
    base = opened.references.embeddings
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        opened.references.embeddings[0] = 0
    gone = opened.references.paths[0]
    opened.remove(gone)
    opened.save(tmp_path / "bank")
    assert len(FabricBank.load(tmp_path / "bank", verify=True)) == len(bank) - 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank"]  # nothing is left beside it


def test_a_large_bank_becomes_a_folder_found_under_either_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller file of that name goes; a small bank saved there later is found first."""
    small, large = make_bank(20), make_bank(60, seed=1)
    small.save(tmp_path / "bank.npz")
    monkeypatch.setattr(bankfile, "FOLDER_FROM", 50)
    assert large.save(tmp_path / "bank.npz") == tmp_path / "bank"
    assert not (tmp_path / "bank.npz").exists()
    assert [len(FabricBank.load(tmp_path / name)) for name in ("bank.npz", "bank")] == [60, 60]
    assert small.save(tmp_path / "bank.npz") == tmp_path / "bank.npz"
    assert len(FabricBank.load(tmp_path / "bank.npz")) == 20


def damage(folder: Path, kind: str) -> None:
    """Do one thing that disks, copies and people do."""
    vectors = folder / "vectors.npy"
    if kind == "torn":
        os.truncate(vectors, vectors.stat().st_size - 100)
    elif kind == "missing":
        (folder / "codes.npy").unlink()
    elif kind == "foreign":
        size = vectors.stat().st_size
        vectors.write_bytes(b"x" * size)
    elif kind == "header":
        data = vectors.read_bytes()
        vectors.write_bytes(data.replace(b"(300, 40), ", b"(40, 300), "))
    elif kind == "meta":
        meta = folder / META_NAME
        meta.write_text(meta.read_text().replace('"precision": "fp32"', '"precision": "int8"'))
    elif kind == "half meta":
        meta = folder / META_NAME
        meta.write_bytes(meta.read_bytes()[:100])
    elif kind == "version":
        meta = folder / META_NAME
        meta.write_text(meta.read_text().replace('"format": 1', '"format": 9'))
    elif kind == "no meta":
        (folder / META_NAME).unlink()
    elif kind == "huge meta":
        (folder / META_NAME).write_bytes(b" " * (2 << 20))
    elif kind == "names":
        arrays = load_sealed_npz(folder / "ids.npz", kind="list")
        save_sealed_npz(folder / "ids.npz", {**arrays, "counts": arrays["counts"][::-1].copy()})
    else:
        raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("torn", r"vectors\.npy must be 48,128 bytes; it is 48,028"),
        ("missing", r"codes\.npy is missing"),
        ("foreign", r"vectors\.npy is no \.npy file"),
        ("header", r"vectors\.npy must hold \(300, 40\)"),
        ("meta", "seal does not match"),
        ("half meta", "not a readable bank"),
        ("version", "format 9"),
        ("no meta", "holds no bank"),
        ("huge meta", "describes no bank"),
        ("names", r"ids\.npz was changed"),
    ],
)
def test_what_is_damaged_is_refused_in_one_sentence(tmp_path: Path, kind: str, message: str) -> None:
    """Without hashing the vectors."""
    make_bank().save(tmp_path / "bank")
    damage(tmp_path / "bank", kind)
    with pytest.raises(ArtifactError, match=message) as caught:
        FabricBank.load(tmp_path / "bank")
    assert "\n" not in str(caught.value)


def test_a_changed_digit_is_found_when_it_is_looked_for(tmp_path: Path) -> None:
    """Opening does not read the vectors; verifying does."""
    make_bank().save(tmp_path / "bank")
    with (tmp_path / "bank" / "vectors.npy").open("rb+") as file:
        file.seek(1000)
        file.write(b"\xff\xff\xff\xff")
    assert len(FabricBank.load(tmp_path / "bank")) == 300
    with pytest.raises(ArtifactError, match=r"vectors\.npy was changed after it was written"):
        FabricBank.load(tmp_path / "bank", verify=True)


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    """Neither somebody's photos; an empty folder is taken."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"precious")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="holds something that is no bank"):
        make_bank(9).save(tmp_path / "photos")
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"precious"
    make_bank(9).save(tmp_path / "empty")
    assert len(FabricBank.load(tmp_path / "empty")) == 9


def test_a_reader_never_meets_half_a_bank(tmp_path: Path) -> None:
    """While one thread saves two banks over each other, everything that is opened is one of them, whole."""
    banks = [make_bank(120, seed=0), make_bank(120, seed=1)]
    firsts = {float(bank.references.embeddings[0, 0]): bank.references.paths for bank in banks}
    banks[0].save(tmp_path / "bank")
    done = threading.Event()

    def save() -> None:
        for turn in range(25):
            banks[turn % 2].save(tmp_path / "bank")
        done.set()

    writer = threading.Thread(target=save)
    writer.start()
    opened = 0
    missed: set[str] = set()
    while not done.is_set() or opened == 0:
        try:
            references, _ = read_bank_folder(tmp_path / "bank")
        except ArtifactError as error:  # each time, for as long as it is tried
            missed.add(str(error))
            continue
        assert references.paths == firsts[float(references.embeddings[0, 0])]
        opened += 1
    writer.join()
    assert all("replaced again and again" in text or "broken off" in text for text in missed)


def test_a_save_that_was_broken_off_says_where_the_bank_is(tmp_path: Path) -> None:
    """Killed between the two renames: nothing is lost, and the message names the folder."""
    make_bank(30).save(tmp_path / "bank")
    (tmp_path / "bank").rename(tmp_path / ".bank.x1y2.old")
    with pytest.raises(ArtifactError, match=r"a save was broken off\. The bank is in .*\.bank\.x1y2\.old; rename it"):
        FabricBank.load(tmp_path / "bank")
    (tmp_path / ".bank.x1y2.old").rename(tmp_path / "bank")
    assert len(FabricBank.load(tmp_path / "bank", verify=True)) == 30


READ = """
import sys
from clipfast.retrieval import FabricBank
bank = FabricBank.load(sys.argv[1])
print([n.path for n in bank.search(bank.references.embeddings[11], 4)])
"""


def test_two_processes_read_one_folder(tmp_path: Path) -> None:
    """Even when the folder is gone before they ask: what is mapped stays."""
    bank = make_bank()
    bank.save(tmp_path / "bank")
    here = FabricBank.load(tmp_path / "bank")
    readers = [
        subprocess.Popen([sys.executable, "-c", READ, str(tmp_path / "bank")], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [reader.communicate()[0].strip() for reader in readers]
    shutil.rmtree(tmp_path / "bank")
    expected = str([n.path for n in bank.search(bank.references.embeddings[11], 4)])
    assert answers == [expected, expected]
    assert str([n.path for n in here.search(bank.references.embeddings[11], 4)]) == expected
