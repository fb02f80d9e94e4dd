"""A bank of reference photos and the answer to one photo, in ten lines."""

from pathlib import Path

import clipfast
from clipfast.datasets import fabricworld

folder = Path("demo/quickstart")  # your own: folder/<fabric_id>/photo.jpg
fabricworld.write_folder(folder, fabrics=["denim", "linen", "lace", "tartan"], per_fabric=3, seed=0)

clip = clipfast.Clip.load("mini")  # or the folder that `python -m clipfast.export` made
bank = clipfast.FabricBank.build(clip, folder)
for answer in bank.rank(fabricworld.render(7, fabric="lace", colour="red").image, topk=3):
    print(f"{answer.id}: {answer.score:.3f}")
