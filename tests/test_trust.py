"""Tests for false signals on special data: their measures, and the way of a method through them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import gnnimpute as gi

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(__file__).parents[1] / "benchmarks" / "trust"


@pytest.fixture(scope="module")
def trust() -> Any:
    """The modules of the benchmark; a module of another benchmark may have the same name."""
    before = {name: sys.modules.pop(name, None) for name in ("measures", "jobs", "run", "drivers", "single", "split")}
    sys.path.insert(0, str(FOLDER))
    try:
        import drivers
        import jobs
        import measures
        import run
        import single
        import split
    finally:
        sys.path.remove(str(FOLDER))
    yield {"measures": measures, "jobs": jobs, "run": run, "drivers": drivers, "single": single, "split": split}
    for name, module in before.items():
        sys.modules.pop(name)
        if module is not None:
            sys.modules[name] = module


def test_zeros(trust: dict[str, ModuleType]) -> None:
    own, off = np.array([True, True, False, False]), np.array([False, False, True, True])
    counts, imputed = np.array([4.0, 0, 0, 0]), np.array([4.0, 3, 0, 0.1])
    m = trust["measures"]
    assert m.leak(imputed, own=own, off=off) == pytest.approx(0.05 / 3.5)
    assert m.zeros_told_apart(imputed, counts, own=own, off=off) == 1
    assert m.zeros_told_apart(np.zeros(4), counts, own=own, off=off) == 0.5
    assert m.zeros_kept(imputed, counts, own=own, off=off) == (1, 1)
    assert m.zeros_kept(np.ones(4), counts, own=own, off=off) == (0, 1)
    assert np.isnan(m.zeros_kept(imputed, counts + 1, own=own, off=off)).all()


def test_survival_is_a_place_between_two_profiles(trust: dict[str, ModuleType]) -> None:
    profile, others = np.array([2.0, 0, 1]), np.array([0.0, 1, 1])
    rare = np.array([True, False])
    for place in (0.0, 0.5, 1.0):
        values = np.vstack([others + place * (profile - others), others])
        assert trust["measures"].survival(values, rare=rare, profile=profile, others=others) == pytest.approx(place)


def test_mixes(trust: dict[str, ModuleType], rng: np.random.Generator) -> None:
    amounts = np.repeat([-1.0, 0, 1], 20)
    values = amounts[:, None] * np.array([1.0, -2.0]) + 0.01 * rng.normal(size=(60, 2))
    m = trust["measures"]
    assert m.within_share(values, np.repeat([0, 1, 2], 20)) < 0.01
    assert m.within_share(rng.normal(size=(60, 2)), np.repeat([0, 1, 2], 20)) > 0.8
    assert m.order_kept(values, amounts) > 0.9
    assert m.rank_correlation(np.ones(5), np.arange(5.0)) == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Small stand-ins for the special data, of the same form."""
    rng = np.random.default_rng(0)
    names = ["CD3D", "CD3E", "CD79A", "MS4A1", "CD14", "CD34", *(f"g{number}" for number in range(300))]
    types = np.array(["T cell", "B cell", "CD14+", "CD34+", "NK cell"])
    of = np.r_[np.zeros(1300, int), np.ones(300, int), np.arange(150) % 5]
    rate = rng.gamma(1.0, 2.0, size=(5, 306))[of]
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)), var=pd.DataFrame(index=names))
    adata.obs["subpop"] = types[of]
    adata.write_h5ad(tmp_path / "PBMC_facs_zheng.h5ad")
    shares = np.repeat([0.0, 0.5, 1.0], 20)
    mixed = rng.gamma(1.0, 2.0, size=(2, 100))
    adata = anndata.AnnData(
        sp.csr_matrix(rng.poisson(shares[:, None] * mixed[0] + (1 - shares[:, None]) * mixed[1]).astype(np.float32))
    )
    adata.obs["mix_label"], adata.obs["HCC827_prop"], adata.obs["H1975_prop"] = shares.astype(str), shares, 1 - shares
    adata.write_h5ad(tmp_path / "scmix_RNAmix_celseq2.h5ad")
    genes = ["hg19_CD3E", "hg19_CD14", *(f"hg19_g{number}" for number in range(50))]
    adata = anndata.AnnData(
        sp.csr_matrix(rng.poisson(3.0, size=(60, 52)).astype(np.float32)), var=pd.DataFrame(index=genes)
    )
    adata.obsm["protein"] = pd.DataFrame({"CD3": np.arange(60.0), "CD14": 60.0 - np.arange(60)}, index=adata.obs_names)
    adata.write_h5ad(tmp_path / "CITEseq_citefuse500.h5ad")
    return tmp_path


def test_counts_that_nobody_imputed_go_through_every_test(trust: dict[str, ModuleType], folder: Path) -> None:
    """What is known of counts as they are: nothing invented, nothing lost, and zeros that stay."""
    found: dict[str, Any] = {}
    for job in trust["jobs"].JOBS.values():
        for one in job(folder, lambda adata, **_: {"mean": adata.X.toarray()}, 0):
            # Cells of one type differ by chance alone here: there is no true variance to compare with.
            nothing = "zeros", "of the true", "Poisson"  # here no entry expects a hidden molecule
            assert np.isfinite(one.value) or any(part in one.measure for part in nothing), one
            found[one.measure] = one
    assert found["gain over the type means, %"].passed
    assert found["correlation of unrelated genes"].value < 0.12
    assert found["random split: p-values from uniform"].value < 0.15
    assert found["rare type of 1 %: kept"].value == pytest.approx(1, abs=0.5)
    assert found["simulated: error at zeros, of none imputed"].value == 1
    assert found["another order: agreement"].value == pytest.approx(1)
    assert found["RNA mixes: order kept"].passed


def test_poisson_counts_lie_in_intervals_at_the_depth_of_what_was_hidden(
    trust: dict[str, ModuleType], tmp_path: Path, rng: np.random.Generator
) -> None:
    counts = sp.csr_matrix(rng.poisson(1000.0, size=(200, 60)).astype(np.float32))
    anndata.AnnData(counts).write_h5ad(tmp_path / "CITEseq_citefuse500.h5ad")
    for mean, passes in ((900.0, True), (1000.0, False)):  # a tenth is hidden

        def ask(adata: anndata.AnnData, *, mean: float = mean, **_: Any) -> dict[str, np.ndarray]:
            assert adata.X.sum() == pytest.approx(0.9 * counts.sum(), rel=0.02)
            return {"mean": np.full(adata.shape, mean)}

        (one,) = trust["jobs"].intervals(tmp_path, ask, 0)
        assert one.passed == passes


def test_halves_share_no_cell(trust: dict[str, ModuleType], folder: Path) -> None:
    asked: list[pd.Index] = []

    def ask(adata: anndata.AnnData, **_: Any) -> dict[str, np.ndarray]:
        asked.append(adata.obs_names)
        return {"mean": adata.X.toarray()}

    list(trust["jobs"].halves_apart(folder, ask, 0))
    one, other = asked
    assert len(one) == len(other)
    assert one.intersection(other).empty


def test_values_are_brought_to_the_median_total(trust: dict[str, ModuleType]) -> None:
    counts = sp.csr_matrix(np.array([[1.0, 1], [4, 4], [2, 2]]))
    np.testing.assert_allclose(trust["jobs"].at_median(counts, counts), np.full((3, 2), 2.0))


def test_a_method_that_fails_is_a_row_and_the_table_shows_what_is_there(trust: dict[str, ModuleType]) -> None:
    results = pd.DataFrame(
        {
            "method": ["a", "b", "b"], "test": ["t"] * 3, "seed": 0, "estimate": [None, "mean", "posterior"],
            "measure": [None, "m", "m"], "value": [np.nan, 0.5, 0.25], "status": [None, "passed", "FAILED"],
            "message": ["absent", None, None],
        }
    )  # fmt: skip
    assert trust["run"].table(results).splitlines() == [
        "| measure | b | b, posterior |", "| --- | --- | --- |", "| m | 0.5 ● | 0.25 ▲ |",
    ]  # fmt: skip


def test_markers_have_a_place_among_the_drivers(trust: dict[str, ModuleType], folder: Path) -> None:
    adata = trust["jobs"].read(folder, "PBMC_facs_zheng", n_cells=400)
    gi.pp.prepare(adata, min_genes=10, max_mito_pct=None, n_pcs=5)
    config = gi.Config(n_hidden=8, n_latent=4, n_epochs=2)
    found = trust["drivers"].places(adata, seed=0, config=config)
    assert list(found["marker"]) == ["CD3D", "CD3E", "CD79A", "MS4A1", "CD14", "CD34"]
    assert found[["by drivers", "by counts"]].to_numpy().min() >= 1
    assert found[["by drivers", "by counts"]].to_numpy().max() <= adata.n_vars


def test_the_page_has_the_table_of_the_results(trust: dict[str, ModuleType]) -> None:
    page = (FOLDER.parents[1] / "docs" / "trust.md").read_text(encoding="utf-8")
    assert trust["run"].with_table(page, trust["run"].table(pd.read_csv(FOLDER / "results.csv"))) == page


def test_groups_that_were_found_in_the_same_counts_are_seen_to_differ(trust: dict[str, ModuleType]) -> None:
    adata = trust["split"].simulated(0.5, np.random.default_rng(0))
    found = trust["split"].shares(adata, seed=0, size=0.5, config=gi.Config(n_epochs=5))
    same, parts, independent = found.values()
    assert same > parts > independent
    assert same > 0.1
    assert independent < 0.1


def test_the_share_of_single_counts_is_printed(
    trust: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = np.zeros((100, 2), dtype=np.float32)
    counts[:4, 0], counts[:50, 1] = [1, 1, 1, 2], 3
    anndata.AnnData(sp.csr_matrix(counts)).write_h5ad(tmp_path / "a.h5ad")
    monkeypatch.setattr("sys.argv", ["single.py", str(tmp_path / "a.h5ad")])
    trust["single"].main()
    assert capsys.readouterr().out == f"{tmp_path / 'a.h5ad'}: 0.750 of 1 genes\n"
