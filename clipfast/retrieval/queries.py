"""What a user asks with, a vector or an image, as checked rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np

from clipfast.errors import ArtifactError, ShapeError
from clipfast.index import require_unit_rows
from clipfast.types import Floats, ImageEncoder, Images, ImageSource

__all__ = ["many_queries", "one_query", "require_encoder", "require_topk"]


def one_query(query: Floats | ImageSource, dim: int, clip: ImageEncoder | None) -> Floats:
    """Return one query as a unit row, (1, e) float32.

    Raises:
        ShapeError: It is not one vector (e,) or (1, e), and not one image.
        ArtifactError: It is an image, and there is no encoder.
    """
    if isinstance(query, list | tuple):
        raise ShapeError(
            f"query must be one vector ({dim},) or one image; got a {type(query).__name__} of {len(query)}. "
            "Pass several to rank_many()."
        )
    if not isinstance(query, np.ndarray) or query.dtype == np.uint8:
        return _encoded(cast("ImageSource", query), dim, clip, 1)
    rows = query[None] if query.ndim == 1 else query
    if rows.ndim == 2 and len(rows) != 1:
        raise ShapeError(
            f"query must be one vector ({dim},) or (1, {dim}); got {query.shape}. Pass several to rank_many()."
        )
    return require_unit_rows(cast("Floats", rows), dim, what="query")


def many_queries(queries: Floats | Iterable[ImageSource], dim: int, clip: ImageEncoder | None) -> Floats:
    """Return queries as unit rows, (q, e) float32.

    Raises:
        ShapeError: They are not unit rows of that width.
        ArtifactError: They are images, and there is no encoder.
    """
    if isinstance(queries, np.ndarray) and queries.dtype != np.uint8:
        return require_unit_rows(cast("Floats", queries), dim, what="queries")
    return _encoded(cast("Images", queries), dim, clip)


def require_encoder(clip: ImageEncoder | None, purpose: str) -> ImageEncoder:
    """Return the encoder.

    Raises:
        ArtifactError: There is none.
    """
    if clip is None:
        raise ArtifactError(
            f"The bank has no model to {purpose} with. Load it with one: FabricBank.load(path, clip=clip)."
        )
    return clip


def require_topk(topk: int) -> None:
    """Check the length of an answer.

    Raises:
        ShapeError: It is no integer, or below 1.
    """
    if not isinstance(topk, int | np.integer) or topk < 1:
        raise ShapeError(f"topk must be an integer of at least 1; got {topk!r}.")


def _encoded(images: Images, dim: int, clip: ImageEncoder | None, count: int | None = None) -> Floats:
    rows = require_encoder(clip, "encode images").encode_images(images)
    if count is not None and len(rows) != count:
        raise ShapeError(f"query must be one image; got {len(rows)}. Pass several to rank_many().")
    return require_unit_rows(rows, dim, what="the encoder's rows")
