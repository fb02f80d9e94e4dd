"""The report in a browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from clipfast.diagnostics import diagnose
from clipfast.report.diagnosis import DiagnosisReport
from diagnostics.samples import clustered

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")
def test_the_page_opens_without_console_errors(tmp_path: Path) -> None:
    """Headless Chromium shows the checklist and logs nothing to the console."""
    data = clustered(300, noise=0.3)
    DiagnosisReport("A report", diagnose(data), data).save(tmp_path)
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
            f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "diagnosis.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip

    assert "Checklist" in done.stdout
    assert "</svg>" in done.stdout
    assert "CONSOLE" not in done.stderr
