"""Slow, obvious twins of fast code, and cross-checks against other libraries."""
