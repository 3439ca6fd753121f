"""What imputation finds in counts where there is nothing to find beyond groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from gnnimpute import _false_signal as fs
from gnnimpute import metrics
from gnnimpute._check import Check, at_most, beyond_chance, most_expressed, normalized
from gnnimpute._gain import Errors, gain
from gnnimpute._imputer import GNNImputer
from gnnimpute._marks import mark
from gnnimpute._modelled import modelled
from gnnimpute._quality import WITHOUT_LIMITS
from gnnimpute._tally import Tally

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gnnimpute._trial import Trial

N_CELLS, N_GENES = 1000, 1000
"""Most cells and genes of the shuffled data, so that one more training stays short."""
N_CORRELATED = 200
"""Most expressed genes whose correlations are looked at."""
MOST_CORRELATED = 0.1


def dealt(trial: Trial, groups: NDArray[np.int64], rng: np.random.Generator) -> list[Check]:
    """Impute counts of which each gene was dealt anew within groups: beyond these there is nothing to find."""
    groups = np.where(groups < 0, groups.max() + 1, groups)  # cells without a group are one more here
    cells = np.sort(rng.permutation(trial.kept.n_obs)[:N_CELLS])
    genes = np.sort(most_expressed(trial.kept.X, N_GENES))
    shuffled = fs.dealt_within(sp.csr_matrix(trial.kept.X[cells][:, genes]), groups[cells], rng)
    null = impute_null(shuffled, groups[cells], trial)
    name = "null_gain"
    question = "Genes shuffled within groups: does it find what is not there?"
    low = null.gain.low
    said = f"{100 * null.gain.value:+.2f} % [{100 * low:+.2f}, {100 * null.gain.high:+.2f}]"
    said += " over the shares they were dealt by"
    advice = "Nobody can predict these better than by the shares they were dealt by. Do not trust the gain."
    one = Check(name, question, said, "no gain: the interval reaches 0", null.gain.value, at_most(low, 0), advice)
    said = f"{null.correlation:.2f} (root mean square; counts {null.raw_correlation:.2f})"
    two = Check(
        "null_correlation",
        "Genes shuffled within groups: are genes correlated that are not?",
        said,
        f"at most {MOST_CORRELATED} beyond chance",
        null.correlation,
        beyond_chance(null.correlation, null.chance, MOST_CORRELATED),
        "Correlations between imputed genes are no evidence: test them on the counts.",
    )
    return [one, two]


class Null(NamedTuple):
    """What came of shuffled counts."""

    gain: metrics.Interval
    correlation: float
    raw_correlation: float
    chance: float
    """Root mean square of correlations between as few independent numbers."""


def impute_null(counts: sp.csr_matrix, groups: NDArray[np.int64], trial: Trial) -> Null:
    """Hide molecules of shuffled counts, fit, and compare with what they were dealt by: the shares of each group.

    The means of what a small group has left are no yardstick: they are noisy, and whatever shrinks them is better.
    """
    from anndata import AnnData

    hold_out = metrics.HoldOut.thin(counts, 0.1, rng=trial.seed)
    kept = AnnData(hold_out.train)
    mark(kept, kept.X, WITHOUT_LIMITS, n_pcs=50, rng=trial.seed, device=trial.imputer.device)
    chosen = modelled(kept, layer=None, neighbors_key=None, use_rep=None, batch_key=None, n_neighbors=5,
                      allow_non_counts=False, device=trial.imputer.device)  # fmt: skip
    cells, genes = chosen.cells, chosen.genes
    seen, of = sp.csr_matrix(kept.X[cells][:, genes]), groups[cells]
    imputer = GNNImputer(trial.imputer.config, device=trial.imputer.device)
    imputer.fit(seen, chosen.blind or chosen.graph, rng=trial.seed, progress=False)
    ours, dealt_by = (Tally(hold_out, cells=cells, genes=genes, weight=np.ones(len(genes))) for _ in range(2))
    imputer.transform(seen, chosen.graph, estimate=trial.estimate, output="counts", out=ours)
    dealt_by[0 : len(cells)] = (
        fs.group_shares(counts[cells][:, genes], of) * seen.sum(axis=1, dtype=np.float64).A1[:, None]
    )
    found = gain(*(Errors(tally.deviance[0], tally.distance[0]) for tally in (ours, dealt_by)), of=cells).predicted
    top = most_expressed(seen, N_CORRELATED)
    values = imputer.transform(seen, chosen.graph, genes=list(imputer.genes_[top]), estimate=trial.estimate)
    raw = normalized(seen)[:, top].toarray()
    chance = 1 / np.sqrt(max(len(of) - len(np.unique(of)), 1))
    return Null(found, fs.correlation_within(values, of), fs.correlation_within(raw, of), chance)
