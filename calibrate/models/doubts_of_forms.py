"""Whether losses of the members of a segment have one form, as they are drawn: a law for all, a scale for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import f, rankdata

from calibrate.models.arrays import Floats
from calibrate.models.collective import Events

__all__ = ["form_flags"]

Places = npt.NDArray[np.intp]

FEWEST = 10  # losses of a member whose scatter is looked at
CLEAR = 0.003  # p-value from which it is said: no more than one pool in a hundred of equal forms
APART = 0.1  # deviation of members' scatters, relative to their mean, from which it matters
NAMED = 3
UNLIKE = (
    "segment {!r}: losses of its members scatter unlike each other (deviation of the log {}; {}), and scenarios draw "
    "one law for all with a scale for each: who scatters less is charged too much and who scatters more too little, "
    "above a retention many times so. Make them segments of their own, of 200 losses or more, or with a severity each"
)


def form_flags(events: Events, members: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each segment whose members' log-losses scatter unlike each other, naming who does most and least.

    Distances of log-losses from their member's median, and ranks of these, compared between members: both clearly
    unlike, as skewed logs mislead the one and long tails the other. Losses that are lower bounds do not tell.
    Source: Brown and Forsythe 1974, JASA 69; Fligner and Killeen 1976, JASA 71.
    """
    found = []
    for g, name in enumerate(events.segments):
        own = events.segment == g
        if events.at_least[own].any():
            continue
        scatter = Scatter.of(np.log(events.losses[own]), events.owner[own], events.when[own])
        if scatter is not None and scatter.unlike(CLEAR / len(events.segments)):
            order = [(members[i], deviation) for i, deviation in scatter.ordered()]
            few = min(NAMED, len(order) // 2)
            most, least = ([f"{d:.2g} for {member!r}" for member, d in part] for part in (order[:few], order[-few:]))
            found.append(UNLIKE.format(name, ", ".join(most), ", ".join(least)))
    return tuple(found)


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

    def unlike(self, p_value: float) -> bool:
        """Whether members scatter unlike each other, by more than chance and enough to matter."""
        ranks = self.between(np.asarray(rankdata(self.distances)))[0]
        chance, spread = self.between(self.distances)
        return max(ranks, chance) < p_value and spread > APART * self.distances.mean()

    def between(self, values: Floats) -> tuple[float, float]:
        """p-value of members' means being equal (analysis of variance), and the deviation between them.

        Values of a member and period that go together tell less than as many independent ones.
        """
        n, members, total = self.counts, self.members.size, values.size
        means = np.bincount(self.owner, values) / n
        rest = values - means[self.owner]
        square = float(rest @ rest)
        worth = max(float((np.bincount(self.cells, rest) ** 2).sum()) / square, 1.0)
        within = worth * square / (total - members)
        among = float(n @ (means - values.mean()) ** 2) / (members - 1)
        size = (total - float(n @ n) / total) / (members - 1)
        chance = float(f.sf(among / within, members - 1, total - members))
        return chance, math.sqrt(max(among - within, 0.0) / size)

    def ordered(self) -> list[tuple[int, float]]:
        """Members and the deviations of their logs, from who scatters most to least as far as their losses tell."""
        spread, rest = self.between(self.distances)[1], self.distances.std()
        means = np.bincount(self.owner, self.distances) / self.counts
        trusted = (means - self.distances.mean()) * spread**2 / (spread**2 + rest**2 / self.counts)
        order = np.argsort(-trusted, kind="stable")
        return [(int(self.members[k]), float(self.deviations[k])) for k in order]


def _deviation(logs: Floats) -> float:
    return float(logs.std(ddof=1))
