"""Recover dropouts in single-cell RNA-seq counts with graph attention."""
