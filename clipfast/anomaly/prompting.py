"""From a class name to the two groups of prompts."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipfast.anomaly.options import LEGACY_TEMPERATURE, Pooling, PromptOptions
from clipfast.anomaly.semantic import TextPrompts, unit_rows
from clipfast.artifact import require_fingerprint
from clipfast.datasets.fabricworld import DEFECTS, ENGLISH, FABRICS, english_prompt
from clipfast.errors import ArtifactError, DataError
from clipfast.prompts import CLASS_STATES, FABRIC_STATES
from clipfast.types import Floats, TextEncoder

__all__ = ["build_prompts", "choose_phrases", "english_class_name", "load_prompt_features", "model_temperature"]

DEFAULT_TEMPERATURE = 0.01
_MOST_BYTES = 64 << 20


def english_class_name(name: object) -> str:
    """Return the class in English: fabricworld's Chinese names are translated, others must be English already.

    Raises:
        DataError: The name is no text or empty, or has Chinese parts that are not in the table.

    >>> english_class_name("牛仔布"), english_class_name("metal_nut")
    ('denim', 'metal nut')
    """
    wanted = name.replace("_", " ").strip() if isinstance(name, str) else ""
    if not wanted:
        raise DataError(f"class_name must name what is inspected; got {name!r}. Pass 'denim' or '牛仔布'.")
    if wanted in ENGLISH:
        return ENGLISH[wanted]
    if wanted.isascii():
        return wanted
    try:
        return english_prompt(wanted).removeprefix("a photo of ")
    except DataError as error:
        raise DataError(f"class_name {name!r} is not English and not in the table of names: {error}") from error


def build_prompts(
    clip: TextEncoder, class_name: str, options: PromptOptions, support_tokens: Floats | None = None
) -> TextPrompts:
    """Encode states of the class, each within all templates.

    Args:
        clip: Encodes the texts.
        class_name: English, or a Chinese name of fabricworld's table.
        options: States, templates, temperature. A state may be a Chinese defect of the table, such as "破洞".
        support_tokens: The support's patch tokens, (n, p, e); needed where `options.guided` asks for phrases.

    Raises:
        DataError: The class or a state is neither English nor in the table, or phrases are asked for without tokens.
    """
    name = english_class_name(class_name)
    normal = [_state(state).replace("{}", name) for state in options.normal]
    abnormal = [_state(state).replace("{}", name) for state in _abnormal(name, options)]
    if options.guided:
        if support_tokens is None:
            raise DataError("guided prompts need the support's patch tokens; got none. Pass what encode_joint() gives.")
        chosen = choose_phrases(clip, options, name, support_tokens)
        normal += [f"{name} with {phrase}" for phrase in chosen]
        abnormal += [f"{name} with damaged {phrase}" for phrase in chosen]
    rows = clip.encode_texts([*normal, *abnormal], options.templates)
    temperature = LEGACY_TEMPERATURE if options.legacy_temperature else options.temperature
    return TextPrompts(
        rows[: len(normal)],
        rows[len(normal) :],
        model_temperature(clip) if temperature is None else temperature,
        options.pooling,
        (*normal, *abnormal),
    )


def choose_phrases(clip: TextEncoder, options: PromptOptions, name: str, support_tokens: Floats) -> tuple[str, ...]:
    """Return the phrases of the bank that are nearest to the support's patches by mean cosine, best first.

    Equal ones stand in the order of the bank.
    """
    texts = [f"{name} with {phrase}" for phrase in options.phrases]
    rows = clip.encode_texts(texts, options.templates)
    patches = unit_rows(support_tokens.reshape(-1, support_tokens.shape[-1]))
    order = np.argsort(-(rows @ patches.mean(axis=0)), kind="stable")
    return tuple(options.phrases[place] for place in order[: options.guided])


def model_temperature(clip: object) -> float:
    """Return one over the model's logit scale; 0.01, CLIP's own, for encoders that do not tell it."""
    scale = getattr(getattr(getattr(clip, "manifest", None), "model", None), "logit_scale", None)
    return 1 / float(scale) if scale else DEFAULT_TEMPERATURE


def load_prompt_features(
    path: str | os.PathLike[str],
    *,
    temperature: float = DEFAULT_TEMPERATURE,
    pooling: Pooling = "mean",
    fingerprint: str | None = None,
) -> TextPrompts:
    """Read prompt features that were learned elsewhere.

    The file is an .npz with `normal` (a, e) and `abnormal` (b, e), float32 or float16; rows are scaled to unit length.
    It may hold a text `fingerprint` of the model's embeddings.

    Args:
        path: The file.
        temperature: That they were learned with.
        pooling: As in `PromptOptions`.
        fingerprint: What the file's own must be equal to, if it has one.

    Raises:
        ArtifactError: The file is missing, too large or no such file, or its arrays are not finite rows of one width.
        FingerprintError: It names another model.
    """
    file = Path(path)
    if not file.is_file():
        raise ArtifactError(f"No prompt features at {file}. Name an .npz with the arrays normal and abnormal.")
    if file.stat().st_size > _MOST_BYTES:
        raise ArtifactError(f"{file} is larger than {_MOST_BYTES:,} bytes; prompt features are small.")
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        _require_small(unpacked)
        with np.load(file, allow_pickle=False) as arrays:
            normal, abnormal = _learned(arrays["normal"], "normal"), _learned(arrays["abnormal"], "abnormal")
            made_by = str(arrays["fingerprint"]) if "fingerprint" in arrays else None
        prompts = TextPrompts(normal, abnormal, temperature, pooling)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{file} does not hold prompt features: {error}. Save normal and abnormal again."
        ) from error
    if fingerprint is not None and made_by is not None:
        require_fingerprint(made_by, fingerprint, what=str(file))
    return prompts


def _require_small(unpacked: int) -> None:
    """Nothing is unpacked that is larger than prompt features can be."""
    if unpacked > _MOST_BYTES:
        raise ValueError(f"it would unpack to {unpacked:,} bytes, and prompt features are small")


def _learned(rows: NDArray[np.floating], name: str) -> Floats:
    if rows.dtype.kind != "f" or rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite rows (a, e) of floats; got {rows.shape} {rows.dtype}")
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    if not lengths.all():
        raise ValueError(f"{name} has a row of zeros")
    return unit_rows(rows.astype(np.float32))


def _abnormal(name: str, options: PromptOptions) -> tuple[str, ...]:
    if not options.class_states:
        return options.abnormal
    known = CLASS_STATES.get(name)
    if known is None and any(word in FABRICS for word in (name, *_tails(name))):
        known = FABRIC_STATES
    return (*options.abnormal, *(known or ()))


def _tails(name: str) -> list[str]:
    """The name without its first words and without "fabric": "red denim fabric" is denim."""
    words = name.removesuffix(" fabric").split()
    return [" ".join(words[start:]) for start in range(len(words))]


def _state(state: str) -> str:
    """A state in English: a defect of fabricworld's table stands for "{} with a ..."."""
    known = {defect.zh: defect.name for defect in DEFECTS.values()} | {name: name for name in DEFECTS}
    bare = state.replace("{}", "").strip()
    if bare in known:
        thing = known[bare]
        return f"{{}} with {thing}" if thing.endswith("stitches") else f"{{}} with a {thing}"
    if not state.isascii():
        raise DataError(f"a state must be English, or one of {', '.join(known)}; got {state!r}.")
    return state
