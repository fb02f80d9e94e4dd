"""The class that users meet: one model, opened once, safe from many threads."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from clipfast.artifact import Artifact, Manifest
from clipfast.errors import ArtifactError, ShapeError
from clipfast.prompts import expand
from clipfast.runtime.batching import batches, prefetch
from clipfast.runtime.choice import choose_provider, openvino_hint
from clipfast.runtime.cpu import available_cores, int8_shortcoming
from clipfast.runtime.models import DEFAULT_MODEL, embedded_models, find_model
from clipfast.runtime.opened import OpenedModel
from clipfast.runtime.provider_options import ProviderOptions, provider_options, smallest_batch
from clipfast.runtime.reading import ImageOptions, each_image
from clipfast.runtime.request import check_request, require_int8
from clipfast.types import DenseTokens, Floats, Images, ImageSource, JointFeatures, PatchFeatures, Pixels

if TYPE_CHECKING:
    from clipfast.runtime.tokenizer import Tokenizer

__all__ = ["Clip", "ImageOptions", "embedded_models"]

log = logging.getLogger(__name__)

_TEXT_BATCH = 64
_MANY = 100  # images for which loading the resize kernel pays
_KNOWN_ENOUGH = 0.5


class Clip:
    """An exported CLIP. Graphs are opened on first use, once per process, and then stay warm.

    Attributes:
        artifact: The folder it reads.
        manifest: What the artifact says about itself.
        provider: Where the graphs run.
        precision: Of the graphs.

    >>> clip = Clip.load("mini")
    >>> clip.encode_texts(["a photo of denim fabric"]).shape
    (1, 192)
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        provider: str | ProviderOptions,
        precision: str,
        threads: int,
        images: ImageOptions,
    ) -> None:
        self.manifest: Manifest = artifact.manifest
        self.provider: str = provider_options(provider).name
        self.precision = precision
        self.threads = threads
        self.artifact = artifact
        self._images = images
        self._options = provider_options(provider)
        self._opened = OpenedModel(artifact, provider=provider, precision=precision, threads=threads)

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        provider: str | ProviderOptions | None = None,
        precision: str = "fp32",
        threads: int | None = None,
        images: ImageOptions | None = None,
    ) -> Clip:
        """Open a model.

        Args:
            model: An artifact folder, or the name of an embedded model ("mini"). None takes `CLIPFAST_MODEL`, and
                without it the embedded demo model, saying so in the log.
            provider: "cpu", "openvino", "cuda" or "tensorrt", or the options of one, as `CudaOptions`; what cannot run
                here is an error, never a fallback. None takes "cpu" for fp32, "openvino" for bf16, and for int8
                "openvino" where it is installed and "cpu" elsewhere, with a log warning; `Clip.provider` is what runs.
            precision: Of the graphs; the artifact must hold it, but "bf16", in which OpenVINO runs the fp32 graphs.
                With "int8" and "bf16" texts, which are remembered, are computed in fp32.
            threads: Of one forward; None takes the cores that this process may use. More are taken, with a warning.
            images: How images are read.

        Raises:
            ArtifactError: No artifact there, one that is damaged or of another version, or one without int8 graphs if
                they are asked for; the message says whether the accuracy gate refused them, and why.
            ProviderError: An unknown provider; one that cannot run here is told when the first graph is opened.
        """
        threads = threads if threads is not None else available_cores()
        options = choose_provider(provider, precision)
        check_request(options, threads, precision)
        if threads > available_cores():
            log.warning(
                "%d threads for %d cores that this process may use: every forward will be slower. Leave threads out.",
                threads,
                available_cores(),
            )
        chosen = model if model is not None else os.environ.get("CLIPFAST_MODEL") or None
        artifact = Artifact.open(find_model(chosen if chosen is not None else DEFAULT_MODEL))
        if precision == "int8":
            require_int8(artifact, options)
            if shortcoming := int8_shortcoming():
                log.warning(shortcoming)
            elif hint := openvino_hint(provider, precision):
                log.warning(hint)
        if chosen is None and artifact.manifest.notice:
            log.warning(artifact.manifest.notice)
        return cls(
            artifact,
            provider=options,
            precision=precision,
            threads=threads,
            images=images or ImageOptions(),
        )

    @property
    def name(self) -> str:
        """The model's name, such as "ViT-B-32"."""
        return self.manifest.name

    @property
    def embed_dim(self) -> int:
        """Size of an embedding, `e`."""
        return self.manifest.model.embed_dim

    @property
    def exif(self) -> Literal["apply", "ignore"]:
        """What is done with the orientation that cameras store; a bank reads its photos in the same way."""
        return self._images.exif

    @property
    def max_pixels(self) -> int:
        """The largest image that is decoded, in pixels."""
        return self._images.max_pixels

    def fingerprint(self, output: str = "embedding") -> str:
        """Return the identity of one output's vectors; equal strings mean comparable vectors."""
        return self.manifest.fingerprint(output)

    def encode_images(self, images: Images) -> Floats:
        """Embed images.

        Args:
            images: One image or any iterable of them: paths, bytes, binary files, PIL images, uint8 (h, w, 3) arrays.
                Long iterables are read ahead in bounded batches.

        Returns:
            Unit rows, (n, e) float32.

        Raises:
            ImageError: One cannot be read, or is larger than the limit.
            ShapeError: An array that is not uint8 (h, w, 3).
        """
        return self._run("embed", images)["embedding"]

    def encode_texts(self, texts: Sequence[str], templates: Sequence[str] | None = None) -> Floats:
        """Embed texts, remembering them.

        Args:
            texts: Texts, or names for the templates. Text beyond the context length is cut, with a log warning.
            templates: Strings with `{}` (see `clipfast.prompts`): each text's prompts are embedded, normalised,
                averaged and normalised again.

        Returns:
            Unit rows, (t, e) float32.
        """
        if not isinstance(texts, Iterable):
            raise ShapeError(f"texts must be a string or a list of strings; got {type(texts).__name__}.")
        wanted = [texts] if isinstance(texts, str) else list(texts)
        if bad := [text for text in wanted if not isinstance(text, str)]:
            raise ShapeError(f"texts must be strings; got {type(bad[0]).__name__}.")
        wanted = [text.encode("utf-8", "replace").decode() for text in wanted]  # lone surrogates become "?"
        key = _checked_templates(templates)
        cache = self._opened.texts
        rows = {text: cache.get(text, key) for text in wanted}
        missing = [text for text, row in rows.items() if row is None]
        for text, row in zip(missing, self._embed_texts(missing, key), strict=True):
            cache.put(text, key, row, on_disk=not self._is_warned_of(text, key))
            rows[text] = row
        out = np.zeros((len(wanted), self.embed_dim), np.float32)
        for i, text in enumerate(wanted):
            out[i] = rows[text]
        return out

    def encode_dense(self, images: Images, alpha: float = 0.5) -> DenseTokens:
        """Embed images and their patches by CLIP Surgery's paths, in one forward.

        Args:
            images: As for `encode_images`.
            alpha: Share of the query-key stream in `mixed`: 1 gives qk, 0 gives vv.

        Returns:
            Embedding and patch tokens; tokens are not normalised.
        """
        if not 0.0 <= alpha <= 1.0:
            raise ShapeError(f"alpha must be in [0, 1]; got {alpha}.")
        found = self._run("dense", images, alpha=np.asarray(alpha, np.float32))
        core = {name: found.pop(name) for name in ("embedding", "qk", "vv", "mixed")}
        return DenseTokens(**core, grid_hw=self.manifest.model.grid_hw, streams=found)

    def encode_tokens(self, images: Images) -> Floats:
        """Embed patches by the unmodified tower.

        Returns:
            Plain patch tokens, (n, p, e) float32, not normalised. As heat maps they respond the wrong way round
            (CLIP Surgery, section 3); they are there for comparison.
        """
        return self._run("tokens", images)["plain"]

    def encode_presets(self, images: Images) -> dict[str, Floats]:
        """Embed patches by every preset that the artifact was exported with (`--presets`), and plainly.

        Returns:
            By name, "plain" among them, each (n, p, e) float32, not normalised; "sweep" is (n, L, p, e), z_vv of each
            Surgery depth from 1.
        """
        found = self._run("tokens", images)
        del found["embedding"]
        return found

    def encode_patches(self, images: Images, blocks: Sequence[int] | None = None) -> PatchFeatures:
        """Compute the patch features of inner blocks.

        Args:
            images: As for `encode_images`.
            blocks: Which, numbered from 1, of those the artifact was exported with; None takes all of them.

        Raises:
            ArtifactError: The artifact does not hold a block.
        """
        held = self.manifest.model.feature_blocks
        wanted = held if blocks is None else tuple(blocks)
        if strangers := [number for number in wanted if number not in held]:
            raise ArtifactError(
                f"{self.artifact.path} holds features after blocks {', '.join(map(str, held))}, not after "
                f"{', '.join(map(str, strangers))}. Export it with --blocks {','.join(map(str, wanted))}."
            )
        return self._features(self._run("patches", images), wanted)

    def encode_joint(self, images: Images) -> JointFeatures:
        """Compute embedding, value-value tokens and patch features in one forward."""
        found = self._run("joint", images)
        return JointFeatures(found["embedding"], found["vv"], self._features(found, self.manifest.model.feature_blocks))

    def warm_up(self, graphs: Sequence[str] | None = None) -> None:
        """Open graphs, run each once and load the kernels, so that the first request is as quick as the next.

        Args:
            graphs: Names of graphs, such as ["embed"]; None warms all that the artifact holds.
        """
        self._load_kernel()
        for name in self.manifest.heads if graphs is None else graphs:
            self._opened.session(name).run(self._blank_inputs(name))
        self._opened.tokenizer()

    def _blank_inputs(self, graph: str) -> dict[str, NDArray[Any]]:
        rows = smallest_batch(self._options, graph)
        blanks: dict[str, NDArray[Any]] = {
            "pixels": np.zeros((rows, *self.manifest.image.size_hw, 3), np.uint8),
            "alpha": np.asarray(0.5, np.float32),
            "ids": np.zeros((rows, 2), np.int64),
        }
        return {name: blanks[name] for name in self.manifest.graphs[graph].inputs}

    def close(self) -> None:
        """Let go of the graphs' memory; the next call opens them again."""
        self._opened.close()

    def __enter__(self) -> Clip:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Clip({self.name!r}, provider={self.provider!r}, precision={self.precision!r}, threads={self.threads})"

    def _features(self, found: dict[str, Floats], blocks: Sequence[int]) -> PatchFeatures:
        return PatchFeatures({number: found[f"block_{number}"] for number in blocks}, self.manifest.model.grid_hw)

    def _run(self, graph: str, images: Images, **inputs: NDArray[Any]) -> dict[str, Floats]:
        """Run a vision graph over images in bounded batches; every output by name."""
        self._opened.load_provider(graph)
        batched = self._pixel_batches(images)  # a single image is decoded while its graph is opened
        session = self._opened.session(graph)
        parts = [session.run({"pixels": pixels, **inputs}) for pixels in batched]
        if not parts:  # no image: the right shapes, without rows
            return {name: value[:0] for name, value in session.run(self._blank_inputs(graph)).items()}
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _pixel_batches(self, images: Images) -> Iterator[Pixels]:
        options = self._images
        sources = each_image(images)
        if isinstance(sources, list) and len(sources) == 1 and options.decoders:
            decoded = self._opened.decoders(options.decoders).submit(self._pixels, sources[0], self.threads)
            return (future.result()[None] for future in (decoded,))
        if not isinstance(sources, list) or len(sources) >= _MANY:
            self._load_kernel()
        ahead = prefetch(self._pixels, sources, workers=options.decoders, ahead=2 * options.batch_size)
        return (np.stack(group) for group in batches(ahead, options.batch_size))

    def _pixels(self, source: ImageSource, threads: int = 1) -> Pixels:
        from clipfast.runtime.images import load_pixels  # Pillow: loaded while the graph is opened
        from clipfast.runtime.preprocess import preprocess

        options, spec = self._images, self.manifest.image
        wanted_hw = spec.size_hw if options.decode == "fast" else None
        image = load_pixels(source, max_pixels=options.max_pixels, exif=options.exif, wanted_hw=wanted_hw)
        return preprocess(image, spec, threads=threads)

    @staticmethod
    def _load_kernel() -> None:
        from clipfast.runtime.preprocess import load_kernel

        load_kernel()

    def _embed_texts(self, texts: list[str], templates: tuple[str, ...] | None) -> Floats:
        prompts = texts if templates is None else expand(texts, templates)
        if not prompts:
            return np.zeros((0, self.embed_dim), np.float32)
        tokenizer, session = self._opened.tokenizer(), self._opened.session("text")
        self._warn_of_unknown_words(texts, tokenizer)
        rows = np.concatenate(
            [session.run({"ids": tokenizer(group)})["embedding"] for group in batches(prompts, _TEXT_BATCH)]
        )
        if templates is None:
            return rows
        means = rows.reshape(len(texts), len(templates), -1).mean(axis=1)
        return _unit_rows(means)

    def _is_warned_of(self, text: str, templates: tuple[str, ...] | None) -> bool:
        """Whether words of a text are unknown to the model, or some of its prompts are cut."""
        tokenizer, room = self._opened.tokenizer(), self.manifest.tokenizer.context_length - 2
        if text and tokenizer.known_share(text) < _KNOWN_ENOUGH:
            return True
        prompts = [text] if templates is None else expand([text], templates)
        # A token is a byte at least, so only long prompts have to be counted.
        return any(len(prompt.encode()) > room and len(tokenizer.encode(prompt)) > room for prompt in prompts)

    @staticmethod
    def _warn_of_unknown_words(texts: list[str], tokenizer: Tokenizer) -> None:
        for text in texts:
            if text and (share := tokenizer.known_share(text)) < _KNOWN_ENOUGH:
                log.warning(
                    "This small model knows only %.0f %% of the words in %r; unknown words all look alike to it, so "
                    "its answer means little. Name a larger model.",
                    100 * share,
                    text,
                )


def _checked_templates(templates: Sequence[str] | None) -> tuple[str, ...] | None:
    if templates is None:
        return None
    if isinstance(templates, str) or not all(isinstance(template, str) for template in templates):
        raise ShapeError(f"templates must be a sequence of strings; got {templates!r}.")
    return tuple(templates)


def _unit_rows(rows: NDArray[np.float32]) -> Floats:
    out: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return out
