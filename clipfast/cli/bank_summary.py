"""What `clipfast bank` says about a bank and about how it was built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipfast.cli.checks import Check, shares_check
from clipfast.cli.console import note, out
from clipfast.cli.messages import Speaker
from clipfast.retrieval.encode import SMALL_SIDE

if TYPE_CHECKING:
    from clipfast.retrieval import BuildReport, FabricBank

__all__ = [
    "bank_checks",
    "bank_summary",
    "images_text",
    "listed_checks",
    "report_summary",
    "show_report",
    "show_totals",
    "show_written",
    "written_checks",
]

RECOMMENDED = range(3, 6)


def bank_checks(say: Speaker, bank: FabricBank, report: BuildReport, path: Path) -> list[Check]:
    """Return the check points that end a build; the file is read back for the first."""
    empty = [fabric for fabric, count in report.counts.items() if not count]
    return [
        _written(say, bank, path),
        shares_check(say, "check_bank_vector", len(report.counts), empty),
        _photos_check(say, bank.fabrics | report.counts),
        shares_check(say, "check_bank_size", len(bank), report.small, side=SMALL_SIDE),
        _file_check(say, bank, path),
    ]


def written_checks(
    say: Speaker, bank: FabricBank, path: Path, *, small: Sequence[str] = (), empty: Sequence[str] = ()
) -> list[Check]:
    """Return the check points of a bank that was changed: as it is now, read back.

    Args:
        say: In which language.
        bank: The bank.
        path: Its file.
        small: Photos that were added and are smaller than they should be.
        empty: Fabrics without a vector, which were left out.
    """
    checks = [_written(say, bank, path), shares_check(say, "check_bank_vector", len(bank.fabrics) + len(empty), empty)]
    if small:
        checks.append(shares_check(say, "check_bank_size", len(bank), small, side=SMALL_SIDE))
    return [*checks, _photos_check(say, bank.fabrics), _file_check(say, bank, path)]


def listed_checks(say: Speaker, bank: FabricBank, path: Path) -> list[Check]:
    """Return the check points of a bank that was read."""
    return [
        Check(say("check_bank_read"), True, str(path)),  # else reading it had failed
        _photos_check(say, bank.fabrics),
        _file_check(say, bank, path),
    ]


def _written(say: Speaker, bank: FabricBank, path: Path) -> Check:
    return Check(say("check_written"), len(type(bank).load(path)) == len(bank), say("check_read_back", path=path))


def _photos_check(say: Speaker, counts: Mapping[str, int]) -> Check:
    odd = [f"{fabric} {count}" for fabric, count in counts.items() if count not in RECOMMENDED]
    return shares_check(say, "check_bank_photos", len(counts), odd)


def _file_check(say: Speaker, bank: FabricBank, path: Path) -> Check:
    size, vectors = _stored_bytes(path), bank.references.embeddings.nbytes
    sizes = {"size": _kb(size), "each": _kb(size / len(bank)), "vector": _kb(vectors / len(bank))}
    # Names are short beside vectors; a file far larger than they are holds something else.
    sensible = vectors <= size <= 2 * vectors + 2048 * (len(bank) + 2)
    return Check(say("check_bank_file"), sensible, say("check_bank_file_of", **sizes))


def show_report(say: Speaker, report: BuildReport, bank: FabricBank) -> None:
    """Write one line for every fabric, then what was replaced, skipped, passed over or repeated."""
    for fabric, count in report.counts.items():
        values = {"fabric": fabric, "images": images_text(say, count)}
        out.print(
            say("bank_line", count=count, dim=bank.references.dim, **values) if count else say("bank_empty", **values)
        )
    for path in report.replaced:
        out.print(say("bank_replaced", path=path))
    for item in report.skipped:
        out.print(say("skipped", path=item.path, reason=item.reason), style="yellow")
    for item in report.ignored:
        note(say("bank_ignored", path=item.path, reason=item.reason))
    for path in report.repeated:
        note(say("bank_repeated", path=path))


def show_written(say: Speaker, bank: FabricBank, path: Path) -> None:
    """Write where the bank went, and its totals."""
    out.print(say("bank_saved", path=path))
    show_totals(say, bank, path)


def show_totals(say: Speaker, bank: FabricBank, path: Path) -> None:
    """Write the bank's totals."""
    out.print(say("bank_fabrics", count=len(bank.fabrics)))
    out.print(say("bank_total", count=len(bank)))
    if imported := len(bank.references.imported):
        out.print(say("bank_imported", count=imported))
    out.print(say("file_size", size=_kb(_stored_bytes(path))))


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


def images_text(say: Speaker, count: int) -> str:
    """Return a number of images in words."""
    return say("bank_one_image" if count == 1 else "bank_images", count=count)


def _stored_bytes(path: Path) -> int:
    """Return the size of a bank: of its file, or of the files in its folder."""
    from clipfast.retrieval.bankfile import bank_folder

    folder = bank_folder(path)
    return path.stat().st_size if folder is None else sum(file.stat().st_size for file in folder.iterdir())


def _kb(size: float) -> str:
    return f"{size / 1024:.1f} KB"
