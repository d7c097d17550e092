"""Rules on the members' shares of all contributions. `C = sum c`, `M = sum mu`, `n` members."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from calibrate.errors import ProblemError
from calibrate.program.fairness.base import Rule, alike, check_number, proportional
from calibrate.program.plan import Plan

__all__ = ["ActuarialFairness", "ExposureProportional", "ShareCap", "Solidarity"]


@dataclass(frozen=True)
class ActuarialFairness(Rule):
    """Shares follow expected losses: `abs(c_i - C mu_i / M) <= band * C mu_i / M`.

    >>> ActuarialFairness(band=0.25)
    ActuarialFairness(band=0.25)
    """

    band: float

    def __post_init__(self) -> None:
        check_number("ActuarialFairness", "band", self.band)

    def gap(self, plan: Plan) -> cp.Expression:
        """Two rows a member."""
        return proportional(plan, np.eye(len(plan.pool.members)), plan.shares_of_loss, self.band)


@dataclass(frozen=True)
class ExposureProportional(Rule):
    """Shares follow exposure (EMIR article 42(2)): `abs(c_i - C e_i / E) <= band * C e_i / E`."""

    band: float

    def __post_init__(self) -> None:
        check_number("ExposureProportional", "band", self.band)

    def gap(self, plan: Plan) -> cp.Expression:
        """Two rows a member."""
        exposures = plan.pool.exposures
        if exposures is None:
            raise ProblemError(f"{self} needs exposures, but the pool has none; pass exposures= to PoolProblem")
        whole = math.fsum(exposures)
        if not whole > 0:
            raise ProblemError(f"{self}: the exposures sum to {whole}, expected a positive sum")
        return proportional(plan, np.eye(len(exposures)), exposures / whole, self.band)


@dataclass(frozen=True)
class Solidarity(Rule):
    """Shares blend own risk and an equal split: target weight `(1 - share) mu_i / M + share / n`, within `band`."""

    share: float
    band: float

    def __post_init__(self) -> None:
        check_number("Solidarity", "share", self.share, high=1.0)
        check_number("Solidarity", "band", self.band)

    def gap(self, plan: Plan) -> cp.Expression:
        """Two rows a member."""
        n = len(plan.pool.members)
        return proportional(plan, np.eye(n), (1 - self.share) * plan.shares_of_loss + self.share / n, self.band)


@dataclass(frozen=True)
class ShareCap(Rule):
    """Nobody pays more than a share of all contributions: `c_i <= cap * C`."""

    cap: float

    def __post_init__(self) -> None:
        check_number("ShareCap", "cap", self.cap, high=1.0)

    def gap(self, plan: Plan) -> cp.Expression:
        """A row a member."""
        n = len(plan.pool.members)
        if abs(self.cap * n - 1) <= 1e-12:
            return alike(plan, np.full(n, 1 / n))
        return plan.contributions - self.cap * plan.total * np.ones(n)
