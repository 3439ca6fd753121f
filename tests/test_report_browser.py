"""The report in a real browser: it fits a phone, its script runs, and it can be read without."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

import gnnimpute as gi

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=2000"""
PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  const canvas = document.getElementById("before"), pixels = canvas.getContext("2d").getImageData(0, 0, 300, 200).data;
  document.body.insertAdjacentHTML("beforeend", `<p id="probe">width ${document.documentElement.scrollWidth} of ` +
    `${innerWidth}; genes ${document.getElementById("gene").options.length}; painted ${pixels.some((one) => one)}</p>`);
  canvas.dispatchEvent(new MouseEvent("click", {clientX: canvas.getBoundingClientRect().left + 20,
    clientY: canvas.getBoundingClientRect().top + 20, bubbles: true}));
}, 500));</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    if BROWSER is None:
        if os.environ.get("CI"):
            pytest.fail("there is no chromium to look at the report with: .ci/run has to install it")
        pytest.skip("there is no chromium to look at the report with: apt-get install chromium")
    return BROWSER


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.5, 2.0, size=(2, 50))[np.arange(80) % 2] + 0.1
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
    gi.pp.prepare(adata, min_genes=0, n_pcs=5)
    config = gi.Config(n_hidden=8, n_latent=4, n_epochs=2)
    gi.tl.impute(adata, config=config, progress=False)
    gi.tl.evaluate(adata, config=config, seeds=(0,), checks=False, n_pcs=5, progress=False)
    path = tmp_path_factory.mktemp("browser") / "report.html"
    gi.report.write(adata, path, command="gnnimpute impute " + "a_long_name_" * 20)
    return path


def ran(browser: str, folder: Path, *arguments: str) -> str:
    command = [browser, *FLAGS.split(), f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_and_its_script_runs(browser: str, page: Path, tmp_path: Path, width: int) -> None:
    probed = tmp_path / "probed.html"
    # A headless window is at least 500 wide; a frame is as narrow as it is told to be.
    inner = page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>")
    (tmp_path / "inner.html").write_text(inner, encoding="utf-8")
    probed.write_text(
        f'<iframe id="frame" width="{width}" height="900" style="border:0" src="inner.html"></iframe><script>'
        'addEventListener("load", () => setTimeout(() => { const inside = frame.contentDocument;'
        'document.body.append(inside.getElementById("probe").textContent);'
        "}, 1200));</script>",
        encoding="utf-8",
    )
    said = ran(browser, tmp_path, "--allow-file-access-from-files", "--dump-dom", f"file://{probed}")
    found = re.search(r"width (\d+) of (\d+); genes (\d+); painted (\w+)", said)
    assert found, said
    assert int(found[2]) == width
    assert int(found[1]) <= width  # nothing has to be moved sideways
    assert int(found[3]) == 24
    assert found[4] == "true"


def test_it_can_be_seen_and_printed(browser: str, page: Path, tmp_path: Path) -> None:
    ran(browser, tmp_path, f"--screenshot={tmp_path / 'a.png'}", "--window-size=800,1200", f"file://{page}")
    ran(browser, tmp_path, f"--print-to-pdf={tmp_path / 'a.pdf'}", f"file://{page}")
    from matplotlib.image import imread

    assert imread(tmp_path / "a.png").std() > 0.05  # not blank
    assert (tmp_path / "a.pdf").stat().st_size > 50_000


def test_it_can_be_read_without_scripts(browser: str, page: Path, tmp_path: Path) -> None:
    text = re.sub(r"<script.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "plain.html").write_text(text, encoding="utf-8")
    said = ran(browser, tmp_path, "--dump-dom", f"file://{tmp_path / 'plain.html'}")
    assert '<div id="chooser" hidden' in said
    assert said.count("<figure>") >= 15
    assert "Verdict" in said
