"""Options of a detector: frozen, checked once, stored with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal, get_args

from clipfast.errors import DataError, ShapeError
from clipfast.prompts import ABNORMAL_STATES, INSPECTION, NORMAL_STATES, PHRASES

if TYPE_CHECKING:
    from clipfast.anomaly.gate import LearnedGate
    from clipfast.anomaly.semantic import TextPrompts

__all__ = [
    "LEGACY_TEMPERATURE",
    "AnomalyOptions",
    "BankViews",
    "ImageScore",
    "Kind",
    "MemoryOptions",
    "Metric",
    "Pooling",
    "PromptOptions",
    "RowKind",
    "ScaleMethod",
    "Search",
    "require_choice",
    "require_kind",
    "require_number",
    "require_numbers",
]

LEGACY_TEMPERATURE = 1 / math.log(100)
"""PromptAD multiplies cosines by its stored logit scale, ln 100, and not by exp(ln 100) = 100: scores then stay within
0.39 to 0.61 for cosines that differ by 0.1."""

_MOST_ZOOM = 4.0
_MOST_CHANNELS = 4096

Metric = Literal["cosine", "euclidean"]
RowKind = Literal["unit", "centred", "standardised", "raw"]
ImageScore = Literal["max", "top", "reweighted", "mean", "contrast"]
BankViews = Literal["none", "rotations", "dihedral"]
Search = Literal["auto", "product", "faiss"]
Pooling = Literal["mean", "best"]
ScaleMethod = Literal["cdf", "robust_z"]
Kind = Literal["texture", "object", "logical"]


def require_choice(name: str, value: object, choices: object) -> None:
    """Refuse a value that is none of a `Literal`'s.

    Raises:
        DataError: The message lists the choices.
    """
    if value not in (known := get_args(choices)):
        raise DataError(f"{name} must be one of {', '.join(map(str, known))}; got {value!r}.")


def require_number(name: str, value: object, *, whole: bool = False) -> None:
    """Refuse what is no number, before it is compared with one.

    Raises:
        DataError: It is something else, or not whole where it must be.
    """
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        raise DataError(f"{name} must be a {'whole ' if whole else ''}number; got {value!r}.")


def require_numbers(name: str, values: object, *, count: int | None = None, whole: bool = False) -> None:
    """Refuse what is no tuple or list of (so many) numbers.

    Raises:
        DataError: It is something else.
    """
    if not isinstance(values, tuple | list) or (count is not None and len(values) != count):
        raise DataError(f"{name} must be a tuple of {'' if count is None else f'{count} '}numbers; got {values!r}.")
    for value in values:
        require_number(f"each of {name}", value, whole=whole)


def require_kind(name: str, value: object, kind: type) -> None:
    """Refuse a value of another type.

    Raises:
        DataError: It is one.
    """
    if not isinstance(value, kind):
        raise DataError(f"{name} must be of {kind.__name__}; got {value!r}.")


def _require_texts(name: str, texts: object) -> None:
    """Refuse what is no tuple or list of texts that hold {} once."""
    if not isinstance(texts, tuple | list) or not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{name} must be texts with {{}} in each, one at least; got {texts!r}.")
    for text in texts:
        if text.count("{}") != 1:
            raise DataError(f"each of {name} must hold {{}} exactly once, where the name goes; got {text!r}.")


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """How patches are remembered and compared.

    Attributes:
        blocks: Which blocks' features, of those the artifact holds; None takes all. Their distances are averaged.
        metric: "cosine" is (1 - cosine) / 2, in [0, 1]; "euclidean" the distance of the prepared rows.
        rows: How features are prepared. "unit" scales each to unit length (PromptAD, AnomalyDINO). "centred" first
            subtracts the support's mean, "standardised" also divides each channel by its deviation on the support:
            both take away what all patches share, such as a ViT's few huge channels. "raw" leaves lengths as they are.
        image_score: Of the patch distances: "max" (PatchCore's code, PromptAD), "top" is the mean of the highest 1 %,
            one at least (AnomalyDINO), "reweighted" is PatchCore's equation 7 as anomalib computes it; these look for
            a fault somewhere. "mean" is the mean of all patches: a change everywhere, such as another weave, density
            or light, which no single patch shows; a small fault drowns in it. "contrast" is the opposite, the highest
            less the image's own median: what another distance of the camera or another light changes everywhere is
            taken away, and so is a fault that fills half of the image.
        neighbours: Rows around the nearest one that "reweighted" compares with.
        coreset: Share of the rows to keep, chosen by greedy k-centre; 1 keeps all.
        projection: Channels of a seeded random projection in which the coreset is chosen; "auto" is the
            Johnson-Lindenstrauss bound at 0.9 (anomalib); None chooses among the rows themselves.
        views: Whether the bank also holds turned support images: "rotations" by right angles, "dihedral" also mirrored.
        zooms: Magnifications of the support's middle that the bank also holds, each above 1 and at most 4: 1.25 is for
            cameras that come a quarter nearer.
        search: "product" is `NearestRows`; "faiss" FAISS's exact index, which takes the memory of the rows once more;
            "auto" is the product, which is the faster one at every size that was measured (docs/search.md).
    """

    blocks: tuple[int, ...] | None = None
    metric: Metric = "cosine"
    rows: RowKind = "unit"
    image_score: ImageScore = "max"
    neighbours: int = 9
    coreset: float = 1.0
    projection: int | Literal["auto"] | None = None
    views: BankViews = "none"
    zooms: tuple[float, ...] = ()
    search: Search = "auto"

    def __post_init__(self) -> None:
        require_choice("metric", self.metric, Metric)
        require_choice("rows", self.rows, RowKind)
        require_choice("image_score", self.image_score, ImageScore)
        require_choice("views", self.views, BankViews)
        require_choice("search", self.search, Search)
        if self.blocks is not None:
            require_numbers("blocks", self.blocks, whole=True)
        require_numbers("zooms", self.zooms)
        require_number("coreset", self.coreset)
        require_number("neighbours", self.neighbours, whole=True)
        if self.projection not in (None, "auto"):
            require_number("projection", self.projection, whole=True)
        if not 0 < self.coreset <= 1:
            raise ShapeError(f"coreset must be a share in (0, 1]; got {self.coreset}.")
        if self.neighbours < 1 or (isinstance(self.projection, int) and not 1 <= self.projection <= _MOST_CHANNELS):
            raise ShapeError(
                f"neighbours must be 1 or more and projection 1 to {_MOST_CHANNELS} channels; "
                f"got {self.neighbours} and {self.projection}."
            )
        if not all(1 < zoom <= _MOST_ZOOM for zoom in self.zooms) or len(set(self.zooms)) < len(self.zooms):
            raise ShapeError(
                f"zooms must be different numbers above 1 and at most {_MOST_ZOOM:g}, such as (1.25, 1.5); "
                f"got {self.zooms}."
            )
        if self.rows == "raw" and self.metric == "cosine":
            raise DataError('rows="raw" goes with metric="euclidean"; the cosine is that of unit rows.')


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """What the text branch compares with.

    Attributes:
        temperature: By which differences of cosines are divided before the softmax; None is the model's own, one over
            its logit scale, which is 0.01 for CLIP. (PromptAD wanted 0.01; WinCLIP's code in anomalib has 0.07.)
        legacy_temperature: Takes `LEGACY_TEMPERATURE`, PromptAD's mistake, to reproduce its numbers.
        pooling: How a patch meets several prompts: "mean" compares it with the mean of each group; with "best" each
            patch takes the largest cosine of each group before the softmax (spatial prompts). Images: always "mean".
        normal: States of intact things, with {} for the class.
        abnormal: States of damaged things.
        class_states: Whether what is known of the class is added to `abnormal`.
        templates: Around every state.
        guided: How many phrases, those nearest to the support's patches, are added to both groups (vision-guided
            prompts); 0 for none.
        phrases: The bank from which they are chosen.
    """

    temperature: float | None = None
    legacy_temperature: bool = False
    pooling: Pooling = "mean"
    normal: tuple[str, ...] = NORMAL_STATES
    abnormal: tuple[str, ...] = ABNORMAL_STATES
    class_states: bool = True
    templates: tuple[str, ...] = INSPECTION
    guided: int = 0
    phrases: tuple[str, ...] = PHRASES

    def __post_init__(self) -> None:
        require_choice("pooling", self.pooling, Pooling)
        if self.temperature is not None:
            require_number("temperature", self.temperature)
        require_number("guided", self.guided, whole=True)
        require_kind("legacy_temperature", self.legacy_temperature, bool)
        require_kind("class_states", self.class_states, bool)
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ShapeError(f"temperature must be positive; got {self.temperature}.")
        if self.legacy_temperature and self.temperature is not None:
            raise DataError("give temperature or legacy_temperature, not both.")
        if not 0 <= self.guided <= len(self.phrases):
            raise ShapeError(f"guided must be 0 to {len(self.phrases)}, the number of phrases; got {self.guided}.")
        for name in ("normal", "abnormal", "templates"):
            _require_texts(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class AnomalyOptions:
    """How a detector is fitted.

    Attributes:
        memory: The patch memory.
        prompts: The text branch.
        size_hw: Size of the pixel maps.
        sigma: Deviation of their Gaussian blur, in pixels of `size_hw`; 0 for none.
        calibration: How raw scores are put on one scale by those of the held-out support: "cdf" is the negative
            logarithm of the share of intact scores above, with an exponential tail; "robust_z" is softplus of
            (score - median) / (1.4826 * median absolute deviation).
        kind: Kind of the class, for the mode "routed"; None estimates texture or object from the support.
        whole_image: Oblong images are squeezed to what the model reads, so that maps cover all of them; else what the
            model's own rule crops off is not inspected.
        seed: Of the coreset, the projection and the damage that tests the text branch.
        learned: Prompts that were learned elsewhere (`load_prompt_features`), instead of `prompts`.
        gate: Learned on other classes (`fit_gate`), for the mode "learned_gate".
        shots_seed: The seed that chose the references, to be stored with them.
        progress: Called with (done, total) encoded pictures.
    """

    memory: MemoryOptions = field(default_factory=MemoryOptions)
    prompts: PromptOptions = field(default_factory=PromptOptions)
    size_hw: tuple[int, int] = (256, 256)
    sigma: float = 4.0
    calibration: ScaleMethod = "cdf"
    kind: Kind | None = None
    whole_image: bool = True
    seed: int = 0
    learned: TextPrompts | None = None
    gate: LearnedGate | None = None
    shots_seed: int | None = None
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        require_kind("memory", self.memory, MemoryOptions)
        require_kind("prompts", self.prompts, PromptOptions)
        require_kind("whole_image", self.whole_image, bool)
        if self.progress is not None and not callable(self.progress):
            raise DataError(f"progress must be called with (done, total); got {self.progress!r}.")
        if self.shots_seed is not None:
            require_number("shots_seed", self.shots_seed, whole=True)
        require_choice("calibration", self.calibration, ScaleMethod)
        if self.kind is not None:
            require_choice("kind", self.kind, Kind)
        require_numbers("size_hw", self.size_hw, count=2, whole=True)
        require_number("sigma", self.sigma)
        require_number("seed", self.seed, whole=True)
        if min(self.size_hw) < 1 or max(self.size_hw) > 4096 or not 0 <= self.sigma <= max(self.size_hw):
            raise ShapeError(
                f"size_hw must be 1 to 4096 pixels, sigma 0 to the longer side; got {self.size_hw} and {self.sigma}."
            )
        if self.seed < 0:
            raise ShapeError(f"seed must be 0 or more; got {self.seed}.")
