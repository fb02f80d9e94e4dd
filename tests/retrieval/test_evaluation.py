"""Evaluation phase by phase: counted, compared by the exact test, and never on what was seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.metrics import BootstrapOptions, mcnemar_interval, mcnemar_test, paired_bootstrap
from clipfast.retrieval import FabricBank, References
from clipfast.retrieval.evalset import EvalSet, make_eval_set
from clipfast.retrieval.evaluation import Comparison, evaluate
from clipfast.retrieval.fused import FittedFusion, fit_fusion, with_alpha
from clipfast.retrieval.fusion import Voices
from clipfast.retrieval.head import HeadOptions
from clipfast.retrieval.heldout import train_head
from reference.colour_voices import (
    ColourClip,
    colour_bank,
    colour_voices,
    labelled_folder,
)


@pytest.fixture(scope="module")
def bank() -> FabricBank:
    """Return three references of each of four fabrics; one of them has no rule."""
    return colour_bank()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return labelled patches of the fabrics."""
    return labelled_folder(tmp_path_factory)


@pytest.fixture
def voices(bank: FabricBank) -> Voices:
    """Return bank and rules."""
    return colour_voices(bank)


def test_phases_are_counted_and_compared(voices: Voices, folder: Path) -> None:
    """By hand: ranks give top-k and MRR; every phase has its classes, confusions and time; pairs are tested."""
    held = make_eval_set(folder, split=0.25)
    head = train_head(ColourClip(), folder, eval_set=held, options=HeadOptions(strengths=(10.0,))).head
    steps: list[tuple[int, int]] = []
    found = evaluate(held, replace(voices, head=head), ks=(1, 3), progress=lambda *step: steps.append(step))
    assert steps[-1] == (12, 12)
    assert [phase.name for phase in found.phases] == ["rules", "+CLIP", "+head"]
    assert [(c.better, c.than) for c in found.comparisons] == [
        ("+CLIP", "rules"),
        ("+head", "+CLIP"),
        ("+head", "rules"),
    ]
    for phase in found.phases:
        ranks = np.array(phase.ranks)
        assert phase.top[1].estimate == pytest.approx((ranks == 1).mean())
        assert phase.top[3].estimate == pytest.approx(((ranks > 0) & (ranks <= 3)).mean())
        assert phase.mrr.estimate == pytest.approx(np.mean([1 / rank if rank else 0 for rank in ranks]))
        assert phase.mrr.low <= phase.mrr.estimate <= phase.mrr.high
        assert sum(right for right, _ in phase.per_class.values()) == (ranks == 1).sum()
        assert {of for _, of in phase.per_class.values()} == {3}
        assert sum(count for _, _, count in phase.confusions) == (ranks != 1).sum()
        assert 0 < phase.latency.p50_ms <= phase.latency.p95_ms
    rules, last = found.phases[0], found.phases[-1]
    assert [rank for rank, sample in zip(rules.ranks, held.samples, strict=True) if sample.label == "sku_77"] == [0] * 3
    assert last.top[1].estimate > rules.top[1].estimate
    assert found.comparisons[-1].gain.difference == pytest.approx(last.top[1].estimate - rules.top[1].estimate)
    assert found.unknown == ()
    alone = evaluate(held, Voices(voices.bank))
    assert [phase.name for phase in alone.phases] == ["+CLIP"]
    assert alone.comparisons == ()


def test_unreadable_pictures_are_counted_not_fatal(voices: Voices, folder: Path, tmp_path: Path) -> None:
    """A damaged picture whose checksum is right, and coordinates outside: two errors of twelve."""
    held = make_eval_set(folder, split=0.25)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    from clipfast.storage import sha256_file

    samples = list(held.samples)
    samples[0] = msgspec.structs.replace(samples[0], image=str(bad), sha256=sha256_file(bad))
    samples[5] = msgspec.structs.replace(samples[5], coords=(900, 3))
    found = evaluate(EvalSet(tuple(samples), held.root), voices)
    assert (found.total, found.processed, len(found.errors)) == (12, 10, 2)
    assert "bad.png" in found.errors[0].reason
    assert "inside the photo of 64 x 64" in found.errors[1].reason


def test_pictures_that_were_seen_are_refused(voices: Voices, folder: Path) -> None:
    """In the bank, or trained on without the set: neither is a fair question."""
    held = make_eval_set(folder, split=0.25)
    leaky = train_head(ColourClip(), folder, options=HeadOptions(strengths=(10.0,))).head
    with pytest.raises(DataError, match=r"was trained on \(12 such pictures\)"):
        evaluate(held, replace(voices, head=leaky))
    references = voices.bank.references
    digests = [held.samples[0].sha256, *references.sha256[1:]]
    same = References(references.embeddings, references.fabrics, references.paths, digests)
    holding = FabricBank(same, voices.bank.model, clip=ColourClip())
    with pytest.raises(DataError, match="is in the bank"):
        evaluate(held, replace(voices, bank=holding))
    with pytest.raises(ShapeError, match="ks must be"):
        evaluate(held, voices, ks=(0, 1))
    with pytest.raises(ArtifactError, match="must know its model"):
        evaluate(held, Voices(FabricBank(references, voices.bank.model)))


def test_weights_are_not_judged_by_what_they_were_fitted_on(voices: Voices, folder: Path, tmp_path: Path) -> None:
    """Fitted before there was a set: refused, whatever α is taken then; fitted without it: answered."""
    held = make_eval_set(folder, split=0.25)
    fit_fusion(voices, folder).save(tmp_path / "fusion.json")
    leaky = with_alpha(voices, "fit", FittedFusion.load(tmp_path / "fusion.json"))
    for asked in (leaky, with_alpha(leaky, 0.3)):
        with pytest.raises(DataError, match=r"was fitted on \(12 such pictures\)"):
            evaluate(held, asked)
    evaluate(held, with_alpha(voices, "fit", fit_fusion(voices, folder, exclude=held)))


@pytest.mark.parametrize(
    ("more", "less", "proven"), [(4, 0, False), (5, 0, False), (6, 0, True), (0, 6, False), (9, 3, False)]
)
def test_a_phase_is_better_by_the_exact_test(more: int, less: int, proven: bool) -> None:
    """Of 66 few changed: the bootstrap leaves 0 out too early; 2 / 2**6 = .031 is the first below .05."""
    one = np.array([True] * more + [False] * less + [True] * (66 - more - less))
    other = np.array([False] * more + [True] * less + [True] * (66 - more - less))
    gain = paired_bootstrap(np.mean, one, other, seed=0, options=BootstrapOptions(method="percentile"))
    comparison = Comparison("+head", "+CLIP", gain, mcnemar_test(one, other))
    assert comparison.proven is proven
    interval = mcnemar_interval(more, less, 66)
    assert (interval.low > 0) is proven
    if more == 4:
        assert gain.interval is not None
        assert gain.interval.low > 0
