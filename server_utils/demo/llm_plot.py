"""The picture of the demo with a language model: where it agrees with people, and where it does not. Laptop."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch

from server_utils.demo.sentiment import NEGATIVE, POSITIVE, Judged, clearest
from server_utils.demo.triton_plot import COLOURS, FAINT, GROUND, INK, MARK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from server_utils.demo.llm_report import LLMReport

_SIDES = {NEGATIVE: COLOURS(0.0), POSITIVE: COLOURS(1.0)}
_HEIGHT, _WIDTH = 8.6, 14.0
_AREA = (0.045, 0.09, 0.59, 0.77)
_REACH = 4.1  # of the scores that are drawn, both ways
_COLUMN = 0.2  # of the score
_QUOTES = 2  # of each kind


def draw(judged: Sequence[Judged], report: LLMReport, to: Path) -> None:
    """Draw each review as a dot at its human score: above the line if the model agrees, below it if not."""
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=150, facecolor=GROUND)
    FigureCanvasAgg(figure)  # no window, and nothing of pyplot's global state
    area = figure.add_axes(_AREA)
    places = stacked(judged)
    _dots(area, judged, places)
    _words(figure, area, report)
    for number, each in enumerate(_quoted(judged)):
        _quote(figure, area, each, places[each.id], at=0.7 - 0.165 * number)
    figure.savefig(to, facecolor=GROUND)


def stacked(judged: Sequence[Judged]) -> dict[int, tuple[float, int]]:
    """Where the dots are, by id: at the score, and on top of one another; upwards from 1 if right, else downwards."""
    heights: Counter[tuple[float, bool]] = Counter()
    places = {}
    for each in sorted(judged, key=lambda each: (abs(each.score), each.id)):
        middle = math.copysign((math.floor(abs(each.score) / _COLUMN + 1e-9) + 0.5) * _COLUMN, each.score)
        heights[middle, each.right] += 1
        height = heights[middle, each.right]
        places[each.id] = (middle, height if each.right else -height)
    return places


def _dots(area: Axes, judged: Sequence[Judged], places: Mapping[int, tuple[float, int]]) -> None:
    x, y = zip(*(places[each.id] for each in judged), strict=True)
    bottom, top = min(*y, -4) * 1.15, max(*y, 8) * 1.15
    area.set_xlim(-_REACH, _REACH)
    area.set_ylim(bottom, top)
    # In points. So large that they do not touch; where they are many, they overlap and the columns become bars.
    beside, above = _AREA[2] * _WIDTH * 72 * _COLUMN / (2 * _REACH), _AREA[3] * _HEIGHT * 72 / (top - bottom)
    size = 0.85 * max(min(beside, above), beside / 2)
    area.scatter(x, y, c=[_SIDES[each.model] for each in judged], s=size**2, linewidths=0)
    area.axhline(0, color=FAINT, linewidth=0.8)
    area.set_facecolor(GROUND)
    area.set_yticks([])
    area.set_xticks(range(-3, 4), [f"{score:+d}" if score else "0" for score in range(-3, 4)], color=FAINT, fontsize=10)
    area.tick_params(length=0)
    for side in area.spines.values():
        side.set_visible(False)


def _words(figure: Figure, area: Axes, report: LLMReport) -> None:
    title = f"A small language model reads {report.rows:,} movie reviews"
    figure.text(0.03, 0.945, title, color=INK, fontsize=21, fontweight="bold")
    below = "A dot is a review, placed by the score that people gave. The model was given the text alone."
    figure.text(0.03, 0.905, below, color=FAINT, fontsize=12)
    scores = "mean score that people gave, bad to good; where they were divided, the model was not asked"
    area.set_xlabel(scores, color=FAINT, fontsize=10)
    for height, words in ((0.03, "agrees with people"), (-0.045, "differs")):
        y = height * (area.get_ylim()[1] - area.get_ylim()[0])
        back = {"facecolor": GROUND, "edgecolor": "none", "pad": 1.5}  # the lines to the quotes run behind
        figure.text(0, y, words, transform=area.transData, color=FAINT, ha="center", va="center", zorder=4, bbox=back)
    for x, (label, colour) in zip((0.02, 0.64), _SIDES.items(), strict=True):
        title = f"the model says {label}"
        area.text(x, 0.97, title, color=colour, fontsize=13, fontweight="bold", transform=area.transAxes, va="top")
    figure.text(0.66, 0.872, f"{report.accuracy:.0%}", color=INK, fontsize=46, fontweight="bold")
    figure.text(0.79, 0.912, "are called what", color=INK, fontsize=14)
    figure.text(0.79, 0.88, "people call them", color=INK, fontsize=14)
    speed = f"{report.rows_per_s:,.1f} reviews/s · {report.tokens_in_per_s:,.0f} tokens/s"
    figure.text(0.66, 0.828, f"{report.servers} vLLM servers · {speed}", color=FAINT, fontsize=12)


def _quoted(judged: Sequence[Judged]) -> list[Judged]:
    """The clearest cases, right and wrong, in an order in which the lines to them do not cross."""
    right = clearest((each for each in judged if each.right), _QUOTES)
    wrong = clearest((each for each in judged if not each.right), _QUOTES)
    return sorted(right, key=lambda each: each.score) + sorted(wrong, key=lambda each: -each.score)


def _quote(figure: Figure, area: Axes, each: Judged, place: tuple[float, int], *, at: float) -> None:
    """One review: a ring round its dot, its words at a height of the figure, and a line between."""
    area.scatter(*place, s=90, facecolors="none", edgecolors=MARK, linewidths=1.3, zorder=3)
    line = ConnectionPatch(place, (0.652, at + 0.006), area.transData, figure.transFigure, color=MARK, linewidth=0.8)
    line.set_alpha(0.45)
    figure.add_artist(line)
    caption = f"{each.model}: {'right' if each.right else 'wrong'}, people gave {each.score:+.1f}"
    figure.text(0.66, at, caption, color=_SIDES[each.model], fontsize=13, fontweight="bold")
    words = textwrap.fill(f"“{' '.join(each.text.split())}”", 56, max_lines=4, placeholder=" …”")
    figure.text(0.66, at - 0.014, words, color=FAINT, fontsize=11, va="top", linespacing=1.35)
