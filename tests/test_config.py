"""Settings: those of the paper to the parameter, wrong ones refused by name, and plain values to store."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from gnnimpute import Config
from gnnimpute._nn import Autoencoder

PAPER_GENES = 13_003
"""Genes of the paper's PBMC set after quality control."""


def n_parameters(n_genes: int, config: Config) -> dict[str, int]:
    with torch.device("meta"):  # shapes alone: nothing is allocated
        return {name: p.numel() for name, p in Autoencoder(n_genes, config).named_parameters()}


def test_paper_has_the_parameters_of_the_paper() -> None:
    assert n_parameters(PAPER_GENES, Config.paper()) == {
        "attention1.weight": PAPER_GENES * 3 * 512,
        "attention2.weight": 512 * 3 * 50,
        "norm1.weight": 512,
        "norm1.bias": 512,
        "norm2.weight": 50,
        "norm2.bias": 50,
        "expand.weight": 50 * 512,
        "expand.bias": 512,
        "norm3.weight": 512,
        "norm3.bias": 512,
        "out.weight": 512 * PAPER_GENES,
        "out.bias": PAPER_GENES,
    }
    total = sum(n_parameters(PAPER_GENES, Config.paper()).values())
    assert total == 26_748_207
    assert round(total / 1e6, 2) == 26.75


def test_score_of_the_authors_code_adds_two_vectors_per_head_and_layer() -> None:
    dot = n_parameters(PAPER_GENES, Config.paper())
    additive = n_parameters(PAPER_GENES, Config.paper(attention="additive"))
    assert additive.items() - dot.items() == {
        ("attention1.own", 3 * 512),
        ("attention1.other", 3 * 512),
        ("attention2.own", 3 * 50),
        ("attention2.other", 3 * 50),
    }
    assert dot.items() <= additive.items()


def test_without_attention_there_is_one_head() -> None:
    mean = n_parameters(PAPER_GENES, Config.paper(attention="mean"))
    assert mean["attention1.weight"] == PAPER_GENES * 512
    assert mean["attention2.weight"] == 512 * 50


def test_negative_binomial_has_a_dispersion_per_gene() -> None:
    poisson, negative_binomial = (
        n_parameters(40, Config(loss=loss))
        for loss in ("poisson", "negative_binomial")  # type: ignore[arg-type]
    )
    assert negative_binomial.items() - poisson.items() == {("log_dispersion", 40)}


@pytest.mark.parametrize("n_heads", [1, 3, 5, 8])
def test_paper_takes_changes(n_heads: int) -> None:
    changed = Config.paper(n_heads=n_heads)
    assert changed == replace(Config.paper(), n_heads=n_heads)
    assert n_parameters(10, changed)["attention1.weight"] == 10 * n_heads * 512


@pytest.mark.parametrize(
    ("name", "value", "error", "text"),
    [
        ("attention", "cosine", ValueError, "choose one of 'dot', 'additive', 'mean'"),
        ("hide", "", ValueError, "choose one of 'molecules', 'nonzeros'"),
        ("loss", None, ValueError, "choose one of 'poisson', 'negative_binomial', 'squared_error'"),
        ("loss", ["poisson"], ValueError, "choose one of"),
        ("n_heads", 1.5, TypeError, "give a whole number"),
        ("n_heads", 2.0, TypeError, "give a whole number"),
        ("n_epochs", True, TypeError, "give a whole number"),
        ("n_epochs", "10", TypeError, "give a whole number"),
        ("learning_rate", "fast", TypeError, "give a number"),
        ("learning_rate", None, TypeError, "give a number"),
        ("dropout_rate", False, TypeError, "give a number"),
        ("n_hidden", 0, ValueError, "must lie between 1 and inf"),
        ("n_latent", -3, ValueError, "must lie between 1 and inf"),
        ("batch_size", -1, ValueError, "must lie between 0 and inf"),
        ("dropout_rate", 1.0, ValueError, "must lie between 0 and 0.95"),
        ("hide_rate", 0, ValueError, "must lie between 0.001 and 0.999"),
        ("hide_rate", 1, ValueError, "must lie between 0.001 and 0.999"),
        ("validation_rate", 0.6, ValueError, "must lie between 0.001 and 0.5"),
        ("learning_rate", -1e-3, ValueError, "must lie between 0 and inf"),
        ("learning_rate", float("nan"), ValueError, "must lie between 0 and inf"),
        ("learning_rate", float("inf"), ValueError, "must lie between 0 and inf"),
        ("weight_decay", float("inf"), ValueError, "must lie between 0 and inf"),
    ],
)
def test_wrong_settings_are_named_with_their_value(name: str, value: Any, error: type, text: str) -> None:
    with pytest.raises(error) as raised:
        Config(**{name: value})
    assert f"Config({name}={value!r})" in str(raised.value)
    assert text in str(raised.value)


def test_the_ends_of_a_range_are_allowed() -> None:
    for field in fields(Config):
        for end in (field.metadata["low"], field.metadata["high"]):
            if abs(end) != float("inf"):
                assert getattr(Config(**{"reads": "genes", field.name: end}), field.name) == end


def test_there_must_be_components_to_read() -> None:
    with pytest.raises(ValueError, match="has no components to read: add reads='genes'"):
        Config(n_components=0)


def test_a_whole_number_is_a_number() -> None:
    assert Config(learning_rate=1).learning_rate == 1


def test_positional_settings_are_refused() -> None:
    with pytest.raises(TypeError):
        Config(64)  # type: ignore[misc]


def test_settings_do_not_change() -> None:
    config = Config()
    with pytest.raises(FrozenInstanceError):
        config.n_heads = 5  # type: ignore[misc]
    assert config == Config()
    assert len({config, Config(), Config.paper()}) == 2


@pytest.mark.parametrize("config", [Config(), Config.paper(), Config(attention="mean", n_heads=7, learning_rate=1e-5)])
def test_settings_come_back_from_json(config: Config) -> None:
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert list(config.to_dict()) == [field.name for field in fields(Config)]


def test_missing_settings_are_named() -> None:
    stored = Config().to_dict()
    del stored["temperature"], stored["n_heads"]
    with pytest.raises(ValueError, match=r"Settings \['n_heads', 'temperature'\] are missing.*another version"):
        Config.from_dict(stored)


def test_unknown_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"Unknown settings \['a_head', 'heads'\].*another version"):
        Config.from_dict(Config().to_dict() | {"heads": 3, "a_head": 1})


def test_stored_settings_are_checked_too() -> None:
    with pytest.raises(ValueError, match=r"Config\(n_heads=0\)"):
        Config.from_dict(Config().to_dict() | {"n_heads": 0})


@pytest.mark.parametrize("field", fields(Config), ids=lambda field: field.name)
def test_each_setting_says_what_it_is(field: Any) -> None:
    about = field.metadata["about"]
    assert about.endswith(".")
    assert about[0].isupper()


def test_numbers_of_numpy_are_stored_as_plain_ones() -> None:
    config = Config(n_latent=np.int64(8), dropout_rate=np.float32(0.25))
    assert config == Config(n_latent=8, dropout_rate=0.25)
    assert type(config.n_latent) is int
    assert type(config.dropout_rate) is float
