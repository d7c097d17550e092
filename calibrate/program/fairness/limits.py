"""Limits on amounts: means, floors, budget, concentration, change since the last calibration, cover of defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate.errors import ProblemError
from calibrate.program.fairness.base import BROKEN, WRITTEN_UP_TO, GeneratedRule, Rule, alike, check_number, stacked
from calibrate.program.plan import Plan, named

__all__ = [
    "AbilityToPay",
    "Budget",
    "ConcentrationLimit",
    "ContributionFloor",
    "CoverK",
    "FundFloor",
    "Turnover",
]

Ints = npt.NDArray[np.intp]

IN_GROUPS = 2  # times that a stress scenario is broken before it is written whole
MOST_WHOLE = 1000  # members of all stress scenarios that are written whole: each has an auxiliary variable


def _amounts(plan: Plan, values: Mapping[Any, float] | pd.Series[float], what: str) -> npt.NDArray[np.float64]:
    """Amounts of money by member, >= 0."""
    vector = plan.pool.vector(values, what)
    wrong = np.flatnonzero(vector < 0)
    if wrong.size:
        member = plan.pool.members[wrong[0]]
        raise ProblemError(f"{what}: member {member!r} has {vector[wrong[0]]}, expected an amount of money >= 0")
    return vector


@dataclass(frozen=True, eq=False)
class AbilityToPay(Rule):
    """Within means: `c_i <= share * capital_i`. `capital` in money by member."""

    capital: Mapping[Any, float] | pd.Series[float]
    share: float = 1.0

    def __post_init__(self) -> None:
        check_number("AbilityToPay", "share", self.share)

    def gap(self, plan: Plan) -> cp.Expression:
        """A row a member."""
        return plan.contributions - self.share * _amounts(plan, self.capital, "AbilityToPay: capital")

    def __repr__(self) -> str:
        return f"AbilityToPay(share={self.share})"


@dataclass(frozen=True)
class ContributionFloor(Rule):
    """Everybody pays at least `amount`, money."""

    amount: float

    def __post_init__(self) -> None:
        check_number("ContributionFloor", "amount", self.amount)

    def gap(self, plan: Plan) -> cp.Expression:
        """A row a member."""
        return self.amount - plan.contributions


@dataclass(frozen=True)
class FundFloor(Rule):
    """All contributions together reach `amount`, money: `C >= amount`."""

    amount: float

    def __post_init__(self) -> None:
        check_number("FundFloor", "amount", self.amount)

    def gap(self, plan: Plan) -> cp.Expression:
        """One row."""
        return self.amount - plan.total


@dataclass(frozen=True)
class Budget(Rule):
    """Contributions and reserves together stay within `amount`, money: `C + sum r + r0 <= amount`."""

    amount: float

    def __post_init__(self) -> None:
        check_number("Budget", "amount", self.amount)

    def gap(self, plan: Plan) -> cp.Expression:
        """One row."""
        return plan.total + plan.reserves - self.amount


@dataclass(frozen=True)
class ConcentrationLimit(Rule):
    """Herfindahl index of the weights: `norm2(c) <= sqrt(hhi) * C`."""

    hhi: float

    def __post_init__(self) -> None:
        check_number("ConcentrationLimit", "hhi", self.hhi, high=1.0)

    def gap(self, plan: Plan) -> cp.Expression:
        """One row, a second-order cone."""
        n = len(plan.pool.members)
        if self.hhi * n < 1 - 1e-12:
            raise ProblemError(
                f"{self}: {n} members cannot be less concentrated than 1/{n} = {1 / n:.6g}; "
                "raise hhi to that value (equal contributions) or above"
            )
        if self.hhi * n <= 1 + 1e-12:
            return alike(plan, np.full(n, 1 / n))
        return cp.norm2(plan.contributions) - np.sqrt(self.hhi) * plan.total


@dataclass(frozen=True, eq=False)
class Turnover(Rule):
    """No jolts between calibrations: `abs(c_i - c0_i) <= member * c0_i` and `norm1(c - c0) <= total * C0`.

    `previous` in money by member. A member it does not name is new: exempt from the member's limit and outside the sum.
    """

    previous: Mapping[Any, float] | pd.Series[float]
    member: float | None = None
    total: float | None = None

    def __post_init__(self) -> None:
        if self.member is None and self.total is None:
            raise ProblemError(
                "Turnover: neither member nor total is given, expected at least one limit, such as member=0.2"
            )
        for name in ("member", "total"):
            if getattr(self, name) is not None:
                check_number("Turnover", name, getattr(self, name))

    def gap(self, plan: Plan) -> cp.Expression:
        """Two rows a member, and one row for the total."""
        before = named(self.previous, "Turnover: previous")
        if before.empty:
            raise ProblemError(
                "Turnover: previous names nobody, expected contributions by member; leave the rule out where there is "
                "no plan before"
            )
        known = [i for i, name in enumerate(plan.pool.members) if name in before.index]
        newcomers = {name: 0.0 for name in plan.pool.members if name not in before.index}
        base = _amounts(plan, pd.concat([before, pd.Series(newcomers, dtype=float)]), "Turnover: previous")[known]
        change = plan.contributions[known] - base
        rows = [] if self.member is None else [change - self.member * base, -change - self.member * base]
        if self.total is not None:
            rows.append(cp.reshape(cp.norm1(change) - self.total * math.fsum(base), (1,), order="C"))
        return stacked(rows)

    def __repr__(self) -> str:
        return f"Turnover(member={self.member}, total={self.total})"


@dataclass(frozen=True, eq=False)
class CoverK(GeneratedRule):
    """Survives the `k` largest defaults in every stress scenario (PFMI principle 4, EMIR article 43).

    `sum_largest(max(E_i, c_i), k) <= sum r + r0 + C`, that is: for every group D of k members,
    `sum_D (E_i - c_i)+ <= reserves + contributions outside D`. `stress` holds losses E in money: a frame or array of
    stress scenarios x members, or one scenario as a series by member. Of large tables only rows that a plan breaks are
    written: `found` maps the parts of contributions that D has paid beyond its losses to the most it may lose else.
    Where plans break a scenario again and again, each time in another group, it is written whole: `broken` counts.
    """

    stress: pd.DataFrame | pd.Series[float] | npt.ArrayLike
    k: int
    found: Mapping[tuple[float, ...], float] = field(default_factory=dict, repr=False)
    broken: Mapping[int, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.k, int | np.integer) or isinstance(self.k, bool) or self.k < 1:
            raise ProblemError(f"CoverK: k is {self.k!r}, expected a whole number of defaulters >= 1")

    def gap(self, plan: Plan) -> cp.Expression:
        """A row a stress scenario; of large tables, and for one defaulter, a row for each group that was found."""
        losses = self._losses(plan)
        n = len(plan.pool.members)
        if self.k > n:
            raise ProblemError(f"{self}: k is {self.k}, but the pool has {n} members")
        if not plan.total.is_constant() and (self.k == 1 or self.searched(plan)):
            most = max(math.fsum(np.sort(row)[-self.k :]) for row in losses)
            at_loss = {tuple([0.0] * n): most} | dict(self.found)
            drawn = np.array([*at_loss]) @ plan.contributions
            whole = [_drawn(losses[at], plan.contributions, self.k) for at in self._whole(n)]
            return cp.hstack([np.array([*at_loss.values()]) + drawn, *whole]) - plan.reserves - plan.total
        needed = [cp.maximum(row, plan.contributions) for row in losses]
        # the n largest of n are the sum; sum_largest of cvxpy 1.9 fails on them
        largest = [cp.sum(one) if self.k == n else cp.sum_largest(one, self.k) for one in needed]
        return cp.hstack(largest) - plan.reserves - plan.total

    def refined(self, plan: Plan) -> CoverK | None:
        """Adds the group that draws most in each stress scenario that the plan does not survive."""
        losses, paid = self._losses(plan), plan.contributions.value
        found, broken, held = dict(self.found), dict(self.broken), float((plan.reserves + plan.total).value)
        for at, row in enumerate(losses if self.searched(plan) else ()):
            needed = np.maximum(row, paid)
            group = np.lexsort((plan.pool.rank, -needed))[: self.k]
            if needed[group].sum() - held > BROKEN * held:
                losing = group[paid[group] <= row[group]]
                parts = tuple(_in_turn(paid, np.setdiff1d(group, losing), losing).tolist())
                found[parts] = max(math.fsum(row[losing]), found.get(parts, 0.0))
                broken[at] = broken.get(at, 0) + 1
        return None if found == dict(self.found) else replace(self, found=found, broken=broken)

    def searched(self, plan: Plan) -> bool:
        """Of large tables of stress scenarios; one defaulter who loses less than it paid is never too much."""
        return self.k > 1 and self._losses(plan).size > WRITTEN_UP_TO

    def _whole(self, n: int) -> list[int]:
        """The scenarios to write whole, those that were broken most often first."""
        often = [at for at, times in sorted(self.broken.items(), key=lambda one: -one[1]) if times > IN_GROUPS]
        return often[: MOST_WHOLE // n]

    def _losses(self, plan: Plan) -> npt.NDArray[np.float64]:
        frame = self.stress.to_frame().T if isinstance(self.stress, pd.Series) else self.stress
        if isinstance(frame, pd.DataFrame):
            matrix = np.array(
                [plan.pool.vector(row, f"CoverK: stress scenario {name}") for name, row in frame.iterrows()]
            )
        else:
            try:
                matrix = np.atleast_2d(np.asarray(frame, dtype=float))
            except (TypeError, ValueError) as error:
                raise ProblemError(f"CoverK: stress: {error}; expected a table of numbers") from None
        members = plan.pool.members
        if matrix.ndim != 2 or matrix.shape[1] != len(members) or not len(matrix):
            raise ProblemError(f"CoverK: stress must be stress scenarios x {len(members)} members, got {matrix.shape}")
        odd = np.argwhere(~(np.isfinite(matrix) & (matrix >= 0)))
        if odd.size:
            row, column = odd[0]
            raise ProblemError(
                f"CoverK: stress scenario {row + 1}, member {members[column]}: {matrix[row, column]}, expected a loss "
                "in money, finite and >= 0"
            )
        return matrix

    def __repr__(self) -> str:
        return f"CoverK(k={self.k})"


def _drawn(losses: npt.NDArray[np.float64], paid: cp.Expression, k: int) -> cp.Expression:
    """`sum_largest(max(E_i, c_i), k) = min_(t >= 0) k t + sum_i (max(E_i, c_i) - t)+`: a variable a member, and `t`."""
    t = cp.Variable(nonneg=True)
    return k * t + cp.sum(cp.maximum(losses - t, paid - t, 0.0))


def _in_turn(paid: npt.NDArray[np.float64], payers: Ints, losing: Ints) -> npt.NDArray[np.float64]:
    """Parts of contributions on the average of all groups in which members who pay the same stand in for each other.

    So members who look alike are in a row alike.
    """
    parts = np.zeros(len(paid))
    for amount in np.unique(paid[payers]):
        alike = np.setdiff1d(np.flatnonzero(paid == amount), losing)
        parts[alike] = np.count_nonzero(paid[payers] == amount) / len(alike)
    return parts
