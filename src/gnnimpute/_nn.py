"""The network: an autoencoder of cells whose encoder attends to a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gnnimpute._graph_attention import GraphAttention
from gnnimpute._linear import Linear
from gnnimpute._local import LEVELS, Local

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from gnnimpute._config import Config
    from gnnimpute._sparse_rows import SparseRows


class Autoencoder(nn.Module):
    """Two graph attention layers to a latent of each cell, two linear layers back to its genes.

    The encoder reads log1p of normalised counts, or their projections on the directions of the linear part. Centring
    and scaling to unit variance are folded into the first layer, ``(x - mean) / sd @ W = x @ (W / sd) - (mean / sd) @
    W``, so that the rows stay sparse.

    Shapes: encode ``x`` (m, n_inputs), ``first`` (r, k), ``second`` (s, k) -> (s, n_latent); decode -> (s, n_genes),
    the logits of each gene's share of the cell, or (squared error) the expression itself. A latent that goes on with
    the components of the linear part, (s, n_latent + n_components), is decoded to the mean of both, times the factors
    of the groups that its cells belong to.
    """

    mean: Tensor
    scale: Tensor
    target_total: Tensor
    spread: Tensor
    there: Tensor | None

    def __init__(self, n_genes: int, config: Config) -> None:
        super().__init__()
        self.seen, self.is_normalized = 1.0, False  # of the rows that it reads: see `Rows`
        self.dropout_rate, self.n_latent, self.n_components = config.dropout_rate, config.n_latent, config.n_components
        self.is_share = config.loss != "squared_error"
        layer = {
            "n_heads": config.n_heads,
            "attention": config.attention,
            "temperature": config.temperature,
            "self_rate": config.self_rate,
            "dropout_rate": config.attention_dropout_rate,
        }
        self.reads_components = config.reads == "components"
        n_inputs = 2 * config.n_components if self.reads_components else n_genes
        self.attention1 = GraphAttention(n_inputs, config.n_hidden, **layer)  # type: ignore[arg-type]
        self.attention2 = GraphAttention(config.n_hidden, config.n_latent, **layer)  # type: ignore[arg-type]
        self.norm1 = nn.BatchNorm1d(config.n_hidden)
        self.norm2 = nn.BatchNorm1d(config.n_latent)
        self.expand = nn.Linear(config.n_latent, config.n_hidden)
        self.norm3 = nn.BatchNorm1d(config.n_hidden)
        self.out = nn.Linear(config.n_hidden, n_genes)
        if config.loss == "negative_binomial":
            self.log_dispersion = nn.Parameter(torch.zeros(n_genes))
        self.linear = Linear(n_genes, config.n_components) if config.n_components else None
        n_groups = LEVELS if config.n_components and self.is_share else ()
        self.levels = [Local(n, n_genes, config.n_components) for n in n_groups]  # the large groups first
        self.local = nn.ModuleList(self.levels)
        self.register_buffer("mean", torch.zeros(n_genes))
        self.register_buffer("scale", torch.ones(n_inputs))
        self.register_buffer("target_total", torch.ones(()))
        # Which genes are among the rows that it reads, 1 or 0 each, if not all are: (n_genes,).
        self.register_buffer("there", None, persistent=False)
        if not self.is_share:
            # Genes differ a thousandfold in expression: each is predicted in units of its own standard deviation.
            self.register_buffer("spread", torch.ones(n_genes))

    def encode(self, x: SparseRows | Tensor, first: Tensor, second: Tensor) -> Tensor:
        hidden = self.hidden(self.project(x), first)  # (r, C)
        return self.latent(self.attention2.project(hidden), second)

    @property
    def directions(self) -> Tensor:
        """Directions of the linear part that rows are projected on, (n_genes, n_inputs)."""
        return cast("Linear", self.linear).directions

    def project(self, x: SparseRows | Tensor) -> Tensor:
        weight = self.attention1.weight / self.scale[:, None]
        mean = cast("Linear", self.linear).along(self.mean) if self.reads_components else self.mean
        h = x @ weight - mean @ weight
        return h.view(len(h), self.attention1.n_heads, self.norm1.num_features)

    def hidden(self, h: Tensor, first: Tensor) -> Tensor:
        attended = self.attention1.gather(h, first, self.attention1.weights(h, first))
        return F.dropout(F.relu(self.norm1(attended)), self.dropout_rate, self.training)

    def latent(self, h: Tensor, second: Tensor) -> Tensor:
        attended = self.attention2.gather(h, second, self.attention2.weights(h, second))
        return F.dropout(F.relu(self.norm2(attended)), self.dropout_rate, self.training)

    @property
    def n_read(self) -> int:
        """Numbers that are read of a cell's own counts."""
        n_projected = 0 if self.reads_components else self.attention1.weight.shape[1]
        return n_projected + (self.linear.n_read if self.linear is not None and self._needs_line else 0)

    @property
    def _needs_line(self) -> bool:
        return self.reads_components or (self.linear is not None and self.linear.is_used)

    def read(self, x: SparseRows, depth: Tensor) -> Tensor:
        """All that a result takes of a cell's own counts, before its neighbours come in: (m, n_read)."""
        parts = [] if self.reads_components else [self.project(x).flatten(1)]
        if self.linear is not None and self._needs_line:
            parts.append(self.linear.read(x, depth))
        return torch.cat(parts, 1)

    def projected(self, read: Tensor) -> Tensor:
        """The first layer's projections, (m, H, C), from what was read."""
        if self.reads_components:
            return self.project(read[:, :-1])
        return read[:, : self.attention1.weight.shape[1]].reshape(len(read), self.attention1.n_heads, -1)

    def decode(self, latent: Tensor, genes: NDArray[np.int64] | slice = slice(None)) -> Tensor:
        decoded = self._decoded(latent, genes)
        return decoded.log() if self.is_share and self._is_mixed(latent) else decoded

    def expanded(self, latent: Tensor) -> Tensor:
        """What the last layer makes logits or expression of, (s, n_hidden)."""
        return F.relu(self.norm3(self.expand(latent[:, : self.n_latent])))

    def shares(
        self, latent: Tensor, genes: NDArray[np.int64] | slice = slice(None), log_normalizer: Tensor | None = None
    ) -> Tensor:
        """Share of each gene in each cell, (s, n_genes): what logits stand for; of some genes, given the normaliser."""
        decoded = self._decoded(latent, genes)
        if log_normalizer is not None:
            if self._is_mixed(latent):
                return decoded.div_(log_normalizer.exp()[:, None])
            return decoded.sub_(log_normalizer[:, None]).exp_()
        if not self._is_mixed(latent):
            decoded = decoded.softmax(1)
            if self.there is None:
                return decoded
        return decoded.div_(self.whole(decoded)[:, None])

    def whole(self, decoded: Tensor) -> Tensor:
        """Sum over the genes of each cell, (s,), that makes shares of what is decoded; of those there, over `seen`."""
        return decoded.sum(1) if self.there is None else decoded @ self.there / self.seen

    def with_normalizers(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """What one gene alone can be decoded from: the latent, and the logarithm of what is decoded in all, (s,)."""
        if not self.is_share:
            return latent, latent.new_zeros(len(latent))
        logits = self._own(latent)
        normalizer = logits.logsumexp(1)
        if self._is_mixed(latent):
            # The network's own has to stand in the latent: it is mixed with the linear part gene by gene.
            mixed = self._mixed((logits - normalizer[:, None]).exp(), latent)
            latent, normalizer = torch.cat([latent, normalizer[:, None]], 1), self.whole(mixed).log()
        elif self.there is not None:
            normalizer = normalizer + self.whole((logits - normalizer[:, None]).exp()).log()
        return latent, normalizer

    def _is_mixed(self, latent: Tensor) -> bool:
        """Whether the linear part has a say: its components then go on from the latent."""
        return latent.shape[1] > self.n_latent

    def _decoded(self, latent: Tensor, genes: NDArray[np.int64] | slice = slice(None)) -> Tensor:
        """Logits or expression; if the linear part has a say, what is proportional to shares instead of logits."""
        out = self._own(latent, genes)
        if not self._is_mixed(latent):
            return out
        if self.is_share:
            # Some genes alone do not know what the shares of all sum to: then it stands last in the latent.
            normalizer = latent[:, self.n_latent + self.n_components :]
            out = (out - normalizer).exp() if normalizer.shape[1] else out.softmax(1)
        return self._mixed(out, latent, genes)

    def _own(self, latent: Tensor, genes: NDArray[np.int64] | slice = slice(None)) -> Tensor:
        """Logits or expression, as the network has them by itself."""
        out = F.linear(self.expanded(latent), self.out.weight[genes], self.out.bias[genes])
        return out if self.is_share else F.relu(out) * self.spread[genes]

    def _mixed(self, out: Tensor, latent: Tensor, genes: NDArray[np.int64] | slice = slice(None)) -> Tensor:
        """The network's own shares or expression, with what the linear part and the groups of the cells have to say."""
        components, line = latent[:, self.n_latent :][:, : self.n_components], cast("Linear", self.linear)
        mixed = out.lerp(line(components, genes), line.weight)
        for factor in self.group_factors(components, genes):
            mixed *= factor
        return mixed

    def group_factors(self, components: Tensor, genes: NDArray[np.int64] | slice = slice(None)) -> Iterator[Tensor]:
        """What groups of cells multiply shares with, (s, n_genes), a level at a time."""
        return (level(components, genes) for level in self.levels if level.is_used)
