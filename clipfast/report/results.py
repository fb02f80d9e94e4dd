"""Result directories: JSON that says its kind, and outcomes by image for paired tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from clipfast.errors import DataError, ShapeError
from clipfast.metrics.image_series import ImageSeries, PrecisionSeries, RatioSeries
from clipfast.report.result_kinds import JSON_KINDS, read_figures
from clipfast.storage import atomic_write, load_sealed_npz, save_sealed_npz

__all__ = ["RESULT_FILES", "ResultDirectory", "load_result", "load_series", "save_series", "write_json"]

# Kind of a result directory: the file that says it. A new kind is a row here that writes `samples` and `outcomes.npz`,
# or a row of JSON_KINDS.
RESULT_FILES = {"localize": "map_results.json"} | {kind: name for kind, (name, _) in JSON_KINDS.items()}
_OUTCOMES = "outcomes.npz"
_LARGEST = 1 << 30
_TYPES: dict[str, type[RatioSeries] | type[PrecisionSeries]] = {"ratio": RatioSeries, "precision": PrecisionSeries}


@dataclass(frozen=True, slots=True, eq=False)
class ResultDirectory:
    """What a result directory holds.

    Attributes:
        folder: Where it is.
        kind: A key of `RESULT_FILES`.
        content: Its JSON.
        samples: SHA-256 by id, in order.
        series: By system (a path, a mode) and metric.
    """

    folder: Path
    kind: str
    content: Mapping[str, Any]
    samples: Mapping[str, str]
    series: Mapping[str, Mapping[str, ImageSeries]]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON for people and machines, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def save_series(path: Path, series: Mapping[str, Mapping[str, ImageSeries]]) -> None:
    """Write series as a sealed .npz; a member is `system/metric/type/array`."""
    arrays: dict[str, NDArray[Any]] = {}
    names = {kind: name for name, kind in _TYPES.items()}
    for system, metrics in series.items():
        for metric, each in metrics.items():
            prefix = f"{system}/{metric}/{names[type(each)]}"
            arrays.update({f"{prefix}/{name}": array for name, array in each.arrays().items()})
    save_sealed_npz(path, arrays)


def load_series(path: Path) -> dict[str, dict[str, ImageSeries]]:
    """Read what `save_series` wrote.

    Raises:
        ArtifactError: The file is missing, or was changed.
        DataError: It holds something else.
    """
    grouped: dict[tuple[str, str, str], dict[str, NDArray[Any]]] = {}
    for member, array in load_sealed_npz(path, kind="result").items():
        parts = member.split("/")
        if len(parts) != 4 or parts[2] not in _TYPES:
            raise DataError(f"{path} must hold system/metric/type/array; got {member!r}. Evaluate again.")
        grouped.setdefault((parts[0], parts[1], parts[2]), {})[parts[3]] = array
    found: dict[str, dict[str, ImageSeries]] = {}
    for (system, metric, name), arrays in grouped.items():
        try:
            found.setdefault(system, {})[metric] = _TYPES[name].from_arrays(arrays)
        except ShapeError as error:
            raise DataError(f"{path}: {system}/{metric}: {error} Evaluate again.") from error
    return found


def load_result(folder: Path) -> ResultDirectory:
    """Read a result directory of any kind.

    Raises:
        DataError: No result is there, or it is of an unknown kind or of another shape.
        ArtifactError: Its outcomes are missing, or were changed.
    """
    found = [folder / name for name in RESULT_FILES.values() if (folder / name).is_file()]
    if len(found) != 1:
        raise DataError(
            f"{folder} must hold one of {', '.join(RESULT_FILES.values())}; it holds {len(found)}. "
            "Name the folder that --out named."
        )
    content = _decoded(found[0])
    kind, samples = content.get("kind"), content.get("samples")
    if isinstance(kind, str) and kind in JSON_KINDS and found[0].name == RESULT_FILES[kind]:
        figures = read_figures(kind, content, found[0])
        return ResultDirectory(folder, kind, content, figures.samples, figures.series)
    if kind != "localize" or not isinstance(samples, list):
        raise DataError(f"{found[0]} must be a result of kind {', '.join(RESULT_FILES)}; got {kind!r}.")
    try:
        hashes = {str(sample["id"]): str(sample["sha256"]) for sample in samples}
    except (KeyError, TypeError) as error:
        raise DataError(f"{found[0]} must give every sample an id and a sha256. Evaluate again.") from error
    series = load_series(folder / _OUTCOMES)
    counts = {each.images for metrics in series.values() for each in metrics.values()}
    if counts - {len(samples)}:
        raise DataError(f"{folder}: outcomes must be of {len(samples)} samples; got {sorted(counts)}. Evaluate again.")
    return ResultDirectory(folder, str(kind), content, hashes, series)


def _decoded(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LARGEST:
        raise DataError(f"{path} must have at most {_LARGEST:,} bytes; got {path.stat().st_size:,}.")
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise DataError(f"{path} must be a JSON object: {error}.") from error
