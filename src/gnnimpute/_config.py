"""Every hyper-parameter of the network and its training, once, with unit and reason."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, Literal, Self, get_args, get_type_hints

Attention = Literal["dot", "additive", "mean"]
Hide = Literal["molecules", "nonzeros"]
Loss = Literal["poisson", "negative_binomial", "squared_error"]
Reads = Literal["components", "genes"]
Estimate = Literal["mean", "detected", "posterior"]
Output = Literal["normalized", "counts", "log1p"]

MOST_TOLERANCE = 0.1
"""Training that stops while its loss falls faster has not begun."""


def _setting(default: Any, about: str, *, low: float = -math.inf, high: float = math.inf) -> Any:
    return field(default=default, metadata={"about": about, "low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Hyper-parameters of the network and of its training; the graph is data and has none here.

    `Config()` is the default of this package, chosen by held-out molecules; :meth:`Config.paper` is the network of
    :cite:t:`Xu2021`. ``metadata["about"]`` of each field says what it is: the command line shows the same text.
    """

    n_hidden: int = _setting(64, "Width of the hidden layers.", low=1)
    n_latent: int = _setting(32, "Dimensions of the latent representation of a cell.", low=1)
    n_components: int = _setting(
        50,
        "Dimensions of the linear part, in closed form; mixed with the network as held-out molecules say. "
        "0: the network alone, which then reads all genes (paper).",
        low=0,
    )
    reads: Reads = _setting(
        "components", "What the network reads of a cell: the components of the linear part, or all genes (paper)."
    )
    n_heads: int = _setting(1, "Attention heads of each layer, averaged.", low=1)
    attention: Attention = _setting(
        "dot", "Score between cells: dot (paper), additive (authors' code), or mean (GCN, no attention)."
    )
    temperature: float = _setting(
        100.0,
        "Attention scores are divided by this: higher is closer to the mean of the neighbours; 1: paper.",
        low=1e-6,
    )
    self_rate: float = _setting(
        30.0,
        "How many times as fast as its weights a layer learns how much more than its neighbours a cell says of itself; "
        "0: not at all (paper).",
        low=0,
        high=1000,
    )
    dropout_rate: float = _setting(0.1, "Share of hidden units dropped in training.", low=0, high=0.95)
    attention_dropout_rate: float = _setting(0.0, "Share of neighbours dropped in training.", low=0, high=0.95)
    hide: Hide = _setting("molecules", "What training hides and predicts: single molecules or whole non-zeros.")
    hide_rate: float = _setting(0.5, "Share of a batch's molecules or non-zeros that is hidden.", low=0.001, high=0.999)
    loss: Loss = _setting("poisson", "Loss on what was hidden: poisson, negative_binomial or squared_error (paper).")
    learning_rate: float = _setting(1e-2, "Peak learning rate of Adam.", low=0)
    weight_decay: float = _setting(1e-4, "Weight decay of Adam.", low=0)
    n_epochs: int = _setting(
        200,
        "Most epochs: passes over all cells. Training mostly stops by itself within ten; few cells take more.",
        low=1,
    )
    patience: int = _setting(
        2, "Epochs without a better validation loss, and at least 64 steps, after which training stops.", low=1
    )
    tolerance: float = _setting(
        1e-3,
        "Least share by which the validation loss must fall in that many epochs; a likelihood counts as 1 at least.",
        low=0,
        high=MOST_TOLERANCE,
    )
    averaging: float = _setting(
        0.98, "Weights are averaged over steps with this decay; 0 leaves it out.", low=0, high=0.9999
    )
    batch_size: int = _setting(
        0,
        "Cells in a step; 0: a 32nd of the cells, 32 to 512; of hidden non-zeros an eighth, 64 to 512. At "
        "least as many as there are cells: full batch, as far as a step then takes no more than 2 GiB.",
        low=0,
    )
    most_cells: int = _setting(
        32_768, "Most cells to train on: of more, a random sample. All cells are imputed.", low=2
    )
    validation_rate: float = _setting(
        0.05, "Share of molecules or non-zeros hidden from everything, for early stopping.", low=0.001, high=0.5
    )

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value, about = getattr(self, name), self.__dataclass_fields__[name].metadata
            if choices := get_args(hint):
                if value not in choices:
                    msg = f"Config({name}={value!r}): choose one of {', '.join(map(repr, choices))}."
                    raise ValueError(msg)
                continue
            if isinstance(value, bool) or not isinstance(value, Integral if hint is int else Real):
                msg = f"Config({name}={value!r}): give {'a whole number' if hint is int else 'a number'}."
                raise TypeError(msg)
            if not (math.isfinite(value) and about["low"] <= value <= about["high"]):
                msg = f"Config({name}={value!r}): must lie between {about['low']} and {about['high']}."
                raise ValueError(msg)
            if not isinstance(value, (int, float)):  # NumPy's, which JSON does not know
                object.__setattr__(self, name, hint(value))

        if self.reads == "components" and not self.n_components:
            msg = "Config(n_components=0) has no components to read: add reads='genes'."
            raise ValueError(msg)

    @classmethod
    def paper(cls, **changes: Any) -> Self:
        """The network and training of the paper, to the parameter: 26.75 M at 13,003 genes.

        Parameters
        ----------
        **changes
            Settings that are to differ from the paper's.
        """
        settings: dict[str, Any] = {
            "n_hidden": 512,
            "n_latent": 50,
            "n_components": 0,
            "reads": "genes",
            "n_heads": 3,
            "attention": "dot",
            "temperature": 1.0,
            "self_rate": 0.0,
            "dropout_rate": 0.5,
            "attention_dropout_rate": 0.0,
            "hide": "nonzeros",
            "hide_rate": 0.1,
            "loss": "squared_error",
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "averaging": 0.0,
            "n_epochs": 3000,
            "patience": 200,
            "tolerance": 0.0,
            "batch_size": 1_000_000,  # the paper trains on all cells at once; so do we, up to 2 GiB a step
        }
        return cls(**(settings | changes))

    @classmethod
    def detected(cls, **changes: Any) -> Self:
        """For ``estimate="detected"``: learn the values of whole non-zeros that are hidden, by their squared error.

        The default learns how much cells express; what a dropout would have counted follows from that only as far as
        counts are Poisson. This learns it directly.

        Parameters
        ----------
        **changes
            Settings that are to differ.
        """
        settings: dict[str, Any] = {
            "n_hidden": 128,
            "reads": "genes",
            "self_rate": 0.0,
            "hide": "nonzeros",
            "hide_rate": 0.4,
            "loss": "squared_error",
            "learning_rate": 1e-2,
            "averaging": 0.995,
            "n_epochs": 100,
            "patience": 16,
            "tolerance": 2e-4,
        }
        return cls(**(settings | changes))

    @classmethod
    def of(cls, estimate: Estimate, **changes: Any) -> Self:
        """The settings that serve an estimate best.

        Parameters
        ----------
        estimate
            What is to be estimated.
        **changes
            Settings that are to differ.
        """
        return cls.detected(**changes) if estimate == "detected" else cls(**changes)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """Config from what :meth:`to_dict` gave.

        Parameters
        ----------
        settings
            Every setting. One that is missing, or that this version does not know, is a ValueError: a model must not
            change with the version that reads it.
        """
        if missing := sorted({f.name for f in fields(cls)} - settings.keys()):
            msg = f"Settings {missing} are missing: they come from another version of gnnimpute."
            raise ValueError(msg)
        if unknown := sorted(settings.keys() - {f.name for f in fields(cls)}):
            msg = f"Unknown settings {unknown}: they come from another version of gnnimpute."
            raise ValueError(msg)
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain numbers and strings."""
        return asdict(self)
