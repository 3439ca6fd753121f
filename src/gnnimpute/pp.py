"""Preprocessing: quality control, neighbours, and counts in two parts."""

from __future__ import annotations

from gnnimpute._prepare import prepare
from gnnimpute._split_counts import split_counts

__all__ = ["prepare", "split_counts"]
