"""Does the loop keep its promises? Useless candidates and unknown fabrics, on drawn ones. Needs clipfast[cpu,train].

    python examples/fabric_study.py [--years 100] [--banks 8] [--fabrics 24] [--model ARTIFACT] [--out DIR]

- A year of luck: 52 weeks, each with a head that was trained on as many other photos and knows nothing new, compared
  with what is in use on one frozen evaluation set. How often does a year promote anything? Once with a coin that says,
  wherever the two differ, which is right, so that neither is better: any promotion is false. And once as they are:
  there a promotion is false where, on nine times as many other photos, the candidate is no better.
- None of these: six fabrics of 24 are left out of the bank in turn. How many of their photos are noticed, and how many
  of the others refused? With the threshold that the bank finds by itself, on photos like its own; and with the one
  that `clipfast fuse fit` takes from labelled patches, on photos that are dim, faint, turned or noisy.

Nothing is chosen here: the thresholds are the library's own. Seeds are test seeds, from 982,000,000.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from clipfast import Clip
from clipfast.datasets.fabricworld import FABRICS, class_samples
from clipfast.datasets.shifts import Shift, shifted
from clipfast.metrics import BootstrapOptions, Interval, bootstrap_interval, wilson_interval
from clipfast.provenance import Provenance
from clipfast.report.results import write_json
from clipfast.retrieval import BankModel, FabricBank, Fusion, LinearHead, References, Voices, class_scores
from clipfast.retrieval.head import HeadOptions
from clipfast.retrieval.openset import fit_openset, openset_views
from clipfast.retrieval.promotion import LOOKS, gain_of, smallest_lead
from clipfast.types import Floats

TEST_SEED = 982_000_000
REFERENCES, LABELLED, ASKED = 3, 8, 10  # photos of a fabric: in the bank, to train on, in an evaluation set
POOL = 40  # photos of each fabric that the year's heads are drawn from
COINS = 50  # times that a year's answers are exchanged anew
SHIFTS: tuple[Shift, ...] = ("dark", "turned", "low contrast", "noise")
Rows = NDArray[np.float32]  # (fabrics, photos, e)
console = Console(width=110, highlight=False)


@dataclass(frozen=True)
class Cloths:
    """Encodes drawn photos of some fabrics."""

    clip: Clip
    names: Sequence[str]

    def rows(self, seed: int, count: int, *, worse: bool) -> Rows:
        """Return unit rows of `count` photos of each fabric, (fabrics, count, e)."""
        found = []
        images = []
        for at, sample in enumerate(class_samples(seed, per_fabric=count, fabrics=self.names)):
            images.append(shifted(sample.image, SHIFTS[at % 4], seed=seed + at) if worse else sample.image)
            if len(images) == 32:
                found.append(self.clip.encode_images(images))
                images = []
        if images:
            found.append(self.clip.encode_images(images))
        return np.concatenate(found).reshape(len(self.names), count, -1)

    def bank(self, rows: Rows, fabrics: Sequence[int]) -> FabricBank:
        """Make a bank of some of the fabrics, each with all its rows."""
        names = [self.names[at] for at in fabrics for _ in range(rows.shape[1])]
        paths = [f"{name}/{at}" for at, name in enumerate(names)]
        references = References(_flat(rows[list(fabrics)]), names, paths, ["0" * 64] * len(names))
        return FabricBank(references, BankModel.of(self.clip))


def _flat(rows: Rows) -> Floats:
    return np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]))


def _interval(shares: Sequence[float]) -> Interval:
    return bootstrap_interval(np.mean, np.array(shares), seed=0, options=BootstrapOptions(method="percentile"))


def _head(cloths: Cloths, pool: Rows, rng: np.random.Generator, options: HeadOptions) -> LinearHead:
    """Train on some photos of each fabric, drawn anew."""
    drawn = np.stack([fabric[rng.permutation(len(fabric))[:LABELLED]] for fabric in pool])
    labels = [name for name in cloths.names for _ in range(LABELLED)]
    return LinearHead.fit(_flat(drawn), labels, seed=0, options=options)


def years(cloths: Cloths, count: int, others: int) -> dict[str, Any]:
    """Return the share of years with a false promotion; `others` photos of each fabric tell who is really better."""
    bank = cloths.bank(cloths.rows(TEST_SEED, REFERENCES, worse=False), range(len(cloths.names)))
    pool = cloths.rows(TEST_SEED + 1_000_000, POOL, worse=True)
    asked = cloths.rows(TEST_SEED + 2_000_000, ASKED + others, worse=True)
    truth = np.repeat(np.arange(len(cloths.names)), asked.shape[1])
    rows, voices = _flat(asked), Voices(bank, None, None, Fusion())
    said = voices.bank_voice(rows)
    strength = LinearHead.fit(_flat(pool), [n for n in cloths.names for _ in range(POOL)], seed=0).report
    options = HeadOptions(strengths=(1.0 if strength is None else strength.strength,), folds=2)

    def right(head: LinearHead) -> NDArray[np.bool_]:
        entries, fused = replace(voices, head=head).fuse(None, said, replace(voices, head=head).head_voice(rows))
        order = np.array([cloths.names.index(name) for name in entries])
        found: NDArray[np.bool_] = (order[fused.argmax(axis=1)] == truth).reshape(len(cloths.names), -1)
        return found

    by_coin, promoted, wrongly = [], [], []
    for year in range(count):
        rng = np.random.default_rng([TEST_SEED, year])
        seen = rng.permutation(asked.shape[1])[:ASKED]  # of every fabric
        hidden = np.setdiff1d(np.arange(asked.shape[1]), seen)
        first = present = right(_head(cloths, pool, rng, options))
        coins = np.zeros(COINS, np.bool_)
        outcomes = []
        for look in range(1, LOOKS + 1):
            candidate = right(_head(cloths, pool, rng, options))
            coins |= _by_coin(int((first != candidate)[:, seen].sum()), look, rng)
            photos = range(len(cloths.names) * ASKED)
            if gain_of(present[:, seen].ravel(), candidate[:, seen].ravel(), photos, look=look).proven:
                outcomes.append(bool(candidate[:, hidden].mean() <= present[:, hidden].mean()))
                present = candidate
        by_coin.append(float(coins.mean()))
        promoted.append(bool(outcomes))
        wrongly.append(any(outcomes))
        console.print(f"  year {year + 1} of {count}", end="\r")
    return {
        "years": count,
        "looks": LOOKS,
        "photos": len(cloths.names) * ASKED,
        "false by coin": _interval(by_coin),
        "any promotion": wilson_interval(sum(promoted), count),
        "false promotion": wilson_interval(sum(wrongly), count),
    }


def _by_coin(changed: int, look: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Say who is right where the two differ by a fair coin, many times; tell which times the candidate is promoted."""
    lead = smallest_lead(changed, look)
    better = rng.binomial(changed, 0.5, COINS)
    return np.zeros(COINS, np.bool_) if lead is None else better >= lead


def none_of_these(cloths: Cloths, banks: int, *, worse: bool) -> dict[str, Any]:
    """Return how many photos of left-out fabrics are noticed, and of others refused, over all fabrics and banks."""
    noticed = np.zeros((banks, len(cloths.names)))
    refused = np.zeros((banks, len(cloths.names)))
    for number in range(banks):
        seed = TEST_SEED + 10_000_000 + 100_000 * number + (50_000 if worse else 0)
        references = cloths.rows(seed, REFERENCES, worse=False)
        labelled, asked = (cloths.rows(seed + 10_000 * k, ASKED, worse=worse) for k in (1, 2))
        parts = np.array_split(np.random.default_rng(seed).permutation(len(cloths.names)), 4)
        for part in parts:
            held = [at for at in range(len(cloths.names)) if at not in part]
            none = _refusals(cloths.bank(references, held), cloths, held, labelled, asked, by_itself=not worse)
            noticed[number, part] = none[part].mean(axis=1)
            refused[number, held] += none[held].mean(axis=1) / 3  # each fabric is in three banks of four
        console.print(f"  bank {number + 1} of {banks}", end="\r")
    return {
        "banks": 4 * banks,
        "photos of left-out fabrics": banks * len(cloths.names) * ASKED,
        "photos of known fabrics": 3 * banks * len(cloths.names) * ASKED,
        "noticed": _interval(noticed.mean(axis=0)),  # over fabrics: photos of one fabric are alike
        "refused": _interval(refused.mean(axis=0)),
        "least noticed": min(zip(noticed.mean(axis=0).tolist(), cloths.names, strict=True)),
    }


def _refusals(
    bank: FabricBank, cloths: Cloths, held: Sequence[int], labelled: Rows, asked: Rows, *, by_itself: bool
) -> NDArray[np.bool_]:
    """Say of every photo whether it was answered "none of these", (fabrics, photos)."""
    rows = _flat(asked)
    if by_itself:
        none = np.array([answer.none_of_these for answer in bank.rank_many(rows)])
    else:
        order = sorted(range(len(held)), key=lambda at: cloths.names[held[at]])
        scores = class_scores(_flat(labelled[[held[at] for at in order]]), bank.references).astype(np.float64)
        owner = np.repeat(np.arange(len(held)), labelled.shape[1])
        openset = fit_openset(openset_views(scores, owner))
        none = openset.refuses(class_scores(rows, bank.references).astype(np.float64))
    return none.reshape(len(cloths.names), -1)


def main() -> None:
    """Read options, measure, print, and write fabric_study.json where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=100, help="two at least")
    parser.add_argument("--banks", type=int, default=8, help="each shared out four times")
    parser.add_argument("--fabrics", type=int, default=len(FABRICS))
    parser.add_argument("--others", type=int, default=90, help="photos of each fabric that tell who is really better")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with Clip.load(given.model) as clip:
        fingerprint = clip.fingerprint()
        cloths = Cloths(clip, list(FABRICS)[: given.fabrics])
        found: dict[str, Any] = {
            "none of these, by the bank itself": none_of_these(cloths, given.banks, worse=False),
            "none of these, worse photos, fitted on labels": none_of_these(cloths, given.banks, worse=True),
            "a year of luck": years(cloths, given.years, given.others),
        }
    for title, figures in found.items():
        console.print(f"{title}:")
        for name, value in figures.items():
            shown = f"{value.estimate:.1%} ({value.low:.1%}-{value.high:.1%})" if isinstance(value, Interval) else value
            console.print(f"  {name}: {shown}")
    if given.out is not None:
        made = Provenance.collect(seeds={"fabrics": TEST_SEED}, model={"name": given.model, "fingerprint": fingerprint})
        write_json(given.out / "fabric_study.json", {"provenance": made, **found})


if __name__ == "__main__":
    main()
