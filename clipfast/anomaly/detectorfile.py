"""The detector file: a sealed .npz of plain arrays and one JSON text; nothing in it is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clipfast import __version__
from clipfast.anomaly.branch_arrays import Arrays, holdout_arrays, read_floats, read_holdout
from clipfast.anomaly.calibration import TextEvidence
from clipfast.anomaly.decision import Decision
from clipfast.anomaly.encoding import ModelIdentity
from clipfast.anomaly.fitting import Fitted, Modes
from clipfast.anomaly.gate import LearnedGate
from clipfast.anomaly.memory import BlockMemory, MemoryBank, Reference
from clipfast.anomaly.options import AnomalyOptions, Kind, MemoryOptions, Pooling, PromptOptions, ScaleMethod
from clipfast.anomaly.rows import Preparation
from clipfast.anomaly.semantic import TextPrompts
from clipfast.artifact import require_fingerprint
from clipfast.errors import ArtifactError, DataError, FingerprintError, ShapeError
from clipfast.storage import load_sealed_npz, require_format, save_sealed_npz
from clipfast.types import PatchEncoder

__all__ = ["read_detector", "require_model", "write_detector"]

FORMAT_VERSION = 1


class _Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    temperature: float
    pooling: Pooling
    texts: tuple[str, ...]
    learned: bool


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    format: int
    created_by: str
    model: ModelIdentity
    class_name: str
    modes: Modes
    memory: MemoryOptions
    prompts: PromptOptions
    size_hw: tuple[int, int]
    sigma: float
    calibration: ScaleMethod
    given_kind: Kind | None
    kind: Kind
    whole_image: bool
    seed: int
    shots_seed: int | None
    references: tuple[Reference, ...]
    blocks: tuple[int, ...]
    evidence: TextEvidence
    texts: _Texts | None
    gate: bool
    decision: Decision | None
    notes: tuple[str, ...]


def write_detector(path: Path, fitted: Fitted, decision: Decision | None) -> None:
    """Write a detector, atomically."""
    options, prompts, gate = fitted.options, fitted.prompts, fitted.options.gate
    meta = _Meta(
        format=FORMAT_VERSION,
        created_by=f"clipfast {__version__}",
        model=fitted.identity,
        class_name=fitted.class_name,
        modes=fitted.modes,
        memory=options.memory,
        prompts=options.prompts,
        size_hw=options.size_hw,
        sigma=options.sigma,
        calibration=options.calibration,
        given_kind=options.kind,
        kind=fitted.kind,
        whole_image=options.whole_image,
        seed=options.seed,
        shots_seed=options.shots_seed,
        references=fitted.bank.references,
        blocks=tuple(fitted.bank.blocks),
        evidence=fitted.evidence,
        texts=None
        if prompts is None
        else _Texts(prompts.temperature, prompts.pooling, prompts.texts, options.learned is not None),
        gate=gate is not None,
        decision=decision,
        notes=fitted.notes,
    )
    arrays: Arrays = {}
    for block, memory in fitted.bank.blocks.items():
        arrays[f"block_{block}_rows"] = memory.rows
        arrays[f"block_{block}_owners"] = memory.owners
        arrays[f"block_{block}_shift"] = memory.preparation.shift
        arrays[f"block_{block}_scale"] = memory.preparation.scale
    if prompts is not None:
        arrays |= {"prompts_normal": prompts.normal, "prompts_abnormal": prompts.abnormal}
    arrays |= holdout_arrays(fitted.holdout)
    if gate is not None:
        arrays |= {"gate_weights": gate.weights, "gate_means": gate.means, "gate_spreads": gate.spreads}
    arrays["meta"] = np.array(msgspec.json.encode(meta).decode())
    save_sealed_npz(path, arrays)


def read_detector(path: Path) -> tuple[Fitted, Decision | None]:
    """Read what `write_detector` wrote; every array is checked again.

    Raises:
        ArtifactError: The file is missing, damaged, of another version, or no detector.
    """
    if not path.is_file():
        raise ArtifactError(f"No detector at {path}. Fit one: clipfast anomaly fit DIR --out {path}")
    arrays = load_sealed_npz(path, kind="detector")
    try:
        text = str(arrays["meta"])
        require_format(text, FORMAT_VERSION, path, remedy="Fit the detector again.")
        meta = msgspec.json.decode(text, type=_Meta)
        return _fitted(meta, arrays), meta.decision
    except KeyError as error:
        raise ArtifactError(f"{path} is not a readable detector: it has no {error}. Fit it again.") from error
    except (msgspec.MsgspecError, ShapeError, DataError) as error:
        raise ArtifactError(f"{path} is not a readable detector: {error} Fit it again.") from error


def require_model(fitted: Fitted, clip: PatchEncoder, *, what: str, accept_precision: bool) -> None:
    """Refuse another model's features: by fingerprint, or of encoders that have none by name.

    Raises:
        ArtifactError: The model runs in another precision.
        FingerprintError: It is another model.
    """
    mine = ModelIdentity.of(clip, fitted.bank.blocks, text=fitted.prompts is not None)
    theirs = fitted.identity
    if not theirs.fingerprints and not mine.fingerprints and theirs.name != mine.name:
        raise FingerprintError(
            f"{what} was made by the encoder {theirs.name}; this one is {mine.name}, and neither has a fingerprint() "
            "that would tell whether they are the same. Use that encoder, or fit again."
        )
    for output in sorted(theirs.fingerprints.keys() | mine.fingerprints.keys()):
        require_fingerprint(theirs.fingerprints.get(output, "none"), mine.fingerprints.get(output, "none"), what=what)
    if mine.precision != theirs.precision and not accept_precision:
        raise ArtifactError(
            f"{what} was fitted with precision {theirs.precision}; this model runs {mine.precision}. Load the model "
            f"with {theirs.precision}, fit again, or accept the difference (accept_precision=True, --accept-precision)."
        )


def _fitted(meta: _Meta, arrays: Arrays) -> Fitted:
    bank = MemoryBank(
        {block: _block(arrays, block, meta) for block in meta.blocks}, meta.references, meta.memory, seed=meta.seed
    )
    prompts = None
    if meta.texts is not None:
        prompts = TextPrompts(
            read_floats(arrays, "prompts_normal", 2),
            read_floats(arrays, "prompts_abnormal", 2),
            meta.texts.temperature,
            meta.texts.pooling,
            meta.texts.texts,
        )
    options = AnomalyOptions(
        memory=meta.memory,
        prompts=meta.prompts,
        size_hw=meta.size_hw,
        sigma=meta.sigma,
        calibration=meta.calibration,
        kind=meta.given_kind,
        whole_image=meta.whole_image,
        seed=meta.seed,
        shots_seed=meta.shots_seed,
    )
    if meta.texts is not None and meta.texts.learned:
        options = replace(options, learned=prompts)
    if meta.gate:
        options = replace(options, gate=_gate(arrays))
    holdout = read_holdout(arrays, semantic=prompts is not None)
    return Fitted(
        bank,
        prompts,
        holdout,
        meta.evidence,
        meta.kind,
        meta.modes,
        meta.class_name,
        meta.model,
        options,
        meta.notes,
    )


def _block(arrays: Mapping[str, NDArray[Any]], block: int, meta: _Meta) -> BlockMemory:
    rows = read_floats(arrays, f"block_{block}_rows", 2)
    owners = arrays[f"block_{block}_owners"]
    shift, scale = read_floats(arrays, f"block_{block}_shift", 1), read_floats(arrays, f"block_{block}_scale", 1)
    if not rows.size or shift.shape != rows.shape[1:] or scale.shape != rows.shape[1:]:
        raise ShapeError(f"block {block} has rows {rows.shape}, shift {shift.shape} and scale {scale.shape}.")
    known = range(len(meta.references))
    if owners.shape != rows.shape[:1] or owners.dtype != np.int64 or not np.isin(owners, known).all():
        raise ShapeError(f"block {block} must name the reference of each row.")
    return BlockMemory(rows, owners, Preparation(shift, scale, unit=meta.memory.rows != "raw"))


def _gate(arrays: Mapping[str, NDArray[Any]]) -> LearnedGate:
    weights, means, spreads = (arrays[f"gate_{name}"] for name in ("weights", "means", "spreads"))
    if weights.shape != (5,) or means.shape != (4,) or spreads.shape != (4,):
        raise ShapeError("the gate must have five weights and four signals.")
    return LearnedGate(weights, means, spreads)
