"""CLIP's byte-pair tokenizer: the cleaning and the split in Python, the merges in the `tokenizers` library.

The split is done here because the `tokenizers` library's own normalisers and patterns differ from ftfy and `regex` on
thousands of code points; its merge loop does not differ.
"""

from __future__ import annotations

import html
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import regex
from tokenizers.models import BPE

from clipfast.artifact import TokenizerSpec
from clipfast.errors import ArtifactError, DataError
from clipfast.types import Ints

__all__ = ["END", "END_OF_WORD", "START", "Tokenizer", "byte_symbols"]

START = "<start_of_text>"
END = "<end_of_text>"
END_OF_WORD = "</w>"

_MAX_FILE_BYTES = 16 << 20
_MAX_CACHED_WORDS = 1 << 16
_MAX_CACHED_LETTERS = 64  # longer words rarely come twice, and would make the cache's size unforeseeable
# Case is ignored although the text is lower-case by then: U+017F folds to "s", so it matters after an apostrophe.
_WORDS = regex.compile(
    rf"{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+", regex.IGNORECASE
)

_log = logging.getLogger(__name__)


class _Model(msgspec.Struct):
    type: Literal["BPE"]
    end_of_word_suffix: Literal["</w>"]
    vocab: dict[str, int]
    merges: list[tuple[str, str]]


class _File(msgspec.Struct):
    model: _Model


def byte_symbols() -> dict[int, str]:
    """Return the printable character that stands for each byte, in the order of CLIP's vocabulary.

    Printable Latin-1 stands for itself; the other 68 bytes get the characters from U+0100 on.

    >>> byte_symbols()[ord("a")], byte_symbols()[ord(" ")]
    ('a', 'Ġ')
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = sorted(set(range(0x100)) - set(plain))
    return {byte: chr(byte) for byte in plain} | {byte: chr(0x100 + rank) for rank, byte in enumerate(other)}


_SYMBOLS = byte_symbols()


class Tokenizer:
    """Turns texts into rows of token ids, equal to open_clip's SimpleTokenizer. Threads may share one.

    Attributes:
        spec: The tokenizer's part of the manifest.
        start: Id of the start token.
        end: Id of the end token.
    """

    def __init__(self, vocab: dict[str, int], merges: list[tuple[str, str]], spec: TokenizerSpec) -> None:
        self.spec = spec
        self.start = vocab[START]
        self.end = vocab[END]
        self._model = BPE(vocab, merges, end_of_word_suffix=END_OF_WORD)
        self._special = {START: (self.start,), END: (self.end,)}
        self._cache: dict[str, tuple[int, ...]] = {}
        self._known = None if spec.known_tokens is None else frozenset(spec.known_tokens)

    @classmethod
    def load(cls, path: str | os.PathLike[str], spec: TokenizerSpec) -> Tokenizer:
        """Read a `tokenizer.json` that export wrote.

        Args:
            path: The file.
            spec: Context length, vocabulary size and known tokens, from the manifest.

        Raises:
            ArtifactError: The file is missing, too large, or no byte-level BPE vocabulary of the size in `spec`.
        """
        file = Path(path)
        if not file.is_file():
            raise ArtifactError(
                f"No tokenizer at {file}. Copy the whole artifact folder again, or export it again.",
                code="file_missing",
                path=file,
            )
        if (size := file.stat().st_size) > _MAX_FILE_BYTES:
            raise ArtifactError(
                f"{file} is {size:,} bytes; a tokenizer may have {_MAX_FILE_BYTES:,} at most.",
                code="too_large",
                path=file,
                most=_MAX_FILE_BYTES,
            )
        try:
            model = msgspec.json.decode(file.read_bytes(), type=_File).model
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _unreadable(file, error) from error
        if wrong := _flaw(model.vocab, spec):
            raise ArtifactError(
                f"{file} does not fit the manifest: {wrong}. Export the model again.",
                code="bad_tokenizer",
                path=file,
                error=wrong,
            )
        try:
            return cls(model.vocab, model.merges, spec)
        except Exception as error:  # `tokenizers` raises plain Exception for a merge of unknown tokens
            raise _unreadable(file, error) from error

    def __call__(self, texts: Sequence[str]) -> Ints:
        """Return one row of ids per text: start, words, end, then zeros up to the longest row.

        A text of more than `spec.context_length` tokens is cut as open_clip cuts it, so that its last id is the end
        token. One warning is logged for all texts of a call that are cut: a long name in 85 templates is one mistake.

        Args:
            texts: The texts; one string is one text.

        Returns:
            Ids, (t, l) int64, where l is the longest row and never above the context length; (0, 0) without texts.

        Raises:
            DataError: An item is not a string.
        """
        items = [texts] if isinstance(texts, str) else list(texts)
        rows = [self._row(index, text) for index, text in enumerate(items)]
        length = self.spec.context_length
        if cut := [index for index, row in enumerate(rows) if len(row) > length]:
            self._warn_of_cuts(items[cut[0]], cut[0], len(rows[cut[0]]), others=len(cut) - 1)
            rows = [row if len(row) <= length else [*row[: length - 1], self.end] for row in rows]
        ids = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
        for row, target in zip(rows, ids, strict=True):
            target[: len(row)] = row
        return ids

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's words, without start and end token and without a length limit."""
        ids: list[int] = []
        for word in _WORDS.findall(_clean(text)):
            ids += self._cache.get(word) or self._merge(word)
        return ids

    def known_share(self, text: str) -> float:
        """Return the share of a text's ids that the model was trained on, in [0, 1]; 1.0 where it knows all."""
        if self._known is None or not (ids := self.encode(text)):
            return 1.0
        return sum(token in self._known for token in ids) / len(ids)

    def _row(self, index: int, text: str) -> list[int]:
        if not isinstance(text, str):
            raise DataError(f"texts must be strings; got {type(text).__name__} at {index}. Pass a list of str.")
        return [self.start, *self.encode(text), self.end]

    def _warn_of_cuts(self, text: str, index: int, tokens: int, *, others: int) -> None:
        length = self.spec.context_length
        _log.warning(
            "Text %d, %r, was cut: its last %d of %d tokens are lost. The model reads %d between start and end.%s",
            index,
            text if len(text) <= 60 else f"{text[:60]}…",
            tokens - max(length, 2),
            tokens - 2,
            max(length - 2, 0),
            f" So were {others} others of this call." if others else "",
        )

    def _merge(self, word: str) -> tuple[int, ...]:
        symbols = "".join([_SYMBOLS[byte] for byte in word.encode()])
        ids = self._special.get(symbols) or tuple([token.id for token in self._model.tokenize(symbols)])
        if len(word) <= _MAX_CACHED_LETTERS:
            if len(self._cache) >= _MAX_CACHED_WORDS:
                self._cache.clear()  # starting over keeps memory flat and needs no lock, unlike an LRU order
            self._cache[word] = ids
        return ids


def _clean(text: str) -> str:
    """Repair, unescape, collapse white space, lower-case: open_clip's steps in open_clip's order."""
    if not (text.isascii() and text.isprintable() and "&" not in text):
        import ftfy  # nothing to repair in most texts, and it takes longer to import than all else here

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def _flaw(vocab: dict[str, int], spec: TokenizerSpec) -> str | None:
    """Say what would make ids wrong or missing later: `tokenizers` drops unknown symbols without a word."""
    if len(vocab) != spec.vocab_size or set(vocab.values()) != set(range(len(vocab))):
        return f"ids must be 0 to {spec.vocab_size - 1:,}; got {len(vocab):,} tokens"
    needed = [START, END, *_SYMBOLS.values(), *(symbol + END_OF_WORD for symbol in _SYMBOLS.values())]
    if missing := [token for token in needed if token not in vocab]:
        return f"the vocabulary must hold every byte and both special tokens; {missing[0]!r} is missing"
    return None


def _unreadable(file: Path, error: Exception) -> ArtifactError:
    sentence = f"{file} is not a tokenizer of clipfast: {error}. Export the model again."
    return ArtifactError(sentence, code="bad_tokenizer", path=file, error=error)
