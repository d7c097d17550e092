"""Events of a period that shocks bring: one that all members of a segment share, which may wander, or excite itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import gammainccinv, gammaincinv

from calibrate.models.alike import Shocks
from calibrate.models.arrays import Floats
from calibrate.models.collective import Collective
from calibrate.models.dependence import Dependence
from calibrate.models.dependence.base import Exceedances
from calibrate.models.frequency import Drifting
from calibrate.models.frequency.self_exciting import SelfExciting
from calibrate.models.process import (
    CollectiveProcess,
    Key,
    Memoryless,
    Mixed,
    Process,
    Step,
    add_in_order,
    lowest_scores,
)
from calibrate.models.sizes import Places

__all__ = ["DriftingShocks", "PartlyShared", "SelfExcitedEvents", "SharedShocks", "shock_process"]


class SharedShocks(Memoryless):
    """Events of a segment at a rate that one gamma shock `G[g]` moves for all its members; a copula binds the shocks.

    `N[g] ~ Poisson(G[g] sum_i m[i, g])`, who is hit by `m[i, g]`, losses `Alike`; margins as in `Collective`.
    """

    def __init__(self, collective: Collective, dependence: Dependence) -> None:
        self.margins: Collective = collective
        self.dependence = dependence

    def bound(self, segment: int) -> None:
        """By their shock alone."""

    def among(self, laws: Sequence[Collective], exposures: Floats) -> Mixed:
        """Shocks, number of events, who is hit, how much is paid."""
        laws = [law.moved(exposures) for law in laws]
        means, caps = [law.means(exposures) for law in laws], self.margins.caps(exposures)

        def add(rows: Floats, places: Places, which: Places, keys: Sequence[Key]) -> None:
            uniform = self.dependence.sample(places.size, keys[0])
            rng = np.random.Generator(np.random.SFC64(keys[1]))
            for k, (law, table) in enumerate(zip(laws, means, strict=True)):
                own = np.flatnonzero(which == k)
                for g in map(int, np.flatnonzero(table.sum(axis=0))):
                    shocks = _shocks(law.segments[g].frequency.size_, uniform[own, g])
                    law.add_shared_events(rows, places[own], g, shocks, table[:, g], caps[:, g], rng)

        return add


def _shocks(size: float, uniform: Floats) -> Shocks:
    """Gamma shocks of mean 1 at these levels."""
    values = np.ones_like(uniform) if math.isinf(size) else np.asarray(gammaincinv(size, uniform) / size)
    return Shocks(values, size)


class PartlyShared(Memoryless):
    """Some segments as in `SharedShocks`, the members of the others hit apart, as in `OrderedMargins`.

    One dependence binds their units: the shocks of the segments that are `shared`, then the columns of the others.
    """

    def __init__(self, collective: Collective, dependence: Dependence, shared: Sequence[int], columns: Places) -> None:
        self.margins: Collective = collective
        self.dependence = dependence
        self.shared, self.columns = tuple(shared), columns

    def bound(self, segment: int) -> Floats | None:
        """Of their losses, where they are hit apart."""
        if segment in self.shared:
            return None
        own = len(self.shared) + np.flatnonzero(self.columns % len(self.margins.segments) == segment)
        return np.asarray(self.dependence.correlation_[np.ix_(own, own)])

    def among(self, laws: Sequence[Collective], exposures: Floats) -> Mixed:
        """Shocks are scores that every scenario has; columns have one where they lose something."""
        laws = [law.moved(exposures) for law in laws]
        k, caps, means = len(self.shared), self.margins.caps(exposures), [law.means(exposures) for law in laws]
        none = [np.append(np.zeros(k), law.zero_probability(exposures)[self.columns]) for law in laws]
        thresholds = np.stack([lowest_scores(self.dependence, each) for each in none])
        units = np.zeros(exposures.size, dtype=np.intp)
        units[self.columns] = k + np.arange(self.columns.size)

        def add(rows: Floats, places: Places, which: Places, keys: Sequence[Key]) -> None:
            first, second = (np.random.Generator(np.random.SFC64(key)) for key in keys)
            losing = self.dependence.exceedances_by_law(which, thresholds, first)
            for law, table, part in zip(laws, means, losing.parts(thresholds.shape[1]), strict=True):
                for u, g in enumerate(self.shared):
                    own = slice(part.starts[u], part.starts[u + 1])
                    exceeded = self.dependence.score_sf(part.scores[own], u)
                    if table[:, g].any():
                        shocks = _exceeded_shocks(law.segments[g].frequency.size_, exceeded)
                        law.add_shared_events(rows, places[part.rows[own]], g, shocks, table[:, g], caps[:, g], second)
                apart = self._of_columns(part, exposures.size)
                add_in_order(rows, places, law, apart, self.dependence, units, exposures, second)

        return add

    def _of_columns(self, losing: Exceedances, n: int) -> Exceedances:
        """By column; those of shared segments have none."""
        counts = np.zeros(n, dtype=np.int64)
        counts[self.columns] = losing.counts[len(self.shared) :]
        first = losing.starts[len(self.shared)]
        starts = np.concatenate([[0], np.cumsum(counts)])
        return Exceedances(losing.rows[first:], losing.scores[first:], starts)


def _exceeded_shocks(size: float, exceeded: Floats) -> Shocks:
    """Gamma shocks of mean 1 that are exceeded with these probabilities."""
    values = np.ones_like(exceeded) if math.isinf(size) else np.asarray(gammainccinv(size, exceeded) / size)
    return Shocks(values, size)


class DriftingShocks(CollectiveProcess):
    """As `SharedShocks`, by shocks that remember the period before: all periods ahead are one step."""

    def __init__(self, collective: Collective, dependence: Dependence, frequencies: Sequence[Drifting]) -> None:
        self.margins: Collective = collective
        self.dependence = dependence
        self.frequencies = list(frequencies)

    def at(self, exposures: Floats, periods: int = 1) -> list[Step]:
        """Period after period: shocks, number of events, who is hit, how much is paid."""
        margins = self.margins.moved(exposures)
        means, caps = margins.means(exposures), margins.caps(exposures)
        active = [(g, part, part.laws(periods)) for g, part in enumerate(self.frequencies) if means[:, g].any()]

        def add(rows: Floats, keys: Sequence[Key]) -> None:
            first, second = (np.random.Generator(np.random.SFC64(key)) for key in keys)
            last, places = dict[int, Floats](), np.arange(len(rows))
            for period in range(periods):
                uniform = self.dependence.sample(len(rows), first)
                for g, part, laws in active:
                    level = uniform[:, g]
                    last[g] = part.next_shocks(last[g], level, second) if g in last else part.shocks(level)
                    shocks = Shocks(last[g], *laws[period])
                    margins.add_shared_events(rows, places, g, shocks, means[:, g], caps[:, g], second)

        return [add]


def shock_process(collective: Collective, dependence: Dependence) -> CollectiveProcess:
    """Shocks that remember where they were, if the frequencies do; all segments have one family."""
    wander = [part.frequency for part in collective.segments if isinstance(part.frequency, Drifting)]
    return DriftingShocks(collective, dependence, wander) if wander else SharedShocks(collective, dependence)


class SelfExcitedEvents(Process):
    """Events that bring further events (Hawkes), from where the history ends; who is hit by the members' rates.

    All periods ahead are one step: an event of the first may bring others in the last. Segments excite themselves only.
    """

    def __init__(self, collective: Collective, frequencies: Sequence[SelfExciting]) -> None:
        self.margins: Collective = collective
        self.frequencies = list(frequencies)

    def at(self, exposures: Floats, periods: int = 1) -> list[Step]:
        """Number of events, who is hit, how much is paid."""
        margins = self.margins.moved(exposures)
        table, caps = margins.by_segment(exposures), margins.caps(exposures)

        def add(rows: Floats, keys: Sequence[Key]) -> None:
            first, second = (np.random.Generator(np.random.SFC64(key)) for key in keys)
            places = np.arange(len(rows))
            for g, frequency in enumerate(self.frequencies):
                counts = frequency.totals(len(rows), table[:, g], periods, first)
                if counts.any():
                    owned = frequency.shares(table[:, g])
                    levels = second.standard_exponential(int(counts.sum()))
                    margins.add_events(rows, places, g, counts, levels, owned, caps[:, g], second)

        return [add]
