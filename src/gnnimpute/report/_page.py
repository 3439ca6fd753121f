"""Put the page together and write it."""

from __future__ import annotations

import base64
import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _keys
from gnnimpute._atomic import check_ending, check_place, replacing
from gnnimpute._canvas import about_of, evaluation_of
from gnnimpute.report._before_after import (
    dot_plots,
    dropouts,
    embeddings,
    genes_placed,
    heat_maps,
    mean_variance,
    pairs,
    widths,
)
from gnnimpute.report._judged import for_use, gains, headline, lights, sureness
from gnnimpute.report._shown import Shown, shown
from gnnimpute.report._went_in import graph, quality, quality_rows, training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

_PARTS = ("page.html", "page.js", "page.css")
_PACKAGES = ("gnnimpute", "anndata", "numpy", "scanpy", "scipy", "torch")


def write(
    adata: AnnData,
    path: str | Path,
    *,
    key: str = _keys.ADDED,
    evaluation_key: str = _keys.EVALUATION,
    cluster_key: str | None = None,
    genes: Sequence[str] | None = None,
    command: str | None = None,
    source: str | None = None,
    rng: int = 0,
) -> None:
    """Write a report: whether to believe the imputed values, what went in, and the same cells before and after.

    One file that needs no network, can be read on a phone and printed, and without scripts shows the same but for the
    choice of a gene.

    Parameters
    ----------
    adata
        Prepared with :func:`gnnimpute.pp.prepare`; what :func:`gnnimpute.tl.impute` and :func:`gnnimpute.tl.evaluate`
        have added is shown, if they have.
    path
        File to write (.html). It is there whole or not at all, and replaced if it exists.
    key
        The `key_added` of the imputation.
    evaluation_key
        The `key_added` of the evaluation.
    cluster_key
        Column of `obs` whose groups are shown, without the cells that it names none for; by default groups are found by
        k-means.
    genes
        Genes to show; by default those that tell the groups apart.
    command
        The command that repeats it, to be shown.
    source
        Where the counts are from, to be shown.
    rng
        Seed of what is drawn and placed.

    Raises
    ------
    KeyError
        If `adata` is not prepared, or a column or gene, or an imputation or evaluation that is named, does not exist.
    ValueError
        If the column `cluster_key` holds many different numbers, or nothing, or `path` does not end in .html.
    """
    path = Path(path)
    check_place(path)
    check_ending(path, ".html", ".htm", what="a report")
    text = page(adata, key=key, evaluation_key=evaluation_key, cluster_key=cluster_key, genes=genes, command=command,
                source=source, rng=rng)  # fmt: skip
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def page(
    adata: AnnData,
    *,
    key: str,
    evaluation_key: str,
    cluster_key: str | None,
    genes: Sequence[str] | None,
    command: str | None,
    source: str | None,
    rng: int,
) -> str:
    """The page as text."""
    from jinja2 import Environment

    _check(adata, genes)
    # Without the ones of the default names, a page shows what there is.
    if key != _keys.ADDED:
        about_of(adata, key)
    if evaluation_key != _keys.EVALUATION:
        evaluation_of(adata, evaluation_key)
    found = adata.uns.get(evaluation_key)
    groups = None if found is None else found.get("groups")
    seen = shown(adata, key=key, cluster_key=cluster_key, genes=genes, rng=rng, groups=groups)
    about = seen.about
    graph_rows, graph_pictures = graph(adata, seen)
    context: dict[str, Any] = {
        "source": source,
        "n_cells": adata.n_obs,
        "n_genes": adata.n_vars,
        "found": found,
        "headline": None if found is None else headline(found),
        "uses": [] if found is None else for_use(found),
        "lights": [] if found is None else lights(found),
        "gains": [] if found is None else list(gains(found)),
        "quality_rows": quality_rows(adata, key),
        "quality": list(quality(adata)),
        "graph_rows": graph_rows,
        "graph": graph_pictures,
        "training": [] if about is None else [training(about)],
        "embeddings": list(embeddings(seen)),
        "genes": list(genes_placed(seen)),
        "markers": [*heat_maps(seen), *dot_plots(seen)],
        "values": [*pairs(seen), *mean_variance(seen), *dropouts(seen)],
        "sure": [*([] if found is None else sureness(found)), *widths(seen, found)],
        "chooser": _chooser(seen),
        "provenance": _provenance(adata, seen, found),
        "command": command,
        "n_placed": len(seen.cells),
        "n_without_group": seen.n_without_group,
        "are_tested": seen.are_tested,
        "numbered": [] if seen.tags == seen.names else list(zip(seen.tags, seen.names, strict=True)),
    }
    parts = {name: files(__package__).joinpath(name).read_text(encoding="utf-8") for name in _PARTS}
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(parts["page.html"])
    return template.render(**context, style=parts["page.css"], script=parts["page.js"])


def _check(adata: AnnData, genes: Sequence[str] | None) -> None:
    from gnnimpute._inputs import genes_of

    missing = [name for name in (_keys.PASS, _keys.SIZE_FACTOR, "gnnimpute_total_counts") if name not in adata.obs]
    if missing or _keys.PCA not in adata.obsm or _keys.PASS not in adata.var:
        msg = "A report shows what gi.pp.prepare(adata) has found (with n_pcs): call it first."
        raise KeyError(msg)
    if genes is not None:
        genes_of(adata, genes)


def _chooser(seen: Shown) -> str | None:
    """Places and values for the script, values as bytes: a gene is two bytes a cell."""
    if (imputed := seen.imputed(seen.markers)) is None:
        return None
    before, after = np.log1p(seen.counts(seen.markers)), np.log1p(imputed)
    most = np.maximum(np.maximum(before.max(axis=0), after.max(axis=0)), 1e-9)
    low, high = seen.before.min(axis=0), seen.before.max(axis=0)
    places = (seen.before - low) / np.maximum(high - low, 1e-9) * 65535

    def coded(array: Any) -> str:
        return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()

    data = {
        "n": len(seen.cells),
        "places": coded(places.astype("<u2")),
        "groups": coded(seen.groups.astype("<u2")),
        "names": seen.names,
        "cells": [str(name) for name in seen.adata.obs_names[seen.cells]],
        "genes": [
            {
                "name": gene,
                "most": round(float(most[column]), 4),
                "before": coded((255 * before[:, column] / most[column]).round().astype("u1")),
                "after": coded((255 * after[:, column] / most[column]).round().astype("u1")),
            }
            for column, gene in enumerate(seen.markers)
        ],
    }
    # Names come from the user's file: they must not end the script.
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _provenance(adata: AnnData, seen: Shown, found: Any) -> list[tuple[str, str]]:
    about = seen.about
    rows = [("packages", ", ".join(f"{name} {version(name)}" for name in _PACKAGES))]
    if about is not None:
        rows += [
            ("estimate", f"{about['estimate']}: {about['unit']}"),
            ("counts from", str(about["layer"])),
            ("graph", str(about["use_rep"] or about["neighbors_key"])),
            ("seed", str(about.get("seed", "of the model"))),
            ("settings", _settings(about["params"])),
        ]
    if found is not None:
        rows += [
            (
                "evaluation",
                f"{100 * float(found['held_out']):g} % held out, seeds {', '.join(map(str, found['seeds']))}",
            ),
            ("settings of the evaluation", _settings(found["params"], about)),
        ]
    limits = adata.uns.get(_keys.QUALITY, {}).get("limits", {})
    return [*rows, ("quality control", _settings(limits))]


def _settings(params: Any, like: Any = None) -> str:
    if like is not None and dict(like["params"]) == dict(params):
        return "the same"
    return ", ".join(f"{name} {value}" for name, value in params.items())
