"""The owner's week: bank, evaluation set, rules, + CLIP, + head, labels, retrain, promote. Needs clipfast[cpu,train].

    python examples/fabric_week.py                       # fabrics that are drawn
    python examples/fabric_week.py --photos data/photos  # your own: <fabric_id>/<photo>, 12 or more of each

Of each fabric's photos the first three are the bank, two in three of the rest are labelled (and of those 40 % evaluated
on, which nothing is trained on), and the others wait for a label. A phase that is no better says so.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from clipfast import Clip
from clipfast.datasets.fabricworld import FABRICS, class_samples
from clipfast.datasets.folders import list_fabrics
from clipfast.datasets.shifts import Shift, shifted
from clipfast.retrieval import (
    Answer,
    EvalSet,
    Evaluation,
    FabricBank,
    Recommendation,
    RuleSet,
    Sidecar,
    Voices,
    evaluate,
    extract_attributes,
    fit_fusion,
    fuse_with_clip,
    load_rules,
    make_eval_set,
    recommend_fabrics_localized,
    train_head,
    write_sidecar,
)
from clipfast.retrieval.fused import with_alpha
from clipfast.retrieval.live import LiveVoices, measure_gain, promoted_voices, with_candidate
from clipfast.retrieval.registry import Registry

SEED = 520_000_000  # of the drawn fabrics; the test seeds, from 900,000,000, are not touched
REFERENCES, LABELS, RANDOM = 3, 20, 5  # one label in five is of a picture drawn at random
console = Console(width=110, highlight=False)


def draw(folder: Path, fabrics: int, per_fabric: int) -> None:
    """Draw fabrics in the layout of a folder of photos; all but the references are dim, faint, turned or noisy."""
    for at, sample in enumerate(class_samples(SEED, per_fabric=per_fabric, fabrics=list(FABRICS)[:fabrics])):
        number = at % per_fabric
        kinds: tuple[Shift, ...] = ("dark", "turned", "low contrast", "noise")
        image = sample.image if number < REFERENCES else shifted(sample.image, kinds[number % 4], seed=at)
        path = folder / sample.label.replace(" ", "_") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def share_out(photos: Path, data: Path) -> list[Path]:
    """Copy photos to the bank's folder and to the labelled one; return those that wait."""
    waiting = []
    for fabric, paths in list_fabrics(photos).items():
        for number, path in enumerate(paths):
            if number >= REFERENCES and number % 3 == 0:
                waiting.append(path)
                continue
            target = data / ("fabrics" if number < REFERENCES else "patches/labeled") / fabric / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return waiting


def ask(voices: Voices, rules: RuleSet, photo: Path) -> Answer[Recommendation]:
    """Answer as the application would."""
    base = recommend_fabrics_localized(extract_attributes(photo), "en", len(rules.rules), rules)
    return fuse_with_clip(photo, base, "en", voices.fusion.alpha, 5, voices=voices)


def label(voices: Voices, rules: RuleSet, waiting: Sequence[Path], folder: Path) -> list[Path]:
    """Label the least certain, and some at random so that what is learned from is not odd pictures only."""
    count = min(LABELS, len(waiting))
    answers = {photo: ask(voices, rules, photo) for photo in waiting}
    order = sorted(waiting, key=lambda p: (not answers[p].none_of_these, answers[p].confidence))
    least = order[: count - count // RANDOM]
    rest = [photo for photo in waiting if photo not in least]
    drawn = np.random.default_rng(0).permutation(len(rest))[: count // RANDOM]
    chosen = least + [rest[int(at)] for at in drawn]
    for photo in chosen:
        target = folder / photo.parent.name / f"week_{photo.name}"
        shutil.copyfile(photo, target)
        write_sidecar(target, Sidecar(who="owner", model="mini", confidence=answers[photo].confidence))
    return chosen


def show(found: Evaluation, title: str) -> None:
    """Print phases with intervals, and which is better than the one before."""
    table = Table(title=title)
    for name in ("Phase", "Top@1", "Top@5", "MRR"):
        table.add_column(name, justify="right")
    for phase in found.phases:
        tops = [f"{phase.top[k].estimate:.1%} ({phase.top[k].low:.0%}-{phase.top[k].high:.0%})" for k in (1, 5)]
        table.add_row(phase.name, *tops, f"{phase.mrr.estimate:.3f}")
    console.print(table)
    for pair in found.comparisons[: len(found.phases) - 1]:
        interval = pair.gain.interval
        better = interval is not None and interval.low > 0
        mark, words = ("✓", "is better than") if better else ("✗", "is NOT shown to be better than")
        span = "" if interval is None else f" ({interval.low:+.1%} to {interval.high:+.1%})"
        console.print(f"{mark} {pair.better} {words} {pair.than}: {pair.gain.difference:+.1%}{span}, "
                      f"McNemar p = {pair.mcnemar.p_value:.2g}")  # fmt: skip
    low = [pair.gain.interval.low for pair in found.comparisons[: len(found.phases) - 1] if pair.gain.interval]
    console.print(f"  {sum(bound > 0 for bound in low)} of {len(found.phases) - 1} steps are shown to be better than "
                  f"the one before, on {found.processed} pictures")  # fmt: skip
    doubts = found.doubts
    console.print(f"  confidence {doubts.confidence:.1%} on average, calibration error {doubts.calibration_error:.3f}; "
                  f"{doubts.refused} of {doubts.known} refused as none of these\n")  # fmt: skip


def week(photos: Path, data: Path) -> None:
    """Run it all in a folder."""
    clip, rules = Clip.load("mini"), load_rules("fine")
    labelled, waiting = data / "patches/labeled", share_out(photos, data)
    bank = FabricBank.build(clip, data / "fabrics")
    bank.save(data / "fabric_bank.npz")
    console.print(f"[1] Bank: {len(bank.fabrics)} fabrics, {len(bank)} photos -> fabric_bank.npz")
    make_eval_set(labelled, split=0.4).save(data / "eval_set.jsonl")
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
    voices = with_alpha(Voices(bank, trained.head, rules), "fit", fitted)
    show(evaluate(held, voices), "Monday: three phases")

    registry = Registry(data / "models", who="owner")
    registry.promote("bank", data / "fabric_bank.npz", gain=None, eval_version=None, note="the first")
    registry.promote("head", data / "clip_head.npz", gain=None, eval_version=None, note="the first")
    registry.promote("alpha", data / "fusion.json", gain=None, eval_version=None, note="the first")
    live = LiveVoices(registry, clip, rules, every_seconds=0)

    chosen = label(live.voices(), rules, waiting, labelled)
    console.print(f"[5] Labelled {len(chosen)}: the least certain, and one in {RANDOM} at random")
    again = train_head(clip, labelled, eval_set=held)
    candidate = data / "clip_head_new.npz"
    again.head.save(candidate)
    present = promoted_voices(registry, clip, rules)
    gain = registry.look(
        "head",
        candidate,
        held.version,
        lambda look: measure_gain(present, with_candidate(present, "head", candidate, clip), held, look=look),
    )
    show(evaluate(held, replace(present, head=again.head)), "Friday: retrained with the new labels")
    console.print(f"[6] Gain {gain.interval.estimate:+.1%} ({gain.interval.low:+.1%} to {gain.interval.high:+.1%}; "
                  f"{gain.better} photos better, {gain.worse} worse)")  # fmt: skip
    if gain.proven:
        version = registry.promote("head", candidate, gain=gain, eval_version=held.version, note=None)
        console.print(f"✓ Promoted {version}; the running process has it: {live.voices().head is not present.head}")
    else:
        console.print("✗ Not promoted: the interval includes 0. The head of Monday stays in use; label more.")


def main() -> None:
    """Read options, and work in a folder that is removed again, or in --out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=Path, help="your own photos: <fabric_id>/<photo>")
    parser.add_argument("--fabrics", type=int, default=len(FABRICS), help="how many fabrics to draw")
    parser.add_argument("--per-fabric", type=int, default=12, help="drawn photos of each fabric")
    parser.add_argument("--out", type=Path, help="keep bank, head and history in this folder, which must be new")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        photos = options.photos or Path(scratch) / "photos"
        if options.photos is None:
            draw(photos, options.fabrics, options.per_fabric)
        data = options.out or Path(scratch) / "data"
        data.mkdir(parents=True)
        week(photos, data)


if __name__ == "__main__":
    main()
