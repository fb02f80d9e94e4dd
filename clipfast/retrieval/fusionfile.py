"""The file of fitted weights: what `clipfast fuse fit` found, and what it was found with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec

from clipfast.arguments import require_path
from clipfast.artifact import Sha256
from clipfast.errors import ArtifactError
from clipfast.retrieval.confidence import Judge
from clipfast.retrieval.declared import SeenPictures
from clipfast.retrieval.fusion import Fusion
from clipfast.storage import atomic_write, require_format

__all__ = ["CurvePoint", "FittedFusion", "default_fusion_path"]

FORMAT_VERSION = 4
_OLDER = (3,)  # kept no looks of what they were fitted on
_MAX_BYTES = 16 << 20

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Temperature = Annotated[float, msgspec.Meta(gt=0)]


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """What one α does on the validation patches.

    Attributes:
        alpha: Weight of the rules.
        top1: Share of patches whose fabric comes first.
        top5: Share of patches whose fabric is among the first five.
        mrr: Mean of 1 / rank of the right fabric.
        loss: Mean -ln of the score of the right fabric, which is not taken below 1e-4.
    """

    alpha: float
    top1: float
    top5: float
    mrr: float
    loss: float


class FittedFusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `clipfast fuse fit` found.

    Attributes:
        format: Version of the file.
        seen: Names and looks of those patches, and what was declared to be no copy.
        alpha: Weight of the rules with the highest mean reciprocal rank.
        head_share: The head's share with it; None where there was no head.
        rules_temperature: Of rule scores.
        bank_temperature: Of cosines.
        curve: Every α that was tried, at that share.
        samples: Patches that it was fitted on.
        counts: How many of each fabric.
        excluded: Patches that were left out because they are in the evaluation set.
        in_bank: Patches that were left out because the bank holds them, nearly, or their photo: they would find it.
        not_held_out: Patches that were left out because no head could be made without them.
        rules: Name of the rules.
        rules_sha256: Checksum of what they say, `RuleSet.sha256`.
        head_sha256: Of the head, `LinearHead.sha256`; None where there was none.
        fitted_on: Checksums of the patches and of their photos; they cannot be evaluated on.
        fingerprint: Of the bank's model.
        eval_version: Of the evaluation set that was left out; None where there was none.
        judge: Confidence and none-of-these of answers with these weights, fitted on the same patches.
    """

    alpha: Share
    head_share: Share | None
    rules_temperature: Temperature
    bank_temperature: Temperature
    curve: tuple[CurvePoint, ...]
    samples: int
    excluded: int
    in_bank: int
    not_held_out: int
    rules: str
    rules_sha256: Sha256
    head_sha256: Sha256 | None
    fitted_on: tuple[Sha256, ...]
    fingerprint: str
    eval_version: str | None
    judge: Judge
    counts: dict[str, int] = {}
    seen: SeenPictures = SeenPictures()
    format: int = FORMAT_VERSION

    def fusion(self) -> Fusion:
        """Return weights and temperatures."""
        head = {} if self.head_share is None else {"head_share": self.head_share}
        return Fusion(
            alpha=self.alpha,
            rules_temperature=self.rules_temperature,
            bank_temperature=self.bank_temperature,
            **head,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one JSON object, atomically."""
        with atomic_write(require_path("path", path)) as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> FittedFusion:
        """Read what `save` wrote.

        Raises:
            ArtifactError: No file there, or one that is none.
        """
        file = require_path("path", path)
        if not file.is_file():
            sentence = f"No fitted weights at {file}. Fit them: clipfast fuse fit data/patches/labeled --out {file}"
            raise ArtifactError(sentence, code="no_weights", path=file)
        if file.stat().st_size > _MAX_BYTES:
            sentence = f"{file} is larger than {_MAX_BYTES:,} bytes; those are no fitted weights."
            raise ArtifactError(sentence, code="too_large", path=file, most=_MAX_BYTES)
        try:
            text = file.read_text(encoding="utf-8")
            require_format(text, FORMAT_VERSION, file, remedy="Fit them again: clipfast fuse fit.", older=_OLDER)
            return msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ArtifactError(
                f"{file} holds no fitted weights: {error}. Fit them again.", code="not_weights", path=file, error=error
            ) from error


def default_fusion_path() -> Path:
    """Return the file of fitted weights: `CLIPFAST_FUSION`, else `data/fusion.json`."""
    return Path(os.environ.get("CLIPFAST_FUSION") or "data/fusion.json")
