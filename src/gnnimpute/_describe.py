"""Text about what is in a file, and about what a command has done."""

from __future__ import annotations

import inspect
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _keys, pp
from gnnimpute._counts import check_counts
from gnnimpute._inputs import genes_of
from gnnimpute._names import barcode_like, gene_like, looks_transposed, mitochondrial
from gnnimpute._writers import blocks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from anndata import AnnData

N_LOOKED_AT = 2000
"""Cells looked at to tell what a matrix holds."""


def require_genes(adata: AnnData, genes: list[str]) -> None:
    """Refuse genes that are not there before hours are spent on them.

    Raises
    ------
    KeyError
        If there is no such gene, with near names.
    """
    genes_of(adata, genes)


def summary(adata: AnnData, out: Path, *, key: str, genes: list[str] | None, seconds: float) -> str:
    """What ``impute`` has done, and how to look at it."""
    about = adata.uns[key]
    loss, best = about["loss"], int(about["best_epoch"])
    place = f'layers["{key}"]' if genes is None else f'obsm["{key}_genes"]'
    where = f"{place} of {out}" if _is_whole(out) else str(out)
    others = (adata.n_obs - about["n_cells"], adata.n_vars - about["n_genes"])
    lines = [
        f"Imputed {about['n_cells']:,} cells x {about['n_genes']:,} genes in {seconds:.0f} s.",
        f"  result    {where}",
        f"  values    estimate {about['estimate']}: {about['unit']}",
        f"  training  {len(loss['validation'])} epochs, the best is number {best + 1} with validation loss "
        f"{float(loss['validation'][best]):.4f} ({about['params']['loss']}){_ended(about)}",
    ]
    if any(others):
        lines.append(
            f"  others    {others[0]:,} of {adata.n_obs:,} cells, {others[1]:,} of {adata.n_vars:,} genes not "
            f'modelled: observed values are kept, on the same scale; obs["{_keys.PASS}"] and '
            f'var["{_keys.modelled(key)}"] are False'
        )
    return "\n".join([*lines, "Look at it:", *(f"  {line}" for line in _snippet(adata, out, key, genes))])


def _is_whole(out: Path) -> bool:
    return out.suffix.lower() in {".h5ad", ".zarr"}


def _snippet(adata: AnnData, out: Path, key: str, genes: list[str] | None) -> list[str]:
    """Three lines to paste, with two genes that vary much."""
    if not _is_whole(out):
        read = "read.delim" if ".tsv" in out.suffixes[-2:] else "read.csv"
        table = f'x <- {read}("{out}", row.names = 1, check.names = FALSE)'
        return ["# in R", f'x <- Seurat::Read10X("{out}")' if out.suffix.lower() == ".mtx" else table]
    kind = out.suffix.lower()[1:]
    opened = ["import anndata, scanpy as sc", f'adata = anndata.read_{kind}("{out}")']
    if genes is not None:
        return [*opened, f'adata.obsm["{key}_genes"].describe()']
    # Cells side by side, made dense: those from anywhere would be in as many chunks of a store, and it may be sparse.
    _, sample = next(blocks(adata.layers[key][:500]))
    modelled = adata.var[_keys.modelled(key)].to_numpy(dtype=bool)
    spread = np.where(modelled, np.log1p(sample).var(axis=0), -1)
    x, y = (adata.var_names[gene] for gene in np.argsort(-spread, kind="stable")[[0, min(1, adata.n_vars - 1)]])
    return [*opened, f'sc.pl.scatter(adata, "{x}", "{y}", layers="{key}")']


def simulated(adata: AnnData, out: Path, found: tuple[int, int]) -> str:
    """What ``simulate`` has made, given the number of non-zeros after and before dropout."""
    zeros, lost = 1 - found[0] / (adata.n_obs * adata.n_vars), 1 - found[0] / max(found[1], 1)
    asked = inspect.signature(pp.prepare).parameters["min_genes"].default  # detected genes of a cell
    few = ["--min-genes", "0"] if found[0] < 2 * asked * adata.n_obs else []
    on = shlex.join(["gnnimpute", "impute", str(out), str(out.with_name(f"{out.stem}_imputed{out.suffix}")), *few])
    groups = adata.obs["group"].value_counts(sort=False)
    return "\n".join(
        [
            f"Simulated {adata.n_obs:,} cells x {adata.n_vars:,} genes: {out}",
            f"  groups    {', '.join(f'{name} {size:,}' for name, size in groups.items())} cells",
            f"  X         counts, {zeros:.1%} zeros; {lost:.0%} of the non-zeros were lost to dropout",
            '  truth     layers["true_counts"]: before dropout',
            f"Next: {on}",
        ]
    )


def contents(adata: AnnData, path: Path) -> str:
    """What an AnnData holds, and what each matrix looks like."""
    known = {key: about for key, about in adata.uns.items() if hasattr(about, "keys") and "estimate" in about}
    evaluations = {key: about for key, about in known.items() if "verdict" in about}
    results = {key: about for key, about in known.items() if key not in evaluations}
    lines = [f"{path}: {adata.n_obs:,} cells x {adata.n_vars:,} genes"]
    matrices = {"X": adata.X} | {f'layers["{key}"]': layer for key, layer in adata.layers.items()}
    if adata.raw is not None:
        matrices["raw"] = adata.raw.X
    own = {f'layers["{name}"]': text for key, about in results.items() for name, text in _own_layers(key, about)}
    rows = [(name, own[name] if name in own else looks_like(matrix)) for name, matrix in matrices.items()]
    rows += [("names", _names(adata)), ("mitochondrial", _mitochondrial(adata))]
    for slot in ("obs", "var", "obsm", "obsp"):
        if len(keys := list(map(str, getattr(adata, slot)))):
            rows.append((slot, ", ".join(keys)))
    if _keys.PASS in adata.obs and _keys.PASS in adata.var:
        passing = [int(frame[_keys.PASS].to_numpy(dtype=bool).sum()) for frame in (adata.obs, adata.var)]
        rows.append(("passing", f"{passing[0]:,} cells and {passing[1]:,} genes"))
    width = max(len(name) for name, _ in rows)
    lines += [f"  {name:<{width}}  {text}" for name, text in rows]
    for key, about in results.items():
        lines += _result(key, about)
    for key, about in evaluations.items():
        lines.append(f'Evaluated, key "{key}", estimate {about["estimate"]}: {str(about["text"]).splitlines()[0]}')
    if not results:
        lines.append("Not imputed yet.")
    return "\n".join(lines)


def _own_layers(key: str, about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Layers of a result, and what each is."""
    level = float(about.get("interval", 0))
    where = f"of {level:.3g} intervals of {key}, NaN where nothing is modelled" if level else ""
    ends = [(_keys.lower(key), f"lower ends {where}"), (_keys.upper(key), f"upper ends {where}")]
    again = (_keys.redetection(key), "probability that another library shows the gene, NaN where nothing is modelled")
    return [(key, "imputed, see below"), *([*ends, again] if level else [])]


def looks_like(matrix: Any) -> str:
    """What a matrix holds, judged by some of its cells: counts, or why they are none; zeros and median total."""
    if matrix is None or not all(matrix.shape):
        return "empty"
    sample = matrix[:: max(1, matrix.shape[0] // N_LOOKED_AT)]
    try:
        counts = check_counts(sample, where="it")
    except TypeError as error:
        return str(error)
    except ValueError as error:
        kind = str(error).split(": ", 1)[-1].split(". ")[0]
        return f"{_zeros(sample)} zeros; {kind} ({str(error).split(':', maxsplit=1)[0]})"
    total = float(np.median(np.asarray(counts.sum(axis=1))))
    return f"counts, {_zeros(sample)} zeros, median total of a cell {total:,.0f}"


def model(path: Path) -> str:
    """What a saved model was trained on, and how."""
    from gnnimpute._imputer import GNNImputer

    imputer = GNNImputer.load(path, device="cpu")
    genes, losses = imputer.genes_, imputer.history_["validation"]
    settings = imputer.summary()
    return "\n".join(
        [
            f"{path}: model of gnnimpute {settings['version']}",
            f"  genes     {len(genes):,}: {', '.join(genes[:5])}{', ...' if len(genes) > 5 else ''}",
            f"  training  {len(losses)} epochs, the best is number {imputer.best_epoch_ + 1} with validation loss "
            f"{losses[imputer.best_epoch_]:.4f}{_ended(settings)}",
            f"  neighbors {_neighbors(settings)}",
            f"  scale     normalised to a total of {imputer.target_total_:.4g}",
            f"  settings  {_settings(settings['params'])}",
        ]
    )


def _result(key: str, about: Mapping[str, Any]) -> list[str]:
    known = [
        name for name in ("n_cells", "n_genes", "layer", "neighbors_key", "use_rep", "seed", "threads") if name in about
    ]
    return [
        f'Imputed, key "{key}", by gnnimpute {about.get("version", "(unknown version)")}:',
        f"  estimate  {about['estimate']}",
        f"  unit      {about.get('unit', 'unknown')}",
        f"  run       {', '.join(f'{name} {about[name]}' for name in known if str(about[name]))}{_ended(about)}",
        f"  settings  {_settings(about.get('params', {}))}",
    ]


def _ended(about: Mapping[str, Any]) -> str:
    """How the training ended, if not by itself."""
    return ", interrupted by hand" if about.get("interrupted") else ""


def _neighbors(about: Mapping[str, Any]) -> str:
    """Where the neighbours of a fit were from."""
    unknown = "not recorded" if about.get("blind_validation") else "of a graph that was given"
    return _settings(about.get("fitted_with", {})) or unknown


def _settings(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in params.items())


def _names(adata: AnnData) -> str:
    text = f"cells like {adata.obs_names[0]!r}, genes like {adata.var_names[0]!r}" if all(adata.shape) else "none"
    if looks_transposed(adata.obs_names, adata.var_names):
        return f"{text}: this looks like genes x cells (--orientation genes_by_cells)"
    doubtful = []
    for kind, names, like in (("gene", adata.var_names, gene_like), ("cell", adata.obs_names, barcode_like)):
        if like(names) < 0.5:
            doubtful.append(f"few names of {kind}s look like {kind}s")
        if not names.is_unique:
            doubtful.append(f"{kind} names occur twice")
    return "; ".join([text, *doubtful])


def _mitochondrial(adata: AnnData) -> str:
    texts = [adata.var_names, *(column for _, column in adata.var.select_dtypes(exclude="number").items())]
    which = np.flatnonzero(np.any([mitochondrial(text) for text in texts], axis=0))
    few = ", ".join(map(str, adata.var_names[which[:3]]))
    return f"{len(which)} genes ({few}{', ...' if len(which) > 3 else ''})" if len(which) else "no gene is recognised"


def _zeros(matrix: Any) -> str:
    nonzero = matrix.count_nonzero() if hasattr(matrix, "count_nonzero") else np.count_nonzero(matrix)
    return f"{1 - nonzero / (matrix.shape[0] * matrix.shape[1]):.1%}"
