"""Captions out of claims: the same claims said in many ways, and their tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from open_clip import SimpleTokenizer

import words
from claims import (
    COLOUR,
    COLOUR_NAMES,
    DAMAGED,
    DEFECT,
    DEFECT_NAMES,
    EMPTY,
    FABRIC_NAMES,
    FLAWLESS,
    OBJECT,
    OBJECT_COLOUR,
    SHAPE,
    SHAPE_NAMES,
    colour_of,
    shape_of,
)
from clipfast.prompts import SURGERY

CONTEXT = 28  # tokens of the longest caption, start and end included
_NAME_ITSELF = 0.6  # how often a thing is called by its own name, and not by a synonym
_IN_TEMPLATE = 0.2  # how often a single thing is put into one of CLIP Surgery's 85 templates
_STRANGE = 0.1  # how often words that the model does not know are strewn in


class CaptionWriter:
    """Writes captions and turns them into rows of the model's token table.

    Attributes:
        known_tokens: The tokens of every word that can come up, ascending; the row of a token is its place here, and
            the row after the last stands for every unknown word.
    """

    def __init__(self) -> None:
        self._tokenizer = SimpleTokenizer()
        self._pieces: dict[str, list[int]] = {}
        found = {token for phrase in _phrases() for token in self._tokens(phrase)}
        self._start, self._end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        self.known_tokens = sorted(found | {self._start, self._end})
        self._row = {token: row for row, token in enumerate(self.known_tokens)}

    def encode(
        self, rng: np.random.Generator, captions: Sequence[Sequence[int]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Write a caption for each list of claims.

        Returns:
            Rows of the token table, (t, CONTEXT), and where each caption ends, (t,).
        """
        rows = np.full((len(captions), CONTEXT), self._row[self._end], np.int64)
        ends = np.zeros(len(captions), np.int64)
        unknown = len(self.known_tokens)
        for number, claims in enumerate(captions):
            said = [self._row[token] for token in self._tokens(write(rng, claims))]
            if rng.random() < _STRANGE:
                for _ in range(int(rng.integers(1, 4))):
                    said.insert(int(rng.integers(len(said) + 1)), unknown)
            said = [self._row[self._start], *said[: CONTEXT - 2], self._row[self._end]]
            rows[number, : len(said)] = said
            ends[number] = len(said) - 1
        return rows, ends

    def _tokens(self, text: str) -> list[int]:
        """Tokenise word by word: words are few and come again, and BPE never joins two of them."""
        tokens: list[int] = []
        for word in re.findall(r"[a-z]+|[^a-z\s]+", text.lower()):
            if word not in self._pieces:
                self._pieces[word] = list(self._tokenizer.encode(word))
            tokens += self._pieces[word]
        return tokens


def write(rng: np.random.Generator, claims: Sequence[int]) -> str:
    """Say all of the claims, and nothing else, in one of many ways.

    >>> write(np.random.default_rng(2), [0, COLOUR + 5, OBJECT + 12 * 2])
    'a macro photo of a blue denim fabric with a red star'
    """
    fabrics = [_called(rng, FABRIC_NAMES[c], words.FABRIC_WORDS) for c in claims if c < COLOUR]
    colours = [_called(rng, COLOUR_NAMES[c - COLOUR], words.COLOUR_WORDS) for c in claims if COLOUR <= c < SHAPE]
    things = [_thing(rng, claim) for claim in claims if SHAPE <= claim < DAMAGED]
    if len(claims) == 1 and claims[0] not in (DAMAGED, FLAWLESS, EMPTY) and rng.random() < _IN_TEMPLATE:
        name = _fabric_name(rng, fabrics, colours) if fabrics or colours else things[0]
        return _one(rng, SURGERY).replace("{}", name)
    things = [_with_article(rng, things[i]) for i in rng.permutation(len(things))]
    before, after = _state(rng, claims)
    beginning = f"{_one(rng, words.BEGINNINGS)} " if rng.random() < 0.8 else ""
    listed = f"{', '.join(things[:-1])} and {things[-1]}" if len(things) > 1 else "".join(things)
    if things and not (fabrics or colours or before or after):
        ground = f" {_one(rng, words.GROUNDS)}" if rng.random() < 0.5 else ""
        return f"{beginning}{listed}{ground}"
    cloth = [*before, *colours, *fabrics]
    if not fabrics or rng.random() < 0.6:
        cloth.append(_one(rng, words.CLOTHS))
    said = " ".join(cloth)
    if beginning or rng.random() < 0.6:
        said = _with_article(rng, said)
    if things:
        said = f"{said} with {listed}" if rng.random() < 0.6 else f"{listed} on {said}"
    return " ".join([f"{beginning}{said}", *after])


def _called(rng: np.random.Generator, name: str, table: dict[str, tuple[str, ...]]) -> str:
    return name if rng.random() < _NAME_ITSELF else _one(rng, table.get(name, (name,)))


def _thing(rng: np.random.Generator, claim: int) -> str:
    """Name an object or a defect, without article."""
    if claim >= DEFECT:
        return _called(rng, DEFECT_NAMES[claim - DEFECT], words.DEFECT_WORDS)
    if claim >= OBJECT_COLOUR:
        colour, thing = COLOUR_NAMES[claim - OBJECT_COLOUR], _one(rng, words.THINGS)
    elif claim >= OBJECT:
        colour, thing = COLOUR_NAMES[colour_of(claim)], _called(rng, SHAPE_NAMES[shape_of(claim)], words.SHAPE_WORDS)
    else:
        return _called(rng, SHAPE_NAMES[claim - SHAPE], words.SHAPE_WORDS)
    return f"{_called(rng, colour, words.COLOUR_WORDS)} {thing}"


def _fabric_name(rng: np.random.Generator, fabrics: list[str], colours: list[str]) -> str:
    cloth = [_one(rng, words.CLOTHS)] if not fabrics or rng.random() < 0.6 else []
    return " ".join([*colours, *fabrics, *cloth])


def _state(rng: np.random.Generator, claims: Sequence[int]) -> tuple[list[str], list[str]]:
    """Say damaged, flawless or empty: words before the cloth and words at the end."""
    before: list[str] = []
    after: list[str] = []
    states = (
        (FLAWLESS, words.FLAWLESS_WORDS, words.FLAWLESS_ENDINGS),
        (DAMAGED, words.DAMAGED_WORDS, words.DAMAGED_ENDINGS),
    )
    for claim, adjectives, endings in states:
        if claim in claims and rng.random() < 0.6:
            before.append(_one(rng, adjectives))
        elif claim in claims:
            after.append(_one(rng, endings))
    if EMPTY in claims:
        after.append(_one(rng, words.EMPTY_ENDINGS))
    return before, after


def _with_article(rng: np.random.Generator, thing: str) -> str:
    draw = rng.random()
    if draw < 0.15 or thing.endswith("stitches"):
        return thing
    if draw < 0.3:
        return f"the {thing}"
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def _one(rng: np.random.Generator, phrases: Sequence[str]) -> str:
    return phrases[int(rng.integers(len(phrases)))]


def _phrases() -> Iterator[str]:
    """Give every phrase that can come up in a caption, and what people type around it."""
    yield from (*FABRIC_NAMES, *COLOUR_NAMES, *SHAPE_NAMES, *DEFECT_NAMES)
    for table in (words.FABRIC_WORDS, words.COLOUR_WORDS, words.SHAPE_WORDS, words.DEFECT_WORDS):
        yield from (word for synonyms in table.values() for word in synonyms)
    for phrases in (words.FLAWLESS_WORDS, words.FLAWLESS_ENDINGS, words.DAMAGED_WORDS, words.DAMAGED_ENDINGS):
        yield from phrases
    yield from (*words.EMPTY_ENDINGS, *words.THINGS, *words.CLOTHS, *words.GROUNDS, *words.BEGINNINGS)
    yield from (template.replace("{}", "") for template in SURGERY)
    yield "a an the and with on in , . !"
