"""``python -m gnnimpute`` is the command ``gnnimpute``."""

from __future__ import annotations

from gnnimpute.cli import run

run()
