"""The only place that spells AnnData keys."""

from __future__ import annotations

COUNTS = "counts"
"""`layers` key that holds raw counts."""

ADDED = "gnnimpute"
"""Default `key_added`: `layers`, `obsm` and `uns` keys of a result."""

PASS = "gnnimpute_pass"
"""`obs` and `var` key: which cells and genes passed quality control and are modelled."""

PCA = "gnnimpute_pca"
"""`obsm` key of the principal components that the graph is made from."""

NEIGHBORS = "gnnimpute_neighbors"
"""`uns` key (and `obsp` prefix) of the graph made by :func:`gnnimpute.pp.prepare`, in scanpy's format."""


def attention(key_added: str) -> str:
    """`obsp` key of the attention graph."""
    return f"{key_added}_attention"
