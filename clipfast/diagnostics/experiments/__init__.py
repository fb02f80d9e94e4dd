"""Experiments that settle what a diagnosis suspects: one factor at a time, repeated over seeds, with honest p-values.

`heads` work on embeddings and a ridge head, `probes` on anything that encodes images and texts, `relations` on scenes
that the library draws; `design` holds what they share.
"""

from clipfast.diagnostics.experiments.design import Arm, Experiment, Factors, compare_arms, run_factors
from clipfast.diagnostics.experiments.heads import (
    HeadData,
    cleaning,
    cross_dataset,
    few_shot_curve,
    imputation,
    modality_drop,
    noise_injection,
)
from clipfast.diagnostics.experiments.probes import (
    augmentation_shift,
    context_ablation,
    localisation_probe,
    prompt_knowledge,
    read_knowledge,
)
from clipfast.diagnostics.experiments.relations import RelationScore, relation_probe

__all__ = [
    "Arm",
    "Experiment",
    "Factors",
    "HeadData",
    "RelationScore",
    "augmentation_shift",
    "cleaning",
    "compare_arms",
    "context_ablation",
    "cross_dataset",
    "few_shot_curve",
    "imputation",
    "localisation_probe",
    "modality_drop",
    "noise_injection",
    "prompt_knowledge",
    "read_knowledge",
    "relation_probe",
    "run_factors",
]
