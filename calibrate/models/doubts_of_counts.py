"""What numbers of events say against the model, in sentences: they remember, have seasons, or hit many at once."""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import gammaincinv
from scipy.stats import binom, f

from calibrate.models.arrays import Floats
from calibrate.models.doubts import APART, DRAWN_ANEW, SURE, persistence_flags
from calibrate.models.frequency.drifting import memory_evidence
from calibrate.models.frequency.model import CountModel, Order

__all__ = ["count_flags", "ratio_season_flags", "season_flags", "together_flags"]

PARTS = {"D": 12, "W": 12, "M": 12, "Q": 4}  # of the year, by the length of a period
YEARS, STEADY_YEARS = 2, 4  # fewest, of events and of ratios, which lose one at their ends
STABLE = 5e-4  # p-value: moving averages bind neighbours, so that one pool in a hundred without a season has it
FEWEST = 0.5  # events in a part of a year, on average
NODES = 400  # equally likely shocks
FAINT = 1e-3  # expected number of events from which down nobody is hit
GRID = 64  # shocks at which the number of members hit is computed
RARE = 0.1  # chance of a period in which so many members are hit


def count_flags(
    counts: Floats, models: Sequence[CountModel], periods: pd.PeriodIndex, names: Sequence[str]
) -> tuple[str, ...]:
    """What counts (periods, members, segments) say against the models of the segments."""
    expected = np.stack([model.means_ for model in models], axis=2)
    what = "numbers of events over expected ones"
    found = persistence_flags(what, counts, expected, periods, DRAWN_ANEW, memory_evidence) + season_flags(
        counts, expected, periods
    )
    for g, (name, model) in enumerate(zip(names, models, strict=True)):
        if model.shared and model.order is not Order.NEIGHBOURS:
            found += together_flags(name, counts[:, :, g], model.means_, model.size_)
    return found


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


def together_flags(name: str, counts: Floats, expected: Floats, size: float) -> tuple[str, ...]:
    """A sentence if many members of a segment are hit in one period more often than its gamma shock has it.

    Members hit at once in counts (periods, members); of the numbers `k` that the shock brings in at most `RARE` of
    periods, how often so many were hit, against the binomial law.
    """
    hit = (counts > 0).sum(axis=1)
    chances = _hit_chances(expected, size, int(hit.max()))
    seen = (hit[:, None] >= np.arange(chances.size)).sum(axis=0)
    more = (chances <= RARE) & (seen >= APART * chances * len(hit))
    p_values = np.where(more, binom.sf(seen - 1, len(hit), chances), 1.0)
    k = int(p_values.argmin())
    if p_values[k] > SURE:
        return ()
    return (
        f"segment {name!r}: at least {k} of {counts.shape[1]} members are hit in {seen[k]} of {len(hit)} periods, and "
        f"the shock that they share brings {chances[k] * len(hit):.2g} such periods (p-value {p_values[k]:.2g}): how "
        "many are hit together is understated, and with it what coalitions cost, and rules of fairness that ask for "
        "it. A segment of their own for the events that hit many comes nearer to it; with_stress adds such a period",
    )


def _hit_chances(expected: Floats, size: float, most: int) -> Floats:
    """Chance that at least k members are hit in a period, for k = 0 to `most`, by one gamma shock of 1/`size` for all.

    Given the shock `G` member i is hit with `1 - exp(-m[i] G)`, apart from the others, in shares of the expected number
    that are those of all periods. Source: Hong 2013, Computational Statistics and Data Analysis 59 (such sums).
    """
    totals = expected.sum(axis=1)
    shocks = np.ones(1) if np.isinf(size) else gammaincinv(size, (np.arange(NODES) + 0.5) / NODES) / size
    grid, weights = _binned(np.log(np.maximum(np.multiply.outer(totals, shocks), FAINT)))
    exactly = np.zeros((GRID, most + 1))
    exactly[:, 0] = 1.0
    for share in expected.sum(axis=0) / totals.sum():
        hit = -np.expm1(-share * np.exp(grid))[:, None]
        more = exactly[:, :-1] * hit
        exactly *= 1 - hit
        exactly[:, 1:] += more
    fewer = np.append(0.0, np.cumsum(weights @ exactly)[:-1])
    return np.asarray(np.clip(1 - fewer, 1e-15, 1.0))


def _binned(values: Floats) -> tuple[Floats, Floats]:
    """Even points, and the weight of each of them in the mean of a function that is linear between them."""
    grid = np.linspace(values.min(), values.max() + 1e-9, GRID)
    place = (values.ravel() - grid[0]) / (grid[1] - grid[0])
    low = np.minimum(place.astype(int), GRID - 2)
    weights = np.bincount(low, 1 - place + low, GRID) + np.bincount(low + 1, place - low, GRID)
    return grid, weights / values.size
