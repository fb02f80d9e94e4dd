"""Where in a picture is what a text says? Heat maps in ten lines."""

from clipfast import Clip
from clipfast.datasets import fabricworld
from clipfast.surgery import heatmaps

clip = Clip.load("mini")  # or the folder that `python -m clipfast.export` made
photo = fabricworld.render(7, fabric="linen", objects=["red star", "blue button"]).image  # or "photo.jpg"
texts = ["red star", "blue button"]
for text, heat in zip(texts, heatmaps(clip, photo, texts, path="vv_vv", size_hw=(224, 224))[0], strict=True):
    y, x = divmod(int(heat.argmax()), 224)
    print(f"{text}: brightest at x={x}, y={y}, similarity {heat.max():.3f}")
