"""Run the code of tutorial.md, and put what it prints and draws into the page.

    python docs/run_tutorial.py [--data PBMC.h5ad]

Without --data the counts are downloaded. `run` is what the test of the page uses too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).resolve().parent
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n.*?```\n)?(?:\n!\[[^\n]*\]\([^\n]*\)\n)?", re.DOTALL)


def run(page: Path, pictures: Path, *, data: Any = None) -> str:
    """Run the Python blocks of a page one after the other; give the page with what they print and draw below each.

    Parameters
    ----------
    page
        Markdown.
    pictures
        Folder for the pictures.
    data
        What `gi.datasets.pbmc` is to return, instead of downloading.
    """
    from matplotlib import pyplot as plt

    import gnnimpute as gi

    names: dict[str, Any] = {}
    count = 0

    def executed(match: re.Match[str]) -> str:
        nonlocal count
        code, printed = match.group(1), io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page.name, "exec"), names)
        text = f"```python\n{code}```\n"
        if printed.getvalue().strip():
            text += f"\n```text\n{printed.getvalue().strip()}\n```\n"
        for number in plt.get_fignums():
            count += 1
            path = pictures / f"{page.stem}_{count}.png"
            plt.figure(number).savefig(path, dpi=70)
            text += f"\n![Picture {count}](_static/{path.name})\n"
        plt.close("all")
        return text

    patched = (
        mock.patch.object(gi.datasets, "pbmc", return_value=data) if data is not None else contextlib.nullcontext()
    )
    with patched:
        return BLOCK.sub(executed, page.read_text(encoding="utf-8"))


def main() -> None:
    """Run the tutorial in a folder of its own and rewrite the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="h5ad with the counts of Donor A")
    args = parser.parse_args()
    data = None
    if args.data is not None:
        import anndata

        data = anndata.read_h5ad(args.data)
    page, pictures = HERE / "tutorial.md", HERE / "_static"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ.setdefault("MPLBACKEND", "agg")
        text = run(page.resolve(), pictures.resolve(), data=data)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
