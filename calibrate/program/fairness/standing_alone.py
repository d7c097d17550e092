"""Rules that compare with standing alone, or leaving together: `rho` is the CVaR of a gross loss."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from calibrate.program.fairness.base import GeneratedRule, Mask, Rule, check_number
from calibrate.program.fairness.coalitions import aggrieved, all_coalitions, few, most_aggrieved, neighbours
from calibrate.program.plan import Plan
from calibrate.program.tail import TIED, check_level

__all__ = ["CoalitionStability", "IndividualRationality", "RiskMonotonicity"]

EXACT_UP_TO = 12  # members: 4,094 coalitions are rows like any other; beyond, they are generated


@dataclass(frozen=True)
class IndividualRationality(Rule):
    """Nobody pays more than standing alone: `c_i <= rho_i`, the CVaR of its own gross loss."""

    level: float

    def __post_init__(self) -> None:
        check_level(self.level)

    def gap(self, plan: Plan) -> cp.Expression:
        """A row a member."""
        return plan.contributions - plan.pool.standalone_risk(self.level)


@dataclass(frozen=True)
class RiskMonotonicity(Rule):
    """Riskier members never pay less: `rho_i >= rho_j` implies `c_i >= c_j`; equal risk, equal contribution."""

    level: float

    def __post_init__(self) -> None:
        check_level(self.level)

    def gap(self, plan: Plan) -> cp.Expression:
        """A row for each neighbours in the order of risk, two where they tie; the rest follows by transitivity."""
        rho = plan.pool.standalone_risk(self.level)
        order = np.lexsort((plan.pool.rank, rho))
        low, high = order[:-1], order[1:]
        if not low.size:
            return 0.0 * cp.reshape(plan.total, (1,), order="C")
        tied = rho[high] - rho[low] <= TIED * rho[high]
        below, above = np.concatenate([low, high[tied]]), np.concatenate([high, low[tied]])
        return plan.contributions[below] - plan.contributions[above]


@dataclass(frozen=True, eq=False)
class CoalitionStability(GeneratedRule):
    """No group does better by leaving, the core: `sum_S c_i <= rho(S) + epsilon` for every S but the whole pool.

    All coalitions up to 12 members; beyond, single members at first, and whichever coalition a plan aggrieves is added
    until an exact search finds none. `epsilon` in money.
    """

    level: float
    epsilon: float = 0.0
    found: tuple[Mask, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        check_level(self.level)
        check_number("CoalitionStability", "epsilon", self.epsilon)

    def gap(self, plan: Plan) -> cp.Expression:
        """A row a coalition; a member alone has none to join."""
        if len(plan.pool.members) == 1:
            return 0.0 * cp.reshape(plan.total, (1,), order="C")
        coalitions = self._coalitions(len(plan.pool.members))
        risks = plan.pool.coalition_risks(coalitions, self.level)
        return coalitions.astype(float) @ plan.contributions - risks - self.epsilon

    def refined(self, plan: Plan) -> CoalitionStability | None:
        """Adds the coalitions that the plan aggrieves most, searched exactly."""
        n = len(plan.pool.members)
        if n <= EXACT_UP_TO:
            return None
        ordered, rank = plan.pool.ordered, plan.pool.rank
        contributions = np.asarray(plan.contributions.value, dtype=float)[np.argsort(rank)]
        if few(n, len(ordered.scenarios)):
            every = all_coalitions(n)
            groups = aggrieved(contributions, every, ordered.coalition_risks(every, self.level), self.epsilon)
        else:
            found = most_aggrieved(contributions, ordered.scenarios, self.level, self.epsilon)
            near = neighbours(found, len(ordered.scenarios))
            groups = aggrieved(contributions, near, ordered.coalition_risks(near, self.level), self.epsilon)
        return replace(self, found=(*self.found, *groups[:, rank])) if len(groups) else None

    def searched(self, plan: Plan) -> bool:
        """Beyond 12 members."""
        return len(plan.pool.members) > EXACT_UP_TO

    def _coalitions(self, n: int) -> npt.NDArray[np.bool_]:
        if n <= EXACT_UP_TO:
            return all_coalitions(n)
        return np.array([*np.eye(n, dtype=bool), *self.found])
