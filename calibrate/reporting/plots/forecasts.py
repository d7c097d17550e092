"""Figures of forecasts: what was said before, and what then happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from scipy.special import kolmogi

from calibrate.errors import DataError
from calibrate.reporting import words
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
    scale,
)

__all__ = ["backtest", "time_rescaling"]

LABELS = 12  # more periods than this under the axis cannot be read
MANY = 60  # periods from which bars become a line
SPREAD = 30.0  # largest over median amount from which the axis goes by powers of ten


class Forecast(Protocol):
    """What the plot asks of forecasts: `models.backtest.Forecasts` has it."""

    level: float

    def to_frame(self) -> pd.DataFrame:
        """One period a row: `loss, var, expected_shortfall, exceeded`."""


def backtest(forecasts: Forecast, *, currency: str = "USD", label: Label = drawable) -> Figure:
    """Losses of each period against the VaR and the expected shortfall forecast for it; exceedances are marked.

    By powers of ten where the amounts are far apart; a loss of zero then stands at the lower edge.
    """
    frame = forecasts.to_frame()
    amounts = frame[["loss", "var", "expected_shortfall"]]
    factor, unit = scale(float(amounts.to_numpy().max()), currency, label)
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    (axes,) = axes_of(figure)
    logarithmic = _far_apart(amounts.to_numpy())
    bottom = 0.5 * float(amounts[amounts > 0].min().min()) / factor if logarithmic else 0.0
    _losses(axes, frame, factor, bottom)
    places, level = np.arange(len(frame)), f"{100 * forecasts.level:g} %"
    for column, name, colour, style in (
        ("var", f"VaR {level}", BLUE, "-"),
        ("expected_shortfall", f"expected shortfall {level}", PURPLE, "--"),
    ):
        edges = np.append(places - 0.5, len(frame) - 0.5)
        axes.stairs(
            frame[column] / factor, edges, baseline=None, color=colour, linestyle=style, linewidth=2, label=name
        )
    if logarithmic:
        axes.set_yscale("log")
    axes.set_ylim(bottom=bottom)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda amount, _: words.money(amount)))
    axes.set_ylabel(unit, color=INK, fontsize=9)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    _period_axis(axes, frame, label)
    hits, expected = int(frame["exceeded"].sum()), len(frame) * (1 - forecasts.level)
    text = f"{hits} of {len(frame)} periods above the VaR; a right model expects {expected:.3g}"
    axes.set_title(text, loc="left", fontsize=9, color=INK)
    legend(figure, axes)
    return finish(figure)


def time_rescaling(residuals: Mapping[str, npt.ArrayLike], *, label: Label = drawable) -> Figure:
    """Time between events as each model sees it, against an exponential law: on the diagonal if the model is right.

    `residuals` by model: integrated rates between events (`Hawkes.residuals_`). Each is turned into a uniform by
    `1 - exp(-x)`; the band is Kolmogorov-Smirnov's at 95 %, a little wide because parameters are fitted.
    Source: Ogata 1988; Brown et al. 2002.
    """
    figure = Figure(figsize=(5.4, 5.2), layout="constrained")
    (axes,) = axes_of(figure)
    rows = {name: np.sort(-np.expm1(-np.asarray(row, dtype=np.float64).ravel())) for name, row in residuals.items()}
    fewest = min((row.size for row in rows.values()), default=0)
    if not fewest or any(not (np.isfinite(row) & (row >= 0)).all() for row in rows.values()):
        raise DataError("time rescaling needs, for each model, one finite residual >= 0 for each event, at least one")
    half = float(kolmogi(0.05)) / np.sqrt(fewest)
    diagonal = np.array([0.0, 1.0])
    axes.fill_between(diagonal, diagonal - half, diagonal + half, color=GRID, alpha=0.6, linewidth=0, label="95 % band")
    axes.plot(diagonal, diagonal, color=INK, linewidth=1)
    styles = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, ":"))
    for (name, row), (colour, style) in zip(rows.items(), styles, strict=False):
        expected = (np.arange(row.size) + 0.5) / row.size
        axes.plot(expected, row, style, color=colour, linewidth=2, label=label(name))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("expected of an exponential law", color=INK, fontsize=9)
    axes.set_ylabel("seen, by the model's clock", color=INK, fontsize=9)
    axes.grid(color=GRID, linewidth=0.7)
    legend(figure, axes)
    return finish(figure)


def _losses(axes: Axes, frame: pd.DataFrame, factor: float, bottom: float) -> None:
    """Losses as bars, or as a line where there are many; those above the VaR in another colour and with a mark."""
    places, loss = np.arange(len(frame)), frame["loss"].to_numpy() / factor
    shown = np.maximum(loss, bottom)
    hit = frame["exceeded"].to_numpy(dtype=bool)
    if len(frame) > MANY:
        axes.plot(places, shown, color=INK, linewidth=1, label="loss")
    else:
        axes.bar(places, shown - bottom, bottom=bottom, width=0.7, color="#9a9aa3", linewidth=0, label="loss")
    if hit.any():
        axes.plot(places[hit], shown[hit], "v", color=ORANGE, markersize=8, label="loss above the VaR")


def _period_axis(axes: Axes, frame: pd.DataFrame, label: Label) -> None:
    step = -(-len(frame) // LABELS)
    places = np.arange(0, len(frame), step)
    axes.set_xticks(places, labels=[label(frame.index[int(k)]) for k in places])
    axes.set_xlim(-0.7, len(frame) - 0.3)


def _far_apart(amounts: npt.NDArray[np.float64]) -> bool:
    positive = amounts[amounts > 0]
    return bool(positive.size and positive.max() > SPREAD * np.median(positive))
