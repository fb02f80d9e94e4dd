"""Tests of clipfast.runtime.tokenizer, against published ids and against open_clip itself."""

import gzip
import json
import logging
import random
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipfast.artifact import TokenizerSpec
from clipfast.errors import ArtifactError, DataError
from clipfast.export.tokenizer import open_clip_bpe_path, tokenizer_json
from clipfast.runtime import tokenizer as module
from clipfast.runtime.tokenizer import Tokenizer, byte_symbols

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "clip_reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="../shared/data/clip_reference is absent")

SMALL_MERGES = "#version: 0.2\nc a\nca t</w>\nd o\ndo g</w>\n"
SMALL = TokenizerSpec(file="tokenizer.json", context_length=8, vocab_size=518)
START, END = 516, 517

ODD_TEXTS = [
    "",
    "   \t\n ",
    "a photo of a cat",
    "<start_of_text>",
    "a <end_of_text> b <START_OF_TEXT>c<end_of_text>",
    "<\u017ftart_of_text> it'\u017f we'RE",  # the long s folds to s
    "<|startoftext|> <|endoftext|>",
    "I'm you've they'll he'd it's don't WE'RE 'tis ''s",
    "&lt;p&gt; &amp;amp;lt; &amp;eacute; &#x1F600; &notanentity; &#0; &#xD800; AT&T",
    "\u201csmart\u201d \u2018quotes\u2019 \u2014 \u2026 \ufb01ne \uff21\uff22",
    "schÃ¶n cafÃ© â€™",  # mojibake, which ftfy repairs
    "e\u0301 \u0041\u030a \u0130stanbul \u1e9e \u212a",
    "蜡染 织物 テキスタイル 직물 नमस्ते สวัสดี",
    "👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🇨🇳 ❤️",
    "\x00\x01\x1b[31mred\x1b[0m\x7f\u0085\u2028\u200b\ufeff\u00a0x",
    "\ud83d\ude00 lone \ud800 surrogate",
    "½ ² Ⅷ ٣ 1234567890 3.14e-10",
    "___ -- !!!??? ... a_b-c/d",
    "x" * 500,
    "word " * 400,
    "\t tabs\r\nand\rlines\v\f ",
]
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz   ",
    "ABCxyz '\"&;<>/!?.,-_()[]{}#@%*+=~`^|\\$0123456789 \t\n",
    "".join(map(chr, range(0x180))),
    "".join(map(chr, range(0x300, 0x370))) + "aeiou ",
    "".join(map(chr, range(0x4E00, 0x4F00))) + "".join(map(chr, range(0x3040, 0x30FF))),
    "".join(map(chr, range(0x1F300, 0x1F680))) + "\u200d\ufe0f ",
    "".join(map(chr, range(0x2000, 0x2070))) + "ab ",
]
PIECES = ["&amp;", "&lt;", "&#39;", "&#x", "'s", "'LL", "<start_of_text>", "<end_of_text>", "Ã©", "\u0307", "\x1b[1m"]


def odd_strings(count: int) -> list[str]:
    """Return seeded strings of random code points, of one script each, and of pieces that are treated specially."""
    rng = random.Random(20)  # noqa: S311
    texts: list[str] = []
    while len(texts) < count:
        length = rng.randrange(1, 30)
        if rng.random() < 0.3:
            text = "".join(chr(rng.randrange(0x110000)) for _ in range(length))
        else:
            text = "".join(rng.choices(rng.choice(ALPHABETS), k=length))
        if rng.random() < 0.3:
            at = rng.randrange(length)
            text = text[:at] + rng.choice(PIECES) + text[at:]
        texts.append(text)
    return texts


def vocabulary(folder: Path, merges: str = SMALL_MERGES, count: int = 4) -> Path:
    """Write a tokenizer.json of a few merges."""
    source = folder / "bpe.txt.gz"
    source.write_bytes(gzip.compress(merges.encode()))
    file = folder / "tokenizer.json"
    file.write_bytes(tokenizer_json(source, merges=count))
    return file


@pytest.fixture
def small(tmp_path: Path) -> Tokenizer:
    """Return a tokenizer that knows "cat" and "dog" and the letters."""
    return Tokenizer.load(vocabulary(tmp_path), SMALL)


def clip_tokenizer(folder: Path, source: Path, context_length: int = 77) -> Tokenizer:
    """Return CLIP's own tokenizer."""
    file = folder / "tokenizer.json"
    file.write_bytes(tokenizer_json(source))
    spec = TokenizerSpec(file=file.name, context_length=context_length, vocab_size=49_408)
    return Tokenizer.load(file, spec)


def test_byte_symbols_are_distinct_and_printable() -> None:
    """Every byte has its own character, and none is white space or a control character."""
    symbols = byte_symbols()
    assert sorted(symbols) == list(range(256))
    assert len(set(symbols.values())) == 256
    assert not any(symbol.isspace() or unicodedata.category(symbol) == "Cc" for symbol in symbols.values())


def test_rows_start_end_and_are_padded_to_the_longest(small: Tokenizer) -> None:
    """A batch is as long as its longest text, and shorter texts end in zeros."""
    rows = small(["Cat  dog", "dog", ""])
    assert rows.dtype == np.int64
    assert rows.tolist() == [[START, 513, 515, END], [START, 515, END, 0], [START, END, 0, 0]]


@pytest.mark.parametrize(
    ("texts", "shape"),
    [
        ([], (0, 0)),
        ([""], (1, 2)),
        ("cat", (1, 3)),  # one string is one text, not three letters
        (("cat",), (1, 3)),
        (["cat " * 50], (1, 8)),
    ],
)
def test_shape_of_a_batch(small: Tokenizer, texts: Any, shape: tuple[int, int]) -> None:
    """A batch has a row per text and is never longer than the context."""
    assert small(texts).shape == shape


def test_long_text_is_cut_with_a_warning(small: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    """The last id that is kept is the end token, and the log says which text lost how many tokens."""
    with caplog.at_level(logging.WARNING):
        rows = small(["dog", "cat " * 10])
    assert rows[1].tolist() == [START, *[513] * 6, END]
    assert [record.getMessage() for record in caplog.records] == [
        f"Text 1, {'cat ' * 10!r}, was cut: its last 4 of 10 tokens are lost. The model reads 6 between start and end."
    ]


def test_many_long_texts_are_one_warning(small: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    """A long name in many templates is one mistake: the first is named, the others are counted."""
    with caplog.at_level(logging.WARNING):
        rows = small(["cat " * 10, "dog", *["cat " * 9] * 4])
    assert rows[:, -1].tolist() == [END, 0, *[END] * 4]
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("Text 0, ")
    assert message.endswith("So were 4 others of this call.")


def test_text_of_exactly_the_context_is_not_cut(small: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    """Six words, start and end fill a context of eight without a warning."""
    assert small(["cat " * 6])[0].tolist() == [START, *[513] * 6, END]
    assert not caplog.records


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("<start_of_text>", [START]),
        ("cat<END_OF_TEXT>dog", [513, END, 515]),
        ("&lt;end_of_text&gt;", [END]),  # unescaped first, as in open_clip
        ("&amp;lt;end_of_text&amp;gt;", [END]),  # twice
    ],
)
def test_special_tokens_inside_a_text(small: Tokenizer, text: str, ids: list[int]) -> None:
    """The two special tokens written out in a text are those tokens, as in open_clip."""
    assert small.encode(text) == ids


@pytest.mark.parametrize(
    ("known", "text", "share"),
    [
        (None, "cat xyz", 1.0),
        ((513,), "cat", 1.0),
        ((513,), "cat dog dog cat", 0.5),
        ((513,), "", 1.0),  # nothing unknown was said
        ((), "cat", 0.0),
    ],
)
def test_known_share(tmp_path: Path, known: tuple[int, ...] | None, text: str, share: float) -> None:
    """The share counts ids, not words, and is 1 for a model that knows all tokens."""
    spec = TokenizerSpec(file="tokenizer.json", context_length=8, vocab_size=518, known_tokens=known)
    assert Tokenizer.load(vocabulary(tmp_path), spec).known_share(text) == share


def test_memory_of_words_is_bounded(small: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache starts over when it is full and never keeps long words; ids stay the same."""
    monkeypatch.setattr(module, "_MAX_CACHED_WORDS", 10)
    first = [small.encode(f"w{letter}") for letter in "abcdefghijklmnopqrstuvwxyz"]
    assert first == [small.encode(f"w{letter}") for letter in "abcdefghijklmnopqrstuvwxyz"]
    small.encode("y" * 100_000)
    assert len(small._cache) <= 10
    assert max(map(len, small._cache)) <= 64


def test_threads_share_one_tokenizer(small: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids from several threads, while the cache is emptied under them, equal those from one."""
    monkeypatch.setattr(module, "_MAX_CACHED_WORDS", 5)
    texts = [f"cat {letter}{other} dog" for letter in "abcdefghij" for other in "klmnopqrst"] * 5
    expected = [small.encode(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(small.encode, texts)) == expected


def test_an_item_that_is_no_text_is_refused(small: Tokenizer) -> None:
    """The error names the type and the place."""
    texts: Any = ["cat", 3]
    with pytest.raises(DataError, match="got int at 1"):
        small(texts)


def damaged(**changes: object) -> bytes:
    """Return a valid-looking file whose model differs in the fields named."""
    symbols = list(byte_symbols().values())
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), "ca", "<start_of_text>", "<end_of_text>"]
    model = {"type": "BPE", "end_of_word_suffix": "</w>", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": []}
    return json.dumps({"model": model | changes}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a tokenizer"),
        (b"\x00\xff garbage", "not a tokenizer"),
        (b'{"model": null}', "Expected `object`"),
        (b"[" * 100_000, "not a tokenizer"),  # deep nesting
        (damaged(type="WordPiece"), "Invalid enum value"),
        (damaged(end_of_word_suffix=None), "end_of_word_suffix"),
        (damaged(merges=["c a"]), "merges"),  # the older spelling, which clipfast never wrote
        (damaged(merges=[["ca", "nonsense"]]), "not a tokenizer"),
        (damaged(vocab={"a": 0}), "ids must be 0 to 514; got 1 tokens"),
        (damaged(vocab={str(i): i for i in range(515)}), "'<start_of_text>' is missing"),
        (damaged(vocab={str(i): i * 2 for i in range(515)}), "ids must be"),
        (damaged(vocab={"a": -1}), "ids must be"),
    ],
)
def test_nonsense_is_an_artifact_error(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that would give wrong ids is refused when it is read."""
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=reason):
        Tokenizer.load(file, TokenizerSpec(file=file.name, context_length=8, vocab_size=515))


def test_missing_and_oversized_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is read."""
    file = vocabulary(tmp_path)
    with pytest.raises(ArtifactError, match="No tokenizer at"):
        Tokenizer.load(tmp_path / "absent.json", SMALL)
    monkeypatch.setattr(module, "_MAX_FILE_BYTES", 10)
    with pytest.raises(ArtifactError, match="may have 10 at most"):
        Tokenizer.load(file, SMALL)


@pytest.mark.shared
@needs_reference
def test_published_ids(tmp_path: Path) -> None:
    """Ids that six other projects published are ours."""
    vectors = json.loads((REFERENCE / "tokenizer_vectors.json").read_text(encoding="utf-8"))
    tokenizer = clip_tokenizer(tmp_path, REFERENCE / "bpe_simple_vocab_16e6.txt.gz")
    words = {entry["text"]: entry["ids"] for entry in vectors["encode_without_specials"]}
    full = {entry["text"]: entry["ids"] for entry in vectors["encode_full"]}
    assert words
    assert full
    assert words == {text: tokenizer.encode(text) for text in words}
    assert full == {text: tokenizer([text])[0].tolist() for text in full}


@pytest.mark.shared
@needs_reference
def test_published_batch_that_is_cut(tmp_path: Path) -> None:
    """A batch published for a context of six, with one text too long, is ours."""
    vectors = json.loads((REFERENCE / "tokenizer_vectors.json").read_text(encoding="utf-8"))
    published = vectors["batch_context6_truncate_keep_eot"]
    tokenizer = clip_tokenizer(tmp_path, REFERENCE / "bpe_simple_vocab_16e6.txt.gz", context_length=6)
    assert published["ids"] == tokenizer(published["texts"]).tolist()


@pytest.mark.torch
def test_equal_to_open_clip_on_odd_strings(tmp_path: Path) -> None:
    """Thousands of strings that nobody would write give open_clip's ids."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer, reference = clip_tokenizer(tmp_path, open_clip_bpe_path()), SimpleTokenizer()
    texts = ODD_TEXTS + odd_strings(4000)
    assert [text for text in texts if tokenizer.encode(text) != reference.encode(text)] == []


@pytest.mark.torch
def test_equal_to_open_clip_in_batches(tmp_path: Path) -> None:
    """Start, end, padding and the cut of long texts are open_clip's."""
    from open_clip.tokenizer import SimpleTokenizer

    ours = clip_tokenizer(tmp_path, open_clip_bpe_path())(ODD_TEXTS)
    theirs = SimpleTokenizer()(ODD_TEXTS).numpy()
    assert ours.shape == (len(ODD_TEXTS), 77)
    assert np.array_equal(ours, theirs)
