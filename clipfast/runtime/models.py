"""Where models are: the embedded ones by name, all others by their folder."""

from __future__ import annotations

import os
from pathlib import Path

from clipfast.errors import ArtifactError

__all__ = ["DEFAULT_MODEL", "embedded_models", "find_model"]

DEFAULT_MODEL = "mini"
_MODELS = Path(__file__).resolve().parent.parent / "models"


def embedded_models() -> list[str]:
    """Return the names of the models that come with the package."""
    return sorted(path.parent.name.replace("_", "-") for path in _MODELS.glob("*/manifest.json"))


def find_model(model: str | os.PathLike[str]) -> Path:
    """Return the folder of a model by name or path.

    Raises:
        ArtifactError: There is none; the message names the embedded models.
    """
    if isinstance(model, str) and model.replace("_", "-") in embedded_models():  # a manifest has the folder's name
        return _MODELS / model.replace("-", "_")
    path = Path(model)
    if not path.is_dir():
        raise ArtifactError(
            f"No artifact folder at {path}, and no embedded model of that name (there is "
            f"{', '.join(embedded_models()) or 'none'}). Make one: python -m clipfast.export MODEL --out DIR",
            code="no_model",
            path=path,
            known=", ".join(embedded_models()),
        )
    return path
