"""Checked by mypy, never run: what a user's editor sees of every public call."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import numpy as np

import clipfast
from clipfast.anomaly import AnomalyScores, BranchScores, Decision
from clipfast.retrieval import Answer, Ranked, rank_by_retrieval
from clipfast.surgery import (
    Geometry,
    MapOptions,
    feature_surgery,
    heatmaps,
    heatmaps_by_path,
    letterbox,
)
from clipfast.surgery import (
    Path as MapPath,
)
from clipfast.types import DenseTokens, Floats, JointFeatures, PatchFeatures

clip = clipfast.Clip.load("mini", provider="cpu", precision="fp32", threads=2)
assert_type(clip, clipfast.Clip)
assert_type(clip.encode_images("photo.jpg"), Floats)
assert_type(clip.encode_images([Path("photo.jpg"), b"", np.zeros((2, 2, 3), np.uint8)]), Floats)
assert_type(clip.encode_texts(["linen"], clipfast.prompts.SURGERY), Floats)
assert_type(clip.encode_dense("photo.jpg", alpha=0.3), DenseTokens)
assert_type(clip.fingerprint("embedding"), str)
assert_type(clip.encode_tokens("photo.jpg"), Floats)
assert_type(clip.encode_presets("photo.jpg"), dict[str, Floats])
assert_type(clip.encode_patches("photo.jpg", blocks=[2]), PatchFeatures)
assert_type(clip.encode_joint("photo.jpg"), JointFeatures)

bank = clipfast.FabricBank.build(clip, "data/fabrics")
bank.save("bank.npz")
assert_type(clipfast.FabricBank.load("bank.npz", clip=clip), clipfast.FabricBank)
ranked = bank.rank("photo.jpg", topk=5)
assert_type(ranked, Answer[Ranked])
assert_type(ranked[0].id, str)
assert_type(ranked[0].score, float)
assert_type(rank_by_retrieval("photo.jpg", topk=5), Answer[Ranked])
assert_type(ranked.confidence, float)
assert_type(ranked.none_of_these, bool)

assert_type(heatmaps(clip, ["photo.jpg"], ["linen", "denim"], path="vv_vv", size_hw=(224, 224)), Floats)
options = MapOptions(geometry="letterbox", labels=["lace"])
assert_type(heatmaps_by_path(clip, "photo.jpg", ["linen"], ("standard", "plain"), None, options), dict[MapPath, Floats])
assert_type(letterbox((480, 640), (224, 224)), Geometry)
dense = clip.encode_dense("photo.jpg")
assert_type(feature_surgery(dense.vv, dense.embedding, clip.encode_texts(["linen", "denim"])), Floats)

detector = clipfast.AnomalyDetector.fit(clip, ["photo.jpg"], class_name="denim", image_mode="auto", pixel_mode="auto")
assert_type(detector.threshold(fpr=0.01), Decision)
scores = detector.score("photo.jpg")
assert_type(scores, AnomalyScores)
assert_type(scores.image, Floats)
assert_type(scores.semantic, BranchScores)
assert_type(scores.memory.pixel, Floats)
assert_type(clipfast.AnomalyDetector.load("det.npz", clip), clipfast.AnomalyDetector)
