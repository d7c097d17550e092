"""What a history cannot tell, in sentences: periods that remember, too few of them, a mean that rests on one loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import chi2, kruskal, norm, rankdata

from calibrate.models.arrays import Floats

__all__ = [
    "DRAWN_ANEW",
    "alike_flags",
    "alike_neighbours",
    "cap_flags",
    "edge_flags",
    "few_periods_flags",
    "level_flags",
    "persistence_flags",
    "pile_flags",
    "shared_scatter",
    "silence_flags",
    "thin_flags",
]

Places = npt.NDArray[np.intp]

FEWEST, LATEST = 8, 3
FEW_PERIODS = 10  # of a panel
TIED = 3  # losses at one amount that look cut off there
APART = 2.0  # factor between expected and observed losses from which it is said
DRAWN_ANEW = (
    "Scenarios draw every period anew around the whole history: the next one may lie outside their intervals more "
    "often than they say, and a sum of several much more often; consider frequency=Drifting(), Trend(...) or "
    "Hawkes(resolution=1.0)"
)
EDGES = 0.1  # chance of events in the first and in the last period from which down they look like the edges chosen
SURE = 0.01  # p-value from which it is said: one pool in a hundred that forgets is called one that remembers


def alike_neighbours(values: Floats) -> float:
    """One-sided p-value of neighbours more alike than chance has it; 1 below 8 periods, or if half of them are equal.

    `sum (R_t - R_(t+1))^2 / sum (R_t - mean R)^2` of the ranks `R` is about normal, with mean 2, if the order means
    nothing; a trend, a cycle or a level that wanders makes it small. Source: Bartels 1982, JASA 77 (rank von Neumann).

    >>> alike_neighbours(np.arange(10.0)) < 0.001, alike_neighbours(np.array([1.0, 8, 2, 7, 3, 6, 4, 5])) > 0.5
    (True, True)
    """
    n = len(values)
    if n < FEWEST or np.unique(values, return_counts=True)[1].max() > n / 2:
        return 1.0
    ranks = rankdata(values)
    ratio = float((np.diff(ranks) ** 2).sum() / ((ranks - ranks.mean()) ** 2).sum())
    variance = 4 * (n - 2) * (5 * n**2 - 2 * n - 9) / (5 * n * (n + 1) * (n - 1) ** 2)
    return float(norm.cdf((ratio - 2) / math.sqrt(variance)))


def persistence_flags(
    what: str,
    seen: Floats,
    expected: Floats,
    periods: pd.PeriodIndex,
    outlook: str,
    evidence: Callable[[Floats, Floats], float] | None = None,
) -> tuple[str, ...]:
    """A sentence if what was `seen` of the pool (periods first) over what was `expected` remembers; else nothing.

    `outlook` is what scenarios do about it. By ranks, and by the `evidence` for memory of a law of what was seen, twice
    which is chi-square of one degree half of the time, else 0 (Self and Liang 1987, JASA 82); Bonferroni's of the two.
    """
    seen, expected = (table.reshape(len(table), -1).sum(axis=1) for table in (seen, expected))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(expected > 0, seen / expected, np.nan)
    known = np.isfinite(ratios)
    p_value = alike_neighbours(ratios[known])
    if evidence is not None:
        p_value = min(2 * p_value, float(chi2.sf(2 * evidence(seen[known], expected[known]), 1)))
    if p_value > SURE:
        return ()
    names = [str(period) for period, kept in zip(periods, known, strict=True) if kept]
    latest = float(seen[known][-LATEST:].sum() / expected[known][-LATEST:].sum())
    whole = float(seen[known].sum() / expected[known].sum())
    return (
        f"{what} of the pool remember where they were (neighbouring periods are alike, p-value {p_value:.2g}): "
        f"{ratios[known][0]:.3g} in {names[0]}, {ratios[known][-1]:.3g} in {names[-1]}; {latest:.3g} in the last "
        f"{LATEST} periods, {whole:.3g} in all. {outlook}",
    )


def thin_flags(periods: int, knowledge: str) -> tuple[str, ...]:
    """A sentence if a panel has few periods; `knowledge` is what the simulation makes of them."""
    if periods >= FEW_PERIODS:
        return ()
    return (
        f"{periods} periods are few: how members' losses come together rests on what members share, and the simulation "
        f"takes that as known. {knowledge}",
    )


def few_periods_flags(periods: int, known: bool) -> tuple[str, ...]:
    """A sentence if an event history has few periods; `known`: whether the simulation takes its parameters as known."""
    if periods >= FEW_PERIODS:
        return ()
    if known:
        return (
            f"{periods} periods are few: how often events come, how they come together and how large they are is taken "
            "as known. Of known pools with 6 periods, so taken, the next one lay outside the 90 % interval 15 to 23 "
            "times of 100, beyond the 99 % quantile 1 to 5 times; PoolCalibrator.uncertainty says what a history of "
            "this length leaves open",
        )
    return (
        f"{periods} periods are few: scenarios scatter by what they leave open of rates, of shocks, of whether members "
        "share them, of the sizes of events, and of how alike these are within a period; the correlation of members "
        "and families of sizes are taken as known. Of known pools with 6 periods the next one lay outside the 90 % "
        "interval 8 to 12 times of 100, beyond the 99 % quantile 1 to 3 times",
    )


def level_flags(expected: Floats, losses: Floats, exposures: Floats) -> tuple[str, ...]:
    """A sentence if the pool's expected loss is far from what the history (periods, columns) cost at these exposures.

    `expected` is by column, at the level of the whole history.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = np.where(exposures.sum(axis=0) > 0, losses.sum(axis=0) / exposures.sum(axis=0), 0.0)
    seen, found = float(rates @ exposures[-1]), float(expected.sum())
    if not seen > 0 or 1 / APART <= found / seen <= APART:
        return ()
    share = float(losses.max() / losses.sum())
    return (
        f"expected losses of the pool, at the level of its whole history, are {found / seen:.2g} times what the "
        f"history cost at these exposures; the largest loss of one member in one period is {share:.0%} of all: the "
        "mean rests on how its tail is thought of",
    )


def alike_flags(
    names: Mapping[int, str], losses: Floats, segment: Places, owner: Places, when: Places
) -> tuple[str, ...]:
    """A sentence for each of the named segments in which losses of one period are alike in size, beyond a trend.

    Kruskal-Wallis test of the log-losses, each over its member's mean, by period; the share of their variance that lies
    between periods by moments. Source: Kruskal and Wallis 1952, JASA 47.
    """
    found = []
    for g, name in names.items():
        part = segment == g
        logs, rows, who = np.log(losses[part]), when[part], owner[part]
        logs = logs - (np.bincount(who, logs) / np.maximum(np.bincount(who), 1))[who]
        several = np.bincount(rows)[rows] > 1
        logs, rows = logs[several], rows[several]
        periods = np.unique(rows)
        if periods.size < FEWEST or not np.ptp(logs) > 0:
            continue
        time = rows - rows.mean()
        logs = logs - (time @ logs) / (time @ time) * time
        groups = [logs[rows == period] for period in periods]
        p_value = float(kruskal(*groups).pvalue)
        if p_value > SURE:
            continue
        share = shared_scatter(groups)
        found.append(
            f"segment {name!r}: losses of one period are alike in size (p-value {p_value:.2g}; {share:.0%} of the "
            "scatter of their logs lies between periods), and are drawn independently of each other unless members "
            "share shocks: bad periods may be understated. Ask for SharedShock(), whose losses may be alike"
        )
    return tuple(found)


def pile_flags(names: Sequence[str], losses: Floats, segment: Places, owner: Places) -> tuple[str, ...]:
    """A sentence for each segment in which several losses are exactly the largest of their member, or of all.

    Where hardly two others are equal: chance does not bring such ties.
    """
    found = []
    for g, name in enumerate(names):
        own, who = losses[segment == g], owner[segment == g]
        largest = np.zeros(int(who.max(initial=0)) + 1)
        np.maximum.at(largest, who, own)
        top = own == largest[who]
        tops = np.bincount(who[top], minlength=largest.size)
        cut = (top & (tops[who] >= TIED)) | ((own == own.max()) & ((own == own.max()).sum() >= TIED))
        rest = own[~cut]
        count, others = int(cut.sum()), rest.size - np.unique(rest).size
        if 0 < count < own.size and others <= count / 2:
            found.append(
                f"segment {name!r}: {count} of {own.size} losses are exactly the largest of their member, up to "
                f"{own[cut].max():g}: they look cut off at a limit, and what is drawn beyond it is a guess; say which "
                "by at_least, or give the limit as coverage, or the losses before it"
            )
    return tuple(found)


def shared_scatter(groups: Sequence[Floats]) -> float:
    """Share of the variance that lies between groups: one-way analysis, by moments; 0 for groups of one."""
    sizes = np.array([each.size for each in groups], dtype=float)
    total, k = float(sizes.sum()), len(groups)
    if total == k:
        return 0.0
    means = np.array([each.mean() for each in groups])
    centre = float(sizes @ means) / total
    within = sum(float(((each - mean) ** 2).sum()) for each, mean in zip(groups, means, strict=True)) / (total - k)
    between = float(sizes @ (means - centre) ** 2) / (k - 1)
    component = max((between - within) / ((total - float(sizes @ sizes) / total) / (k - 1)), 0.0)
    return component / (component + within) if component > 0 else 0.0


def silence_flags(when: Places, periods: pd.PeriodIndex) -> tuple[str, ...]:
    """A sentence if no event lies in more than half of the history on end, and chance would not have it; or if all do
    in one period.

    `n` periods at random leave so long a gap somewhere with probability `(n + 1)(1 - gap)^n`, the gap as a share of the
    history, above 1/2 (Whitworth 1901: parts of a line broken at random).
    """
    places = np.unique(when)
    if places.size == 1 < len(when) and len(periods) >= FEWEST:
        return (
            f"all {len(when)} losses lie in {periods[places[0]]}, one of {len(periods)} periods: how often such a "
            "period comes, and how far it hits all, rests on this one",
        )
    edges = np.concatenate([[-1], places, [len(periods)]])
    k = int(np.argmax(np.diff(edges)))
    silent = int(edges[k + 1] - edges[k]) - 1
    share = silent / len(periods)
    if share <= 1 / 2 or (places.size + 1) * (1 - share) ** places.size > SURE:
        return ()
    return (
        f"{silent} of {len(periods)} periods on end have no event, {periods[edges[k] + 1]} to "
        f"{periods[edges[k + 1] - 1]}, and count as years of peace: if a date is wrong, or losses were not recorded "
        "then, mend it or give start and end",
    )


def edge_flags(when: Places, periods: pd.PeriodIndex) -> tuple[str, ...]:
    """A sentence if a history begins and ends with an event, and chance would hardly have it so.

    `n` events that fall anywhere hit a given one of `T` periods with probability `1 - (1 - 1/T)^n`. From the first to
    the last of them is `(n - 1) / (n + 1)` of the whole time in the mean (spacings of uniform points).
    """
    n, span = len(when), len(periods)
    if n < 2 or span < FEWEST or when.min() > 0 or when.max() < span - 1 or (1 - (1 - 1 / span) ** n) ** 2 > EDGES:
        return ()
    return (
        f"the history begins and ends with an event, in {periods[0]} and {periods[-1]}, as it does where start and end "
        f"are not given, and has {n} events: if it was watched longer, rates are too high, about "
        f"{(n + 1) / (n - 1):.2g} times the true ones; give start and end",
    )


def cap_flags(losses: Floats, caps: Floats) -> tuple[str, ...]:
    """A sentence if losses of the history are larger than the most that one event, or period, is said to cost."""
    above = losses > caps
    if not above.any():
        return ()
    with np.errstate(divide="ignore"):
        worst = float((losses[above] / caps[above]).max())
    return (
        f"{int(above.sum())} of {losses.size} losses are above exposure_cap times the exposure, the largest "
        f"{worst:.3g} times it: nothing as large is drawn; raise exposure_cap, or mend the exposures",
    )
