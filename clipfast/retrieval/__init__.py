"""Fabric retrieval: a bank of reference photos, and which fabrics a photo resembles.

Everything here takes vectors or the `ImageEncoder` Protocol; only `rank_by_retrieval` loads a model by itself.
"""

from clipfast.retrieval.bank import FabricBank
from clipfast.retrieval.bankfile import BankModel
from clipfast.retrieval.default import rank_by_retrieval
from clipfast.retrieval.encode import BuildReport, Skipped
from clipfast.retrieval.references import References
from clipfast.retrieval.scoring import ClassScore, Neighbour, Ranked, class_scores

__all__ = [
    "BankModel",
    "BuildReport",
    "ClassScore",
    "FabricBank",
    "Neighbour",
    "Ranked",
    "References",
    "Skipped",
    "class_scores",
    "rank_by_retrieval",
]
