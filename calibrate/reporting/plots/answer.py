"""Figures of a calibration.

`label` writes the names. The default draws a box for a character that the figure's font lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from calibrate.reporting import tables, words
from calibrate.reporting.canvas import (
    BLUE,
    GREEN,
    GRID,
    INK,
    ORANGE,
    PURPLE,
    Label,
    axes_of,
    drawable,
    finish,
    legend,
    money_axis,
    scale,
)

if TYPE_CHECKING:
    from calibrate.calibration import Calibration

__all__ = ["SHOWN", "contributions", "loss_curve", "moves", "risk", "uncertainty"]

SHOWN = 50  # more bars than this cannot be read; the tables have everybody
WIDEST = 10.0  # times the published number: beyond it an interval is cut off
_SEGMENTS = (BLUE, "#56b4e9", "#e69f00", GREEN, PURPLE, "#7f7f7f")
_HATCHES = ("", "////", "....", "xxxx", "||||", "----")


def contributions(calibration: Calibration, *, label: Label = drawable) -> Figure:
    """Share of the contributions by member (bars, by segment) against shares of exposure and of expected loss (marks).

    Beside it the loading, contribution over expected loss, with that of the whole pool. The 50 largest payers.
    """
    table = tables.contributions(calibration).head(SHOWN)
    figure, (shares, loadings) = _rows_figure([label(name) for name in table.index], widths=(3.2, 1.0))
    _bars(shares, calibration, table, label)
    for column, name, colour, marker in (
        ("exposure_share", "share of exposure", ORANGE, "D"),
        ("expected_loss_share", "share of expected loss", INK, "|"),
    ):
        if table[column].notna().any():
            size = 4.5 if marker == "D" else 10
            (line,) = shares.plot(table[column], np.arange(len(table)), marker, color=colour, label=name)
            line.set(markersize=size, markeredgewidth=2)
    shares.set_xlim(left=0)
    shares.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    shares.xaxis.set_major_locator(MaxNLocator(7))
    shares.set_xlabel("shares of the totals", color=INK, fontsize=9)
    _loadings(loadings, calibration, table)
    legend(figure, shares)
    return finish(figure)


def loss_curve(calibration: Calibration, *, label: Label = drawable) -> Figure:
    """How likely a loss is to be exceeded (in-sample), with what contributions and reserves come to."""
    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    (axes,) = axes_of(figure)
    curve = calibration.loss_curve
    curve = curve[(curve.index > 0) & (curve.index <= 1)].sort_index()
    marks = _paid_in(calibration)
    largest = max([float(curve["loss"].max()) if len(curve) else 0.0, *marks.values()])
    factor, unit = scale(largest, calibration.currency, label)
    for column, name, colour, style in (
        ("loss", "losses of all members", INK, "-"),
        ("mutualised", "mutualised loss", ORANGE, "--"),
        ("shortfall", "shortfall", PURPLE, ":"),
    ):
        kept = curve[curve[column] > 0] if column in curve else curve.iloc[:0]
        if len(kept):
            axes.plot(kept[column] / factor, kept.index, style, color=colour, linewidth=2, label=name)
    for (name, amount), colour, style in zip(marks.items(), (BLUE, GREEN), ("-", "-."), strict=False):
        text = f"{name}: {words.money(amount)} {label(calibration.currency)}"
        axes.axvline(amount / factor, color=colour, linestyle=style, linewidth=2, label=text)
    _chance_axis(axes, curve)
    _loss_limits(axes, [*curve["loss"][curve.index <= 0.8], *marks.values()], factor)
    money_axis(axes, unit)
    axes.grid(color=GRID, linewidth=0.7)
    legend(figure, axes)
    return finish(figure)


def risk(calibration: Calibration, *, label: Label = drawable) -> Figure:
    """Each risk term in-sample (hollow) and out-of-sample with its 95 % interval, on its own scale from zero."""
    table = calibration.risk
    figure = Figure(figsize=(8.4, 0.85 * len(table) + 0.6), layout="constrained")
    for k, (axes, (name, row)) in enumerate(zip(axes_of(figure, len(table)), table.iterrows(), strict=True)):
        shown = row[["in_sample", "out_of_sample", "lower", "upper"]].astype(float)
        largest = float(shown.abs().max()) if shown.notna().any() else 0.0
        factor, unit = scale(largest, calibration.currency, label)
        shown = shown / factor
        axes.plot([shown["lower"], shown["upper"]], [0, 0], color=BLUE, linewidth=6, alpha=0.4, label="95 % interval")
        axes.plot([shown["out_of_sample"]], [0], "o", color=BLUE, markersize=8, label="out-of-sample")
        axes.plot(
            [shown["in_sample"]],
            [0],
            "o",
            color=ORANGE,
            markerfacecolor="none",
            markeredgewidth=2,
            markersize=8,
            label="in-sample",
        )
        axes.set_xlim(0, 1.08 * largest / factor or 1.0)
        axes.set_ylim(-1, 1)
        axes.set_yticks([])
        money_axis(axes, "")
        axes.set_title(f"{words.plain(name)} ({unit})", loc="left", fontsize=9, color=INK)
        if k == 0:
            legend(figure, axes)
    return finish(figure)


def moves(calibration: Calibration, previous: Calibration, *, label: Label = drawable) -> Figure:
    """What moved between two calibrations: old (hollow) and new (filled) contributions, largest moves first."""
    table = tables.moves(calibration, previous).head(SHOWN)
    rows = np.arange(len(table))
    figure, (axes,) = _rows_figure([label(name) for name in table.index])
    largest = float(table[["previous", "contribution"]].to_numpy().max(initial=0.0))
    factor, unit = scale(largest, calibration.currency, label)
    old, new = table["previous"] / factor, table["contribution"] / factor
    axes.hlines(rows, old, new, colors=[ORANGE if up else BLUE for up in new > old], linewidth=3)
    axes.plot(old, rows, "o", color=INK, markerfacecolor="none", markersize=7, label="before")
    axes.plot(new, rows, "o", color=INK, markersize=5, label="now")
    axes.set_xlim(left=0)
    money_axis(axes, f"contribution, {unit}")
    legend(figure, axes)
    return finish(figure)


def uncertainty(calibration: Calibration, *, label: Label = drawable) -> Figure:
    """Contributions, reserves and risk, each with what the history (wide) and simulation (narrow) leave open.

    Over the published number, so that one axis (to 10 at most) serves all: 2 is twice as much. The 50 largest; zeros
    are left out.
    """
    table = tables.open_numbers(calibration)
    kept = table[table["amount"] > 0].sort_values("amount", ascending=False, kind="stable").head(SHOWN)
    share = kept.div(kept["amount"], axis=0)
    figure, (axes,) = _rows_figure([label(name) for name in kept.index])
    rows = np.arange(len(kept))
    for part, name, colour, width in (
        ("history", "history, 95 %", ORANGE, 7),
        ("simulation", "simulation, 95 %", BLUE, 3),
    ):
        axes.hlines(rows, share[f"{part}_lower"], share[f"{part}_upper"], colors=colour, linewidth=width, label=name)
    axes.plot(share["amount"], rows, "o", color=INK, markersize=5, label="published")
    limits = share.drop(columns="amount").to_numpy()
    axes.set_xlim(0, min(1.05 * float(np.nanmax(limits, initial=1.0)), WIDEST))
    axes.set_xlabel("times the published number", color=INK, fontsize=9)
    legend(figure, axes)
    return finish(figure)


def _rows_figure(names: list[str], widths: tuple[float, ...] = (1.0,)) -> tuple[Figure, list[Axes]]:
    """One row for each name, first on top; names left of the first column of axes."""
    figure = Figure(figsize=(8.4, 0.21 * len(names) + 1.5), layout="constrained")
    made = axes_of(figure, widths=widths)
    for axes in made:
        axes.set_yticks(np.arange(len(names)), labels=names if axes is made[0] else [""] * len(names))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(axis="x", color=GRID, linewidth=0.7)
    return figure, made


def _bars(axes: Axes, calibration: Calibration, table: pd.DataFrame, label: Label) -> None:
    """Contributions as shares of the total, stacked by segment; hatched as well as coloured."""
    total = float(calibration.contributions.sum()) or 1.0
    left = np.zeros(len(table))
    for k, (segment, part) in enumerate(_parts(calibration, table).items()):
        share = part / total
        bars = axes.barh(np.arange(len(table)), share, left=left, height=0.66, color=_SEGMENTS[k % 6], linewidth=0)
        bars.set_label("share of contributions" + (f": {label(segment)}" if segment else ""))
        for bar in bars:
            bar.set(hatch=_HATCHES[(k + k // len(_SEGMENTS)) % len(_HATCHES)], edgecolor="white", linewidth=0)
        left = left + share


def _loadings(axes: Axes, calibration: Calibration, table: pd.DataFrame) -> None:
    """Loading by member, and the pool's as a line."""
    axes.plot(table["loading"], np.arange(len(table)), "o", color=BLUE, markersize=5)
    expected = float(calibration.members["expected_loss"].sum())
    if expected > 0:
        axes.axvline(float(calibration.contributions.sum()) / expected, color=INK, linewidth=1.2)
    largest = table["loading"].max()
    axes.set_xlim(0, 1.1 * largest if largest > 0 else 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda loading, _: words.money(loading)))
    axes.set_xlabel("loading (line: the pool)", color=INK, fontsize=9)


def _parts(calibration: Calibration, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Contributions of the table's members by segment; under the empty name where there is one segment."""
    if calibration.contributions.index.nlevels == 1:
        return {"": table["contribution"].to_numpy(dtype=float)}
    split = calibration.contributions.unstack(sort=False)  # noqa: PD010 (a pivot table would sort)
    split = split.reindex(table.index).fillna(0.0)
    return {words.plain(segment): split[segment].to_numpy(dtype=float) for segment in split.columns}


def _paid_in(calibration: Calibration) -> dict[str, float]:
    paid = {"contributions": float(calibration.contributions.sum())}
    if len(calibration.reserves):
        paid["contributions and reserves"] = calibration.total
    return {name: amount for name, amount in paid.items() if amount > 0}


def _chance_axis(axes: Axes, curve: pd.DataFrame) -> None:
    """Vertical axis by powers of ten, written `1 in 100`."""
    axes.set_yscale("log")
    lowest = float(curve.index.min()) if len(curve) else 0.1
    decades = [10.0**-k for k in range(int(np.ceil(-np.log10(lowest))) + 1)]
    axes.set_ylim(lowest * 0.8, 1.15)
    axes.yaxis.set_major_locator(FixedLocator(decades))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda p, _: "always" if p == 1 else f"1 in {1 / p:,.0f}"))
    axes.set_ylabel("chance that a period is worse", color=INK, fontsize=9)


def _loss_limits(axes: Axes, amounts: list[float], factor: float) -> None:
    """Horizontal limits; by powers of ten where the amounts spread over more than a factor of 50."""
    positive = [amount / factor for amount in amounts if amount > 0]
    if not positive:
        return
    if max(positive) > 50 * min(positive):
        axes.set_xscale("log")
        axes.set_xlim(min(positive) * 0.7, max(positive) * 1.4)
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(0, max(positive) * 1.05)
