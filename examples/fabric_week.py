"""The owner's week: bank, evaluation set, rules, + CLIP, + head, labels, retrain, promote. Needs clipfast[cpu,train].

    python examples/fabric_week.py                       # 24 fabrics that are drawn, 80 photos of each
    python examples/fabric_week.py --weeks 4             # and three weeks more: 20 labels, retrain, compare
    python examples/fabric_week.py --photos data/photos  # your own: <fabric_id>/<photo>, 12 or more of each
    python examples/fabric_week.py --labelled 26 --split 0.885 --weeks 12   # begin with three labels of each fabric

Of each fabric's photos the first three are the bank, every second of the rest is labelled (or the first --labelled of
those; and of them 60 % are evaluated on, which nothing is trained on), and the others wait for a label, as the photos
of a week do. Labels go through `LabelStore`, as those of `clipfast label` do. A phase that is not shown to be better
says so.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from clipfast import Clip
from clipfast.datasets.fabricworld import FABRICS, class_samples
from clipfast.datasets.folders import list_fabrics
from clipfast.datasets.shifts import Shift, shifted
from clipfast.errors import DataError
from clipfast.retrieval import (
    Answer,
    EvalSet,
    Evaluation,
    FabricBank,
    Labeller,
    LabelStore,
    Recommendation,
    Region,
    RuleSet,
    SeenCrop,
    Voices,
    evaluate,
    extract_attributes,
    fit_fusion,
    fuse_with_clip,
    load_rules,
    make_eval_set,
    recommend_fabrics_localized,
    train_head,
)
from clipfast.retrieval.fused import with_alpha
from clipfast.retrieval.live import LiveVoices, measure_gain, with_candidate
from clipfast.retrieval.promotion import Gain
from clipfast.retrieval.registry import Registry, Setting

SEED = 520_000_000  # of the drawn fabrics; test seeds begin at 900,000,000
REFERENCES, LABELS = 3, 20
SHIFTS: tuple[Shift, ...] = ("dark", "turned", "low contrast", "noise")
console = Console(width=120, highlight=False)


@dataclass(frozen=True)
class Shop:
    """What the weeks share: the model, the rules, the labels, the frozen evaluation set, and the versions in use."""

    clip: Clip
    rules: RuleSet
    store: LabelStore
    held: EvalSet
    registry: Registry
    live: LiveVoices

    def ask(self, photo: Path) -> Answer[Recommendation]:
        """Answer as the application would."""
        voices = self.live.voices()
        base = recommend_fabrics_localized(extract_attributes(photo), "en", len(self.rules.rules), self.rules)
        return fuse_with_clip(photo, base, "en", voices.fusion.alpha, 5, voices=voices)


@dataclass(frozen=True)
class Week:
    """What a Friday found: samples the candidate was trained on, its gain, and whether it is in use now."""

    number: int
    samples: int
    gain: Gain
    promoted: bool


def draw(folder: Path, fabrics: int, per_fabric: int, seed: int) -> None:
    """Draw fabrics in the layout of a folder of photos; all but the references are dim, faint, turned or noisy."""
    for at, sample in enumerate(class_samples(seed, per_fabric=per_fabric, fabrics=list(FABRICS)[:fabrics])):
        number = at % per_fabric
        image = sample.image if number < REFERENCES else shifted(sample.image, SHIFTS[number // 2 % 4], seed=at)
        path = folder / sample.label.replace(" ", "_") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def share_out(photos: Path, data: Path, labelled: int | None) -> list[Path]:
    """Copy photos to the bank's folder and to the labelled one; return those that wait."""
    waiting = []
    for fabric, paths in list_fabrics(photos).items():
        last = len(paths) if labelled is None else REFERENCES + 2 * labelled
        for number, path in enumerate(paths):
            if number >= REFERENCES and (number % 2 == 0 or number >= last):
                waiting.append(path)
                continue
            target = data / ("fabrics" if number < REFERENCES else "patches/labeled") / fabric / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return waiting


def label(shop: Shop, photos: Sequence[Path]) -> int:
    """Ask about every photo; label the first twenty of those that wait: the most useful, and every fifth by chance."""
    shop.store.enqueue([SeenCrop.of(photo, Region(), shop.ask(photo), model="mini") for photo in photos])
    done = 0
    for item in shop.store.waiting():
        if done == LABELS:
            break
        try:
            fabric = (shop.store.root / item.photo).resolve().parent.name  # what the owner sees when she looks at it
            shop.store.answer(item.id, fabric, by=Labeller(who="owner"))
            done += 1
        except DataError as error:  # nearly a picture of the evaluation set, for example
            shop.store.skip(item.id)
            console.print(f"    skipped: {error}")
    return done


def show(found: Evaluation, title: str) -> None:
    """Print phases with intervals, and which is better than the one before."""
    table = Table(title=title)
    for name in ("Phase", "Top@1", "Top@5", "MRR"):
        table.add_column(name, justify="right")
    for phase in found.phases:
        tops = [f"{phase.top[k].estimate:.1%} ({phase.top[k].low:.1%}-{phase.top[k].high:.1%})" for k in (1, 5)]
        table.add_row(phase.name, *tops, f"{phase.mrr.estimate:.3f}")
    console.print(table)
    steps = found.comparisons[: len(found.phases) - 1]
    for pair in steps:
        interval = pair.gain.interval
        mark, words = ("✓", "is better than") if pair.proven else ("✗", "is NOT shown to be better than")
        span = "" if interval is None else f" ({interval.low:+.1%} to {interval.high:+.1%})"
        console.print(f"{mark} {pair.better} {words} {pair.than}: {pair.gain.difference:+.1%}{span}, "
                      f"McNemar p = {pair.mcnemar.p_value:.2g}")  # fmt: skip
    proven = sum(pair.proven for pair in steps)
    console.print(f"  {proven} of {len(steps)} steps are shown to be better than the one before, on {found.processed} "
                  "pictures")  # fmt: skip
    doubts = found.doubts
    console.print(f"  confidence {doubts.confidence:.1%} on average, calibration error {doubts.calibration_error:.3f}; "
                  f"{doubts.refused} of {doubts.known} refused as none of these\n")  # fmt: skip


def begin(photos: Path, data: Path, split: float, each: int | None) -> tuple[Shop, list[Path]]:
    """Monday: bank, evaluation set, head and weights, measured phase by phase and put to use."""
    clip, rules = Clip.load("mini"), load_rules("fine")
    labelled, waiting = data / "patches/labeled", share_out(photos, data, each)
    bank = FabricBank.build(clip, data / "fabrics")
    bank.save(data / "fabric_bank.npz")
    console.print(f"[1] Bank: {len(bank.fabrics)} fabrics, {len(bank)} photos -> fabric_bank.npz")
    make_eval_set(labelled, split=split).save(data / "eval_set.jsonl")
    held = EvalSet.load(data / "eval_set.jsonl")
    console.print(f"[2] Evaluation set: {len(held)} pictures, version {held.version}; {len(waiting)} wait for a label")
    trained = train_head(clip, labelled, eval_set=held)
    trained.head.save(data / "clip_head.npz")
    if (report := trained.head.report) is not None:
        console.print(f"[3] Head: {report.samples} samples, {len(trained.excluded)} left out, "
                      f"cross-validated accuracy {report.accuracy.estimate:.1%}")  # fmt: skip
    fitted = fit_fusion(Voices(bank, trained.head, rules), labelled, exclude=held)
    fitted.save(data / "fusion.json")
    console.print(f"[4] Weights: alpha = {fitted.alpha:g}, the head's share {fitted.head_share:g}\n")
    show(evaluate(held, with_alpha(Voices(bank, trained.head, rules), "fit", fitted)), "Monday: three phases")

    registry = Registry(data / "models", who="owner")
    registry.promote("bank", data / "fabric_bank.npz", gain=None, eval_version=None, note="the first")
    registry.promote("head", data / "clip_head.npz", gain=None, eval_version=None, note="the first")
    registry.promote("alpha", data / "fusion.json", gain=None, eval_version=None, note="the first")
    live = LiveVoices(registry, clip, rules, every_seconds=0)
    return Shop(clip, rules, LabelStore(labelled), held, registry, live), waiting


def friday(shop: Shop, waiting: Sequence[Path], week: int, data: Path) -> Week:
    """Label what is least certain, retrain, compare, and promote what is proven."""
    present = shop.live.voices()
    done = label(shop, waiting)
    stats = shop.store.stats(present.head.trained_on if present.head is not None else ())
    by_chance = "" if stats.by_chance is None else f"; {stats.by_chance.estimate:.0%} of those by chance were right"
    console.print(f"[5] Week {week}: labelled {done}; {stats.new} not trained on yet"
                  f"{', so it is time to train again' if stats.retrain else ''}{by_chance}")  # fmt: skip
    again = train_head(shop.clip, shop.store.root, eval_set=shop.held)
    candidate = data / f"clip_head_{week}.npz"
    again.head.save(candidate)
    other = with_candidate(present, "head", candidate, shop.clip)
    gain = shop.registry.look(
        "head",
        candidate,
        shop.held.version,
        lambda look: measure_gain(present, other, shop.held, look=look),
        setting=Setting(None if present.rules is None else present.rules.sha256, shop.held.pictures),
    )
    show(evaluate(shop.held, replace(present, head=again.head)), f"Friday of week {week}: retrained")
    console.print(f"[6] Gain over what is in use {gain.interval.estimate:+.1%} ({gain.interval.low:+.1%} to "
                  f"{gain.interval.high:+.1%}; {gain.better} photos better, {gain.worse} worse)")  # fmt: skip
    if gain.proven:
        version = shop.registry.promote("head", candidate, gain=gain, eval_version=shop.held.version, note=None)
        console.print(
            f"✓ Promoted {version}; the running process has it: {shop.live.voices().head is not present.head}"
        )
    else:
        console.print("✗ Not promoted: the interval includes 0. What is in use stays; label more.")
    samples = again.head.report.samples if again.head.report is not None else 0
    return Week(week, samples, gain, gain.proven)


def show_weeks(weeks: Sequence[Week]) -> None:
    """Print what each week's candidate was found to be."""
    table = Table(title="Week by week: the candidate against what was in use")
    for name in ("Week", "Labels", "In use", "Candidate", "Gain", "Interval", "Better : worse", "Promoted"):
        table.add_column(name, justify="right")
    for week in weeks:
        gain, (before, after) = week.gain, week.gain.accuracies
        interval = f"{gain.interval.low:+.1%} to {gain.interval.high:+.1%} ({gain.interval.confidence:.1%})"
        table.add_row(str(week.number), str(week.samples), f"{before:.1%}", f"{after:.1%}", f"{after - before:+.1%}",
                      interval, f"{gain.better} : {gain.worse}", "✓" if week.promoted else "✗")  # fmt: skip
    console.print(table)
    promoted = [str(week.number) for week in weeks if week.promoted]
    console.print(f"Promoted in week {', '.join(promoted)}." if promoted else "No week's candidate was promoted.")


def main() -> None:
    """Read options, and work in a folder that is removed again, or in --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=Path, help="your own photos: <fabric_id>/<photo>")
    parser.add_argument("--fabrics", type=int, default=len(FABRICS), help="how many fabrics to draw")
    parser.add_argument("--per-fabric", type=int, default=80, help="drawn photos of each fabric")
    parser.add_argument("--seed", type=int, default=SEED, help="of the drawn fabrics")
    parser.add_argument("--split", type=float, default=0.6, help="share of the labelled photos that is evaluated on")
    parser.add_argument("--labelled", type=int, help="how many of each fabric are labelled at first; default: half")
    parser.add_argument("--weeks", type=int, default=1, help="how many times 20 labels are added")
    parser.add_argument("--out", type=Path, help="keep bank, head and history in this folder, which must be new")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        photos = options.photos or Path(scratch) / "photos"
        if options.photos is None:
            draw(photos, options.fabrics, options.per_fabric, options.seed)
        data = options.out or Path(scratch) / "data"
        data.mkdir(parents=True)
        shop, waiting = begin(photos, data, options.split, options.labelled)
        weeks = [friday(shop, waiting, week, data) for week in range(1, options.weeks + 1)]
        show_weeks(weeks)


if __name__ == "__main__":
    main()
