from __future__ import annotations

import gzip
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gnnimpute.io as gio

CELLS = ["AAACATTGCACTAG-1", "AAACATTGGCTAAC-1"]
GENES = ["MT-ND1", "ACTB", "RPL13"]
VALUES = [[0, 2, 1.5], [7, 0, 0]]


def text(rows, columns, values, *, sep=",", corner=""):
    lines = [sep.join([corner, *columns])]
    lines += [sep.join([name, *map(str, line)]) for name, line in zip(rows, values, strict=True)]
    return "\n".join(lines) + "\n"


def check(adata):
    assert isinstance(adata.X, sp.csr_matrix)
    assert adata.X.dtype == np.float32
    assert adata.X.nnz == 3
    assert list(adata.obs_names) == CELLS
    assert list(adata.var_names) == GENES
    np.testing.assert_array_equal(adata.X.toarray(), VALUES)


@pytest.mark.parametrize(
    ("name", "sep"),
    [("x.csv", ","), ("x.csv", ";"), ("x.tsv", "\t"), ("x.txt", "\t"), ("x.txt", " "), ("x.TSV", "\t")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_separators_and_compression(tmp_path, name, sep, packed):
    content = text(CELLS, GENES, VALUES, sep=sep, corner="cell").encode()
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(content) if packed else content)
    check(gio.read(path))


def test_genes_as_rows_are_found_by_their_names(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(text(GENES, CELLS, np.array(VALUES).T))
    check(gio.read(path))


def test_orientation_can_be_stated_against_the_names(tmp_path, caplog):
    path = tmp_path / "x.csv"
    path.write_text(text(GENES, CELLS, np.array(VALUES).T))
    adata = gio.read(path, orientation="cells_by_genes")
    assert list(adata.obs_names) == GENES
    assert "speak against it" in caplog.text


def test_table_of_r_without_corner_with_quotes_windows_lines_and_byte_order_mark(tmp_path):
    path = tmp_path / "x.csv"
    lines = [",".join(f'"{gene}"' for gene in GENES)]
    lines += [",".join([f'"{cell}"', *map(str, values)]) for cell, values in zip(CELLS, VALUES, strict=True)]
    path.write_bytes("\ufeff".encode() + "\r\n".join([*lines, ""]).encode())
    check(gio.read(path))


def test_names_that_pandas_takes_for_missing_stay(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(text(["NA", "nan", "0"], ["NULL", "None"], [[1, 0], [0, 2], [3, 0.0]], corner="gene"))
    adata = gio.read(path)
    assert list(adata.var_names) == ["NA", "nan", "0"]
    assert list(adata.obs_names) == ["NULL", "None"]
    np.testing.assert_array_equal(adata.X.toarray(), [[1, 0, 3], [0, 2, 0]])


def test_pandas_reads_the_same(tmp_path, counts):
    frame = pd.DataFrame(counts.toarray(), [f"cell-{i}" for i in range(90)], [f"Gene{i}" for i in range(60)])
    frame.to_csv(tmp_path / "x.csv.gz")
    adata = gio.read(tmp_path / "x.csv.gz")
    pd.testing.assert_frame_equal(adata.to_df(), frame, check_names=False)
    assert adata.X.nnz == counts.nnz


def test_a_table_is_never_dense(tmp_path):
    n_cells, n_genes = 400, 4000
    path = tmp_path / "x.csv"
    line = ",".join(["1"] + ["0"] * (n_genes - 1))
    header = ",".join(f"Gene{i}" for i in range(n_genes))
    path.write_text(f"cell,{header}\n" + "".join(f"Cell{i},{line}\n" for i in range(n_cells)))
    gio.read(path)  # imports happen before memory is looked at
    tracemalloc.start()
    gio.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n_cells * n_genes * 4 / 2


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "empty"),
        ("\n\n", "holds nothing"),
        ("cell,ACTB\n", "header but no rows"),
        ("cell\nAAAC\n", "1 fields in its first line and 1 in its second"),
        ("a,b,c,d\nx,1\n", "4 fields in its first line and 2 in its second"),
        ("cell,ACTB,CD3D\nx,1,2\ny,1\n", r"row 2 \(y\) has 1 values in 2 columns"),
        (
            'gene,c1,c2\nACTB,"1,5",3\n',
            r"column c1 holds '1,5', which is not a number. Write decimals with a point, and",
        ),
        ("gene,chr,c1\nACTB,chr7,3\n", r"row 1 \(ACTB\), column chr holds 'chr7', which is not a number"),
        ("cell,ACTB,CD3D\nx,1,\n", r"row 1 \(x\), column CD3D holds ''"),
        ("cell,ACTB,CD3D\nx,1,NA\n", r"column CD3D holds 'NA'"),
        ("ACTB,CD3D\n3,1\n0,2\n3,0\n", r"first column of .* holds values \(3, 0, 3\.\.\.\): .*leave out index=False"),
        ("0,0,3\n1,0,0\n", r"first line of .* holds values \(0, 0, 3\.\.\.\)"),
        ("ACTB,3,0,0\nCD3D,1,2,0\n", r"first line of .* holds values \(3, 0, 0\.\.\.\): .*leave out header=False"),
        ("AAACATTGCACTAG-1,3,0,0\nAAACATTGGCTAAC-1,1,2,0\n", r"first line of .* holds values \(3, 0, 0"),
        ("MT-ND1,34,39,7\nACTB,1,2,0\nCD3D,1,0,0\n", r"first line of .* holds values \(34, 39, 7"),
    ],
)
def test_bad_tables(tmp_path, content, match):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=match):
        gio.read(path)


def test_nan_and_infinity_are_left_to_the_check_of_counts(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("cell,ACTB,CD3D\nx,nan,inf\n")
    np.testing.assert_array_equal(gio.read(path).X.toarray(), [[np.nan, np.inf]])


def test_cut_short_and_other_encodings(tmp_path):
    packed = gzip.compress(text(CELLS, GENES, VALUES).encode())
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "plain.csv.gz").write_bytes(b"cell,ACTB\nx,1\n")
    (tmp_path / "latin.csv").write_bytes("cell,ACTB\nmüller,1\n".encode("latin-1"))
    for path in tmp_path.iterdir():
        with pytest.raises(OSError, match=f"{path.name} cannot be read as a table"):
            gio.read(path)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("cell,0,1", "x"),
        (",1,2,3", "ACTB"),
        (",7,3,5", "ACTB"),  # pandas writes no corner where it writes names
        ("7,3,5", "ACTB"),  # R neither
        ("gene,7,3,7", "ACTB"),
        ("Gene Symbol,7,3,5", "ACTB"),
        ("symbol_of_all,7,3,5", "ACTB"),
        ("ENSG,3,7,15", "ACTB"),  # some of the cells, in their order
        ("Mouse2,478301,112233", "ACTB"),
    ],
)
def test_numbered_columns_are_names(tmp_path, header, row):
    columns = header.split(",")[0 if header[0].isdigit() else 1 :]
    (tmp_path / "x.csv").write_text(f"{header}\n{row},{','.join('1' for _ in columns)}\n")
    adata = gio.read(tmp_path / "x.csv", orientation="cells_by_genes")
    assert list(adata.var_names) == columns


names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=5)


@given(
    values=hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(0, width=32)),
    data=st.data(),
    ending=st.sampled_from([".csv", ".tsv.gz"]),
)
def test_round_trip(values, data, ending, tmp_path_factory):
    cells = data.draw(st.lists(names, min_size=len(values), max_size=len(values)))
    genes = data.draw(
        st.lists(names.filter(lambda x: not x.isdigit()), min_size=values.shape[1], max_size=values.shape[1])
    )
    path = tmp_path_factory.mktemp("tables") / f"x{ending}"
    adata = named(values, cells, genes)
    gio.write(adata, path, key=None)
    back = gio.read(path, orientation="cells_by_genes")
    np.testing.assert_array_equal(back.X.toarray(), values)
    assert list(back.obs_names) == cells
    assert list(back.var_names) == genes


def named(values, cells, genes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AnnData(values, obs=pd.DataFrame(index=cells), var=pd.DataFrame(index=genes))


@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix, sp.csc_matrix], ids=["dense", "csr", "csc"])
def test_layers_of_any_kind_are_written_in_blocks(tmp_path, counts, make, monkeypatch):
    monkeypatch.setattr("gnnimpute._writers.BLOCK_VALUES", 700)
    adata = AnnData(counts, layers={"gnnimpute": make((counts * 0.5).toarray())})
    adata.var_names = [f"Gene{i}" for i in range(60)]
    gio.write(adata, tmp_path / "x.tsv")
    frame = pd.read_csv(tmp_path / "x.tsv", sep="\t", index_col=0)
    assert frame.index.name == "cell"
    np.testing.assert_array_equal(frame.to_numpy(np.float32), counts.toarray() * 0.5)


def test_the_same_layer_gives_the_same_file(tmp_path, counts):
    adata = AnnData(counts)
    for name in ("a.csv.gz", "b.csv.gz"):
        gio.write(adata, tmp_path / name, key=None)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
