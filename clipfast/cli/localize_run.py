"""The steps of `clipfast localize`: read, tune, learn to refine, evaluate, draw, write, show."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from clipfast.cli.clip_options import ClipOptions
from clipfast.cli.console import note, out, print_json, progress_bar
from clipfast.datasets.box_samples import BoxFormat, BoxSet, read_boxes
from clipfast.datasets.box_splits import several_sources, split_by_source
from clipfast.errors import DataError, MissingExtraError
from clipfast.provenance import Provenance, digest
from clipfast.report.fonts import NO_CHINESE_FONT
from clipfast.report.localise_figures import FigureWriter
from clipfast.report.localise_report import KIND, LocaliseReport
from clipfast.report.plots import require_matplotlib
from clipfast.report.result_files import replacing_results
from clipfast.report.tables import number
from clipfast.storage import sha256_file
from clipfast.surgery.diagnosis import diagnose
from clipfast.surgery.evaluate import evaluate_localisation
from clipfast.surgery.localise_options import LocaliseOptions
from clipfast.surgery.localise_records import Records
from clipfast.surgery.localise_scores import score_records
from clipfast.surgery.map_stream import FurtherMaps
from clipfast.surgery.predictions import read_predictions, records_of_predictions
from clipfast.surgery.proposals import require_skimage
from clipfast.surgery.refine import BoxRefiner
from clipfast.surgery.refine_training import fit_refiners
from clipfast.surgery.texts import asked_labels
from clipfast.surgery.tuning import tune
from clipfast.types import TokenEncoder

__all__ = ["Finished", "LocalizeRun", "show"]

_TUNED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run left: the report, the files written, the seconds that evaluating and scoring took."""

    report: LocaliseReport
    files: tuple[Path, ...]
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned on images that are not scored: settings, and how boxes move."""

    tuning: dict[str, Any] | None = None
    refining: dict[str, Any] | None = None
    refiners: Mapping[str, BoxRefiner] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LocalizeRun:
    """What the command was asked to do besides `LocaliseOptions`.

    Attributes:
        dataset: Folder of the data set.
        format: Its format.
        split: Part of it.
        classes: Classes to keep; None keeps all.
        limit: At most so many images.
        out: Where results go.
        figures: How many samples are drawn; None draws all, 0 none.
        tune_split: Split to tune on; None chooses one.
        tune_limit: At most so many images to tune on; None does not tune.
        predictions: Boxes to score instead of a model's.
        grad_cam: Checkpoint of the model, for one more row; None has none.
        refine: Split or folder that a box refiner learns from; None does not refine.
        refine_limit: At most so many of its images.
    """

    dataset: Path
    format: BoxFormat
    split: str | None
    classes: tuple[str, ...] | None
    limit: int | None
    out: Path
    figures: int | None
    tune_split: str | None
    tune_limit: int | None
    predictions: Path | None
    grad_cam: Path | None = None
    refine: str | None = None
    refine_limit: int = 500

    def run(self, options: LocaliseOptions, clip_options: ClipOptions) -> Finished:
        """Do it all.

        Raises:
            DataError: As the readers and the evaluation say; training images that are scored too; a folder that holds
                results of another kind.
            MissingExtraError: Figures are wanted and matplotlib is not installed, or regions and not scikit-image.
        """
        if self.predictions is not None and (self.tune_limit is not None or self.refine is not None):
            raise DataError(
                "predictions have no settings to tune and no maps to learn from. Leave --tune, --refine out."
            )
        if self.predictions is None and options.box_source in {"proposals", "snapped"}:
            require_skimage()
        if self.figures != 0 and self.predictions is None:
            require_matplotlib()  # before the work, not after it
        with replacing_results(self.out, KIND) as results:
            finished = replace(self, out=results.aside).work(options, clip_options)
        for sentence in results.sentences():
            note(sentence)
        return replace(finished, files=results.placed(finished.files))

    def work(self, options: LocaliseOptions, clip_options: ClipOptions) -> Finished:
        """Read, tune, learn, evaluate, and write to `out`, which is new."""
        # Half of the sources is the half of all images, whatever the limit; a split of its own needs no more than that.
        halves = self.tune_limit is not None and self._split_to_tune_on() is None
        data = self._read(self.split, None if halves else self.limit)
        for sentence in data.report.sentences():
            note(f"annotations: {sentence}")
        if self.predictions is not None:
            return self._score_predictions(data, options)
        if options.maps.rivals == "texts":
            again = asked_labels(options.texts(data.classes), options.maps.labels)
            if again:
                note(f"classes already, so nothing changes by them as labels: {', '.join(again)}")
        with clip_options.load() as clip:
            tuning = None
            if self.tune_limit is not None:
                training, data, source = self._training(data, options.seed)
                known = tuple(pair for pair in options.phrases if pair[0] in training.classes)
                with progress_bar("Tuning") as progress:
                    found = tune(clip, training, replace(options, phrases=known), progress=progress)
                options, tuning = found.chosen.applied(options), found.as_json(source)
            refiners, refining = self._refiners(clip, data, options)
            return self._evaluate(clip, data, options, Learned(tuning, refining, refiners))

    def _read(self, split: str | None, limit: int | None) -> BoxSet:
        return read_boxes(self.format, self.dataset, split=split, classes=self.classes, limit=limit)

    def _split_to_tune_on(self) -> str | None:
        """Return the split named, else "train" where another is scored; None where the data set has to be halved."""
        scored = self.split or ("test" if self.format == "fabricworld" else None)
        return self.tune_split or ("train" if scored not in {None, "train"} else None)

    def _training(self, data: BoxSet, seed: int) -> tuple[BoxSet, BoxSet, str]:
        """Return training images, images to be scored, and where the former come from."""
        split = self._split_to_tune_on()
        if split is None:
            half = "about half of the sources" if several_sources(data) else "half of the images, all of one source"
            training, data = split_by_source(data, _TUNED_SHARE, seed)
            data = replace(data, samples=data.samples[: self.limit])
            source = f"{half}, drawn with seed {seed}; the rest is scored"
        elif split == data.split:
            raise DataError(f"tuning must not see what is scored; both are the split {split!r}.")
        else:
            training, source = self._read(split, self.tune_limit), f"split {split}"
        scored = {_image_hash(sample.image) for sample in data.samples}
        fresh = [sample for sample in training.samples[: self.tune_limit] if _image_hash(sample.image) not in scored]
        if dropped := min(len(training), self.tune_limit or 0) - len(fresh):
            note(f"{dropped} training images are scored too and were left out of the tuning")
            source += f"; {dropped} that are scored too were left out"
        if not fresh:
            raise DataError(f"tuning needs images that are not scored; {source} has none. Name a --tune-split.")
        return replace(training, samples=fresh), data, source

    def _refiners(
        self, clip: Any, data: BoxSet, options: LocaliseOptions
    ) -> tuple[dict[str, BoxRefiner], dict[str, Any] | None]:
        """Learn how boxes move from images that are not scored; return the refiners, and what the report says."""
        if self.refine is None:
            return {}, None
        training, source, sha = self._to_refine_on(data, self.refine)
        known = tuple(pair for pair in options.phrases if pair[0] in training.classes)
        with progress_bar("Learning boxes") as progress:
            refiners = fit_refiners(clip, training, replace(options, phrases=known), progress=progress)
        paths = {
            path: {"boxes": each.pairs, "ridge": each.ridge, "iou_before": each.iou_before, "iou_after": each.iou_after}
            for path, each in refiners.items()
        }
        return refiners, {"source": source, "images": len(training), "sha256": sha, "paths": paths}

    def _to_refine_on(self, data: BoxSet, named: str) -> tuple[BoxSet, str, str]:
        """Return the training images of a split or, where a name has a slash, a folder; none of them is scored.

        Where they come from and their SHA-256 come with them.
        """
        if "/" in named or os.sep in named:
            kind: BoxFormat = "auto" if self.format == "fabricworld" else self.format
            training = read_boxes(kind, Path(named), classes=self.classes, limit=self.refine_limit)
            source = f"folder {named}"
        elif named == data.split:
            raise DataError(f"a refiner must not learn from what is scored; both are the split {named!r}.")
        else:
            training, source = self._read(named, self.refine_limit), f"split {named}"
        scored = {_image_hash(sample.image) for sample in data.samples}
        hashes = {sample.id: _image_hash(sample.image) for sample in training.samples}
        if both := [name for name, sha in hashes.items() if sha in scored]:
            raise DataError(
                f"a refiner must not learn from what is scored; {len(both)} of {len(training)} images of {source} are "
                f"scored too, such as {both[0]}. Score another split (--split), or name other images to --refine."
            )
        return training, source, digest([*hashes.values()])

    def _score_predictions(self, data: BoxSet, options: LocaliseOptions) -> Finished:
        if self.predictions is None:
            raise DataError("there must be predictions to score; got none.")
        records = records_of_predictions(data, read_predictions(self.predictions))
        sources = {"predictions": sha256_file(self.predictions)}
        return self._finish(data, options, records, sources=sources, started=time.perf_counter())

    def _evaluate(self, clip: Any, data: BoxSet, options: LocaliseOptions, learned: Learned) -> Finished:
        figures = FigureWriter(self.out, data.classes, self.figures) if self.figures != 0 else None
        further = {} if self.grad_cam is None else {"grad_cam": _grad_cam(clip, self.grad_cam)}
        started = time.perf_counter()
        encoder: TokenEncoder = clip
        with progress_bar("Evaluating") as progress:
            records = evaluate_localisation(
                encoder, data, options, further=further, refiners=learned.refiners, watch=figures, progress=progress
            )
        if figures is not None:
            figures.finish()
            if figures.unnamed:
                note(NO_CHINESE_FONT)
        model = {
            "name": clip.name,
            "fingerprint": clip.fingerprint(),
            "precision": clip.precision,
            "provider": clip.provider,
        }
        written = [] if figures is None else figures.written
        for path, refiner in learned.refiners.items():
            written.append(self.out / path / "refiner.npz")
            refiner.save(written[-1])
        return self._finish(
            data, options, records, model=model, learned=learned, started=started, written=tuple(written)
        )

    def _finish(  # the parts of one report
        self,
        data: BoxSet,
        options: LocaliseOptions,
        records: Records,
        *,
        started: float,
        model: dict[str, str] | None = None,
        sources: dict[str, str] | None = None,
        learned: Learned | None = None,
        written: tuple[Path, ...] = (),
    ) -> Finished:
        evaluated = time.perf_counter()
        scores = score_records(records, options)
        provenance = Provenance.collect(
            seeds={"bootstrap": options.seed},
            data={"samples": digest([*records.ids, *records.digests]), **(sources or {})},
            model=model,
        )
        for sentence in records.unread.sentences():
            note(sentence)
        data = replace(data, report=data.report.joined(records.unread))
        known = learned or Learned()
        findings = diagnose(records, scores, options, tuned=known.tuning is not None)
        report = LocaliseReport(
            data, options, records, scores, findings, provenance, tuning=known.tuning, refining=known.refining
        )
        files = report.write(self.out)
        seconds = {"evaluate": evaluated - started, "score": time.perf_counter() - evaluated}
        return Finished(report, (*files, *written), seconds)


def _grad_cam(clip: Any, checkpoint: Path) -> FurtherMaps:
    try:
        from clipfast.export.grad_cam import GradCam
        from clipfast.export.reverify import source_of
    except ImportError as error:
        raise MissingExtraError.of(error.name or "torch", extra="cpu,export") from error
    maps: FurtherMaps = GradCam(source_of(clip.artifact, checkpoint)).maps
    return maps


def _image_hash(image: Any) -> str:
    return digest([image.read_bytes() if isinstance(image, Path) else image.tobytes()])


def show(run: LocalizeRun, finished: Finished, *, json: bool) -> None:
    """Print the figures, as JSON or as tables."""
    report = finished.report
    if json:
        print_json({**report.map_results(), "out": run.out.as_posix(), "seconds": finished.seconds})
        return
    thresholds = report.options.iou_thresholds
    table = Table(title=f"{report.records.images} images, {len(report.data.classes)} classes")
    for heading in ("path", *(f"mAP@{t:g}" for t in thresholds), "box IoU", "pointing", "energy", "response"):
        table.add_column(heading, justify="left" if heading in {"path", "response"} else "right", no_wrap=True)
    for path, each in report.scores.paths.items():
        table.add_row(
            path,
            *(number(row.map.value) for row in each.thresholds),
            number(each.fit.peak.value if each.fit else None),
            number(each.pointing.value if each.pointing else None),
            number(each.energy.value if each.energy else None),
            each.response.verdict if each.response else "-",
        )
    out.print(table)
    if report.tuning:
        chosen = ", ".join(f"{name} {value}" for name, value in report.tuning["chosen"].items())
        out.print(f"Tuned on {report.tuning['images']} other images: {chosen}")
    if report.refining:
        gains = ", ".join(
            f"{path} {each['iou_before']:.3f} -> {each['iou_after']:.3f}"
            for path, each in report.refining["paths"].items()
        )
        out.print(f"Boxes refined by {report.refining['images']} other images; IoU of the boxes there: {gains}")
    for found in report.findings:
        out.print(f"{found.code}{f' ({found.path})' if found.path else ''}: {found.says}\n  remedy: {found.remedy}")
    out.print(f"Wrote {len(finished.files)} files to {run.out}")
