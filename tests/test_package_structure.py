"""The rules of the house: docs/design.md says why, and each fails here when it is broken."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from dataclasses import fields, is_dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gnnimpute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "gnnimpute"
FILES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path for path in SRC.rglob("*.py")
}
MODULES = sorted(FILES)
PUBLIC_MODULES = [name for name in MODULES if not re.search(r"(^|\.)_", name) and name != "cli"]  # cli: only commands

LAYERS = (
    # numpy and scipy only
    {
        "_arguments",
        "_atomic",
        "_blas",
        "_blocks",
        "_bootstrap",
        "_calibration",
        "_covarying",
        "_child",
        "_clusterings",
        "_config",
        "_false_signal",
        "_connectivities",
        "_counts",
        "_entries",
        "_genes",
        "_holdout",
        "_gain",
        "_tally",
    }
    | {"_keys", "_masking", "_molecules", "_names", "_processes", "metrics"},
    # torch starts here
    {"_adam", "_distributed", "_line", "_linear", "_linear_fit", "_linear_nonzeros", "_local", "_loss", "_nn"}
    | {"_device", "_directions", "_graph", "_graph_attention", "_multinomial", "_nearest", "_ridge", "_rows"}
    | {"_prior", "_prior_fit", "_sparse_rows", "_threads"},
    {"_abundant"}
    | {"_borrowed", "_cells", "_checkpoint", "_estimates", "_infer", "_local_fit", "_train", "_training", "_validation"}
    | {"_attribution", "_posterior_fit", "_uncertainty", "_values"},
    {"_imputer", "_labelled", "_on_demand", "_stream"} | {"_absent", "_interval", "_latent"},
    # AnnData starts here
    {
        "_cell_graph",
        "_components",
        "_controls",
        "_download",
        "_exchange",
        "_fit",
        "_impute",
        "_inputs",
        "_layers",
        "_marks",
        "_modelled",
        "_named_groups",
        "_prepare",
        "_orientation",
        "_published",
        "_quality",
        "_readers",
        "_blind",
        "_check",
        "_check_null",
        "_checks",
        "_evaluate",
        "_evaluated",
        "_groups",
        "_sure",
        "_trial",
        "_uses",
        "_verdict",
    }
    | {"_lazy", "_lazy_components", "_lazy_impute", "_sample", "_simulated", "_sparse_store", "_splat_params"}
    | {"_out_of_core", "_stored_layer"}
    | {"_result", "_split_counts", "_splatter", "_tables", "_tenx", "_writers", "datasets", "io", "pl", "pp", "tl"}
    | {"_canvas", "_pl_accuracy", "_pl_attention", "_pl_cells", "_pl_heatmap", "_pl_names"}
    | {"_drivers", "_explain", "_explanation", "_tune", "_value_parts"},
    # the package as users see it, and its commands
    {
        "_cli_explain",
        "_cli_impute",
        "_cli_out",
        "_cli_read",
        "_cli_tune",
        "__init__",
        "__main__",
        "_adapters",
        "_benchmark",
        "_benchmark_plots",
        "_benchmark_table",
        "_cli_benchmark",
    }
    | {
        "_cli_evaluate",
        "report",
        "report._before_after",
        "report._figure",
        "report._judged",
        "report._page",
        "report._shown",
        "report._went_in",
        "_cli_simulate",
        "_cli_store",
        "_command",
        "_describe",
        "_judge",
        "_methods",
        "_options",
        "_paired",
        "_peers",
        "_progress",
        "_results",
        "_resume",
        "cli",
    },
)
LAYER = {name: layer for layer, names in enumerate(LAYERS) for name in names}
ANNDATA_LAYER = 4

HEAVY = {"dask", "jinja2", "matplotlib", "numba", "pooch", "pynndescent", "scanpy", "sklearn", "torch", "zarr"}
TESTED_ELSEWHERE = {  # module: its test
    "__init__": "package_structure",
    "__main__": "cli",
    "_check": "checks",
    "_prepare": "pp",
    "_marks": "pp",
    "_clusterings": "metrics",
    "_check_null": "checks",
    "_evaluated": "evaluate",
    "_canvas": "pl",
    "_drivers": "explain",
    "_cli_explain": "explain",
    "_cli_impute": "cli",
    "_cli_read": "cli",
    "_cli_tune": "tune",
    "_explanation": "explain",
    "_fit": "tl",
    "_impute": "tl",
    "_keys": "tl",
    "_layers": "tl",
    "_local": "local_fit",
    "_nearest": "graph",
    "_pl_accuracy": "pl",
    "_pl_attention": "pl",
    "_pl_cells": "pl",
    "_pl_heatmap": "pl",
    "_pl_names": "pl",
    "_resume": "benchmark",
    "_splat_params": "splatter",
    "_cells": "on_demand",
    "_stored_layer": "out_of_core",
    "_stream": "lazy_impute",
    "_trial": "evaluate",
    "_latent": "imputer",
    "_value_parts": "explain",
    **{f"report.{name}": "report_page" for name in ("_before_after", "_judged", "_shown", "_went_in")},
    "report": "report_page",
}

each_module = pytest.mark.parametrize("module", MODULES)
each_public_module = pytest.mark.parametrize("module", PUBLIC_MODULES)


@cache
def source(module: str) -> str:
    return FILES[module].read_text(encoding="utf-8")


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(source(module))


def imports(module: str, *, at_run_time: bool = False) -> set[str]:
    """All that a module imports, wherever in it the import stands; its own package as `gnnimpute.<module>`."""
    nodes = list(ast.walk(tree(module)))
    if at_run_time:
        for_types = [n for n in nodes if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
        nodes = [n for n in nodes if n not in [inner for block in for_types for inner in ast.walk(block)]]
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = ".".join(filter(None, ["gnnimpute" if node.level else "", node.module]))
            found |= {f"{home}.{alias.name}" for alias in node.names} if home == "gnnimpute" else {home}
    return found


def own_imports(module: str, *, at_run_time: bool = False) -> set[str]:
    parts = [name.split(".") for name in imports(module, at_run_time=at_run_time)]
    names = {".".join(own[1:]) for own in parts if own[0] == "gnnimpute"}
    # `from gnnimpute.report._figure import blank` is the module `report._figure`; `from gnnimpute import Config` none.
    return {name if name in MODULES else "__init__" for name in names}


def third_party(module: str) -> set[str]:
    tops = {name.split(".", maxsplit=1)[0] for name in imports(module)}
    return tops - sys.stdlib_module_names - {"gnnimpute"}


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def public_callables() -> Iterator[tuple[str, Callable[..., object], str]]:
    """Dotted name, function or method, and docstring of all that a user may call."""
    homes = [(name, getattr(gnnimpute, name)) for name in gnnimpute.__all__ if name not in PUBLIC_MODULES]
    homes += [(f"{m}.{n}", getattr(getattr(gnnimpute, m), n)) for m in PUBLIC_MODULES for n in module_names(m)]
    for name, thing in homes:
        if inspect.isclass(thing):
            yield name, thing, inspect.getdoc(thing) or ""
            for method, function in inspect.getmembers(thing, inspect.isroutine):
                if not method.startswith("_") and is_ours(function):
                    yield f"{name}.{method}", function, inspect.getdoc(function) or ""
        elif inspect.isfunction(thing):
            yield name, thing, inspect.getdoc(thing) or ""


def is_ours(function: object) -> bool:
    return str(getattr(function, "__module__", "")).startswith("gnnimpute")


def module_names(module: str) -> list[str]:
    return list(getattr(gnnimpute, module).__all__)


def parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.name != "self"]


def documented(function: Callable[..., object], docstring: str) -> set[str]:
    """Parameters that a docstring describes: in their section, in a sentence, or with a method it points to."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", docstring, re.DOTALL | re.MULTILINE)
    lines = section.group(1).splitlines() if section else []
    names = {name.strip(" *") for line in lines if line[:1].strip() for name in line.split(",")}
    names |= set(re.findall(r"(?<!`)`(\w+)`(?!`)", docstring))
    if same := re.search(r"parameters as for :meth:`(\w+)`", docstring):
        # Methods that stand in a module of their own are the imputer's.
        name = function.__qualname__
        owner = getattr(gnnimpute, name.split(".")[0]) if "." in name else gnnimpute.GNNImputer
        names |= documented(function, inspect.getdoc(getattr(owner, same.group(1))) or "")
    if is_dataclass(function):
        text = "".join(inspect.getsource(cls) for cls in inspect.getmro(function) if is_ours(cls))
        below = re.findall(r'^    (\w+): .*\n    """', text, re.MULTILINE)
        names |= {f.name for f in fields(function) if f.metadata.get("about") or f.name in below}
    if inspect.isclass(function) and issubclass(function, tuple):
        names |= set(function._fields)  # a result: its fields are named, not called
    return names


# Layers


@each_module
def test_every_module_has_a_layer(module: str) -> None:
    assert module in LAYER, f"say in LAYERS where {module} belongs"


@each_module
def test_imports_point_downwards(module: str) -> None:
    upwards = {name for name in own_imports(module) if LAYER.get(name, 99) > LAYER.get(module, 99)}
    assert not upwards, f"{module} imports {upwards} from above"


def test_imports_run_in_no_circle() -> None:
    TopologicalSorter(
        {module: own_imports(module, at_run_time=True) for module in LAYER if module in MODULES}
    ).prepare()


@each_module
def test_lower_layers_know_no_anndata(module: str) -> None:
    if LAYER.get(module, 99) < ANNDATA_LAYER:
        assert not third_party(module) & {"anndata", "pandas", "scanpy"}
        assert "_keys" not in own_imports(module)


@each_module
def test_layer_0_knows_no_torch(module: str) -> None:
    if LAYER.get(module) == 0:
        assert "torch" not in third_party(module)


# Imports


@pytest.mark.parametrize("module", ["Config", "NeighborGraph", *PUBLIC_MODULES])
def test_import_is_light(module: str) -> None:
    loaded = run_python(
        "import sys, anndata; before = set(sys.modules)\n"
        f"import gnnimpute; gnnimpute.{module}\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    assert not set(loaded.split()) & (HEAVY - {"torch"} if module == "tl" else HEAVY)  # tl is nothing without torch


def test_help_of_the_command_line_is_light() -> None:
    loaded = run_python(
        "import sys\nfrom gnnimpute.cli import main\nsys.argv = ['gnnimpute', '--help']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "print('loaded:', *{name.split('.')[0] for name in sys.modules})"
    )
    # Each of these costs more than all that the help needs.
    assert not set(loaded.rpartition("loaded:")[2].split()) & (HEAVY | {"anndata", "numpy", "pandas", "scipy"})


def test_import_of_the_package_is_next_to_nothing() -> None:
    loaded = run_python("import sys; before = set(sys.modules); import gnnimpute; print(*set(sys.modules) - before)")
    # What asks packages for their versions costs more than all the rest.
    assert {name.split(".")[0] for name in loaded.split()} - sys.stdlib_module_names == {"gnnimpute"}
    assert "email" not in loaded


def test_declared_dependencies_are_those_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {re.split(r"[^\w-]", line)[0] for line in lines}
    imported = set().union(*map(third_party, MODULES))
    assert declared == {"scikit-learn" if name == "sklearn" else name for name in imported}


def test_the_oldest_versions_are_the_least_that_are_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    least = {re.sub(r"\[\w+\]", "", line).replace(">=", "==") for line in lines}
    oldest = {line for line in (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8").split() if "==" in line}
    assert {re.match(r"[\w-]+", line)[0] for line in least ^ oldest} == {"torch"}  # old ones bring CUDA


# Names


def test_public_names_of_the_package() -> None:
    assert gnnimpute.__all__ == sorted(gnnimpute.__all__)
    assert dir(gnnimpute) == gnnimpute.__all__
    assert set(PUBLIC_MODULES) <= set(gnnimpute.__all__)
    for name in gnnimpute.__all__:
        assert getattr(gnnimpute, name) is not None


def test_unknown_names_of_the_package_are_errors() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        gnnimpute.no_such_name  # noqa: B018


@each_public_module
def test_public_names_of_a_module(module: str) -> None:
    names = module_names(module)
    assert names == sorted(names)
    assert all(hasattr(getattr(gnnimpute, module), name) for name in names)
    defined = {n.name for n in tree(module).body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"}
    assert defined <= set(names), f"{module} has public names that __all__ lacks"


def test_public_names_are_in_the_docs() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").split()
    listed = {name for name in page if re.fullmatch(r"[\w.]+", name)}
    top = {name for name in gnnimpute.__all__ if name not in PUBLIC_MODULES and name != "__version__"}
    assert not (top | {f"{m}.{n}" for m in PUBLIC_MODULES for n in module_names(m)}) - listed


# Functions


@each_module
def test_three_positional_parameters_at_most(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef) and not (node.name.startswith("_") and node.name != "__init__"):
            positional = [a.arg for a in node.args.posonlyargs + node.args.args if a.arg not in {"self", "cls", "ctx"}]
            assert len(positional) <= 3, f"{module}.{node.name}: put a * after the third of {positional}"


def test_adata_comes_first() -> None:
    for name, function, _ in public_callables():
        takes = [p.name for p in parameters(function) if "AnnData" in str(p.annotation)]
        assert not takes or parameters(function)[0].name == "adata", f"{name} takes AnnData as {takes}"


def test_every_parameter_is_documented() -> None:
    missing = {
        name: lacking
        for name, function, docstring in public_callables()
        if (lacking := {p.name for p in parameters(function)} - documented(function, docstring)) or not docstring
    }
    assert not missing


# Size and tidiness


@each_module
def test_modules_and_functions_are_small(module: str) -> None:
    assert len(source(module).splitlines()) <= 250
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.body[0].lineno + 1
            lines -= len((ast.get_docstring(node, clean=False) or "").splitlines())
            assert lines <= 80, f"{module}.{node.name} has {lines} lines"


@each_module
def test_nothing_is_left_unfinished(module: str) -> None:
    assert not re.findall(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b", source(module))


@each_module
def test_no_private_constant_is_idle(module: str) -> None:
    names = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Name)]
    top = {id(name) for node in tree(module).body if isinstance(node, ast.Assign | ast.AnnAssign)
           for name in ast.walk(node) if isinstance(name, ast.Name)}  # fmt: skip
    made = {name.id for name in names if id(name) in top and isinstance(name.ctx, ast.Store) and name.id[0] == "_"}
    read = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    assert made - read - {"__all__", "__version__"} == set()


@each_module
def test_every_module_has_a_test(module: str) -> None:
    test = TESTED_ELSEWHERE.get(module, re.sub(r"\._?", "_", module.strip("_")))
    assert (ROOT / "tests" / f"test_{test}.py").is_file()


def test_types_are_shipped() -> None:
    assert (SRC / "py.typed").is_file()
