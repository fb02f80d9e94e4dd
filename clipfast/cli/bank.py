"""`clipfast bank`: build, change, list and search a bank of reference photos; `bank_care` has the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from clipfast.cli.bank_care import check, import_, rebuild
from clipfast.cli.bank_options import BankFile, BatchOption, MaxPixelsOption, OutFile
from clipfast.cli.bank_summary import (
    bank_checks,
    bank_summary,
    images_text,
    listed_checks,
    report_summary,
    show_report,
    show_totals,
    show_written,
    written_checks,
)
from clipfast.cli.checks import answer_checks, show_checks
from clipfast.cli.clip_options import ClipOptions, takes_clip_options
from clipfast.cli.console import (
    JsonOption,
    note,
    out,
    print_json,
    progress_bar,
)
from clipfast.cli.copy_options import NotACopyOption, names_of, show_declared
from clipfast.cli.error_messages import wrong_usage
from clipfast.cli.messages import Speaker, takes_language
from clipfast.errors import DataError
from clipfast.retrieval.default import DEFAULT_BANK, DEFAULT_FOLDER
from clipfast.retrieval.scoring import CLASS_SCORES, ClassScore

if TYPE_CHECKING:
    from clipfast.retrieval.declared import Declared

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _known_score(name: str) -> str:
    if name not in CLASS_SCORES:
        known = ", ".join(CLASS_SCORES)
        raise wrong_usage(f"must be one of {known}; got {name!r}", "bad_score", known=known, got=name)
    return name


StrictOption = Annotated[bool, typer.Option("--strict", help="Fail at the first file that cannot be used.")]
ScoreOption = Annotated[
    str, typer.Option("--score", callback=_known_score, help=f"How photos make a score: {', '.join(CLASS_SCORES)}.")
]
AcceptOption = Annotated[
    bool, typer.Option("--accept-precision", help="Use a bank that was made with another precision.")
]


@app.command()
@takes_clip_options()
@takes_language()
def build(
    folder: Annotated[Path, typer.Argument(help="One folder a fabric, 3-5 photos in each.")] = DEFAULT_FOLDER,
    *,
    out_path: OutFile = DEFAULT_BANK,
    strict: StrictOption = False,
    batch_size: BatchOption = 32,
    max_pixels: MaxPixelsOption = None,
    not_a_copy: NotACopyOption = None,
    say: Speaker,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Encode FOLDER/<fabric_id>/<photo> into a bank.

    --out bank.npz is one file; --out bank/, or more than 100,000 photos, a folder whose vectors are mapped into memory.
    """
    from clipfast.retrieval import FabricBank
    from clipfast.runtime.images import DEFAULT_MAX_PIXELS

    declared = _require_no_copies([folder], folder, not_a_copy)
    note(say("bank_building"))
    with clip_options.load() as clip:
        with progress_bar(say("encoding")) as progress:
            bank = FabricBank.build(
                clip,
                folder,
                strict=strict,
                batch_size=batch_size,
                max_pixels=max_pixels or DEFAULT_MAX_PIXELS,
                progress=progress,
            )
        bank.declare(declared)
        out_path = bank.save(out_path)
    report = bank.report
    if report is None:  # build always leaves one; this tells the type checker
        raise TypeError("FabricBank.build gave no report")
    checks = bank_checks(say, bank, report, out_path)
    if json:
        summary = {**bank_summary(bank, out_path), **report_summary(report)}
        print_json({**summary, "declared": bank.references.marks.all_declared, "checks": checks})
        return
    show_report(say, report, bank)
    show_declared(say, bank.references.marks.all_declared)
    show_written(say, bank, out_path)
    show_checks(checks)


@app.command()
@takes_clip_options()
@takes_language()
def add(
    images: Annotated[list[Path], typer.Argument(help="Photos, or one folder (of fabrics, unless --fabric is given).")],
    *,
    fabric: Annotated[str | None, typer.Option("--fabric", help="Fabric of the photos.")] = None,
    bank_path: BankFile = DEFAULT_BANK,
    strict: StrictOption = False,
    accept_precision: AcceptOption = False,
    not_a_copy: NotACopyOption = None,
    say: Speaker,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Encode further photos into a bank; a photo that it holds already is replaced."""
    from clipfast.retrieval import FabricBank

    if len(images) > 1 and any(path.is_dir() for path in images):
        raise DataError(
            "Pass photos, or one folder; got several paths with a folder among them.", code="photos_or_folder"
        )
    if fabric is None and not images[0].is_dir():
        raise wrong_usage("name the fabric of these photos, such as --fabric cotton", "name_fabric")
    declared = _require_no_copies(images, bank_path, not_a_copy)
    with clip_options.load() as clip:
        bank = FabricBank.load(bank_path, clip, accept_precision=accept_precision)
        with progress_bar(say("encoding")) as progress:
            report = bank.add(images[0] if len(images) == 1 else list(images), fabric, strict=strict, progress=progress)
    bank.declare(declared)
    bank_path = bank.save(bank_path)
    checks = written_checks(say, bank, bank_path, small=report.small)
    if json:
        print_json(
            {
                **bank_summary(bank, bank_path),
                "declared": bank.references.marks.all_declared,
                "added": report.counts,
                "replaced": report.replaced,
                **report_summary(report),
                "checks": checks,
            }
        )
        return
    show_report(say, report, bank)
    show_declared(say, bank.references.marks.all_declared)
    show_written(say, bank, bank_path)
    show_checks(checks)


def _require_no_copies(images: list[Path], beside: Path, not_copies: list[Path] | None) -> list[Declared]:
    """Refuse what nearly repeats a picture of the evaluation set beside: photos, or those of a folder (of fabrics)."""
    from clipfast.datasets.folders import IMAGE_SUFFIXES
    from clipfast.retrieval.heldout import require_no_copies

    photos = [path for path in images if path.is_file()]
    for folder in (path for path in images if path.is_dir()):
        photos += sorted(p for at in ("*", "*/*") for p in folder.glob(at) if p.suffix.lower() in IMAGE_SUFFIXES)
    return require_no_copies(photos, beside, names_of(not_copies))


@app.command()
@takes_clip_options()
@takes_language()
def remove(
    names: Annotated[list[str], typer.Argument(help="Fabric ids, or photos as the list shows them (fabric/file).")],
    *,
    bank_path: BankFile = DEFAULT_BANK,
    say: Speaker,
    clip_options: ClipOptions,  # noqa: ARG001  (every command takes them)
    json: JsonOption = False,
) -> None:
    """Remove fabrics or single photos from a bank."""
    from clipfast.retrieval import FabricBank

    bank = FabricBank.load(bank_path)
    removed = {name: bank.remove(name) for name in names}
    bank_path = bank.save(bank_path)
    checks = written_checks(say, bank, bank_path)
    if json:
        print_json({**bank_summary(bank, bank_path), "removed": removed, "checks": checks})
        return
    for name, count in removed.items():
        out.print(say("bank_removed", name=name, images=images_text(say, count)))
    show_written(say, bank, bank_path)
    show_checks(checks)


@app.command("list")
@takes_clip_options()
@takes_language()
def list_(
    *,
    bank_path: BankFile = DEFAULT_BANK,
    photos: Annotated[bool, typer.Option("--photos", help="Every photo, not only the counts.")] = False,
    say: Speaker,
    clip_options: ClipOptions,  # noqa: ARG001  (every command takes them)
    json: JsonOption = False,
) -> None:
    """Show what a bank holds and which model made it."""
    from clipfast.retrieval import FabricBank

    bank = FabricBank.load(bank_path)
    checks = listed_checks(say, bank, bank_path)
    if json:
        listed = {"photos": bank.references.paths} if photos else {}
        summary = {**bank_summary(bank, bank_path), "declared": bank.references.marks.all_declared}
        print_json({**summary, **listed, "checks": checks})
        return
    for fabric, count in bank.fabrics.items():
        out.print(say("bank_count", fabric=fabric, images=images_text(say, count)))
    if photos:
        for path in bank.references.paths:
            out.print(f"  {path}")
    show_declared(say, bank.references.marks.all_declared)
    out.print(say("bank_file", path=bank_path))
    show_totals(say, bank, bank_path)
    made_by = bank.model
    out.print(say("bank_model", name=made_by.name, precision=made_by.precision, fingerprint=made_by.fingerprint[:16]))
    show_checks(checks)


@app.command()
@takes_clip_options()
@takes_language()
def search(
    image: Annotated[Path, typer.Argument(help="The photo to ask with.")],
    *,
    bank_path: BankFile = DEFAULT_BANK,
    topk: Annotated[int, typer.Option("--topk", min=1, help="How many fabrics.")] = 5,
    score: ScoreOption = "max",
    accept_precision: AcceptOption = False,
    verify: Annotated[bool, typer.Option("--verify", help="Hash a bank folder's files and check its rows.")] = False,
    say: Speaker,
    clip_options: ClipOptions,
    json: JsonOption = False,
) -> None:
    """Rank the fabrics for one photo, with the nearest reference photo of each."""
    from clipfast.retrieval import FabricBank

    with clip_options.load() as clip:
        bank = FabricBank.load(bank_path, clip, accept_precision=accept_precision, verify=verify)
        query = clip.encode_images(image)
    ranked = bank.rank(query, topk, cast("ClassScore", score))
    nearest = bank.nearest(query)
    checks = answer_checks(say, ranked.judgement)
    if json:
        results = [
            {"id": r.id, "score": r.score, "nearest": {"path": nearest[r.id].path, "score": nearest[r.id].score}}
            for r in ranked
        ]
        found = {"image": str(image), "bank": str(bank_path), "score": score, "results": results}
        judged = {"confidence": ranked.confidence, "none_of_these": ranked.none_of_these}
        print_json({**found, **judged, "checks": checks})
        return
    for place, r in enumerate(ranked, start=1):
        photo = nearest[r.id]
        out.print(say("bank_hit", place=place, fabric=r.id, score=r.score, path=photo.path, near=photo.score))
    show_checks(checks)


app.command()(check)
app.command()(rebuild)
app.command("import")(import_)
