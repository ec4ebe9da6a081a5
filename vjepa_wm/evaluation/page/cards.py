"""Episodes as cards: their videos with what they came to, in the order they are given, and buttons that choose some.

Without scripts all cards are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from vjepa_wm.evaluation.evaluated_episode import EpisodeResult
from vjepa_wm.evaluation.page.html_page import Html, join, paragraph
from vjepa_wm.evaluation.page.videos import PageVideo

CM = 100.0


class Card(NamedTuple):
    """An episode on the page."""

    title: str
    """Its heading."""
    html: Html
    """What stands beneath."""
    tags: dict[str, str]
    """What it is by the name of each filter, one of the filter's values."""


class Filter(NamedTuple):
    """Buttons that choose cards."""

    name: str
    """What its tag is called, in small letters."""
    values: Sequence[str]
    """What can be chosen, beside all."""
    chosen: str = ""
    """What is chosen at first; empty: all."""


def card_grid(name: str, filters: Sequence[Filter], cards: Sequence[Card]) -> Html:
    """Return cards in as many columns as there is room for, under the buttons that choose some.

    Args:
        name: tells the buttons of this grid from those of others on the page.
        filters: the buttons.
        cards: what is shown, in order.
    """
    buttons = join([_buttons(name, part) for part in filters])
    shown = join([_article(card) for card in cards])
    return Html(
        f'<div class="chooser">\n{buttons}\n<p class="shown" role="status">{len(cards)} shown</p>\n'
        f'<div class="cards">\n{shown}\n</div>\n</div>'
    )


def outcome(result: EpisodeResult) -> Html:
    """Return in words what an episode came to: solved or not, how far it ended, when the goal was reached first."""
    badge = _badge("solved", "good") if result.success_last else _badge("not solved", "bad")
    first = result.first_reached
    reached = "never reached" if first is None else f"first reached after step {first}"
    return Html(f"{badge} {CM * result.distances[-1]:.1f} cm off at the end, {reached}")


def distance_line(result: EpisodeResult, top: float | None = None) -> Html:
    """Return a small curve of an episode's distance over its steps, with dots where the goal is reached.

    Args:
        result: the episode.
        top: distance at the upper edge [m]; None: its largest. The lower edge is 0.
    """
    distances = np.array(result.distances)
    top = float(distances.max()) if top is None else top
    across = np.linspace(0, 100, len(distances))
    down = 20 - 18 * distances / max(top, 1e-9)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1"/>'
        for x, y, reached in zip(across, down, result.reached, strict=True)
        if reached
    )
    return Html(
        f'<svg class="line" viewBox="-1 0 102 21" role="img" aria-label="distance over the steps, at most '
        f'{CM * distances.max():.1f} cm"><path class="axis" d="M0 20H100"/><polyline points="{points}"/>{dots}</svg>'
    )


def episode_html(video: PageVideo | None, name: str, result: EpisodeResult, top: float | None = None) -> Html:
    """Return what an episode came to, its video and the curve of its distance.

    Args:
        video: of the episode; None: it is not there.
        name: what is played by whom.
        result: its record.
        top: as for `distance_line`.
    """
    player = video.html(f"{name}, beside the goal picture") if video else paragraph("no video")
    return join([Html(f"<p>{outcome(result)}</p>"), player, distance_line(result, top)])


def _badge(text: str, kind: str) -> Html:
    return Html(f'<span class="badge {kind}">{escape(text)}</span>')


def _article(card: Card) -> Html:
    tags = "".join(f' data-{name}="{escape(value)}"' for name, value in card.tags.items())
    return Html(f'<article class="card"{tags}>\n<h3>{escape(card.title)}</h3>\n{card.html}\n</article>')


def _buttons(grid: str, part: Filter) -> Html:
    group = escape(f"{grid}-{part.name}")
    labels = "\n".join(
        f'<label><input type="radio" name="{group}" value="{escape(value)}" autocomplete="off"'
        f"{' checked' if value == part.chosen else ''}><span>{escape(value or 'all')}</span></label>"
        for value in ("", *part.values)
    )
    return Html(
        f'<fieldset data-filter="{escape(part.name)}"><legend>{escape(part.name)}</legend>\n{labels}</fieldset>'
    )
