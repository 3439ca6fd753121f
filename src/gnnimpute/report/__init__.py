"""A report on an imputation: one HTML file that needs no network, from what went in to whether to believe it."""

from __future__ import annotations

from gnnimpute.report._page import write

__all__ = ["write"]
