"""Tests of clipfast.export.tokenizer."""

import gzip
import sys
from pathlib import Path

import msgspec
import pytest
from tokenizers import Tokenizer

from clipfast.errors import DataError
from clipfast.export.tokenizer import CLIP_MERGES, open_clip_bpe_path, tokenizer_json

MERGES = ["#version: 0.2", "c a", "ca t</w>", "d o", "do g</w>", ""]


@pytest.fixture
def bpe_gz(tmp_path: Path) -> Path:
    """Return a vocabulary file of four merges."""
    path = tmp_path / "bpe.txt.gz"
    path.write_bytes(gzip.compress("\n".join(MERGES).encode()))
    return path


def test_equal_merges_give_equal_compact_bytes(bpe_gz: Path) -> None:
    """The file has no spaces to spare and is the same each time, because the fingerprint covers it."""
    first = tokenizer_json(bpe_gz, merges=4)
    assert first == tokenizer_json(bpe_gz, merges=4)
    assert first == msgspec.json.encode(msgspec.json.decode(first))


def test_ids_are_bytes_then_word_ends_then_merges_then_specials(bpe_gz: Path) -> None:
    """The order of the vocabulary is CLIP's, for any number of merges."""
    vocab = msgspec.json.decode(tokenizer_json(bpe_gz, merges=3))["model"]["vocab"]
    picked = {
        token: vocab[token] for token in ("!", "!</w>", "ca", "cat</w>", "do", "<start_of_text>", "<end_of_text>")
    }
    assert picked == {
        "!": 0,
        "!</w>": 256,
        "ca": 512,
        "cat</w>": 513,
        "do": 514,
        "<start_of_text>": 515,
        "<end_of_text>": 516,
    }


def test_tokenizers_library_reads_the_file(bpe_gz: Path, tmp_path: Path) -> None:
    """The file is a Hugging Face tokenizer.json like any other."""
    file = tmp_path / "tokenizer.json"
    file.write_bytes(tokenizer_json(bpe_gz, merges=4))
    loaded = Tokenizer.from_file(str(file))
    assert loaded.get_vocab_size() == 518
    assert [token.id for token in loaded.model.tokenize("cat")] == [513]
    assert loaded.token_to_id("<end_of_text>") == 517


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "must hold 4 merges; got 0"),
        (b"plain text", "cannot be read"),
        (gzip.compress(b"x" * 5000)[:-20], "cannot be read"),  # cut short
        (gzip.compress(b"title\n\xff\xfe a"), "cannot be read"),  # not UTF-8
        (gzip.compress(b"title\na b\n"), "must hold 4 merges; got 1"),
        (gzip.compress(b"title\na b\na b\na b\na b\n"), "distinct"),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that is not CLIP's vocabulary is an error that says why."""
    path = tmp_path / "bpe.txt.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        tokenizer_json(path, merges=4)


@pytest.mark.torch
def test_published_vocabulary_has_clip_size() -> None:
    """The copy that open_clip ships is found without importing it, and gives CLIP's 49,408 tokens."""
    before = "open_clip" in sys.modules
    vocab = msgspec.json.decode(tokenizer_json(open_clip_bpe_path()))["model"]["vocab"]
    assert ("open_clip" in sys.modules) == before
    assert len(vocab) == CLIP_MERGES + 514 == 49_408
    assert (vocab["<start_of_text>"], vocab["<end_of_text>"]) == (49_406, 49_407)
