"""The command line: one file a command, imported when the command is called, not before."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run `clipfast`; exit 0 done, 1 the job failed (one sentence), 2 wrong usage or a missing extra."""
    from clipfast.cli.commands import app
    from clipfast.cli.console import report_failure
    from clipfast.errors import ClipfastError

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Chinese names on a console of another code page
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        app()
    except (ClipfastError, OSError) as error:
        sys.exit(report_failure(error))
