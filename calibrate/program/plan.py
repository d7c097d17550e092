"""A plan: who pays in how much, and what is known of the pool that pays. All money in the currency of the scenarios."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate.blocks import column_means
from calibrate.errors import ProblemError
from calibrate.one_thread import ONE_THREAD
from calibrate.program.order import MOST_ORDERED, Order
from calibrate.program.passes import left
from calibrate.program.tail import cvar, tail_weights
from calibrate.scenarios import Scenarios

__all__ = ["Plan", "Pool", "named"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pool:
    """What the rules may know of the pool: its scenarios and exposures. Vectors run over `members`.

    What is computed from the scenarios is computed in the order of `ordered`, so that theirs does not matter.
    """

    scenarios: Scenarios
    exposures: Floats | None = None
    stated_losses: Floats | None = None
    order: Order | None = None  # in which it was put, from that of the caller

    @property
    def ordered(self) -> Pool:
        """The pool in the order in which it is solved; itself if it is, or too large for a copy (`MOST_ORDERED`).

        There the order shows: in the last digits, and among optimal plans within the tolerance of the tie.
        """
        return self if self.order is not None or self.scenarios.losses.size > MOST_ORDERED else self._copy

    @cached_property
    def _copy(self) -> Pool:
        scenarios, known = self.scenarios, (self.exposures, self.stated_losses)
        if not scenarios.in_memory:  # so few are held at once: to the bit those of an array
            shape = len(scenarios), len(self.members), len(scenarios.segments)
            scenarios = scenarios.rearranged(*map(np.arange, shape))
        order = Order.of(scenarios, known)
        exposures, stated = (None if one is None else one[order.members] for one in known)
        return Pool(scenarios.rearranged(order.rows, order.members, order.segments), exposures, stated, order)

    @property
    def rank(self) -> npt.NDArray[np.int64]:
        """The place of each member in `ordered`: ties that are broken by it do not depend on the caller's order."""
        order = self.ordered.order
        return np.arange(len(self.members)) if order is None or self.ordered is self else np.argsort(order.members)

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members, in the order of every vector."""
        return self.scenarios.members

    @cached_property
    def expected_losses(self) -> Floats:
        """`mu[i] = E L[i]`, money: as stated (a heavy tail's sample mean is too low), else the scenarios' mean."""
        return self.sampled_losses if self.stated_losses is None else self.stated_losses

    @cached_property
    def gross(self) -> Floats:
        """The losses of all together in each scenario of `ordered`, money."""
        if self.ordered is not self:
            return self.ordered.gross
        nothing = np.zeros(self.scenarios.losses.shape[1])
        return left("shortfall", self.scenarios.losses, None, nothing, nothing[: len(self.scenarios.segments)], 0.0)

    @cached_property
    def column_means(self) -> Floats:
        """Mean loss of each column of the scenarios, money."""
        if self.ordered is not self:
            return self.told_cells(self.ordered.column_means)
        return column_means(self.scenarios.losses, self.scenarios.probabilities)

    @cached_property
    def sampled_losses(self) -> Floats:
        """Mean loss of each member in the scenarios, money."""
        if self.ordered is not self:
            return self.ordered.sampled_losses[self.rank]
        return np.asarray(self.column_means.reshape(len(self.members), -1).sum(axis=1))

    def standalone_risk(self, level: float) -> Floats:
        """`rho[i]`, the CVaR of each member's own gross loss, money."""
        if level not in self._standalone_risks:
            self._standalone_risks[level] = self._standalone_risk(level)
        return self._standalone_risks[level]

    @cached_property
    def _standalone_risks(self) -> dict[float, Floats]:
        return {}

    def _standalone_risk(self, level: float) -> Floats:
        if self.ordered is not self:
            return np.asarray(self.ordered.standalone_risk(level)[self.rank])
        losses, p = self.scenarios.member_losses, self.scenarios.probabilities
        few = 4  # columns side by side share a line of memory
        blocks = (losses[:, i : i + few].T.copy() for i in range(0, losses.shape[1], few))
        return np.array([cvar(column, p, level) for block in blocks for column in block])

    def coalition_risks(self, coalitions: npt.NDArray[np.bool_], level: float) -> Floats:
        """`rho(S)`, the CVaR of the pooled gross loss of coalitions (masks over members, a row each), money; kept."""
        key = level, coalitions.tobytes()
        if key not in self._coalition_risks:
            scenarios, order = self.ordered.scenarios, self.ordered.order
            masks = coalitions if order is None or self.ordered is self else coalitions[:, order.members]
            losses, p = scenarios.member_losses, scenarios.probabilities
            with ONE_THREAD:
                self._coalition_risks[key] = np.array([cvar(losses @ mask, p, level) for mask in masks.astype(float)])
        return self._coalition_risks[key]

    @cached_property
    def _coalition_risks(self) -> dict[tuple[float, bytes], Floats]:
        return {}

    def euler_allocation(self, level: float) -> Floats:
        """`E[L[i, g] | tail of the pooled loss]`, money, one entry a column of the scenarios (Tasche 1999).

        Sums to the CVaR of the pooled gross loss and lies in the core (Denault 2001).
        """
        if self.ordered is not self:
            return self.told_cells(self.ordered.euler_allocation(level))
        losses = self.scenarios.losses
        weights = tail_weights(self.gross, self.scenarios.probabilities, level)
        tail = np.flatnonzero(weights)
        return column_means(losses[tail], weights[tail])

    def told_cells(self, ordered: Floats) -> Floats:
        """A vector over the columns of `ordered`, over those of this pool."""
        order = None if self.ordered is self else self.ordered.order
        return ordered if order is None else ordered[np.argsort(order.cells)]

    def vector(self, values: Mapping[Any, float] | pd.Series[Any], what: str) -> Floats:
        """Values by member as a vector; refuses unknown, missing and non-finite ones by name."""
        series = named(values, what)
        known, told = set(self.members), set(series.index)
        unknown = [name for name in series.index if name not in known]
        missing = [name for name in self.members if name not in told]
        if unknown or missing:
            parts = [f"names unknown member(s) {_listed(unknown)}"] if unknown else []
            parts += [f"says nothing of member(s) {_listed(missing)}"] if missing else []
            raise ProblemError(f"{what} {' and '.join(parts)}; the pool has {_listed(self.members)}")
        vector = np.asarray(series.loc[list(self.members)], dtype=np.float64)
        wrong = np.flatnonzero(~np.isfinite(vector))
        if wrong.size:
            raise ProblemError(f"{what}: member {self.members[wrong[0]]!r} has {vector[wrong[0]]}, expected a number")
        return vector


def named(values: Mapping[Any, float] | pd.Series[Any], what: str) -> pd.Series[float]:
    """Numbers by name, names as text; refuses what is no number, and a name that stands twice."""
    try:
        series = pd.Series(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"{what}: {error}; expected a number for each name") from None
    series.index = series.index.map(lambda label: tuple(map(str, label)) if isinstance(label, tuple) else str(label))
    twice = [str(label) for label in series.index[series.index.duplicated()].unique()]
    if twice:
        raise ProblemError(f"{what} names {_listed(twice)} more than once; expected one number for each name")
    return series


@dataclass(frozen=True, eq=False)
class Plan:
    """Contributions and reserves as expressions of the program or as constants: rules read both alike.

    `cells[i, g]` contributions, `segment_reserves[g]`, `pool_reserve`: money.
    """

    pool: Pool
    cells: cp.Expression
    segment_reserves: cp.Expression
    pool_reserve: cp.Expression

    @cached_property
    def contributions(self) -> cp.Expression:
        """`c[i]`, summed over segments."""
        return cp.sum(self.cells, axis=1)

    @cached_property
    def total(self) -> cp.Expression:
        """`C = sum c`."""
        return total_of(self.cells)

    @cached_property
    def reserves(self) -> cp.Expression:
        """All reserves together."""
        return total_of(self.segment_reserves) + self.pool_reserve

    @cached_property
    def shares_of_loss(self) -> Floats:
        """`mu[i] / M`; equal shares if nobody is expected to lose."""
        mu = self.pool.expected_losses
        return mu / math.fsum(mu) if mu.any() else np.full(len(mu), 1 / len(mu))

    @cached_property
    def losing(self) -> npt.NDArray[np.intp]:
        """Positions of the members with a positive expected loss."""
        return np.flatnonzero(self.pool.expected_losses > 0)

    @cached_property
    def loadings(self) -> cp.Expression:
        """`M c[i] / mu[i]` of the `losing` members, money: their loading at the size of the whole pool."""
        return cp.multiply(1 / self.shares_of_loss[self.losing], self.contributions[self.losing])

    @cached_property
    def of_lossless(self) -> list[cp.Expression]:
        """Contributions of members who never lose: no loading is fair but none (empty if there are no such members)."""
        never = np.setdiff1d(np.arange(len(self.pool.members)), self.losing)
        return [self.contributions[never]] if never.size else []


def total_of(amounts: cp.Expression) -> cp.Expression:
    """The sum of all; of constants to the nearest double, so that their order does not matter."""
    return cp.Constant(math.fsum(np.ravel(amounts.value))) if amounts.is_constant() else cp.sum(amounts)


def _listed(names: Any, most: int = 8) -> str:
    texts = [repr(name) for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
