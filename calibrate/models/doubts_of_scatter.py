"""Whether the pool's losses scatter from period to period as scenarios do: what no part of the model looks at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, norm

from calibrate.models.arrays import Floats
from calibrate.models.doubts import SURE
from calibrate.models.process import Process
from calibrate.models.sampling import draw_losses

__all__ = ["quiet_flags", "scatter_flags"]

Places = npt.NDArray[np.intp]

FEWEST = 8  # periods
PLACES, DRAWN = 8, 4096  # periods at whose exposures scenarios are drawn, and how many in all
AGAIN = 4000  # histories drawn from the scenarios
APART = 1.5  # factor of the deviations from which it is said
WIDE = (
    "scenarios of the pool scatter {:.2g} times as much as its history did from period to period: something keeps the "
    "total steady that the model does not know, such as segments or members that do not lose in the same period. Tail "
    "risk is overstated"
)
NARROW = (
    "the history of the pool scatters {:.2g} times as much from period to period as scenarios do: bad periods are "
    "understated. Look for what hits many at once, for levels that move, and for losses of another kind among the "
    "rest: a segment of their own, Drifting() or with_stress come nearer to it"
)

QUIET = (
    "nobody loses in {} of {} periods of the history, and in {:.0%} of scenarios: one dependence says whether members "
    "are hit together and how large their losses then are, and cannot say both: give single events (from_events)"
)


def scatter_flags(
    process: Process, losses: Floats, exposures: Floats, expected: Callable[[Floats], Floats]
) -> tuple[str, ...]:
    """A sentence if the pool's losses (periods, columns) scatter much more or less than scenarios at these exposures.

    Each period's total over the expected one as a normal score of its place among scenarios, ties at their middle; the
    mean square of the scores against that of as many scenarios, drawn again and again. Ranks: a heavy tail says no more
    than its place. Source: Rosenblatt 1952 (such places); Gelman, Meng and Stern 1996 (a model against its own draws).
    """
    ahead = np.array([expected(row).sum() for row in exposures])
    there = ahead > 0
    if there.sum() < FEWEST:
        return ()
    ratios, at = losses[there].sum(axis=1) / ahead[there], np.flatnonzero(there)
    places, nearest = _places(exposures, at)
    seen, drawn, count = np.zeros(at.size), [], DRAWN // places.size
    for k, place in enumerate(places):
        totals = np.sort(draw_losses(process, count, exposures[place], k, n_jobs=1).sum(axis=1) / ahead[place])
        drawn.append(_scores(totals, totals))
        seen[nearest == k] = _scores(ratios[nearest == k], totals)
    generator = np.random.default_rng(0)
    squares = np.stack(drawn)[nearest] ** 2  # (periods, scenarios)
    chosen = generator.integers(0, count, (AGAIN, at.size))
    likely = squares[np.arange(at.size), chosen].mean(axis=1)
    found, usual = float((seen**2).mean()), float(likely.mean())
    p_value = 2 * min(float((likely <= found).mean()), float((likely >= found).mean()))
    times = float(np.sqrt(usual / max(found, 1e-12)))
    if p_value > SURE or not usual > 0 or 1 / APART < times < APART:
        return ()
    said = WIDE.format(times) if times > 1 else NARROW.format(1 / times)
    return (f"{said} (places of {at.size} periods among scenarios, p-value {max(p_value, 1 / AGAIN):.2g})",)


def quiet_flags(process: Process, losses: Floats, exposures: Floats) -> tuple[str, ...]:
    """A sentence if the pool lost nothing in many more, or fewer, periods than in scenarios at their exposures.

    Binomial test, of panels in which columns lose nothing at all in some periods; none where each of them always loses.
    """
    if not (losses[exposures > 0] == 0).any():
        return ()
    at = np.flatnonzero(exposures.any(axis=1))
    places, nearest = _places(exposures, at)
    count, often = DRAWN // places.size, 0.0
    for k, place in enumerate(places):
        totals = draw_losses(process, count, exposures[place], k, n_jobs=1).sum(axis=1)
        often += float((totals == 0).mean()) * float((nearest == k).mean())
    quiet = int((losses[at].sum(axis=1) == 0).sum())
    if binomtest(quiet, at.size, min(often, 1.0)).pvalue >= SURE:
        return ()
    return (QUIET.format(quiet, at.size, often),)


def _places(exposures: Floats, at: Places) -> tuple[Places, Places]:
    """Some of the periods `at`, at whose exposures scenarios are drawn, and which of them is nearest to each."""
    places = at[np.unique(np.linspace(0, at.size - 1, PLACES).round().astype(int))]
    places = places[: 1 if (exposures[places] == exposures[places[0]]).all() else None]
    return places, np.abs(at[:, None] - places).argmin(axis=1)


def _scores(values: Floats, among: Floats) -> Floats:
    """Normal scores of the places of values among sorted ones."""
    low, high = np.searchsorted(among, values, "left"), np.searchsorted(among, values, "right")
    return np.asarray(norm.ppf(((low + high) / 2 + 0.5) / (among.size + 1)))
