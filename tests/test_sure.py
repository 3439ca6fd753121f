"""How sure an estimate is: intervals of a trial, judged by what was hidden, and how wide they are."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import gnnimpute as gi
from gnnimpute import _sure
from gnnimpute._sure import ALL, DRAWN, LEVELS, MANY, N_SAMPLED, WIDTH_LEVEL, calibrated, sure
from gnnimpute._trial import Trial, try_once


def trial_of(config: gi.Config) -> Trial:
    rng = np.random.default_rng(0)
    rate = np.repeat(rng.gamma(1.0, 2.0, size=(2, 50)), 60, axis=0) + 0.1
    rate[:, :4] = 40
    rate *= rng.gamma(2.0, 0.5, size=rate.shape)  # a cell differs from the others of its type
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
    quality = {"min_genes": 0, "max_total": None}
    graph = {"n_neighbors": 5, "n_pcs": 5, "batch_key": None, "use_rep": None}
    asked = {"seed": 0, "rate": 0.5, "estimate": "mean", "quality": quality, "graph": graph, "progress": False}
    return try_once(adata, adata.X, config=config, **asked)


@pytest.fixture(scope="module")
def trial() -> Trial:
    return trial_of(gi.Config(n_hidden=8, n_latent=4, n_epochs=20))


def test_intervals_of_a_trial_hold_what_they_say(trial: Trial) -> None:
    coverage = sure(trial, halved=trial).coverage
    assert set(coverage["entries"]) == {ALL, MANY}
    assert sorted(coverage.loc[coverage["entries"] == ALL, "level"]) == sorted(LEVELS + DRAWN)
    assert (coverage["share"] - coverage["level"]).abs().max() < 0.1
    assert calibrated(coverage).status == "pass"


def test_values_that_are_wrong_fail(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    further = trial.imputer.further

    def halved(*args: object, **settings: object) -> tuple[np.ndarray, np.ndarray]:
        mean, size = further(*args, **settings)
        return mean / 2, size

    monkeypatch.setattr(trial.imputer, "further", halved)
    assert calibrated(sure(trial, halved=trial).coverage).status == "fail"


def test_intervals_that_chance_alone_would_fill_show_nothing() -> None:
    rows = {"entries": ALL, "level": LEVELS, "share": LEVELS, "poisson": [0.49, 0.79, 0.94]}
    assert calibrated(pd.DataFrame(rows)).status == "unknown"
    assert "too few are hidden" in calibrated(pd.DataFrame(rows)).said
    assert calibrated(pd.DataFrame(rows | {"poisson": [0.4, 0.7, 0.9]})).status == "pass"


def test_cells_are_looked_at_wherever_they_stand(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    monkeypatch.setattr(_sure, "N_CELLS", 40)
    monkeypatch.setattr(_sure.metrics, "score_coverage", lambda *_, cells, **__: seen.append(cells) or {})
    _sure._coverage(trial)
    types = seen[0] >= 60
    assert len(types) == 40
    assert 5 < types.sum() < 35


def test_widths_are_those_of_the_intervals(trial: Trial) -> None:
    widths = sure(trial, halved=trial).widths
    assert len(widths) == min(trial.kept.n_vars, N_SAMPLED)
    asked = {"genes": [trial.kept.var_names[3]]}
    lower, upper = trial.imputer.interval(trial.kept.X, trial.graph, level=WIDTH_LEVEL, **asked)
    value = trial.values(asked["genes"])
    assert widths["width"][3] == pytest.approx(np.median((upper - lower) / value), rel=1e-4)
    assert widths["mean"][3] == pytest.approx(np.median(value), rel=1e-4)


def test_shares_far_from_their_level_fail() -> None:
    coverage = pd.DataFrame({"entries": ALL, "level": LEVELS, "share": [0.4, 0.8, 0.95], "poisson": LEVELS})
    check = calibrated(coverage)
    assert check.status == "fail"
    assert check.value == pytest.approx(0.1)
    assert check.said == "50% hold 40.0%, 80% hold 80.0%, 95% hold 95.0%"


def test_without_hidden_molecules_there_are_no_intervals() -> None:
    one = trial_of(gi.Config(n_hidden=4, n_epochs=1, hide="nonzeros", loss="squared_error"))
    found = sure(one, halved=one)
    assert not len(found.coverage)
    assert not len(found.widths)
    assert calibrated(found.coverage).status == "unknown"
