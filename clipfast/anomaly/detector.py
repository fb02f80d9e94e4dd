"""Few-shot anomaly detection: a handful of intact images in, scores and maps out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from clipfast.anomaly.branches import BranchMaps
from clipfast.anomaly.calibration import Calibration
from clipfast.anomaly.changes import added, removed
from clipfast.anomaly.decision import Decision, decide
from clipfast.anomaly.detectorfile import read_detector, require_model, write_detector
from clipfast.anomaly.encoding import branch_maps, encode
from clipfast.anomaly.fitting import Fitted, Modes, calibrated, fit_detector
from clipfast.anomaly.fusion import fuse_images, fuse_pixels
from clipfast.anomaly.guarantee import why_not_guaranteed
from clipfast.anomaly.modes import resolve
from clipfast.anomaly.options import AnomalyOptions
from clipfast.anomaly.pictures import Viewer
from clipfast.anomaly.scores import AnomalyScores
from clipfast.anomaly.shots import ShotManifest
from clipfast.runtime.batching import batches
from clipfast.runtime.provider_options import ProviderOptions
from clipfast.types import Images, PatchEncoder

__all__ = ["AnomalyDetector"]

_BATCH = 32


class AnomalyDetector:
    """A fitted detector. Make one with `fit` or `load`.

    Scoring from several threads is safe; `threshold`, `add` and `remove` change the detector.

    Attributes:
        clip: The encoder.
        fitted: Everything that it is made of.
        calibration: Scales of both branches, from the support.
        decision: Thresholds, after `threshold`; else None.

    >>> from clipfast.datasets.fabricworld import Wishes, anomaly_samples
    >>> import clipfast
    >>> pieces = [s.image for s in anomaly_samples(3, good=3, each=1, wishes=Wishes(fabric="denim", defects=["hole"]))]
    >>> detector = AnomalyDetector.fit(clipfast.Clip.load("mini"), pieces[:2], class_name="denim")
    >>> detector.score(pieces[2:]).pixel.shape
    (2, 256, 256)
    """

    def __init__(self, clip: PatchEncoder, fitted: Fitted, decision: Decision | None = None) -> None:
        self.clip = clip
        self.fitted = fitted
        self.decision = decision
        self.calibration: Calibration = calibrated(fitted)

    @classmethod
    def fit(
        cls,
        clip: PatchEncoder,
        normal_images: Images,
        *,
        class_name: str,
        image_mode: str = "auto",
        pixel_mode: str = "auto",
        options: AnomalyOptions | None = None,
    ) -> AnomalyDetector:
        """Remember intact images and learn from them what intact scores look like.

        Args:
            clip: A model with a `joint` graph; with the mode memory_only, anything that has `encode_patches`.
            normal_images: The references, each different; their order does not matter.
            class_name: What is inspected, in English, or a Chinese name of fabricworld's table.
            image_mode: How the branches make the image score; a key of `clipfast.anomaly.MODES` but the oracle.
            pixel_mode: How they make the maps.
            options: Memory, prompts, sizes, calibration.

        Raises:
            DataError: No image, one of them twice, an unknown mode, or a class name that cannot be read.
            ImageError: An image cannot be read.
            ArtifactError: The model does not hold the graph or the blocks.
        """
        modes = Modes(image_mode, pixel_mode)
        return cls(clip, fit_detector(clip, normal_images, class_name, modes, options or AnomalyOptions()))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], clip: PatchEncoder, *, accept_precision: bool = False
    ) -> AnomalyDetector:
        """Read what `save` wrote.

        Args:
            path: The file.
            clip: The model that it was fitted with.
            accept_precision: Also take graphs of another precision, whose scores differ a little.

        Raises:
            ArtifactError: The file is missing, damaged or no detector, or `clip` runs in another precision.
            FingerprintError: Another model made it; the message names both.
        """
        fitted, decision = read_detector(Path(path))
        require_model(fitted, clip, what=str(path), accept_precision=accept_precision)
        return cls(clip, fitted, decision)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one sealed .npz of plain arrays and JSON; equal detectors give equal bytes."""
        write_detector(Path(path), self.fitted, self.decision)

    def score(self, images: Images) -> AnomalyScores:
        """Score images.

        Args:
            images: One image or an iterable of them; oblong ones are squeezed, so that maps cover all of them.

        Returns:
            Fused scores, and both branches' own.

        Raises:
            ImageError: An image cannot be read.
        """
        options = self.fitted.options
        raw = self.branch_maps(images).resized(options.size_hw, options.sigma)
        modes = self.fitted.modes
        return AnomalyScores(
            fuse_images(raw, self.calibration, modes.image),
            fuse_pixels(raw, self.calibration, modes.pixel),
            raw,
            self.decision,
        )

    def search_on(self, provider: str | ProviderOptions) -> None:
        """Search the patch memory with another provider from now on; scores, thresholds and `save` stay as they were.

        Args:
            provider: "cuda" or `CudaOptions` copies the memory to a GPU once; "cpu" brings the search back. The model
                itself runs where `clip` runs. Not yet run on a GPU.

        Raises:
            ProviderError: The provider cannot run here, or its memory is too small.
        """
        self.fitted = replace(self.fitted, bank=self.fitted.bank.on(provider))

    def branch_maps(self, images: Images) -> BranchMaps:
        """Return the raw scores of both branches on the patch grid: all that any mode needs.

        Raises:
            ImageError: An image cannot be read.
        """
        fitted = self.fitted
        viewer = Viewer(self.clip, whole_image=fitted.options.whole_image)
        blocks, text = tuple(fitted.bank.blocks), fitted.prompts is not None
        parts = [
            branch_maps(encode(self.clip, group, blocks, text=text), fitted.bank, fitted.prompts)
            for group in batches(viewer.stream(images), _BATCH)
        ]
        if not parts:
            return fitted.holdout.maps.taken(np.empty(0, np.int64))
        return BranchMaps.joined(parts)

    def threshold(self, fpr: float = 0.01) -> Decision:
        """Choose, keep and return thresholds for a rate of false alarms; `save` stores them.

        What is guaranteed and what is not: `clipfast.anomaly.decision`.

        Args:
            fpr: Rate among intact images, in (0, 0.5].

        Raises:
            ShapeError: `fpr` is out of range.
        """
        options, modes, holdout = self.fitted.options, self.fitted.modes, self.fitted.holdout
        images = fuse_images(holdout.maps, self.calibration, modes.image)
        peaks = np.empty(len(holdout.maps), np.float32)
        for i in range(len(peaks)):  # one by one: of large maps many would not fit into memory
            one = holdout.maps.taken(np.array([i])).resized(options.size_hw, options.sigma)
            peaks[i] = fuse_pixels(one, self.calibration, modes.pixel).max()
        self.decision = decide(images, peaks, holdout.original, fpr, caveat=why_not_guaranteed(self.fitted))
        return self.decision

    def add(self, images: Images) -> None:
        """Remember further intact images; the threshold is dropped, call `threshold` again.

        Held-out scores of the earlier references stay as they are, and the new ones are added. With more references
        the memory's could only be lower, so thresholds err on the side of fewer false alarms until a new fit; but a
        single reference that the detector was fitted on stays represented by its views only, as before.

        Raises:
            DataError: An image is remembered already.
            ImageError: An image cannot be read.
        """
        self._set(added(self.clip, self.fitted, images))

    def remove(self, name: str) -> None:
        """Forget the reference of that name or SHA-256; the threshold is dropped, call `threshold` again.

        Held-out scores of the others stay as they are; they may be too low, so no rate of false alarms is guaranteed
        afterwards. Fit again where thresholds matter.

        Raises:
            DataError: There is none, or too little would be left.
        """
        self._set(removed(self.fitted, name))

    @property
    def modes(self) -> Modes:
        """The modes that compute: what "auto" and "routed" came to."""
        asked = self.fitted.modes
        return Modes(resolve(asked.image, "image", self.calibration), resolve(asked.pixel, "pixel", self.calibration))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, such as why the text branch was left out."""
        return self.fitted.notes

    @property
    def manifest(self) -> ShotManifest:
        """The references: names, checksums, and the seed that chose them."""
        return ShotManifest(self.fitted.options.shots_seed, self.fitted.bank.references)

    def _set(self, fitted: Fitted) -> None:
        self.fitted, self.decision = fitted, None
        self.calibration = calibrated(fitted)
