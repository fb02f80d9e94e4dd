"""Is a bank's collection of photos any good? Everything that can be told before anyone searches in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from clipfast.arguments import require_path, require_type
from clipfast.errors import ImageError
from clipfast.retrieval.bankfile import BankModel
from clipfast.retrieval.build import encode_folder
from clipfast.retrieval.confusion import Confusion, LeaveOneOut, leave_one_out
from clipfast.retrieval.copies import Copy, equal_copies, near_copies
from clipfast.retrieval.crops import crop_patch
from clipfast.retrieval.encode import EncodeOptions, Skipped
from clipfast.retrieval.photos import PhotoFacts, PhotoLimits, photo_facts
from clipfast.retrieval.references import References
from clipfast.runtime.images import DEFAULT_MAX_PIXELS
from clipfast.types import ImageEncoder

if TYPE_CHECKING:
    from PIL import Image

    from clipfast.retrieval.evalguard import EvalGuard
    from clipfast.retrieval.evalset import EvalSet
    from clipfast.retrieval.looks import Look

__all__ = ["PROBLEMS", "BankCheck", "Problem", "ProblemKind", "check_folder", "check_references"]

ProblemKind: TypeAlias = Literal[
    "few", "unreadable", "small", "blurred", "light", "equal", "similar", "evaluated", "confused"
]

PROBLEMS: dict[ProblemKind, str] = {
    "few": "Enough photos of every fabric",
    "unreadable": "Every file can be read",
    "small": "No photo is too small",
    "blurred": "No photo is blurred",
    "light": "Every photo is well lit",
    "equal": "No photo is there twice",
    "similar": "No photo is nearly the same as another",
    "evaluated": "No photo is one of the evaluation set",
    "confused": "Every photo finds its fabric among the others",
}
"""What each kind of problem denies. Those that need pixels cannot be told of a bank file."""

_OF_PIXELS: tuple[ProblemKind, ...] = ("unreadable", "small", "blurred", "light", "similar")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that may be mended.

    Attributes:
        kind: A key of `PROBLEMS`.
        fabric: The fabric it is about.
        path: The photo, `fabric/file`; empty where it is about the whole fabric.
        detail: One phrase with the figure.
        values: The phrase's figures by name; `how` says which phrase it is where a kind has several.
    """

    kind: ProblemKind
    fabric: str
    path: str
    detail: str
    values: dict[str, object] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class BankCheck:
    """Everything that was found.

    Attributes:
        counts: Photos by fabric, zero included.
        problems: By fabric, in the order of `PROBLEMS`.
        photos: Measures of every photo that could be read; empty for a bank file, which holds no pixels.
        leave_one_out: How well the photos find each other's fabric.
        limits: From where on something is a problem.
        model: Who made the vectors.
        checked: Which kinds of problem were looked for.
        unchecked: What could not be checked, and why, one sentence each.
    """

    counts: dict[str, int]
    problems: tuple[Problem, ...]
    photos: tuple[PhotoFacts, ...]
    leave_one_out: LeaveOneOut
    limits: PhotoLimits
    model: BankModel
    checked: tuple[ProblemKind, ...]
    unchecked: tuple[str, ...] = ()


def check_folder(  # noqa: PLR0913  (a folder, and what else it is compared with)
    clip: ImageEncoder,
    folder: str | os.PathLike[str],
    *,
    limits: PhotoLimits | None = None,
    eval_set: EvalSet | None = None,
    batch_size: int = 32,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Callable[[int, int], None] | None = None,
) -> BankCheck:
    """Look through `folder/<fabric_id>/<photo>`; each photo is read once, measured and encoded, and nothing is written.

    Args:
        clip: The encoder, for the question which fabrics it confuses.
        folder: One folder a fabric.
        limits: From where on something is a problem.
        eval_set: Pictures that must not be among the photos, nor nearly the same ones; see `find_eval_set`.
        batch_size: Photos an encoder call, at most; does not change the result.
        max_pixels: Larger photos are refused before they are decoded.
        progress: Called with (done, total) files.

    Raises:
        DataError: No folder there, no photo in it that can be read, or a picture of the set was moved or changed.
    """
    from clipfast.retrieval.looks import look_of  # here: checking a bank's file without a set does not need it

    limits = limits or PhotoLimits()
    photos: list[PhotoFacts] = []
    looks: dict[str, Look] = {}
    unmeasured: list[Skipped] = []
    guard = None if eval_set is None else _guard(eval_set)
    evaluated: list[Problem] = []

    def inspect(path: str, image: Image.Image) -> None:
        try:
            photos.append(photo_facts(path, image))
            looks[path] = look_of(image)
            if guard is not None:
                evaluated.extend(_evaluated(path, copy.image) for copy in guard.copies([looks[path]])[:1])
        except ImageError as error:
            unmeasured.append(Skipped(path, str(error)))

    options = EncodeOptions(batch_size=batch_size, max_pixels=max_pixels, progress=progress, inspect=inspect)
    references, report = encode_folder(clip, require_path("folder", folder), options)
    photos.sort(key=lambda photo: (_fabric(photo.path), photo.path))
    found = check_references(references, BankModel.of(clip), limits=limits, eval_set=eval_set)
    named = {problem.path for problem in evaluated}
    problems = [
        *_few(report.counts, limits.few),
        *(_unreadable(item) for item in (*report.skipped, *unmeasured)),
        *_of_photos(photos, limits),
        *_similar({photo.path: looks[photo.path] for photo in photos if photo.path in looks}, found.problems),
        *evaluated,
        *(p for p in found.problems if p.kind != "few" and not (p.kind == "evaluated" and p.path in named)),
    ]
    return replace(
        found,
        counts=report.counts,
        problems=_sorted(problems),
        photos=tuple(photos),
        checked=tuple(kind for kind in PROBLEMS if kind != "evaluated" or eval_set is not None),
        unchecked=(),
    )


def check_references(
    references: References,
    model: BankModel,
    *,
    limits: PhotoLimits | None = None,
    eval_set: EvalSet | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BankCheck:
    """Look through a bank's vectors: fabrics with few photos, equal ones, and who is taken for whom.

    Args:
        references: The photos, such as `bank.references`.
        model: Who made the vectors, `bank.model`.
        limits: From where on something is a problem; only `few` counts here.
        eval_set: Pictures that must not be in the bank: told by checksums, and by what the bank kept of looks.
        progress: Called with (done, total) photos.

    Raises:
        DataError: A picture of the set was moved or changed.
    """
    limits = limits or PhotoLimits()
    require_type("references", references, References, "bank.references")
    counts = dict(zip(references.names, references.counts.tolist(), strict=True))
    found = leave_one_out(references, progress=progress)
    problems = [
        *_few(counts, limits.few),
        *(_copy("equal", copy) for copy in equal_copies(references)),
        *map(_confused, found.confusions),
    ]
    reasons = ["A bank file holds no pixels: size, sharpness, light and near copies are checked on the photo folder."]
    if imported := len(references.imported):
        reasons.append(
            f"{imported} of {len(references)} rows were imported as vectors without a photo: nothing but their "
            "vectors can be checked, and `bank rebuild` cannot embed them again."
        )
    if eval_set is not None:
        evaluated, doubts = _in_set(references, eval_set)
        problems += evaluated
        reasons += [doubts] if doubts else []
    if eval_set is not None and not references.marks.looks.any():
        reasons.append(
            "The bank was built by an older clipfast and kept no looks: pictures of the evaluation set are "
            "found by equal bytes only. Build it again."
        )
    left_out = _OF_PIXELS if eval_set is not None else (*_OF_PIXELS, "evaluated")
    checked = tuple(kind for kind in PROBLEMS if kind not in left_out)
    return BankCheck(counts, _sorted(problems), (), found, limits, model, checked, tuple(reasons))


def _few(counts: Mapping[str, int], few: int) -> Iterator[Problem]:
    for fabric, count in counts.items():
        if count < few:
            detail = f"{count} photo{'' if count == 1 else 's'}; 3-5 are recommended"
            yield Problem("few", fabric, "", detail, {"count": count})


def _of_photos(photos: Sequence[PhotoFacts], limits: PhotoLimits) -> Iterator[Problem]:
    for photo in photos:
        fabric = _fabric(photo.path)
        height, width = photo.size_hw
        if min(height, width) < limits.small_side:
            detail = f"{width} x {height} pixels; {limits.small_side} x {limits.small_side} or more are wanted"
            yield Problem(
                "small", fabric, photo.path, detail, _figures(width=width, height=height, wanted=limits.small_side)
            )
        if photo.sharpness < limits.sharpness:
            detail = f"sharpness {photo.sharpness:.3f}, below {limits.sharpness}"
            figures = _figures(sharpness=photo.sharpness, wanted=limits.sharpness)
            yield Problem("blurred", fabric, photo.path, detail, figures)
        if light := _light(photo, limits):
            yield Problem("light", fabric, photo.path, *light)


def _light(photo: PhotoFacts, limits: PhotoLimits) -> tuple[str, dict[str, object]] | None:
    if photo.p95 < limits.dark:
        return f"too dark: 95 % of it is below {photo.p95:.0f} of 255", _figures(how="dark", level=photo.p95)
    if photo.p05 > limits.bright:
        return f"too bright: 95 % of it is above {photo.p05:.0f} of 255", _figures(how="bright", level=photo.p05)
    if photo.clipped > limits.clipped:
        detail = f"clipped: {photo.clipped:.0%} of it is black or at the end of a channel"
        return detail, _figures(how="clipped", clipped=photo.clipped)
    return None


def _figures(**values: object) -> dict[str, object]:
    return values


def _unreadable(item: Skipped) -> Problem:
    return Problem("unreadable", _fabric(item.path), item.path, item.reason, {"reason": item.reason})


def _confused(pair: Confusion) -> Problem:
    count = len(pair.photos)
    figures = _figures(count=count, of=pair.of, taken_for=pair.taken_for)
    return Problem("confused", pair.fabric, "", f"{count} of {pair.of} taken for {pair.taken_for}", figures)


def _copy(kind: ProblemKind, copy: Copy) -> Problem:
    return Problem(kind, _fabric(copy.path), copy.path, _copy_text(copy), _figures(other=copy.of, bits=copy.bits))


def _similar(looks: Mapping[str, Look], others: Sequence[Problem]) -> Iterator[Problem]:
    """Name near copies, except those that are named as equal already."""
    equal = {problem.path for problem in others if problem.kind == "equal"}
    rest = [path for path in looks if path not in equal]
    for copy in near_copies(rest, [looks[path] for path in rest]):
        yield _copy("similar", copy)


def _guard(eval_set: EvalSet) -> EvalGuard:
    from clipfast.retrieval.evalguard import EvalGuard  # here: most checks know no evaluation set

    return EvalGuard(eval_set)


def _in_set(references: References, eval_set: EvalSet) -> tuple[list[Problem], str]:
    """Name rows that are of the evaluation set, by checksums of files and source photos, and by looks; and doubts."""
    from clipfast.retrieval.knownlooks import KnownLooks
    from clipfast.retrieval.looks import look_of

    marks = references.marks
    looks = KnownLooks(references.paths, marks.looks, declared=marks.all_declared)
    pictures: dict[str, str] = {}
    whole: set[str] = set()
    for sample in eval_set.samples:
        pictures |= dict.fromkeys(sample.digests, sample.image)
        picture = eval_set.picture(sample)
        crop = crop_patch(picture, sample.coords, sample.size)
        looks.see(look_of(crop), sample.image, sample.digests)
        if crop.size != picture.size and sample.image not in whole:
            whole.add(sample.image)
            looks.see(look_of(picture), sample.image, sample.digests)
    problems = []
    for path, *digests in zip(references.paths, references.sha256, references.marks.sources, strict=True):
        found = next((pictures[digest] for digest in digests if digest in pictures), looks.pairs.get(path))
        if found is not None:
            problems.append(_evaluated(path, found))
    return problems, looks.doubts()


def _evaluated(path: str, picture: str) -> Problem:
    detail = f"the same as {picture} of the evaluation set, or nearly"
    return Problem("evaluated", _fabric(path), path, detail, {"picture": picture})


def _copy_text(copy: Copy) -> str:
    if copy.bits is None:
        return f"the same as {copy.of}"
    return f"nearly the same as {copy.of} ({copy.bits} of 64 bits differ)"


def _fabric(path: str) -> str:
    return path.split("/", 1)[0]


def _sorted(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    order = list(PROBLEMS)
    return tuple(sorted(problems, key=lambda problem: (problem.fabric, order.index(problem.kind), problem.path)))
