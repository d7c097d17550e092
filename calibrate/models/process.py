"""How the columns' losses come together in one period."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from numba import njit
from scipy.special import gammaincinv

from calibrate.models.alike import Shocks
from calibrate.models.arrays import Floats
from calibrate.models.collective import Collective
from calibrate.models.dependence import Dependence
from calibrate.models.frequency import Drifting
from calibrate.models.frequency.self_exciting import SelfExciting
from calibrate.models.interpolation import QuantileTable
from calibrate.models.margins import InvertibleMargins, Margins
from calibrate.models.sizes import Places

__all__ = [
    "CollectiveProcess",
    "ComposedMargins",
    "DriftingShocks",
    "Key",
    "Memoryless",
    "Mixed",
    "OrderedMargins",
    "Process",
    "SelfExcitedEvents",
    "SharedShocks",
    "Step",
    "children",
    "shock_process",
]

Key = np.random.SeedSequence
Step = Callable[[Floats, Sequence[Key]], None]
Mixed = Callable[[Floats, Places, Places, Sequence[Key]], None]  # scenario k is row `places[k]`, by law `which[k]`
STRETCH = 2**17  # losses of so many rows and columns are added together


class Process(ABC):
    """How the periods ahead are drawn for many scenarios."""

    margins: Margins

    @abstractmethod
    def at(self, exposures: Floats, periods: int = 1) -> list[Step]:
        """Steps that add the losses of so many periods to rows (scenarios, columns), at the exposures by column.

        One step a period, or one for all of them where a period remembers those before it. A step takes the rows and
        two keys: a seed for the dependence, one for the losses.
        """


class CollectiveProcess(Process):
    """Of events, bound by a dependence."""

    margins: Collective
    dependence: Dependence


class Memoryless(CollectiveProcess):
    """Periods that know nothing of each other, so that scenarios of several laws can be drawn together."""

    @abstractmethod
    def among(self, laws: Sequence[Collective], exposures: Floats) -> Mixed:
        """A step in which each scenario has one of the laws for its margins."""

    def at(self, exposures: Floats, periods: int = 1) -> list[Step]:
        """All by one law."""
        step = self.among([self.margins], exposures)

        def add(rows: Floats, keys: Sequence[Key]) -> None:
            step(rows, np.arange(len(rows)), np.zeros(len(rows), dtype=np.intp), keys)

        return [add] * periods


def children(key: Key, n: int) -> list[Key]:
    """Keys that follow from one, without a mark on it: it may be used again."""
    return [np.random.SeedSequence(key.entropy, spawn_key=(*key.spawn_key, k)) for k in range(n)]


class ComposedMargins(Process):
    """Quantile of each margin at the level of its score: `L = Q_j(F(s_j))`. Only what loses something is transformed.

    The chance `P(score > s) / P(loss)` goes into the survival form of the quantile: exact far in the tail.
    """

    def __init__(self, margins: InvertibleMargins, dependence: Dependence) -> None:
        self.margins: InvertibleMargins = margins
        self.dependence = dependence
        self._tables: dict[int, tuple[float, QuantileTable]] = {}

    def at(self, exposures: Floats, periods: int = 1) -> list[Step]:
        """Scores above the thresholds, and their losses by table."""
        thresholds = _thresholds(self.dependence, self.margins.zero_probability(exposures))
        tables = {int(j): self.table(int(j), exposures) for j in np.flatnonzero(thresholds < np.inf)}

        def add(rows: Floats, keys: Sequence[Key]) -> None:
            losing = self.dependence.exceedances(len(rows), thresholds, np.random.Generator(np.random.SFC64(keys[0])))
            losses = losing.scores
            for j, part in losing.columns:
                losses[part] = tables[j](losses[part])
            _add(rows, losing.rows.astype(np.intp), losing.starts, losses)

        return [add] * periods

    def table(self, column: int, exposures: Floats) -> QuantileTable:
        """Losses of one column by score; kept for the next scenarios at the same exposure."""
        kept = self._tables.get(column)
        if kept is not None and kept[0] == exposures[column]:
            return kept[1]
        none = self.margins.zero_probability(exposures)
        positive = 1 - none[column]

        def loss(scores: Floats) -> Floats:
            chance = self.dependence.score_sf(scores, column) / positive
            return self.margins.exceeded(np.minimum(chance, 1.0), exposures, column)

        made = QuantileTable(loss, float(_thresholds(self.dependence, none)[column]))
        self._tables[column] = (float(exposures[column]), made)
        return made


class OrderedMargins(Memoryless):
    """Who loses, and in which order of size, by the scores of the dependence; how much by the margins, exactly.

    For sums of events, whose quantiles have no formula. A score gives the size of the largest event, exactly; smaller
    ones are drawn; and the sums are put in the order of the scores (Iman and Conover 1982). The order alone would leave
    members independent beyond what the ranks of a block can tell (CVaR at 99 %: 1 % less in blocks of 10,000 than in
    blocks of 32,768, for 100 members with a t copula and Pareto tails).
    """

    def __init__(self, margins: Collective, dependence: Dependence) -> None:
        self.margins: Collective = margins
        self.dependence = dependence

    def among(self, laws: Sequence[Collective], exposures: Floats) -> Mixed:
        """Scores above the thresholds, their largest events, their sums in the order of the scores."""
        thresholds = np.stack([_thresholds(self.dependence, law.zero_probability(exposures)) for law in laws])
        columns = np.arange(exposures.size)

        def add(rows: Floats, places: Places, which: Places, keys: Sequence[Key]) -> None:
            first, second = (np.random.Generator(np.random.SFC64(key)) for key in keys)
            losing = self.dependence.exceedances_by_law(which, thresholds, first)
            losses = []
            for law, part in zip(laws, losing.parts(columns.size), strict=True):
                column = np.repeat(columns, part.counts)
                exceeded = self.dependence.score_sf(part.scores, column)
                drawn = law.draw(exceeded, column, exposures, second)
                losses.append(_in_order(drawn, np.argsort(drawn), np.argsort(part.scores), column, part.starts))
            _add(rows, places[losing.rows], losing.starts, np.concatenate(losses))

        return add


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _in_order(losses: Floats, by_loss: Places, by_score: Places, column: Places, starts: Places) -> Floats:
    """The losses of each column in the order of its scores; both orders are of all columns together."""
    ends, places, result = starts.copy(), np.empty_like(by_score), np.empty_like(losses)
    for k in by_score:
        places[ends[column[k]]] = k
        ends[column[k]] += 1
    ends[:] = starts
    for k in by_loss:
        result[places[ends[column[k]]]] = losses[k]
        ends[column[k]] += 1
    return result


def _thresholds(dependence: Dependence, none: Floats) -> Floats:
    """Columns lose where their score is above the quantile of their probability `none` of no loss."""
    inside = dependence.score_ppf(np.clip(none, 1e-300, 1 - 1e-16))
    return np.where(none <= 0, -np.inf, np.where(none >= 1, np.inf, inside))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add(rows: Floats, places: Places, starts: npt.NDArray[np.int64], losses: Floats) -> None:
    """`rows[places, column] += losses`, a stretch of rows at a time: all columns of it are in the cache together."""
    ends, stretch = starts[:-1].copy(), max(STRETCH // rows.shape[1], 16)
    for first in range(0, rows.shape[0], stretch):
        last = first + stretch
        for j in range(ends.size):
            k = ends[j]
            while k < starts[j + 1] and places[k] < last:
                rows[places[k], j % rows.shape[1]] += losses[k]
                k += 1
            ends[j] = k


class SharedShocks(Memoryless):
    """Events of a segment at a rate that one gamma shock `G[g]` moves for all its members; a copula binds the shocks.

    `N[g] ~ Poisson(G[g] sum_i m[i, g])`, who is hit by `m[i, g]`, losses `Alike`; margins as in `Collective`.
    """

    def __init__(self, collective: Collective, dependence: Dependence) -> None:
        self.margins: Collective = collective
        self.dependence = dependence

    def among(self, laws: Sequence[Collective], exposures: Floats) -> Mixed:
        """Shocks, number of events, who is hit, how much is paid."""
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


class DriftingShocks(CollectiveProcess):
    """As `SharedShocks`, by shocks that remember the period before: all periods ahead are one step."""

    def __init__(self, collective: Collective, dependence: Dependence, frequencies: Sequence[Drifting]) -> None:
        self.margins: Collective = collective
        self.dependence = dependence
        self.frequencies = list(frequencies)

    def at(self, exposures: Floats, periods: int = 1) -> list[Step]:
        """Period after period: shocks, number of events, who is hit, how much is paid."""
        means, caps = self.margins.means(exposures), self.margins.caps(exposures)
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
                    self.margins.add_shared_events(rows, places, g, shocks, means[:, g], caps[:, g], second)

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
        table, caps = self.margins.by_segment(exposures), self.margins.caps(exposures)

        def add(rows: Floats, keys: Sequence[Key]) -> None:
            first, second = (np.random.Generator(np.random.SFC64(key)) for key in keys)
            places = np.arange(len(rows))
            for g, frequency in enumerate(self.frequencies):
                counts = frequency.totals(len(rows), table[:, g], periods, first)
                if counts.any():
                    owned = frequency.shares(table[:, g])
                    levels = second.standard_exponential(int(counts.sum()))
                    self.margins.add_events(rows, places, g, counts, levels, owned, caps[:, g], second)

        return [add]
