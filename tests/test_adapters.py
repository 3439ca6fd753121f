"""Finding methods: those of the package, and scripts with inline metadata."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnnimpute._adapters import built_in, chosen, metadata, peers, split_names
from gnnimpute._peers import Method

PYTHON = """# /// script
# requires-python = ">=3.11,<3.12"
# dependencies = ["magic-impute==3.0.0"]
#
# [tool.gnnimpute.methods]
# "MAGIC" = []
# "MAGIC, normalised" = ["--scale", "normalised"]
# ///
import sys
"""
R = """# /// script
# dependencies = ["SAVER", "Matrix"]
# [tool.gnnimpute]
# install = "R CMD INSTALL SAVER"
# [tool.gnnimpute.methods]
# "SAVER" = []
# ///
library(SAVER)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "magic.py").write_text(PYTHON)
    (tmp_path / "saver.R").write_text(R)
    (tmp_path / "install.py").write_text("import sys\n")
    (tmp_path / "README.md").write_text(PYTHON)
    (tmp_path / "shared").mkdir()
    return tmp_path


def test_peers_are_described_by_their_scripts(folder: Path) -> None:
    magic, normalised, saver = peers(folder)
    assert (magic.name, magic.arguments, magic.packages) == ("MAGIC", (), ())
    assert (normalised.name, normalised.arguments) == ("MAGIC, normalised", ("--scale", "normalised"))
    assert magic.adapter == folder / "magic.py"
    assert magic.install == f"python {folder / 'install.py'} magic"
    assert (saver.name, saver.packages, saver.install) == ("SAVER", ("SAVER", "Matrix"), "R CMD INSTALL SAVER")


def test_the_adapters_of_the_repository_can_be_read() -> None:
    home = Path(__file__).parents[1] / "benchmarks" / "peers"
    if not home.is_dir():
        pytest.skip("the adapters are not beside the tests")
    assert all(method.install for method in peers(home))


def test_folders_without_adapters(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere of adapters: clone the repository"):
        peers(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no adapter"):
        peers(tmp_path)


def test_names_must_be_unique(folder: Path) -> None:
    (folder / "other.py").write_text(PYTHON.replace('"MAGIC" = []', '"pca" = []'))
    with pytest.raises(ValueError, match=r"Two methods are called 'pca', in the package and .*other\.py"):
        peers(folder)


@pytest.mark.parametrize("arguments", ['"--scale"', "[1]", "true"])
def test_arguments_must_be_texts(folder: Path, arguments: str) -> None:
    (folder / "magic.py").write_text(PYTHON.replace("[]", arguments))
    with pytest.raises(ValueError, match="'MAGIC' must have a list of texts"):
        peers(folder)


def test_metadata_that_cannot_be_read(folder: Path) -> None:
    (folder / "magic.py").write_text(PYTHON.replace("[]", ""))
    with pytest.raises(ValueError, match=r"metadata of .*magic\.py is not TOML"):
        peers(folder)
    assert metadata(folder / "install.py") == {}


def test_methods_of_the_package() -> None:
    methods = {method.name: method for method in built_in({"n_epochs": 3})}
    assert methods["gnnimpute"].arguments == ("--config", '{"n_epochs": 3}')
    assert methods["gene mean"].arguments == ()
    assert all(method.is_installed() for method in methods.values())
    assert not any(method.arguments for method in built_in())


def test_choosing_methods() -> None:
    methods = built_in()
    assert chosen(methods, None) == methods
    assert [method.name for method in chosen(methods, ["pca", "Gene Mean ", "PCA"])] == ["PCA", "gene mean"]
    with pytest.raises(ValueError, match=r"no method 'gene means'\. Did you mean 'gene mean'.*--list"):
        chosen(methods, ["gene means"])
    with pytest.raises(ValueError, match=r"no method 'MAGIC'\. .*need --peers"):
        chosen(methods, ["PCA", "MAGIC"])
    with pytest.raises(ValueError, match="no method 'MAGIK'") as error:
        chosen([*methods, Method("MAGIC", (), Path("magic.py"))], ["MAGIK"])
    assert "--peers" not in str(error.value)


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        ([], []),
        (["PCA"], ["PCA"]),
        (["gnnimpute,PCA", "gene mean"], ["gnnimpute", "PCA", "gene mean"]),
        (["gnnimpute, no graph,gnnimpute"], ["gnnimpute, no graph", "gnnimpute"]),
        (["gnnimpute,No Graph, nothing,"], ["gnnimpute, No Graph", "nothing"]),
    ],
)
def test_names_hold_commas_too(texts: list[str], names: list[str]) -> None:
    assert split_names(texts, built_in()) == names
