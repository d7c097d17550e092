"""What numbers of events say against the model, in sentences: they remember, hit many at once, or are far too many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import gammaincinv
from scipy.stats import binom, nbinom, poisson

from calibrate.models.arrays import Floats
from calibrate.models.doubts import APART, DRAWN_ANEW, SURE, persistence_flags
from calibrate.models.doubts_of_seasons import season_flags
from calibrate.models.frequency.drifting import memory_evidence
from calibrate.models.frequency.model import CountModel, Order

__all__ = ["beyond_flags", "count_flags", "together_flags"]

NODES = 400  # equally likely shocks
FAINT = 1e-3  # expected number of events from which down nobody is hit
GRID = 64  # shocks at which the number of members hit is computed
RARE = 0.1  # chance of a period in which so many members are hit
BEYOND = np.array([0.05, 0.02, 0.005, 0.001, 0.0002])  # chances of periods of so many events, which are counted
SEVERAL = 2  # of these


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
            found += beyond_flags(name, counts[:, :, g].sum(axis=1), model.means_.sum(axis=1), model.size_, len(names))
    return found


def beyond_flags(name: str, totals: Floats, expected: Floats, size: float, looks: int = 1) -> tuple[str, ...]:
    """A sentence if far more periods than expected have more events of all members than high quantiles, 95 to 99.98 %.

    Of the negative binomial law of totals (periods,) that one gamma shock of variance 1/`size` brings; binomial tests,
    Bonferroni's p-value of them all in so many `looks` (segments). What was fitted to these totals is nearer to
    them than the truth, so that it seldom speaks of pools that one shock can say.
    """
    law = poisson(expected[:, None]) if np.isinf(size) else nbinom(size, (size / (size + expected))[:, None])
    most = law.isf(BEYOND)
    chances, seen = law.sf(most).mean(axis=0), (totals[:, None] > most).sum(axis=0)
    far = seen >= np.maximum(SEVERAL, APART * chances * totals.size)
    p_values = np.where(far, binom.sf(seen - 1, totals.size, chances), 1.0)
    k = int(p_values.argmin())
    p_value = float(p_values[k]) * BEYOND.size * looks
    if p_value > SURE:
        return ()
    return (
        f"segment {name!r}: {seen[k]} of {totals.size} periods have more events than the shock that members share "
        f"brings in {100 - 100 * BEYOND[k]:g} % of them, and {chances[k] * totals.size:.2g} such periods are to be "
        f"expected (p-value {p_value:.2g}): the tail of the pool is understated. A crash beside a quiet background is "
        "not one gamma shock: give the events of such days a segment of their own, or add such a period by with_stress",
    )


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
