"""Four intact pieces of cloth, then: which of the others are damaged, and where?"""

import numpy as np

import clipfast
from clipfast.anomaly import AnomalyOptions, branch_metadata, metric_cal_img_modular, metric_cal_pix_modular
from clipfast.datasets import fabricworld

wishes = fabricworld.Wishes(fabric="denim", defects=["hole", "stain", "missing stitches"])
pieces = list(fabricworld.anomaly_samples(0, good=10, each=3, wishes=wishes))
references, others = pieces[:4], pieces[4:]

clip = clipfast.Clip.load("mini")  # or the folder that `python -m clipfast.export` made
size_hw = (others[0].mask.shape[0], others[0].mask.shape[1])  # maps of the size of the masks, so that both compare
detector = clipfast.AnomalyDetector.fit(
    clip, [piece.image for piece in references], class_name="denim", options=AnomalyOptions(size_hw=size_hw)
)
decision = detector.threshold(fpr=0.01)
print(f"NG above {decision.threshold:.3g}: {decision.coverage}")
for note in detector.notes:
    print("note:", note)

scores = detector.score([piece.image for piece in others])
for piece, score, bad, heat in zip(others, scores.image, scores.is_anomalous, scores.pixel, strict=True):
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    print(f"{'NG' if bad else 'OK'} {score:8.3g}  {piece.label}" + (f", hottest at ({x}, {y})" if bad else ""))

# How good is each branch, and what did fusing gain? Of images and of pixels, exactly.
labels = [int(piece.label != "good") for piece in others]
masks = np.stack([piece.mask for piece in others])
images = metric_cal_img_modular(scores.image, labels, metadata=branch_metadata(scores.branches, "image"))
pixels = metric_cal_pix_modular(scores.pixel, masks, branch_metadata(scores.branches, "pixel"))
for what, figures in (("images", images), ("pixels", pixels)):
    print(f"{what}, %:", ", ".join(f"{name} {value:.1f}" for name, value in figures.items()))
