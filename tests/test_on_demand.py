"""Values that are decoded one by one are those of the whole result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gnnimpute import Config, GNNImputer, NeighborGraph
from gnnimpute._cells import with_normalizers
from gnnimpute._covarying import Covarying
from gnnimpute._on_demand import OnDemand, Values

if TYPE_CHECKING:
    from pathlib import Path

    import scipy.sparse as sp

KINDS: dict[str, dict[str, Any]] = {
    "poisson": {},
    "squared_error": {"loss": "squared_error"},
    "nonzeros": {"loss": "squared_error", "hide": "nonzeros"},
}


@pytest.fixture
def graph(counts: sp.csr_matrix) -> NeighborGraph:
    return NeighborGraph.from_embedding(counts.toarray(), n_neighbors=4)


@pytest.fixture(params=KINDS)
def imputer(counts: sp.csr_matrix, graph: NeighborGraph, request: pytest.FixtureRequest) -> GNNImputer:
    config = Config(n_hidden=8, n_latent=4, n_epochs=1, **KINDS[request.param])
    imputer = GNNImputer(config, device="cpu").fit(counts, graph, progress=False)
    if config.hide == "nonzeros":
        imputer.covarying_ = Covarying.none(60)  # else values need the counts
    return imputer.keep(counts, graph)


@pytest.mark.parametrize("estimate", ["mean", "detected"])
@pytest.mark.parametrize("output", ["normalized", "counts", "log1p"])
def test_values_are_those_of_transform(
    imputer: GNNImputer, counts: sp.csr_matrix, graph: NeighborGraph, estimate: Any, output: Any
) -> None:
    expected = imputer.transform(counts, graph, estimate=estimate, output=output)
    asked: dict[str, Any] = {"estimate": estimate, "output": output}
    np.testing.assert_allclose(imputer.values(**asked), expected, rtol=1e-5, atol=1e-6)
    few = imputer.values(genes=["7", "3"], cells=[5, 80, 2], **asked)
    np.testing.assert_allclose(few, expected[[5, 80, 2]][:, [7, 3]], rtol=1e-5, atol=1e-6)
    assert imputer.values(cells=[], **asked).shape == (0, 60)
    assert imputer.values(cells=np.arange(90) < 3, genes=["0"]).shape == (3, 1)


def test_shares_of_a_cell_sum_to_one(imputer: GNNImputer) -> None:
    total = imputer.values(output="normalized").sum(1) / imputer.target_total_
    if imputer.network_.is_share:
        np.testing.assert_allclose(total, 1, rtol=1e-5)
        assert np.ptp(imputer.cells_.log_normalizer) > 0
    else:
        latent = imputer.network_.out.weight.new_zeros(3, imputer.network_.n_latent)
        assert not with_normalizers(imputer.network_, latent)[1].any()


def test_what_is_kept_is_saved(imputer: GNNImputer, tmp_path: Path) -> None:
    imputer.save(tmp_path / "model.safetensors")
    loaded = GNNImputer.load(tmp_path / "model.safetensors", device="cpu")
    np.testing.assert_array_equal(loaded.values(genes=["5"]), imputer.values(genes=["5"]))


def test_errors(imputer: GNNImputer, counts: sp.csr_matrix, graph: NeighborGraph) -> None:
    with pytest.raises(KeyError, match="'x' is not among the genes of the model"):
        imputer.values(genes=["x"])
    with pytest.raises(ValueError, match=r"posterior.*transform\(counts, graph\)|hidden molecules"):
        imputer.values(estimate="posterior")
    imputer.fit(counts, graph, progress=False)
    with pytest.raises(ValueError, match=r"keeps no cells: call `keep"):
        imputer.values()


def test_slices_with_cells_and_genes_that_are_not_modelled(imputer: GNNImputer, counts: sp.csr_matrix) -> None:
    cells = imputer.cells_._replace(
        latent=np.where(np.arange(90)[:, None] == 4, np.nan, imputer.cells_.latent),
        log_normalizer=np.where(np.arange(90) == 4, np.nan, imputer.cells_.log_normalizer),
    )
    values = Values(imputer._decoder, np.append(-1, np.arange(1, 60)), "mean", "counts")
    lazy = OnDemand(values, cells, counts)
    whole = lazy[:, :]
    assert lazy.shape == whole.shape == (90, 60)
    np.testing.assert_array_equal(whole[4], counts[4].toarray()[0])
    np.testing.assert_array_equal(whole[:, 0], counts[:, 0].toarray()[:, 0])
    expected = imputer.values(output="counts")
    rest = np.delete(np.arange(90), 4)
    np.testing.assert_array_equal(whole[rest, 1:], expected[rest, 1:])
    np.testing.assert_allclose(lazy[3:6, [9, 0]], whole[3:6][:, [9, 0]], rtol=1e-5)
    np.testing.assert_allclose(lazy[4, 9], whole[4, 9], rtol=1e-5)
    nothing = Values(imputer._decoder, np.append(-1, np.arange(1, 60)), "mean", "counts").of(cells)
    assert np.isnan(nothing[4]).all()
    assert np.isnan(nothing[:, 0]).all()
    np.testing.assert_array_equal(lazy.fill(np.empty((90, 2)), np.array([0, 9]))[:, 0], whole[:, 0])
