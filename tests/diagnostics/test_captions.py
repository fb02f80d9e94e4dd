"""Image-text pairs: which groups are mismatched, whether keywords are found, whether the context counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from clipfast.diagnostics.captions import Captions, diagnose_captions, read_captions
from clipfast.diagnostics.keywords import KeywordOptions, find_keywords
from clipfast.errors import DataError
from clipfast.report.captions import save_caption_report
from clipfast.types import DenseTokens, Floats, Images
from diagnostics.samples import write_lines

GRID = 3


class Dense:
    """Word `w3` is row 3; a text is the sum of its words, or its last word. Image `i3.png` has `w3` in one cell."""

    def __init__(self, *, uses_context: bool) -> None:
        self.uses_context = uses_context

    def encode_texts(self, texts: Sequence[str], templates: Sequence[str] | None = None) -> Floats:
        rows = []
        for text in texts:
            words = text.split() if self.uses_context else text.split()[-1:]
            rows.append(np.sum([self._row(word) for word in words], axis=0))
        unit: Floats = (np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit

    def encode_dense(self, images: Images, alpha: float = 0.5) -> DenseTokens:
        assert isinstance(images, list)
        tokens = np.full((len(images), GRID * GRID, 32), 1e-3, np.float32)
        for at, image in enumerate(images):
            assert isinstance(image, Path)
            tokens[at, 4] += self._row(image.stem.replace("i", "w"))  # the middle
            tokens[at, 0] += self._row("in")
        return DenseTokens(tokens[:, 0], tokens, tokens, tokens, (GRID, GRID))

    def fingerprint(self, output: str = "embedding") -> str:
        return "dense"

    @staticmethod
    def _row(word: str) -> Floats:
        row: Floats = np.eye(32, dtype=np.float32)[30 if word == "in" else int(word[1:])]
        return row


def _captions(count: int = 12, **changes: str) -> Captions:
    names = [f"w{at}" for at in range(count)]
    return Captions(
        tuple(map(str, range(count))),
        tuple(f"in in {name}" for name in names),
        tuple(f"i{at}.png" for at in range(count)),
        tuple(changes.get(name, name) for name in names),
    )


def test_keywords_are_found_and_contexts_move_maps() -> None:
    """An encoder that reads the whole caption looks elsewhere; one that reads the last word alone does not."""
    with_context, without = (
        find_keywords(Dense(uses_context=uses), _captions(), Path(), KeywordOptions(batch_size=5))
        for uses in (True, False)
    )

    assert with_context is not None
    assert without is not None
    assert with_context.patches.auc == without.patches.auc == 1.0
    assert with_context.pairs == 12
    assert without.moved == pytest.approx(0.0, abs=1e-6)
    assert without.same_peak.estimate == 1.0
    assert with_context.moved > 0.4
    assert with_context.same_peak.estimate == 0.0


def test_keywords_that_cannot_be_looked_for() -> None:
    """A word that is not in its caption is named; pairs without one are passed over; one keyword is none to compare."""
    with pytest.raises(DataError, match="pair '3': its keyword must occur in its text; 'tree' is not in 'in in w3'"):
        find_keywords(Dense(uses_context=True), _captions(w3="tree"), Path())
    found = find_keywords(Dense(uses_context=True), _captions(w3="", w4=""), Path())
    assert found is not None
    assert found.pairs == 10
    assert find_keywords(Dense(uses_context=True), _captions(1), Path()) is None
    fewer = find_keywords(Dense(uses_context=True), _captions(), Path(), KeywordOptions(most=4))
    assert fewer is not None
    assert fewer.pairs == 4


def test_mismatches_are_told_by_group(tmp_path: Path) -> None:
    """The supplier whose captions were shuffled stands first; keywords, splits and groups arrive from the file."""
    count = 200
    lines = [
        {"id": at, "text": f"t{at}", "keyword": f"t{at}", "split": "train", "groups": {"supplier": "ab"[at % 2]}}
        for at in range(count)
    ]
    captions = read_captions(write_lines(tmp_path / "c.jsonl", lines))
    rows = np.random.default_rng(0).normal(size=(count, 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    texts = rows.copy()
    texts[1::2] = np.roll(rows[1::2], 1, axis=0)

    found = diagnose_captions(captions, rows, texts)
    paths = save_caption_report(tmp_path / "out", "Pairs", found, captions)

    assert captions.keywords[:2] == ("t0", "t1")
    assert [(group.column, group.name, group.pairs) for group in found.groups] == [
        ("split", "train", 200), ("supplier", "b", 100), ("supplier", "a", 100),
    ]  # fmt: skip
    assert found.groups[1].ratio.estimate > 0.8
    assert found.groups[2].ratio.estimate == 0.0
    assert "supplier" in paths[1].read_text(encoding="utf-8")
    with pytest.raises(DataError, match="groups may not be named 'split'"):
        read_captions(write_lines(tmp_path / "d.jsonl", [{"id": 1, "text": "a", "groups": {"split": "x"}}]))
