"""Export your own open_clip checkpoint and use it. Needs: pip install 'clipfast[cpu,export]'.

    python examples/export_your_checkpoint.py ViT-B-32 RemoteCLIP-ViT-B-32.pt quick_gelu

Without arguments it exports the embedded model's architecture with random weights, to show the steps.
"""

import json
import sys
import tempfile
from pathlib import Path

import clipfast
from clipfast.datasets import fabricworld
from clipfast.export.options import ExportOptions
from clipfast.export.pipeline import export

SMALL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 6, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def main(folder: Path) -> None:
    if len(sys.argv) == 4:
        architecture, checkpoint, activation = sys.argv[1:]
        quick = activation == "quick_gelu"
        options = ExportOptions(architecture, pretrained=checkpoint, activation="quick_gelu" if quick else "gelu")
    else:
        (folder / "small.json").write_text(json.dumps(SMALL))
        options = ExportOptions(str(folder / "small.json"), heads=("embed", "dense", "text"))
    artifact = export(options, folder / "artifact", progress=lambda what, done, total: print(f"{done}/{total} {what}"))
    worst = max(row.max_abs_diff for row in artifact.manifest.parity)
    print(f"largest difference from PyTorch on unit rows: {worst:.1e}")

    clip = clipfast.Clip.load(artifact.path)
    image = fabricworld.render(0, fabric="denim").image
    print("embedding", clip.encode_images(image).shape, "patch tokens", clip.encode_dense(image).vv.shape)


with tempfile.TemporaryDirectory() as temporary:
    main(Path(temporary))
