"""What people pass by mistake for arguments that many functions take: refused in words, before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData

import gnnimpute as gi
from gnnimpute._arguments import check_config, check_imputer, check_level, check_rng, check_seeds, check_whole


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"n_epochs": 2}, r"config=\{'n_epochs': 2\} is a dict, .*config=gi\.Config\(n_epochs=2\)"),
        ({}, r"config=\{\} is a dict, .*config=gi\.Config\(\)"),
        (gi.Config, r"config=gi\.Config is the class: .*config=gi\.Config\(\)"),
        ("paper", "config='paper' is a str, not a gi.Config"),
        (None, "config=None is a NoneType"),
    ],
)
def test_what_is_no_config(config: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        check_config(config)


def test_a_config_may_be_left_out_where_the_estimate_says_which() -> None:
    check_config(gi.Config())
    check_config(None, may_be_none=True)


@pytest.mark.parametrize(
    ("imputer", "said"),
    [
        ("m.safetensors", r"is a path: load it, imputer=gi\.GNNImputer\.load\('m\.safetensors'\)"),
        (Path("m.safetensors"), r"imputer=gi\.GNNImputer\.load\('m\.safetensors'\)"),
        (gi.GNNImputer, "is no imputer: make one with gi.tl.fit"),
        (3, "imputer=3 is no imputer"),
    ],
)
def test_what_is_no_imputer(imputer: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        check_imputer(imputer)
    check_imputer(gi.GNNImputer())


@pytest.mark.parametrize(("rng", "error"), [(-1, ValueError), ("a", TypeError), (1.5, TypeError)])
def test_what_is_no_seed(rng: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"rng={rng!r}: give a seed, which is a whole number from 0 up"):
        check_rng(rng)


def test_seeds_and_generators_pass() -> None:
    for rng in (0, np.int64(3), None, np.random.default_rng(0), np.random.SeedSequence(0)):
        check_rng(rng)


@pytest.mark.parametrize(
    ("seeds", "error", "said"),
    [
        (3, TypeError, r"seeds=3 is no list of seeds: give one, such as seeds=\[0, 1, 2\]"),
        ("ab", TypeError, r"such as seeds=\[0, 1\]"),
        ((), ValueError, "empty"),
        ([0, -1], ValueError, "seeds has -1 in it"),
        ([0, 0.5], ValueError, "seeds has 0.5 in it"),
    ],
)
def test_what_are_no_seeds(seeds: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        check_seeds(seeds)
    check_seeds(range(2))
    check_seeds(np.array([4]))


def test_what_is_no_whole_number() -> None:
    check_whole(n=np.int32(5))
    with pytest.raises(TypeError, match=r"n=5\.5: give a whole number"):
        check_whole(m=3, n=5.5)


@pytest.mark.parametrize(("level", "error"), [(90, ValueError), (0, ValueError), ("x", TypeError)])
def test_what_is_no_probability_is_refused_by_the_name_that_it_was_given(level: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"interval={level!r}: give the probability"):
        check_level(level, "interval")
    check_level(0.9)


@pytest.mark.parametrize("function", [gi.tl.fit, gi.tl.impute, gi.tl.evaluate, gi.tl.tune])
@pytest.mark.parametrize("config", [{}, gi.Config], ids=["dict", "class"])
def test_configs_are_looked_at_before_anything_else(function: Any, config: Any) -> None:
    with pytest.raises(TypeError, match="config="):
        function(AnnData(np.ones((3, 4))), config=config)


def test_an_imputer_is_made_of_a_config() -> None:
    with pytest.raises(TypeError, match=r"make one, config=gi\.Config\(n_epochs=2\)"):
        gi.GNNImputer({"n_epochs": 2})


@pytest.mark.parametrize("function", [gi.pp.prepare, gi.tl.fit, gi.tl.impute, gi.tl.tune])
def test_seeds_are_looked_at_before_anything_else(function: Any) -> None:
    with pytest.raises(TypeError, match=r"rng=1\.5"):
        function(AnnData(np.ones((3, 4))), rng=1.5)


def test_imputers_are_looked_at_before_anything_else() -> None:
    adata = AnnData(np.ones((3, 4)))
    for call in (
        lambda path: gi.tl.impute(adata, imputer=path),
        lambda path: gi.tl.explain(adata, "0", "0", imputer=path),
        lambda path: gi.tl.drivers(adata, "type", imputer=path),
    ):
        with pytest.raises(TypeError, match="is a path: load it"):
            call("m.safetensors")


@pytest.mark.parametrize("name", ["n_neighbors", "n_pcs"])
def test_numbers_of_prepare_are_whole(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name}=5\.5: give a whole number"):
        gi.pp.prepare(AnnData(np.ones((3, 4))), **{name: 5.5})
