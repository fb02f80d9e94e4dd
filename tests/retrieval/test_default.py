"""Tests of clipfast.retrieval.default."""

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from clipfast.errors import ArtifactError
from clipfast.retrieval import BankModel, FabricBank, References, rank_by_retrieval
from clipfast.retrieval import default as default_module
from clipfast.types import Floats, Images


class FakeClip:
    """Gives every image the first axis, and counts how often a model was loaded."""

    loaded = 0
    precision = "fp32"
    name = "fake"

    def warm_up(self, graphs: list[str]) -> None:
        pass

    @classmethod
    def load(cls, model: str | None = None) -> "FakeClip":
        FakeClip.loaded += 1
        time.sleep(0.02)  # long enough for two threads to meet
        return cls()

    def fingerprint(self, output: str = "embedding") -> str:
        return "a" * 64

    def encode_images(self, images: Images) -> Floats:
        return np.eye(3, dtype=np.float32)[:1]


@pytest.fixture(autouse=True)
def fake_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Replace the model, forget what was loaded, and stand in an empty folder without settings."""
    monkeypatch.setattr("clipfast.runtime.clip.Clip", FakeClip)
    monkeypatch.setattr(FakeClip, "loaded", 0)
    monkeypatch.setattr(default_module, "_loaded", {})
    monkeypatch.delenv("CLIPFAST_BANK", raising=False)
    monkeypatch.delenv("CLIPFAST_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)


def save_bank(path: Path, *fabrics: str, fingerprint: str = "a" * 64) -> None:
    """Write a bank of one photo for each fabric, the first nearest to FakeClip's answer."""
    rows = np.eye(3, dtype=np.float32)[: len(fabrics)]
    references = References(rows, fabrics, [f"{fabric}/a.jpg" for fabric in fabrics], ["0" * 64] * len(fabrics))
    FabricBank(references, BankModel(fingerprint, "fp32", "fake")).save(path)


def test_default_bank_answers_and_is_loaded_once() -> None:
    """The owner's path is the default, and later calls load neither model nor bank."""
    save_bank(Path("data/fabric_bank.npz"), "silk", "cotton", "wool")
    first = rank_by_retrieval("any.jpg")
    assert [r.id for r in first] == ["silk", "cotton", "wool"]
    Path("data/fabric_bank.npz").unlink()
    assert first[:2] == rank_by_retrieval("any.jpg", topk=2)
    assert FakeClip.loaded == 1


def test_a_replaced_bank_is_taken_up() -> None:
    """With the same model; what replaces it must be a bank, which is said at every call until it is."""
    path = Path("data/fabric_bank.npz")
    save_bank(path, "silk", "cotton")
    rank_by_retrieval("any.jpg")
    save_bank(path, "linen", "cotton", "wool")
    assert [r.id for r in rank_by_retrieval("any.jpg")] == ["linen", "cotton", "wool"]
    path.write_bytes(b"no bank")
    for _ in range(2):
        with pytest.raises(ArtifactError):
            rank_by_retrieval("any.jpg")
    save_bank(path, "felt")
    assert [r.id for r in rank_by_retrieval("any.jpg")] == ["felt"]
    assert FakeClip.loaded == 1


def test_a_bank_folder_is_taken_up_like_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under its own name or that of the file it stands for; what replaces it is read, one that is gone stays in use."""
    for name in ("bank", "bank.npz"):
        monkeypatch.setenv("CLIPFAST_BANK", str(tmp_path / name))
        save_bank(tmp_path / "bank", "silk", "cotton")
        assert [r.id for r in rank_by_retrieval("any.jpg")] == ["silk", "cotton"]
        save_bank(tmp_path / "bank", "linen", "wool")
        assert [r.id for r in rank_by_retrieval("any.jpg")] == ["linen", "wool"]
    shutil.rmtree(tmp_path / "bank")
    assert [r.id for r in rank_by_retrieval("any.jpg")] == ["linen", "wool"]


def test_settings_name_another_bank(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CLIPFAST_BANK is followed, also when it changes while the program runs."""
    save_bank(tmp_path / "a.npz", "silk")
    save_bank(tmp_path / "b.npz", "wool")
    for name, fabric in (("a", "silk"), ("b", "wool"), ("b", "wool")):
        monkeypatch.setenv("CLIPFAST_BANK", str(tmp_path / f"{name}.npz"))
        assert [fabric] == [r["id"] for r in rank_by_retrieval("any.jpg")]
    assert FakeClip.loaded == 2


def test_threads_load_once(tmp_path: Path) -> None:
    """Four threads that ask at once share one model."""
    save_bank(Path("data/fabric_bank.npz"), "silk")
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(rank_by_retrieval("x")[0].id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers, FakeClip.loaded) == (["silk"] * 4, 1)


def test_missing_bank_says_how_to_build_it_and_loads_no_model() -> None:
    """Without a bank the error is the command, before any model is opened."""
    with pytest.raises(ArtifactError, match=r"No bank at data.fabric_bank\.npz.*clipfast bank build data/fabrics"):
        rank_by_retrieval("any.jpg")
    assert FakeClip.loaded == 0


def test_bank_of_another_model_is_refused_every_time() -> None:
    """A bank of another model is an error, and nothing half-loaded is kept."""
    save_bank(Path("data/fabric_bank.npz"), "silk", fingerprint="b" * 64)
    for _ in range(2):
        with pytest.raises(ArtifactError, match="another model"):
            rank_by_retrieval("any.jpg")
