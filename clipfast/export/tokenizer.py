"""Write CLIP's published vocabulary as the `tokenizer.json` of an artifact."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from pathlib import Path

import msgspec

from clipfast.errors import DataError, MissingExtraError
from clipfast.runtime.tokenizer import END, END_OF_WORD, START, byte_symbols

__all__ = ["CLIP_MERGES", "open_clip_bpe_path", "tokenizer_json"]

CLIP_MERGES = 49_408 - 2 * 256 - 2
_MAX_TEXT_BYTES = 16 << 20


def open_clip_bpe_path() -> Path:
    """Return the vocabulary file inside the installed open_clip; neither open_clip nor torch is imported.

    Raises:
        MissingExtraError: open_clip is not installed.
    """
    spec = importlib.util.find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError.of("open_clip", extra="export")
    return Path(spec.submodule_search_locations[0]) / "bpe_simple_vocab_16e6.txt.gz"


def tokenizer_json(bpe_gz: Path, *, merges: int = CLIP_MERGES) -> bytes:
    """Build a compact `tokenizer.json` that both clipfast and `tokenizers.Tokenizer.from_file` read.

    Equal merges give equal bytes, on which the fingerprint of a model rests.

    Args:
        bpe_gz: CLIP's `bpe_simple_vocab_16e6.txt.gz`: one title line, then one merge a line.
        merges: How many merges to take; CLIP takes 48,894. The vocabulary has 514 tokens more.

    Raises:
        DataError: The file is not a gzipped list of that many merges.
    """
    pairs = _read_merges(bpe_gz, merges)
    symbols = list(byte_symbols().values())
    tokens = [*symbols, *(symbol + END_OF_WORD for symbol in symbols), *map("".join, pairs), START, END]
    vocab = {token: index for index, token in enumerate(tokens)}
    if len(vocab) != len(tokens):
        raise DataError(f"{bpe_gz} must merge to distinct tokens; got one twice. Download the file again.")
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": END_OF_WORD,
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": vocab,
        "merges": pairs,
    }
    added = [
        {
            "id": vocab[token],
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in (START, END)
    ]
    return msgspec.json.encode({"version": "1.0", "added_tokens": added, "model": model})


def _read_merges(bpe_gz: Path, count: int) -> list[tuple[str, str]]:
    try:
        with gzip.open(bpe_gz) as file:
            lines = file.read(_MAX_TEXT_BYTES).decode().split("\n")[1 : count + 1]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{bpe_gz} must be CLIP's gzipped vocabulary; it cannot be read: {error}.") from error
    pairs = [(pair[0], pair[1]) for line in lines if len(pair := line.split()) == 2]
    if len(pairs) != count:
        raise DataError(f"{bpe_gz} must hold {count:,} merges; got {len(pairs):,}. Download the file again.")
    return pairs
