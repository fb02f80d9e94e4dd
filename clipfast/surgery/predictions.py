"""Boxes of any detector as JSON: read to be scored without a model, and written by every evaluation."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from clipfast.datasets.box_files import read_bounded
from clipfast.datasets.box_records import BoxSet, Doubles
from clipfast.errors import DataError
from clipfast.storage import atomic_write
from clipfast.surgery.localise_records import Records, RecordsBuilder, SampleRecord
from clipfast.surgery.map_stream import sample_digest

__all__ = ["Prediction", "read_predictions", "records_of_predictions", "write_predictions"]

_LARGEST = 1 << 30


class Prediction(msgspec.Struct, frozen=True):
    """One box of a detector.

    Attributes:
        image: Id of the image: its name in the data set, with or without suffix.
        label: Class.
        box: xyxy in pixels of the stored image, half-open.
        score: Higher is surer.
    """

    image: str
    label: str
    box: tuple[float, float, float, float]
    score: float


def read_predictions(path: Path) -> list[Prediction]:
    """Read a JSON list of objects with `image`, `label`, `box` and `score`.

    Raises:
        DataError: The file cannot be read, or has another shape.
    """
    try:
        return msgspec.json.decode(read_bounded(path, _LARGEST), type=list[Prediction])
    except msgspec.DecodeError as error:
        raise DataError(
            f'{path} must be a JSON list of {{"image", "label", "box": [x1, y1, x2, y2], "score"}}: {error}.'
        ) from error


def write_predictions(path: Path, records: Records, name: str) -> None:
    """Write the scored boxes of one path, so that they can be scored again without the model."""
    found = records.paths[name].detections
    rows = [
        {"image": records.ids[image], "label": label, "box": box, "score": score}
        for image, label, box, score in zip(
            found.images.tolist(), found.classes.tolist(), found.boxes.tolist(), found.scores.tolist(), strict=True
        )
    ]
    with atomic_write(path) as temporary:
        temporary.write_bytes(msgspec.json.encode(rows))


def records_of_predictions(data: BoxSet, predictions: list[Prediction], name: str = "predictions") -> Records:
    """Turn predictions into the records of an evaluation without maps.

    Raises:
        DataError: A prediction is of an image or class that the data set does not have, or a number is not finite or a
            box reversed.
    """
    by_image: dict[str, list[Prediction]] = {}
    for each in predictions:
        by_image.setdefault(each.image, []).append(each)
    builder = RecordsBuilder((name,), 0)
    for sample in data.samples:
        if isinstance(sample.image, Path):
            own = by_image.pop(sample.id, []) + by_image.pop(sample.id + sample.image.suffix, [])
            source = sample.image.read_bytes()
            sha = sample_digest(sample, source)
        else:
            own, sha = by_image.pop(sample.id, []), sample_digest(sample, sample.image)
        if strangers := sorted({each.label for each in own} - set(data.classes)):
            raise DataError(
                f"predictions of {sample.id} must have the classes {', '.join(data.classes)}; "
                f"got {', '.join(strangers)}."
            )
        builder.add(
            SampleRecord(
                sample.id,
                sha,
                (),
                sample.boxes,
                sample.labels,
                sample.difficult,
                np.full(len(sample.boxes), np.nan),
                {},
                {name: _arrays(own)},
            )
        )
    if by_image:
        shown = ", ".join(sorted(by_image)[:5])
        raise DataError(
            f"predictions must be of the {len(data)} images scored; {len(by_image)} are not among them: {shown}. "
            "Score the same split and limit, or leave those predictions out."
        )
    return builder.build()


def _arrays(own: list[Prediction]) -> tuple[Doubles, Doubles, tuple[str, ...]]:
    boxes = np.array([each.box for each in own], np.float64).reshape(-1, 4)
    scores = np.array([each.score for each in own], np.float64)
    bad = ~np.isfinite(boxes).all(axis=1) | ~np.isfinite(scores)
    bad |= (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    if bad.any():
        raise DataError(
            f"a prediction must have a finite score and a box with x1 <= x2, y1 <= y2; got {own[int(bad.argmax())]}."
        )
    return boxes, scores, tuple(each.label for each in own)
