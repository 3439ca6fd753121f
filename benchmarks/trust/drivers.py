"""Which place known markers have among the genes that drive the latent of their sorted type.

    python benchmarks/trust/drivers.py --data FOLDER

Beside it stands their place by the difference of mean logs in the counts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import gnnimpute as gi

sys.path.insert(0, str(Path(__file__).resolve().parent))
from jobs import MARKERS, read

if TYPE_CHECKING:
    from anndata import AnnData


def places(adata: AnnData, *, seed: int, config: gi.Config | None = None) -> pd.DataFrame:
    """Place of each marker among all genes, 1 the first, by drivers and by counts."""
    imputer = gi.tl.fit(adata, config=config or gi.Config(), rng=seed, progress=False)
    drivers = gi.tl.drivers(adata, "subpop", imputer=imputer)
    passing = adata[adata.obs["gnnimpute_pass"]]
    total = passing.obs["gnnimpute_total_counts"].to_numpy()
    logs = np.log1p(passing[:, drivers.index].layers["counts"].toarray() / total[:, None] * np.median(total))
    rows: list[dict[str, Any]] = []
    for kind, names in MARKERS.items():
        own = (passing.obs["subpop"] == kind).to_numpy()
        counted = pd.Series(logs[own].mean(axis=0) - logs[~own].mean(axis=0), index=drivers.index)
        by_drivers, by_counts = (one.rank(ascending=False) for one in (drivers[kind], counted))
        rows += [
            {"type": kind, "marker": name, "by drivers": int(by_drivers[name]), "by counts": int(by_counts[name])}
            for name in names
            if name in drivers.index
        ]
    return pd.DataFrame(rows)


def main() -> None:
    """Fit to sorted blood cells (Zheng), and print the places."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the special data sets")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    adata = read(options.data, "PBMC_facs_zheng", n_cells=1500, seed=options.seed)
    gi.pp.prepare(adata, rng=options.seed)
    cells, genes = (frame["gnnimpute_pass"].sum() for frame in (adata.obs, adata.var))
    print(f"{cells:,} cells, {genes:,} genes")
    print(places(adata, seed=options.seed).to_string(index=False))


if __name__ == "__main__":
    main()
