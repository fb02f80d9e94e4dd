"""Numba kernels behind thin wrappers that check shapes and dtypes once.

Importing this package imports Numba, so nothing imports it at the top of a module that `import clipfast` loads. A
kernel is compiled at its first call and cached on disk; each has a slow, obvious twin in `tests/reference/naive.py`,
or a library whose results it must reproduce.
"""

from clipfast.kernels.components import Components, label_components
from clipfast.kernels.resize import resize_bicubic

__all__ = ["Components", "label_components", "resize_bicubic"]
