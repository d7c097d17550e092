"""Seasons that no model knows, in sentences: of numbers of events, and of loss ratios."""

from __future__ import annotations

import calendar
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import f

from calibrate.models.arrays import Floats
from calibrate.models.doubts import SURE

__all__ = ["ratio_season_flags", "season_flags"]

PARTS = {"D": 12, "W": 12, "M": 12, "Q": 4}  # of the year, by the length of a period
YEARS, STEADY_YEARS = 2, 4  # fewest, of events and of ratios, which lose one at their ends
STABLE = 5e-4  # p-value: moving averages bind neighbours, so that one pool in a hundred without a season has it
FEWEST = 0.5  # events in a part of a year, on average


def season_flags(counts: Floats, expected: Floats, periods: pd.PeriodIndex) -> tuple[str, ...]:
    """A sentence if events over expected ones (periods first) go by the month or the quarter of the year.

    Analysis of variance of `(N - m) / sqrt(m)` by part of the year: overdispersion is in both sums of squares, and a
    level that wanders rather hides a season than feigns one. Source: McCullagh and Nelder 1989, 4.5 and 9.2.
    """
    parts = PARTS.get(periods.freqstr[0])
    if parts is None:
        return ()
    seen, hoped, part = _by_part(counts, expected, periods, parts)
    if np.bincount(part, minlength=parts).min() < YEARS or seen.mean() < FEWEST:
        return ()
    p_value = _apart((seen - hoped) / np.sqrt(hoped), part)
    if p_value > SURE:
        return ()
    most, least, ahead = _told(np.bincount(part, seen) / np.bincount(part, hoped), periods)
    return (
        f"events have a season (p-value {p_value:.2g}): {most} the number expected, the most, {least}, the fewest; "
        f"scenarios know no season, and {ahead}, the part of the year that lies ahead. Drifting, Trend and Hawkes do "
        "not help: take period='Y', or frequency=LogLinear(covariates=...) with cosine and sine of the year",
    )


def ratio_season_flags(losses: Floats, expected: Floats, periods: pd.PeriodIndex) -> tuple[str, ...]:
    """A sentence if losses over expected ones (periods, columns), of all together, go by the part of the year.

    Analysis of variance by part of the log ratio less its moving average over a year, which takes with it a level that
    wanders, and growth. Source: Shiskin, Young and Musgrave 1967 (the stable seasonality of X-11).
    """
    parts = PARTS.get(periods.freqstr[0])
    if parts is None:
        return ()
    seen, hoped, part = _by_part(losses, expected, periods, parts)
    whole = bool(np.all(np.diff(part) % parts == 1)) and bool((seen > 0).all())
    if not whole or part.size < parts * STEADY_YEARS:
        return ()
    logs, half = np.log(seen / hoped), parts // 2
    year = np.r_[0.5, np.ones(parts - 1), 0.5] / parts
    rest, part = (logs - np.convolve(logs, year, "same"))[half:-half], part[half:-half]
    p_value = _apart(rest, part)
    if p_value > STABLE:
        return ()
    most, least, ahead = _told(np.exp(np.bincount(part, rest) / np.bincount(part)), periods)
    return (
        f"loss ratios have a season (p-value {p_value:.2g}): {most} the losses of its year, the most, {least}, the "
        f"fewest; scenarios know no season and take it for a level that moves, and {ahead}, the part of the year that "
        "lies ahead. Take years as periods, or divide losses by such factors before, and multiply by those ahead",
    )


def _told(over: Floats, periods: pd.PeriodIndex) -> Iterator[str]:
    """What the largest, the smallest and the next part of the year brings."""
    parts = over.size
    names = list(calendar.month_name)[1:] if parts == 12 else [f"quarter {k}" for k in range(1, 5)]
    places = (int(over.argmax()), int(over.argmin()), (periods[-1] + 1).month * parts // 12 - 1)
    return (f"{names[k]} brings {over[k]:.2g} times" for k in places)


def _by_part(
    counts: Floats, expected: Floats, periods: pd.PeriodIndex, parts: int
) -> tuple[Floats, Floats, npt.NDArray[np.intp]]:
    """Events and expected ones of each part of each year that the history has as a whole, and which part it is."""
    places = np.asarray((periods.year * 12 + periods.month - 1) * parts // 12, dtype=np.intp)
    places, cell, length = np.unique(places, return_inverse=True, return_counts=True)
    seen, hoped = (np.bincount(cell, table.reshape(len(table), -1).sum(axis=1)) for table in (counts, expected))
    kept = (hoped > 0) & (2 * length > length.max())
    return seen[kept], hoped[kept], places[kept] % parts


def _apart(values: Floats, group: npt.NDArray[np.intp]) -> float:
    """P-value of groups whose means are as far apart: one-way analysis of variance; 1 if all values are equal."""
    size = np.bincount(group)
    means = (np.bincount(group, values) / size)[group]
    between = float(((means - values.mean()) ** 2).sum()) / (size.size - 1)
    within = float(((values - means) ** 2).sum()) / (values.size - size.size)
    if not between > 0:
        return 1.0
    return float(f.sf(between / within if within > 0 else np.inf, size.size - 1, values.size - size.size))
