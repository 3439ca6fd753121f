"""What is running, for how long, and how much is left: a line on a terminal, and a log of what is done."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class Progress:
    """One line that is drawn anew while methods run.

    Parameters
    ----------
    total
        Number of runs.
    show
        Whether to draw it; by default, if stderr is a terminal.
    """

    def __init__(self, total: int, *, show: bool | None = None) -> None:
        from tqdm import tqdm

        hide = not (sys.stderr.isatty() if show is None else show) or not total
        self._bar: Any = tqdm(
            total=total, disable=hide, leave=False, bar_format="{desc} | {n_fmt}/{total_fmt} {elapsed}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def says(self, text: str) -> None:
        """Say what is going on."""
        self._bar.set_description_str(text)

    def runs(self, text: str) -> Callable[[], None]:
        """Say what runs from now on; what is returned, called now and then, adds for how long."""
        started = time.monotonic()

        def tick() -> None:
            self._bar.set_description_str(f"{text}, {time.monotonic() - started:.0f} s")

        tick()
        return tick

    def done(self) -> None:
        """One run is done."""
        self._bar.update()
