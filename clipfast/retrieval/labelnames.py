"""Which names a label may have: it becomes a folder, on Linux, macOS and Windows alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from clipfast.errors import DataError

__all__ = ["MAX_LABEL_BYTES", "require_label", "require_new_label"]

MAX_LABEL_BYTES = 200  # a file name may have 255 bytes
_SEPARATORS = "/\\"
_FORBIDDEN = '<>:"|?*'  # of Windows
_INVISIBLE = {
    "Cc": "a control",
    "Cf": "an invisible",
    "Cs": "a surrogate",
    "Zl": "a line break",
    "Zp": "a paragraph break",
}
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"}
)


def require_label(label: str) -> str:
    """Check that a label can be a folder's name everywhere; returns it unchanged.

    Raises:
        DataError: It cannot; the message says why, and what to write where that can be said.

    >>> require_label("silk_satin"), require_label("羊毛")
    ('silk_satin', '羊毛')
    """
    if not isinstance(label, str):
        raise DataError(f"a label must be a text, such as 'silk_satin'; got {label!r}.", code="bad_label")
    if not label or not label.strip():
        raise DataError(
            f"a label must not be empty; got {label!r}. Name the fabric, such as silk_satin.", code="label_empty"
        )
    for sign in label:
        if sign in _SEPARATORS:
            raise _wrong(label, f"must not hold a path separator ({sign})", label.replace(sign, "_"), "label_separator")
        if (kind := _INVISIBLE.get(unicodedata.category(sign))) is not None:
            must = f"must not hold {kind} character (U+{ord(sign):04X})"
            raise _wrong(label, must, "".join(label.split(sign)), "label_invisible")
        if sign in _FORBIDDEN:
            must = f"must not hold {sign}, which no folder of Windows may have"
            raise _wrong(label, must, label.replace(sign, "_"), "label_forbidden")
    if label[0] == ".":
        raise _wrong(label, "must not begin with a dot: hidden folders are passed over", label.lstrip("."), "label_dot")
    if label != label.strip() or label[-1] == ".":
        must = "must not begin or end with a space, or end with a dot"
        raise _wrong(label, must, label.strip().rstrip(". "), "label_ends")
    if label.split(".", maxsplit=1)[0].rstrip().lower() in _RESERVED:
        must = "must not be a name that Windows keeps for devices"
        raise _wrong(label, must, f"{label}_fabric", "label_reserved")
    if (size := len(label.encode())) > MAX_LABEL_BYTES:
        raise DataError(
            f"a label must have at most {MAX_LABEL_BYTES} bytes; got {size}. Write a shorter one.",
            code="label_too_long",
            size=size,
            most=MAX_LABEL_BYTES,
        )
    if (composed := unicodedata.normalize("NFC", label)) != label:
        raise DataError(
            f"a label must be in Unicode normal form C; {label!r} is not, though it looks like {composed!r}. "
            "Type it anew, or take the label from the list of `clipfast label stats`.",
            code="label_not_composed",
            label=label,
            composed=composed,
        )
    return label


def require_new_label(label: str, existing: Iterable[str]) -> str:
    """Check that a label is one of those that are there, or differs from them by more than case or Unicode form.

    Args:
        label: What `require_label` allows.
        existing: Labels in NFC.

    Raises:
        DataError: It is told from an existing one only by case, or by another form of the same signs.

    >>> require_new_label("wool", ["cotton", "wool"])
    'wool'
    """
    known = sorted(existing)
    require_label(label)
    if label in known:
        return label
    twin = next((name for name in known if _folded(name) == _folded(label)), None)
    if twin is not None:
        how = "case" if label.casefold() == twin.casefold() else "the Unicode form of its signs"
        raise DataError(
            f"the label {label!r} differs from the existing {twin!r} only in {how}, so some systems take them for one "
            f"folder. Write {twin!r}, or another name.",
            code="label_twin",
            label=label,
            twin=twin,
        )
    return label


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _wrong(label: str, must: str, instead: str, code: str) -> DataError:
    offer = f" Write {instead!r}, for example." if instead.strip() else ""
    return DataError(f"a label {must}; got {label!r}.{offer}", code=code, label=label, instead=instead)
