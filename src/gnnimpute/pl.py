"""Plots. Each takes the object first, draws on `ax` if one is given, and says in which unit."""

from __future__ import annotations

from gnnimpute._pl_accuracy import calibration, held_out, loss
from gnnimpute._pl_attention import attention, explain
from gnnimpute._pl_cells import embedding, gene_pair
from gnnimpute._pl_heatmap import heatmap

__all__ = ["attention", "calibration", "embedding", "explain", "gene_pair", "heatmap", "held_out", "loss"]
