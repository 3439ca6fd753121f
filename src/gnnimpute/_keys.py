"""The only place that spells AnnData keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTS = "counts"
"""`layers` key that holds raw counts."""

ADDED = "gnnimpute"
"""Default `key_added`: `layers`, `obsm` and `uns` keys of a result."""

PASS = "gnnimpute_pass"
"""`obs` and `var` key: which cells and genes passed quality control and are modelled."""

SIZE_FACTOR = f"{ADDED}_size_factor"
"""`obs` key: total of a cell in passing genes, over the median of the passing cells."""

PCA = "gnnimpute_pca"
"""`obsm` key of the principal components that the graph is made from."""

NEIGHBORS = "gnnimpute_neighbors"
"""`uns` key (and `obsp` prefix) of the graph made by :func:`gnnimpute.pp.prepare`, in scanpy's format."""

QUALITY = "gnnimpute_quality"
"""`uns` key: the limits of quality control, and what they set aside."""

EVALUATION = "gnnimpute_evaluation"
"""`uns` key of what :func:`gnnimpute.tl.evaluate` has found."""


LONGEST = 200
"""Most bytes of the name of a result: in a zarr it is that of a folder, and longer for what goes with it."""


def is_imputation(about: object) -> bool:
    """Whether an entry of `uns` says what an imputation is."""
    return hasattr(about, "keys") and {"estimate", "unit"} <= set(about.keys())


def imputations(uns: Mapping[str, object]) -> list[str]:
    """Keys of `uns` that say what an imputation is."""
    return [key for key, about in uns.items() if is_imputation(about)]


def check_name(key_added: str) -> None:
    """Raise ValueError for a name of a result that no file could be read with, or that counts are read from."""
    if key_added == COUNTS:
        msg = f"key_added={key_added!r} (--key-added): raw counts are read from layers[{COUNTS!r}]: give another name."
        raise ValueError(msg)
    if (n_bytes := len(key_added.encode(errors="surrogateescape"))) > LONGEST:
        msg = f"key_added={key_added!r} (--key-added): the name has {n_bytes} bytes, and {LONGEST} are the most."
        raise ValueError(msg)
    if not key_added or "/" in key_added:
        msg = f"key_added={key_added!r} (--key-added): give a name without '/', which files cannot hold."
        raise ValueError(msg)


def attention(key_added: str) -> str:
    """`obsp` key of the attention graph."""
    return f"{key_added}_attention"


def depth(key_added: str) -> str:
    """`obs` key of what counts of a cell are divided by to be on the scale of the imputed values."""
    return f"{key_added}_depth"


def modelled(key_added: str) -> str:
    """`var` key: which genes are the model's, and so were imputed."""
    return f"{key_added}_modelled"


def genes(key_added: str) -> str:
    """`obsm` key of the imputed values of single genes."""
    return f"{key_added}_genes"


def lower(key_added: str) -> str:
    """`layers` key of the lower ends of the intervals."""
    return f"{key_added}_lower"


def upper(key_added: str) -> str:
    """`layers` key of the upper ends of the intervals."""
    return f"{key_added}_upper"


def redetection(key_added: str) -> str:
    """`layers` key of the probabilities that another library shows a gene."""
    return f"{key_added}_redetection"
