"""What a detector found, for people: an overlay and a mask of each image, and all numbers in one JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clipfast.anomaly import AnomalyDetector, AnomalyScores, at_size, fuse_pixels
from clipfast.anomaly.calibration import MOST_PIXELS
from clipfast.anomaly.pictures import Viewer, pixel_digest, read_picture
from clipfast.errors import NotComputedError
from clipfast.report.images import contact_sheet, overlay, save_png
from clipfast.storage import atomic_write
from clipfast.types import Floats, Pixels

__all__ = ["ScoreWriter", "heat_of", "usual_level"]

_LONGEST = 1024  # side of an overlay; masks have the image's own size


class ScoreWriter:
    """Writes `overlays/`, `masks/` and `scores.json` into a folder.

    Args:
        detector: With a threshold.
        folder: Made if it is not there; files of the same names are replaced.

    Attributes:
        rows: One record an image, in the order written.

    Raises:
        NotComputedError: The detector has no threshold.
    """

    def __init__(self, detector: AnomalyDetector, folder: Path) -> None:
        if detector.decision is None:
            raise NotComputedError("the detector has no threshold yet. Call detector.threshold(fpr=0.01) first.")
        self.rows: list[dict[str, Any]] = []
        self._detector = detector
        self._decision = detector.decision
        self._folder = folder
        self._viewer = Viewer(detector.clip, whole_image=detector.fitted.options.whole_image)
        self._names: set[str] = set()
        self._known = set[str]().union(*(shot.prints for shot in detector.manifest.shots))
        self._usual = usual_level(detector)

    def write(self, path: Path) -> AnomalyScores:
        """Score one image and write its overlay and mask."""
        picture = read_picture(path, exif=self._viewer.exif)
        image = picture.load()
        scores = self._detector.score([image])
        shown = self._shown(image)
        name = self._name(path)
        verdict = "NG" if scores.is_anomalous[0] else "OK"
        heat = heat_of(scores.pixel[0], self._usual, self._decision.pixel_threshold)
        small = _smaller(shown)
        panels = [small, overlay(small, np.clip(at_size(heat[None], small.shape[:2])[0], 0, 1))]
        save_png(
            self._folder / "overlays" / f"{name}.png",
            contact_sheet(panels, ["image", f"{verdict} {scores.image[0]:z.4g}"], columns=2),
        )
        mask = at_size(scores.pixel, shown.shape[:2])[0] > self._decision.pixel_threshold
        save_png(self._folder / "masks" / f"{name}.png", mask.astype(np.uint8) * 255)
        semantic = scores.branches.semantic
        self.rows.append(
            {
                "image": path.as_posix(),
                "sha256": picture.sha256,
                "score": float(scores.image[0]),
                "verdict": verdict,
                "memory": float(scores.memory.image[0]),
                "semantic": None if semantic is None else float(semantic.image[0]),
                "pixel_max": float(scores.pixel.max()),
                "masked_share": float(mask.mean()),
                "remembered": bool(self._known & {picture.sha256, pixel_digest(image)}),
                "overlay": f"overlays/{name}.png",
                "mask": f"masks/{name}.png",
            }
        )
        return scores

    def finish(self) -> Path:
        """Write `scores.json` and return its path."""
        fitted = self._detector.fitted
        record = {
            "class_name": fitted.class_name,
            "image_mode": self._detector.modes.image,
            "pixel_mode": self._detector.modes.pixel,
            "decision": self._decision,
            "coverage": self._decision.coverage,
            "images": self.rows,
        }
        path = self._folder / "scores.json"
        with atomic_write(path) as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
        return path

    def _shown(self, image: Any) -> Pixels:
        """The whole image upright, or what the model sees of it, if the maps cover no more."""
        if not self._detector.fitted.options.whole_image:
            return self._viewer.see(image)
        return np.asarray(image.convert("RGB"))

    def _name(self, path: Path) -> str:
        """The file's name without suffix; of equal names the later ones get their folder's name, too, or a number."""
        name, number = path.stem, 2
        longer = f"{path.parent.name}_{path.stem}" if path.parent.name else path.stem
        while name in self._names:
            name, longer, number = longer, f"{path.stem}_{number}", number + 1
        self._names.add(name)
        return name


def heat_of(pixel: Floats, usual: float, threshold: float) -> Floats:
    """Scale a map to [0, 1] alike for every image: 0 at what is usual of intact pixels, one half at the threshold."""
    heat: Floats = np.clip(0.5 * (pixel - usual) / max(threshold - usual, 1e-12), 0, 1).astype(np.float32)
    return heat


def usual_level(detector: AnomalyDetector) -> float:
    """Return the median score of held-out intact pixels, fused as the detector does."""
    options = detector.fitted.options
    raw = detector.fitted.holdout.maps.thinned(options.size_hw, options.sigma, MOST_PIXELS)
    return float(np.median(fuse_pixels(raw, detector.calibration, detector.fitted.modes.pixel)))


def _smaller(pixels: Pixels) -> Pixels:
    """Every k-th pixel, so that the longer side is at most `_LONGEST`."""
    step = -(-max(pixels.shape[:2]) // _LONGEST)
    return np.ascontiguousarray(pixels[::step, ::step])
