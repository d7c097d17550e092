"""Figures of a tail: where it begins, and how well it fits."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from calibrate.errors import DataError
from calibrate.reporting import words
from calibrate.reporting.canvas import (
    BLUE,
    GREEN,
    GRID,
    INK,
    ORANGE,
    PURPLE,
    axes_of,
    finish,
    legend,
    money_axis,
    scale,
)

__all__ = ["mean_excess", "parameter_stability", "tail"]

NORMAL_95 = 1.959963984540054  # 97.5 % quantile of the standard normal
POINTS = 300
APART = 0.07  # of the width: labels closer than this would overlap


class Law(Protocol):
    """What a tail plot asks of a severity model."""

    def sf(self, x: npt.ArrayLike) -> Any:
        """`P(X > x)`."""


def mean_excess(table: pd.DataFrame, *, chosen: float | None = None, currency: str = "USD") -> Figure:
    """Mean excess over each threshold with its 95 % interval; a straight line upwards is a generalized Pareto tail.

    `table` as from `models.severity.threshold_table`; `chosen` marks the threshold that was taken, money. The interval
    is normal: where the shape is above 1/2 it is too short, and above 1 there is nothing that it could hold.
    """
    figure, (axes,) = _thresholds(table, ["mean_excess"], 3.4)
    across, unit = scale(float(table.index.max()), currency, str)
    up, upward = scale(float(table["mean_excess"].max()), currency, str)
    _band(axes, table, "mean_excess", "mean_excess_error", across, up)
    _mark(axes, chosen, across)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"mean excess, {upward}", color=INK, fontsize=9)
    _count_axis(axes, table, across)
    money_axis(axes, f"threshold, {unit}")
    legend(figure, axes)
    return finish(figure)


def parameter_stability(table: pd.DataFrame, *, chosen: float | None = None, currency: str = "USD") -> Figure:
    """Shape (95 %), modified scale and p-value of the tail above each threshold: steady from a good threshold on.

    `table` as from `models.severity.threshold_table`; `chosen` marks the threshold that was taken, money. From a shape
    of 1 (dotted) on, a mean exists only under a cap.
    """
    figure, (shape, size, fit) = _thresholds(table, ["shape", "modified_scale", "p_value"], 6.6)
    across, unit = scale(float(table.index.max()), currency, str)
    up, upward = scale(float(table["modified_scale"].abs().max()), currency, str)
    _band(shape, table, "shape", "shape_error", across, 1.0)
    shape.axhline(1.0, color=ORANGE, linestyle=":", linewidth=2, label="shape 1: no mean from here on")
    shape.set_ylabel("shape", color=INK, fontsize=9)
    size.plot(table.index / across, table["modified_scale"] / up, "o-", color=BLUE, markersize=4)
    size.set_ylabel(f"modified scale,\n{upward}", color=INK, fontsize=9)
    fit.plot(table.index / across, table["p_value"], "o-", color=BLUE, markersize=4)
    fit.axhline(0.05, color=ORANGE, linestyle=":", linewidth=2)
    fit.set_ylim(0, 1)
    fit.set_ylabel("p-value (Anderson-\nDarling; dotted 5 %)", color=INK, fontsize=9)
    for axes in (shape, size, fit):
        _mark(axes, chosen, across)
        if table.index.min() > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_minor_locator(NullLocator())
    _count_axis(shape, table, across)
    money_axis(fit, f"threshold, {unit}")
    legend(figure, shape)
    return finish(figure)


def tail(
    law: Law, losses: npt.ArrayLike, *, cap: float | None = None, threshold: float | None = None, currency: str = "USD"
) -> Figure:
    """How often a loss is larger: as seen (points) and by the fitted law (line), both axes by powers of ten.

    `threshold` (the law's own, if it has one) marks where the tail begins; a law that knows nothing below is drawn from
    there; `cap` marks the most that one event can cost.
    """
    seen = np.sort(np.asarray(losses, dtype=np.float64).ravel())
    if not seen.size or not (np.isfinite(seen) & (seen > 0)).all():
        raise DataError("a tail plot needs at least one loss, all finite and > 0; leave out events that cost nothing")
    begins = getattr(law, "threshold_", None) if threshold is None else threshold
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    (axes,) = axes_of(figure)
    largest = max(seen[-1], cap or 0.0)
    across, unit = scale(float(np.median(seen)), currency, str)
    share = (seen.size - np.arange(seen.size) - 0.5) / seen.size
    axes.plot(seen / across, share, "o", color=INK, markersize=3.5, markerfacecolor="none", label="losses seen")
    low = seen[0] if _knows(law, seen[0]) or begins is None else max(float(begins), seen[0])
    grid = np.geomspace(low, 3 * largest, POINTS)
    chance = np.asarray(law.sf(grid), dtype=np.float64)
    kept = chance > 0.1 / seen.size
    axes.plot(grid[kept] / across, chance[kept], "-", color=BLUE, linewidth=2, label="fitted law")
    for place, name, colour, style in ((begins, "tail from", GREEN, "--"), (cap, "cap", ORANGE, "-.")):
        if place is not None and math.isfinite(place) and place > 0:
            text = f"{name} {words.money(float(place))} {words.plain(currency)}"
            axes.axvline(place / across, color=colour, linestyle=style, linewidth=2, label=text)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda p, _: "all" if p == 1 else f"1 in {1 / p:,.0f}"))
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_ylabel("share of losses that are larger", color=INK, fontsize=9)
    money_axis(axes, f"loss of one event, {unit}")
    legend(figure, axes)
    return finish(figure)


def _knows(law: Law, amount: float) -> bool:
    """True if the law can answer for a loss this small: a tail alone cannot."""
    share = getattr(law, "exceedance_probability_", 1.0)
    return hasattr(law, "body_") or share == 1 or amount >= getattr(law, "threshold_", 0.0)


def _thresholds(table: pd.DataFrame, columns: list[str], height: float) -> tuple[Figure, list[Axes]]:
    """One row of axes for each column of the table, or a refusal that says where such a table comes from."""
    absent = [name for name in columns if name not in table.columns]
    if absent or not len(table):
        raise DataError(
            f"a threshold plot needs the column(s) {', '.join(absent or columns)} and at least one row; pass what "
            "models.severity.threshold_table(losses) gives"
        )
    figure = Figure(figsize=(8.4, height), layout="constrained")
    made = axes_of(figure, len(columns))
    for axes in made:
        axes.grid(color=GRID, linewidth=0.7)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        if axes is not made[-1]:
            axes.sharex(made[-1])
            axes.tick_params(labelbottom=False)
    return figure, made


def _band(axes: Axes, table: pd.DataFrame, column: str, error: str, across: float, up: float) -> None:
    """A line with its normal 95 % interval."""
    x, y, half = table.index / across, table[column] / up, NORMAL_95 * table[error] / up
    axes.fill_between(x, y - half, y + half, color=BLUE, alpha=0.2, linewidth=0, label="95 % interval")
    axes.plot(x, y, "o-", color=BLUE, markersize=4, label=column.replace("_", " "))


def _drawn(axes: Axes, at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Where along the axis these places are drawn."""
    return np.log(at) if axes.get_xscale() == "log" else at


def _mark(axes: Axes, chosen: float | None, across: float) -> None:
    if chosen is not None:
        axes.axvline(chosen / across, color=GREEN, linestyle="--", linewidth=2, label="threshold taken")


def _count_axis(axes: Axes, table: pd.DataFrame, across: float) -> None:
    """A second axis on top: how many losses exceed each threshold."""
    top = axes.secondary_xaxis("top")
    at = np.asarray(table.index, dtype=np.float64) / across
    apart, kept = APART * float(np.ptp(_drawn(axes, at))), [len(at) - 1]
    for k in range(len(at) - 2, -1, -1):
        if float(np.ptp(_drawn(axes, at[[k, kept[-1]]]))) > apart:
            kept.append(k)
    top.set_xticks(at[kept], labels=[f"{int(table['exceedances'].iloc[k]):,}" for k in kept])
    top.xaxis.set_minor_locator(NullLocator())
    top.tick_params(colors=PURPLE, labelsize=8, length=0)
    top.set_xlabel("losses above the threshold", color=PURPLE, fontsize=8)
    top.spines["top"].set_visible(False)
