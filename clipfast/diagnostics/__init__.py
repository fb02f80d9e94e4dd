"""What is wrong with an image-text model, and what to mend first: measurements, causes, experiments, reviews.

`read_predictions` and `diagnose` do the whole of it; every measurement is also a function of arrays.
"""

from clipfast.diagnostics.diagnosis import DiagnoseOptions, Diagnosis, diagnose
from clipfast.diagnostics.features import FEATURES
from clipfast.diagnostics.predictions import Boxes, Predictions
from clipfast.diagnostics.reading import read_embeddings, read_predictions
from clipfast.diagnostics.rules import CAUSES, RuleTable, default_rules
from clipfast.diagnostics.zero_shot import ZeroShotOptions, diagnose_folder, zero_shot_predictions

__all__ = [
    "CAUSES",
    "FEATURES",
    "Boxes",
    "DiagnoseOptions",
    "Diagnosis",
    "Predictions",
    "RuleTable",
    "ZeroShotOptions",
    "default_rules",
    "diagnose",
    "diagnose_folder",
    "read_embeddings",
    "read_predictions",
    "zero_shot_predictions",
]
