"""Tools: fit an imputer to an AnnData, impute it, evaluate and explain that, and choose its settings."""

from __future__ import annotations

from gnnimpute._drivers import drivers
from gnnimpute._evaluate import evaluate
from gnnimpute._explain import explain
from gnnimpute._explanation import Explanation
from gnnimpute._fit import fit
from gnnimpute._impute import impute
from gnnimpute._tune import Tuned, tune

__all__ = ["Explanation", "Tuned", "drivers", "evaluate", "explain", "fit", "impute", "tune"]
