"""Embed photos, or search a bank, on a Triton server that serves `python -m clipfast.export ... --triton models`.

    docker run --gpus all --rm -p 8001:8001 -v $PWD/models:/models IMAGE tritonserver --model-repository=/models
    pip install 'tritonclient[grpc]' 'clipfast[cpu]'
    python examples/triton_client.py photo.jpg --artifact artifact --model ViT-B-32_embed --url localhost:8001

Photos are decoded and scaled here, exactly as CLIP was trained, so 150 KB travel instead of megabytes. Without --url it
shows what it would send. Not yet run against a server.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from clipfast.artifact import Artifact
from clipfast.datasets.fabricworld import render
from clipfast.runtime.images import load_pixels
from clipfast.runtime.models import find_model
from clipfast.runtime.preprocess import preprocess


def main() -> None:
    parser = argparse.ArgumentParser(description="Embed or search photos on a Triton server.")
    parser.add_argument("images", type=Path, nargs="*", help="without any, a rendered one")
    parser.add_argument("--artifact", default="mini", help="the exported folder; only its manifest is read")
    parser.add_argument("--model", default="mini_embed", help="such as ViT-B-32_embed or ViT-B-32_search")
    parser.add_argument("--url", help="such as localhost:8001")
    chosen = parser.parse_args()
    rule = Artifact.open(find_model(chosen.artifact)).manifest.image
    photos = [load_pixels(path) for path in chosen.images] or [render(3, size=256).image]
    pixels = np.stack([preprocess(photo, rule) for photo in photos])
    if chosen.url is None:
        print(f"{chosen.model}: pixels {pixels.shape} {pixels.dtype}, {pixels.nbytes:,} bytes. Name a server: --url")
        return
    from tritonclient import grpc  # pip install 'tritonclient[grpc]'

    client = grpc.InferenceServerClient(chosen.url)
    sent = grpc.InferInput("pixels", list(pixels.shape), "UINT8")
    sent.set_data_from_numpy(pixels)
    answer = client.infer(chosen.model, [sent])
    for output in client.get_model_metadata(chosen.model).outputs:
        for number, row in enumerate(answer.as_numpy(output.name)):
            print(number, output.name, np.array2string(row.reshape(-1)[:8], precision=4))


if __name__ == "__main__":
    main()
