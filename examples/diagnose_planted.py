"""Plant faults into systems that answer questions about pictures, and see whether the diagnosis finds them.

    noise             the label is another place
    generalisation    the picture is taken under a sodium lamp, which no training picture was
    alignment         the model looks for another thing than the one asked for
    missing modality  the question or the picture got lost on the way
    ambiguity         there are two such things, in different places, and either may be meant

    python diagnose_planted.py                                             # one run at 20 %, small
    python diagnose_planted.py --runs 20 --rates .1,.2,.4 --out study      # the study, on seeds for choosing rules
    python diagnose_planted.py --runs 20 --rates .1,.2,.4 --out study --test       # on test seeds: judge once
    python diagnose_planted.py --second ../shared/data/bccd --runs 20 --out study --test   # another generator

Encodings are kept in the folder of `--out`, finished runs too: what was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import clipfast
from clipfast.diagnostics import Predictions
from clipfast.storage import atomic_write
from planted.crops import CropWorld, load_crops, predictions_only
from planted.study import Case, Fault, run_all, table
from planted.world import FAULTS, World, WorldSize

CHOICE_SEEDS, TEST_SEEDS = 500_000_000, 900_000_000
TWO = (("noise", "generalisation"), ("alignment", "ambiguity"), ("missing modality", "noise"))


def world_cases(world: World, rates: Sequence[float]) -> list[Case]:
    """Nothing, and each fault at each rate."""
    cases = [Case("nothing", 0.0, (), 0.0, world.planted)]
    for rate in rates:
        for fault in FAULTS:
            noise = rate if fault == "noise" else 0.0
            cases.append(Case(fault, rate, (fault,), noise, _planted(world, (fault, rate))))
    return cases


def crop_cases(world: CropWorld) -> list[Case]:
    """Nothing, each fault at 5 % and 20 %, two at once, and predictions without anything else."""
    cases = [Case("nothing", 0.0, (), 0.0, world.planted)]
    for rate in (0.05, 0.2):
        for fault in FAULTS:
            noise = rate if fault == "noise" else 0.0
            cases.append(Case(fault, rate, (fault,), noise, _planted(world, (fault, rate))))
    for pair in TWO:
        known = 0.2 if pair[0] == "noise" else 0.0 if "noise" not in pair else None
        make = _planted(world, *((fault, 0.2) for fault in pair))
        cases.append(Case(" and ".join(pair), 0.2, pair, known, make))
    for fault in ("noise", "ambiguity"):
        noise = 0.2 if fault == "noise" else 0.0
        cases.append(Case(f"{fault}, predictions only", 0.2, (fault,), noise, _bare(world, (fault, 0.2))))
    return cases


def _planted(world: World | CropWorld, *faults: Fault) -> Callable[[], Predictions]:
    return partial(world.planted, *faults)


def _bare(world: CropWorld, fault: Fault) -> Callable[[], Predictions]:
    return lambda: predictions_only(world.planted(fault))


def runs_of(
    clip: clipfast.Clip, options: argparse.Namespace, rates: Sequence[float]
) -> Iterator[tuple[int, Callable[[], Sequence[Case]]]]:
    """Give the seed of each run, and what makes its cases."""
    cache = None if options.out is None else options.out / "encoded"
    first = TEST_SEEDS if options.test else CHOICE_SEEDS
    size = WorldSize(options.train, options.questions, max(rates))
    crops = None if options.second is None else load_crops(clip, options.second, cache)

    def cases(seed: int) -> Sequence[Case]:
        if crops is not None:
            return crop_cases(CropWorld(crops, seed))
        return world_cases(World(clip, seed, size, cache), rates)

    for run in range(options.runs):
        yield first + run, partial(cases, first + run)


def main() -> None:
    parser = argparse.ArgumentParser(description="Plant faults and diagnose them.")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--rates", default="0.2", help="shares of faulty samples")
    parser.add_argument("--train", type=int, default=200, help="questions to train the system on")
    parser.add_argument("--questions", type=int, default=300, help="new questions, which are judged")
    parser.add_argument("--test", action="store_true", help="seeds that served no choice: only to judge")
    parser.add_argument("--second", type=Path, metavar="BCCD", help="the second generator, on this folder")
    parser.add_argument("--out", type=Path, help="folder of encodings, outcomes and the table")
    options = parser.parse_args()
    rates = [float(rate) for rate in options.rates.split(",")]
    name = f"{'crops' if options.second else 'fabricworld'}-{'test' if options.test else 'choice'}"
    outcomes = []
    with clipfast.Clip.load("mini") as clip:
        setting = [clip.fingerprint(), name, str(rates), str(options.train), str(options.questions)]
        path = None if options.out is None else options.out / f"{name}.jsonl"
        for each in run_all(runs_of(clip, options, rates), setting, path):
            outcomes.append(each)
            print(
                f"run {each.run}  planted {each.name:16} {each.share:4.0%}  accuracy {each.accuracy:.2f}  named: "
                f"{', '.join(each.named) or 'nothing'}",
                flush=True,
            )
    text = table(outcomes)
    print(text)
    if options.out is not None:
        with atomic_write(options.out / f"{name}.md") as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
