"""Arguments that many functions take: what is none is refused before any work, with the call that mends it."""

from __future__ import annotations

from numbers import Integral, Real
from os import PathLike
from typing import Any

from gnnimpute._config import Config


def check_config(config: Any, *, may_be_none: bool = False) -> None:
    """Raise TypeError for what is no `Config`, such as a dict of settings or the class."""
    if isinstance(config, Config) or (may_be_none and config is None):
        return
    if config is Config:
        msg = "config=gi.Config is the class: make settings of it, config=gi.Config()."
        raise TypeError(msg)
    given = config if isinstance(config, dict) and all(isinstance(name, str) for name in config) else {"n_epochs": 2}
    settings = ", ".join(f"{name}={value!r}" for name, value in given.items())
    msg = f"config={config!r} is a {type(config).__name__}, not a gi.Config: make one, config=gi.Config({settings})."
    raise TypeError(msg)


def check_imputer(imputer: Any) -> None:
    """Raise TypeError for what is no imputer, such as the path of one."""
    if isinstance(imputer, str | PathLike):
        msg = f"imputer={str(imputer)!r} is a path: load it, imputer=gi.GNNImputer.load({str(imputer)!r})."
        raise TypeError(msg)
    if isinstance(imputer, type) or not hasattr(imputer, "transform"):
        msg = f"imputer={imputer!r} is no imputer: make one with gi.tl.fit, or load it with gi.GNNImputer.load."
        raise TypeError(msg)


def check_rng(rng: Any) -> None:
    """Raise TypeError or ValueError for what is no seed."""
    is_whole = isinstance(rng, Integral)
    if int(rng) < 0 if is_whole else isinstance(rng, str | Real):
        msg = (
            f"rng={rng!r}: give a seed, which is a whole number from 0 up, or a generator of numpy.random.default_rng."
        )
        raise ValueError(msg) if is_whole else TypeError(msg)


def check_seeds(seeds: Any) -> None:
    """Raise TypeError or ValueError for what is no list of seeds, or an empty one."""
    if isinstance(seeds, Real | str):
        n_seeds = min(max(int(seeds), 1), 10) if isinstance(seeds, Integral) else 2
        msg = f"seeds={seeds!r} is no list of seeds: give one, such as seeds={list(range(n_seeds))}."
        raise TypeError(msg)
    if not len(seeds):
        msg = "seeds is empty: give one at least."
        raise ValueError(msg)
    if wrong := [seed for seed in seeds if not isinstance(seed, Integral) or seed < 0]:
        msg = f"seeds has {wrong[0]!r} in it: seeds are whole numbers from 0 up."
        raise ValueError(msg)


def check_whole(**numbers: Any) -> None:
    """Raise TypeError for what is no whole number, by its name."""
    for name, value in numbers.items():
        if not isinstance(value, Integral):
            msg = f"{name}={value!r}: give a whole number."
            raise TypeError(msg)


def check_level(level: Any, name: str = "level") -> None:
    """Raise TypeError or ValueError for what is no probability of an interval."""
    if not isinstance(level, Real) or not 0 < float(level) < 1:
        msg = f"{name}={level!r}: give the probability that an interval is to have, above 0 and below 1, such as 0.9."
        raise ValueError(msg) if isinstance(level, Real) else TypeError(msg)


def check_asked(*, config: Any, imputer: Any, rng: Any) -> None:
    """Raise TypeError or ValueError for what is none of these, and for settings beside an imputer, which has its own.

    `None` is left out.
    """
    check_config(config, may_be_none=True)
    check_rng(rng)
    if imputer is not None:
        check_imputer(imputer)
        imputer.summary()  # an error if it is not fitted
        if config is not None:
            msg = "imputer= is fitted, with its own settings: leave out config=, or fit another with gi.tl.fit."
            raise ValueError(msg)
