"""How a detector comes about: the support in, everything that scoring needs out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from clipfast.anomaly.calibration import MOST_PIXELS, Calibration, Holdout, TextEvidence, fit_calibration
from clipfast.anomaly.encoding import ModelIdentity, joint_encoder
from clipfast.anomaly.evidence import NOT_TESTABLE, weigh_text
from clipfast.anomaly.gate import LearnedGate
from clipfast.anomaly.kinds import estimate_kind
from clipfast.anomaly.leaveout import LeaveOut
from clipfast.anomaly.memory import MemoryBank
from clipfast.anomaly.modes import MODES
from clipfast.anomaly.options import AnomalyOptions, Kind, require_kind
from clipfast.anomaly.pictures import Viewer
from clipfast.anomaly.prompting import build_prompts
from clipfast.anomaly.semantic import TextPrompts
from clipfast.anomaly.support import SupportEncoder, bank_features, hold_out, read_support
from clipfast.errors import DataError
from clipfast.types import Images, JointFeatures, PatchEncoder

__all__ = ["Fitted", "Modes", "calibrated", "fit_detector"]


@dataclass(frozen=True, slots=True)
class Modes:
    """The modes that were asked for, checked.

    Attributes:
        image: Of image scores.
        pixel: Of pixel maps.
    """

    image: str
    pixel: str

    def __post_init__(self) -> None:
        for level, mode in (("image_mode", self.image), ("pixel_mode", self.pixel)):
            known = [name for name, row in MODES.items() if not row.truth]
            if mode not in known:
                why = " The oracle needs the truth and is for evaluations only." if mode == "oracle" else ""
                raise DataError(f"{level} must be one of {', '.join(known)}; got {mode!r}.{why}")
        fixed = {"memory", "memory_only", "auto"}
        if not self.text and not {self.image, self.pixel} <= fixed:
            raise DataError(
                "memory_only never runs the text branch, so the other mode must be memory_only, memory or auto; "
                f"got image_mode={self.image!r} and pixel_mode={self.pixel!r}."
            )

    @property
    def text(self) -> bool:
        """Whether the text branch runs: always, for comparison, unless a mode is memory_only."""
        return "memory_only" not in (self.image, self.pixel)


ONE_REFERENCE = "one reference: scales and thresholds rest on views of it, which are more alike than other pieces"


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Everything that a detector is made of.

    Attributes:
        bank: The patch memory.
        prompts: The texts; None where the text branch never runs.
        holdout: Raw scores of held-out intact views.
        evidence: How far the text branch is trusted.
        kind: Of the class, given or estimated.
        modes: As they were asked for.
        class_name: As it was given.
        identity: The model.
        options: As they were given.
        notes: What a user should know.
    """

    bank: MemoryBank
    prompts: TextPrompts | None
    holdout: Holdout
    evidence: TextEvidence
    kind: Kind
    modes: Modes
    class_name: str
    identity: ModelIdentity
    options: AnomalyOptions
    notes: tuple[str, ...] = ()


def fit_detector(clip: PatchEncoder, images: Images, class_name: str, modes: Modes, options: AnomalyOptions) -> Fitted:
    """Fit everything; see `AnomalyDetector.fit`."""
    notes: list[str] = []
    require_kind("options", options, AnomalyOptions)
    for name, kind in (("learned", TextPrompts), ("gate", LearnedGate)):
        if (given_part := getattr(options, name)) is not None:
            require_kind(name, given_part, kind)
    if options.gate is None and "learned_gate" in (modes.image, modes.pixel):
        raise DataError(
            "mode learned_gate needs a gate that was learned on other classes. "
            "Pass options=AnomalyOptions(gate=fit_gate(cases))."
        )
    if modes.text and not hasattr(clip, "encode_joint"):
        if {modes.image, modes.pixel} != {"auto"}:
            joint_encoder(clip)  # says what to pass
        modes = Modes("memory_only", "memory_only")
        notes.append(f"{type(clip).__name__} has no text tower: the memory works alone")
    viewer = Viewer(clip, whole_image=options.whole_image)
    support = read_support(viewer, images)
    asked = modes.text and (modes.image == "auto" or "earned" in (modes.image, modes.pixel))
    # The mean is poor at local damage by choice: beside it any text would seem to help.
    testable = asked and options.memory.image_score != "mean"
    encoder = SupportEncoder(clip, viewer, modes.text, options.progress)
    encoder.expect(support, options.memory, 0, damage=testable)
    given = bank_features(encoder, support, options.memory)

    def built(gone: Collection[int]) -> MemoryBank:
        patches, references, owners = given.without(gone)
        return MemoryBank.build(patches, references, options.memory, owners=owners, seed=options.seed)

    bank = built(())
    prompts = None
    if modes.text:
        tokens = given.features.vv if isinstance(given.features, JointFeatures) else None
        prompts = options.learned or build_prompts(joint_encoder(clip), class_name, options.prompts, tokens)
    held = hold_out(encoder, support, LeaveOut(bank, built), prompts, options.seed if testable else None)
    evidence = TextEvidence(0.0, NOT_TESTABLE if asked else "the text branch was not tested: no mode asks for it")
    if held.damaged is not None:
        evidence = weigh_text(held.intact.maps, held.damaged, fit_calibration(held.intact.maps, options.calibration))
    if asked:
        notes.append(evidence.note)
    if len(support) == 1:
        notes.append(ONE_REFERENCE)
    if held.together > 1:
        notes.append(
            f"held-out scores leave out {held.together} references at a time, because the memory is built again for "
            "them: they are a little high, and thresholds with them"
        )
    return Fitted(
        bank,
        prompts,
        held.intact,
        evidence,
        options.kind or estimate_kind(given.patches),
        modes,
        class_name,
        ModelIdentity.of(clip, bank.blocks, text=modes.text),
        options,
        tuple(notes),
    )


def calibrated(fitted: Fitted) -> Calibration:
    """Fit the scales on the held-out maps at the size of the detector's maps."""
    options = fitted.options
    maps = fitted.holdout.maps.thinned(options.size_hw, options.sigma, MOST_PIXELS)
    return fit_calibration(maps, options.calibration, evidence=fitted.evidence, kind=fitted.kind, gate=options.gate)
