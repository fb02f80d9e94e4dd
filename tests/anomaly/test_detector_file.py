"""Tests of clipfast.anomaly.detectorfile with a stand-in for the model."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.anomaly import AnomalyDetector, AnomalyOptions, LearnedGate, MemoryOptions, PromptOptions, TextPrompts
from clipfast.errors import ArtifactError, FingerprintError
from clipfast.storage import load_sealed_npz, save_sealed_npz
from reference.anomaly_stubs import JointStub
from reference.detector_cases import BAD, SMALL, fit


@pytest.mark.parametrize(
    "options",
    [
        SMALL,
        replace(SMALL, memory=MemoryOptions(rows="centred", metric="euclidean", coreset=0.5, blocks=(5,))),
        replace(SMALL, calibration="robust_z", prompts=PromptOptions(pooling="best", temperature=0.1), kind="logical"),
        replace(SMALL, gate=LearnedGate(np.arange(5.0), np.zeros(4), np.ones(4)), shots_seed=7),
        replace(SMALL, learned=TextPrompts(np.eye(3, dtype=np.float32)[:1], np.eye(3, dtype=np.float32)[1:], 0.3)),
    ],
)
@pytest.mark.parametrize("mode", ["auto", "memory_only"])
def test_a_saved_detector_is_the_same(options: AnomalyOptions, mode: str, tmp_path: Path) -> None:
    """Scores, thresholds, notes and the file itself, when it is saved again."""
    detector = fit(image_mode=mode, options=options)
    detector.threshold(0.05)
    detector.save(tmp_path / "det.npz")
    loaded = AnomalyDetector.load(tmp_path / "det.npz", JointStub())
    loaded.save(tmp_path / "again.npz")
    one, other = detector.score(BAD), loaded.score(BAD)

    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.pixel, other.pixel)
    assert (loaded.decision, loaded.notes, loaded.manifest) == (detector.decision, detector.notes, detector.manifest)
    assert (tmp_path / "det.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    with np.load(tmp_path / "det.npz", allow_pickle=False) as arrays:
        assert {"meta", "block_5_rows", "block_5_owners", "holdout_memory_pixel"} <= set(arrays)


def test_another_models_detector_is_refused(tmp_path: Path) -> None:
    """By fingerprint; another precision must be accepted by name."""
    path = tmp_path / "det.npz"
    fit().save(path)

    class Other(JointStub):
        name = "other"

    class Half(JointStub):
        precision = "fp16"

    with pytest.raises(FingerprintError, match="made by another model"):
        AnomalyDetector.load(path, Other())
    with pytest.raises(ArtifactError, match="fitted with precision fp32; this model runs fp16"):
        AnomalyDetector.load(path, Half())
    assert len(AnomalyDetector.load(path, Half(), accept_precision=True).score(BAD)) == 3


def test_encoders_without_fingerprints_are_told_apart_by_name(tmp_path: Path) -> None:
    """Channels that fit prove nothing."""
    plain = type("Plain", (JointStub,), {"fingerprint": None, "name": "plain"})
    other = type("Other", (plain,), {"name": "other"})
    fit(plain()).save(tmp_path / "det.npz")

    assert len(AnomalyDetector.load(tmp_path / "det.npz", plain()).score(BAD)) == 3
    with pytest.raises(FingerprintError, match="made by the encoder plain; this one is other"):
        AnomalyDetector.load(tmp_path / "det.npz", other())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("block_2_rows"), "has no 'block_2_rows'"),
        (lambda a: a.update(block_2_rows=a["block_2_rows"][:, :2]), "block 2 has rows"),
        (lambda a: a.update(block_2_rows=a["block_2_rows"] * np.float32(np.nan)), "must be finite"),
        (lambda a: a.update(block_2_owners=a["block_2_owners"] + 99), "must name the reference"),
        (lambda a: a.update(holdout_owners=a["holdout_owners"][1:]), "do not fit together"),
        (lambda a: a.update(meta=np.array('{"format": 9}')), "has format 9; this clipfast reads format 1"),
        (lambda a: a.update(meta=np.array('{"format": 1}')), "not a readable detector"),
        (lambda a: a.update(meta=np.array(str(a["meta"]).replace('"cosine"', '"l1"'))), "not a readable detector"),
        (lambda a: a.update(meta=np.array(str(a["meta"]).replace('"image":"auto"', '"image":"oracle"'))), "oracle"),
    ],
)
def test_damaged_files_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    """Each with its reason; arrays and options are checked again."""
    path = tmp_path / "det.npz"
    fit().save(path)
    arrays = load_sealed_npz(path, kind="detector")
    change(arrays)
    save_sealed_npz(path, arrays)

    with pytest.raises(ArtifactError, match=message):
        AnomalyDetector.load(path, JointStub())


def test_files_that_are_no_detector_are_refused(tmp_path: Path) -> None:
    """Missing, changed after it was written, or something else."""
    path = tmp_path / "det.npz"
    with pytest.raises(ArtifactError, match="clipfast anomaly fit DIR --out"):
        AnomalyDetector.load(path, JointStub())
    fit().save(path)
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="checksum"):
        AnomalyDetector.load(path, JointStub())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"")
    with pytest.raises(ArtifactError, match="not a detector"):
        AnomalyDetector.load(path, JointStub())
