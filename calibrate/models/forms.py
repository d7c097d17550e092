"""How far losses of a member scatter against those of its segment: `log X = a + b Z`, `b` as far as losses tell."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import f, rankdata

from calibrate.models.arrays import Floats
from calibrate.models.pooling import pooled_means
from calibrate.models.severity import Severity

__all__ = ["NEAR_ONE", "Forms", "Scatter", "forms_of", "layer_mean", "tail_index"]

Places = npt.NDArray[np.intp]

FEWEST = 10  # losses of a member whose scatter is looked at
CLEAR = 0.003  # p-value from which forms are unlike: no more than one pool in a hundred of equal forms
APART = 0.1  # deviation of members' scatters, relative to their mean, from which it matters
NEAR_ONE = 0.8  # tail shapes from here to 1 have a mean that no sample shows
SLIGHT = 1e-3  # index of a tail that any power leaves light
NEAR, FAR = 1e-60, 1e-90  # chances so small that a lognormal of deviation 9 is none without a variance
LOW, HIGH = 1e-12, 1e-60  # chances of a smaller and of a larger loss, beyond which a mean is looked for no farther
WIDTH = 0.25  # of a panel, on the log scale
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)


@dataclass(frozen=True)
class Forms:
    """Powers `b` of the members on their segment's law: 1 for who has few losses, or where all are alike."""

    power: Floats

    @classmethod
    def alike(cls, members: int) -> Forms:
        """One form for all."""
        return cls(np.ones(members))

    @property
    def own(self) -> bool:
        """Whether any member has a form of its own."""
        return bool((self.power != 1).any())

    def standard(self, logs: Floats, owner: Places) -> Floats:
        """Log-losses at their members' scales as they would be in the form of the segment."""
        centre = logs.mean()
        return centre + (logs - centre) / self.power[owner] if self.own else logs

    def within(self, law: Severity) -> Forms:
        """Powers with which a tail that has a mean is not so heavy that no sample shows it."""
        if not self.own:
            return self
        most = max(NEAR_ONE / max(tail_index(law), SLIGHT), 1.0)
        return replace(self, power=np.minimum(self.power, most))


def forms_of(logs: Floats, owner: Places, when: Places, members: int, segments: int) -> Forms:
    """Of log-losses by member and period, in one of so many segments: credibility means of the log of how far they
    scatter, where that is unlike.

    The mean distance from the median of `n` losses has the variance `v = c^2 / n` on the log scale, `c` the coefficient
    of variation of a distance; `log b = Z (m - collective)` (Buehlmann and Straub 1970). Who always loses the same does
    not tell. What `n` losses leave open of a power is in no scenario.
    """
    scatter = Scatter.of(logs, owner, when)
    if scatter is None or not scatter.unlike(segments):
        return Forms.alike(members)
    pooled, collective, _ = pooled_means(*scatter.logs(members))
    return Forms(np.exp(pooled - collective))


@dataclass(frozen=True)
class Scatter:
    """Distances of log-losses from the median of their member; `owner` are places among `members` that have enough.

    `deviations` of their logs; `cells`: which member and period.
    """

    distances: Floats
    owner: Places
    members: Places
    counts: Floats
    deviations: Floats
    cells: Places

    @classmethod
    def of(cls, logs: Floats, owner: Places, when: Places) -> Scatter | None:
        """Of the members with enough losses, if they are two; None too if half of the distances are zero."""
        counts = np.bincount(owner)
        kept = counts[owner] >= FEWEST
        members, place = np.unique(owner[kept], return_inverse=True)
        if members.size < 2:
            return None
        logs, when, parts = logs[kept], when[kept], [logs[owner == i] for i in members]
        n = counts[members].astype(np.float64)
        medians, deviations = (np.array([what(part) for part in parts]) for what in (np.median, _deviation))
        distances = np.abs(logs - medians[place]) * np.sqrt(n / (n - 1))[place]  # the median takes as much
        if np.mean(distances == 0) > 0.5:
            return None
        cells = np.unique(place * (when.max() + 1) + when, return_inverse=True)[1]
        return cls(distances, place, members, n, deviations, cells)

    @property
    def means(self) -> Floats:
        """How far each who tells scatters."""
        return np.asarray(np.bincount(self.owner, self.distances) / self.counts)

    @property
    def off(self) -> Floats:
        """Distances over those of their owner, less 1."""
        means = self.means
        return np.asarray(self.distances / np.where(means > 0, means, 1.0)[self.owner] - (means > 0)[self.owner])

    def logs(self, members: int) -> tuple[Floats, Floats]:
        """Log of how far each of all `members` scatters, and its variance; infinite for who does not tell."""
        means, off = self.means, self.off
        kept = means > 0
        logs, variances = np.zeros(members), np.full(members, math.inf)
        variances[self.members[kept]] = self.worth(off) * (off**2).mean() / self.counts[kept]
        logs[self.members[kept]] = np.log(means[kept])
        return logs, variances

    def unlike(self, segments: int) -> bool:
        """Whether members scatter unlike each other, by more than chance (of so many looks) and enough to matter."""
        ranks = self.between(np.asarray(rankdata(self.distances)))[0]
        chance, spread = self.between(self.distances)
        return max(ranks, chance) < CLEAR / segments and spread > APART * self.distances.mean()

    def between(self, values: Floats) -> tuple[float, float]:
        """p-value of members' means being equal (analysis of variance), and the deviation between them."""
        n, members, total = self.counts, self.members.size, values.size
        means = np.bincount(self.owner, values) / n
        rest = values - means[self.owner]
        within = self.worth(rest) * float(rest @ rest) / (total - members)
        among = float(n @ (means - values.mean()) ** 2) / (members - 1)
        size = (total - float(n @ n) / total) / (members - 1)
        chance = float(f.sf(among / within, members - 1, total - members)) if within > 0 else float(among <= 0)
        return chance, math.sqrt(max(among - within, 0.0) / size)

    def worth(self, rest: Floats) -> float:
        """How many values tell as much as one would by itself: those of a member and period may go together."""
        together, square = float((np.bincount(self.cells, rest) ** 2).sum()), float(rest @ rest)
        return max(together / square, 1.0) if square > 0 else 1.0

    def ordered(self) -> list[tuple[int, float]]:
        """Members and the deviations of their logs, from who scatters most to least as far as their losses tell."""
        spread, rest = self.between(self.distances)[1], self.distances.std()
        means = np.bincount(self.owner, self.distances) / self.counts
        trusted = (means - self.distances.mean()) * spread**2 / (spread**2 + rest**2 / self.counts)
        order = np.argsort(-trusted, kind="stable")
        return [(int(self.members[k]), float(self.deviations[k])) for k in order]


def _deviation(logs: Floats) -> float:
    return float(logs.std(ddof=1))


def layer_mean(law: Severity, power: float, pivot: float, low: float, high: float) -> float:
    """`E[(min(Y, high) - low)+]` of `Y = pivot (X / pivot)^power`, by quadrature of `P(Y > y)` over `log y`.

    Exact to 1e-9 for a smooth law, to 1e-5 across a splice; with 50 atoms to .015 of a layer's mean. An infinite `high`
    needs a mean.

    >>> from calibrate.models.severity import LogNormal
    >>> law = LogNormal().fit([1.0, 2.0, 4.0, 9.0])
    >>> round(layer_mean(law, 1.0, 3.0, 0.5, 20.0) / law.layer_mean(0.5, 20.0), 9)
    1.0
    """
    start, end = np.log(law.isf(np.array([1.0 - LOW, HIGH])))
    centre = math.log(pivot)
    first, last = (centre + (math.log(y / pivot) / power if y > 0 else -math.inf) for y in (low, high))
    certain = max(pivot * math.exp(power * (min(start, last) - centre)) - low, 0.0)
    start, end = max(start, first), min(end, last)
    if end <= start:
        return certain
    edges = np.linspace(start, end, max(math.ceil((end - start) / WIDTH), 1) + 1)
    half = np.diff(edges) / 2
    u = (edges[:-1] + half)[:, None] + half[:, None] * NODES
    chance = np.asarray(law.sf(np.exp(u.ravel()))).reshape(u.shape)
    return certain + float(half @ (chance * power * pivot * np.exp(power * (u - centre)) @ WEIGHTS))


def tail_index(law: Severity) -> float:
    """Index of a tail, read off two far quantiles: `log(q(1e-90) / q(1e-60)) / log(1e30)`, whatever its family."""
    near, far = law.isf(np.array([NEAR, FAR]))
    return math.log(far / near) / math.log(NEAR / FAR)
