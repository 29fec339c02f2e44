"""The picture of the demo: the reviews on a plane, and where the queries fall. Laptop."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch

from server_utils.demo.reviews import Map, Vectors, widest_plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

GROUND, INK, FAINT, MARK = "#10141f", "#f4f1ea", "#a9afc0", "#ffffff"
# From bad to good: a pair of colours that those who see no green can tell apart, none too dark for the ground.
COLOURS = LinearSegmentedColormap.from_list("score", ["#ff3d4f", "#ff9d5c", "#fff1c2", "#7cc4ff", "#3f7bff"])
_BELOW = (
    "The model was given the text alone; the colour is the score that people gave. "
    "Stars are queries, rings the reviews that answer them best."
)


@dataclass(frozen=True)
class Pin:
    """A query on the map. rows: of its answers, best first. answer: the text of the first."""

    query: str
    vector: Vectors
    rows: Sequence[int]
    answer: str


def draw(vectors: Vectors, scores: Vectors, pins: Sequence[Pin], to: Path) -> None:
    """Draw the reviews, coloured by score, on the plane that shows most of their variance, and the queries beside."""
    plane = widest_plane(vectors)
    figure = Figure(figsize=(14, 8.6), dpi=150, facecolor=GROUND)
    FigureCanvasAgg(figure)  # no window, and nothing of pyplot's global state
    area = figure.add_axes((0.045, 0.085, 0.59, 0.785))
    dots = _dots(area, plane, vectors, scores)
    _words(figure, area, plane, f"{len(vectors):,} movie reviews, placed by what they say")
    _scale(figure, dots)
    # From top to bottom as their stars are: so the lines to them do not cross.
    for number, pin in enumerate(sorted(pins, key=lambda pin: -plane.place(pin.vector[None])[0, 1])):
        _pin(figure, area, plane, vectors, pin, at=0.78 - 0.19 * number)
    figure.savefig(to, facecolor=GROUND)


def _dots(area: Axes, plane: Map, vectors: Vectors, scores: Vectors) -> PathCollection:
    x, y = plane.place(vectors).T
    area.set_facecolor(GROUND)
    area.set_xticks([])
    area.set_yticks([])
    for side in area.spines.values():
        side.set_visible(False)
    area.margins(0.01)
    size = min(40.0, 70_000 / len(vectors))
    return area.scatter(x, y, c=scores, cmap=COLOURS, vmin=-3, vmax=3, s=size, linewidths=0, alpha=0.7)


def _words(figure: Figure, area: Axes, plane: Map, title: str) -> None:
    figure.text(0.03, 0.945, title, color=INK, fontsize=21, fontweight="bold")
    figure.text(0.03, 0.905, _BELOW, color=FAINT, fontsize=12)
    shares = [f"{share:.1%} of the variance" for share in plane.shares]
    area.set_xlabel(f"first principal component, {shares[0]}", color=FAINT, fontsize=10)
    area.set_ylabel(f"second principal component, {shares[1]}", color=FAINT, fontsize=10)


def _scale(figure: Figure, dots: PathCollection) -> None:
    ground = figure.add_axes((0.66, 0.062, 0.3, 0.014))
    bar = figure.colorbar(ScalarMappable(dots.norm, dots.cmap), ground, orientation="horizontal")
    bar.set_ticks([-3, 0, 3], labels=["bad (-3)", "human score", "good (+3)"], color=FAINT)
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)


def _pin(figure: Figure, area: Axes, plane: Map, vectors: Vectors, pin: Pin, *, at: float) -> None:
    """One query: its star, rings around its answers, its words at a height of the figure, and a line between."""
    star = plane.place(pin.vector[None])[0]
    rings = plane.place(vectors[[*pin.rows]])
    for ring in rings:
        area.plot(*zip(star, ring, strict=True), color=MARK, linewidth=0.9, alpha=0.8)
    area.scatter(rings[:, 0], rings[:, 1], s=70, facecolors="none", edgecolors=MARK, linewidths=1.3, zorder=3)
    area.scatter(star[0], star[1], marker="*", s=420, color=MARK, edgecolors=GROUND, linewidths=1.2, zorder=4)
    line = ConnectionPatch(star, (0.652, at + 0.006), area.transData, figure.transFigure, color=MARK, linewidth=0.8)
    line.set_alpha(0.45)
    figure.add_artist(line)
    figure.text(0.66, at, pin.query, color=INK, fontsize=13.5, fontweight="bold")
    answer = textwrap.fill(f"“{' '.join(pin.answer.split())}”", 56, max_lines=4, placeholder=" …”")
    figure.text(0.66, at - 0.014, answer, color=FAINT, fontsize=11, va="top", linespacing=1.35)
