"""How the pages are built: `make docs`."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING

import gnnimpute

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "gnnimpute"
author = "The gnnimpute developers"
copyright = "2026, the gnnimpute developers"  # noqa: A001
release = gnnimpute.__version__
version = release.split("+", maxsplit=1)[0]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "sphinxcontrib.programoutput",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
add_module_names = False

bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"

# Links to other projects need a network; a build without one must not fail.
intersphinx_mapping = (
    {
        "anndata": ("https://anndata.readthedocs.io/en/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "python": ("https://docs.python.org/3", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }
    if os.environ.get("READTHEDOCS")
    else {}
)

html_theme = "sphinx_book_theme"
html_title = "gnnimpute"
html_static_path = ["_static"]
html_css_files = ["gnnimpute.css"]
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False}

os.environ["COLUMNS"] = "100"  # width of the help texts on the page of the command line


def document_settings(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Describe the settings of `Config` by the text that stands beside each, which the command line shows too."""
    if what == "class" and obj is gnnimpute.Config:
        lines += ["", "Parameters", "----------"]
        for setting in fields(gnnimpute.Config):
            lines += [setting.name, f"    {setting.metadata['about']} Default: ``{setting.default!r}``."]


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", document_settings, priority=400)  # before napoleon reads the sections
