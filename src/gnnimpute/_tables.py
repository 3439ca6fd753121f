"""Tables as text (csv, tsv): read line by line into a sparse matrix, written block by block."""

from __future__ import annotations

import csv
import io
from contextlib import closing
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from gnnimpute._names import barcode_like, gene_like
from gnnimpute._orientation import CELL_HEADERS, GENE_HEADERS, settle
from gnnimpute._readers import opened, reading
from gnnimpute._writers import blocks, compressed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from anndata import AnnData

    from gnnimpute._orientation import Orientation

ZEROS = frozenset(["0", "0.0"])
"""Most of a count table: skipped as text, so that only the other values are turned into numbers."""

HEADERS = CELL_HEADERS | GENE_HEADERS | {"index", "id", "name", "names", "rownames", "symbols", "features"}
"""What stands above row names, and is none itself."""

LEAST_ID = 10_000
"""From here on numbers are ids rather than counts."""

CORNER = "cell"
"""Header of the cell names in tables that are written: it tells readers, this one too, what the rows are."""


def read_table(path: Path, orientation: Orientation | None) -> AnnData:
    """Table with names in the first line and the first column, between commas, tabs, semicolons or spaces."""
    import anndata
    import pandas as pd

    with closing(_lines(path)) as lines:
        header = next(lines, [])
        if (first := next(lines, None)) is None:
            msg = f"{path} holds {'a header but no rows' if header else 'nothing'}: it may have been cut short."
            raise ValueError(msg)
        corner, columns = _header(path, header, n_fields=len(first))
        rows, matrix = _sparse(path, columns, chain([first], lines))
    if corner != CORNER and len(set(rows)) < len(rows) and all(map(_is_number, rows)):
        msg = (
            f"The first column of {path} holds values ({', '.join(rows[:3])}...): names are needed there. Write the "
            "table with them: in pandas leave out index=False, in R row.names=FALSE."
        )
        raise ValueError(msg)
    if _is_row(corner, rows) and all(map(_is_number, columns)) and _like_counts([float(name) for name in columns]):
        raise ValueError(_no_names_of_columns(path, columns))
    if settle(path, rows, columns, stated=orientation, corner=corner) == "genes_by_cells":
        rows, columns, matrix = columns, rows, matrix.T.tocsr()
    with reading(path, "a table"):  # anndata warns of duplicate names, which gnnimpute.io.read says once
        obs, var = (pd.DataFrame(index=pd.Index(names, dtype=object)) for names in (rows, columns))
        return anndata.AnnData(matrix, obs=obs, var=var)


def write_table(adata: AnnData, path: Path, layer: Any) -> None:
    """Write a layer as cells x genes, with the nine digits that give back the same float32."""
    delimiter = _usual_delimiter(path)
    numbers = f"{delimiter}%.9g" * adata.n_vars + "\n"
    with compressed(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        names = csv.writer(text, delimiter=delimiter, lineterminator="")
        names.writerow([CORNER, *adata.var_names])
        text.write("\n")
        for start, block in blocks(layer):
            for name, values in zip(adata.obs_names[start : start + len(block)], block.tolist(), strict=True):
                names.writerow([name])
                text.write(numbers % tuple(values))


def _lines(path: Path) -> Generator[list[str], None, None]:
    """Fields of each line that is not blank."""
    with reading(path, "a table"), opened(path) as file:
        first = file.readline()
        # What the ending promises goes first: names may contain the other marks.
        usual = _usual_delimiter(path)
        delimiter = usual if usual in first else max(",\t; ", key=first.count)
        yield from filter(None, csv.reader(chain([first], file), delimiter=delimiter))


def _usual_delimiter(path: Path) -> str:
    return "," if path.name.lower().endswith((".csv", ".csv.gz")) else "\t"


def _header(path: Path, header: list[str], *, n_fields: int) -> tuple[str, list[str]]:
    """Corner and column names; R writes no corner."""
    if n_fields < 2 or len(header) not in {n_fields, n_fields - 1}:
        msg = (
            f"{path} has {len(header)} fields in its first line and {n_fields} in its second. A table needs names in "
            "its first line and first column, separated by commas, tabs or semicolons."
        )
        raise ValueError(msg)
    corner, columns = ("", header) if len(header) < n_fields else (header[0], header[1:])
    if len(set(header)) < len(header) and all(map(_is_number, header)):
        raise ValueError(_no_names_of_columns(path, header))
    if corner and not _is_header(corner) and len(set(columns)) < len(columns) and all(map(_is_number, columns)):
        raise ValueError(_no_names_of_columns(path, columns))
    return corner, columns


def _is_header(corner: str) -> bool:
    return corner.strip().lower().replace(" ", "_") in HEADERS


def _is_row(corner: str, rows: Sequence[str]) -> bool:
    """Whether what stands above the row names is itself one: there is no header."""
    is_word = _is_header(corner) or corner.islower()
    return not is_word and any(like([corner]) == 1 and like(rows) > 0.5 for like in (gene_like, barcode_like))


def _like_counts(numbers: Sequence[float]) -> bool:
    """Whether numbers are no names of cells, which are mostly in order, or long."""
    in_order = all(a < b for a, b in pairwise(numbers))
    return not in_order and min(numbers) < LEAST_ID


def _no_names_of_columns(path: Path, values: Sequence[str]) -> str:
    return (
        f"The first line of {path} holds values ({', '.join(values[:3])}...): names are needed there. Write the table "
        "with them: in pandas leave out header=False, in R col.names=FALSE. If these are names, write 'gene' or "
        "'cell' before them, whichever the rows are."
    )


def _sparse(path: Path, columns: Sequence[str], lines: Iterable[list[str]]) -> tuple[list[str], sp.csr_matrix]:
    """Names of the rows, and their values."""
    names: list[str] = []
    data, indices, indptr = [], [], [0]
    for name, *fields in lines:
        if len(fields) != len(columns):
            msg = f"{path}, row {len(names) + 1} ({name}) has {len(fields)} values in {len(columns)} columns."
            raise ValueError(msg)
        at = [column for column, field in enumerate(fields) if field not in ZEROS]
        try:
            values = np.array([fields[column] for column in at], dtype=np.float32)
        except ValueError:
            column = next(column for column in at if not _is_number(fields[column]))
            mend = "Leave out columns and rows that are no counts, and write 0 where nothing was counted."
            if _is_number(fields[column].replace(",", ".", 1)):
                mend = "Write decimals with a point, and thousands without a comma."
            msg = (
                f"{path}, row {len(names) + 1} ({name}), column {columns[column]} holds {fields[column]!r}, which is "
                f"not a number. {mend}"
            )
            raise ValueError(msg) from None
        data.append(values[values != 0])
        indices.append(np.array(at, dtype=np.int64)[values != 0])
        indptr.append(indptr[-1] + len(data[-1]))
        names.append(name)
    return names, sp.csr_matrix((np.concatenate(data), np.concatenate(indices), indptr), (len(names), len(columns)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
