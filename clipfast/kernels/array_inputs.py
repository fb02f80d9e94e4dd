"""What callers pass as an array: lists are taken too, once, at the entrance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipfast.errors import ShapeError

__all__ = ["as_array"]


def as_array(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return an array as it is, and nested lists as an array of the type that NumPy finds for them.

    Raises:
        ShapeError: If lists are ragged.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"{name} must be an array, or lists whose rows have one length; got ragged lists.") from error
