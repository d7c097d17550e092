"""What a fairness rule is."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from calibrate.errors import ProblemError
from calibrate.program.names import one_line
from calibrate.program.plan import Plan
from calibrate.program.risk import finite

__all__ = ["BROKEN", "WRITTEN_UP_TO", "GeneratedRule", "Rule", "alike", "between", "check_number", "proportional"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

WRITTEN_UP_TO = 256  # entries of a table of members: of so many a generated rule has all rows at once
BROKEN = 1e-9  # of contributions and reserves: a rule missed by less is kept, as the verifier grants as much


class Rule(ABC):
    """A condition on a plan: `gap(plan) <= 0`, convex, in money and homogeneous in it.

    The one line serves as constraint, as measured gap, for the shadow price, and as slack when rules conflict.
    """

    @abstractmethod
    def gap(self, plan: Plan) -> cp.Expression:
        """Money by which the plan misses the rule, a convex scalar or vector; fair when <= 0.

        Raises ProblemError when the rule names a member, segment or exposure that the pool does not have.
        """

    def __repr__(self) -> str:
        return type(self).__name__  # an address in memory would be another one in each run

    def __str__(self) -> str:
        return one_line(re.sub(r"np\.\w+\(([^()]*)\)", r"\1", repr(self)))  # a number of numpy is a number


class GeneratedRule(Rule):
    """A rule with too many rows to write down: rows are added where a plan breaks them."""

    @abstractmethod
    def refined(self, plan: Plan) -> GeneratedRule | None:
        """The rule with the rows that a plan of constants breaks, or None if it breaks none."""

    @abstractmethod
    def searched(self, plan: Plan) -> bool:
        """Whether rows are left out, so that a search has to tell that a plan breaks none of them."""


def proportional(plan: Plan, groups: Floats, shares: Floats, band: float) -> cp.Expression:
    """`abs(c_G - share_G C) <= band share_G C` for groups of members, a 0/1 row each: two affine rows a group.

    Shares sum to 1, so that `c_G - share_G C = (1 - share_G) c_G - share_G (C - c_G)`, and `1 - share_G` is what the
    others have: as a difference it would have no digits left beside a giant.
    """
    whole: list[float] = []
    for _ in range(3):  # the sum to three times the digits of a number, in whatever order
        whole.append(math.fsum([*shares, *(-part for part in whole)]))
    others = np.array([math.fsum([*whole, -share]) for share in shares])
    apart = others[:, None] * groups - shares[:, None] * (1 - groups)
    room = band * shares[:, None]
    return np.vstack([apart - room, -apart - room]) @ plan.contributions


def alike(plan: Plan, shares: Floats) -> cp.Expression:
    """These shares exactly: what a rule without room says. As inequalities it has no interior."""
    return proportional(plan, np.eye(len(shares)), shares, 0.0)


def between(amount: cp.Expression, target: cp.Expression, band: cp.Expression) -> cp.Expression:
    """`abs(amount - target) <= band` as two affine rows each: no auxiliary variables, exact duals."""
    return cp.hstack([amount - target - band, target - amount - band])


def check_number(rule: str, name: str, value: object, low: float = 0.0, high: float = math.inf) -> None:
    """Refuse a parameter that is not a finite number in [low, high]."""
    if not (finite(value) and low <= float(value) <= high):  # type: ignore[arg-type]
        span = f">= {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
        raise ProblemError(f"{rule}: {name} is {value!r}, expected a finite number {span}")


def stacked(parts: list[cp.Expression]) -> cp.Expression:
    """Rows of several vectors as one."""
    return parts[0] if len(parts) == 1 else cp.hstack(parts)
