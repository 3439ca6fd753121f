from __future__ import annotations

import shutil
import signal
import stat
import time
from collections import namedtuple
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gnnimpute.io as gio

ENDINGS = [".h5ad", ".zarr", ".mtx", ".csv", ".csv.gz", ".tsv", ".tsv.gz"]
each_ending = pytest.mark.parametrize("ending", ENDINGS)


@pytest.fixture
def adata(counts):
    adata = AnnData(counts)
    adata.layers["gnnimpute"] = (counts * 0.5).toarray()
    return adata


def content(path):
    """All that is at a path: bytes of the file, or of each file of the folder."""
    if path.is_file():
        return path.read_bytes()
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def listed(folder):
    return [path.name for path in folder.iterdir()]


# Replacing


@each_ending
def test_what_exists_is_refused_then_replaced(tmp_path, adata, ending):
    path = tmp_path / f"out{ending}"
    gio.write(adata, path)
    before = content(path)
    with pytest.raises(FileExistsError, match=r"exists.*overwrite=True \(--overwrite\)"):
        gio.write(adata, path)
    assert content(path) == before
    adata.X = adata.X * 2
    adata.layers["gnnimpute"] *= 2
    gio.write(adata, path, overwrite=True)
    assert content(path) != before
    assert listed(tmp_path) == [path.name]


errors = [RuntimeError("cut"), KeyboardInterrupt(), OSError(28, "No space left on device")]


@each_ending
@pytest.mark.parametrize("error", errors, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("existing", [False, True])
def test_interrupted_write_leaves_all_as_it_was(tmp_path, adata, ending, error, existing, monkeypatch):  # noqa: PLR0917
    monkeypatch.setattr("gnnimpute._writers.BLOCK_VALUES", 700)
    path = tmp_path / f"out{ending}"
    if existing:
        gio.write(adata, path)
    before = content(path) if existing else None
    seen = []
    for name in ("write_h5ad", "write_zarr"):
        monkeypatch.setattr(AnnData, name, breaking(getattr(AnnData, name), error, seen))
    blocks = Breaks(adata.layers["gnnimpute"], error, seen)
    monkeypatch.setattr("gnnimpute.io._layer", lambda *_: blocks)
    with pytest.raises(TypeError if ending in WHOLE and type(error) is RuntimeError else type(error)):
        gio.write(adata, path, overwrite=True)
    assert seen  # it began
    assert listed(tmp_path) == ([path.name] if existing else [])
    if existing:
        assert content(path) == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer to interrupt with")
@pytest.mark.parametrize("after", [0.05, 0.1, 0.2])
def test_nothing_goes_on_writing_after_ctrl_c(tmp_path, adata, after):
    gio.write(adata, tmp_path / "out.zarr")  # what is imported first takes no part in the timing
    before = content(tmp_path / "out.zarr")
    many = np.random.default_rng(0).random((4000, 8000), dtype=np.float32)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        with pytest.raises(KeyboardInterrupt):
            gio.write(AnnData(many), tmp_path / "out.zarr", overwrite=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for _ in range(2):
        assert listed(tmp_path) == ["out.zarr"]
        time.sleep(0.5)
    assert content(tmp_path / "out.zarr") == before


def breaking(write, error, seen):
    """A writer of anndata that fails when the file is there, but not yet in its place."""

    def breaks(self, path, **settings):
        write(self, path, **settings)
        seen.append(path)
        raise error

    return breaks


class Breaks:
    """A layer that fails when its second block is written, after it has been looked through once."""

    def __init__(self, values, error, seen):
        self.values, self.shape, self.error, self.seen = values, values.shape, error, seen

    def __getitem__(self, rows):
        if rows.start == 0:
            self.seen.append(rows)
        elif len(self.seen) > 1:
            raise self.error
        return self.values[rows]


@each_ending
def test_what_was_there_comes_back_if_it_cannot_be_replaced(tmp_path, adata, ending, monkeypatch):
    path = tmp_path / f"out{ending}"
    gio.write(adata, path)
    before = content(path)
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda new, old: raises(KeyboardInterrupt()) if old == path else replace(new, old)
    )
    with pytest.raises(KeyboardInterrupt):
        gio.write(adata, path, overwrite=True)
    assert content(path) == before
    assert listed(tmp_path) == [path.name]


def test_clean_up_is_finished_if_it_is_interrupted(tmp_path, adata, monkeypatch):
    gio.write(adata, tmp_path / "out.zarr")
    rmtree, seen = shutil.rmtree, []

    def interrupted_once(folder, **settings):
        if not seen and Path(folder).name.startswith(".out.zarr."):  # zarr removes folders too
            seen.append(folder)
            raise KeyboardInterrupt
        rmtree(folder, **settings)

    monkeypatch.setattr("shutil.rmtree", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        gio.write(adata, tmp_path / "out.zarr", overwrite=True)
    assert listed(tmp_path) == ["out.zarr"]
    assert gio.read(tmp_path / "out.zarr").shape == adata.shape


def raises(error):
    raise error


@pytest.mark.parametrize(("ending", "inside"), [(".zarr", "thesis.txt"), (".mtx", "thesis.txt"), (".h5ad", None)])
def test_folders_of_other_things_are_never_replaced(tmp_path, adata, ending, inside):
    path = tmp_path / f"out{ending}"
    path.mkdir()
    if inside:
        (path / inside).write_text("years of work")
    with pytest.raises(FileExistsError, match=r"is a folder with .*, which is not replaced"):
        gio.write(adata, path, overwrite=True)
    assert path.is_dir()
    assert listed(path) == ([inside] if inside else [])


@pytest.mark.parametrize("ending", [".zarr", ".mtx"])
def test_a_file_is_not_replaced_by_a_folder_but_an_empty_folder_is(tmp_path, adata, ending):
    path = tmp_path / f"out{ending}"
    path.write_text("x")
    with pytest.raises(FileExistsError, match="is a file, which is not replaced"):
        gio.write(adata, path, overwrite=True)
    path.unlink()
    path.mkdir()
    gio.write(adata, path, overwrite=True)
    assert gio.read(path).shape == adata.shape


def test_a_link_stays_a_link(tmp_path, adata):
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "blob", tmp_path / "out.h5ad"
    link.symlink_to(real)
    gio.write(adata, link)
    assert link.is_symlink()
    assert gio.read(link).shape == adata.shape
    gio.write(adata, link, overwrite=True)
    assert listed(real.parent) == ["blob"]


@each_ending
def test_files_are_readable_by_others_as_any_file(tmp_path, adata, ending):
    (tmp_path / "usual").touch()
    path = tmp_path / f"out{ending}"
    gio.write(adata, path)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {stat.S_IMODE((tmp_path / "usual").stat().st_mode)}


# Before any work


def test_check_writable_passes_and_leaves_nothing(tmp_path):
    gio.check_writable(tmp_path / "out.h5ad", n_bytes=1000)
    assert not listed(tmp_path)


@pytest.mark.parametrize("name", ["out", "out.rds", "out.h5", "out.loom", "out.mtx.gz", "h5ad"])
def test_unknown_endings(tmp_path, adata, name):
    for attempt in (gio.check_writable, lambda path: gio.write(adata, path)):
        with pytest.raises(ValueError, match=r"Choose one of \.h5ad, \.zarr, \.mtx, \.csv"):
            attempt(tmp_path / name)


def test_missing_folder_and_file_as_folder(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("nowhere", "file"):
        with pytest.raises(FileNotFoundError, match=f"there is no folder {tmp_path / folder}.*mkdir"):
            gio.check_writable(tmp_path / folder / "out.h5ad")


@pytest.mark.parametrize("n_bytes", [230, 231])
def test_a_name_too_long_for_what_stands_beside_it_is_refused_before_any_work(tmp_path, adata, n_bytes):
    path = tmp_path / f"{'x' * (n_bytes - 7)}\u00e9.zarr"  # \u00e9 has two bytes
    if n_bytes == 230:
        gio.write(adata, path)
        assert listed(tmp_path) == [path.name]
        return
    with pytest.raises(ValueError, match="the name has 231 bytes, and 230 are the most"):
        gio.check_writable(path)


def test_unwritable_folder(tmp_path, monkeypatch):
    def refuses(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuses)  # root may write anywhere
    with pytest.raises(PermissionError, match=r"cannot be written to \(Permission denied\)"):
        gio.check_writable(tmp_path / "out.h5ad")


def test_write_protected_file(tmp_path, monkeypatch):
    (tmp_path / "out.h5ad").touch()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="write-protected"):
        gio.check_writable(tmp_path / "out.h5ad", overwrite=True)


@each_ending
def test_full_disk_is_seen_before_writing(tmp_path, adata, ending, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(2e9, 2e9 - 5000, 5000))
    with pytest.raises(OSError, match=r"needs about 0\.\d MB, but .* has 0\.0 MB free.* \(genes=, --genes\)\."):
        gio.write(adata, tmp_path / f"out{ending}")
    with pytest.raises(OSError, match=r"needs about 3\.2 GB, but"):
        gio.check_writable(tmp_path / f"out{ending}", n_bytes=3.2e9)
    assert not listed(tmp_path)


@pytest.mark.parametrize("ending", [".h5ad", ".mtx", ".csv", ".csv.gz"])
def test_estimated_size_is_about_right(tmp_path, ending, monkeypatch):
    values = np.random.default_rng(0).gamma(0.5, 1, size=(300, 400)).astype(np.float32)
    values[:, ::3] = 0
    adata = AnnData(sp.csr_matrix(values), layers={"gnnimpute": values})
    estimated = []
    monkeypatch.setattr("gnnimpute._writers.check_space", lambda _, n_bytes: estimated.append(n_bytes))
    path = tmp_path / f"out{ending}"
    gio.write(adata, path)
    written = path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())
    assert 0.7 < estimated[-1] / written < 1.5


@pytest.mark.parametrize("ending", [".mtx", ".csv"])
def test_missing_layer(tmp_path, adata, ending):
    with pytest.raises(KeyError, match=r"no layer 'gnimpute' to write.*'gnnimpute'"):
        gio.write(adata, tmp_path / f"out{ending}", key="gnimpute")
    assert not listed(tmp_path)


@pytest.mark.parametrize("ending", [".mtx", ".csv"])
@pytest.mark.parametrize("key", [None, "gnnimpute"], ids=["sparse", "dense"])
def test_lazy_layers_are_written_as_those_in_memory(tmp_path, adata, ending, key):
    gio.write(adata, tmp_path / "in.zarr")
    gio.write(gio.read(tmp_path / "in.zarr", lazy=True), tmp_path / f"lazy{ending}", key=key)
    gio.write(adata, tmp_path / f"out{ending}", key=key)
    assert content(tmp_path / f"lazy{ending}") == content(tmp_path / f"out{ending}")


# The whole object

WHOLE = (".h5ad", ".zarr")
each_whole = pytest.mark.parametrize("ending", WHOLE)


def same(one, other):
    assert np.isscalar(one) or type(one) is type(other)  # a number may come back as NumPy's
    if sp.issparse(one):
        one, other = one.toarray(), other.toarray()
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    else:
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype


def same_adata(one, other):
    assert list(one.obs_names) == list(other.obs_names)
    assert list(one.var_names) == list(other.var_names)
    same(one.X, other.X)
    for name in ("obs", "var"):
        same(getattr(one, name), getattr(other, name))
    for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        same(dict(getattr(one, name)), dict(getattr(other, name)))
    assert (one.raw is None) == (other.raw is None)
    if one.raw is not None:
        same(one.raw.X, other.raw.X)
        same(one.raw.var, other.raw.var)


names = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=6)
keys = st.sampled_from(["gnnimpute", "counts", "X_pca", "log1p", "Antibody Capture"])
leaves = (
    st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=8).map(str)
    | st.booleans().map(np.bool_)
    | st.integers(-(2**40), 2**40).map(np.int64)
    | st.floats(allow_nan=False).map(np.float64)
    | st.lists(st.floats(allow_nan=False), min_size=1, max_size=3).map(np.array)
)
uns = st.dictionaries(keys, leaves | st.dictionaries(keys, leaves, max_size=2), max_size=3)


@st.composite
def anndatas(draw):
    n_cells, n_genes = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 99)))

    def matrix(*shape):
        dtype = draw(st.sampled_from([np.float32, np.float64, np.int64]))
        make = draw(st.sampled_from([np.asarray, sp.csr_matrix, sp.csc_matrix]))
        return make(rng.poisson(0.7, shape).astype(dtype))

    def frame(n):
        index = draw(st.lists(names, min_size=n, max_size=n, unique=True))
        return pd.DataFrame(
            {"word": ["b", "a", "b", "c", "d"][:n], "kind": pd.Categorical(["x"] * n, ["x", "y"]), "n": np.arange(n)},
            index=index,
        )

    adata = AnnData(matrix(n_cells, n_genes), obs=frame(n_cells), var=frame(n_genes), uns=draw(uns))
    for part, shape in {
        "layers": (n_cells, n_genes),
        "obsm": (n_cells, 2),
        "varm": (n_genes, 3),
        "obsp": (n_cells, n_cells),
        "varp": (n_genes, n_genes),
    }.items():
        for key in draw(st.sets(keys, max_size=2)):
            getattr(adata, part)[key] = matrix(*shape)
    if draw(st.booleans()):
        adata.raw = AnnData(matrix(n_cells, n_genes), obs=adata.obs, var=adata.var)
    return adata


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(adata=anndatas(), ending=st.sampled_from(WHOLE))
def test_round_trip_and_nothing_brought_is_changed(adata, ending, tmp_path_factory):
    path = tmp_path_factory.mktemp("round_trip") / f"x{ending}"
    before = adata.copy()
    gio.write(adata, path)
    same_adata(adata, before)
    back = gio.read(path)
    same_adata(back, adata)
    other = path.with_suffix(".zarr" if ending == ".h5ad" else ".h5ad")
    gio.write(back, other)
    same_adata(gio.read(other), adata)


@each_whole
def test_text_with_gaps(tmp_path, adata, ending):
    adata.obs["some"] = ["x", None, np.nan] * 30
    adata.var["nullable"] = pd.array(["a", None, "b"] * 20, dtype="string")
    adata.raw = adata[:, :5]
    before = adata.obs["some"].copy()
    gio.write(adata, tmp_path / f"out{ending}")
    pd.testing.assert_series_equal(adata.obs["some"], before)
    back = gio.read(tmp_path / f"out{ending}")
    assert list(back.obs["some"].astype(object).fillna("gap")) == ["x", "gap", "gap"] * 30
    assert list(back.var["nullable"].fillna("gap")) == ["a", "gap", "b"] * 20
    assert back.raw.shape == (90, 5)
    np.testing.assert_array_equal(back.layers["gnnimpute"], adata.layers["gnnimpute"])


@each_whole
def test_views_and_files_on_disk_stay_what_they_are(tmp_path, adata, ending):
    view = adata[:10]
    gio.write(view, tmp_path / f"view{ending}")
    assert view.is_view
    assert gio.read(tmp_path / f"view{ending}").shape == (10, 60)
    adata.write_h5ad(tmp_path / "disk.h5ad")
    backed = anndata.read_h5ad(tmp_path / "disk.h5ad", backed="r")
    gio.write(backed, tmp_path / f"out{ending}")
    assert backed.isbacked
    assert backed.filename == tmp_path / "disk.h5ad"
    backed.file.close()
    same_adata(gio.read(tmp_path / f"out{ending}"), gio.read(tmp_path / "disk.h5ad"))


@each_whole
def test_sparse_blocks_do_not_count_as_dense_ones(tmp_path, rng, ending, monkeypatch):
    counts = sp.csr_matrix(rng.poisson(0.05, size=(300, 400)).astype(np.float32))
    adata = AnnData(counts, layers={"gnnimpute": rng.random((300, 400), dtype=np.float32)})  # of 0.48 MB
    gio.write(adata, tmp_path / "in.zarr")
    lazy = gio.read(tmp_path / "in.zarr", lazy=True)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(2e9, 2e9 - 7e5, 7e5))
    gio.write(lazy, tmp_path / f"out{ending}")
    same_adata(gio.read(tmp_path / f"out{ending}"), adata)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(2e9, 2e9 - 3e5, 3e5))
    with pytest.raises(OSError, match=r"needs about 0\.5 MB"):
        gio.write(lazy, tmp_path / f"again{ending}")


@each_whole
@pytest.mark.parametrize("odd", [{1: 2}, {"f": print}, {"s": {1, 2}}], ids=["key", "function", "set"])
def test_what_the_format_cannot_hold(tmp_path, adata, ending, odd):
    adata.uns = {"mine": odd}
    with pytest.raises(TypeError, match=r"cannot hold something: .*key .*mine.*Convert it or delete it"):
        gio.write(adata, tmp_path / f"out{ending}")
    assert not listed(tmp_path)


def test_duplicate_names_are_written_without_noise(tmp_path, adata):
    adata.var_names = ["a"] * 60
    for ending in ENDINGS:
        gio.write(adata, tmp_path / f"out{ending}")
