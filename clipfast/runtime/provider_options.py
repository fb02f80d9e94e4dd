"""What can be said to a GPU provider, as frozen objects: every name is one that the wheel's libraries know.

Fields are called as ONNX Runtime calls them (those of TensorRT without their `trt_`), so its documentation applies.
`make gpu-options` reads the names out of the wheel's shared objects into `gpu_options.json`; a test holds the fields
against that list, because ONNX Runtime would only be told of a misspelt option on a machine with a GPU.

Nothing here was run on a GPU yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar, Literal

from clipfast.artifact import Flavour
from clipfast.errors import ProviderError, ShapeError

__all__ = [
    "CpuOptions",
    "CudaOptions",
    "OpenVinoOptions",
    "ProviderOptions",
    "ShapeProfile",
    "TensorRtOptions",
    "provider_options",
    "smallest_batch",
]


@dataclass(frozen=True, slots=True)
class ShapeProfile:
    """The batches that an engine is built for: it runs `smallest` to `largest`, and is tuned for `usual`.

    >>> ShapeProfile(1, 8, 32).shapes("pixels", (224, 224, 3))
    ('pixels:1x224x224x3', 'pixels:8x224x224x3', 'pixels:32x224x224x3')
    """

    smallest: int = 1
    usual: int = 8
    largest: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.smallest <= self.usual <= self.largest <= 4096:
            raise ShapeError(
                "A profile must be 1 <= smallest <= usual <= largest <= 4096; "
                f"got {self.smallest}, {self.usual}, {self.largest}."
            )

    @classmethod
    def parse(cls, text: str) -> ShapeProfile:
        """Read "1,8,32", or "8" for one batch only.

        Raises:
            ShapeError: Not one or three numbers, or not rising.
        """
        try:
            numbers = [int(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) not in {1, 3}:
            raise ShapeError(f"A profile must be one batch or smallest,usual,largest, such as 1,8,32; got {text!r}.")
        return cls(*(numbers * 3 if len(numbers) == 1 else numbers))

    @property
    def batches(self) -> tuple[int, ...]:
        """The different batches named, rising."""
        return tuple(sorted({self.smallest, self.usual, self.largest}))

    def require(self, batch: int) -> None:
        """Refuse a batch outside: an engine would be rebuilt without a word, or fail.

        Raises:
            ShapeError: Names the profile and the batch.
        """
        if not self.smallest <= batch <= self.largest:
            raise ShapeError(
                f"The engine was built for batches of {self.smallest} to {self.largest}; got {batch}. Pass "
                "ImageOptions(batch_size=...) within it, or a profile that holds it: "
                "TensorRtOptions(profile=ShapeProfile(smallest, usual, largest))."
            )

    def shapes(self, name: str, rest: tuple[int, ...]) -> tuple[str, str, str]:
        """Return the input's smallest, usual and largest shape as ONNX Runtime writes them."""
        low, middle, high = (
            f"{name}:{'x'.join(map(str, (batch, *rest)))}" for batch in (self.smallest, self.usual, self.largest)
        )
        return low, middle, high


@dataclass(frozen=True, slots=True)
class CpuOptions:
    """The CPU; threads are said elsewhere."""

    name: ClassVar[str] = "cpu"
    flavour: ClassVar[Flavour] = "fused"


@dataclass(frozen=True, slots=True)
class OpenVinoOptions:
    """OpenVINO on the CPU: the graphs of `CpuOptions`, in fp32, bf16 or int8.

    Attributes:
        int8_rest: What an int8 graph computes in where it is not int8: attention, norms and sums. "bf16" is for CPUs
            that have it and models whose accuracy gate passed with it; it pays where there are many patches.
    """

    name: ClassVar[str] = "openvino"
    flavour: ClassVar[Flavour] = "fused"

    int8_rest: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if self.int8_rest not in ("fp32", "bf16"):
            raise ProviderError(f"int8_rest must be fp32 or bf16; got {self.int8_rest!r}.")


@dataclass(frozen=True, slots=True)
class CudaOptions:
    """ONNX Runtime's CUDA provider.

    Attributes:
        device_id: Which GPU, from 0.
        gpu_mem_limit: Bytes of the arena at most; None for no limit.
        arena_extend_strategy: How the arena grows: to the next power of two, or by what was asked.
        use_tf32: Lets fp32 products lose 13 bits on Ampere and later; off, so that fp32 means fp32.
        enable_skip_layer_norm_strict_mode: Sums norms in fp32.
        do_copy_in_default_stream: Copies in the stream that computes.
        fixed_batch: Latency mode: this batch only, on buffers that stay where they are, replayed as a CUDA graph.
            Larger batches are run in pieces, smaller ones filled up. None is throughput mode.
    """

    name: ClassVar[str] = "cuda"
    flavour: ClassVar[Flavour] = "cuda"

    device_id: int = 0
    gpu_mem_limit: int | None = None
    arena_extend_strategy: Literal["kNextPowerOfTwo", "kSameAsRequested"] = "kNextPowerOfTwo"
    use_tf32: bool = False
    enable_skip_layer_norm_strict_mode: bool = True
    do_copy_in_default_stream: bool = True
    fixed_batch: int | None = None

    def __post_init__(self) -> None:
        _check_numbers(self.device_id, gpu_mem_limit=self.gpu_mem_limit, fixed_batch=self.fixed_batch)
        if self.arena_extend_strategy not in {"kNextPowerOfTwo", "kSameAsRequested"}:
            raise ProviderError(
                "arena_extend_strategy must be kNextPowerOfTwo or kSameAsRequested; "
                f"got {self.arena_extend_strategy!r}."
            )

    @classmethod
    def latency(cls, *, device_id: int = 0) -> CudaOptions:
        """One image at a time, as quickly as possible."""
        return cls(device_id=device_id, fixed_batch=1)

    @classmethod
    def throughput(cls, *, device_id: int = 0) -> CudaOptions:
        """As many images a second as possible; batches of any size."""
        return cls(device_id=device_id)

    def entries(self) -> dict[str, str]:
        """Return what ONNX Runtime is told, by option name."""
        said = _entries(self, prefix="", without=("fixed_batch",))
        return said | {"enable_cuda_graph": _text(self.fixed_batch is not None)}

    def contains(self, head: str, batch: int) -> None:
        """Accept any batch."""


@dataclass(frozen=True, slots=True)
class TensorRtOptions:
    """ONNX Runtime's TensorRT provider.

    Attributes:
        device_id: Which GPU, from 0.
        profile: Batches of images.
        text_profile: Batches of texts.
        max_workspace_size: Bytes that building and running may take beside the weights; None leaves it to TensorRT.
        builder_optimization_level: 0 (quick to build) to 5 (quick to run); None leaves it to TensorRT.
        auxiliary_streams: Streams of one run at most; None leaves it to TensorRT, 0 saves memory.
        engine_hw_compatible: An engine that other GPUs of Ampere and later can run too, somewhat slower.
        fixed_batch: Latency mode, as for `CudaOptions`; the profile is then this batch alone.
        engines: Folder of engines; None takes `engines` in the cache folder.
        build: Whether a missing engine is built when a graph is opened (minutes) or is an error.
    """

    name: ClassVar[str] = "tensorrt"
    flavour: ClassVar[Flavour] = "tensorrt"

    device_id: int = 0
    profile: ShapeProfile = field(default_factory=ShapeProfile)
    text_profile: ShapeProfile = field(default_factory=lambda: ShapeProfile(1, 8, 64))
    max_workspace_size: int | None = None
    builder_optimization_level: int | None = None
    auxiliary_streams: int | None = None
    engine_hw_compatible: bool = False
    fixed_batch: int | None = None
    engines: Path | None = None
    build: Literal["missing", "never"] = "missing"

    def __post_init__(self) -> None:
        _check_numbers(self.device_id, max_workspace_size=self.max_workspace_size, fixed_batch=self.fixed_batch)
        if self.builder_optimization_level is not None and not 0 <= self.builder_optimization_level <= 5:
            raise ProviderError(f"builder_optimization_level must be 0 to 5; got {self.builder_optimization_level}.")
        if self.auxiliary_streams is not None and self.auxiliary_streams < 0:
            raise ProviderError(f"auxiliary_streams must be 0 or more; got {self.auxiliary_streams}.")
        if self.build not in {"missing", "never"}:
            raise ProviderError(f"build must be missing or never; got {self.build!r}.")

    @classmethod
    def latency(cls, *, device_id: int = 0) -> TensorRtOptions:
        """One image at a time, as quickly as possible."""
        return cls(device_id=device_id, fixed_batch=1)

    @classmethod
    def throughput(cls, *, device_id: int = 0, largest: int = 32) -> TensorRtOptions:
        """As many images a second as possible, up to `largest` at once."""
        return cls(device_id=device_id, profile=ShapeProfile(1, largest, largest))

    def profile_of(self, head: str) -> ShapeProfile:
        """Return the batches of a head's engine."""
        if self.fixed_batch is not None:
            return ShapeProfile(self.fixed_batch, self.fixed_batch, self.fixed_batch)
        return self.text_profile if head == "text" else self.profile

    def contains(self, head: str, batch: int) -> None:
        """Refuse a batch outside the head's profile.

        Raises:
            ShapeError: Names the profile and the batch.
        """
        self.profile_of(head).require(batch)

    def entries(self) -> dict[str, str]:
        """Return what ONNX Runtime is told when an engine runs, by option name."""
        own = ("profile", "text_profile", "fixed_batch", "engines", "build")
        said = _entries(self, prefix="trt_", without=own)
        said["device_id"] = said.pop("trt_device_id")
        return said | {"trt_cuda_graph_enable": _text(self.fixed_batch is not None)}

    def build_entries(
        self, shapes: tuple[str, str, str], precision: str, context: Path, timing: Path
    ) -> dict[str, str]:
        """Return what ONNX Runtime is told when an engine is built, by option name.

        Args:
            shapes: Smallest, usual and largest of all inputs.
            precision: "fp32" or "fp16". ONNX Runtime makes TensorRT 10's networks weakly typed, which want a flag
                before they take fp16 types, and then allow fp16 where fp32 is typed as well. TensorRT 11 has none.
            context: The context model to write; the engine is written beside it.
            timing: Folder of timing caches, which make the next build quicker.
        """
        low, middle, high = shapes
        half = _text(precision == "fp16")
        return self.entries() | {
            "trt_fp16_enable": half,
            "trt_layer_norm_fp32_fallback": half,
            "trt_profile_min_shapes": low,
            "trt_profile_opt_shapes": middle,
            "trt_profile_max_shapes": high,
            "trt_engine_cache_enable": "1",
            "trt_dump_ep_context_model": "1",
            "trt_ep_context_file_path": str(context),
            "trt_ep_context_embed_mode": "0",  # embedded engines load very slowly
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(timing),
        }


ProviderOptions = CpuOptions | OpenVinoOptions | CudaOptions | TensorRtOptions
_KINDS: tuple[type[ProviderOptions], ...] = (CpuOptions, OpenVinoOptions, CudaOptions, TensorRtOptions)
_BY_NAME = {kind.name: kind for kind in _KINDS}


def provider_options(provider: str | ProviderOptions) -> ProviderOptions:
    """Return the options of a provider that is given by name or by its options.

    Raises:
        ProviderError: No provider of that name.

    >>> provider_options("cuda").device_id
    0
    """
    if isinstance(provider, ProviderOptions):
        return provider
    if not isinstance(provider, str) or provider not in _BY_NAME:
        raise ProviderError(
            f"provider must be one of {', '.join(_BY_NAME)}; got {provider!r}.",
            code="unknown_provider",
            known=", ".join(_BY_NAME),
            got=provider,
        )
    return _BY_NAME[provider]()


def smallest_batch(options: ProviderOptions, head: str) -> int:
    """Return the smallest batch that a graph runs: 1, but where the profile of its engine begins later.

    >>> smallest_batch(TensorRtOptions(profile=ShapeProfile(4, 8, 32)), "embed")
    4
    """
    if isinstance(options, TensorRtOptions) and options.fixed_batch is None:
        return options.profile_of(head).smallest
    return 1  # fixed buffers are filled up


def _entries(options: CudaOptions | TensorRtOptions, *, prefix: str, without: tuple[str, ...]) -> dict[str, str]:
    said = {f.name: getattr(options, f.name) for f in fields(options) if f.name not in without}
    return {f"{prefix}{name}": _text(value) for name, value in said.items() if value is not None}


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _check_numbers(device_id: int, **positive: int | None) -> None:
    if device_id < 0:
        raise ProviderError(f"device_id must be 0 or more; got {device_id}.")
    for name, value in positive.items():
        if value is not None and value < 1:
            raise ProviderError(f"{name} must be 1 or more; got {value}.")
