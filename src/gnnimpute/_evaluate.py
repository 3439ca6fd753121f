"""Does imputation help these data? Hide molecules from everything, impute the rest, and look at what was hidden."""

from __future__ import annotations

import logging
import time
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gnnimpute import _keys
from gnnimpute._arguments import check_config, check_seeds, check_whole
from gnnimpute._blocks import require_in_memory
from gnnimpute._checks import NONE, checks_of
from gnnimpute._config import Config
from gnnimpute._distributed import join
from gnnimpute._evaluated import codes_of, found_groups, methods_table, parts_table
from gnnimpute._inputs import counts_of, embedding_of, layer_of, require_writable, say_source
from gnnimpute._named_groups import labels_of
from gnnimpute._quality import WITHOUT_LIMITS, check_limits, limits_of
from gnnimpute._sure import NOT_SURE, sure
from gnnimpute._trial import try_once
from gnnimpute._verdict import told, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray

    from gnnimpute._config import Estimate
    from gnnimpute._trial import Trial

_log = logging.getLogger(__name__)


def evaluate(
    adata: AnnData,
    *,
    estimate: Estimate = "mean",
    config: Config | None = None,
    held_out: float = 0.1,
    seeds: Sequence[int] = (0, 1),
    time_limit: float = 120.0,
    max_cells: int = 5000,
    cluster_key: str | None = None,
    checks: bool = True,
    layer: str | None = None,
    quality: Mapping[str, Any] | None = None,
    n_neighbors: int = 5,
    n_pcs: int = 50,
    batch_key: str | None = None,
    use_rep: str | None = None,
    key_added: str = _keys.EVALUATION,
    device: str | None = None,
    progress: bool | None = None,
) -> None:
    """Judge imputation on your own data, by molecules that were hidden from it, and say in words whether it helps.

    A share of the molecules is hidden before quality control, graph, principal components, scaling and training; what
    is imputed from the rest is compared with them, and so are the counts themselves, the mean of each gene, and the
    mean of the nearest cells. Nothing but ``uns[key_added]`` is changed.

    Parameters
    ----------
    adata
        Cells x genes, with raw counts.
    estimate
        The estimate to judge, ``mean`` or ``posterior``: see :func:`impute`.
    config
        Settings of the network and its training.
    held_out
        Probability that a molecule is hidden.
    seeds
        Seeds, each of which hides other molecules and fits anew.
    time_limit
        Seconds. The first seed always runs; another one only if it is likely to end before.
    max_cells
        Most cells to look at, drawn at random: with more cells there is more to learn, so the gain is then a lower
        bound.
    cluster_key
        Column of `obs` whose groups are looked at apart, without the cells that it names none for; by default groups
        are found by k-means, without the hidden molecules.
    checks
        Also test whether imputation invents or loses signals: correlations, markers, differences between cells.
    layer
        Layer of the raw counts. By default ``layers["counts"]`` if there is one, else `X`.
    quality
        Limits of :func:`gnnimpute.pp.prepare`; by default those it was last called with, or else its defaults.
    n_neighbors, n_pcs, batch_key
        As for :func:`gnnimpute.pp.prepare`, which is run anew on what is not hidden.
    use_rep
        Embedding in `obsm` to find neighbours in instead, as for :func:`impute`. If it was made from all counts, hidden
        molecules may have shaped it: then the verdict says that it is not blind.
    key_added
        Key of `uns` for the result.
    device, progress
        As for :func:`fit`.

    Raises
    ------
    KeyError
        If the layer, the embedding or a column does not exist.
    TypeError
        If `quality` has what is no limit.
    ValueError
        If the matrix does not hold counts, `adata` is a part of a file, nothing passes quality control, `estimate` is
        ``detected``, `cluster_key` holds many different numbers or nothing, or ``uns[key_added]`` something else.

    Returns
    -------
    `None`. Sets the following field:

    `adata.uns[key_added]` : :class:`dict`
        ``verdict`` (``helps``, ``unclear`` or ``no gain``), ``text`` to read, ``methods`` and ``parts`` (tables of
        gains with 95 % intervals over cells), ``checks`` (a row for each test: ``question``, ``said``, ``line``,
        ``value``, ``status``, ``advice``), ``coverage`` (molecules inside predicted intervals, in one more fit with
        half of them hidden), ``widths`` (of the intervals of some genes), ``groups`` (of each cell that was looked
        at), ``n_cells``, ``n_genes``, ``seeds``, ``seconds``, and what was asked for.
    """
    started = time.monotonic()
    require_writable(adata)
    check_config(config, may_be_none=True)
    config = config or Config()
    _keys.check_name(key_added)
    check_whole(n_neighbors=n_neighbors, n_pcs=n_pcs or 0)
    _check(estimate, config, seeds=seeds)
    if n_pcs is None and use_rep is None:
        msg = "n_pcs=None leaves no graph to impute with: give the number of principal components, such as n_pcs=50, "
        msg += "or an embedding of your own, use_rep=."
        raise ValueError(msg)
    layer = layer_of(adata, layer) if quality is None else layer  # with limits of its own, no earlier `prepare` counts
    counts = counts_of(adata, layer, allow_non_counts=None)
    require_in_memory(counts)
    say_source(adata, layer, counts)
    _check_free(adata, key_added)
    cells = _drawn(adata.n_obs, max_cells, seeds[0])
    names = list(dict.fromkeys(key for key in (batch_key, cluster_key) if key is not None))
    part = _named(adata, cells, obs=names, use_rep=use_rep)
    settings: dict[str, Any] = {
        "rate": held_out,
        "estimate": estimate,
        "config": config,
        "quality": limits_of(adata.uns) if quality is None else check_limits(quality),
        "graph": {"n_neighbors": n_neighbors, "n_pcs": n_pcs, "batch_key": batch_key, "use_rep": use_rep},
        "device": device,
        "progress": progress,
    }
    given = None if cluster_key is None else labels_of(adata, cluster_key, cells)  # refused before any training
    trials = list(_trials(part, counts[cells], seeds, settings, until=started + time_limit))
    groups = found_groups(trials[0], len(cells)) if given is None else given
    half = partial(_halved, part, counts[cells], trials[0], settings)
    methods, parts = methods_table(trials), parts_table(trials, groups=groups)
    tested = _tested(trials, groups, half) if checks else {"checks": NONE, **NOT_SURE._asdict()}
    found = {
        "version": version("gnnimpute"),
        "estimate": estimate,
        "params": config.to_dict(),
        "held_out": float(held_out),
        "blind": use_rep is None,
        "seeds": np.array([trial.seed for trial in trials]),
        "n_cells": round(np.mean([len(trial.cells) for trial in trials])),
        "n_genes": round(np.mean([len(trial.genes) for trial in trials])),
        "n_given": int(adata.n_obs),
        "n_drawn": len(cells),
        "methods": methods,
        "parts": parts,
        "verdict": verdict_of(methods, tested["checks"]),
        "groups": pd.DataFrame({"group": groups}, index=part.obs_names.astype(str)),
        **tested,
        "seconds": time.monotonic() - started,
    }
    adata.uns[key_added] = found | {"text": told(found)}


def _halved(adata: AnnData, counts: sp.csr_matrix, first: Trial, settings: dict[str, Any]) -> Trial:
    """One more trial, with half of the molecules hidden, of what passed in the first: limits are for whole counts."""
    one = adata[first.cells, first.genes].copy()
    of_one = counts[first.cells][:, first.genes]
    return try_once(one, of_one, seed=first.seed, **settings | {"rate": 0.5, "quality": vars(WITHOUT_LIMITS)})


def _tested(trials: Sequence[Trial], groups: NDArray[np.str_], half: Callable[[], Trial]) -> dict[str, pd.DataFrame]:
    # Of a tenth of the molecules chance alone says how they vary, and any interval would hold as many as it says.
    found = sure(trials[0], halved=half())
    codes, _ = codes_of(groups[trials[0].cells])
    return {"checks": checks_of(trials, codes, coverage=found.coverage), **found._asdict()}


def _trials(
    adata: AnnData, counts: sp.csr_matrix, seeds: Sequence[int], settings: dict[str, Any], *, until: float
) -> Iterator[Trial]:
    """As many as there is time for, and one at least."""
    longest = 0.0
    for number, seed in enumerate(seeds):
        started = time.monotonic()
        # By the clock of the first process: by their own, some would wait for others that have ended.
        if number and join().told(started + longest > until):
            _log.info("No time for more than %d of %d seeds.", number, len(seeds))
            return
        trial = try_once(adata, counts, seed=seed, **settings)
        longest = max(longest, time.monotonic() - started)
        _log.info("Evaluation, seed %d of %d: %.0f s", number + 1, len(seeds), time.monotonic() - started)
        yield trial


def _check(estimate: str, config: Config, *, seeds: Sequence[int]) -> None:
    if estimate not in {"mean", "posterior"}:
        msg = f"estimate={estimate!r} cannot be judged by hidden molecules: take 'mean' or 'posterior', or compare "
        msg += "with other methods on hidden non-zeros: gnnimpute benchmark DATA --mask 0.1."
        raise ValueError(msg)
    if estimate == "posterior" and config.hide != "molecules":
        msg = f"estimate='posterior' needs a model trained on hidden molecules, not hide={config.hide!r}."
        raise ValueError(msg)
    check_seeds(seeds)


def _check_free(adata: AnnData, key_added: str) -> None:
    """Refuse to replace what is no evaluation, such as the record of an imputation."""
    there = adata.uns.get(key_added)
    if there is not None and not (hasattr(there, "keys") and "verdict" in there):
        msg = f"adata.uns[{key_added!r}] holds something else than an evaluation, which would be lost: give another "
        msg += f"name, such as key_added={_keys.EVALUATION!r}, the default."
        raise ValueError(msg)


def _drawn(n_obs: int, most: int, seed: int) -> NDArray[np.int64]:
    order = np.random.default_rng(seed).permutation(n_obs)
    return np.sort(order[:most])


def _named(adata: AnnData, cells: NDArray[np.int64], *, obs: Sequence[str], use_rep: str | None) -> AnnData:
    """Names of some cells and of all genes, with the columns and the embedding that are needed."""
    from anndata import AnnData

    obsm = {} if use_rep is None else {use_rep: embedding_of(adata, use_rep)[cells]}
    columns = adata.obs[[key for key in obs if key in adata.obs]]
    return AnnData(obs=pd.DataFrame(columns).iloc[cells].copy(), var=adata.var.copy(), obsm=obsm)
