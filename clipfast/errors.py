"""Every error that clipfast raises on purpose.

A message says what must be, what came, and what to do.

::

    ClipfastError
    ├── ShapeError(ValueError)            an array has the wrong shape, dtype or range
    ├── ImageError(ValueError)            an image cannot be read, or is larger than the limit
    ├── DataError(ValueError)             a folder, list or file of the user does not hold what is needed
    ├── ArtifactError(ValueError)         an artifact, bank or fitted object is missing, damaged or of another version
    │   └── FingerprintError              it is intact, but made by another model
    ├── UndefinedMetricError(ValueError)  the metric does not exist for these inputs (one class only, no region, ...)
    ├── NotComputedError(RuntimeError)    a result that was not asked for, such as a branch that was left out
    ├── ProviderError(RuntimeError)       the execution provider asked for cannot run here
    ├── ParityError(RuntimeError)         an exported graph does not reproduce its reference
    └── MissingExtraError(ImportError)    an optional dependency is not installed
"""

__all__ = [
    "ArtifactError",
    "ClipfastError",
    "DataError",
    "FingerprintError",
    "ImageError",
    "MissingExtraError",
    "NotComputedError",
    "ParityError",
    "ProviderError",
    "ShapeError",
    "UndefinedMetricError",
]


class ClipfastError(Exception):
    """Root of the tree; catch it to catch everything clipfast raises on purpose.

    Attributes:
        code: Which error it is, in one word, for programs; empty where only the sentence says so.
        values: What the sentence names, such as paths and counts, by name; the same names for the same code.
        language: Of the sentence's beginning; the command line puts Chinese before it where that is asked for.

    >>> error = DataError("Too few samples to train: there are 12 ...", code="too_few_samples", count=12)
    >>> error.code, error.values
    ('too_few_samples', {'count': 12})
    """

    language = "en"

    def __init__(self, *args: object, code: str = "", **values: object) -> None:
        super().__init__(*args)
        self.code = code
        self.values = values


class ShapeError(ClipfastError, ValueError):
    """An array has the wrong shape, dtype or range."""


class ImageError(ClipfastError, ValueError):
    """An image cannot be read, or is larger than the limit."""


class DataError(ClipfastError, ValueError):
    """A folder, list or file of the user does not hold what is needed."""


class ArtifactError(ClipfastError, ValueError):
    """An artifact, bank or fitted object is missing, damaged or of another version."""


class FingerprintError(ArtifactError):
    """A fitted object is intact, but was made by another model."""


class UndefinedMetricError(ClipfastError, ValueError):
    """The metric does not exist for these inputs."""


class NotComputedError(ClipfastError, RuntimeError):
    """A result was asked for that was not computed, such as that of a branch that was left out."""


class ProviderError(ClipfastError, RuntimeError):
    """The execution provider asked for cannot run here."""


class ParityError(ClipfastError, RuntimeError):
    """An exported graph does not reproduce its reference."""


class MissingExtraError(ClipfastError, ImportError):
    """An optional dependency is not installed.

    >>> print(MissingExtraError.of("faiss", extra="cpu"))
    faiss is not installed. Run: pip install 'clipfast[cpu]'
    """

    @classmethod
    def of(cls, module: str, *, extra: str) -> "MissingExtraError":
        """Build the one sentence that names the missing module and the line that installs it."""
        line = f"pip install 'clipfast[{extra}]'"
        return cls(f"{module} is not installed. Run: {line}", code="missing_extra", module=module, line=line)
