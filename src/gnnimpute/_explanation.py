"""What led to one imputed value, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 8
"""Cells that the text names."""
LEAST_SHOWN = 0.005
"""Least weight of a gene's average that the text names."""


class LinearPart(NamedTuple):
    """What the linear part has to do with an imputed value, at the depth of the cell."""

    share: float
    """Its share in the expectation; the rest is the network's."""
    network: float
    """What the network alone expects."""
    value: float
    """What the linear part alone expects: the sum of the next three, or a floor of 5 % of the gene's mean."""
    typical: float
    """What it expects of a mean cell among mean cells."""
    own: float
    """What the cell's own counts, of all genes, add to that."""
    neighbors: float
    """What the plain mean of its neighbours adds: all have the same weight here."""
    group: float
    """What both are multiplied with, because cells of its group together show that much more or less of the gene."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why an imputed value is what it is; ``print`` it, or draw it with :func:`gnnimpute.pl.explain`.

    Expected values are on the scale of the cell's own depth, where its count is, unless they are called normalised.
    """

    cell: str
    """Name of the cell."""
    gene: str
    """Name of the gene."""
    count: float
    """What was counted of the gene in the cell."""
    total: float
    """All that was counted in the cell."""
    mean: float
    """What is expected there, by the network and the linear part together."""
    posterior: float
    """The same with all that is known: by `prior` and the cell's own count."""
    lower: float
    """Lower end of the interval."""
    upper: float
    """Upper end of the interval."""
    level: float
    """Probability that the expression lies in the interval."""
    redetection: float
    """Probability that another library of the cell, as deep, shows the gene; of a zero, that it is a dropout."""
    own_weight: float
    """Share of the cell's own counts, of all genes, in its latent, which the network decodes; the rest is its
    neighbours'."""
    own_pull: float
    """Share of the cell's own count of the gene in the posterior; the rest is `prior`."""
    target_total: float
    """Total that normalised values of the genes that are there are scaled to."""
    neighbors: pd.DataFrame
    """Cells that the network attends to, the heaviest first: ``weight`` in the cell's latent, ``count`` of the gene,
    ``total``, and ``normalized``, the count scaled to the median total."""
    linear: LinearPart | None
    """The linear part; None if it has no share."""
    given: float
    """What is expected, given the counts of genes that covary with it too."""
    covarying: pd.DataFrame
    """Genes that it covaries with beyond what the network knows, the heaviest first: ``weight``, ``count`` in the cell,
    and what was ``expected`` there."""
    average: float
    """What the gene shows on average in a cell of this depth."""
    average_weight: float
    """Share of `average` in `prior`: held-out molecules say how much of what is expected to believe."""
    prior: float
    """What the posterior starts from: `given`, with its share of `average`."""

    @property
    def neighbors_mean(self) -> float:
        """Mean of the neighbours' counts, weighted and scaled to the depth of the cell."""
        weight = self.neighbors["weight"]
        if not weight.sum():
            return 0.0
        scale = self.total / self.target_total
        return float((weight * self.neighbors["normalized"]).sum() / weight.sum() * scale)

    def __str__(self) -> str:
        detected = int((self.neighbors["count"] > 0).sum())
        lines = [
            f"{self.gene} in cell {self.cell}",
            f"  counted       {self.count:g} of the cell's {self.total:,.0f} molecules",
            f"  expected      {self.mean:.3g} at this depth ({self._normalized(self.mean):.3g} "
            f"normalised to {self.target_total:,.0f}){self._shares()}",
            *self._given(),
            f"  posterior     {self.posterior:.3g}, the cell's own count too; it pulls with {self.own_pull:.0%}",
            f"  interval      {self.lower:.3g} to {self.upper:.3g} with a probability of {self.level:.0%}",
            f"  another library of this cell, as deep, would show it with a probability of {self.redetection:.0%}"
            + (f": the zero is {self._verdict()}" if not self.count else ""),
            *self._line(),
            *(["The network has no share in this value; held-out molecules left it out."] if self._alone else []),
            f"In the network, what the cell is like comes to {self.own_weight:.0%} from its own counts, the rest from "
            f"{len(self.neighbors)} other cells:",
            f"  {detected} of them show {self.gene}; weighted and at the depth of this cell, {self.neighbors_mean:.3g}",
        ]
        for name, row in self.neighbors.head(SHOWN).iterrows():
            lines.append(f"  {row['weight']:6.1%}  {name}: {row['count']:g} of {row['total']:,.0f}")
        if (others := len(self.neighbors) - SHOWN) > 0:
            lines.append(f"  {self.neighbors['weight'].iloc[SHOWN:].sum():6.1%}  {others} more")
        return "\n".join(lines)

    @property
    def _alone(self) -> bool:
        """Whether the linear part alone makes the value."""
        return self.linear is not None and self.linear.share == 1

    def _normalized(self, value: float) -> float:
        return value * self.target_total / (self.total or 1.0)

    def _shares(self) -> str:
        if self.linear is None:
            return ", by the network"
        part = self.linear
        parts = ((part.share, "a linear prediction", part.value), (1 - part.share, "the network", part.network))
        said = ": " + ", ".join(f"{share:.0%} of {name}'s {value:.3g}" for share, name, value in parts)
        return f"{said}, times {part.group:.2f}" if part.group != 1 else said

    def _given(self) -> list[str]:
        lines = []
        if len(self.covarying):
            genes = "; ".join(
                f"{name} {row['count']:g} counted, {row['expected']:.2g} expected"
                for name, row in self.covarying.iterrows()
            )
            lines.append(f"  given others  {self.given:.3g}, by genes that covary with it: {genes}")
        if self.average_weight >= LEAST_SHOWN:
            lines.append(
                f"  prior         {self.prior:.3g}, with {self.average_weight:.0%} of its average at this depth, "
                f"{self.average:.3g}"
            )
        return lines

    def _line(self) -> list[str]:
        if self.linear is None:
            return []
        return [
            f"In the linear prediction, {self.linear.typical:.3g} for any cell of this depth, "
            f"{self.linear.own:+.2g} for this cell's own counts of all genes, "
            f"{self.linear.neighbors:+.2g} for the plain mean of its neighbours.",
            f"Cells of its group together show {self.linear.group:.2f} times what both expect of them.",
        ][: 1 if self.linear.group == 1 else 2]

    def _verdict(self) -> str:
        if self.redetection >= 0.5:
            return "more likely a dropout than not"
        return "unlikely a dropout" if self.redetection < 0.1 else "possibly a dropout"
