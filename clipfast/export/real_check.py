"""`make real-check CKPT=...`: what only a machine with real weights can prove.

Exports a checkpoint with each GELU, runs both artifacts through the parity gate, and compares their answers with what
others published of OpenAI's ViT-B/32: image embeddings of seven photos (rom1504/clip-retrieval, tests) and the
probabilities of the example in openai/CLIP's README. The verdict says which GELU the checkpoint wants.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from clipfast.artifact import Activation
from clipfast.cli.console import out
from clipfast.errors import ClipfastError, DataError
from clipfast.export.options import ExportOptions
from clipfast.export.pipeline import export
from clipfast.runtime.clip import Clip, ImageOptions

__all__ = ["Evidence", "gather", "verdict"]

_MATCH = 0.999  # published embeddings are fp16


@dataclass(frozen=True, slots=True)
class Evidence:
    """How one export agrees with what was published.

    Attributes:
        activation: With which it was exported.
        min_cosine: Smallest cosine with the published image embeddings.
        max_prob_diff: Largest difference from the published probabilities.
        best_text: The text that the README's picture fits best; "a diagram" is right.
    """

    activation: Activation
    min_cosine: float
    max_prob_diff: float
    best_text: str


def gather(architecture: str, checkpoint: str, data: Path, activation: Activation) -> Evidence:
    """Export with one activation and compare with the published values in `data`.

    Raises:
        DataError: `data` does not hold the published values, or they are of another embedding size.
    """
    published = data / "clip_retrieval_image_embeddings.npz"
    outputs = data / "model_reference_outputs.json"
    if not published.is_file() or not outputs.is_file():
        raise DataError(f"{data} must hold {published.name} and {outputs.name}. Name the folder with --data.")
    example = json.loads(outputs.read_text(encoding="utf-8"))["openai_clip_readme"]
    with tempfile.TemporaryDirectory() as folder:
        options = ExportOptions(architecture, pretrained=checkpoint, activation=activation, heads=("embed", "text"))
        artifact = export(options, Path(folder) / "artifact")
        with Clip.load(artifact.path, images=ImageOptions(exif="ignore")) as clip:
            with np.load(published, allow_pickle=False) as archive:
                wanted = {name: archive[name].astype(np.float32).reshape(-1) for name in archive.files}
            if {row.size for row in wanted.values()} != {clip.embed_dim}:
                raise DataError(
                    f"The published embeddings are of ViT-B/32 (512 wide); {architecture} gives {clip.embed_dim}."
                )
            rows = clip.encode_images([data / "images" / f"{name}.jpg" for name in wanted])
            cosines = [float(a @ b / np.linalg.norm(b)) for a, b in zip(rows, wanted.values(), strict=True)]
            scores = clip.encode_images(data / example["image"])[0] @ clip.encode_texts(example["texts"]).T
            logits = np.exp(clip.manifest.model.logit_scale * (scores - scores.max()))
    probs = logits / logits.sum()
    return Evidence(
        activation,
        min(cosines),
        float(np.abs(probs - np.array(example["probs"])).max()),
        example["texts"][int(probs.argmax())],
    )


def verdict(evidence: list[Evidence]) -> tuple[bool, str]:
    """Return whether one export matches what was published, and a sentence about the GELU."""
    best = max(evidence, key=lambda e: e.min_cosine)
    if best.min_cosine < _MATCH:
        return False, (
            f"Neither GELU reproduces the published embeddings of OpenAI's ViT-B/32 (best: {best.activation}, cosine "
            f"{best.min_cosine:.4f}). Other weights, such as RemoteCLIP, differ: compare them on their own data."
        )
    return (
        True,
        f"The checkpoint wants {best.activation}: it reproduces the published embeddings ({best.min_cosine:.5f}).",
    )


def main(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint file or tag of OpenAI's ViT-B/32.")],
    model: Annotated[str, typer.Option(help="The architecture.")] = "ViT-B-32",
    data: Annotated[Path, typer.Option(help="Folder of the published values.")] = Path("../shared/data/clip_reference"),
) -> None:
    """Compare a checkpoint with published outputs and say which GELU it wants."""
    table = Table(title=f"{checkpoint} against published values of OpenAI's ViT-B/32")
    for heading in ("activation", "min cosine of 7 photos", "max diff of probabilities", "CLIP.png is"):
        table.add_column(heading)
    activations: tuple[Activation, ...] = ("gelu", "quick_gelu")
    try:
        evidence = [gather(model, checkpoint, data, activation) for activation in activations]
    except ClipfastError as error:
        out.print(f"error: {error}")
        raise typer.Exit(1) from error
    for e in evidence:
        table.add_row(e.activation, f"{e.min_cosine:.5f}", f"{e.max_prob_diff:.5f}", e.best_text)
    out.print(table)
    matched, sentence = verdict(evidence)
    out.print(sentence)
    raise typer.Exit(0 if matched else 1)


if __name__ == "__main__":
    typer.run(main)
