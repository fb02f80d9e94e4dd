"""Predictions straight from a model and labelled images: zero-shot classification, with everything it can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from clipfast.datasets.folders import list_fabrics
from clipfast.diagnostics.captions import PairEncoder
from clipfast.diagnostics.diagnosis import DiagnoseOptions, Diagnosis, diagnose
from clipfast.diagnostics.predictions import Predictions
from clipfast.errors import DataError
from clipfast.metrics.temperature import apply_temperature
from clipfast.types import ImageSource

__all__ = ["ZeroShotOptions", "diagnose_folder", "zero_shot_predictions"]


@dataclass(frozen=True, slots=True)
class ZeroShotOptions:
    """How to predict.

    Attributes:
        templates: Prompts around the names of classes, such as "a photo of {} fabric"; None takes the names alone.
        temperature: What cosines are divided by; 0.01 is CLIP's own.
        batch_size: Images at once.
        progress: Called with (done, done) images: how many will come is not known.
    """

    templates: tuple[str, ...] | None = None
    temperature: float = 0.01
    batch_size: int = 32
    progress: Callable[[int, int], None] | None = None


def zero_shot_predictions(
    encoder: PairEncoder,
    samples: Iterable[tuple[str, ImageSource, str]],
    classes: Sequence[str],
    options: ZeroShotOptions | None = None,
    *,
    splits: Sequence[str] | None = None,
) -> Predictions:
    """Classify labelled images by the names of classes, and keep the embeddings for the diagnosis.

    Args:
        encoder: Of images and texts, such as a `Clip`.
        samples: (id, image, label) each; only one batch of images is held.
        classes: Two names or more; labels are among them.
        options: See there.
        splits: Of each sample, such as "train" and "test"; None leaves them out.

    Raises:
        DataError: A label is no class, an id occurs twice, there is no sample, or splits are not as many as samples.
    """
    chosen = options or ZeroShotOptions()
    if len(set(classes)) != len(classes) or len(classes) < 2:
        raise DataError(f"classes must be two different names or more; got {list(classes)[:5]}.")
    names = encoder.encode_texts(list(classes), chosen.templates)
    numbers = {name: number for number, name in enumerate(classes)}
    ids: list[str] = []
    labels: list[int] = []
    rows = []
    stream = iter(samples)
    while batch := list(islice(stream, chosen.batch_size)):
        for name, _, label in batch:
            if label not in numbers:
                raise DataError(f"sample {name!r}: label must be one of {', '.join(classes)}; got {label!r}.")
            ids.append(name)
            labels.append(numbers[label])
        rows.append(encoder.encode_images([image for _, image, _ in batch]))
        if chosen.progress:
            chosen.progress(len(ids), len(ids))
    if not ids or len(set(ids)) != len(ids):
        raise DataError(
            f"samples must have unique ids, and be one at least; got {len(ids)}, {len(set(ids))} different."
        )
    if splits is not None and len(splits) != len(ids):
        raise DataError(f"splits must be as many as samples, {len(ids)}; got {len(splits)}.")
    images = np.concatenate(rows)
    truth = np.array(labels, np.int64)
    logits = (images @ names.T).astype(np.float64) / chosen.temperature
    return Predictions(
        ids=tuple(ids),
        classes=tuple(classes),
        labels=truth,
        probs=apply_temperature(logits, 1.0),
        columns={} if splits is None else {"split": np.array(list(splits), dtype=np.str_)},
        logits=logits,
        image_rows=images,
        text_rows=names[truth],
    )


def diagnose_folder(
    encoder: PairEncoder,
    folder: Path,
    options: ZeroShotOptions | None = None,
    *,
    train: Path | None = None,
    how: DiagnoseOptions | None = None,
) -> tuple[Diagnosis, Predictions]:
    """Name the images of a folder by their classes, and diagnose what was said.

    Args:
        encoder: Of images and texts, such as a `Clip`.
        folder: Images to judge, one folder a class, named as the class.
        options: How to predict.
        train: Images that the model knows, laid out alike; None leaves out what compares with them.
        how: How to diagnose.

    Returns:
        The diagnosis, and the predictions that it is of; paths of images are relative to `folder`.

    Raises:
        DataError: A folder is not there or holds no image, or there are fewer than two classes.
        ImageError: An image cannot be read.
    """
    samples: list[tuple[str, ImageSource, str]] = []
    splits: list[str] = []
    images: list[str] = []
    for split, root in (("train", train), ("test", folder)):
        if root is None:
            continue
        found = [(name, path) for name, paths in list_fabrics(root).items() for path in paths]
        if not found:
            raise DataError(f"{root} must hold images in one folder a class; found none.")
        samples += [(f"{split}/{path.relative_to(root).as_posix()}", path, name) for name, path in found]
        splits += [split] * len(found)
        images += [path.relative_to(root).as_posix() if split == "test" else "" for _, path in found]
    classes = sorted({label for _, _, label in samples})
    predictions = zero_shot_predictions(encoder, samples, classes, options, splits=splits)
    predictions = replace(predictions, images=tuple(images))
    return diagnose(predictions, how), predictions
