"""Which coalitions would leave: an exact search over `2^n - 2` groups, one by one or by branch and bound.

A group `z` in {0,1}^n gains `c.z - rho(L z)` by leaving. As `rho(L z) = max_q q.(L z)` over tail weights `q`, each `q`
gives a row `c - L'q` with `gain(z) <= row.z` for every `z`, and so does every mean of rows. A part of all groups, in
which some members are decided, gains no more than the members inside and the positive ones of the others have in any
such row: parts whose bound is low are left out, others are split at a member. The large members are decided first:
those that are left hardly move the tail, so that the bound is all but attained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from calibrate.errors import SolverError
from calibrate.one_thread import ONE_THREAD
from calibrate.program.tail import tail_weights
from calibrate.scenarios import Scenarios

__all__ = ["aggrieved", "all_coalitions", "few", "most_aggrieved", "neighbours"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
TOLERANCE = 1e-7  # of all contributions: a gain below it is no reason to leave
MOST_GROUPS, MOST_LOSSES = 2**16, 2e8  # groups, and losses of all groups, up to which each is looked at
AT_ONCE = 20  # groups that are added
MOST_PARTS = 20_000  # of all groups, looked at before the search gives up
MOST_ROWS = 6  # tried for a part before it is split
WORTH = 1e-3  # of what a part's bound is too high: a row that lowers it by less is the last one


def all_coalitions(n: int) -> Mask:
    """Masks of all groups but the empty one and the whole pool, shape (2^n - 2, n).

    >>> all_coalitions(6).shape
    (62, 6)
    """
    numbers = np.arange(1, 2**n - 1)
    return np.asarray((numbers[:, None] >> np.arange(n)) & 1, dtype=bool)


def few(members: int, scenarios: int) -> bool:
    """Whether so many coalitions can be looked at one by one."""
    return bool(2.0**members <= MOST_GROUPS and 2.0**members * scenarios <= MOST_LOSSES)


def aggrieved(contributions: Floats, groups: Mask, risks: Floats, epsilon: float) -> Mask:
    """Those of the groups that pay most above `rho(S) + epsilon`, a row each."""
    gains = groups @ contributions - risks - epsilon
    worst = np.argsort(-gains, kind="stable")[:AT_ONCE]
    return np.asarray(groups[worst[gains[worst] > TOLERANCE * contributions.sum()]])


def most_aggrieved(contributions: Floats, scenarios: Scenarios, level: float, epsilon: float) -> Mask:
    """Groups that pay more than `rho(S) + epsilon`, a row each; no row once it is proven that there is none."""
    n, unit = len(contributions), float(contributions.sum())
    if n < 2 or unit <= 0:
        return np.zeros((0, n), dtype=bool)
    gain = _Gain(scenarios.member_losses / unit, scenarios.probabilities, level, contributions / unit)
    room = epsilon / unit + TOLERANCE
    parts = [_Part(np.zeros(n, dtype=bool), np.ones(n, dtype=bool), gain.row(np.ones(n)))]
    found: list[Mask] = []
    with ONE_THREAD:
        large = np.argsort(-gain.alone(), kind="stable")
        for _ in range(MOST_PARTS):
            if not parts or len(found) >= AT_ONCE:
                break
            part, group = _bounded(parts.pop(), gain, room)
            found += [] if group is None else [group]
            if part is not None and part.free.any():
                parts += part.halves(large[part.free[large]][0])
    if parts and not found:
        raise SolverError(
            f"CoalitionStability: no aggrieved coalition among {n} members was found in {MOST_PARTS:,} parts of all "
            "groups, and that there is none is not proven; raise epsilon, lower what the fund must hold, or use "
            "IndividualRationality"
        )
    return np.unique(np.array(found, dtype=bool).reshape(-1, n), axis=0)


def neighbours(groups: Mask, scenarios: int) -> Mask:
    """Groups, and those with one member more or fewer: where one is aggrieved, such often are, and rounds take time.

    >>> neighbours(np.array([[True, True, False]]), 10).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0], [1, 1, 0]]
    """
    count, n = groups.shape
    if count * n * n * scenarios <= MOST_LOSSES:
        groups = np.vstack([groups, (groups[:, None] ^ np.eye(n, dtype=bool)).reshape(-1, n)])
    size = groups.sum(axis=1)
    return np.unique(groups[(size > 0) & (size < n)], axis=0)


@dataclass(frozen=True)
class _Gain:
    """What groups gain by leaving, as shares of all contributions: losses (scenarios, members), what members pay."""

    losses: Floats
    probabilities: Floats
    level: float
    paid: Floats

    def row(self, group: Floats) -> Floats:
        """`c - L'q` with the tail weights `q` of the group: no group gains more than `row.z`, this one so much."""
        weights = tail_weights(self.losses @ group, self.probabilities, self.level)
        return np.asarray(self.paid - weights @ self.losses)

    def alone(self) -> Floats:
        """`rho` of every member."""
        return np.asarray(self.paid - np.array([self.row(group)[i] for i, group in enumerate(np.eye(len(self.paid)))]))


@dataclass(frozen=True)
class _Part:
    """All groups with the members `inside`, and any of those that are `free`; a row that bounds their gain."""

    inside: Mask
    free: Mask
    row: Floats

    def bound(self) -> float:
        """No group of this part gains more; the whole pool is no group."""
        free = self.row[self.free]
        most = self.row[self.inside].sum() + np.maximum(free, 0.0).sum()
        whole = (self.inside | self.free).all() and free.size and (free > 0).all()
        return float(most - free.min() if whole else most)

    def halves(self, member: int) -> list[_Part]:
        """Without and with a member; the one that its row speaks for is the last."""
        free = self.free.copy()
        free[member] = False
        within = self.inside.copy()
        within[member] = True
        both = [_Part(self.inside, free, self.row), _Part(within, free, self.row)]
        return both if self.row[member] > 0 else both[::-1]


def _bounded(part: _Part, gain: _Gain, room: float) -> tuple[_Part | None, Mask | None]:
    """The part with as low a bound as a few rows give, None if that leaves no room; a group that gains more."""
    bound, group, found = part.bound(), part.inside | (part.free & (part.row > 0)), None
    z = group.astype(float)
    for _ in range(MOST_ROWS):
        if bound <= room:
            return None, found
        new = gain.row(z)
        if found is None and 0 < group.sum() < group.size and (z == group).all() and new @ z > room:
            found = group
        row, z = _lowest(part, new)
        group, part, before = z > 0.5, replace(part, row=row), bound
        bound = part.bound()
        if bound > before - WORTH * (before - room):
            break
    return (part if bound > room else None), found


def _lowest(part: _Part, new: Floats) -> tuple[Floats, Floats]:
    """The mean `row + w (new - row)` with the lowest bound, and the `z`, one entry of it a fraction, that attains it.

    The bound is convex and piecewise linear in `w`: it is lowest at 0, at 1, or where an entry of the mean is zero.
    """
    turn = new - part.row
    entries, turns = part.row[part.free], turn[part.free]
    crossing = np.flatnonzero(entries * (entries + turns) < 0)
    at = np.concatenate([[0.0, 1.0], -entries[crossing] / turns[crossing]])
    bounds = at * turn[part.inside].sum() + np.maximum(entries + at[:, None] * turns, 0.0).sum(axis=1)
    best = int(np.argmin(bounds))
    row = part.row + at[best] * turn
    z = (part.inside | (part.free & (row > 0))).astype(float)
    if best > 1:
        member = np.flatnonzero(part.free)[crossing[best - 2]]
        z[member] = 0.0
        z[member] = min(max(-float(turn @ z) / float(turn[member]), 0.0), 1.0)
    return row, z
