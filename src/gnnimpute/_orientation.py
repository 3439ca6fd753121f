"""Whether the rows of a file are cells or genes: stated, defined by the format, or inferred from the names."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, get_args

from gnnimpute._names import barcode_like, gene_like, looks_transposed, n_known

if TYPE_CHECKING:
    from collections.abc import Sequence

Orientation = Literal["cells_by_genes", "genes_by_cells"]

GENE_HEADERS = {"gene", "genes", "gene_id", "geneid", "gene_name", "gene_symbol", "symbol", "ensembl_id", "feature"}
CELL_HEADERS = {"cell", "cells", "cell_id", "cellid", "cell_name", "barcode", "barcodes", "cell_barcode"}
"""What the corner of a table says that its rows are."""

logger = logging.getLogger(__name__)


def check_orientation(orientation: str | None) -> None:
    """Refuse what is neither `None` nor a known orientation."""
    if orientation is not None and orientation not in get_args(Orientation):
        msg = f"orientation={orientation!r}: choose 'cells_by_genes', 'genes_by_cells' or None (look at the names)."
        raise ValueError(msg)


def settle(
    where: object,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    stated: Orientation | None,
    by_format: Orientation | None = None,
    corner: str = "",
) -> Orientation:
    """Orientation of a file, and a line in the log that says where it comes from.

    What the user states goes first, then what the format defines, then the evidence of the names, then cells x genes.
    Names that speak against a statement or a format only raise a warning.

    Parameters
    ----------
    where
        File, named in the log.
    rows, columns
        Names of the rows and of the columns.
    stated
        What the user says.
    by_format
        What the format defines.
    corner
        Text above the row names of a table.
    """
    found, evidence = _from_names(rows, columns, corner="" if stated or by_format else corner)
    if not (found or stated or by_format):
        found, evidence = _from_shares(rows, columns)
    orientation = stated or by_format or found or "cells_by_genes"
    shown = orientation.replace("_by_", " x ")
    given = "as stated" if stated else "as the format defines" if by_format else None
    if given and found in {None, orientation}:
        logger.info("%s is read as %s, %s.", where, shown, given)
        return orientation
    if given:
        source, level = f"{given}, but the names speak against it", logging.WARNING
    elif found:
        source, level = "as the names show", logging.INFO
    else:
        source, level = "by default, because the names do not tell", logging.WARNING
    other = "genes_by_cells" if orientation == "cells_by_genes" else "cells_by_genes"
    mend = f'orientation="{other}" (--orientation {other} of impute, evaluate, tune, explain)'
    logger.log(level, "%s is read as %s, %s: %s. If that is wrong: %s.", where, shown, source, evidence, mend)
    return orientation


def _from_names(rows: Sequence[str], columns: Sequence[str], *, corner: str) -> tuple[Orientation | None, str]:
    """What barcodes, well-known genes or the corner of a table say for certain."""
    turned, straight = looks_transposed(rows, columns), looks_transposed(columns, rows)
    word = corner.strip().lower().replace(" ", "_")
    if turned == straight and word in GENE_HEADERS | CELL_HEADERS:
        return "genes_by_cells" if word in GENE_HEADERS else "cells_by_genes", f"the row names are headed {corner!r}"
    found: Orientation | None = None if turned == straight else "genes_by_cells" if turned else "cells_by_genes"
    return found, _likeness(rows, columns)


def _from_shares(rows: Sequence[str], columns: Sequence[str]) -> tuple[Orientation | None, str]:
    """The side with clearly more names that could be genes: enough where nothing else says more."""
    more = gene_like(rows) - gene_like(columns)
    found: Orientation | None = None if abs(more) <= 0.5 else "genes_by_cells" if more > 0 else "cells_by_genes"
    return found, _likeness(rows, columns)


def _likeness(rows: Sequence[str], columns: Sequence[str]) -> str:
    return "; ".join(
        f"{gene_like(names):.0%} of the {axis} names ({', '.join(names[:2])}...) look like genes, "
        f"{barcode_like(names):.0%} like cells, and {n_known(names):,} are well-known genes"
        for axis, names in (("row", rows), ("column", columns))
    )
