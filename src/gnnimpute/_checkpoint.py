"""Save a training and go on with it later, in a format that holds numbers only: loading never runs code."""

from __future__ import annotations

import json
import logging
import zlib
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from gnnimpute._atomic import check_ending, check_place, replacing
from gnnimpute._cells import Cells
from gnnimpute._config import Config
from gnnimpute._covarying import Covarying
from gnnimpute._nn import Autoencoder
from gnnimpute._prior import Average, Spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from gnnimpute._graph import NeighborGraph
    from gnnimpute._masking import Split
    from gnnimpute._training import Training

log = logging.getLogger(__name__)

_CSR = "data", "indices", "indptr"
_Arrays = TypeVar("_Arrays", Average, Cells, Spread)


def identity(split: Split, graph: NeighborGraph, config: Config) -> dict[str, Any]:
    """What must be equal for a run to go on; more epochs or patience are welcome."""
    settings = {k: v for k, v in config.to_dict().items() if k not in {"n_epochs", "patience", "tolerance"}}
    parts = [part for counts in split for part in (counts.data, counts.indices, counts.indptr)]
    return {
        "number of cells and genes": list(split.kept.shape),
        "counts or seed": _checksum(parts),
        "graph": _checksum([graph.indices]),
        **settings,
    }


def save(path: Path, state: Training, identity: dict[str, Any]) -> None:
    """Write all that is needed to go on: weights, best weights, optimiser, random states, history."""
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    tensors |= {f"optimizer.{name}": value for name, value in state.optimizer.tensors().items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if (device := state.network.mean.device).type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    about = {
        "identity": identity,
        "epoch": state.epoch,
        "best_loss": state.best_loss,
        "best_epoch": state.best_epoch,
        "history": state.history,
        "rng": _plain(state.rng.bit_generator.state),
        "n_steps": state.optimizer.n_steps,
    }
    write_tensors(path, tensors, about)


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a generator as JSON has it: some have arrays in it, which they take back as lists."""
    return {
        name: _plain(value) if isinstance(value, dict) else value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in state.items()
    }


def resume(path: Path, state: Training, identity: dict[str, Any]) -> None:
    """Go on from `path` if it exists; it must come from the same data and settings.

    Of several processes the first one reads it and tells the others: all go on from the same epoch and weights, also
    where a file of that name on another machine is an old one.
    """
    team = state.team
    read = team.told(_read(path) if team.is_first else None)
    if read is None:
        if not team.is_first and path.exists():
            msg = f"Process {team.rank} sees the checkpoint {path}, but process 0 does not: put it where all see it."
            raise FileNotFoundError(msg)
        return
    tensors, about = read
    if different := [name for name, value in identity.items() if about["identity"].get(name) != value]:
        msg = f"The checkpoint {path} belongs to another run (different: {', '.join(different)}). Name another file."
        raise ValueError(msg)
    state.network.load_state_dict(part(tensors, "network."))
    state.average.load_state_dict(part(tensors, "average."))
    state.best = part(tensors, "best.")
    state.optimizer.load(part(tensors, "optimizer."), about["n_steps"])
    state.epoch, state.best_loss, state.best_epoch = about["epoch"], about["best_loss"], about["best_epoch"]
    state.history = about["history"]
    state.rng.bit_generator.state = about["rng"]
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and (device := state.network.mean.device).type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)
    log.info("Going on from %s after epoch %d.", path, state.epoch)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """The checkpoint, if there is one."""
    check_checkpoint(path)
    return read_tensors(path, what="checkpoint") if path.exists() else None


def check_checkpoint(path: Path) -> None:
    """Raise OSError or ValueError for what cannot be gone on from, judged by the head of the file; it may be absent."""
    check_place(path)
    if path.exists() and "identity" not in read_about(path, what="checkpoint"):
        msg = (
            f"{path} is a saved model, not a checkpoint: load it with `GNNImputer.load` (--model), or name another "
            "file."
        )
        raise ValueError(msg)


def check_model(path: Path) -> None:
    """Raise OSError or ValueError for what is no saved model, judged by the head of the file."""
    if "identity" in read_about(path, what="model"):
        msg = (
            f"{path} is not a saved model but a checkpoint: pass it to `fit(checkpoint=)` (--checkpoint) to go on "
            "training."
        )
        raise ValueError(msg)


class Model(NamedTuple):
    """All that a fitted imputer has learnt."""

    config: Config
    genes: NDArray[np.str_]
    network: Autoencoder
    spread: Spread | None
    average: Average | None
    covarying: Covarying
    history: dict[str, list[float]]
    best_epoch: int
    origin: dict[str, Any]
    cells: Cells | None = None


def save_model(path: Path, model: Model) -> None:
    """Write a model to one file, whose name ends in .safetensors: any other may be of a file of another kind."""
    check_place(path)
    check_ending(path, ".safetensors", what="a model")
    tensors = {f"network.{name}": value for name, value in model.network.state_dict().items()}
    tensors |= {f"covarying.{name}": torch.from_numpy(getattr(model.covarying.weights, name)) for name in _CSR}
    for kind, arrays in (("spread", model.spread), ("average", model.average), ("cells", model.cells)):
        if arrays is not None:
            tensors |= {f"{kind}.{name}": torch.from_numpy(values) for name, values in arrays._asdict().items()}
    about = {
        "version": model.origin.get("version", version("gnnimpute")),
        "config": model.config.to_dict(),
        "genes": model.genes.tolist(),
        "history": model.history,
        "best_epoch": model.best_epoch,
        "origin": model.origin,
    }
    write_tensors(path, tensors, about)


def load_model(path: Path) -> Model:
    """Read what :func:`save_model` wrote."""
    check_model(path)
    tensors, about = read_tensors(path, what="model")
    try:
        config = Config.from_dict(about["config"])
        with torch.random.fork_rng(devices=[]):  # weights are drawn before they are read
            network = Autoencoder(len(about["genes"]), config)
        network.load_state_dict(part(tensors, "network."))
        spread, average = _arrays(Spread, part(tensors, "spread.")), _arrays(Average, part(tensors, "average."))
        if (spread is None or average is None) and config.hide == "molecules":
            msg = "it has no spread of its genes, or no average of them"
            raise ValueError(msg)
        genes = np.asarray(about["genes"], dtype=str)
        csr = tuple(tensors[f"covarying.{name}"].numpy() for name in _CSR)
        covarying = Covarying(sp.csr_matrix(csr, 2 * genes.shape))
        cells = _arrays(Cells, part(tensors, "cells."))
        origin = {**about.get("origin", {}), "version": about["version"]}  # of what fitted it
        learnt = about["history"], about["best_epoch"], origin
        return Model(config, genes, network, spread, average, covarying, *learnt, cells)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        msg = f"{path} is not a model that this version of gnnimpute can read, or it is damaged: {error}"
        raise ValueError(msg) from error


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
    """Write tensors and a JSON description to one file, whole or not at all."""
    with replacing(path) as beside:
        # Contiguous copies: safetensors refuses tensors that share memory.
        own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        # Written by us: `save_file` gives the file to its owner alone, whatever the umask says.
        beside.write_bytes(to_bytes(own, metadata={"gnnimpute": json.dumps(about)}))


def read_tensors(path: Path, *, what: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote."""
    with _opened(path, what) as (file, about):
        return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118


def read_about(path: Path, *, what: str) -> dict[str, Any]:
    """Read the description alone."""
    with _opened(path, what) as (_, about):
        return about


@contextmanager
def _opened(path: Path, what: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    if not path.is_file():
        msg = f"There is no {what} at {path}."
        raise FileNotFoundError(msg)
    try:
        with safe_open(path, framework="pt") as file:
            yield file, json.loads((file.metadata() or {})["gnnimpute"])
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        msg = f"{path} is not a {what} of gnnimpute, or it is damaged ({error})."
        raise ValueError(msg) from error


def part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose name starts with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _arrays(kind: type[_Arrays], tensors: dict[str, torch.Tensor]) -> _Arrays | None:
    """A tuple of arrays, `None` if none was written."""
    return kind(**{name: values.numpy() for name, values in tensors.items()}) if tensors else None


def _checksum(arrays: list[NDArray[Any]]) -> int:
    checksum = 0
    for array in arrays:
        checksum = zlib.crc32(array.tobytes(), checksum)
    return checksum
