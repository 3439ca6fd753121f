"""Compare methods on data sets, protocols and seeds: rows of results, one method after another."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from gnnimpute import io
from gnnimpute._inputs import counts_of, say_source
from gnnimpute._judge import Budget, Case, Protocol, failed, told
from gnnimpute._paired import CellLosses
from gnnimpute._progress import Progress
from gnnimpute._quality import check_limits
from gnnimpute._results import Results, Run, settings_of
from gnnimpute._resume import check_same_counts, check_same_size, checksum, is_done

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anndata import AnnData

    from gnnimpute._orientation import Orientation
    from gnnimpute._peers import Method
    from gnnimpute._results import Row

    Data = Mapping[str, "Path | AnnData"] | Sequence[Path]

_log = logging.getLogger(__name__)


def run(
    data: Data,
    *,
    methods: Sequence[Method],
    protocols: Sequence[Protocol] = (Protocol("thin", 0.1),),
    seeds: Sequence[int] = (0,),
    out: Path | None = None,
    cells: Path | None = None,
    budget: Budget = Budget(),  # noqa: B008 -- frozen
    retry: bool = False,
    layer: str | None = None,
    orientation: Orientation | None = None,
    quality: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Iterator[Row]:
    """Run methods, each in a process of its own, and judge them by what was hidden before anything else.

    This is a generator: what is not asked for is not done.

    Parameters
    ----------
    data
        Files that :func:`gnnimpute.io.read` reads, each called by its name without ending; or files or AnnData by name.
    methods
        From :func:`gnnimpute._adapters.built_in` and :func:`gnnimpute._adapters.peers`.
    protocols
        What is hidden.
    seeds
        Seeds of the hiding and of the methods.
    out
        CSV of the results, written after each method. What it holds already is not done again, unless the method was
        absent.
    cells
        CSV of the loss of each cell on its held-out molecules, for paired differences. What it lacks is done again.
    budget
        Time and threads of each method.
    retry
        Do again what failed or timed out.
    layer
        Layer of the raw counts; by default ``layers["counts"]`` if there is one, else `X`.
    orientation
        What rows x columns of a file are, as for :func:`gnnimpute.io.read`.
    quality
        Limits of :func:`gnnimpute.pp.prepare` that differ from its defaults.
    progress
        Draw a line that says what is running; by default, if stderr is a terminal.

    Yields
    ------
    A row for each method, estimate and metric, with the columns of `gnnimpute._results.COLUMNS`.

    Raises
    ------
    ValueError
        If data cannot be used, or `out` holds something else or other results under the same names.
    """
    quality = check_limits(quality or {})
    sources, results, losses = _by_name(data), Results(out), CellLosses(cells)
    cases = [_Place(*place) for place in product(sources, protocols, seeds)]
    runs = {place.run(method): method for place in cases for method in methods}
    todo = {
        one
        for one, method in runs.items()
        if not is_done(rows := results.of(one), method, quality=quality, retry=retry, out=out)
        or (rows[0]["status"] == "ok" and losses.lacks(one))
    }
    if len(todo) < len(runs):
        _log.info("%d of %d runs are in %s already", len(runs) - len(todo), len(runs), out)

    @lru_cache(maxsize=1)  # one at a time in memory
    def loaded(name: str) -> tuple[AnnData, dict[str, Any]]:
        adata = _read(name, sources[name], layer, orientation)
        return adata, {"layer": layer, "counts": checksum(adata.X)}

    for name in sources:  # before hours of work on the others
        if rows := results.about(name):
            check_same_counts(loaded(name)[1], rows, out)
    with Progress(len(todo), show=progress) as shown, TemporaryDirectory(prefix="gnnimpute-") as folder:
        for place in cases:
            title = f"{place.data} ({list(sources).index(place.data) + 1}/{len(sources)}), {place.protocol}"
            title += f", seed {place.seed}"
            if any(place.run(method) in todo for method in methods):
                shown.says(f"{title}: quality control")
                adata, origin = loaded(place.data)
                check_same_counts(origin, results.about(place.data), out)
                _log.info("%s", title)
                case = _case(adata, place, quality)
                if isinstance(case, Case):
                    rows = [row for method in methods for row in results.of(place.run(method))]
                    check_same_size(case.adata.shape, rows, out)
            for number, method in enumerate(methods, start=1):
                if (one := place.run(method)) in todo:
                    label = f"{number}/{len(methods)} {method.name}"
                    tick = shown.runs(f"{title}: {label}")
                    keep = partial(losses.add, one) if losses.wants(one) else None
                    rows = _rows(case, method, Path(folder), budget=budget, tick=tick, keep=keep)
                    results.add(one, [row | {"settings": _with(origin, row)} for row in rows])
                    level = logging.INFO if rows[0]["status"] == "ok" else logging.WARNING
                    _log.log(level, "  %s: %s", label, told(rows, place.protocol))
                    shown.done()
                yield from results.of(one)


class _Place(NamedTuple):
    """What is compared on."""

    data: str
    protocol: Protocol
    seed: int

    def run(self, method: Method) -> Run:
        return Run(self.data, self.protocol.kind, self.protocol.rate, self.seed, method.name)


def _by_name(data: Data) -> dict[str, Path | AnnData]:
    if isinstance(data, Mapping):
        return dict(data)
    named: dict[str, Path | AnnData] = {}
    for path in data:
        name = Path(path.name).stem
        if name in named:
            msg = f"{named[name]} and {path} have one name, {name!r}, in the results: rename one."
            raise ValueError(msg)
        if not path.exists():
            msg = f"There is no file {path}."
            raise FileNotFoundError(msg)
        named[name] = path
    return named


def _read(name: str, source: Path | AnnData, layer: str | None, orientation: Orientation | None) -> AnnData:
    """Names, and counts in `X`."""
    from anndata import AnnData

    adata = source if isinstance(source, AnnData) else io.read(source, orientation=orientation)
    try:
        counts = counts_of(adata, layer, allow_non_counts=None)
    except (KeyError, ValueError) as error:
        msg = f"{name}: {error.args[0]} A comparison needs raw counts: name their layer with --layer."
        raise ValueError(msg) from None
    say_source(adata, layer, counts)
    plain = AnnData(counts, obs=adata.obs[[]].copy(), var=adata.var.copy())  # mitochondrial genes may be told by `var`
    plain.obs_names, plain.var_names = plain.obs_names.astype(str), plain.var_names.astype(str)
    plain.obs_names_make_unique()
    plain.var_names_make_unique()
    return plain


def _case(adata: AnnData, place: _Place, quality: Mapping[str, Any] | None) -> Case | ValueError:
    """What methods get; or why there is nothing, as when too little is left for quality control."""
    try:
        return Case.make(adata, place.protocol, seed=place.seed, quality=quality)
    except ValueError as error:
        return error


def _rows(case: Case | ValueError, method: Method, folder: Path, **options: Any) -> list[Row]:
    return failed(case, method) if isinstance(case, ValueError) else case.rows(method, folder, **options)


def _with(origin: dict[str, Any], row: Row) -> str:
    """Settings of a run, and the counts that it was judged on."""
    return json.dumps(settings_of(row) | origin)
