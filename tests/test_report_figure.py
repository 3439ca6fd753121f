"""Pictures inside a page: letters stay letters, ids are their own, points are pixels."""

from __future__ import annotations

import re

from gnnimpute.report._figure import blank, picture


def test_lines_are_vectors_that_fill_their_place() -> None:
    figure, ax = blank()
    ax.plot([0, 1], label="a")
    ax.set_xlabel("a & b <c>")
    one = picture(figure, "One", "what it is")
    assert one.html.startswith("<svg ")
    assert re.search(r"^<svg [^>]*viewBox", one.html)
    assert not re.search(r"^<svg [^>]*\bwidth=", one.html)
    assert "a &amp; b &lt;c&gt;" in one.html
    assert all(name.startswith("One-") for name in re.findall(r' id="([^"]+)"', one.html))


def test_points_are_pixels_and_the_same_each_time() -> None:
    pages = []
    for _ in range(2):
        figure, ax = blank()
        ax.scatter(range(5000), range(5000))
        pages.append(picture(figure, 'Many "points"', "", points=True).html)
    assert pages[0] == pages[1]
    assert pages[0].startswith('<img alt="Many &quot;points&quot;" src="data:image/png;base64,')
    assert len(pages[0]) < 200_000
