"""Fabric retrieval: a bank of reference photos, and which fabrics a photo resembles.

Everything here takes vectors or the `ImageEncoder` Protocol; only `rank_by_retrieval` loads a model by itself.
"""

from clipfast.retrieval.bank import FabricBank
from clipfast.retrieval.bankfile import BankModel
from clipfast.retrieval.check import BankCheck, Problem, check_folder, check_references
from clipfast.retrieval.confusion import Confusion, LeaveOneOut, leave_one_out
from clipfast.retrieval.default import rank_by_retrieval
from clipfast.retrieval.encode import BuildReport, Skipped
from clipfast.retrieval.legacy import Imported, import_vectors
from clipfast.retrieval.photos import PhotoFacts, PhotoLimits
from clipfast.retrieval.rebuild import RebuildOptions, rebuild_bank
from clipfast.retrieval.references import References
from clipfast.retrieval.scoring import ClassScore, Neighbour, Ranked, class_scores

__all__ = [
    "BankCheck",
    "BankModel",
    "BuildReport",
    "ClassScore",
    "Confusion",
    "FabricBank",
    "Imported",
    "LeaveOneOut",
    "Neighbour",
    "PhotoFacts",
    "PhotoLimits",
    "Problem",
    "Ranked",
    "RebuildOptions",
    "References",
    "Skipped",
    "check_folder",
    "check_references",
    "class_scores",
    "import_vectors",
    "leave_one_out",
    "rank_by_retrieval",
    "rebuild_bank",
]
