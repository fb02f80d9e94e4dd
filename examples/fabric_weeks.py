"""In which week is a retrained head promoted? Few labels at first, then 20 a week. Needs clipfast[cpu,train].

    python examples/fabric_weeks.py [--shops 10] [--weeks 12] [--first 2] [--fabrics 24] [--out DIR]

Every shop has drawn fabrics of its own: a bank of three photos each, a frozen evaluation set, and photos that wait, all
but the bank's dim, faint, turned or noisy. It begins with a few labels of each fabric. Every week 16 photos that the
system in use is least sure of are labelled, and four by chance; a head is trained on all labels so far, compared on the
evaluation set by the test and with the share of the year's error that `clipfast models compare` takes, and put to use
if that is proven. Bank and head answer alone: without rules, the head's share one half, nothing fitted.

Nothing is chosen on what is shown: sizes were chosen on the seeds from 520,000,000 (`--seed`); test seeds begin at
983,000,000.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from clipfast import Clip
from clipfast.datasets.fabricworld import FABRICS
from clipfast.metrics import wilson_interval
from clipfast.provenance import Provenance
from clipfast.report.results import write_json
from clipfast.retrieval import LinearHead, Voices
from clipfast.retrieval.head import MIN_SAMPLES
from clipfast.retrieval.promotion import LOOKS, Gain, gain_of
from clipfast.types import Floats
from fabric_study import Cloths, Rows

TEST_SEED = 983_000_000
REFERENCES, WAITING, ASKED = 3, 30, 40  # photos of a fabric: in the bank, that may be labelled, that are evaluated on
UNSURE, BY_CHANCE = 16, 4  # labels of a week
console = Console(width=110, highlight=False)


@dataclass(frozen=True)
class Week:
    """What a week's candidate was found to be.

    Attributes:
        number: From 1.
        labels: How many it was trained on.
        gain: Over what was in use.
    """

    number: int
    labels: int
    gain: Gain


@dataclass(frozen=True)
class Shop:
    """One shop's photos as rows, with their fabrics' numbers."""

    names: Sequence[str]
    voices: Voices
    waiting: Floats
    asked: Floats
    first: int

    def fused(self, head: LinearHead | None, rows: Floats) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the first answer's fabric and its share, of each row."""
        voices = replace(self.voices, head=head)
        entries, shares = voices.fuse(None, voices.bank_voice(rows), voices.head_voice(rows))
        order = np.array([self.names.index(name) for name in entries])
        return order[shares.argmax(axis=1)], shares.max(axis=1)

    def train(self, labelled: NDArray[np.bool_]) -> LinearHead:
        """Train on what is labelled."""
        owner = np.repeat(np.arange(len(self.names)), WAITING)
        return LinearHead.fit(self.waiting[labelled], [self.names[at] for at in owner[labelled]], seed=0)

    def right(self, head: LinearHead | None) -> NDArray[np.bool_]:
        """Tell which pictures of the evaluation set are answered rightly."""
        found: NDArray[np.bool_] = self.fused(head, self.asked)[0] == np.repeat(np.arange(len(self.names)), ASKED)
        return found

    def weeks(self, count: int, seed: int) -> list[Week]:
        """Label, retrain, compare, promote."""
        rng = np.random.default_rng(seed)
        labelled = np.tile(np.arange(WAITING) < self.first, len(self.names))
        present = self.train(labelled)
        found = []
        for number in range(1, count + 1):
            shares = np.where(labelled, np.inf, self.fused(present, self.waiting)[1])
            labelled[np.argsort(shares, kind="stable")[:UNSURE]] = True
            labelled[rng.choice(np.flatnonzero(~labelled), BY_CHANCE, replace=False)] = True
            candidate = self.train(labelled)
            gain = gain_of(self.right(present), self.right(candidate), range(len(self.asked)), look=number)
            if gain.proven:
                present = candidate
            found.append(Week(number, int(labelled.sum()), gain))
        return found


def open_shop(cloths: Cloths, seed: int, first: int) -> Shop:
    """Draw a shop's photos and encode them."""
    bank = cloths.bank(cloths.rows(seed, REFERENCES, worse=False), range(len(cloths.names)))
    waiting, asked = (cloths.rows(seed + at, count, worse=True) for at, count in ((100_000, WAITING), (200_000, ASKED)))
    return Shop(cloths.names, Voices(bank), _flat(waiting), _flat(asked), first)


def _flat(rows: Rows) -> Floats:
    return np.ascontiguousarray(rows.reshape(-1, rows.shape[-1]))


def show(number: int, weeks: Sequence[Week]) -> None:
    """Print one shop's weeks."""
    table = Table(title=f"Shop {number}: the week's head against what was in use, {weeks[0].gain.photos} photos")
    for name in ("Week", "Labels", "In use", "Candidate", "Gain, with its interval", "Better : worse", "Promoted"):
        table.add_column(name, justify="right")
    for week in weeks:
        gain, (before, after) = week.gain, week.gain.accuracies
        interval = f"{after - before:+.1%} ({gain.interval.low:+.1%} to {gain.interval.high:+.1%})"
        table.add_row(str(week.number), str(week.labels), f"{before:.1%}", f"{after:.1%}", interval,
                      f"{gain.better} : {gain.worse}", "✓" if gain.proven else "✗")  # fmt: skip
    console.print(table)


def _require_sizes(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Stop with a sentence where sizes cannot be: before an hour of drawing, not after."""
    least, most = MIN_SAMPLES, WAITING
    weekly = UNSURE + BY_CHANCE
    if not 2 <= given.fabrics <= len(FABRICS):
        parser.error(f"--fabrics must be 2 to {len(FABRICS)}; got {given.fabrics}")
    if not 2 <= given.first <= most:
        parser.error(f"--first must be 2 to {most}, the photos that wait of each fabric; got {given.first}")
    if given.first * given.fabrics < least:
        parser.error(f"a head needs {least} labels at first; {given.fabrics} fabrics with {given.first} each are "
                     f"{given.first * given.fabrics}: take a larger --first or more --fabrics")  # fmt: skip
    if given.shops < 1 or not 1 <= given.weeks <= LOOKS:
        parser.error(f"--shops must be 1 at least and --weeks 1 to {LOOKS}; got {given.shops} and {given.weeks}")
    if given.first * given.fabrics + weekly * given.weeks > most * given.fabrics:
        parser.error(f"{given.fabrics} fabrics have {most * given.fabrics} photos that wait; {given.weeks} weeks of "
                     f"{weekly} after {given.first} each need more: take fewer --weeks")  # fmt: skip


def main() -> None:
    """Read options, run the shops, print, and write fabric_weeks.json where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shops", type=int, default=10)
    parser.add_argument(
        "--weeks", type=int, default=12, help="52 at most: then the evaluation set is spent; and while photos wait"
    )
    parser.add_argument("--first", type=int, default=2, help="labels of each fabric at first, two at least")
    parser.add_argument("--fabrics", type=int, default=len(FABRICS))
    parser.add_argument("--seed", type=int, default=TEST_SEED)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    _require_sizes(parser, given)
    shops: list[list[Week]] = []
    with Clip.load(given.model) as clip:
        fingerprint = clip.fingerprint()
        cloths = Cloths(clip, list(FABRICS)[: given.fabrics])
        for number in range(1, given.shops + 1):
            seed = given.seed + 1_000_000 * (number - 1)
            shops.append(open_shop(cloths, seed, given.first).weeks(given.weeks, seed))
            show(number, shops[-1])
    promoted = [[week.number for week in weeks if week.gain.proven] for weeks in shops]
    share = wilson_interval(sum(map(bool, promoted)), len(shops))
    console.print(f"A candidate was promoted in {sum(map(bool, promoted))} of {len(shops)} shops within {given.weeks} "
                  f"weeks ({share.low:.0%} to {share.high:.0%}); weeks: "
                  f"{'; '.join(', '.join(map(str, each)) or 'none' for each in promoted)}")  # fmt: skip
    if given.out is not None:
        made = Provenance.collect(
            seeds={"fabrics": given.seed}, model={"name": given.model, "fingerprint": fingerprint}
        )
        write_json(given.out / "fabric_weeks.json", {"provenance": made, "promoted in weeks": promoted, "shops": shops})


if __name__ == "__main__":
    main()
