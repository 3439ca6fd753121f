from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from gnnimpute._names import MITOCHONDRIAL_IDS, barcode_like, gene_like, looks_transposed, mitochondrial, suggestion

MITOCHONDRIAL = [
    "MT-ND1",
    "mt-Nd1",
    "mt-Cytb",
    "hg19_MT-ND1",
    "GRCh38_MT-CO1",
    "mm10___mt-Nd1",
    "MT.CO2",
    "mt:CoI",
    "ENSG00000198888",
    "ENSG00000198888.2",
    "hg19_ENSG00000198888",
    "ENSMUSG00000064341.1",
    "ENSMUSG00000065947",
    "ENSG00000198899_MT-ATP6",
]
DATA_SETS = [
    "CITEseq_citefuse500",
    "Kang_ifnb_PBMC_14k",
    "Klein_subset_1000x900",
    "PBMC_facs_zheng",
    "PBMC_frozen_donorA",
    "scmix_RNAmix_celseq2",
    "scmix_celseq2_5cl",
    "splatter_2groups_600cells",
]
BARCODES = ["AAACCTGAGAAACCAT-1", "ctrl_AAACATACATTTCC.1", "GACAGTACCTGTGA-1-memory_t", "TTGGCAACACTAGTAC"]
GENES = [
    "ACTB",
    "Actb",
    "RP11-206L10.2",
    "HLA-A",
    "ENSG00000000003.15",
    "1700001A01Rik",
    "hg19_CD3E",
    "MT-ND1",
    "Gene7",
]


@pytest.mark.parametrize("name", MITOCHONDRIAL)
def test_mitochondrial_genes_are_recognised(name):
    assert mitochondrial([name]).all()


@pytest.mark.parametrize(
    "name", ["MT1A", "MTOR", "mt", "MTND1P23", "ENSG00000198887", "ENSMUSG00000064335", "ENST00000361390", "NMT-1", ""]
)
def test_other_genes_are_not_mitochondrial(name):
    assert not mitochondrial([name]).any()


def test_there_are_37_mitochondrial_ids_of_each_species():
    assert sum(name.startswith("ENSG") for name in MITOCHONDRIAL_IDS) == 37
    assert sum(name.startswith("ENSMUSG") for name in MITOCHONDRIAL_IDS) == 37


@pytest.mark.parametrize("name", GENES)
def test_genes_look_like_genes(name):
    assert (gene_like([name]), barcode_like([name])) == (1, 0)


@pytest.mark.parametrize(
    "name", [*BARCODES, "Cell1", "cell-998", "p1_p1_A10", "L19", "SRR1234567", "GSM12345", "spot_7"]
)
def test_cells_look_like_cells(name):
    assert (gene_like([name]), barcode_like([name])) == (0, 1)


def test_shares_of_nothing_and_of_a_mixture():
    assert gene_like([]) == barcode_like([]) == 0
    assert gene_like(["ACTB", "Cell1", "17", "Cell2"]) == 0.25
    assert barcode_like(["ACTB", "Cell1", "17", "Cell2"]) == 0.5


def test_transposed_tables_are_told_from_upright_ones():
    assert looks_transposed(GENES, BARCODES)
    assert not looks_transposed(BARCODES, GENES)


def test_names_that_could_be_either_are_no_evidence():
    numbers = [str(i) for i in range(20)]
    assert not looks_transposed(numbers, numbers)
    assert not looks_transposed(["day3", "day5"], numbers)
    assert looks_transposed(GENES, numbers)  # a mitochondrial gene among the cells


@pytest.mark.parametrize("cells", ["V{}", "X{}", "d0.{}", "S{}", "ESC{}", "MT-{}", "A549_{}", "GATA1.{}"])
@pytest.mark.parametrize(
    "known",
    [
        ["MT-ND1", "MT-ND4L", "MT-CO3"],
        ["mt-Cytb", "mt-Atp8"],
        ["mt:CoI", "mt:ND2"],
        ["RPL13A", "RPS27"],
        ["Actb", "Rpl3"],
        ["ENSG00000141510.1", "ENSG00000139618"],
    ],
)
def test_well_known_genes_tell_where_all_names_could_be_symbols(cells, known):
    genes = [f"{symbol}{i}" for symbol in ("CD", "KRT", "GATA") for i in range(1, 40)] + known
    cells = [cells.format(i) for i in range(1, 90)]
    assert looks_transposed(genes, cells)
    assert not looks_transposed(cells, genes)


def test_well_known_genes_on_both_sides_are_no_evidence():
    targets = ["ACTB", "RPL3", "CD3D", "GATA1"]  # of perturbations, one a row
    assert not looks_transposed(targets, GENES)
    assert not looks_transposed(GENES, targets)
    assert not looks_transposed(["MT-1", "MT-2", "WT-1", "WT-2"], ["CD3D", "GATA1"])  # mutant and wild type


@pytest.mark.parametrize("name", DATA_SETS)
def test_real_names(data_dir, name):
    adata = ad.read_h5ad(data_dir / f"{name}.h5ad", backed="r")
    cells, genes = adata.obs_names, adata.var_names
    adata.file.close()
    assert gene_like(genes) > 0.95
    assert barcode_like(cells) > 0.95
    assert not looks_transposed(cells, genes)
    assert looks_transposed(genes, cells)


@pytest.mark.parametrize("name", ["scmix_celseq2_5cl", "scmix_RNAmix_celseq2"])
def test_ensembl_ids_agree_with_the_aligner(data_dir, name):
    """These files carry the reads that were aligned to the mitochondrion, a multiple of the molecules."""
    adata = ad.read_h5ad(data_dir / f"{name}.h5ad")
    molecules = np.asarray(adata.X[:, mitochondrial(adata.var_names)].sum(1)).ravel()
    assert np.corrcoef(molecules, adata.obs["mapped_to_MT"])[0, 1] > 0.9


def test_suggestion_names_what_is_near_or_what_there_is():
    many = suggestion("xyz", map(str, range(3000)))
    assert many.startswith("There are 3000, such as '0', '1', '10', ")
    assert len(many) < 120
    assert suggestion("count", ["counts", "spliced"]) == "Did you mean 'counts'?"
    assert suggestion("COUNTS", ["counts"]) == "Did you mean 'counts'?"
    assert suggestion("xyz", ["spliced", "counts"]) == "There are: 'counts', 'spliced'."
    assert suggestion("xyz", []) == "There are none."
    assert suggestion(5, ["counts", 6]) == "There are: '6', 'counts'."
