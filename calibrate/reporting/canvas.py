"""What all figures share: colours, axes, scales of money, and how a name is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator

from calibrate.reporting import words

__all__ = [
    "BLUE",
    "GREEN",
    "GRID",
    "INK",
    "ORANGE",
    "PURPLE",
    "Label",
    "axes_of",
    "drawable",
    "finish",
    "legend",
    "money_axis",
    "scale",
]

Label = Callable[[object], str]

INK, MUTED, GRID = "#1a1a1e", "#5c5c66", "#d9d9de"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#9a5ea1"  # apart for colour-blind readers
_SCALES = {1e6: "in millions", 1e9: "in billions"}


def drawable(name: object) -> str:
    """A name short enough for a figure, with a box for each character that the figure's font lacks."""
    font = FT2Font(font_manager.findfont("DejaVu Sans"))
    return "".join(c if font.get_char_index(ord(c)) else "□" for c in words.shorten(name))


def axes_of(figure: Figure, rows: int = 1, widths: tuple[float, ...] = (1.0,)) -> list[Axes]:
    """Axes in rows and in columns of relative `widths`, with nothing drawn that carries no number."""
    if rows == 0:
        return []
    grid = figure.add_gridspec(rows, len(widths), width_ratios=widths)
    made = [figure.add_subplot(grid[row, column]) for row in range(rows) for column in range(len(widths))]
    for axes in made:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(MUTED)
        axes.tick_params(colors=INK, labelsize=9, length=0)
        axes.set_axisbelow(True)
    return made


def scale(largest: float, currency: str, label: Label) -> tuple[float, str]:
    """A power of a thousand to divide amounts by, and the unit to write at the axis."""
    unit = label(currency)
    if largest == 0 or 1e-3 <= largest < 1e6 or not math.isfinite(largest):
        return 1.0, unit
    power = 3 * math.floor(math.log10(largest) / 3)
    factor = float(f"1e{power}")
    return factor, f"{unit}, {_SCALES.get(factor, f'times {words.money(factor)}')}"


def money_axis(axes: Axes, text: str) -> None:
    """Horizontal axis in money."""
    axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: words.money(amount)))
    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(text, color=INK, fontsize=9)


def legend(figure: Figure, axes: Axes) -> None:
    """Legend above the axes, bars first."""
    handles, labels = axes.get_legend_handles_labels()
    bars = [k for k, handle in enumerate(handles) if isinstance(handle, BarContainer)]
    order = bars + [k for k in range(len(handles)) if k not in bars]
    handles, labels = [handles[k] for k in order], [labels[k] for k in order]
    if handles:
        columns = 3 if max(map(len, labels)) < 30 else 2
        figure.legend(
            handles, labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=9, labelcolor=INK
        )


def finish(figure: Figure) -> Figure:
    """Draw every text as it is: a name between dollar signs is a name."""
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_parse_math(False)
    return figure
