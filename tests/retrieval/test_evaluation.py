"""Evaluation phase by phase: counted, compared by the exact test, and never on what was seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from clipfast.errors import ArtifactError, DataError, ShapeError
from clipfast.metrics import (
    BootstrapOptions,
    bootstrap_interval,
    mcnemar_interval,
    mcnemar_test,
    paired_bootstrap,
    wilson_interval,
)
from clipfast.retrieval import FabricBank, References
from clipfast.retrieval.evalset import EvalSet, make_eval_set
from clipfast.retrieval.evaluation import Comparison, evaluate
from clipfast.retrieval.fused import FittedFusion, fit_fusion, with_alpha
from clipfast.retrieval.fusion import Voices
from clipfast.retrieval.head import HeadOptions
from clipfast.retrieval.heldout import train_head
from clipfast.retrieval.photowise import PhotoCounts
from clipfast.retrieval.promotion import gain_of
from reference.colour_voices import (
    ColourClip,
)


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


def test_photos_are_counted_not_patches() -> None:
    """Ten photos of three patches, better on four: as ten pictures tell, and as a promotion decides it."""
    right = np.arange(10) < 8
    earlier = right & (np.arange(10) >= 4)
    one, other, owners = np.repeat(right, 3), np.repeat(earlier, 3), np.repeat(np.arange(10), 3).tolist()
    photos = PhotoCounts.of(owners)
    assert mcnemar_test(one, other).p_value < 0.001  # what patches would say
    gain = photos.gain(one, other, 0)
    comparison = Comparison("+head", "+CLIP", gain, photos.mcnemar(one, other))
    assert (comparison.mcnemar.p_value, comparison.proven) == (0.125, False)
    decided = gain_of(other, one, owners, look=1)
    assert (decided.better, decided.worse, decided.proven) == (4, 0, False)
    assert photos.share(one) == wilson_interval(8, 10)
    options = BootstrapOptions(method="percentile")
    by_hand = paired_bootstrap(np.mean, right, earlier, seed=0, options=options)
    assert gain.difference == pytest.approx(0.4)
    assert gain.interval is not None
    assert by_hand.interval is not None
    assert (gain.interval.low, gain.interval.high) == pytest.approx((by_hand.interval.low, by_hand.interval.high))
    mean = bootstrap_interval(np.mean, right.astype(float), seed=0, options=options)
    found = photos.mean(one.astype(float), 0)
    assert (found.estimate, found.low, found.high) == pytest.approx((mean.estimate, mean.low, mean.high))
    alone = PhotoCounts.of(range(30))
    assert alone.share(one) == wilson_interval(24, 30)
    assert alone.mcnemar(one, other) == mcnemar_test(one, other)
    uneven = PhotoCounts.of([0] * 8 + [1, 2])
    assert uneven.effective == pytest.approx(100 / 66)
    assert uneven.mcnemar(np.ones(10, bool), np.arange(10) >= 7).difference == pytest.approx(1 / 3)
    with pytest.raises(ShapeError, match="1 at least"):
        PhotoCounts.of([])


def test_patches_of_one_photo_prove_nothing_alone(voices: Voices, folder: Path) -> None:
    """The same twelve pictures as twelve photos and as four: equal figures, other intervals and tests."""
    held = make_eval_set(folder, split=0.25)
    labels = list(held.labels)
    grouped = tuple(msgspec.structs.replace(each, group=labels.index(each.label)) for each in held.samples)
    apart, together = evaluate(held, voices), evaluate(replace(held, samples=grouped), voices)
    assert (apart.photos, together.photos, together.processed) == (12, 4, 12)
    one, other = (np.array(phase.ranks) == 1 for phase in together.phases[::-1])
    assert apart.comparisons[0].mcnemar == mcnemar_test(one, other)
    owners = np.array([each.group for each in grouped])
    net = np.array([(one[owners == at].sum() - other[owners == at].sum()) for at in range(4)])
    assert together.comparisons[0].mcnemar.p_value == mcnemar_test(net > 0, net < 0).p_value
    assert together.comparisons[0].gain.difference == pytest.approx(apart.comparisons[0].gain.difference)
    for wide, narrow in zip(together.phases, apart.phases, strict=True):
        assert wide.ranks == narrow.ranks
        assert wide.top[1].estimate == narrow.top[1].estimate
        assert wide.top[1].high - wide.top[1].low > narrow.top[1].high - narrow.top[1].low
