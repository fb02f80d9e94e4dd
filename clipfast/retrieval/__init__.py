"""Fabric retrieval: a bank of reference photos, rules, a linear head, and how well they do together.

Everything here takes vectors or the `ImageEncoder` Protocol; only `rank_by_retrieval` and `fuse_with_clip` load a model
by themselves.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from clipfast.retrieval.answers import Answer, Judgement
from clipfast.retrieval.bank import FabricBank
from clipfast.retrieval.bankfile import BankModel
from clipfast.retrieval.check import BankCheck, Problem, check_folder, check_references
from clipfast.retrieval.confusion import Confusion, LeaveOneOut, leave_one_out
from clipfast.retrieval.crops import Region, Sidecar, crop_box, crop_patch, read_sidecar, write_sidecar
from clipfast.retrieval.default import rank_by_retrieval
from clipfast.retrieval.encode import BuildReport, Skipped
from clipfast.retrieval.legacy import Imported, import_vectors
from clipfast.retrieval.photos import PhotoFacts, PhotoLimits
from clipfast.retrieval.rebuild import RebuildOptions, rebuild_bank
from clipfast.retrieval.references import References
from clipfast.retrieval.rules import Rule, RuleSet, load_rules
from clipfast.retrieval.scoring import ClassScore, Neighbour, Ranked, class_scores

if TYPE_CHECKING:
    from clipfast.retrieval.attributes import FabricAttributes, extract_attributes
    from clipfast.retrieval.confidence import Judge, bank_judge
    from clipfast.retrieval.evalset import EvalSample, EvalSet, make_eval_set
    from clipfast.retrieval.evaluation import Comparison, Doubts, Evaluation, PhaseResult, evaluate
    from clipfast.retrieval.fused import CurvePoint, FittedFusion, fit_fusion
    from clipfast.retrieval.fusion import Fusion, Voices, fuse_with_clip
    from clipfast.retrieval.head import HeadOptions, HeadReport, LinearHead
    from clipfast.retrieval.heldout import TrainedHead, train_head
    from clipfast.retrieval.labels import Labeller, LabelStats, LabelStore, SeenCrop
    from clipfast.retrieval.live import LiveVoices
    from clipfast.retrieval.recommend import Recommendation, recommend_fabrics_localized
    from clipfast.retrieval.registry import Registry

__all__ = [
    "Answer",
    "BankCheck",
    "BankModel",
    "BuildReport",
    "ClassScore",
    "Comparison",
    "Confusion",
    "CurvePoint",
    "Doubts",
    "EvalSample",
    "EvalSet",
    "Evaluation",
    "FabricAttributes",
    "FabricBank",
    "FittedFusion",
    "Fusion",
    "HeadOptions",
    "HeadReport",
    "Imported",
    "Judge",
    "Judgement",
    "LabelStats",
    "LabelStore",
    "Labeller",
    "LeaveOneOut",
    "LinearHead",
    "LiveVoices",
    "Neighbour",
    "PhaseResult",
    "PhotoFacts",
    "PhotoLimits",
    "Problem",
    "Ranked",
    "RebuildOptions",
    "Recommendation",
    "References",
    "Region",
    "Registry",
    "Rule",
    "RuleSet",
    "SeenCrop",
    "Sidecar",
    "Skipped",
    "TrainedHead",
    "Voices",
    "bank_judge",
    "check_folder",
    "check_references",
    "class_scores",
    "crop_box",
    "crop_patch",
    "evaluate",
    "extract_attributes",
    "fit_fusion",
    "fuse_with_clip",
    "import_vectors",
    "leave_one_out",
    "load_rules",
    "make_eval_set",
    "rank_by_retrieval",
    "read_sidecar",
    "rebuild_bank",
    "recommend_fabrics_localized",
    "train_head",
    "write_sidecar",
]

# Loaded when first used: these bring the kernels with them.
_LAZY: dict[str, str] = {
    "FabricAttributes": "attributes",
    "extract_attributes": "attributes",
    "Judge": "confidence",
    "bank_judge": "confidence",
    "EvalSample": "evalset",
    "EvalSet": "evalset",
    "make_eval_set": "evalset",
    "Comparison": "evaluation",
    "Doubts": "evaluation",
    "Evaluation": "evaluation",
    "PhaseResult": "evaluation",
    "evaluate": "evaluation",
    "CurvePoint": "fused",
    "FittedFusion": "fused",
    "fit_fusion": "fused",
    "Fusion": "fusion",
    "Voices": "fusion",
    "fuse_with_clip": "fusion",
    "HeadOptions": "head",
    "HeadReport": "head",
    "LinearHead": "head",
    "TrainedHead": "heldout",
    "train_head": "heldout",
    "LiveVoices": "live",
    "LabelStats": "labels",
    "LabelStore": "labels",
    "Labeller": "labels",
    "SeenCrop": "labels",
    "Recommendation": "recommend",
    "Registry": "registry",
    "recommend_fabrics_localized": "recommend",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'clipfast.retrieval' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"clipfast.retrieval.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
