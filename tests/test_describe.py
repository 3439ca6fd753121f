"""What is said about a file and about what a command has done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from gnnimpute import _describe


@pytest.fixture
def adata(counts: sp.csr_matrix) -> AnnData:
    adata = AnnData(counts)
    adata.obs_names = [f"AAACCTGAGC{'ACGT'[i % 4]}{'ACGT'[i // 4 % 4]}{'ACGT'[i // 16 % 4]}GT-1" for i in range(90)]
    adata.obs_names_make_unique()
    adata.var_names = ["MT-ND1", *(f"GENE{i}" for i in range(59))]
    return adata


def result(n_cells: int, n_genes: int) -> dict[str, object]:
    return {
        "estimate": "mean",
        "output": "normalized",
        "unit": "counts scaled to 100",
        "n_cells": n_cells,
        "n_genes": n_genes,
        "loss": {"training": np.array([2.0, 1.0, 0.9]), "validation": np.array([2.5, 1.25, 1.5])},
        "best_epoch": 1,
        "params": {"loss": "poisson"},
        "version": "9.8",
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x, ["counts", "% zeros", "median total of a cell"]),
        (lambda x: x.toarray(), ["counts", "% zeros"]),
        (lambda x: x.log1p(), ["log1p-transformed"]),
        (lambda x: sp.csr_matrix(x / x.sum(1)), ["normalised"]),
        (lambda x: x.toarray() - x.toarray().mean(0), ["scaled or centred"]),
        (lambda x: sp.csr_matrix(np.where(np.arange(60) == 3, np.nan, x.toarray())), ["finite"]),
        (lambda x: x[:0], ["empty"]),
        (lambda _: None, ["empty"]),
    ],
)
def test_matrices_are_told_apart(counts: sp.csr_matrix, change, said: list[str]) -> None:
    text = _describe.looks_like(change(counts))
    assert all(part in text for part in said), text


def test_zeros_are_counted_also_where_they_are_stored() -> None:
    stored = sp.csr_matrix(np.ones((4, 5), dtype=np.float32))
    stored.data[:5] = 0
    assert "25.0% zeros" in _describe.looks_like(stored)


def test_contents_of_what_is_not_imputed(adata: AnnData) -> None:
    adata.layers["lognorm"] = adata.X.log1p()
    text = _describe.contents(adata, Path("a.h5ad"))
    assert text.startswith("a.h5ad: 90 cells x 60 genes\n")
    assert "1 genes (MT-ND1)" in text
    assert text.endswith("Not imputed yet.")
    assert "looks" in next(line for line in text.splitlines() if "lognorm" in line)


def test_contents_of_what_is_imputed(adata: AnnData) -> None:
    adata.layers["mine"] = adata.X.toarray()
    adata.var["mine_modelled"] = True
    adata.uns["mine"] = result(90, 60)
    text = _describe.contents(adata, Path("a.h5ad"))
    assert "imputed, see below" in text
    assert "gnnimpute 9.8" in text
    assert "estimate  mean" in text
    assert "unit      counts scaled to 100" in text
    assert "Not imputed" not in text
    assert "interrupted" not in text
    adata.uns["mine"]["interrupted"] = True
    assert "interrupted by hand" in _describe.contents(adata, Path("a.h5ad"))


def test_contents_name_the_layers_of_intervals(adata: AnnData) -> None:
    adata.layers["mine"] = adata.X.toarray()
    for end in ("lower", "upper", "redetection"):
        adata.layers[f"mine_{end}"] = np.full(adata.shape, np.nan)
    adata.layers["mine_too"] = np.full(adata.shape, np.nan)
    adata.uns["mine"] = result(90, 60) | {"interval": 0.9}
    said = dict(line.split(maxsplit=1) for line in _describe.contents(adata, Path("a.h5ad")).splitlines()[1:])
    assert said['layers["mine_lower"]'].startswith("lower ends of 0.9 intervals of mine, NaN where")
    assert said['layers["mine_upper"]'].startswith("upper ends of 0.9 intervals of mine, NaN where")
    assert said['layers["mine_redetection"]'].startswith("probability that another library shows the gene")
    assert "finite" in said['layers["mine_too"]']  # which is not ours


def test_an_evaluation_is_no_imputation(adata: AnnData) -> None:
    adata.uns["judged"] = {"estimate": "mean", "verdict": "helps", "text": "It helps.\n  By much.", "version": "9.8"}
    text = _describe.contents(adata, Path("a.h5ad"))
    assert text.endswith('Evaluated, key "judged", estimate mean: It helps.\nNot imputed yet.')
    assert "Imputed" not in text


def test_contents_say_what_is_odd_about_names(adata: AnnData) -> None:
    assert "looks like genes x cells" in _describe.contents(adata.T, Path("a.h5ad"))
    adata.var_names = ["MT-ND1"] * 60
    assert "gene names occur twice" in _describe.contents(adata, Path("a.h5ad"))
    adata.var_names = [str(i) for i in range(60)]
    text = _describe.contents(adata, Path("a.h5ad"))
    assert "few names of genes look like genes" in text
    assert "no gene is recognised" in text


def test_summary_says_where_what_and_how_good(adata: AnnData) -> None:
    adata.layers["mine"] = np.ones(adata.shape, dtype=np.float32)
    adata.layers["mine"][:, 7] = np.arange(90)
    adata.layers["mine"][:, 5] = np.arange(90) / 2
    adata.var["mine_modelled"] = True
    adata.uns["mine"] = result(88, 60)
    text = _describe.summary(adata, Path("b.zarr"), key="mine", genes=None, seconds=12.3)
    assert "88 cells x 60 genes in 12 s" in text
    assert 'layers["mine"] of b.zarr' in text
    assert "estimate mean: counts scaled to 100" in text
    assert "3 epochs, the best is number 2 with validation loss 1.2500 (poisson)\n" in text
    assert "2 of 90 cells, 0 of 60 genes not modelled" in text
    assert 'anndata.read_zarr("b.zarr")' in text
    assert 'sc.pl.scatter(adata, "GENE6", "GENE4", layers="mine")' in text


@pytest.mark.parametrize(
    ("name", "said"),
    [("b.csv", 'read.csv("b.csv"'), ("b.tsv.gz", 'read.delim("b.tsv.gz"'), ("b.mtx", 'Seurat::Read10X("b.mtx")')],
)
def test_summary_for_r(adata: AnnData, name: str, said: str) -> None:
    adata.layers["mine"] = np.ones(adata.shape, dtype=np.float32)
    adata.var["mine_modelled"] = True
    adata.uns["mine"] = result(90, 60)
    text = _describe.summary(adata, Path(name), key="mine", genes=None, seconds=1)
    assert said in text
    assert "not modelled" not in text


def test_snippet_runs_with_a_single_gene(adata: AnnData) -> None:
    one = adata[:, :1].copy()
    one.layers["mine"] = np.ones(one.shape, dtype=np.float32)
    one.var["mine_modelled"] = True
    one.uns["mine"] = result(90, 1)
    assert '"MT-ND1", "MT-ND1"' in _describe.summary(one, Path("b.h5ad"), key="mine", genes=None, seconds=1)


def test_genes_that_are_not_there_are_refused(adata: AnnData) -> None:
    _describe.require_genes(adata, ["GENE3"])
    with pytest.raises(KeyError, match="Did you mean 'GENE"):
        _describe.require_genes(adata, ["GENE3", "GENE77"])
