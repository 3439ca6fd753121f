"""Impute a store that is larger than memory into another one; a run that was cut short is gone on with."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnimpute import _writers, io, pp, tl
from gnnimpute._atomic import alone, full_disk_named, replacing
from gnnimpute._blocks import BLOCK
from gnnimpute._imputer import GNNImputer
from gnnimpute._inputs import counts_of, require_key
from gnnimpute._lazy import read_lazy
from gnnimpute._named_groups import batches_of
from gnnimpute._result import check_key
from gnnimpute._stored_layer import FINISHED, Stored, write_layer

if TYPE_CHECKING:
    from anndata import AnnData

    from gnnimpute._config import Config, Estimate, Output

log = logging.getLogger(__name__)

MODEL, CHECKPOINT, STORE, RUN = "model.safetensors", "checkpoint", "store.zarr", "run.json"
TRAINED = "trained.safetensors"
"""The model, while the rest is made anew with other options."""


def impute_store(
    source: Path,
    out: Path,
    *,
    config: Config,
    estimate: Estimate,
    output: Output,
    key: str,
    stored: Stored,
    prepare: dict[str, Any],
    fit: dict[str, Any],
    model: Path | None = None,
    save_model: Path | None = None,
    unique_names: bool = False,
    overwrite: bool = False,
) -> AnnData:
    """Prepare, train and impute `source` a few thousand cells at a time, and write the whole object to `out`.

    What is done is kept in a hidden folder beside `out`, which becomes `out` at the end: the same call goes on where an
    earlier one was interrupted or killed, and gives what that one would have given. With another `estimate`, `output`,
    `key` or `stored` what was trained is kept, and the rest is made anew.

    Parameters
    ----------
    source
        A ``.zarr`` or ``.h5ad``, by cells.
    out
        A ``.zarr``.
    config
        Settings of the network and its training.
    estimate, output, key
        As for :func:`gnnimpute.tl.impute`.
    stored
        How the layer is stored.
    prepare
        Options of :func:`gnnimpute.pp.prepare`; empty if `source` has been prepared.
    fit
        Options of :func:`gnnimpute.tl.fit`.
    model
        A saved model to use instead of training one.
    save_model
        File to save the model to, with what it keeps of the cells.
    unique_names
        Number names that cells, or genes, have in common.
    overwrite
        Replace `out`.

    Returns
    -------
    What `out` holds, its matrices as Dask arrays.

    Raises
    ------
    FileExistsError
        If an unfinished run that trains otherwise, or of a source that has changed since, is in the way, or a run that
        is under way.
    KeyError
        If the layer, the batch column or the embedding does not exist.
    ValueError
        If `key` is the name of something else.
    OSError
        If the disk has not enough space for the result.
    """
    io.check_writable(out, overwrite=overwrite)
    final = _writers.target(out)
    work = final.with_name(f".{final.name}.unfinished")
    with alone(work.with_name(f"{work.name}.lock"), str(out)):  # beside the folder, which may be made anew
        io.check_writable(out, overwrite=overwrite)  # another run may have ended in between
        adata = io.read(source, lazy=True, unique_names=unique_names)
        check_key(adata, key)
        _check_keys(adata, prepare, fit)
        announce(adata, out, config=config, stored=stored, n_there=_size_of(work / STORE / "layers" / key))
        _begin(work, source, adata, {
            "config": config.to_dict(), "estimate": estimate, "output": output, "key": key, "model": str(model),
            "stored": stored._asdict(), "prepare": _that_matter(prepare), "fit": _that_matter(fit),
            "unique_names": unique_names,
        })  # fmt: skip
        kept = f"What is done is kept in {work}: the same command goes on from there"
        try:
            with full_disk_named(out, f"{kept}, once there is space."):
                if not (work / MODEL).exists():
                    _learn(adata, work, config=config, model=model, prepare=prepare, fit=fit,
                           impute={"estimate": estimate, "output": output, "key_added": key})  # fmt: skip
                adata = read_lazy(work / STORE)  # which, unlike io.read, logs no path
                fitted = GNNImputer.load(work / MODEL, device=fit.get("device"))
                write_layer(adata, work / STORE, fitted, key=key, stored=stored)
        except KeyboardInterrupt:
            log.warning("%s.", kept)
            raise
        if save_model is not None:
            with replacing(save_model) as beside:
                shutil.copyfile(work / MODEL, beside)
        _finish(work, final)
    return io.read(out, lazy=True)


_HARMLESS = {"progress", "device", "checkpoint"}
"""Options that change no result."""
_AFTER_TRAINING = {"estimate", "output", "key", "stored"}
"""Options that change no training."""


def _that_matter(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in options if name not in _HARMLESS}


def _check_keys(adata: AnnData, prepare: dict[str, Any], fit: dict[str, Any]) -> None:
    """Refuse names that do not exist before anything is begun; all else is checked where it is used."""
    counts_of(adata, fit.get("layer"), allow_non_counts=True)
    for options in (prepare, fit):
        if (batch_key := options.get("batch_key")) is not None:
            batches_of(adata, batch_key)
    if (use_rep := fit.get("use_rep")) is not None:
        require_key(adata, "obsm", use_rep)


def announce(adata: AnnData, out: Path, *, config: Config, stored: Stored, n_there: int = 0) -> None:
    """Say how much disk and memory the run will take, before it does; refuse what the disk cannot hold.

    `n_there` are the bytes that an unfinished run has written of the layer.
    """
    n_obs, n_vars = adata.shape
    disk = n_obs * n_vars * np.dtype(stored.dtype).itemsize
    block = 4.0 * BLOCK * n_vars
    cells = 8.0 * n_obs * (config.n_hidden * config.n_heads + 64)  # with the components and neighbours of each
    training = 2e9 * min(n_obs, config.most_cells) / 32_768
    log.info(
        "%d cells x %d genes: the layer of %s takes up to %s on disk, before compression, the run about %s of memory.",
        *(n_obs, n_vars, out, _writers.size(disk), _writers.size(1e9 + max(training, 12 * block) + cells)),
    )
    if stored.sparse_below is None:
        smaller = "store it smaller (--dtype float16, or --sparse-below)"
        _writers.check_space(out, disk / 4 - n_there, smaller=smaller)


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _begin(work: Path, source: Path, adata: AnnData, options: dict[str, Any]) -> None:
    """Make the folder, or see that it is of the same run."""
    about = {"source": str(source.resolve()), "shape": adata.shape, "last change of the source": _changed(source)}
    run = json.loads(json.dumps({**about, **options}, default=str))
    begun = {name for name in (CHECKPOINT, STORE, MODEL) if (work / name).exists()}
    finished = MODEL in begun and STORE not in begun  # it has become the result; the rest was about to be removed
    if finished or not begun or not (work / RUN).exists():  # nothing to go on from, whatever the options were
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
    else:
        earlier = json.loads((work / RUN).read_text())
        different = [name for name in run if earlier.get(name) != run[name]]
        if not _AFTER_TRAINING.issuperset(different):
            msg = (
                f"{work} holds an unfinished run of other options or counts (different: {', '.join(different)}). "
                f"Repeat the command of that run to finish it, or begin anew without it: rm -r {shlex.quote(str(work))}"
            )
            raise FileExistsError(msg)
        if different and MODEL in begun:
            (work / MODEL).replace(work / TRAINED)
        log.info("Going on with the unfinished run in %s.", work)
    with replacing(work / RUN) as beside:
        beside.write_text(json.dumps(run))


def _changed(source: Path) -> str:
    """Mark of the file, or of all files of the store, that changes if any is written, replaced, added or removed.

    Names, sizes and times of last writing are looked at, and no content: of a million cells, some thousand files.
    """
    inside = (Path(folder, name) for folder, _, names in os.walk(source, followlinks=True) for name in names)
    mark = hashlib.sha256()
    for path in [source] if source.is_file() else sorted(inside):
        status = path.stat()
        mark.update(os.fsencode(f"{path.relative_to(source)} {status.st_size} {status.st_mtime_ns}\n"))
    return mark.hexdigest()


def _learn(
    adata: AnnData,
    work: Path,
    *,
    config: Config,
    model: Path | None,
    prepare: dict[str, Any],
    fit: dict[str, Any],
    impute: dict[str, Any],
) -> None:
    """All but the layer: written to the store, and the model, which is there if all of this is done."""
    if prepare:
        pp.prepare(adata, **prepare)
    check_key(adata, impute["key_added"])  # nor what was prepared may be replaced
    if (trained := work / TRAINED).exists():
        model = trained
    if model is None:
        imputer = tl.fit(adata, config=config, **{**fit, "checkpoint": work / CHECKPOINT})
    else:
        imputer = GNNImputer.load(model, device=fit.get("device"))
    graph = {name: fit[name] for name in fit if name not in {"rng", "checkpoint", "progress", "device"}}
    tl.impute(adata, imputer=imputer, **impute, **graph)
    del adata.layers[impute["key_added"]]
    (work / FINISHED).unlink(missing_ok=True)
    shutil.rmtree(work / STORE, ignore_errors=True)
    _writers.write_zarr(adata, work / STORE)
    imputer.save(work / MODEL)


def _finish(work: Path, final: Path) -> None:
    old = work / "old"
    if final.exists():
        final.rename(old)
    (work / STORE).rename(final)
    (work / RUN).unlink()  # first: what is left of the folder, if this is cut short, is then not gone on with
    shutil.rmtree(work, ignore_errors=True)
