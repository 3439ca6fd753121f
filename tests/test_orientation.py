from __future__ import annotations

import logging

import pytest

from gnnimpute._orientation import check_orientation, settle

CELLS = ["AAACATTGCACTAG-1", "AAACATTGGCTAAC-1", "AAACATTGTAACCG-1"]
GENES = ["MT-ND1", "ACTB", "RPL13", "CD3D"]
NUMBERS = ["1", "2", "3"]


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (CELLS, GENES, "cells_by_genes"),
        (GENES, CELLS, "genes_by_cells"),
        (["ENSG00000139618.2", "ENSG00000141510.1"], ["day0_1", "day0_2"], "genes_by_cells"),
        (["day0_1", "day0_2"], ["ENSMUSG00000064336", "ENSMUSG00000064337"], "cells_by_genes"),
        (["Gene1", "Gene2"], ["Cell1", "Cell2"], "genes_by_cells"),
        (["4_x", "5_x"], ["Actb", "Gapdh"], "cells_by_genes"),
        (["MT-ND1", "MT-CO1", "CD3D"], ["V1", "V2"], "genes_by_cells"),  # as R names columns
        (["ESC1", "ESC2"], ["MT-ND1", "MT-CO1", "CD3D"], "cells_by_genes"),
    ],
)
def test_names_tell(rows, columns, expected, caplog):
    with caplog.at_level(logging.INFO):
        assert settle("x.csv", rows, columns, stated=None) == expected
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "as the names show" in record.message
    assert rows[0] in record.message  # the evidence
    assert columns[0] in record.message
    other = {"cells_by_genes": "genes_by_cells", "genes_by_cells": "cells_by_genes"}[expected]
    assert f'orientation="{other}"' in record.message


def test_well_known_genes_are_counted_in_the_log(caplog):
    caplog.set_level(logging.INFO)
    settle("x.csv", ["MT-ND1", "ACTB", "CD3D"], ["V1", "V2"], stated=None)
    settle("x.csv", NUMBERS, ["V1", "V2"], stated=None)
    assert "like cells, and 2 are well-known genes; 100% of the column names (V1, V2...) look like genes" in caplog.text
    assert "like cells, and 0 are well-known genes" in caplog.text


def test_without_evidence_rows_are_cells_and_it_is_said(caplog):
    assert settle("x.csv", NUMBERS, NUMBERS, stated=None) == "cells_by_genes"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "by default" in record.message
    assert "--orientation genes_by_cells" in record.message


@pytest.mark.parametrize(("corner", "expected"), [("Gene_ID", "genes_by_cells"), ("cell id", "cells_by_genes")])
def test_corner_tells_what_names_do_not(corner, expected, caplog):
    with caplog.at_level(logging.INFO):
        assert settle("x.csv", NUMBERS, NUMBERS, stated=None, corner=corner) == expected
    assert corner in caplog.text


def test_barcodes_go_before_the_corner():
    assert settle("x.csv", CELLS, GENES, stated=None, corner="gene") == "cells_by_genes"


@pytest.mark.parametrize("said", [{"stated": "cells_by_genes"}, {"stated": None, "by_format": "cells_by_genes"}])
def test_statement_and_format_go_first_but_a_contradiction_is_said(said, caplog):
    assert settle("x.h5ad", GENES, CELLS, **said) == "cells_by_genes"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "speak against it" in record.message


def test_statement_goes_before_format(caplog):
    with caplog.at_level(logging.INFO):
        found = settle("x.h5ad", NUMBERS, NUMBERS, stated="genes_by_cells", by_format="cells_by_genes")
    assert found == "genes_by_cells"
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    assert "as stated" in caplog.text


def test_weak_evidence_raises_no_warning_against_a_format(caplog):
    settle("x.h5ad", ["Alpha", "Beta"], NUMBERS, stated=None, by_format="cells_by_genes")
    assert not caplog.records


def test_no_names_are_no_evidence():
    assert settle("x.csv", [], [], stated=None) == "cells_by_genes"


def test_unknown_orientation():
    check_orientation(None)
    with pytest.raises(ValueError, match="orientation='cells': choose 'cells_by_genes'"):
        check_orientation("cells")
