"""What a question about images costs: the graphs that its paths need, each run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clipfast.errors import ArtifactError
from clipfast.surgery.options import MapOptions
from clipfast.surgery.paths import PATHS, Path, checked_paths, needs_embedding, score_patches, stream_of
from clipfast.surgery.texts import TextRows, checked_texts, embed_texts
from clipfast.types import DenseEncoder, Floats, Images, TokenEncoder

__all__ = ["Evidence", "Question", "ask"]

_ALWAYS = ("qk", "vv", "mixed", "plain")  # what dense and tokens give without asking


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the graphs say about a batch of images.

    Attributes:
        streams: Tokens by output name, each (n, p, e), not normalised; "sweep" is (n, L, p, e).
        embedding: Unit rows, (n, e), if a path needs them.
        grid_hw: Patch grid, (gh, gw).
    """

    streams: dict[str, Floats]
    embedding: Floats | None
    grid_hw: tuple[int, int]

    def of(self, image: int) -> Evidence:
        """Return what is known of one image of the batch."""
        one = slice(image, image + 1)
        streams = {name: tokens[one] for name, tokens in self.streams.items()}
        return Evidence(streams, None if self.embedding is None else self.embedding[one], self.grid_hw)


@dataclass(frozen=True, slots=True)
class Question:
    """Everything but the images: the model, the paths, the texts as rows.

    Attributes:
        clip: The model.
        paths: Which maps.
        texts: Rows with the templates (False) and bare (True), as far as the paths need them.
        options: As asked for.
    """

    clip: DenseEncoder
    paths: tuple[Path, ...]
    texts: Mapping[bool, TextRows]
    options: MapOptions

    @property
    def tower(self) -> TokenEncoder:
        """The model as one that knows its artifact.

        Raises:
            ArtifactError: It gives Surgery tokens only.
        """
        if not isinstance(self.clip, TokenEncoder):
            raise ArtifactError(
                "paths that read plain tokens, geometry, windows and edges need a model with encode_presets() and a "
                f"manifest, such as clipfast.Clip; got {type(self.clip).__name__}."
            )
        return self.clip

    @property
    def graphs(self) -> frozenset[str]:
        """The graphs that are run for an image."""
        graphs: set[str] = {stream_of(path, self.options)[0] for path in self.paths}
        if "dense" not in graphs and any(needs_embedding(path) for path in self.paths):
            graphs.add("embed")
        return frozenset(graphs)

    @property
    def count(self) -> int:
        """How many maps an image gets from each path, t."""
        return next(iter(self.texts.values())).wanted

    def only(self, texts: Sequence[int]) -> Question:
        """Return the same question of some of the texts, as if no other had been asked."""
        return replace(self, texts={bare: rows.only(texts) for bare, rows in self.texts.items()})

    def require_streams(self) -> None:
        """Check that the artifact holds what is asked, before anything is run.

        Raises:
            ArtifactError: It does not; the message says how to export it.
        """
        if self.graphs == {"dense"} and not isinstance(self.clip, TokenEncoder):
            return
        manifest = self.tower.manifest
        for path in self.paths:
            graph, stream = stream_of(path, self.options)
            held = manifest.graphs[graph].outputs if graph in manifest.graphs else ()
            if stream in held:
                continue
            missing = [] if graph in manifest.graphs else [f"--heads {','.join((*manifest.graphs, graph))}"]
            missing += [] if stream in _ALWAYS else [f"--presets {stream}"]
            raise ArtifactError(
                f"the artifact {manifest.name} holds no {stream!r} tokens, which the path {path} reads"
                f"{' at chosen depths' if stream == 'sweep' else ''}. Export it again: "
                f"python -m clipfast.export MODEL --pretrained WEIGHTS {' '.join(missing)} --out DIR"
            )

    def read(self, images: Images) -> Evidence:
        """Run each graph once over a batch that is small enough for memory."""
        streams: dict[str, Floats] = {}
        embedding: Floats | None = None
        grid_hw = (0, 0)
        if "dense" in self.graphs:
            dense = self.clip.encode_dense(images, alpha=self.options.alpha)
            streams |= {"qk": dense.qk, "vv": dense.vv, "mixed": dense.mixed}
            embedding, grid_hw = dense.embedding, dense.grid_hw
        if "tokens" in self.graphs:
            streams |= self.tower.encode_presets(images)
            grid_hw = self.tower.manifest.model.grid_hw
        if "embed" in self.graphs:
            embedding = self.tower.encode_images(images)
        return Evidence(streams, embedding, grid_hw)

    def grid(self, path: Path, evidence: Evidence, depths: Sequence[int] | None = None) -> Floats:
        """Score the patches by one path, (n, t, gh, gw); `depths` takes the place of the options'."""
        options = self.options if depths is None else replace(self.options, depths=depths, depth_weights=None)
        scores = score_patches(path, evidence.streams, evidence.embedding, self.texts[PATHS[path].bare], options)
        n, _, t = scores.shape
        return np.ascontiguousarray(scores.transpose(0, 2, 1).reshape(n, t, *evidence.grid_hw))

    def grids(self, images: Images) -> dict[Path, Floats]:
        """Run each graph once over a batch, and score its patches by every path, (n, t, gh, gw) each."""
        evidence = self.read(images)
        return {path: self.grid(path, evidence) for path in self.paths}


def ask(clip: DenseEncoder, texts: Sequence[str], paths: Sequence[Path], options: MapOptions) -> Question:
    """Check texts, paths and artifact, and embed the texts.

    Raises:
        DataError: No text, a blank one or one twice; an unknown path; options that no path uses.
        ArtifactError: The artifact does not hold what a path reads.
    """
    names, chosen = checked_texts(texts), checked_paths(paths, options)
    question = Question(clip, chosen, {}, options)
    question.require_streams()
    forms = {PATHS[path].bare for path in chosen}
    return replace(question, texts={bare: embed_texts(clip, names, options, bare=bare) for bare in forms})
