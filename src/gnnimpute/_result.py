"""Put imputed values back among cells and genes that were not modelled."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _keys
from gnnimpute._counts import depths, totals
from gnnimpute._layers import made_under

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute._config import Output
    from gnnimpute._modelled import Modelled

_log = logging.getLogger(__name__)

UNITS: dict[Output, str] = {
    "normalized": "counts scaled to a total of {}, the median of the cells that the model was fitted to",
    "counts": "counts at the depth of each cell",
    "log1p": "log(1 + counts scaled to a total of {}, the median of the cells that the model was fitted to)",
}


def unit_of(output: Output, target_total: float, *, seen: float = 1.0) -> str:
    """What the values of a layer are, in words; `seen` is the share of that total that genes which are there have."""
    unit = UNITS[output].format(f"{target_total:.0f}" if target_total >= 100 else f"{target_total:.3g}")
    return unit if output == "counts" or seen == 1 else f"{unit}; genes that are there have {seen:.0%} of it"


def check_key(adata: AnnData, key: str, *, interval: object = None, genes: object = None) -> None:
    """Raise ValueError if files cannot hold the key, or if it would replace what is no result of an earlier call.

    Of the parts that not every call adds, an earlier result lets those pass that `interval` and `genes` do not ask for.
    """
    _keys.check_name(key)
    fields = [("layers", key), ("obsm", key), ("obsp", _keys.attention(key)), ("uns", key)]
    fields += [("obs", _keys.depth(key)), ("var", _keys.modelled(key))]
    made = made_under(adata, key)
    if not made or interval is not None:
        fields += [("layers", part(key)) for part in (_keys.lower, _keys.upper, _keys.redetection)]
    if not made or genes is not None:
        fields.append(("obsm", _keys.genes(key)))
    taken = [f"adata.{s}[{name!r}]" for s, name in fields if name in getattr(adata, s) and (s, name) not in made]
    if taken:
        msg = f"key_added={key!r} would replace {', '.join(taken)}: choose another key_added, or delete it first."
        raise ValueError(msg)


def warn_if_useless(adata: AnnData, estimate: str) -> None:
    """Say so if an evaluation of these data has found that this estimate does not help."""
    found = adata.uns.get(_keys.EVALUATION, {})
    if (str(found.get("verdict")), str(found.get("estimate"))) == ("no gain", estimate):
        _log.warning("%s", str(found["text"]).partition("\n")[0])


class Surrounded:
    """What imputed values are written to: it adds the observed values of cells and genes that were not modelled.

    Parameters
    ----------
    out
        Array of shape (n_obs, len(columns)), written in order, a few cells at a time.
    chosen
        Counts, and what of them is modelled.
    columns
        Genes of `out`, as positions in ``chosen.counts``.
    output
        Scale of the imputed values, and so of the observed ones.
    target_total
        Total that cells are scaled to.

    Attributes
    ----------
    depth
        What counts of each cell are divided by to be on that scale, of shape (n_obs,).
    """

    def __init__(
        self, out: Any, chosen: Modelled, columns: NDArray[np.int64], *, output: Output, target_total: float
    ) -> None:
        self._out, self._cells = out, chosen.cells
        self._counts = chosen.counts[:, columns].astype(np.float32, copy=False)
        self._imputed = np.flatnonzero(np.isin(columns, chosen.genes))
        self._block = np.empty((0, len(columns)), dtype=np.float32)
        self._log = output == "log1p"
        self.depth = depths(totals(chosen.counts[:, chosen.genes]), target_total)
        self._scale = (np.ones_like(self.depth) if output == "counts" else 1 / self.depth).astype(np.float32)
        self.shape = (len(chosen.cells), len(self._imputed))

    def __setitem__(self, part: slice, values: NDArray[np.float32]) -> None:
        """Write the modelled cells `part`, and the cells before them that were not modelled."""
        first = 0 if part.start == 0 else int(self._cells[part.start - 1]) + 1
        last = len(self._scale) if part.stop == len(self._cells) else int(self._cells[part.stop - 1]) + 1
        n, n_columns = last - first, self._block.shape[1]
        if self.shape[1] == n_columns and n == len(values):
            self._out[first:last] = values
            return
        if n > len(self._block):  # one piece of memory for all parts: of a new one, the system clears every page
            self._block = np.empty((n, n_columns), dtype=np.float32)
        block = self._counts[first:last].toarray(out=self._block[:n])
        block *= self._scale[first:last, None]
        if self._log:
            np.log1p(block, out=block)
        rows = slice(None) if n == len(values) else (self._cells[part] - first)[:, None]
        block[rows, self._imputed] = values
        self._out[first:last] = block


def spread(values: NDArray[np.float32], cells: NDArray[np.int64], n_obs: int) -> NDArray[np.float32]:
    """Rows of all cells, of shape (n_obs, ...); NaN for those that have none."""
    if len(cells) == n_obs:
        return values
    spread = np.full((n_obs, *values.shape[1:]), np.nan, dtype=values.dtype)
    spread[cells] = values
    return spread
