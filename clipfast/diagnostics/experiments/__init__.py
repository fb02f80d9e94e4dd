"""Experiments that settle what a diagnosis suspects: one factor at a time, repeated over seeds, with honest p-values.

`run_study` runs the chosen ones on a model and a data set, as `clipfast diagnose experiment` does. `heads` work on
embeddings and a ridge head, `ablation` varies that head, `probes` work on anything that encodes images and texts,
`relations` on scenes that the library draws; `design` holds what they share.
"""

from clipfast.diagnostics.experiments.ablation import head_ablation
from clipfast.diagnostics.experiments.design import (
    Arm,
    Experiment,
    Factors,
    compare_arms,
    compare_sets,
    run_factors,
)
from clipfast.diagnostics.experiments.heads import (
    HeadData,
    cleaning,
    cross_dataset,
    cross_dataset_runs,
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
from clipfast.diagnostics.experiments.relations import RelationScore, relation_experiment, relation_probe
from clipfast.diagnostics.experiments.study import EXPERIMENTS, Study, StudyOptions, run_study
from clipfast.diagnostics.experiments.study_data import StudyData, fabricworld_study, read_study

__all__ = [
    "EXPERIMENTS",
    "Arm",
    "Experiment",
    "Factors",
    "HeadData",
    "RelationScore",
    "Study",
    "StudyData",
    "StudyOptions",
    "augmentation_shift",
    "cleaning",
    "compare_arms",
    "compare_sets",
    "context_ablation",
    "cross_dataset",
    "cross_dataset_runs",
    "fabricworld_study",
    "few_shot_curve",
    "head_ablation",
    "imputation",
    "localisation_probe",
    "modality_drop",
    "noise_injection",
    "prompt_knowledge",
    "read_knowledge",
    "read_study",
    "relation_experiment",
    "relation_probe",
    "run_factors",
    "run_study",
]
