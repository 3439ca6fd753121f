"""Layers that say how sure the imputed values are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _keys
from gnnimpute._arguments import check_level
from gnnimpute._interval import check_trained_on_molecules, expressions_of, wanted_of

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute._config import Output
    from gnnimpute._imputer import GNNImputer
    from gnnimpute._modelled import Modelled

    Layers = dict[str, NDArray[np.float32]]


def check_interval(level: float | None, *, is_layer: bool, can_be_posterior: bool) -> None:
    """Raise ValueError, before anything is trained, for an interval that cannot be given."""
    if level is None:
        return
    check_level(level, "interval")
    check_trained_on_molecules(can_be_posterior=can_be_posterior)
    if not is_layer:
        msg = "interval= adds layers: leave out genes= and out=, or call `interval` of the imputer of gi.tl.fit."
        raise ValueError(msg)


def uncertainty(
    adata: AnnData, imputer: GNNImputer, chosen: Modelled, *, source: Any, level: float | None, output: Output, key: str
) -> Layers:
    """Interval and probability of redetection of every value, as layers, if asked for; NaN where none is modelled."""
    if level is None:
        return {}
    lower, upper, redetection = parts = [_Among(adata.shape, chosen) for _ in range(3)]
    counts, graph = source
    wanted = wanted_of(imputer, graph, genes=adata.var_names[chosen.genes], output=output)
    for c, expression in expressions_of(imputer, counts, graph, names=None, wanted=wanted):
        lower[c], upper[c] = expression.interval(level, output)
        redetection[c] = expression.redetection(1.0)
    return {name: part.values for name, part in zip(_names(key), parts, strict=True)}


def made_under(adata: AnnData, key: str) -> set[tuple[str, str]]:
    """What an earlier imputation has put under this key, as slots and names; empty if there was none."""
    if not _keys.is_imputation(about := adata.uns.get(key)):
        return set()
    made = {(slot, key) for slot in ("layers", "obsm", "uns")} | {("obsp", _keys.attention(key))}
    made |= {("obs", _keys.depth(key)), ("var", _keys.modelled(key))}
    if not _keys.is_imputation(adata.uns.get(_keys.genes(key))):  # else it is the latent of that one
        made.add(("obsm", _keys.genes(key)))
    return made | {("layers", name) for name in _names(key) if about.get("interval")}


def forget(adata: AnnData, key: str) -> None:
    """Remove an earlier result of this key: ``uns`` is to describe another one, in which not all of it may be made."""
    for slot, name in made_under(adata, key):
        if name in (there := getattr(adata, slot)):
            del there[name]


def _names(key: str) -> tuple[str, str, str]:
    return _keys.lower(key), _keys.upper(key), _keys.redetection(key)


class _Among:
    """What is written to: a layer of all cells and genes, NaN where nothing is modelled."""

    def __init__(self, shape: tuple[int, int], chosen: Modelled) -> None:
        self.values = np.full(shape, np.nan, dtype=np.float32)
        self._cells, self._genes = chosen.cells, chosen.genes
        self.shape = (len(chosen.cells), len(chosen.genes))

    def __setitem__(self, part: slice, values: NDArray[np.float32]) -> None:
        self.values[np.ix_(self._cells[part], self._genes)] = values
