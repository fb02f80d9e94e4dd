"""`clipfast diagnose experiment`: settle what a diagnosis suspects, on a model and a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, note, out, print_json, progress_bar
from clipfast.errors import DataError

if TYPE_CHECKING:
    from clipfast.diagnostics.experiments import Study, StudyData

_WORLD = "fabricworld"


@takes_clip_options()
def experiment(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Which experiments; all that the data allow if left out. `list` lists them."),
    ] = None,
    *,
    data: Annotated[
        str, typer.Option("--data", help="JSON lines (id, image, text, label, split, ...), or fabricworld: drawn here.")
    ] = _WORLD,
    other: Annotated[
        Path | None, typer.Option("--other", help="Another data set of the same classes, JSON lines.")
    ] = None,
    knowledge: Annotated[
        Path | None, typer.Option("--knowledge", help="Synonyms and definitions by class, TOML.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Whatever is random is repeated with each.")] = "0,1,2",
    per_class: Annotated[int, typer.Option("--per-class", min=2, help="Pictures of each fabric of fabricworld.")] = 6,
    most: Annotated[int, typer.Option("--most", min=2, help="Pictures at most that are changed or cut up.")] = 200,
    scenes: Annotated[int, typer.Option("--scenes", min=2, help="Scenes of each relation and seed.")] = 50,
    out_path: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path("experiments"),
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at once.")] = 32,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Run experiments: one factor at a time, repeated over seeds, tests corrected by Holm."""
    from clipfast.diagnostics.experiments import EXPERIMENTS, StudyOptions, read_knowledge, run_study
    from clipfast.report.experiments import save_study, study_builtins

    if names == ["list"]:
        _list(json=json)
        return
    chosen = tuple(names or ())
    strangers = [name for name in chosen if name not in EXPERIMENTS]
    if strangers:
        raise DataError(f"experiments are {', '.join(EXPERIMENTS)}; got {strangers[0]!r}.")
    numbers = _seeds(seeds)
    known = read_knowledge(knowledge) if knowledge else None
    study_data = _data(data, other, per_class, numbers[0])
    with clip_options.load() as clip, progress_bar("Experiments") as progress:
        options = StudyOptions(numbers, known, most=most, scenes=scenes, batch_size=batch_size, progress=progress)
        study = run_study(clip, study_data, chosen, options)
    paths = save_study(out_path, study)
    if json:
        print_json(study_builtins(study) | {"files": [path.as_posix() for path in paths]})
        return
    _show(study)
    out.print(f"Wrote {', '.join(path.as_posix() for path in paths)}")
    note(f"With a diagnosis: clipfast diagnose PREDICTIONS.jsonl --experiments {paths[-1].as_posix()}")


def _data(name: str, other: Path | None, per_class: int, seed: int) -> StudyData:
    from clipfast.diagnostics.experiments import fabricworld_study, read_study

    if name == _WORLD:
        if other is not None:
            raise DataError("fabricworld brings its other data set along: leave --other out.")
        note(f"Drawing fabricworld, {per_class} pictures of each fabric in each part.")
        return fabricworld_study(seed, per_class=per_class)
    return read_study(Path(name), other=other)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(
            f"seeds are whole numbers such as 0,1,2; got {text!r}.", param_hint="--seeds"
        ) from error
    if min(found) < 0 or len(set(found)) < len(found):
        raise typer.BadParameter(f"seeds are different numbers from 0 on; got {text!r}.", param_hint="--seeds")
    return found


def _list(*, json: bool) -> None:
    from clipfast.diagnostics.experiments import EXPERIMENTS

    if json:
        print_json({name: {"cause": plan.cause, "question": plan.question} for name, plan in EXPERIMENTS.items()})
        return
    table = Table("experiment", "settles", "question")
    for name, plan in EXPERIMENTS.items():
        table.add_row(name, plan.cause, plan.question)
    out.print(table)


def _show(study: Study) -> None:
    from clipfast.report.experiments import ARM_HEADINGS, arm_rows

    for each in study.outcomes:
        table = Table(*ARM_HEADINGS, title=f"{each.name} ({each.cause}): {each.question}", title_justify="left")
        for row in arm_rows(each.result):
            table.add_row(*row)
        out.print(table)
        out.print(each.result.says)
    for skipped in study.skipped:
        note(f"Not run: {skipped.name}: {skipped.lacks}")
