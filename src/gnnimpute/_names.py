"""What names tell: genes, cells, mitochondrial genes."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

N_SAMPLED = 2000
"""Names looked at to tell genes from cells."""

MOST_NAMED = 10
"""Names that an error lists, where none is like the one that was asked for."""

_GENOME = r"(?:(?:hg|mm|rn|grc[a-z]|human|mouse|rat)[a-z0-9.]*[_-]+)?"
"""Genome before the gene in files of mixed species: ``hg19_MT-ND1``, ``mm10___mt-Nd1``, ``GRCh38_ACTB``."""

# Hyphens become dots in R's data frames; flies write mt:CoI.
_MITOCHONDRIAL_SYMBOL = re.compile(rf"{_GENOME}mt[-.:]\w", re.IGNORECASE)
_ENSEMBL = re.compile(r"(?<![A-Za-z])ENS(?:MUS)?G\d{11}(?!\d)")

_ENSEMBL_GENE = r"ENS[A-Z]{0,6}G\d{11}(?!\d).*"
_SYMBOL = r"[a-z][a-z0-9]+(?:[-.:/()@]+[a-z0-9]+)*[-.)]?"
_RIKEN = r"\d{7}[a-z]\d\drik"
_GENE = re.compile(rf"{_GENOME}(?:{_ENSEMBL_GENE}|gene[_-]?\d+|{_SYMBOL}|{_RIKEN})", re.IGNORECASE)

# What a row of cells is hardly ever called, unlike MT-1, a mutant, or V1, S1 and ESC1, which could be symbols.
_MITOCHONDRIAL_GENE = r"mt[-.:](?:nd\dl?|co(?:[123]|i+)|cyt?b|atp\d|rnr\d|t[a-z]\d?)"
_HOUSEKEEPING = r"rp[ls]p?\d+[a-z]?\d?|actb|b2m|eef1a1|gapdh|malat1|tmsb4x"
_KNOWN = re.compile(rf"{_GENOME}(?:{_ENSEMBL_GENE}|{_MITOCHONDRIAL_GENE}|{_HOUSEKEEPING})", re.IGNORECASE)
_LEAST_KNOWN = 2

_BARCODE = re.compile(r"(?:.*[^A-Za-z])?[ACGTN]{8,}(?:[^A-Za-z].*)?")
_CELL_WORD = re.compile(r"(?:.*[^a-z])?(?:cell|barcode|nucle(?:us|i)|spot|well|sample)[_\-. ]?\d+", re.IGNORECASE)
_ACCESSION = re.compile(r"(?:[SED]RR|GSM|SAM(?:N|D|EA))\d{4,}.*")
_WELL = re.compile(r"(?:.*_)?[A-P](?:0?[1-9]|1\d|2[0-4])")

_HUMAN = """
    198695 198712 198727 198763 198786 198804 198840 198886 198888 198899 198938 209082 210049 210077 210082 210100
    210107 210112 210117 210127 210135 210140 210144 210151 210154 210156 210164 210174 210176 210184 210191 210194
    210195 210196 211459 212907 228253
"""
MITOCHONDRIAL_IDS = frozenset(
    [f"ENSG{int(number):011d}" for number in _HUMAN.split()]
    + [f"ENSMUSG{number:011d}" for number in (*range(64336, 64362), *range(64363, 64373), 65947)]
)
"""Ensembl ids of the 37 genes of the human and of the 37 genes of the mouse mitochondrion."""


def mitochondrial(names: Iterable[object]) -> NDArray[np.bool_]:
    """Which names are mitochondrial genes: symbols of any species (``MT-ND1``), human or mouse Ensembl ids.

    A genome before the name (``hg19_MT-ND1``) and a version behind it (``ENSG00000198888.2``) do not matter.
    """
    return np.array([_is_mitochondrial(str(name)) for name in names], dtype=bool)


def gene_like(names: Sequence[object]) -> float:
    """Share of the names that look like genes: symbols or Ensembl ids, and not like cells."""
    return _share(names, lambda name: _GENE.fullmatch(name) is not None and not _is_barcode(name))


def barcode_like(names: Sequence[object]) -> float:
    """Share of the names that look like cells: DNA barcodes, numbered cells, wells of a plate, accessions."""
    return _share(names, _is_barcode)


def n_known(names: Iterable[object]) -> int:
    """How many names are Ensembl ids or well-known genes, of mitochondria, ribosomes and housekeeping."""
    return sum(_KNOWN.fullmatch(str(name)) is not None for name in names)


def looks_transposed(cell_names: Sequence[object], gene_names: Sequence[object]) -> bool:
    """Whether the names of the cells are genes, or those of the genes are cells: a table of genes x cells.

    Strict: names that could be either, such as plain numbers, are no evidence. Most names that R gives to columns, such
    as ``V1`` and ``X1``, could be symbols: against these, genes that everybody knows speak.
    """
    if barcode_like(gene_names) > 0.5 >= barcode_like(cell_names):
        return True
    if not gene_like(cell_names) > 0.5:
        return False
    if gene_like(gene_names) < 0.5 and mitochondrial(cell_names).any() and not mitochondrial(gene_names).any():
        return True
    return n_known(cell_names) >= _LEAST_KNOWN and not n_known(gene_names)


def suggestion(key: object, known: Iterable[object]) -> str:
    """End of an error about a key that does not exist: near names, or else those that there are, not all of many."""
    names = sorted(map(str, known))
    lowered = {name.lower(): name for name in names}
    near = difflib.get_close_matches(str(key).lower(), lowered, n=3)
    if near:
        return f"Did you mean {' or '.join(repr(lowered[name]) for name in near)}?"
    shown = ", ".join(map(repr, names[:MOST_NAMED]))
    if len(names) > MOST_NAMED:
        return f"There are {len(names)}, such as {shown}."
    return f"There are: {shown}." if names else "There are none."


def _is_mitochondrial(name: str) -> bool:
    if _MITOCHONDRIAL_SYMBOL.match(name):
        return True
    return any(found in MITOCHONDRIAL_IDS for found in _ENSEMBL.findall(name))


def _is_barcode(name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in (_BARCODE, _CELL_WORD, _ACCESSION, _WELL))


def _share(names: Sequence[object], like: Callable[[str], bool]) -> float:
    sampled = names[:: max(1, len(names) // N_SAMPLED)]
    return float(np.mean([like(str(name)) for name in sampled])) if len(sampled) else 0.0
