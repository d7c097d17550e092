"""The language of the objective: risk and cost terms, closed under `price * term`, `term + term`, `term <= amount`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import cvxpy as cp
import numpy as np

from calibrate.errors import ProblemError
from calibrate.program.names import one_line
from calibrate.program.plan import Plan
from calibrate.program.tail import check_level

__all__ = [
    "CVaR",
    "CostOfCapital",
    "CostTerm",
    "ExpectedLoss",
    "Kind",
    "RiskLimit",
    "RiskTerm",
    "Sum",
    "Term",
    "check_known",
    "finite",
]

Kind = Literal["mutualised", "shortfall"]


class Term(ABC):
    """Something to be minimised or limited, in money."""

    @property
    @abstractmethod
    def parts(self) -> tuple[tuple[float, RiskTerm | CostTerm], ...]:
        """The term as a sum of prices times simple terms."""

    def __add__(self, other: Term) -> Sum:
        if not isinstance(other, Term):
            raise ProblemError(f"{other!r} was added to {self}, expected a term such as 0.1 * CVaR(0.99)")
        return Sum(_each_once(self.parts + other.parts))

    __radd__ = __add__

    def __mul__(self, price: float) -> Sum:
        if not (finite(price) and price >= 0):
            raise ProblemError(
                f"price of {self} is {price!r}, expected a finite number >= 0 (a negative price is not convex)"
            )
        return Sum(tuple((float(price) * own, part) for own, part in self.parts))

    __rmul__ = __mul__

    def __truediv__(self, by: float) -> Sum:
        if not (finite(by) and by > 0):
            raise ProblemError(f"{self} was divided by {by!r}, expected a finite number > 0")
        return self * (1 / by)

    def __sub__(self, other: object) -> Sum:
        raise ProblemError(f"{self} - {other} is not convex, as a price below zero; move what is taken off to a limit")

    def __le__(self, amount: float) -> RiskLimit:
        return RiskLimit(self, amount)

    def __lt__(self, amount: object) -> RiskLimit:
        raise ProblemError(f"{self} < {amount!r}: a limit is written term <= amount")

    def __ge__(self, amount: object) -> RiskLimit:
        raise ProblemError(f"{self} >= {amount!r} is not convex; a limit is written term <= amount")

    def __repr__(self) -> str:
        return type(self).__name__  # an address in memory would be another one in each run

    def __str__(self) -> str:
        return one_line(repr(self))

    def __neg__(self) -> Sum:
        return self * -1.0


@dataclass(frozen=True)
class Sum(Term):
    """Prices times terms, added up."""

    summands: tuple[tuple[float, RiskTerm | CostTerm], ...]

    @property
    def parts(self) -> tuple[tuple[float, RiskTerm | CostTerm], ...]:
        """The summands."""
        return self.summands

    def __str__(self) -> str:
        return " + ".join(f"{price:.10g} * {part}".removeprefix("1 * ") for price, part in self.summands)


class RiskTerm(Term):
    """`CVaR` or `ExpectedLoss` of what a waterfall leaves; other coherent risks are sums of these (Kusuoka 2001)."""

    level: float
    of: Kind

    @property
    def parts(self) -> tuple[tuple[float, RiskTerm | CostTerm], ...]:
        """Itself, once."""
        return ((1.0, self),)

    @abstractmethod
    def __str__(self) -> str:
        """Its name in tables and messages."""


@dataclass(frozen=True)
class CVaR(RiskTerm):
    """`CVaR_level(Y) = min_t t + E[(Y - t)+] / (1 - level)`, money (Rockafellar and Uryasev 2000).

    Parameters
    ----------
    level : 0 <= level < 1, say 0.99: the mean of the worst 1 % of the scenarios; 0 is the `ExpectedLoss`.
    of : "shortfall" (`T`, all contributions pay) or "mutualised" (`U`, defaulters pay their own first).

    >>> print(0.05 * CVaR(0.99) + CVaR(0.95, of="mutualised"))
    0.05 * CVaR 99% of shortfall + CVaR 95% of mutualised
    """

    level: float
    of: Kind = "shortfall"

    def __post_init__(self) -> None:
        check_level(self.level)
        object.__setattr__(self, "level", float(self.level))  # half precision would be half of a proof
        _check_kind(self.of)

    def __str__(self) -> str:
        return f"CVaR {100 * self.level:.10g}% of {self.of}" if self.level > 0 else f"expected loss of {self.of}"


@dataclass(frozen=True)
class ExpectedLoss(RiskTerm):
    """`E[Y]`, money: the CVaR at level 0."""

    of: Kind = "shortfall"

    @property
    def level(self) -> float:  # type: ignore[override]
        """0: the tail is everything."""
        return 0.0

    def __post_init__(self) -> None:
        _check_kind(self.of)

    def __str__(self) -> str:
        return f"expected loss of {self.of}"


class CostTerm(Term):
    """A linear cost of the plan, money. A new one is a class with `amount(plan)`."""

    @property
    def parts(self) -> tuple[tuple[float, RiskTerm | CostTerm], ...]:
        """Itself, once."""
        return ((1.0, self),)

    @abstractmethod
    def amount(self, plan: Plan) -> cp.Expression:
        """The cost as an affine expression, money."""


@dataclass(frozen=True)
class CostOfCapital(CostTerm):
    """`contributions * sum c + reserves * (sum r + r0)`: rates a period, as fractions of the money that is bound."""

    contributions: float = 0.0
    reserves: float = 0.0

    def __post_init__(self) -> None:
        for name in ("contributions", "reserves"):
            rate = getattr(self, name)
            if not finite(rate):
                raise ProblemError(f"CostOfCapital: {name} is {rate!r}, expected a finite rate a period, such as 0.02")
            object.__setattr__(self, name, float(rate))

    def amount(self, plan: Plan) -> cp.Expression:
        """Rates times money bound."""
        return self.contributions * plan.total + self.reserves * plan.reserves

    def __str__(self) -> str:
        return f"CostOfCapital(contributions={self.contributions:g}, reserves={self.reserves:g})"


@dataclass(frozen=True)
class RiskLimit:
    """`term <= amount`, money: a risk appetite. Written `CVaR(0.995) <= 1e6`."""

    term: Term
    amount: float

    def __post_init__(self) -> None:
        if not (finite(self.amount) and self.amount >= 0):
            raise ProblemError(f"limit of {self.term} is {self.amount!r}, expected a finite amount of money >= 0")
        object.__setattr__(self, "amount", float(self.amount))

    def __str__(self) -> str:
        return f"{self.term} <= {self.amount:,.10g}"


def _each_once(
    parts: tuple[tuple[float, RiskTerm | CostTerm], ...],
) -> tuple[tuple[float, RiskTerm | CostTerm], ...]:
    """A risk that stands twice, at the sum of its prices: a name tells its price."""
    kept: list[tuple[float, RiskTerm | CostTerm]] = []
    for price, part in parts:
        at = next((k for k, (_, one) in enumerate(kept) if isinstance(part, RiskTerm) and one == part), None)
        if at is None:
            kept.append((price, part))
        else:
            kept[at] = (kept[at][0] + price, part)
    return tuple(kept)


def finite(value: object) -> bool:
    """Whether it is a finite number, of Python or of numpy."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def check_known(term: Term) -> None:
    """ProblemError for a risk of another class, even of one that is derived: the verifier reads these by name."""
    for _, part in term.parts:
        if isinstance(part, RiskTerm) and type(part) not in (CVaR, ExpectedLoss):
            raise ProblemError(
                f"{type(part).__name__} is a risk that no proof knows, expected CVaR or ExpectedLoss; "
                "say it as a sum of prices times these"
            )


def _check_kind(kind: object) -> None:
    if kind not in get_args(Kind):
        raise ProblemError(f'of is {kind!r}, expected "shortfall" or "mutualised"')
