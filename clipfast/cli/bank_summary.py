"""What `clipfast bank` says about a bank and about how it was built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipfast.cli.console import note, out
from clipfast.retrieval.encode import SMALL_SIDE

if TYPE_CHECKING:
    from clipfast.retrieval import BuildReport, FabricBank

__all__ = [
    "Check",
    "bank_checks",
    "bank_summary",
    "images_text",
    "report_summary",
    "show_checks",
    "show_report",
    "show_totals",
    "show_written",
]

RECOMMENDED = range(3, 6)


@dataclass(frozen=True, slots=True)
class Check:
    """One point of the list at the end of a build."""

    name: str
    ok: bool
    detail: str


def bank_checks(bank: FabricBank, report: BuildReport, path: Path) -> list[Check]:
    """Return the check points that end a build; the file is read back for the first."""
    empty = [fabric for fabric, count in report.counts.items() if not count]
    odd = [f"{fabric} {count}" for fabric, count in report.counts.items() if count not in RECOMMENDED]
    size, vectors = _stored_bytes(path), bank.references.embeddings.nbytes
    each = f"{_kb(size)}, {_kb(size / len(bank))} a photo ({_kb(vectors / len(bank))} of it the vector)"
    fabrics = len(report.counts)
    return [
        Check("File written", len(type(bank).load(path)) == len(bank), f"{path}, read back"),
        Check("Every fabric has a vector", not empty, _count(fabrics - len(empty), fabrics, empty)),
        Check("3-5 photos of every fabric", not odd, _count(fabrics - len(odd), fabrics, odd)),
        Check(
            f"Photos of {SMALL_SIDE} x {SMALL_SIDE} pixels or more",
            not report.small,
            _count(len(bank) - len(report.small), len(bank), report.small),
        ),
        # Names are short beside vectors; a file far larger than they are holds something else.
        Check("Sensible file size", vectors <= size <= 2 * vectors + 2048 * (len(bank) + 2), each),
    ]


def show_checks(checks: Sequence[Check]) -> None:
    """Write one line for every point, with a tick or a cross."""
    for check in checks:
        mark, style = ("✓", "green") if check.ok else ("✗", "yellow")
        out.print(f"{mark} {check.name}: {check.detail}", style=style)


def _count(good: int, total: int, others: Sequence[str]) -> str:
    shown = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
    return f"{good} of {total}" + (f" (not: {shown})" if others else "")


def show_report(report: BuildReport, bank: FabricBank) -> None:
    """Write one line for every fabric, then what was replaced, skipped, passed over or repeated."""
    for fabric, count in report.counts.items():
        shape = f" -> shape ({count}, {bank.references.dim})" if count else ""
        out.print(f"[{'OK' if count else 'EMPTY'}] {fabric}: {images_text(count)}{shape}")
    for path in report.replaced:
        out.print(f"[REPLACED] {path}")
    for item in report.skipped:
        out.print(f"[SKIPPED] {item.path}: {item.reason}", style="yellow")
    for item in report.ignored:
        note(f"[IGNORED] {item.path}: {item.reason}")
    for path in report.repeated:
        note(f"[REPEATED] {path}: the same file as an earlier photo")


def show_written(bank: FabricBank, path: Path) -> None:
    """Write where the bank went, and its totals."""
    out.print(f"Saved fabric bank -> {path}")
    show_totals(bank, path)


def show_totals(bank: FabricBank, path: Path) -> None:
    """Write the bank's totals."""
    out.print(f"   Total fabrics: {len(bank.fabrics)}")
    out.print(f"   Total images: {len(bank)}")
    if imported := len(bank.references.imported):
        out.print(f"   Imported as vectors, without a photo: {imported}")
    out.print(f"   File size: {_kb(_stored_bytes(path))}")


def bank_summary(bank: FabricBank, path: Path) -> dict[str, Any]:
    """Return a bank's figures for `--json`."""
    return {
        "path": str(path),
        "fabrics": bank.fabrics,
        "total_fabrics": len(bank.fabrics),
        "total_images": len(bank),
        "imported": len(bank.references.imported),
        "bytes": _stored_bytes(path),
        "model": bank.model,
    }


def report_summary(report: BuildReport) -> dict[str, Any]:
    """Return what happened to the files for `--json`."""
    return {
        "skipped": report.skipped,
        "ignored": report.ignored,
        "repeated": report.repeated,
        "seconds": report.seconds,
    }


def images_text(count: int) -> str:
    """Return a number of images in words."""
    return f"{count} image" if count == 1 else f"{count} images"


def _stored_bytes(path: Path) -> int:
    """Return the size of a bank: of its file, or of the files in its folder."""
    from clipfast.retrieval.bankfile import bank_folder

    folder = bank_folder(path)
    return path.stat().st_size if folder is None else sum(file.stat().st_size for file in folder.iterdir())


def _kb(size: float) -> str:
    return f"{size / 1024:.1f} KB"
