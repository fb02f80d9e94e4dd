"""How a detector comes about: the support in, everything that scoring needs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.calibration import Calibration, Holdout, TextEvidence, fit_calibration
from clipfast.anomaly.encoding import Features, ModelIdentity, branch_maps, encode, joint_encoder
from clipfast.anomaly.evidence import weigh_text
from clipfast.anomaly.fusion import MODES
from clipfast.anomaly.kinds import estimate_kind
from clipfast.anomaly.memory import MemoryBank, Reference
from clipfast.anomaly.options import AnomalyOptions, Kind
from clipfast.anomaly.pictures import BANK_VIEWS, HELD_OUT_VIEWS, Picture, View, Viewer
from clipfast.anomaly.prompting import build_prompts
from clipfast.anomaly.pseudo import damaged
from clipfast.anomaly.semantic import TextPrompts
from clipfast.errors import DataError
from clipfast.types import Images, JointFeatures, PatchEncoder, Pixels

__all__ = ["Fitted", "Modes", "Support", "calibrated", "fit_detector", "held_out", "read_support", "remember"]

_HELD_OUT = 40  # held-out pictures that are aimed at; more references need fewer views of each
_MOST_HELD_OUT = 256
_DAMAGED = 24


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


@dataclass(frozen=True, slots=True, eq=False)
class Support:
    """The references, in the order of their SHA-256, so that the order of a list changes nothing."""

    pictures: tuple[Picture, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        """Their names and checksums."""
        return tuple(Reference(picture.name, picture.sha256) for picture in self.pictures)


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
    if modes.text and not hasattr(clip, "encode_joint"):
        if {modes.image, modes.pixel} != {"auto"}:
            joint_encoder(clip)  # says what to pass
        modes = Modes("memory_only", "memory_only")
        notes.append(f"{type(clip).__name__} has no text tower: the memory works alone")
    viewer = Viewer(clip, whole_image=options.whole_image)
    support = read_support(viewer, images)
    bank, features = remember(clip, viewer, support, options, text=modes.text)
    patches = features.patches if isinstance(features, JointFeatures) else features
    prompts = None
    if modes.text:
        tokens = features.vv if isinstance(features, JointFeatures) else None
        prompts = options.learned or build_prompts(joint_encoder(clip), class_name, options.prompts, tokens)
    holdout = held_out(clip, viewer, support, bank, prompts, range(len(support.pictures)))
    evidence = TextEvidence(0.0, "the text branch was not tested: the mode of images does not ask for it")
    if modes.text and modes.image == "auto":
        calibration = fit_calibration(holdout.maps, options.calibration)
        broken = _broken(clip, viewer, support, (bank, prompts), options)
        evidence = weigh_text(holdout.maps, broken, calibration)
        notes.append(evidence.note)
    if len(support.pictures) == 1:
        notes.append("one reference: scales and thresholds rest on views of it, which are more alike than other pieces")
    return Fitted(
        bank,
        prompts,
        holdout,
        evidence,
        options.kind or estimate_kind(patches),
        modes,
        class_name,
        ModelIdentity.of(clip, bank.blocks, text=modes.text),
        options,
        tuple(notes),
    )


def read_support(viewer: Viewer, images: Images) -> Support:
    """Read the references.

    Raises:
        DataError: There is none.
        ImageError: One cannot be read.
    """
    pictures = sorted(viewer.read(images), key=lambda picture: (picture.sha256, picture.name))
    if not pictures:
        raise DataError("a detector needs at least one intact image; got none.")
    return Support(tuple(pictures))


def remember(
    clip: PatchEncoder, viewer: Viewer, support: Support, options: AnomalyOptions, *, text: bool
) -> tuple[MemoryBank, Features]:
    """Build the memory; the features returned are those of the references themselves, unturned."""
    features, owners = bank_features(clip, viewer, support, options, text=text)
    patches = features.patches if isinstance(features, JointFeatures) else features
    bank = MemoryBank.build(patches, support.references, options.memory, owners=owners, seed=options.seed)
    return bank, features


def bank_features(
    clip: PatchEncoder, viewer: Viewer, support: Support, options: AnomalyOptions, *, text: bool
) -> tuple[Features, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Encode the references, and turned copies of them if the memory shall hold them; give each one's number, too."""
    turns = BANK_VIEWS[options.memory.views]
    seen = [viewer.see(picture.image) for picture in support.pictures]
    if len(turns) > 1 and any(pixels.shape[0] != pixels.shape[1] for pixels in seen):
        raise DataError("turned references need a square input; this model's is oblong. Pass views='none'.")
    pictures = [np.rot90(pixels[:, ::-1] if mirror else pixels, turn) for pixels in seen for turn, mirror in turns]
    owners = np.repeat(np.arange(len(seen), dtype=np.int64), len(turns))
    total = len(pictures)
    if options.progress:
        options.progress(0, total)
    features = encode(clip, (np.ascontiguousarray(p) for p in pictures), options.memory.blocks, text=text)
    if options.progress:
        options.progress(total, total)
    return features, owners


def held_out(
    clip: PatchEncoder,
    viewer: Viewer,
    support: Support,
    bank: MemoryBank,
    prompts: TextPrompts | None,
    owners: Sequence[int],
) -> Holdout:
    """Score intact pictures against a memory that does not hold their own image.

    Each reference itself and some views of it (`HELD_OUT_VIEWS`), fewer the more references there are; with a single
    reference only views, against the memory of that reference.

    Args:
        clip: The encoder.
        viewer: How pictures are seen.
        support: The references to hold out.
        bank: The memory.
        prompts: The texts, or None.
        owners: The number of each reference in the bank.
    """
    alone = len(bank.references) == 1
    chosen = list(zip(owners, support.pictures, strict=True))
    step = -(-len(chosen) // _MOST_HELD_OUT)
    views = _views(len(bank.references))
    parts, numbers, original = [], [], []
    for owner, picture in chosen[::step]:
        pictures = [viewer.see(picture.image, view) for view in views]
        features = encode(clip, pictures, tuple(bank.blocks), text=prompts is not None)
        parts.append(branch_maps(features, bank, prompts, without=None if alone else owner))
        numbers += [owner] * len(views)
        original += [not alone and view == View() for view in views]
    return Holdout(BranchMaps.joined(parts), np.array(numbers, np.int64), np.array(original, bool))


def calibrated(fitted: Fitted) -> Calibration:
    """Fit the scales on the held-out maps at the size of the detector's maps."""
    options = fitted.options
    maps = fitted.holdout.maps.resized(options.size_hw, options.sigma)
    return fit_calibration(maps, options.calibration, evidence=fitted.evidence, kind=fitted.kind, gate=options.gate)


def added(clip: PatchEncoder, fitted: Fitted, images: Images) -> Fitted:
    """Remember further references; see `AnomalyDetector.add`."""
    options = fitted.options
    viewer = Viewer(clip, whole_image=options.whole_image)
    support = read_support(viewer, images)
    features, owners = bank_features(clip, viewer, support, options, text=fitted.prompts is not None)
    patches = features.patches if isinstance(features, JointFeatures) else features
    bank = fitted.bank.added(patches, support.references, owners)
    first = len(fitted.bank.references)
    new = held_out(clip, viewer, support, bank, fitted.prompts, range(first, first + len(support.pictures)))
    old = fitted.holdout
    holdout = Holdout(
        BranchMaps.joined([old.maps, new.maps]),
        np.concatenate([old.owners, new.owners]),
        np.concatenate([old.original, new.original]),
    )
    return replace(fitted, bank=bank, holdout=holdout, notes=_changed(fitted))


def removed(fitted: Fitted, name: str) -> Fitted:
    """Forget a reference; see `AnomalyDetector.remove`."""
    bank = fitted.bank.removed(name)
    left = [i for i, reference in enumerate(fitted.bank.references) if reference in bank.references]
    keep = np.isin(fitted.holdout.owners, left)
    if np.count_nonzero(keep) < 2:
        raise DataError("too few held-out scores would be left to calibrate with. Fit a detector without that image.")
    old = fitted.holdout
    owners = np.searchsorted(left, old.owners[keep]).astype(np.int64)
    return replace(
        fitted, bank=bank, holdout=Holdout(old.maps.taken(keep), owners, old.original[keep]), notes=_changed(fitted)
    )


def _changed(fitted: Fitted) -> tuple[str, ...]:
    note = "references were added or removed: held-out scores of the others are from before; fit again for exact ones"
    return (*(line for line in fitted.notes if line != note), note)


def _views(references: int) -> tuple[View, ...]:
    if references == 1:
        return HELD_OUT_VIEWS
    return (View(), *HELD_OUT_VIEWS[: min(4, max(0, _HELD_OUT // references - 1))])


def _broken(
    clip: PatchEncoder,
    viewer: Viewer,
    support: Support,
    branches: tuple[MemoryBank, TextPrompts | None],
    options: AnomalyOptions,
) -> BranchMaps:
    """Score damaged copies of the views that are held out, each against the memory without its own image."""
    bank, prompts = branches
    alone = len(support.pictures) == 1
    views = _views(len(support.pictures))
    pictures: dict[int, list[Pixels]] = {}
    for number in range(_DAMAGED):
        owner = number % len(support.pictures)
        view = views[(number // len(support.pictures)) % len(views)]
        seen = viewer.see(support.pictures[owner].image, view)
        pictures.setdefault(owner, []).append(damaged(seen, options.seed * _DAMAGED + number))
    parts = []
    for owner, copies in pictures.items():
        features = encode(clip, copies, tuple(bank.blocks), text=prompts is not None)
        parts.append(branch_maps(features, bank, prompts, without=None if alone else owner))
    return BranchMaps.joined(parts)
