"""The multipliers of a certificate as the optimum of a program of their own: the dual of the statement.

For where those of the solver do not do. A decision that nothing bounds must have a slope of the right sign exactly,
where an interior method leaves it at a billionth of the wrong one: here such slopes keep clear of zero. With the flows
of the risk terms given, only the multipliers of the rules are sought, a program as small as the plan; with the
scenarios given that may be in the tails, the flows as well, where a plan came without any.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cvxpy as cp
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from calibrate.certificate import verifier
from calibrate.program.form import Floats, Program
from calibrate.program.quiet import greeted

__all__ = ["Flows", "best_flows", "best_rules", "slope_without_rules", "solved"]

Ints = npt.NDArray[np.int64]

LADDER: tuple[tuple[str, dict[str, float]], ...] = (
    (cp.HIGHS, {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10, "time_limit": 120.0}),
    *((cp.CLARABEL, dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), one)) for one in (1e-11, 1e-9)),
)
ENDLESS = 10**30  # units
MOST = 3.0  # times the largest multiplier known: rules that are all homogeneous leave the size of theirs open


@dataclass(frozen=True, eq=False)
class Flows:
    """What goes through the waterfall of one term: by chosen scenario; by segment; by scenario and column."""

    chosen: Ints
    root: Floats
    group: Floats | None
    leaf: Floats | None


def best_rules(body: dict[str, Any], pool: verifier.Pool, unit: float, clear: float) -> list[list[float]] | None:
    """Multipliers of the blocks of a certificate (its numbers as fractions) that make most of its flows.

    `clear` of the largest multiplier is how far from zero a slope keeps that must not have the other sign.
    """
    if not body["blocks"]:
        return None
    dual = _Dual(body, unit)
    slope = dual.given(pool)
    largest = max((abs(float(m)) for block in body["multipliers"]["blocks"] for m in block), default=0.0)
    largest = largest or float(np.abs(slope).max())
    return dual.solve(slope, 0.0, clear * largest, MOST * largest)


def best_flows(
    body: dict[str, Any], program: Program, chosen: Sequence[Ints], clear: float
) -> tuple[list[list[float]], list[float], list[Flows]] | None:
    """Multipliers of blocks and limits, and the flows over the chosen scenarios of each term."""
    dual = _Dual(body, program.unit)
    slope: Any = np.array([float(one) for one in [*body["costs"], *[0] * body["auxiliary"]]])
    constant: Any = 0.0
    limits = cp.Variable(max(len(body["limits"]), 1), nonneg=True)
    prices = [float(term["price"]) for term in body["terms"]]
    for nu, limit in zip(limits, body["limits"], strict=False):
        row, amount = limit["row"]
        slope = slope + nu * dual.row(row)
        constant = constant - nu * float(amount) / program.unit
        prices = [price + nu * float(eta) for price, eta in zip(prices, limit["risks"], strict=True)]
    terms = [_Term(body, program, k, one) for k, one in enumerate(chosen)]
    for term, price in zip(terms, prices, strict=True):
        dual.constraints += term.constraints(price)
        slope, constant = slope - term.slope, constant + term.constant
    most = None
    if body["objective"] is None:  # of a contradiction all multiples are one, and a program of them would have no end
        most = 1.0
        dual.constraints.append(limits <= most)
    blocks = dual.solve(slope, constant, clear, most)
    if blocks is None:
        return None
    nus = np.maximum(limits.value, 0.0).tolist() if body["limits"] else []
    return blocks, nus, [term.flows() for term in terms]


def slope_without_rules(body: dict[str, Any], pool: verifier.Pool) -> list[Any]:
    """Slope of costs, limits and flows as a certificate has them, in all decisions and auxiliary variables, exactly."""
    given = body["multipliers"]
    slope: list[Any] = [*body["costs"], *[0] * body["auxiliary"]]
    prices = [term["price"] for term in body["terms"]]
    for limit, nu in zip(body["limits"], given["limits"], strict=True):
        prices = [price + nu * eta for price, eta in zip(prices, limit["risks"], strict=True)]
        for j, a in limit["row"][0]:
            slope[j] += nu * a
    for term, price, flows in zip(body["terms"], prices, given["flows"], strict=True):
        pool.cut(term, price, flows, slope)
    return slope


class _Dual:
    """Variables for the multipliers of the blocks; amounts in units."""

    def __init__(self, body: dict[str, Any], unit: float) -> None:
        self.body, self.unit = body, unit
        self.n = len(body["costs"]) + body["auxiliary"]
        blocks = [(kind, rows) for _, kind, rows in body["blocks"]]
        self.rows = [row for _, rows in blocks for row in rows]
        self.ends = np.cumsum([0, *(len(rows) for _, rows in blocks)])
        self.m = cp.Variable(max(len(self.rows), 1))
        starts = self.ends[:-1]
        positive = [int(a) for a, (kind, _) in zip(starts, blocks, strict=True) if kind == "at_most"]
        cones = [(int(a), int(a) + len(rows)) for a, (kind, rows) in zip(starts, blocks, strict=True) if kind == "cone"]
        self.constraints: list[Any] = [self.m[positive] >= 0] if positive else []
        self.constraints += [cp.SOC(self.m[a], self.m[a + 1 : b]) for a, b in cones]

    def row(self, entries: Any) -> Floats:
        """A row as a vector."""
        dense = np.zeros(self.n)
        for j, a in entries:
            dense[j] += float(a)
        return dense

    def given(self, pool: verifier.Pool) -> Floats:
        """Slope of costs, limits and flows as the certificate has them."""
        return np.array([float(one) for one in slope_without_rules(self.body, pool)])

    def solve(self, slope: Any, constant: Any, clear: float, most: float | None) -> list[list[float]] | None:
        """The best multipliers of the blocks, on top of what the rest slopes; None where there are none."""
        if self.rows:
            at = [(k, j, float(a)) for k, (row, _) in enumerate(self.rows) for j, a in row]
            k, j, a = (np.array(part) for part in zip(*at, strict=True)) if at else (np.zeros(0, int),) * 3
            slope = sp.csr_matrix((a, (j, k)), shape=(self.n, len(self.rows))) @ self.m + slope
            constant = constant - np.array([float(h) / self.unit for _, h in self.rows]) @ self.m
        grid = 10 ** self.body["decimals"] * verifier.FINER * Fraction(self.unit)
        ends = verifier.box(self.body, self.body["objective"])
        low, high = np.array([[_double(end, grid) for end in pair] for pair in ends]).T
        least = cp.Variable(self.n)
        for end, sign in ((low, -1.0), (high, 1.0)):
            known, endless = np.flatnonzero(np.isfinite(end)), np.flatnonzero(np.isnan(end))
            self.constraints += [least[known] <= cp.multiply(end[known], slope[known])] if known.size else []
            self.constraints += [sign * slope[endless] >= clear] if endless.size else []
        self.constraints += [] if most is None else [cp.abs(self.m) <= most]
        if not solved(cp.Problem(cp.Maximize(constant + cp.sum(least)), self.constraints)):
            return None
        values = self.m.value.tolist() if self.rows else []
        return [values[a:b] for a, b in zip(self.ends[:-1], self.ends[1:], strict=True)]


def _double(end: Any, grid: Fraction) -> float:
    """An end of the box in units; not a number where there is none, or none that a solver can use."""
    return np.nan if end is None or abs(end) > ENDLESS * grid else float(end / grid)


def solved(problem: cp.Problem) -> bool:
    """Whether a solver calls it optimal. What it found is proved or discarded afterwards, so any claim will do."""
    greeted()
    for solver, options in LADDER:
        if solver == cp.CLARABEL or problem.is_lp():
            with suppress(cp.SolverError, ValueError, ArithmeticError), warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                problem.solve(solver=solver, **options)
            if problem.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
                return True
    return False


class _Term:
    """Variables for the flows of one term over some scenarios; losses in units."""

    def __init__(self, body: dict[str, Any], program: Program, k: int, chosen: Ints) -> None:
        self.program, self.chosen, self.term = program, chosen, body["terms"][k]
        scenarios = program.pool.scenarios
        self.k, self.cells = len(scenarios.segments), program.n_cells
        losses = scenarios.losses[chosen] / program.unit
        self.mutualised = self.term["of"] == "mutualised"
        self.root = cp.Variable(len(chosen), nonneg=True)
        self.group = cp.Variable((len(chosen), self.k), nonneg=True)
        own = np.array([float(rate) for rate in body["waterfall"]["own"]])
        worth = np.ones((len(chosen), self.cells))
        if scenarios.collateral is not None:
            worth = np.repeat(scenarios.collateral[chosen], self.k, axis=1)
        self.s, self.j = np.nonzero(losses)
        if self.mutualised:
            self.leaf = cp.Variable(max(len(self.s), 1), nonneg=True)
            at, shape = (self.j, np.arange(len(self.s))), (self.cells, self.leaf.size)
            add = sp.csr_matrix((worth[self.s, self.j] * own[self.j], at), shape=shape)
            pull, self.constant = add @ self.leaf, np.append(losses[self.s, self.j], 0.0)[: self.leaf.size] @ self.leaf
        else:
            spread = np.tile(np.eye(self.k), (self.cells // self.k, 1))
            pull = cp.sum(cp.multiply((worth * own).T, spread @ self.group.T), axis=1)
            self.constant = cp.sum(
                cp.multiply(losses.reshape(len(chosen), self.cells // self.k, self.k).sum(axis=1), self.group)
            )
        rest = len(body["costs"]) + body["auxiliary"] - self.cells
        through = [cp.sum(self.group[:, g]) for g in range(self.k)] + [cp.sum(self.root)]
        self.slope: Any = cp.hstack([pull, np.zeros(rest)])
        for flow, (row, amount) in zip(through, body["waterfall"]["stages"], strict=True):
            dense = np.zeros(self.cells + rest)
            for j, a in row:
                dense[j] += float(a)
            self.slope = self.slope + flow * dense
            self.constant = self.constant - flow * float(amount) / program.unit

    def constraints(self, price: Any) -> list[Any]:
        """Flows that only get less on their way, within price and probability."""
        p = self.program.pool.scenarios.probabilities
        share = p[self.chosen] / (p.sum() * (1 - float(self.term["level"])))
        rows = [self.root <= price * share, cp.sum(self.root) <= price]
        rows += [self.group[:, g] <= self.root for g in range(self.k)]
        if self.mutualised and self.s.size:
            pick = self.s * self.k + self.j % self.k
            rows.append(self.leaf <= cp.reshape(self.group, (self.group.size,), order="C")[pick])
        return rows

    def flows(self) -> Flows:
        """The values found."""
        leaf = None
        if self.mutualised:
            leaf = np.zeros((len(self.chosen), self.cells))
            leaf[self.s, self.j] = self.leaf.value[: len(self.s)]
        return Flows(self.chosen, np.asarray(self.root.value), np.asarray(self.group.value), leaf)
