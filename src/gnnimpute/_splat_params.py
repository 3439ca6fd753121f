"""Parameters of the Splat model of :cite:t:`Zappia2017`, and what they may be.

They keep their names of the R package, in Python's spelling; :func:`gnnimpute.datasets.splatter` describes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DropoutType = Literal["none", "experiment", "batch", "group", "cell"]


def _between(low: float = -math.inf, high: float = math.inf, *, whole: bool = False, one_per: str = "") -> Any:
    return field(metadata={"low": low, "high": high, "whole": whole, "one_per": one_per})


_POSITIVE = np.nextafter(0, 1)


@dataclass(frozen=True, kw_only=True)
class SplatParams:
    """Parameters of the simulation; it refuses what no simulation can be made of."""

    n_genes: int = _between(1, whole=True)
    batch_cells: int | Sequence[int] = _between(1, whole=True, one_per="batch")
    batch_fac_loc: float | Sequence[float] = _between(one_per="batch")
    batch_fac_scale: float | Sequence[float] = _between(0, one_per="batch")
    batch_rm_effect: bool
    mean_shape: float = _between(_POSITIVE)
    mean_rate: float = _between(_POSITIVE)
    lib_loc: float = _between()
    lib_scale: float = _between(0)
    lib_norm: bool
    out_prob: float = _between(0, 1)
    out_fac_loc: float = _between()
    out_fac_scale: float = _between(0)
    group_prob: float | Sequence[float] = _between(0, 1, one_per="group")
    de_prob: float | Sequence[float] = _between(0, 1, one_per="group")
    de_down_prob: float | Sequence[float] = _between(0, 1, one_per="group")
    de_fac_loc: float | Sequence[float] = _between(one_per="group")
    de_fac_scale: float | Sequence[float] = _between(0, one_per="group")
    bcv_common: float = _between(0)
    bcv_df: float = _between(_POSITIVE)
    dropout_type: DropoutType
    dropout_mid: float | Sequence[float] = _between(one_per="dropout")
    dropout_shape: float | Sequence[float] = _between(one_per="dropout")

    def __post_init__(self) -> None:
        if self.dropout_type not in get_args(DropoutType):
            self._refuse("dropout_type", f"choose one of {', '.join(map(repr, get_args(DropoutType)))}")
        for parameter in fields(self):
            if parameter.metadata:
                self._check(parameter.name, **parameter.metadata)
        if not math.isclose(total := float(np.sum(self.group_prob)), 1, abs_tol=1e-6):
            self._refuse("group_prob", f"the probabilities sum to {total:.6g}, but must sum to 1")

    def _check(self, name: str, *, low: float, high: float, whole: bool, one_per: str) -> None:
        given = np.asarray(getattr(self, name))
        values = np.atleast_1d(given)
        if given.dtype.kind not in ("iu" if whole else "iuf") or (given.ndim > 0 and not one_per):
            number = "whole number" if whole else "number"
            self._refuse(name, f"give a {number}" + (f" or a sequence of {number}s" if one_per else ""))
        if not np.all((values >= low) & (values <= high)):
            self._refuse(name, "must lie above 0" if low == _POSITIVE else f"must lie between {low:g} and {high:g}")
        unit = self._unit(one_per)
        if len(values) not in {1, self._n(unit)} or values.ndim > 1:
            self._refuse(name, "give one value" + (f", or one for each {unit} ({self._n(unit)})" if one_per else ""))

    def _refuse(self, name: str, problem: str) -> NoReturn:
        msg = f"splatter({name}={getattr(self, name)!r}): {problem}."
        raise ValueError(msg)

    def _unit(self, one_per: str) -> str:
        return self.dropout_type if one_per == "dropout" else one_per

    def _n(self, unit: str) -> int:
        sizes = {"batch": np.size(self.batch_cells), "group": np.size(self.group_prob)}
        return int(np.sum(self.batch_cells)) if unit == "cell" else sizes.get(unit, 1)

    def each(self, name: str) -> Floats:
        """Values of a parameter for each batch, group or cell, where one may stand for all."""
        unit = self._unit(type(self).__dataclass_fields__[name].metadata["one_per"])
        return np.broadcast_to(np.asarray(getattr(self, name), dtype=np.float64), self._n(unit))
