"""Few-shot anomaly detection: texts and a memory of intact patches, apart and fused.

`AnomalyDetector.fit(clip, images, class_name=...)`, then `score`. Every run gives both branches, of images and of
pixels, whatever the mode. The layer below is pure: `branch_maps` scores features, `fit_calibration` learns intact
scores, `fuse` combines by a row of `MODES`.
"""

from clipfast.anomaly.branches import BranchMaps, BranchScores
from clipfast.anomaly.calibration import Calibration, Holdout, TextEvidence, fit_calibration
from clipfast.anomaly.coreset import select_coreset
from clipfast.anomaly.decision import Decision, decide
from clipfast.anomaly.detector import AnomalyDetector
from clipfast.anomaly.encoding import branch_maps
from clipfast.anomaly.fusion import Fused, fuse, fuse_all, fuse_images, fuse_pixels
from clipfast.anomaly.gate import GateCase, LearnedGate, fit_gate, leave_one_class_out
from clipfast.anomaly.grid import GridOptions, GridRequest, GridResults, read_results, run_grid
from clipfast.anomaly.kinds import estimate_kind
from clipfast.anomaly.maps import at_size
from clipfast.anomaly.memory import MemoryBank, Reference
from clipfast.anomaly.modes import MODES
from clipfast.anomaly.options import LEGACY_TEMPERATURE, AnomalyOptions, MemoryOptions, PromptOptions
from clipfast.anomaly.owner_metrics import (
    approximate_branch_aurocs,
    branch_metadata,
    metric_cal_img_modular,
    metric_cal_pix_modular,
)
from clipfast.anomaly.prompting import build_prompts, load_prompt_features
from clipfast.anomaly.scores import AnomalyScores
from clipfast.anomaly.semantic import TextPrompts, semantic_scores
from clipfast.anomaly.shots import ShotManifest, check_leak, choose_shots, list_normals

__all__ = [
    "LEGACY_TEMPERATURE",
    "MODES",
    "AnomalyDetector",
    "AnomalyOptions",
    "AnomalyScores",
    "BranchMaps",
    "BranchScores",
    "Calibration",
    "Decision",
    "Fused",
    "GateCase",
    "GridOptions",
    "GridRequest",
    "GridResults",
    "Holdout",
    "LearnedGate",
    "MemoryBank",
    "MemoryOptions",
    "PromptOptions",
    "Reference",
    "ShotManifest",
    "TextEvidence",
    "TextPrompts",
    "approximate_branch_aurocs",
    "at_size",
    "branch_maps",
    "branch_metadata",
    "build_prompts",
    "check_leak",
    "choose_shots",
    "decide",
    "estimate_kind",
    "fit_calibration",
    "fit_gate",
    "fuse",
    "fuse_all",
    "fuse_images",
    "fuse_pixels",
    "leave_one_class_out",
    "list_normals",
    "load_prompt_features",
    "metric_cal_img_modular",
    "metric_cal_pix_modular",
    "read_results",
    "run_grid",
    "select_coreset",
    "semantic_scores",
]
