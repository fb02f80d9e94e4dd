"""`clipfast label`: label patches, see what to label next, count, and take back."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from clipfast.cli.checks import Check, shares_check, show_checks, show_classes
from clipfast.cli.console import JsonOption, note, out, print_json
from clipfast.cli.error_messages import wrong_usage
from clipfast.cli.head import DEFAULT_HEAD
from clipfast.cli.label_options import LabelOptions, takes_label_options
from clipfast.cli.messages import Speaker, takes_language
from clipfast.cli.region_options import takes_region
from clipfast.cli.workflow_options import RULE
from clipfast.errors import ClipfastError
from clipfast.retrieval.crops import Region

if TYPE_CHECKING:
    from clipfast.retrieval.journal import Moved, QueueItem
    from clipfast.retrieval.labels import LabelStats, LabelStore

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_ENOUGH = 20


@app.command()
@takes_language()
@takes_region()
@takes_label_options()
def add(
    image: Annotated[Path | None, typer.Argument(help="The photo; not with --item.")] = None,
    *,
    label: Annotated[str, typer.Option("--label", help="The fabric: becomes a folder.")],
    item: Annotated[str | None, typer.Option("--item", help="What waits, by its id: `clipfast label next`.")] = None,
    not_a_copy: Annotated[
        bool,
        typer.Option(
            "--not-a-copy",
            help="It is another photograph than the evaluation picture that it looks like; goes into the journal.",
        ),
    ] = False,
    given: LabelOptions,
    say: Speaker,
    region: Region,
    json: JsonOption = False,
) -> None:
    """Cut a patch out of a photo and file it under its fabric, with a side-car that says where it came from."""
    from clipfast.retrieval.crops import read_sidecar
    from clipfast.retrieval.labels import Labeller

    if (image is None) == (item is None):
        raise wrong_usage("name a photo, or with --item what waits; one of them", "photo_or_item")
    if item is not None and not region.whole:
        raise wrong_usage("--item knows its part of the photo; give no --crop or --at with it", "item_has_part")
    by = Labeller(who=given.who)
    store = _store(given.labels, say)
    added = (
        store.add(image, label, region=region, by=by, not_a_copy=not_a_copy)
        if image is not None
        else store.answer(str(item), label, by=by, not_a_copy=not_a_copy)
    )
    path = given.labels / added.key
    there = path.is_file() and read_sidecar(path) == added.sidecar
    stats = _stats(store)
    checks = [Check(say("check_label_there"), there, added.key), *_totals(say, stats)]
    if json:
        print_json({"added": added, "path": path.as_posix(), **_summary(stats), "checks": checks})
        return
    out.print(say("label_added", label=label, path=path))
    if added.held_out:
        out.print(say("label_held_out"), style="yellow")
    _finish(say, stats, checks)


@app.command("next")
@takes_language()
@takes_label_options(without=("who",))
def upcoming(
    *,
    count: Annotated[int, typer.Option("--count", min=1, help="How many.")] = 5,
    skip: Annotated[str | None, typer.Option("--skip", help="Let this item wait no more: nobody can tell.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of those picked by chance.")] = 0,
    given: LabelOptions,
    say: Speaker,
    json: JsonOption = False,
) -> None:
    """List what to label next: the most useful first, every fifth by chance."""
    store = _store(given.labels, say)
    if skip is not None:
        store.skip(skip)
    waiting = store.waiting(seed=seed)
    shown = waiting[:count]
    checks = [Check(say("check_label_least"), _total(store) >= _ENOUGH, str(_total(store)))]
    if json:
        print_json({"waiting": len(waiting), "items": shown, "skipped": skip, "checks": checks})
        return
    if skip is not None:
        out.print(say("label_skipped", item=skip))
    if not waiting:
        out.print(say("label_none_waits"))
    else:
        out.print(say("label_waits", shown=len(shown), total=len(waiting)))
        out.print(_table(say, given.labels, shown))
    show_checks(checks)


@app.command()
@takes_language()
@takes_label_options(without=("who",))
def stats(
    *,
    head: Annotated[
        Path | None,
        typer.Option("--head", help="What it saw is not new; default: data/clip_head.npz, if there."),
    ] = None,
    given: LabelOptions,
    say: Speaker,
    json: JsonOption = False,
) -> None:
    """Count labels, compare with the targets, and check that journal and folder agree."""
    found = _stats(_store(given.labels, say), head)
    checks = _totals(say, found)
    checks.append(Check(say("check_label_retrain"), not found.retrain, str(found.new)))
    if json:
        print_json({"path": given.labels.as_posix(), **_summary(found), "checks": checks})
        return
    _finish(say, found, checks)


@app.command()
@takes_language()
@takes_label_options()
def undo(
    *,
    given: LabelOptions,
    say: Speaker,
    json: JsonOption = False,
) -> None:
    """Take the last label, rename, merge or skip back; again for the one before."""
    from clipfast.retrieval.journal import Added, Moved
    from clipfast.retrieval.labels import Labeller

    store = _store(given.labels, say)
    last, event = store.undo(by=Labeller(who=given.who))
    found = _stats(store)
    moved = [target for _, target in event.moves if not (given.labels / target).is_file()]
    checks = [shares_check(say, "check_label_moved", len(event.moves), moved), *_totals(say, found)]
    if json:
        print_json({"undone": last, "moves": event.moves, **_summary(found), "checks": checks})
        return
    if isinstance(last, Added):
        what = f"label add {last.key}"
    else:
        what = f"label {last.kind} {' -> '.join(last.labels)}" if isinstance(last, Moved) else f"skip {last.item}"
    out.print(say("label_undone", what=what))
    _finish(say, found, checks)


@app.command()
@takes_language()
@takes_label_options()
def rename(
    label: Annotated[str, typer.Argument(help="The label.")],
    new: Annotated[str, typer.Argument(help="Its new name; must be free.")],
    *,
    given: LabelOptions,
    say: Speaker,
    json: JsonOption = False,
) -> None:
    """Give a label another name; the evaluation set beside the folder follows."""
    from clipfast.retrieval.labels import Labeller

    store = _store(given.labels, say)
    event = store.rename(label, new, by=Labeller(who=given.who))
    _report_move(say, store, event, json=json)


@app.command()
@takes_language()
@takes_label_options()
def merge(
    label: Annotated[str, typer.Argument(help="The label whose patches move.")],
    into: Annotated[str, typer.Argument(help="The label that takes them.")],
    *,
    given: LabelOptions,
    say: Speaker,
    json: JsonOption = False,
) -> None:
    """Put all patches of a label into another."""
    from clipfast.retrieval.labels import Labeller

    store = _store(given.labels, say)
    event = store.merge(label, into, by=Labeller(who=given.who))
    _report_move(say, store, event, json=json)


def _store(labels: Path, say: Speaker) -> LabelStore:
    """Open a folder of labels; what a killed process left is finished first, and said."""
    from clipfast.retrieval.labels import LabelStore

    store = LabelStore(labels)
    if (mended := store.recover()) is not None:
        note(say("label_mended", what=mended))
    return store


def _stats(store: LabelStore, head: Path | None = None) -> LabelStats:
    """Count; what a head was trained on, the named one or that of `head train`, is not new."""
    from clipfast.retrieval.head import LinearHead

    if head is None and not DEFAULT_HEAD.is_file():
        return store.stats()
    return store.stats(LinearHead.load(head or DEFAULT_HEAD).trained_on)


def _total(store: LabelStore) -> int:
    from clipfast.retrieval.labelstats import label_counts

    return sum(label_counts(store.root).values())


def _report_move(say: Speaker, store: LabelStore, event: Moved, *, json: bool) -> None:
    from clipfast.retrieval.heldout import find_eval_set

    found, held = _stats(store), find_eval_set(store.root) if event.edits else None
    lost = [target for _, target in event.moves if not (store.root / target).is_file()]
    checks = [shares_check(say, "check_label_moved", len(event.moves), lost), *_totals(say, found)]
    version = None if held is None else held.version
    behind = _left_behind(store.root, event.labels[0])
    if json:
        edits = len(event.edits)
        moved = {"labels": event.labels, "moves": event.moves, "eval_samples": edits, "eval_version": version}
        moved |= {"left_behind": behind}
        print_json({**moved, **_summary(found), "checks": checks})
        return
    out.print(say("label_moved", one=event.labels[0], other=event.labels[1], count=len(event.moves)))
    if version is not None:
        out.print(say("label_eval_moved", count=len(event.edits), version=version), style="yellow")
    for what in behind:
        out.print(say(f"label_behind_{what}", one=event.labels[0], other=event.labels[1]), style="yellow")
    _finish(say, found, checks)


def _left_behind(root: Path, label: str) -> list[str]:
    """Say which of bank and head, at their usual places beside the folder, and rules still know a label's old name."""
    from clipfast.retrieval import FabricBank
    from clipfast.retrieval.default import DEFAULT_BANK
    from clipfast.retrieval.evalset import eval_set_beside
    from clipfast.retrieval.head import LinearHead
    from clipfast.retrieval.rules import load_rules

    data = eval_set_beside(root).parent
    names: dict[str, Callable[[], Collection[str]]] = {
        "bank": lambda: FabricBank.load(data / DEFAULT_BANK.name).references.names,
        "head": lambda: [str(name) for name in LinearHead.load(data / DEFAULT_HEAD.name).classes],
        "rules": lambda: {name for key, rule in load_rules().rules.items() for name in (key, *rule.members)},
    }
    found = []
    for what, known in names.items():
        with suppress(ClipfastError):  # none there, or one that other commands complain of
            if label in known():
                found.append(what)
    return found


def _totals(say: Speaker, found: LabelStats) -> list[Check]:
    whole = not (found.missing or found.changed)
    agree = say("check_label_journal_of", missing=len(found.missing), changed=len(found.changed))
    few = [name for name, count in found.counts.items() if count < 5]
    return [
        Check(say("check_label_journal"), whole, agree),
        shares_check(say, "check_per_class", len(found.counts), few),
        Check(say("check_label_least"), found.total >= _ENOUGH, str(found.total)),
    ]


def _finish(say: Speaker, found: LabelStats, checks: list[Check]) -> None:
    out.print(RULE)
    show_classes(say, found.counts)
    out.print(say("label_held", count=found.held_out))
    out.print(say("label_new", count=found.new))
    if found.by_hand:
        out.print(say("label_by_hand", count=found.by_hand))
    out.print(say("label_waiting", **found.waiting))
    if (share := found.by_chance) is not None:
        out.print(say("label_by_chance", share=share.estimate, low=share.low, high=share.high))
    if found.retrain:
        out.print(say("label_retrain", count=found.new), style="bold")
    out.print(RULE)
    show_checks(checks)


def _table(say: Speaker, labels: Path, items: list[QueueItem]) -> Table:
    table = Table()
    for name in ("column_item", "column_photo", "column_region", "column_answers", "column_why"):
        table.add_column(say(name))
    table.add_column(say("column_confidence"), justify="right")
    for item in items:
        answers = ", ".join(f"{name} {share:.2f}" for name, share in item.answers[:3])
        where = item.region.box or item.region.coords
        part = "" if where is None else ",".join(str(number) for number in where)
        why = say(f"label_{item.picked}")
        table.add_row(item.id, _from_here(labels / item.photo), part, answers, why, f"{item.confidence:.2f}")
    return table


def _from_here(path: Path) -> str:
    """Return a path as seen from the folder that one stands in; on another drive as it is."""
    try:
        return Path(os.path.relpath(path)).as_posix()
    except ValueError:
        return path.as_posix()


def _summary(found: LabelStats) -> dict[str, Any]:
    return {
        "classes": found.counts,
        "total": found.total,
        "next_total": found.next_total,
        "lacking": found.lacking,
        "held_out": found.held_out,
        "new": found.new,
        "retrain": found.retrain,
        "missing": found.missing,
        "changed": found.changed,
        "by_hand": found.by_hand,
        "waiting": found.waiting,
        "by_chance": found.by_chance,
    }
