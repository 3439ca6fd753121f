"""Pictures of the same cells before and after imputation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _keys
from gnnimpute._sure import WIDTH_LEVEL
from gnnimpute.report._figure import BLUE, COLORS, GREY, ORANGE, Picture, blank, picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from gnnimpute.report._shown import Shown

N_GENES = 3
"""Genes that are shown without scripts."""
NARROWEST = 1e-3
"""Least width of an interval, in values, that is drawn."""
_UNIT = "log(1 + expression at the median total)"


def embeddings(shown: Shown) -> Iterator[Picture]:
    """Cells by group, where neighbours were found and where the network puts them."""
    where = [("before: principal components", shown.before)]
    if shown.after is not None:
        where.append(("after: latent of the network", shown.after))
    for title, places in where:
        figure, ax = blank()
        for group, tag in enumerate(shown.tags):
            x, y = places[shown.groups == group].T
            ax.scatter(x, y, s=4, color=COLORS[group % len(COLORS)], linewidths=0)
            if len(x):
                ax.annotate(tag, (np.median(x), np.median(y)), ha="center", fontsize=8, bbox=_BOX)
        _bare(ax)
        yield picture(figure, f"Cells by group, {title}", "t-SNE; each dot is a cell.", points=True)


def genes_placed(shown: Shown) -> Iterator[Picture]:
    """A few genes on the embedding, before and after."""
    chosen = _spread(shown.markers, N_GENES)
    counts, imputed = shown.counts(chosen), shown.imputed(chosen)
    if imputed is None:
        return
    for column, gene in enumerate(chosen):
        values = [np.log1p(matrix[:, column]) for matrix in (counts, imputed)]
        most = max(np.quantile(np.concatenate(values), 0.99), 1e-9)
        for name, value in zip(("counts", "imputed"), values, strict=True):
            figure, ax = blank(width=4.2, height=3.3)
            order = np.argsort(value)
            x, y = shown.before[order].T
            drawn = ax.scatter(x, y, c=value[order], s=4, vmin=0, vmax=most, cmap="cividis_r",
                               linewidths=0)  # fmt: skip
            figure.colorbar(drawn, ax=ax, label=_UNIT, shrink=0.8)
            _bare(ax)
            yield picture(figure, f"{gene}, {name}", "", points=True)


def pairs(shown: Shown) -> Iterator[Picture]:
    """Pairs of genes against each other, before and after."""
    chosen = shown.markers[:2] + _spread(shown.markers, 2)
    for x, y in dict.fromkeys(zip(chosen[::2], chosen[1::2], strict=False)):
        if x == y or (imputed := shown.imputed([x, y])) is None:
            continue
        figure, ax = blank()
        for name, values, color in (("counts", shown.counts([x, y]), GREY), ("imputed", imputed, BLUE)):
            logs = np.log1p(values)
            r = np.corrcoef(logs.T)[0, 1] if logs.std(axis=0).all() else np.nan
            ax.scatter(logs[:, 0], logs[:, 1], s=6, color=color, alpha=0.5, linewidths=0, label=f"{name}, r = {r:.2f}")
        ax.set(xlabel=f"{x}\n{_UNIT}", ylabel=f"{y}, same unit")
        ax.legend(frameon=False, fontsize=8, markerscale=2)
        caption = "What two imputed genes have in common is in part what the imputation gave both."
        yield picture(figure, f"{x} and {y}", caption, points=True)


def heat_maps(shown: Shown) -> Iterator[Picture]:
    """Markers in cells, sorted by group, all groups equally wide: of a small one each cell is wider."""
    if (imputed := shown.imputed(shown.markers)) is None:
        return
    drawn = shown.drawn
    width = 600 // len(drawn)
    cells = [np.flatnonzero(shown.groups == group) for group in drawn]
    order = np.concatenate([one[np.linspace(0, len(one) - 1, width).round().astype(int)] for one in cells])
    for name, values in (("counts", shown.counts(shown.markers)), ("imputed", imputed)):
        logs = np.log1p(values[order])
        figure, ax = blank(width=4.6, height=4.6)
        scaled = logs / np.maximum(logs.max(axis=0), 1e-9)
        image = ax.imshow(scaled.T, aspect="auto", cmap="cividis_r", vmin=0, vmax=1, interpolation="nearest")
        for edge in range(width, len(order), width):
            ax.axvline(edge - 0.5, color="white", linewidth=1)
        _grouped(ax, shown, (np.arange(len(drawn)) + 0.5) * width - 0.5)
        figure.colorbar(image, ax=ax, label="share of the gene's highest value, logs", shrink=0.7)
        caption = f"Cells in columns, genes that tell groups apart in rows; all groups equally wide. {_left_out(shown)}"
        yield picture(figure, f"Markers, {name}", caption, points=True)


def dot_plots(shown: Shown) -> Iterator[Picture]:
    """Mean of each marker in each group, and the share of cells that show it."""
    if len(shown.names) < 2 or (imputed := shown.imputed(shown.markers)) is None:
        return
    counts = shown.counts(shown.markers)
    detected, places = _by_group(counts > 0, shown), np.arange(len(shown.drawn))
    for name, values in (("counts", counts), ("imputed", imputed)):
        mean = _by_group(np.log1p(values), shown)
        mean /= np.maximum(mean.max(axis=0), 1e-9)
        figure, ax = blank(width=4.6, height=4.6)
        group, gene = np.nonzero(np.ones_like(mean))
        drawn = ax.scatter(group, gene, s=4 + 60 * detected[group, gene], c=mean[group, gene], cmap="cividis_r",
                           vmin=0, vmax=1, edgecolors="#999999", linewidths=0.4)  # fmt: skip
        _grouped(ax, shown, places)
        ax.invert_yaxis()  # as in the heat maps
        ax.set_xlim(-0.7, len(places) - 0.3)
        figure.colorbar(drawn, ax=ax, label="mean of logs, share of the gene's highest", shrink=0.7)
        caption = "Size: share of the group's cells whose counts show the gene. A dark small dot is a claim of the "
        yield picture(figure, f"Markers by group, {name}", f"{caption}imputation alone. {_left_out(shown)}")


def mean_variance(shown: Shown) -> Iterator[Picture]:
    """Variance of each gene against its mean, before and after."""
    names = _passing_sample(shown)
    if (imputed := shown.imputed(names)) is None:
        return
    figure, ax = blank()
    for name, values, color in (("counts", shown.counts(names), GREY), ("imputed", imputed, BLUE)):
        mean, variance = values.mean(axis=0), values.var(axis=0)
        ax.scatter(mean, np.maximum(variance, 1e-9), s=5, color=color, alpha=0.5, linewidths=0, label=name)
    line = np.geomspace(1e-3, max(values.mean(axis=0).max(), 1), 20)
    ax.plot(line, line, color=ORANGE, linewidth=1, label="counting noise alone")
    ax.set(xscale="log", yscale="log", xlabel="mean at the median total", ylabel="variance")
    ax.legend(frameon=False, fontsize=8, markerscale=2)
    caption = f"{len(names):,} genes. Counting noise is gone from imputed values: what is left is how far cells "
    yield picture(figure, "Mean and variance of genes", f"{caption}are said to differ.", points=True)


def dropouts(shown: Shown) -> Iterator[Picture]:
    """Zeros by the probability that another look at the same cell would have shown the gene."""
    names = _passing_sample(shown)
    if (imputed := shown.imputed(names)) is None or str((shown.about or {}).get("estimate")) == "detected":
        return
    zero = shown.counts(names) == 0
    chance, how = -np.expm1(-(imputed * shown.depth[:, None])[zero]), "1 - exp(-expected count) of each zero"
    if (redetection := _keys.redetection(shown.key)) in shown.adata.layers:
        chance, how = shown.plain_layer(redetection, names)[zero], "Probability of redetection of each zero"
    figure, ax = blank()
    ax.hist(chance, bins=list(np.linspace(0, 1, 41)), color=BLUE)
    ax.set(yscale="log", xlabel="probability that the gene would be seen", ylabel="zeros")
    likely = (chance > 0.5).mean()
    caption = (
        f"{how}, {len(names):,} genes. {likely:.1%} of the zeros are more likely "
        "dropouts than not; the rest is what so few molecules must look like, or no expression."
    )
    yield picture(figure, "Zeros by probability of dropout", caption)


def widths(shown: Shown, found: Mapping[str, Any] | None) -> Iterator[Picture]:
    """How sure values are: width of the intervals, gene by gene, of what was imputed or else of the evaluation."""
    names = _passing_sample(shown)
    lower, upper = (shown.layer(name, names) for name in (_keys.lower(shown.key), _keys.upper(shown.key)))
    imputed = shown.imputed(names)
    if lower is not None and upper is not None and imputed is not None:
        mean, level = imputed.mean(axis=0), float((shown.about or {})["interval"])
        width = np.median((upper - lower) / np.maximum(imputed, 1e-6), axis=0)
    elif found is not None and len(found.get("widths", ())):
        mean, width = (found["widths"][column].to_numpy() for column in ("mean", "width"))
        level = WIDTH_LEVEL
    else:
        return
    figure, ax = blank()
    ax.axhline(1, color=ORANGE, linewidth=1)
    ax.scatter(np.maximum(mean, 1e-6), np.maximum(width, NARROWEST), s=5, color=BLUE, linewidths=0)
    ax.set(xscale="log", yscale="log", xlabel="expression at the median total", ylabel="width of the interval / value")
    caption = (
        f"Each dot is a gene, in its median cell; intervals of {level:.0%}. Above 1, the value is not known to within "
        "itself. Where next to nothing is expected, few cells have any: the interval ends near 0, below the value, "
        "which is a mean."
    )
    yield picture(figure, "How sure values are", caption, points=True)


def _by_group(values: Any, shown: Shown) -> NDArray[np.float64]:
    return np.vstack([values[shown.groups == group].mean(axis=0) for group in shown.drawn])


def _grouped(ax: Axes, shown: Shown, places: NDArray[Any]) -> None:
    """Names of groups along one axis, of markers along the other."""
    tags = [shown.tags[group] for group in shown.drawn]
    slanted: dict[str, Any] = {"rotation": 90} if max(map(len, tags)) < 5 else {"rotation": 60, "ha": "right"}
    ax.set_xticks(places, tags, fontsize=7, **slanted)
    ax.set_yticks(range(len(shown.markers)), shown.markers, fontsize=7)


def _left_out(shown: Shown) -> str:
    """How many groups have no column."""
    n_drawn, n_groups = len(shown.drawn), len(shown.names)
    return (
        f"The {n_drawn} largest of {n_groups} groups; {n_groups - n_drawn} are left out." if n_drawn < n_groups else ""
    )


def _passing_sample(shown: Shown, most: int = 2000) -> list[str]:
    """Genes that are modelled, or some of them."""
    names = shown.adata.var_names[shown.adata.var["gnnimpute_pass"].to_numpy(dtype=bool)]
    return list(names[:: max(1, -(-len(names) // most))])


def _spread(names: list[str], most: int) -> list[str]:
    """Some names, from all over a list."""
    return [names[place] for place in np.linspace(0, len(names) - 1, min(most, len(names))).astype(int)]


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set(xlabel="t-SNE 1", ylabel="t-SNE 2")


_BOX = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1}
