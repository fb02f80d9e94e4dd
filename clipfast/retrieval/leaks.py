"""Evaluation pictures that bank, head or weights have seen: by checksums, by pixels, and by looks that were kept."""

from __future__ import annotations

from clipfast.errors import DataError
from clipfast.retrieval.bankphotos import ComparedPhotos, compare_photos
from clipfast.retrieval.evalguard import EvalGuard
from clipfast.retrieval.evalset import EvalSet
from clipfast.retrieval.fusion import Voices
from clipfast.retrieval.knownlooks import FITTED, IN_BANK, TRAINED, KnownLooks

__all__ = ["compared_photos", "looks_of", "require_unseen"]


def require_unseen(eval_set: EvalSet, voices: Voices) -> None:
    """Refuse pictures that the bank holds or that head or weights were made of: also their photos and patches.

    Raises:
        DataError: There is one, told by checksums.
    """
    seen = {
        ("is in the bank", "eval_in_bank"): voices.bank.references.digests,
        ("was trained on", "eval_trained_on"): set(voices.head.trained_on if voices.head is not None else ()),
        ("was fitted on", "eval_fitted_on"): voices.fit.seen if voices.fit is not None else frozenset(),
    }
    for (how, code), digests in seen.items():
        found = [sample.image for sample in eval_set.samples if sample.digests & digests]
        if found:
            more = f" ({len(found)} such pictures)" if len(found) > 1 else ""
            raise DataError(
                f"{found[0]} of the evaluation set {how}{more}, so it would be found or known by itself. Take it out "
                "of the bank, or train the head or fit the weights again with this evaluation set left out.",
                code=code,
            )


def compared_photos(eval_set: EvalSet, voices: Voices) -> ComparedPhotos:
    """Compare the bank's photos with the set by pixels, where they lie in `voices.photos`; see `compare_photos`."""
    if voices.photos is None:
        return ComparedPhotos(frozenset(), ())
    return compare_photos(voices.bank.references, voices.photos, EvalGuard(eval_set), voices.not_copies)


def looks_of(voices: Voices, compared: frozenset[str]) -> list[KnownLooks]:
    """Return by what looks bank, head and weights know pictures; photos that were compared are passed over."""
    references = voices.bank.references
    rest = [row for row, path in enumerate(references.paths) if path not in compared]
    found = [
        KnownLooks(
            [references.paths[row] for row in rest],
            references.marks.looks[rest],
            IN_BANK,
            references.marks.all_declared,
            voices.not_copies,
        )
    ]
    for seen, holder in (
        (None if voices.head is None else voices.head.seen, TRAINED),
        (None if voices.fit is None else voices.fit.pictures, FITTED),
    ):
        if seen is not None:
            found.append(KnownLooks(seen.paths, seen.looks, holder, seen.declared, voices.not_copies))
    return found
