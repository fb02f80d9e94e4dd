"""Four intact pieces of cloth, then: which of the others are damaged, and where?"""

import numpy as np

import clipfast
from clipfast.datasets import fabricworld

wishes = fabricworld.Wishes(fabric="denim", defects=["hole", "stain", "missing stitches"])
pieces = list(fabricworld.anomaly_samples(0, good=10, each=3, wishes=wishes))
references, others = pieces[:4], pieces[4:]

clip = clipfast.Clip.load("mini")  # or the folder that `python -m clipfast.export` made
detector = clipfast.AnomalyDetector.fit(clip, [piece.image for piece in references], class_name="denim")
decision = detector.threshold(fpr=0.01)
print(f"NG above {decision.threshold:.3g}: {decision.coverage}")
for note in detector.notes:
    print("note:", note)

scores = detector.score([piece.image for piece in others])
for piece, score, bad, heat in zip(others, scores.image, scores.is_anomalous, scores.pixel, strict=True):
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    print(f"{'NG' if bad else 'OK'} {score:8.3g}  {piece.label}" + (f", hottest at ({x}, {y}) of 256" if bad else ""))

labels = [int(piece.label != "good") for piece in others]
for name, branch in (("fused", scores), ("text", scores.semantic), ("memory", scores.memory)):
    print(f"image AUROC {name}: {clipfast.metrics.auroc_score(labels, branch.image):.2f}")
