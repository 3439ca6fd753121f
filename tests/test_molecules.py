"""Losses on held-out molecules against hand-computed values, scikit-learn, SciPy and scanpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
import zarr
from hypothesis import given, settings
from scipy import stats
from sklearn.metrics import mean_poisson_deviance, mean_squared_error

from gnnimpute import _molecules
from gnnimpute._masking import hide_molecules
from gnnimpute._molecules import FLOOR, MOLECULE_LOSSES, losses_by_cell
from gnnimpute.metrics import cell_losses, log1p_cp10k_mse, molecule_mse, poisson_deviance, poisson_loss

if TYPE_CHECKING:
    from collections.abc import Callable

every_loss = pytest.mark.parametrize("loss", MOLECULE_LOSSES)
HELD_OUT = np.array([[0, 2, 1], [0, 0, 0]])
EXPECTED = np.array([[0.5, 1.0, 0.0], [0.2, 0.3, 0.5]])


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[sp.csr_matrix, np.ndarray]:
    """Held-out counts of 600 cells (more than one block) and 11 genes, and what made them."""
    expected = rng.gamma(0.7, 0.5, size=(600, 11))
    return sp.csr_matrix(rng.poisson(expected)), expected


def test_poisson_loss_by_hand() -> None:
    first = (0.5 + (1.0 - 2 * np.log(1.0)) + (FLOOR - np.log(FLOOR))) / 3
    np.testing.assert_allclose(cell_losses(HELD_OUT, EXPECTED), [first, 1.0 / 3])
    assert poisson_loss(HELD_OUT, EXPECTED) == pytest.approx((first + 1 / 3) / 2)
    assert -np.log(FLOOR) == pytest.approx(13.8, abs=0.02)


def test_deviance_by_hand() -> None:
    first = 2 * (0.5 + (2 * np.log(2 / 1.0) - 2 + 1.0) + (np.log(1 / FLOOR) - 1 + FLOOR)) / 3
    np.testing.assert_allclose(cell_losses(HELD_OUT, EXPECTED, loss="poisson_deviance"), [first, 2 / 3])


def test_squared_errors_by_hand() -> None:
    np.testing.assert_allclose(cell_losses(HELD_OUT, EXPECTED, loss="mse"), [2.25 / 3, (0.04 + 0.09 + 0.25) / 3])
    scaled = np.log1p(np.array([[0, 2e4 / 3, 1e4 / 3], [0, 0, 0]])) - np.log1p(
        np.array([[1e4 / 3, 2e4 / 3, 0], [2e3, 3e3, 5e3]])
    )
    np.testing.assert_allclose(cell_losses(HELD_OUT, EXPECTED, loss="log1p_cp10k_mse"), (scaled**2).mean(axis=1))


def test_like_other_packages(pair: tuple[sp.csr_matrix, np.ndarray]) -> None:
    held_out, expected = pair
    counts = held_out.toarray()
    assert poisson_deviance(held_out, expected) == pytest.approx(
        mean_poisson_deviance(counts.ravel(), expected.ravel())
    )
    assert molecule_mse(held_out, expected) == pytest.approx(mean_squared_error(counts, expected))
    log_factorial = stats.poisson.logpmf(counts, 1) + 1  # - log y!
    likelihood = stats.poisson.logpmf(counts, expected) - log_factorial
    assert poisson_loss(held_out, expected) == pytest.approx(-likelihood.mean())


@pytest.mark.filterwarnings("ignore:Some cells have zero counts")
def test_open_problems_error_like_scanpy(pair: tuple[sp.csr_matrix, np.ndarray]) -> None:
    import anndata
    import scanpy as sc

    def normalised(counts: Any) -> np.ndarray:
        adata = anndata.AnnData(np.array(counts, dtype=np.float64))
        sc.pp.normalize_total(adata, target_sum=10_000)
        sc.pp.log1p(adata)
        return np.asarray(adata.X)

    held_out, expected = pair
    error = mean_squared_error(normalised(held_out.toarray()), normalised(expected))
    assert log1p_cp10k_mse(held_out, expected) == pytest.approx(error)
    assert log1p_cp10k_mse(held_out, 7 * expected) == pytest.approx(error)


def test_deviance_is_twice_the_loss_above_a_perfect_guess(pair: tuple[sp.csr_matrix, np.ndarray]) -> None:
    held_out, expected = pair
    perfect = poisson_loss(held_out, held_out, floor=1e-12)
    assert poisson_deviance(held_out, expected) == pytest.approx(2 * (poisson_loss(held_out, expected) - perfect))


@pytest.mark.parametrize("loss", ["poisson_loss", "poisson_deviance", "mse"])
def test_the_expression_that_made_the_counts_is_best(loss: Any) -> None:
    """Also guards the order of arguments: with the two swapped, zeros would win."""
    rng = np.random.default_rng(0)
    expression = rng.gamma(0.3, 2.0, size=(1, 400))
    kept, hidden = hide_molecules(
        sp.csr_matrix(rng.poisson(np.repeat(expression, 300, 0)).astype(np.float32)), 0.1, rng
    )
    best = cell_losses(hidden, np.repeat(0.1 * expression, 300, 0), loss=loss).mean()
    for worse in (np.zeros((300, 400)), np.repeat(0.01 * expression, 300, 0), np.repeat(expression, 300, 0), kept / 9):
        assert cell_losses(hidden, worse, loss=loss).mean() > 1.01 * best


@every_loss
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), n_cells=st.integers(1, 7), n_genes=st.integers(1, 5))
def test_sparse_dense_and_blocks_agree(loss: Any, seed: int, n_cells: int, n_genes: int) -> None:
    rng = np.random.default_rng(seed)
    held_out, expected = rng.poisson(0.4, (n_cells, n_genes)), rng.poisson(0.9, (n_cells, n_genes)) / 9
    reference = cell_losses(held_out, expected, loss=loss)
    assert reference.shape == (n_cells,)
    for form in (sp.csr_matrix, sp.csc_matrix, sp.coo_array):
        np.testing.assert_allclose(cell_losses(form(held_out), expected, loss=loss), reference)
    np.testing.assert_allclose(cell_losses(held_out, sp.csr_matrix(expected), loss=loss), reference)
    one_by_one = [cell_losses(held_out[[i]], expected[[i]], loss=loss)[0] for i in range(n_cells)]
    np.testing.assert_allclose(one_by_one, reference)


@every_loss
def test_rows_are_read_in_blocks(loss: Any, pair: tuple[sp.csr_matrix, np.ndarray]) -> None:
    held_out, expected = pair
    assert len(expected) > 2 * _molecules._ROWS
    reference = cell_losses(held_out, expected, loss=loss)
    by_hand = np.concatenate(
        [cell_losses(held_out[s : s + 100], expected[s : s + 100], loss=loss) for s in range(0, 600, 100)]
    )
    np.testing.assert_allclose(reference, by_hand)
    on_disk = zarr.create_array({}, data=expected)
    np.testing.assert_allclose(cell_losses(held_out, on_disk, loss=loss), reference)


def test_several_losses_in_one_pass_and_a_factor_per_cell(pair: tuple[sp.csr_matrix, np.ndarray]) -> None:
    held_out, expected = pair
    factor = np.linspace(0.5, 2, len(expected))
    table = losses_by_cell(held_out, expected, losses=MOLECULE_LOSSES, factor=factor)
    for column, loss in zip(table.T, MOLECULE_LOSSES, strict=True):
        np.testing.assert_allclose(column, cell_losses(held_out, expected * factor[:, None], loss=loss))


@every_loss
def test_nothing_expected_or_held_out(loss: Any) -> None:
    zeros = np.zeros((2, 3))
    assert cell_losses(zeros, zeros, loss=loss) == pytest.approx(0, abs=3 * FLOOR)
    assert np.isfinite(cell_losses(np.ones((2, 3)), zeros, loss=loss)).all()


@every_loss
def test_negative_estimates_are_finite(loss: Any) -> None:
    assert np.isfinite(cell_losses(np.ones((1, 2)), np.array([[-3.0, 1.0]]), loss=loss)).all()


def test_inputs_are_left_alone(pair: tuple[sp.csr_matrix, np.ndarray]) -> None:
    held_out, expected = pair
    before = held_out.copy(), expected.copy()
    losses_by_cell(held_out, expected, losses=MOLECULE_LOSSES)
    assert (held_out != before[0]).nnz == 0
    np.testing.assert_array_equal(expected, before[1])


def test_repeated_entries_are_summed() -> None:
    twice = sp.csr_matrix((np.ones(2), np.zeros(2, np.int32), [0, 2]), shape=(1, 1))
    assert poisson_deviance(twice, np.array([[2.0]])) == pytest.approx(0)


BAD: list[tuple[Any, Any, str]] = [
    (np.ones((2, 3)), np.ones((3, 2)), r"2 cells x 3 genes, but the estimate has the shape \(3, 2\)"),
    (np.ones((0, 3)), np.ones((0, 3)), "nothing to score"),
    (np.ones((2, 0)), np.ones((2, 0)), "nothing to score"),
    (np.ones((2, 2)), np.array([[1, 1], [np.nan, 1]]), r"holds nan \(cell 1, gene 0\)"),
    (np.ones((1, 1)), np.array([[np.inf]]), "holds inf"),
    (np.array([[-1.0]]), np.ones((1, 1)), "at least 0"),
    (np.array([[np.nan]]), np.ones((1, 1)), "at least 0"),
]


@every_loss
@pytest.mark.parametrize(("held_out", "expected", "error"), BAD)
def test_what_cannot_be_scored(loss: Any, held_out: Any, expected: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        cell_losses(held_out, expected, loss=loss)


def test_unknown_loss() -> None:
    with pytest.raises(ValueError, match="loss='poison': choose one of 'poisson_loss'"):
        cell_losses(HELD_OUT, EXPECTED, loss="poison")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scalar", "loss"),
    list(zip([poisson_loss, poisson_deviance, molecule_mse, log1p_cp10k_mse], MOLECULE_LOSSES, strict=True)),
)
def test_the_loss_of_a_data_set_is_the_mean_over_cells(scalar: Callable[..., float], loss: Any) -> None:
    assert scalar(HELD_OUT, EXPECTED) == pytest.approx(cell_losses(HELD_OUT, EXPECTED, loss=loss).mean())
