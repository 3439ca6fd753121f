"""Whether to believe it: the verdict, the tests, and how much is gained where."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gnnimpute._uses import failures, uses
from gnnimpute._verdict import LIGHTS, STATUS
from gnnimpute.report._figure import BLUE, GREY, ORANGE, Picture, blank, picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MARKS = {"pass": "●", "fail": "▲", "unknown": "○"}
"""Shapes, so that no colour need be told apart."""


_FEW = 12
"""Rows of a picture that have much room."""
_WIDTH = 40
"""Letters in a line beside a picture."""


class Light(NamedTuple):
    """A traffic light with its number."""

    status: str
    mark: str
    word: str
    question: str
    said: str
    line: str
    advice: str


def lights(found: Mapping[str, Any]) -> list[Light]:
    """A light for the gain, and one for each test."""
    ours = found["methods"].set_index("method").loc["gnnimpute"]
    status = STATUS[str(found["verdict"])]
    said = (
        f"{100 * ours['over_gene_mean']:+.1f} % [{100 * ours['over_gene_mean_low']:.1f}, "
        f"{100 * ours['over_gene_mean_high']:.1f}] over the mean of each gene"
    )
    advice = str(found["text"]).partition("\n")[0] if status != "pass" else ""
    question, line = "Does it predict molecules that were hidden from it?", "clearly better than counts and gene mean"
    return [
        Light(status, MARKS[status], LIGHTS[status], question, said, line, advice),
        *(_light(check) for check in found["checks"].itertuples()),
    ]


def _light(check: Any) -> Light:
    status = str(check.status)
    advice = str(check.advice) if status == "fail" else ""
    return Light(status, MARKS[status], LIGHTS[status], check.question, check.said, check.line, advice)


class Headline(NamedTuple):
    """The verdict in words."""

    status: str
    said: str
    but: str
    """How many tests fail, if any do."""
    why: list[str]


def headline(found: Mapping[str, Any]) -> Headline:
    """Status, headline, what speaks against it, and the sentences that say why."""
    first, *rest = str(found["text"]).split("\n")
    lines = [line.strip() for line in rest if line.startswith("  ") and not line.startswith("   ")]
    failed = failures(found["checks"])
    but = failed if failed in lines else ""  # where imputation does not help, that says it all
    why = [line for line in lines if line != failed and not line.endswith(":")]
    return Headline(STATUS[str(found["verdict"])], first, but, why)


def for_use(found: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Status, mark, answer, use and reason of each thing that one may want to do with imputed values."""
    return [
        (one.status, MARKS[one.status], one.answer, one.use, one.why)
        for one in uses(found["checks"], gain=STATUS[str(found["verdict"])])
    ]


def gains(found: Mapping[str, Any]) -> Iterator[Picture]:
    """Gain of each method, and gain in parts of the genes and cells."""
    methods = found["methods"][found["methods"]["method"] != "gene mean"]
    names = {"gnnimpute": f"gnnimpute, {found['estimate']}"}
    labels = [names.get(name, name) for name in methods["method"]]
    # Counts predict so much worse than all others that the axis would show nothing else.
    far = methods["over_gene_mean"] < -0.5
    told = ", ".join(
        f"{n}: {100 * v:.0f} %" for n, v in zip(methods["method"][far], methods["over_gene_mean"][far], strict=True)
    )
    near = methods[~far]
    yield _intervals(
        "Methods",
        [label for label, gone in zip(labels, far, strict=True) if not gone],
        *(100 * near[name].to_numpy() for name in ("over_gene_mean", "over_gene_mean_low", "over_gene_mean_high")),
        caption="Share of the deviance of hidden molecules that is gone, compared with the mean of each gene; 95 % "
        f"intervals over cells. {f'Off the scale: {told}.' if told else ''}",
    )
    for by, parts in found["parts"].groupby("by", sort=False):
        yield _intervals(
            str(by).capitalize(),
            [str(part) for part in parts["part"]],
            *(100 * parts[name].to_numpy() for name in ("predicted", "predicted_low", "predicted_high")),
            caption="Gain over the mean of each gene. Hollow: not clearly above 0, do not rely on imputation here.",
        )


def _intervals(title: str, labels: list[str], value: Any, low: Any, high: Any, *, caption: str) -> Picture:
    labels = [_lines(label) for label in labels]
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    row = max(0.42 if len(labels) <= _FEW else 0.0, 0.08 + 0.13 * lines)
    figure, ax = blank(height=0.7 + row * max(len(labels), 2))
    rows = np.arange(len(labels))[::-1]
    # A bound that is not known is drawn as none.
    error = np.nan_to_num(np.abs(np.vstack([value - low, high - value])))
    clear = low > 0
    ax.errorbar(value, rows, xerr=error, fmt="none", ecolor=GREY, elinewidth=1.2)
    ax.scatter(value[clear], rows[clear], s=36, color=BLUE, zorder=3)
    ax.scatter(value[~clear], rows[~clear], s=36, facecolors="white", edgecolors=ORANGE, zorder=3)
    ax.axvline(0, color="#BBBBBB", linewidth=1, zorder=0)
    ax.set_yticks(rows, labels, fontsize=8)
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ax.set_xlabel("gain, %")
    return picture(figure, title, caption)


def _lines(label: str) -> str:
    """Lines instead of a long one, which would leave no room; nothing is cut, as names may differ at their ends."""
    parts = label.replace(" (", "\n(").split("\n") if len(label) > 24 else [label]
    return "\n".join(line for part in parts for line in wrap(part, _WIDTH))


def sureness(found: Mapping[str, Any]) -> Iterator[Picture]:
    """Hidden molecules inside predicted intervals."""
    coverage = found.get("coverage")
    if coverage is None or not len(coverage):
        return
    figure, ax = blank()
    ax.fill_between([0, 100], [-3, 97], [3, 103], color="#E4E4E4", linewidth=0, label="within 3 points")
    styles: tuple[dict[str, Any], ...] = (
        {"color": BLUE, "marker": "o", "markersize": 8},
        {"color": ORANGE, "marker": "s", "markersize": 4},
    )
    for style, (entries, part) in zip(styles, coverage.groupby("entries", sort=False), strict=False):
        ax.plot(100 * part["level"], 100 * part["share"], label=str(entries), **style)
    ax.set(xlim=(0, 100), ylim=(0, 100), xlabel="intervals should hold, % of hidden counts", ylabel="they hold, %")
    ax.legend(frameon=False, fontsize=8, loc="upper left", title="hidden counts", title_fontsize=8)
    caption = "One more fit, with half of the molecules hidden. "
    caption += "Below the band, intervals are too narrow. Most counts are expected to be far below 1, where nearly any "
    yield picture(figure, "Do intervals hold what they say?", f"{caption}prediction looks right.")
