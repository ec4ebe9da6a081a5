"""A page made of sections, in one file that opens without a network and refers to nothing but videos beside it.

Whoever has a result puts it together from what is here: `Section`, `table`, `facts`, `figure`. Text is escaped unless
it is `Html`, which only the functions of this folder make. The same result gives the same bytes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.text import Text

from vjepa_wm.safe_files import write_bytes

INK = "#808080"
"""Text and lines of figures, which are transparent: a grey that can be read on white and on black."""
DPI = 150


class Html(str):
    """Text that is html already, and is not escaped again."""


class Section(NamedTuple):
    """A part of a page under a heading of its own."""

    title: str
    """Its heading."""
    html: Html
    """What stands beneath."""


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write a page; it is there when it is whole.

    Args:
        path: the file; its folder is made if missing.
        title: its heading, and its name in the browser.
        lead: a sentence or two beneath the heading.
        sections: what follows, from top to bottom.
    """
    files = {name: Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page.css", "page.js")}
    parts = "\n".join(
        f"<section>\n<h2>{escape(section.title)}</h2>\n{section.html}\n</section>" for section in sections
    )
    text = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{files["page.css"]}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
{parts}
</main>
<script>
{files["page.js"]}</script>
</body>
</html>
"""
    write_bytes(path, text.encode())


def paragraph(text: str) -> Html:
    """Return a paragraph of text."""
    return Html(f"<p>{escape(text)}</p>")


def marked(text: str) -> Html:
    """Return text with a colour behind it."""
    return Html(f"<mark>{escape(text)}</mark>")


def table(lines: Sequence[Sequence[str]]) -> Html:
    """Return a table, which scrolls in a box of its own where it is wider than the page.

    Args:
        lines: cells of each line, equally many; the first line is the head, the first column is aligned to the left.
    """
    head, *rows = lines
    columns = "".join(f'<th scope="col">{_cell(cell)}</th>' for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>{"".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return Html(
        f'<div class="scroll"><table>\n<thead><tr>{columns}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
    )


def facts(entries: Sequence[tuple[str, str]]) -> Html:
    """Return names with what each is.

    Args:
        entries: a name, and what it is.
    """
    parts = "\n".join(f"<div><dt>{escape(name)}</dt><dd>{_cell(text)}</dd></div>" for name, text in entries)
    return Html(f"<dl>\n{parts}\n</dl>")


def with_column(lines: Sequence[Sequence[str]], after: int, cells: Sequence[str]) -> list[list[str]]:
    """Return the lines of a table with one column more, which has no head.

    Args:
        lines: the table, its head first.
        after: number of the column behind which it is put.
        cells: what it holds, beneath the head.
    """
    return [[*line[: after + 1], cell, *line[after + 1 :]] for line, cell in zip(lines, ["", *cells], strict=True)]


def interval_bar(value: float, low: float, high: float, least: float = 0.0) -> Html:
    """Return a picture of a number and its interval on the way to 1, with a mark at 0.

    Args:
        value: the number.
        low: lower bound of its interval.
        high: upper bound.
        least: where the way begins.
    """
    zero, dot, left, right = (f"{100 * (number - least) / (1 - least):.1f}" for number in (0.0, value, low, high))
    return Html(
        f'<svg class="bar" viewBox="-3 0 106 10" role="img" aria-label="{value:.0%}, {low:.0%} to {high:.0%}">'
        f'<path class="axis" d="M0 5H100M{zero} 1V9"/><path d="M{left} 5H{right}"/>'
        f'<circle cx="{dot}" cy="5" r="3"/></svg>'
    )


def figure(drawn: Figure, caption: str) -> Html:
    """Return a figure as a picture in the page.

    Args:
        drawn: the figure; its background is taken away and its text and lines become grey, for light and dark screens.
        caption: what it shows, in words.
    """
    for text in drawn.findobj(Text):
        text.set_color(INK)
    for axes in drawn.axes:
        axes.tick_params(color=INK)
        axes.spines[:].set_color(INK)
    file = BytesIO()
    drawn.savefig(file, format="png", dpi=DPI, transparent=True)
    width, height = (round(side * DPI) for side in drawn.get_size_inches())
    return Html(
        f'<figure><img src="{data_uri(file.getvalue(), "image/png")}" width="{width}" height="{height}" '
        f'alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def side_by_side(parts: Sequence[Html]) -> Html:
    """Return parts beside each other where there is room, else beneath."""
    return Html(f'<div class="beside">\n{join(parts)}\n</div>')


def join(parts: Sequence[Html]) -> Html:
    """Return parts one after the other."""
    return Html("\n".join(parts))


def data_uri(content: bytes, kind: str) -> str:
    """Return an address that holds a file.

    Args:
        content: of the file.
        kind: its media type, such as image/png.
    """
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _cell(text: str) -> str:
    return text if isinstance(text, Html) else escape(text)
