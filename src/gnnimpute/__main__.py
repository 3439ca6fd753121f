"""``python -m gnnimpute`` is the command ``gnnimpute``."""

from __future__ import annotations

from gnnimpute.cli import main

main(prog_name="gnnimpute")
