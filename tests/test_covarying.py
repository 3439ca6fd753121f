"""Genes that covary beyond what the network knows: twins are found, chance is not, and posteriors make use of them."""

from __future__ import annotations

import copy
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st

from gnnimpute import Config, GNNImputer, NeighborGraph, _posterior_fit, _values, metrics, tl
from gnnimpute._absent import reader
from gnnimpute._covarying import FEWEST, LEAST, MOST, N_GENES, Covarying, fit_covarying, looked_at
from gnnimpute._estimates import detected, likely_count
from gnnimpute._infer import embed
from gnnimpute._on_demand import OnDemand, Values, numbers
from gnnimpute._posterior_fit import covarying_of
from gnnimpute._rows import Rows

if TYPE_CHECKING:
    from pathlib import Path

N_CELLS, N_SEEN = 400, 40
PAIRS = [(3, 17), (20, 21)]
"""Genes of which half of the molecules are of both."""


def expected(rng: np.random.Generator, n_cells: int = N_CELLS) -> np.ndarray:
    depth, gene = rng.lognormal(0, 0.4, size=(n_cells, 1)), rng.lognormal(0, 1, size=(1, N_SEEN))
    return (depth * gene).astype(np.float32)


def with_twins(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poisson counts, but that twins share molecules."""
    counts = rng.poisson(mean)
    for a, b in PAIRS:
        mean[:, b] = mean[:, a]
        counts[:, a], counts[:, b] = rng.poisson(mean[:, [a, a]] / 2).T + rng.poisson(mean[:, [a]] / 2).T
    return counts.astype(np.float32)


def fitted(mean: np.ndarray, counts: np.ndarray) -> Covarying:
    return fit_covarying(mean, counts, genes=np.arange(mean.shape[1]), n_genes=mean.shape[1])


def found(covarying: Covarying) -> set[tuple[int, int]]:
    return {(int(g), int(h)) for g, h in zip(*covarying.weights.nonzero(), strict=True)}


def test_twins_are_found_and_next_to_nothing_else() -> None:
    """One in twenty pairs that are found may be false, on average; in twenty simulations two in twenty at most."""
    n_found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mean = expected(rng)
        covarying = fitted(mean, with_twins(mean, rng))
        n_found += covarying.weights.nnz
        assert {*PAIRS, *((b, a) for a, b in PAIRS)} <= found(covarying)
        assert all(covarying.weights[pair] > 0 for pair in PAIRS)
        assert covarying.weights.dtype == np.float32
    assert n_found <= 20 * 2 * len(PAIRS) / 0.9


@pytest.mark.parametrize("size", [np.inf, 2.0, 0.2])
def test_genes_that_vary_on_their_own_do_not_covary(size: float) -> None:
    """Poisson and gamma-Poisson counts: of twenty simulations, two may find a pair by chance."""
    n_found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mean = expected(rng)
        own = 1 if np.isinf(size) else rng.gamma(size, 1 / size, size=mean.shape)
        n_found += fitted(mean, rng.poisson(mean * own).astype(np.float32)).weights.nnz
    assert n_found <= 4


def test_the_prior_predicts_better_what_twins_know(rng: np.random.Generator) -> None:
    mean = expected(rng)
    covarying = fitted(mean, with_twins(mean, rng))
    truth = np.full_like(mean, np.nan)
    shared = rng.gamma(2, 0.5, size=mean.shape[0])  # other cells, in which twins vary together
    truth[:] = mean
    for a, b in PAIRS:
        truth[:, [a, b]] *= shared[:, None]
    prior = covarying.given(mean, rng.poisson(truth).astype(np.float32))
    twins, others = np.ravel(PAIRS), np.flatnonzero(np.diff(covarying.weights.indptr) == 0)
    assert ((prior - truth)[:, twins] ** 2).mean() < 0.8 * ((mean - truth)[:, twins] ** 2).mean()
    np.testing.assert_array_equal(prior[:, others], mean[:, others])


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_the_prior_is_the_equation(seed: int, n_genes: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(n_genes, n_genes)) * (rng.random((n_genes, n_genes)) < 0.2)
    np.fill_diagonal(weights, 0)
    mean = rng.gamma(1, size=(7, n_genes)).astype(np.float32)
    counts = rng.poisson(mean).astype(np.float32)
    factor = 1 + ((counts - mean) / (1 + mean)) @ weights.T
    before = mean.copy()
    covarying = Covarying(sp.csr_matrix(weights.astype(np.float32)))
    prior = covarying.given(mean, counts)
    np.testing.assert_allclose(prior, mean * np.maximum(factor, LEAST), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(mean, before)
    # Some genes, with all that say something of them, are those of all.
    some = rng.permutation(n_genes)[: 1 + n_genes // 3]
    needed = np.concatenate([some, covarying.partners(some)])
    assert len(np.unique(needed)) == len(needed)
    of_some = covarying.of(needed).given(mean[:, needed], counts[:, needed])[:, : len(some)]
    np.testing.assert_allclose(of_some, prior[:, some], rtol=1e-5)


def test_order_of_cells_and_genes_makes_no_difference(rng: np.random.Generator) -> None:
    mean = expected(rng)
    counts = with_twins(mean, rng)
    whole = fitted(mean, counts).weights.toarray()
    cells, genes = rng.permutation(N_CELLS), rng.permutation(N_SEEN)
    np.testing.assert_allclose(fitted(mean[cells], counts[cells]).weights.toarray(), whole, rtol=1e-3)
    shuffled = fitted(mean[:, genes], counts[:, genes]).weights.toarray()
    np.testing.assert_allclose(shuffled, whole[genes][:, genes], rtol=1e-3)


def test_a_weight_has_to_be_borne_out_by_some_cells(rng: np.random.Generator) -> None:
    mean = np.tile(np.array([1.5, 5.5], dtype=np.float32), (N_CELLS, 1))  # not whole: each count is a surprise
    counts = rng.poisson(mean * rng.gamma(1, size=(N_CELLS, 1)))
    (size, of_partner), (u, v) = (mean / (1 + mean)).T, ((counts - mean) / (1 + mean)).T
    weights = fitted(mean, counts.astype(np.float32)).weights
    assert weights[0, 1] == pytest.approx((u * v).sum() / ((size * v**2).sum() + 10), rel=1e-4)
    assert weights[1, 0] == pytest.approx((u * v).sum() / ((of_partner * u**2).sum() + 10), rel=1e-4)


def test_few_say_something_of_many(rng: np.random.Generator) -> None:
    """Of a dozen genes that are one, each is given the most correlated few, and these agree on what they say."""
    mean = np.tile(expected(rng)[:, :1], 12)
    counts = np.tile(rng.poisson(mean[:, :1] + 1), 12) + rng.poisson(0.1, size=mean.shape)
    covarying = fitted(mean + 1, counts.astype(np.float32))
    assert np.diff(covarying.weights.indptr).tolist() == [MOST] * 12
    prior = covarying.given(mean + 1, counts.astype(np.float32))
    assert np.corrcoef(prior[:, 0], counts[:, 0])[0, 1] > 0.9


def test_genes_with_few_molecules_are_not_looked_at() -> None:
    counts = np.zeros((30, 5), dtype=np.float32)
    counts[:, [1, 4]], counts[: FEWEST - 1, 2], counts[:FEWEST, 3] = 2, 1, 1
    assert looked_at(sp.csr_matrix(counts)).tolist() == [1, 3, 4]
    many = sp.csr_matrix(np.arange(3 * N_GENES)[None, :].repeat(2, 0).astype(np.float32))
    assert looked_at(many).tolist() == [*range(2 * N_GENES, 3 * N_GENES)]


@pytest.mark.parametrize(("n_cells", "n_genes"), [*product([1, 2, 30], [0, 1, 2])])
def test_next_to_nothing(n_cells: int, n_genes: int) -> None:
    nothing = np.zeros((n_cells, n_genes), dtype=np.float32)
    for counts in (nothing, nothing + 1):
        covarying = fit_covarying(nothing, counts, genes=np.arange(n_genes), n_genes=4)
        assert covarying.weights.shape == (4, 4)
        mean = np.ones((n_cells, 4), dtype=np.float32)
        assert np.isfinite(covarying.given(mean, mean)).all()


def test_without_genes_that_are_not_there(rng: np.random.Generator) -> None:
    mean = expected(rng)
    covarying = fitted(mean, with_twins(mean, rng))
    absent = np.arange(N_SEEN) == PAIRS[0][1]
    left, before = found(covarying.without(absent)), found(covarying)
    assert left == {pair for pair in before if PAIRS[0][1] not in pair}
    assert len(before) >= len(left) + 2


@pytest.fixture(scope="module")
def counts() -> sp.csr_matrix:
    rng = np.random.default_rng(0)
    return sp.csr_matrix(with_twins(expected(rng), rng))


@pytest.fixture(scope="module")
def graph(counts: sp.csr_matrix) -> NeighborGraph:
    return NeighborGraph.from_embedding(np.log1p(counts.toarray()), n_neighbors=4)


@pytest.fixture(scope="module")
def imputer(counts: sp.csr_matrix, graph: NeighborGraph) -> GNNImputer:
    config = Config(n_hidden=8, n_latent=4, n_epochs=2, n_components=2)  # too few to know twins
    names = [f"gene{i}" for i in range(N_SEEN)]
    return GNNImputer(config, device="cpu").fit(counts, graph, genes=names, progress=False)


def with_averages(imputer: GNNImputer) -> GNNImputer:
    """The same, but that each gene's average has a say."""
    made = copy.copy(imputer)
    made.average_ = imputer.average_._replace(weight=np.linspace(0.1, 0.5, N_SEEN, dtype=np.float32))
    return made


def test_a_fit_finds_twins_and_the_posterior_follows(
    imputer: GNNImputer, counts: sp.csr_matrix, graph: NeighborGraph
) -> None:
    assert {*PAIRS, *((b, a) for a, b in PAIRS)} <= found(imputer.covarying_)
    assert imputer.summary()["n_covarying"] == len({gene for gene, _ in found(imputer.covarying_)})
    posterior = imputer.transform(counts, graph, estimate="posterior", output="counts")
    mean = imputer.transform(counts, graph, output="counts")
    given = imputer.covarying_.given(mean, counts.toarray())
    prior = imputer.average_.mixed_with(given, np.asarray(counts.sum(1)))
    ratio = prior / imputer.spread_.dispersion + imputer.spread_.fano
    np.testing.assert_allclose(posterior, (prior + ratio * counts.toarray()) / (1 + ratio), rtol=1e-4, atol=1e-5)
    size = imputer.further(counts, graph)[0]
    np.testing.assert_allclose(size, posterior, rtol=1e-4, atol=1e-5)


def test_hidden_molecules_of_twins_are_predicted_better(counts: sp.csr_matrix, graph: NeighborGraph) -> None:
    hold_out = metrics.HoldOut.thin(counts, 0.2, rng=1)
    kept = hold_out.train
    config = Config(n_hidden=8, n_latent=4, n_epochs=2, n_components=2)
    imputer = GNNImputer(config, device="cpu").fit(kept, graph, progress=False)
    losses = []
    for covarying in (imputer.covarying_, Covarying.none(N_SEEN)):
        imputer.covarying_ = covarying
        values = imputer.transform(kept, graph, estimate="posterior", output="counts")
        losses.append(metrics.score(hold_out, values)["poisson_loss"].value)
    assert losses[0] < losses[1]


def test_some_genes_of_the_posterior_are_those_of_all(
    imputer: GNNImputer, counts: sp.csr_matrix, graph: NeighborGraph
) -> None:
    imputer = with_averages(imputer)
    whole = imputer.transform(counts, graph, estimate="posterior")
    some = [PAIRS[0][0], 5, PAIRS[1][1]]
    names = [f"gene{i}" for i in some]
    few = imputer.transform(counts, graph, estimate="posterior", genes=names, cells=[7, 2])
    np.testing.assert_allclose(few, whole[[7, 2]][:, some], rtol=1e-5)
    cells = imputer.keep(counts, graph).cells_
    order = np.random.default_rng(0).permutation(N_SEEN)  # of the data; the model has its own
    columns = numbers(imputer.genes_, imputer.genes_[order], np.arange(N_SEEN))
    lazy = OnDemand(Values(imputer._decoder, columns, "posterior", "normalized"), cells, counts[:, order])
    np.testing.assert_allclose(lazy[:, :], whole[:, order], rtol=1e-5)
    for gene in (PAIRS[0][0], 5):  # one at a time: the twin is decoded too, but not given
        at = np.flatnonzero(order == gene)
        np.testing.assert_allclose(lazy[:, at], whole[:, [gene]], rtol=1e-5)


def test_it_is_saved(imputer: GNNImputer, counts: sp.csr_matrix, graph: NeighborGraph, tmp_path: Path) -> None:
    imputer.save(tmp_path / "model.safetensors")
    loaded = GNNImputer.load(tmp_path / "model.safetensors", device="cpu")
    np.testing.assert_array_equal(loaded.covarying_.weights.toarray(), imputer.covarying_.weights.toarray())
    before, after = (i.transform(counts, graph, estimate="posterior") for i in (imputer, loaded))
    np.testing.assert_array_equal(after, before)


def test_a_twin_that_is_missing_says_nothing(imputer: GNNImputer, counts: sp.csr_matrix, graph: NeighborGraph) -> None:
    imputer = with_averages(imputer)
    gene, twin = PAIRS[0]
    there = np.arange(N_SEEN) != twin
    some = {"names": imputer.genes_[there].tolist()}
    posterior, mean = (
        imputer.transform(counts[:, there], graph, estimate=e, output="counts", **some) for e in ("posterior", "mean")
    )
    others = imputer.covarying_.weights.toarray() * there
    others[twin] = 0
    own = counts.toarray() * there
    given = Covarying(sp.csr_matrix(others)).given(mean, own)
    total = own.sum(1, keepdims=True) / reader(imputer, some["names"]).network_.seen
    prior = imputer.average_.mixed_with(given, total)[:, gene]
    ratio = prior / imputer.spread_.dispersion[gene] + imputer.spread_.fano[gene]
    without = (prior + ratio * own[:, gene]) / (1 + ratio)
    np.testing.assert_allclose(posterior[:, gene], without, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(posterior[:, twin], mean[:, twin])


@pytest.mark.parametrize(
    "settings",
    [{"n_components": 0, "reads": "genes"}, {"hide": "nonzeros", "loss": "poisson"}, Config.paper().to_dict()],
    ids=["no linear part", "no squared error", "paper"],
)
def test_some_networks_are_left_alone(counts: sp.csr_matrix, graph: NeighborGraph, settings: dict[str, Any]) -> None:
    config = Config(**(settings | {"n_hidden": 8, "n_latent": 4, "n_epochs": 1}))
    imputer = GNNImputer(config, device="cpu").fit(counts, graph, progress=False)
    assert not imputer.covarying_.weights.nnz


def test_values_of_hidden_non_zeros_follow_twins(
    counts: sp.csr_matrix, graph: NeighborGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_posterior_fit, "fit_abundant", lambda _, pairs: np.zeros_like(pairs))  # pairs alone
    hold_out = metrics.HoldOut.mask(counts, 0.1, rng=1)
    kept = hold_out.train
    config = Config.detected(n_hidden=8, n_latent=4, n_epochs=5, n_components=2)
    imputer = GNNImputer(config, device="cpu").fit(kept, graph, progress=False)
    covarying = imputer.covarying_
    assert {PAIRS[0], PAIRS[0][::-1]} <= found(covarying)  # a network that reads genes may know the others
    values = {}
    for which in (covarying, Covarying.none(N_SEEN)):
        imputer.covarying_ = which
        values[which] = imputer.transform(kept, graph, estimate="detected", output="counts")
    given, alone = values.values()
    own = kept.toarray()
    # A zero says nothing: it may be a dropout.
    expected = np.maximum(covarying.given(alone, np.where(own > 0, own, alone)), 1)
    np.testing.assert_allclose(given, expected, rtol=1e-5)
    assert metrics.score(hold_out, given)["mse"].value < 0.95 * metrics.score(hold_out, alone)["mse"].value
    # So `values` cannot know it without the counts, but a lazy layer can.
    imputer.covarying_ = covarying
    imputer.keep(kept, graph)
    with pytest.raises(ValueError, match="estimate='detected' needs the counts"):
        imputer.values(estimate="detected")
    columns = np.arange(N_SEEN)
    lazy = OnDemand(Values(imputer._decoder, columns, "detected", "counts"), imputer.cells_, kept)
    np.testing.assert_allclose(lazy[:, [PAIRS[0][1]]], given[:, [PAIRS[0][1]]], rtol=1e-5)


def test_twins_are_followed_among_many_genes_that_say_a_little(counts: sp.csr_matrix, graph: NeighborGraph) -> None:
    hold_out = metrics.HoldOut.mask(counts, 0.1, rng=1)
    kept, twins = hold_out.train, list(PAIRS[0])
    config = Config.detected(n_hidden=8, n_latent=4, n_epochs=5, n_components=2)
    imputer = GNNImputer(config, device="cpu").fit(kept, graph, progress=False)
    given = imputer.transform(kept, graph, estimate="detected", output="counts")
    own, mean = kept.toarray(), detected(imputer.transform(kept, graph, output="counts"))
    expected = np.maximum(imputer.covarying_.given(mean, np.where(own > 0, own, mean)), 1)
    np.testing.assert_allclose(given, likely_count(expected), rtol=1e-4)  # mean and back costs some digits
    mse = [metrics.score(hold_out, some[:, twins], genes=twins)["mse"].value for some in (given, likely_count(mean))]
    assert mse[0] < 0.8 * mse[1]


def test_expected_counts_say_which_genes_covary_not_likely_ones(
    counts: sp.csr_matrix, graph: NeighborGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config.detected(n_hidden=8, n_latent=4, n_epochs=2, n_components=2)
    with monkeypatch.context() as patch:
        patch.setattr(_values, "likely_count", lambda _: pytest.fail("a likely count was asked for"))
        imputer = GNNImputer(config, device="cpu").fit(counts, graph, progress=False)
    assert imputer.covarying_.weights.nnz


def test_a_molecule_is_the_smallest_value_of_a_cell(counts: sp.csr_matrix, graph: NeighborGraph) -> None:
    """On whatever scale values of non-zeros are, as those of the paper's protocol, which are normalised."""
    config = Config.detected(n_hidden=8, n_latent=4, n_epochs=2, n_components=2)
    imputer = GNNImputer(config, device="cpu").fit(counts, graph, progress=False)
    latent = embed(imputer.network_, Rows.of(counts, imputer.network_), graph)
    scale = np.where(np.arange(N_CELLS) % 2, 1, np.pi)
    scaled = sp.csr_matrix(sp.diags(scale.astype(np.float32)) @ counts).sorted_indices()
    rows = Rows.of(scaled, imputer.network_)
    weights = covarying_of(imputer._decoder, rows, latent, graph=graph).weights
    np.testing.assert_allclose(weights.toarray(), imputer.covarying_.weights.toarray(), rtol=1e-3, atol=1e-5)
    assert weights.nnz


def test_an_explanation_names_the_twin(imputer: GNNImputer, counts: sp.csr_matrix) -> None:
    adata = AnnData(counts, obsm={"X_rep": np.log1p(counts.toarray())})
    adata.var_names = imputer.genes_
    gene, twin = (f"gene{i}" for i in PAIRS[1])
    why = tl.explain(adata, "9", gene, imputer=imputer, use_rep="X_rep")
    assert why.covarying.index[0] == twin
    assert why.covarying["count"].iloc[0] == counts[9, PAIRS[1][1]]
    pulled = (1 - why.own_pull) * why.prior + why.own_pull * why.count
    assert why.posterior == pytest.approx(pulled, rel=1e-4)
    assert f"given others  {why.given:.3g}, by genes that covary with it: {twin} " in str(why)
    alone = tl.explain(adata, "9", "gene5", imputer=imputer, use_rep="X_rep")
    if alone.covarying.empty:
        assert "covary" not in str(alone)
        assert alone.given == pytest.approx(alone.mean)
