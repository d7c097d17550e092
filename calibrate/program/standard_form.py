"""A program on a working set of scenarios as vectors and matrices, and where a solver is in it.

minimise    1/2 v'Pv + q'v + sum_k price_k * risk_k,   risk_k = t_k + (scenarios surely in the tail) + sum_s w_ks z_ks
subject to  q_j'v + sum_k eta_jk * risk_k <= b_j     (limits; their multipliers move the prices)
            G v + slack = h,  slack in a cone;   E v = f;   v_i >= 0 for some i, v_i <= cap_i for some
            z_ks the root of the forest of term k at y = M_k v + m_k
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from calibrate.program import dense
from calibrate.program.cones import Cone
from calibrate.program.dense import Conditions
from calibrate.program.forest import Forest, Grove, Step
from calibrate.program.rule_rows import limited, rule_rows

__all__ = ["HELD_DOWN", "Body", "Point", "Row", "StandardForm", "Tail"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

HELD_DOWN = 0.9  # of its cap
AT_THE_END = 1e-5  # relative gap: a slightly different program that sets out so near to the end goes in short steps


@dataclass(frozen=True, eq=False)
class Body:
    """What does not depend on the scenarios: costs, rules, bounds."""

    q: Floats
    P: Floats  # diagonal
    G: Floats
    h: Floats
    cone: Cone
    E: Floats
    f: Floats
    bounded: npt.NDArray[np.intp]  # positions with v >= 0
    constant: float = 0.0  # of the objective
    cap: Floats = field(default_factory=lambda: np.zeros(0))  # v <= cap, where it is finite; none if empty
    total: Floats = field(default_factory=lambda: np.zeros(0))  # of all contributions, `total @ v`; empty where unknown

    @cached_property
    def bounds(self) -> tuple[npt.NDArray[np.intp], Floats, Floats]:
        """Positions, signs and ends of all bounds, `sign * (v - end) >= 0`: the lower ones first."""
        capped = np.flatnonzero(np.isfinite(self.cap))
        signs = np.repeat([1.0, -1.0], [len(self.bounded), len(capped)])
        return np.append(self.bounded, capped), signs, np.append(np.zeros(len(self.bounded)), self.cap[capped])

    @cached_property
    def _linear(self) -> tuple[Floats, Floats, Bools]:
        """Rows `rows @ v <= most` that are linear, and which variables have no sign."""
        free, linear = np.ones(len(self.q), dtype=bool), slice(self.cone.orthant)
        free[self.bounded] = False
        return np.vstack([self.G[linear], self.E, -self.E]), np.concatenate([self.h[linear], self.f, -self.f]), free

    def short(self, slope: Floats, v: Floats, value: float) -> float:
        """What a bound falls short of its constant: the least of `slope @ v` over the plans that may be better.

        Each decision within its reach; and where nothing earns, all of them together cost no more than the `value`:
        then what pays most for its cost is taken first.
        """
        least, reach = np.abs(slope), self.reach(v, value)
        least[self.bounded] = np.maximum(-slope[self.bounded], 0.0)
        pays = least * reach
        costs = self.q * reach
        if self.q.min() < 0 or not costs.sum() > value:
            return float(pays.sum())
        costly = np.flatnonzero(costs > 0)
        order = costly[np.argsort(-least[costly] / self.q[costly], kind="stable")]
        spent = np.minimum(np.cumsum(costs[order]), max(value, 0.0))
        shares = np.diff(spent, prepend=0.0) / costs[order]
        return float(pays.sum() - pays[costly].sum() + shares @ pays[order])

    def reach(self, v: Floats, value: float) -> Floats:
        """How large the decisions of a plan may be that is better than `v`, with its `value`.

        No better plan spends more on one decision than the best known costs in all. What costs nothing (and
        everything, if some decision earns) is sought within ten times the size of the plan, as are the variables of
        the rules themselves. A rule that ties a decision to others limits it by what they reach: beside a giant the
        costs of a dwarf limit nothing.
        """
        reach = np.full(len(v), 10.0 * (1.0 + float(np.abs(v).max())))
        if self.q.min() >= 0:
            costly = self.q > 0
            reach[costly] = value / self.q[costly]
        if len(self.cap):  # a cap that holds a decision down counts; the others must not make a bound look better
            reach = np.where(v >= HELD_DOWN * self.cap, np.minimum(reach, self.cap), reach)
        rows, most, free = self._linear
        return np.where(free, reach, np.clip(limited(rows, most, free, reach), 0.0, reach)) if len(most) else reach


@dataclass(frozen=True, eq=False)
class Tail:
    """A risk term: what is planted of it, and the coordinates `y = M v + m` at which it is read.

    `risk = slope @ v + constant + sum w z`: `t`, and the scenarios that are surely in the tail.
    """

    grove: Grove
    M: Floats
    m: Floats
    t: int
    price: float
    cells: int

    @property
    def forest(self) -> Forest:
        """Its trees."""
        return self.grove.forest

    @cached_property
    def slope(self) -> Floats:
        """Of the risk, the trees apart."""
        slope = -self.M.T @ self.grove.line
        slope[self.t] += 1.0
        return slope

    @cached_property
    def constant(self) -> float:
        """Of the risk, the trees apart."""
        return float(self.grove.constant - self.grove.line @ self.m)

    def risk(self, v: Floats) -> float:
        """Of a plan, as far as what is planted tells it."""
        return float(self.slope @ v + self.constant + self.forest.risk(self.along(v) + self.m))

    @cached_property
    def own(self) -> Floats:
        """A cell's coordinate is a multiple of its own entry of `v`; only the other coordinates mix them."""
        return self.M[np.arange(self.cells), np.arange(self.cells)]

    def along(self, v: Floats) -> Floats:
        """`M v`."""
        return dense.along(self.own, self._rest, v)

    def back(self, y: Floats) -> Floats:
        """`M' y`."""
        return dense.back(self.own, self._rest, y)

    def curve(self, half: Floats, H: Floats) -> None:
        """Add `M' (half + half') M` to `H`."""
        dense.add_curve(half, self.own, self._rest, H)

    @cached_property
    def _rest(self) -> Floats:
        return np.ascontiguousarray(self.M[self.cells :])


@dataclass(frozen=True, eq=False)
class Row:
    """A limit on risk: `q'v + sum_k eta_k risk_k <= amount`."""

    q: Floats
    eta: Floats
    amount: float


@dataclass(frozen=True, eq=False)
class StandardForm:
    """One program on one working set."""

    body: Body
    tails: list[Tail]
    rows: list[Row]

    @cached_property
    def row_q(self) -> Floats:
        """`q` of all limits."""
        return np.array([row.q for row in self.rows]).reshape(len(self.rows), len(self.body.q))

    @cached_property
    def eta(self) -> Floats:
        """`eta` of all limits."""
        return np.array([row.eta for row in self.rows]).reshape(len(self.rows), len(self.tails))

    @cached_property
    def amount(self) -> Floats:
        """Amounts of all limits."""
        return np.array([row.amount for row in self.rows])

    @cached_property
    def conditions(self) -> Conditions:
        """All that is no tree, as the compiled kernels take it."""
        body, (at, signs, ends) = self.body, self.body.bounds
        total = body.total if len(body.total) else np.zeros(len(body.q))
        rules = rule_rows(np.ascontiguousarray(body.G), total), body.h, body.cone.orthant
        limits = self.row_q, self.eta, self.amount
        return Conditions(body.q, body.P, at.astype(np.int64), signs, ends, *rules, body.E, body.f, *limits)

    @cached_property
    def base_price(self) -> Floats:
        """Prices of the risk terms in the objective."""
        return np.array([tail.price for tail in self.tails])

    @cached_property
    def pairs(self) -> int:
        """Number of products of a slack and a multiplier."""
        kinks = sum(tail.forest.kinks for tail in self.tails)
        return len(self.body.bounds[0]) + self.body.cone.degree + len(self.rows) + 2 * kinks

    def costs(self, v: Floats) -> float:
        """The objective at a plan, every kink where it is."""
        body, risks = self.body, self._risks(v)
        return float(body.constant + body.q @ v + 0.5 * v @ (body.P * v) + self.base_price @ risks)

    def misses(self, v: Floats) -> float:
        """By how much a plan misses a condition at worst, caps apart; 0 if it keeps all."""
        body = self.body
        slack = body.h - body.G @ v
        short = [0.0, *-v[body.bounded], *-slack[: body.cone.orthant], *np.abs(body.E @ v - body.f)]
        short += [float(np.linalg.norm(slack[block][1:])) - slack[block.start] for block in body.cone.blocks]
        return float(max(*short, *(self.row_q @ v + self.eta @ self._risks(v) - self.amount)))

    def _risks(self, v: Floats) -> Floats:
        return np.array([tail.risk(v) for tail in self.tails])


@dataclass(eq=False)
class Point:
    """Where the method is: plan, slacks and multipliers. The first are of `v >= 0`, then come the limits."""

    v: Floats
    slack: Floats  # of bounds and limits
    multiplier: Floats
    rule_slack: Floats
    rule: Floats  # multipliers of the rules
    equal: Floats
    n_limits: int
    steps: list[Step] = field(default_factory=list)
    value: float = np.inf
    dual: float = -np.inf
    residual: float = np.inf
    iterations: int = 0
    status: str = "not solved"
    mu: float = 0.0  # mean product of a slack and its multiplier, of a copy on the way
    on_the_way: Point | None = None  # a copy from where a slightly different program can set out

    def has_trees(self, tails: list[Tail]) -> bool:
        """Whether it has a number for every leaf and root of these tails."""
        return len(self.steps) == len(tails) and all(
            step.fits(tail.forest) for step, tail in zip(self.steps, tails, strict=True)
        )

    def copy(self) -> Point:
        """The same place, to move on from."""
        return replace(
            self,
            v=self.v.copy(),
            slack=self.slack.copy(),
            multiplier=self.multiplier.copy(),
            rule_slack=self.rule_slack.copy(),
            rule=self.rule.copy(),
            equal=self.equal.copy(),
            steps=[step.copy() for step in self.steps],
            on_the_way=None,
        )

    def going_on(self) -> Point:
        """A copy with the way that led here, unless much of the way is still to be gone: then another copy is kept."""
        near = self.value - self.dual < AT_THE_END * abs(self.value)
        return replace(self.copy(), on_the_way=self.on_the_way if near else None)

    @property
    def limit(self) -> Floats:
        """Multipliers of the limits."""
        return self.multiplier[len(self.multiplier) - self.n_limits :]
