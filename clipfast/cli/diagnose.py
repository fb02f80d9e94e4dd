"""`clipfast diagnose`: what is wrong with an image-text model, and what to mend first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table
from typer.core import TyperGroup

from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import JsonOption, note, out, print_json, progress_bar
from clipfast.cli.diagnose_experiment import experiment
from clipfast.errors import ArtifactError, DataError

if TYPE_CHECKING:
    from clipfast import Clip
    from clipfast.diagnostics import Diagnosis, Predictions
    from clipfast.report.diagnosis import DiagnosisReport

_DEFAULT = "predictions"


class DefaultCommand(TyperGroup):
    """Takes `diagnose FILE` for `diagnose predictions FILE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command before anything that is neither a command nor a call for help."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=DefaultCommand, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
review_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Let people look at some samples.")
app.add_typer(review_app, name="review")
app.command(name="experiment")(experiment)

PredictionsFile = Annotated[
    Path, typer.Argument(help="JSON lines: id, label, probs or scores, and what else is known.")
]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder of the report.")]
Embeddings = Annotated[
    Path | None, typer.Option("--embeddings", help=".npz with ids, and image or text embeddings or both.")
]
Rules = Annotated[Path | None, typer.Option("--rules", help="Rule table, TOML; default: the library's.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")]


@app.command(name=_DEFAULT)
def predictions(
    file: PredictionsFile,
    *,
    out_path: OutFolder = Path("diagnosis"),
    embeddings: Embeddings = None,
    rules: Rules = None,
    review: Annotated[Path | None, typer.Option("--review", help="Verdicts of people, CSV.")] = None,
    group_by: Annotated[
        list[str] | None, typer.Option("--group-by", help="A column that must be there; errors are grouped by all.")
    ] = None,
    novelty: Annotated[
        str, typer.Option("--novelty", help="Distance to training data: mahalanobis, knn, or energy of `scores`.")
    ] = "mahalanobis",
    false_positive_rate: Annotated[
        float, typer.Option("--false-positive-rate", help="Share of usual samples that may be called new.")
    ] = 0.05,
    experiments: Annotated[
        Path | None,
        typer.Option("--experiments", help="experiments.json of `diagnose experiment`, to be shown with it."),
    ] = None,
    seed: Seed = 0,
    json: JsonOption = False,
) -> None:
    """Diagnose PREDICTIONS.jsonl; `diagnose FILE` is enough."""
    from clipfast.diagnostics import DiagnoseOptions, RuleTable, diagnose, read_predictions
    from clipfast.diagnostics.ood import DistanceScore
    from clipfast.diagnostics.review import read_verdicts
    from clipfast.report.diagnosis import DiagnosisReport
    from clipfast.report.experiments import read_study_result

    study = read_study_result(experiments) if experiments else None
    with progress_bar("Reading") as progress:
        data = read_predictions(file, embeddings=embeddings, progress=progress)
    options = DiagnoseOptions(
        rules=RuleTable.load(rules) if rules else None,
        group_by=tuple(group_by or ()),
        novelty=cast("DistanceScore", novelty),
        false_positive_rate=false_positive_rate,
        seed=seed,
    )
    verdicts = read_verdicts(review, data) if review else None
    with progress_bar("Diagnosing") as progress:
        found = diagnose(data, options, verdicts=verdicts, progress=progress)
    _write(DiagnosisReport(f"Diagnosis of {file.name}", found, data, file.parent, study), out_path, json=json)


@app.command()
@takes_clip_options()
def folder(
    root: Annotated[Path, typer.Argument(help="Images to judge: one folder a class, named as the class.")],
    *,
    train: Annotated[
        Path | None,
        typer.Option("--train", help="Known images, in the same folders: they tell what is new."),
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option("--template", help='Prompt around a class, such as "a photo of {} fabric".')
    ] = None,
    out_path: OutFolder = Path("diagnosis"),
    rules: Rules = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at once.")] = 32,
    seed: Seed = 0,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Let the model name the images of a folder, and diagnose what it says."""
    from clipfast.diagnostics import DiagnoseOptions, RuleTable, ZeroShotOptions, diagnose_folder
    from clipfast.report.diagnosis import DiagnosisReport

    table = RuleTable.load(rules) if rules else None
    with clip_options.load() as clip, progress_bar("Encoding") as progress:
        options = ZeroShotOptions(tuple(template) if template else None, batch_size=batch_size, progress=progress)
        found, data = diagnose_folder(clip, root, options, train=train, how=DiagnoseOptions(rules=table, seed=seed))
        data = _with_maps(clip, found, data, root)
    _write(DiagnosisReport(f"Diagnosis of {root.name}", found, data, root), out_path, json=json)


def _with_maps(clip: Clip, found: Diagnosis, data: Predictions, root: Path) -> Predictions:
    """Add to the samples that the report shows where the class lies that the model said; others stay unknown."""
    import numpy as np

    from clipfast.report.diagnosis_parts import pictured_rows
    from clipfast.surgery import MapOptions, heatmaps

    rows = [row for row in pictured_rows(found, data) if data.images and data.images[row]]
    if not rows:
        return data
    paths = [root / (data.images or ())[row] for row in rows]
    try:
        maps = heatmaps(clip, paths, data.classes, options=MapOptions(geometry="squash"))
    except ArtifactError as error:
        note(f"No heat maps in the report: {error}")
        return data
    said = maps[np.arange(len(rows)), data.predicted[rows]]
    attention = np.full((len(data.ids), *said.shape[1:]), np.nan, np.float32)
    attention[rows] = said - said.min(axis=(1, 2), keepdims=True)
    return replace(data, attention=attention)


def _write(report: DiagnosisReport, folder: Path, *, json: bool) -> None:
    paths = report.save(folder)
    if json:
        print_json(report.builtins() | {"files": [path.as_posix() for path in paths]})
        return
    _show(report.found)
    out.print(f"Wrote {', '.join(path.as_posix() for path in paths)}")


def _show(found: Diagnosis) -> None:
    from clipfast.diagnostics.answers import share
    from clipfast.report.diagnosis import summary_sentences

    for line in summary_sentences(found):
        out.print(line)
    table = Table("cause", "samples", "share of judged", "priority", "named")
    for each in found.triage.findings:
        table.add_row(
            each.cause, str(each.samples), share(each.share), f"{each.priority:.3f}", "yes" if each.raised else ""
        )
    table.add_row("cannot tell", str(found.triage.undecided), "", "", "")
    out.print(table)
    if found.missing:
        note(f"The data lack {', '.join(found.missing)}; the report says what follows from that.")


@app.command()
@takes_clip_options()
def pairs(
    file: Annotated[Path, typer.Argument(help="JSON lines: id, text, image; keyword, split, groups.")],
    *,
    out_path: OutFolder = Path("diagnosis"),
    embeddings: Embeddings = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at once.")] = 32,
    seed: Seed = 0,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Diagnose image-text pairs: do they belong together, how many do not, and which."""
    from clipfast.diagnostics.captions import diagnose_captions, encode_captions, read_captions
    from clipfast.diagnostics.keywords import KeywordOptions, find_keywords
    from clipfast.diagnostics.reading import read_embeddings
    from clipfast.report.captions import keyword_sentences, save_caption_report

    data = read_captions(file)
    keywords = None
    if embeddings is not None:
        images, texts = read_embeddings(embeddings, data.ids)
        if images is None or texts is None:
            raise DataError(f"{embeddings} must hold both image and text embeddings for pairs; one is missing.")
        if any(data.keywords):
            note("Keywords are looked for by a model; with --embeddings they are left out.")
    else:
        with clip_options.load() as clip:
            with progress_bar("Encoding") as progress:
                images, texts = encode_captions(clip, data, file.parent, batch_size=batch_size, progress=progress)
            if any(data.keywords):
                with progress_bar("Looking for keywords") as progress:
                    options = KeywordOptions(batch_size=batch_size, seed=seed, progress=progress)
                    keywords = find_keywords(clip, data, file.parent, options)
    found = diagnose_captions(data, images, texts, seed=seed)
    paths = save_caption_report(out_path, f"Pairs of {file.name}", found, data, keywords)
    if json:
        print_json({"pairs": found, "keywords": keywords, "files": [path.as_posix() for path in paths]})
        return
    for line in (*found.sentences, *(keyword_sentences(keywords) if keywords else ())):
        out.print(line)
    for suspect in found.suspects[:10]:
        out.print(f"  {suspect.id}: rank {suspect.rank:.2f}, cosine {suspect.cosine:z.3f}  {suspect.text}")
    out.print(f"Wrote {', '.join(path.as_posix() for path in paths)}")


@review_app.command()
def export(
    file: PredictionsFile,
    *,
    out_path: Annotated[Path, typer.Option("--out", help="The CSV to write.")] = Path("review.csv"),
    half_width: Annotated[
        float, typer.Option("--half-width", min=0.001, max=0.5, help="Wanted precision of the share of mismatches.")
    ] = 0.08,
    right: Annotated[int, typer.Option("--right", min=0, help="Right samples to look at besides.")] = 0,
    embeddings: Embeddings = None,
    rules: Rules = None,
    seed: Seed = 0,
    json: JsonOption = False,
) -> None:
    """Write a random part of the wrong samples to CSV, as many as the wanted precision needs."""
    from clipfast.diagnostics import DiagnoseOptions, RuleTable, diagnose, read_predictions
    from clipfast.diagnostics.review import plan_review, review_size, write_review

    data = read_predictions(file, embeddings=embeddings)
    wrong = int((data.judged & ~data.right).sum())
    if wrong == 0 and right == 0:
        raise DataError(f"{file} has no wrong sample to look at. Ask for right ones with --right N.")
    with progress_bar("Diagnosing") as progress:
        options = DiagnoseOptions(rules=RuleTable.load(rules) if rules else None, seed=seed)
        found = diagnose(data, options, progress=progress).triage
    causes = {row: found.cause_of(at) for at, row in enumerate(found.rows.tolist())}
    items = plan_review(data, wrong=review_size(half_width, population=wrong), right=right, seed=seed)
    write_review(out_path, data, items, causes)
    counts = {side: sum(item.stratum == side for item in items) for side in ("wrong", "right")}
    if json:
        print_json(
            {"out": out_path.as_posix(), "wrong": counts["wrong"], "right": counts["right"], "wrong_in_all": wrong}
        )
        return
    out.print(
        f"Wrote {out_path}: {counts['wrong']} of {wrong} wrong samples and {counts['right']} right ones. Fill in the "
        f"column verdict, then: clipfast diagnose {file} --review {out_path}"
    )


@app.command()
def rules(*, out_path: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("rules.toml")) -> None:
    """Write the default rule table, to be edited and given back with --rules."""
    from clipfast.diagnostics.rules import default_rules_text
    from clipfast.storage import atomic_write

    if out_path.exists():
        raise DataError(f"{out_path} is there already; it may hold your own rules. Name another file.")
    with atomic_write(out_path) as temporary:
        temporary.write_text(default_rules_text(), encoding="utf-8")
    out.print(f"Wrote {out_path}")
