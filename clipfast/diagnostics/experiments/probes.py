"""Experiments on anything that encodes images and texts: context, knowledge, regions, shifts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clipfast.datasets.shifts import RANDOM_SHIFTS, SHIFTS, Shift, shifted
from clipfast.diagnostics.captions import PairEncoder
from clipfast.diagnostics.experiments.design import Experiment, compare_arms
from clipfast.diagnostics.predictions import Doubles
from clipfast.errors import DataError, ShapeError
from clipfast.types import Floats, Ints, Pixels, TextEncoder

__all__ = ["augmentation_shift", "context_ablation", "localisation_probe", "prompt_knowledge", "read_knowledge"]

_TIE = 1e-6
_MAX_BYTES = 4 << 20
_SPACES = re.compile(r"\s+")
_HAN = "[\u3400-\u9fff\uf900-\ufaff]"
_WORDS = re.compile(rf"\s*(?:{_HAN}|(?:(?!{_HAN})\S)+)")


def context_ablation(
    encoder: TextEncoder,
    image_rows: Floats,
    texts: Sequence[str],
    keywords: Sequence[str],
    *,
    seeds: Sequence[int] = (0, 1, 2),
) -> Experiment:
    """Take away the words around the keyword, and see whether images still find their text.

    An image is right if its own text is nearest among all; of equally near ones, by the chance to pick its own, or one
    that was equal to it before anything was taken away. If accuracy
    falls without the context, the words alone are ambiguous; if it falls without the keyword, they are what counts.

    Args:
        encoder: Of texts.
        image_rows: Unit rows of the images, (n, e).
        texts: Of each image, n.
        keywords: The word or phrase of each text that names what is meant; must occur in it, n.
        seeds: Of which half of the context is dropped.

    Raises:
        DataError: A keyword does not occur in its text.
        ShapeError: Lengths differ.
    """
    if not len(image_rows) == len(texts) == len(keywords):
        raise ShapeError(
            f"images, texts and keywords must be as many; got {len(image_rows)}, {len(texts)}, {len(keywords)}."
        )
    for text, keyword in zip(texts, keywords, strict=True):
        if not keyword or keyword not in text:
            raise DataError(f"a keyword must occur in its text; {keyword!r} is not in {text!r}.")

    _, same = np.unique(list(texts), return_inverse=True)

    def right(changed: Sequence[str]) -> Doubles:
        return _finds_own(image_rows, encoder.encode_texts(list(changed)), same)

    pairs = list(zip(texts, keywords, strict=True))
    halves = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        halves.append(right([_half_context(text, keyword, rng) for text, keyword in pairs]))
    times = (len(seeds), 1)
    return compare_arms(
        "context ablation",
        {
            "whole text": np.tile(right(texts), times),
            "half of the context": np.stack(halves),
            "keyword only": np.tile(right(keywords), times),
            "context only": np.tile(right([_clean(text.replace(keyword, " ")) for text, keyword in pairs]), times),
        },
        "whole text",
    )


def _half_context(text: str, keyword: str, rng: np.random.Generator) -> str:
    before, _, after = text.partition(keyword)
    kept = ["".join(word for word in _WORDS.findall(part) if rng.random() < 0.5) for part in (before, after)]
    return _clean(f"{kept[0]}{keyword}{kept[1]}" if _spaceless(text) else f"{kept[0]} {keyword} {kept[1]}")


def _spaceless(text: str) -> bool:
    """Whether words are not parted by spaces, as in Chinese; then single characters are taken away."""
    return re.search(_HAN, text) is not None


def _clean(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def _finds_own(image_rows: Floats, text_rows: Floats, same: Ints) -> Doubles:
    """Return the chance that each image picks its own text, or one of the same group, among the nearest, (n,)."""
    cosines = (image_rows @ text_rows.T).astype(np.float64)
    nearest = cosines >= cosines.max(axis=1, keepdims=True) - _TIE
    found: Doubles = (nearest & (same[:, None] == same)).sum(axis=1) / nearest.sum(axis=1)
    return found


def prompt_knowledge(
    encoder: TextEncoder, image_rows: Floats, labels: Ints, names: Sequence[str], knowledge: Mapping[str, Sequence[str]]
) -> Experiment:
    """Add synonyms and definitions to the names of classes: the mean of their embeddings instead of the name's alone.

    A clear gain says that the gap is one of words: what is shown has other names in the model's language.

    Args:
        encoder: Of texts.
        image_rows: Unit rows, (n, e).
        labels: Numbers of `names`, (n,).
        names: Of the classes.
        knowledge: Further texts by name, such as `read_knowledge` gives them.

    Raises:
        DataError: A name in `knowledge` is no class.
    """
    strangers = sorted(set(knowledge) - set(names))
    if strangers:
        raise DataError(f"knowledge must be of the classes {', '.join(names)}; got {strangers[0]!r} as well.")

    def right(rows: Floats) -> Doubles:
        found: Doubles = ((image_rows @ rows.T).argmax(axis=1) == labels).astype(np.float64)
        return found

    plain = encoder.encode_texts(list(names))
    rich = plain.copy()
    for at, name in enumerate(names):
        if knowledge.get(name):
            mean = np.vstack([plain[at : at + 1], encoder.encode_texts(list(knowledge[name]))]).mean(axis=0)
            rich[at] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return compare_arms("prompt knowledge", {"names": right(plain), "names and knowledge": right(rich)}, "names")


def read_knowledge(path: Path) -> dict[str, list[str]]:
    """Read synonyms and definitions: TOML with one list of texts a name.

    Raises:
        DataError: The file is missing, too large, or not of this form.
    """
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise DataError(
            f"there must be a TOML file of at most {_MAX_BYTES >> 20} MB at {path}, with a list of texts a name."
        )
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no TOML: {error}.") from error
    for name, texts in given.items():
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
            raise DataError(
                f'{path}: {name} must be a list of texts, such as ["satin", "a shiny weave"]; got {texts!r}.'
            )
    return given


def localisation_probe(
    encoder: PairEncoder,
    images: Sequence[Pixels],
    candidates: Sequence[Ints],
    texts: Sequence[str],
    answers: Sequence[int],
) -> Experiment:
    """Let the model choose the box that a text means: each candidate is cut out and compared with the text.

    Near chance, the model cannot tell regions apart; good, while whole pictures fail, it is where it looks.

    Args:
        encoder: Of images and texts.
        images: RGB, (h, w, 3) uint8 each, n.
        candidates: Boxes xyxy in pixels, (k, 4) each, two or more, n.
        texts: What is meant, n.
        answers: Number of the right candidate, n.

    Raises:
        ShapeError: Lengths differ, a box is empty or outside, or an answer numbers no candidate.
    """
    if not len(images) == len(candidates) == len(texts) == len(answers):
        raise ShapeError("images, candidates, texts and answers must be as many as each other.")
    right, chance = [], []
    text_rows = encoder.encode_texts(list(texts))
    for at, (image, boxes, answer) in enumerate(zip(images, candidates, answers, strict=True)):
        height, width = image.shape[:2]
        if len(boxes) < 2 or not 0 <= answer < len(boxes):
            raise ShapeError(
                f"sample {at} needs two candidates or more, and an answer among them; got {len(boxes)}, {answer}."
            )
        crops = []
        for x1, y1, x2, y2 in np.asarray(boxes).astype(np.int64).tolist():
            if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
                raise ShapeError(
                    f"sample {at}: box {[x1, y1, x2, y2]} must lie inside the picture of {width} x {height}."
                )
            crops.append(np.ascontiguousarray(image[y1:y2, x1:x2]))
        right.append(float(int((encoder.encode_images(crops) @ text_rows[at]).argmax()) == answer))
        chance.append(1 / len(boxes))
    return compare_arms("localisation probe", {"by chance": np.array(chance), "chosen": np.array(right)}, "by chance")


def augmentation_shift(  # noqa: PLR0913  # data and the three things that are varied
    encoder: PairEncoder,
    images: Sequence[Pixels],
    labels: Ints,
    texts: Sequence[str],
    *,
    shifts: Sequence[Shift] = tuple(SHIFTS),
    backgrounds: Sequence[Pixels] | None = None,
    seeds: Sequence[int] = (0,),
) -> Experiment:
    """Name pictures under other light, angles, noise and compression, and before other backgrounds.

    Args:
        encoder: Of images and texts.
        images: RGB, (h, w, 3) uint8 each, n.
        labels: Numbers of `texts`, (n,).
        texts: One a class.
        shifts: Names of `clipfast.datasets.shifts.SHIFTS`.
        backgrounds: The same pictures before other backgrounds, n (`replace_background`); None leaves them out.
        seeds: Of how far pictures are turned, and of noise; the other shifts have nothing random.
    """
    rows = encoder.encode_texts(list(texts))

    def right(pictures: Sequence[Pixels]) -> Doubles:
        found: Doubles = ((encoder.encode_images(list(pictures)) @ rows.T).argmax(axis=1) == labels).astype(np.float64)
        return found

    def runs(shift: Shift, number: int) -> Doubles:
        count = len(images)
        return right([shifted(image, shift, seed=number * count + at) for at, image in enumerate(images)])

    times = (len(seeds), 1)
    arms = {"as they are": np.tile(right(images), times)}
    for shift in shifts:
        random = shift in RANDOM_SHIFTS
        arms[shift] = np.stack([runs(shift, s) for s in seeds]) if random else np.tile(runs(shift, 0), times)
    if backgrounds is not None:
        arms["other background"] = np.tile(right(backgrounds), times)
    return compare_arms("augmentation shift", arms, "as they are")
