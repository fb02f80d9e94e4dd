"""Figures about results. `*_score`: up is better; `*_error`: down is better.

Rankings: `ranking_scores` and its parts, exact; `RankingStream` and `PixelStream` for streams too long to keep, with
certified intervals. Anomaly maps: `pixel_scores`, `aupro_score`, `aupro_legacy200_score`. Detectors:
`voc_average_precision_score`, `coco_average_precision_score`. Probabilities: `reliability_table`, calibration errors,
`fit_temperature`. How sure a figure is: `bootstrap_interval`, `wilson_interval`, `delong_interval`; whether two systems
differ: `paired_bootstrap`, `paired_t_test`, `permutation_test`, `mcnemar_test`, `delong_test`.

What is undefined, such as AUROC of one class, raises `UndefinedMetricError`, which is a ValueError; NaN and infinite
scores, wrong shapes and wrong labels raise `ShapeError`. NaN comes back only inside a result that has defined parts:
classes without a ground truth, COCO's sizes that do not occur, empty bins; the log loss of a certain error is infinite.
"""

from clipfast.metrics.aupro import PixelScores, aupro_legacy200_score, aupro_score, pixel_scores
from clipfast.metrics.calibration import (
    ReliabilityTable,
    adaptive_calibration_error,
    brier_error,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood_error,
    reliability_table,
)
from clipfast.metrics.delong import delong_covariance, delong_interval, delong_test
from clipfast.metrics.detection import AveragePrecision, PrecisionRecall, voc_average_precision_score
from clipfast.metrics.detection_coco import CocoScores, coco_average_precision_score
from clipfast.metrics.detection_data import Detections, GroundTruths
from clipfast.metrics.intervals import BootstrapOptions, Interval, bootstrap_interval, wilson_interval
from clipfast.metrics.mcnemar import mcnemar_interval, mcnemar_test
from clipfast.metrics.multiple import holm_adjusted
from clipfast.metrics.paired import PairedDifference, paired_bootstrap, paired_t_test, permutation_test
from clipfast.metrics.ranking import (
    RankingScores,
    aupr_score,
    auroc_score,
    average_precision_score,
    f1_max_score,
    ranking_scores,
)
from clipfast.metrics.streaming import Certified, PixelStream, RankingStream, StreamedPixelScores, StreamedScores
from clipfast.metrics.temperature import apply_temperature, fit_temperature

__all__ = [
    "AveragePrecision",
    "BootstrapOptions",
    "Certified",
    "CocoScores",
    "Detections",
    "GroundTruths",
    "Interval",
    "PairedDifference",
    "PixelScores",
    "PixelStream",
    "PrecisionRecall",
    "RankingScores",
    "RankingStream",
    "ReliabilityTable",
    "StreamedPixelScores",
    "StreamedScores",
    "adaptive_calibration_error",
    "apply_temperature",
    "aupr_score",
    "aupro_legacy200_score",
    "aupro_score",
    "auroc_score",
    "average_precision_score",
    "bootstrap_interval",
    "brier_error",
    "coco_average_precision_score",
    "delong_covariance",
    "delong_interval",
    "delong_test",
    "expected_calibration_error",
    "f1_max_score",
    "fit_temperature",
    "holm_adjusted",
    "maximum_calibration_error",
    "mcnemar_interval",
    "mcnemar_test",
    "negative_log_likelihood_error",
    "paired_bootstrap",
    "paired_t_test",
    "permutation_test",
    "pixel_scores",
    "ranking_scores",
    "reliability_table",
    "voc_average_precision_score",
    "wilson_interval",
]
