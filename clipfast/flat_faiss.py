"""The one door to FAISS: importing it, its exact indexes, and its GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clipfast.errors import MissingExtraError, ProviderError
from clipfast.types import Floats, Ints

__all__ = ["exact_by_faiss", "load_faiss", "on_gpu"]


def load_faiss() -> Any:
    """Import FAISS.

    Raises:
        MissingExtraError: It is not installed; the message is the line that installs it.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError.of("faiss", extra="cpu") from error
    return faiss


def on_gpu(make: Callable[[Any], Any], gpu: int) -> tuple[Any, Any]:
    """Return FAISS's resources, which must live as long as the index, and what `make(faiss)` makes, on the GPU.

    Raises:
        MissingExtraError: FAISS is not installed.
        ProviderError: The installed faiss knows no GPUs, or there is no such GPU.
    """
    faiss = load_faiss()
    if not hasattr(faiss, "StandardGpuResources"):
        raise ProviderError(
            "The installed faiss knows no GPUs. Install it: pip uninstall -y faiss-cpu && pip install 'clipfast[gpu]', "
            "or use gpu=None."
        )
    count = faiss.get_num_gpus()
    if not 0 <= gpu < count:
        raise ProviderError(
            f"gpu must be below {count}, the GPUs that faiss sees; got {gpu}. Use gpu=None for the CPU."
        )
    resources = faiss.StandardGpuResources()
    return resources, faiss.index_cpu_to_gpu(resources, gpu, make(faiss))


def exact_by_faiss(rows: Floats, *, gpu: int | None = None) -> Callable[[Floats], Ints]:
    """Return a function from queries, (q, d), to the nearest of `rows`, (m, d), by FAISS's exact Euclidean index, (q,).

    Raises:
        MissingExtraError: FAISS is not installed.
        ProviderError: The installed faiss knows no GPUs, or there is no such GPU.
    """

    def make(faiss: Any) -> Any:
        return faiss.IndexFlatL2(rows.shape[1])

    resources, flat = (None, make(load_faiss())) if gpu is None else on_gpu(make, gpu)
    flat.add(rows)

    def nearest(queries: Floats) -> Ints:
        _ = resources  # must live as long as the index
        places: Ints = flat.search(queries, 1)[1][:, 0]
        return places

    return nearest
