"""`python -m clipfast.export MODEL --out DIR`."""

from clipfast.export.cli import run

run()
