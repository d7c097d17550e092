"""Rules, limits and costs of a program as matrices: what does not depend on the scenarios, compiled once by cvxpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from calibrate.errors import ProblemError
from calibrate.program.affine import NotSeparable, affine
from calibrate.program.equalities import independent
from calibrate.program.form import Parts, Program
from calibrate.program.plan import Plan
from calibrate.program.risk import CostTerm, Kind, RiskTerm
from calibrate.program.rule_matrix import Places, rule_rows, scaled, stacked
from calibrate.program.standard_form import Body, Row
from calibrate.program.waterfall import Layer, Stage

__all__ = ["Amounts", "Compiled", "NotSeparable", "compiled"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

ROUNDING = 1e-12  # of the largest rate of a layer: what is left where rates cancel


@dataclass(frozen=True, eq=False)
class Amounts:
    """What the stages pay in units, affine in `x`: `own_rate * x_cell`, `segment = S x + s`, `pool = P x + p`."""

    own_rate: Floats
    segment: Floats
    segment_constant: Floats
    pool: Floats
    pool_constant: float

    @classmethod
    def of(cls, program: Program, plan: Plan, x: cp.Variable) -> Amounts:
        """Read off the layers' expressions; `x` and `plan` in the caller's order."""
        n, cells = program.size, program.n_cells

        def read(stage: Stage) -> tuple[Floats, Floats]:
            at = program.places(stage)
            slopes, constant = np.zeros((len(at), n)), np.zeros(len(at))
            for layer in program.waterfall.layers:
                if layer.stage == stage:
                    amount = cp.reshape(layer.amount(plan), (len(at),), order="C")
                    rates, fixed = affine(amount / program.unit, x)
                    rates[np.abs(rates) <= ROUNDING * np.abs(rates).max(initial=0.0)] = 0.0
                    _check_pays(layer, float(rates.min()), program.unit * float(fixed.min()))
                    slopes, constant = slopes + rates, constant + fixed
            return slopes[np.ix_(at, program.positions)], constant[at]

        own = np.eye(cells, n)
        if program.waterfall.defaulter_pays:
            own, constant = read(Stage.MEMBER)
            rate = own[np.arange(cells), np.arange(cells)].copy()
            if constant.any() or np.count_nonzero(own) > np.count_nonzero(rate):
                raise NotSeparable("a layer of the members pays more than a multiple of the member's own contribution")
        segment, segment_constant = read(Stage.SEGMENT)
        pool, pool_constant = read(Stage.POOL)
        return cls(
            own[np.arange(cells), np.arange(cells)].copy(), segment, segment_constant, pool[0], float(pool_constant[0])
        )

    def at(self, x: Floats) -> tuple[Floats, Floats, float]:
        """What cells, segments and the pool pay at most at a plan."""
        own = self.own_rate * x[: len(self.own_rate)]
        return own, self.segment @ x + self.segment_constant, float(self.pool @ x + self.pool_constant)

    def coordinates(self, kind: Kind, pooled: bool, kinked: bool, n: int, t: int) -> tuple[Floats, Floats]:
        """`y = M v + m`: cells, segments if they are `kinked`, and what hangs on the roots: pool, `t` and the rest.

        `pooled`: what a segment pays includes all own contributions.
        """
        cells, k = len(self.own_rate), len(self.segment)
        segment = self.segment.copy()
        if kind == "shortfall" and pooled:
            for g in range(k):
                segment[g, np.arange(g, cells, k)] += self.own_rate[g::k]
        root, constant = self.pool, np.array([self.pool_constant])
        if kinked:
            root, constant = np.vstack([segment, root]), np.append(self.segment_constant, constant)
        else:
            root, constant = root + segment.sum(axis=0), constant + self.segment_constant.sum()
        root = root.reshape(-1, segment.shape[1])
        M, m = np.zeros((cells + len(root), n)), np.append(np.zeros(cells), constant)
        M[np.arange(cells), np.arange(cells)] = self.own_rate
        M[cells:, : root.shape[1]] = root
        M[-1, t] = 1.0
        return M, m


def _check_pays(layer: Layer, rate: float, fixed: float) -> None:
    """ProblemError for a layer that would take: what the layers of a stage pay is added up."""
    if min(rate, fixed) < 0:
        found = f"a rate of {rate:g}" if rate < 0 else f"a fixed part of {fixed:g}"
        raise ProblemError(f"{layer}: amount has {found}, expected none below zero: a layer pays, or pays nothing")


@dataclass(frozen=True, eq=False)
class Compiled:
    """Matrices of a program. `v = (x, auxiliary variables of rules, slacks of elastic conditions, t of each term)`."""

    body: Body
    amounts: Amounts
    terms: tuple[RiskTerm, ...]
    t: tuple[int, ...]
    prices: Floats
    rows: tuple[Row, ...]
    scale: Floats  # units of one entry of v: members of any size count in their own losses
    room: Floats  # column j: what one unit of slack in rule j adds to the left-hand side of the rule rows
    equal_room: Floats  # the same of the equalities, those that follow last
    follow: tuple[Floats, Floats]  # equalities that follow from those of the body: kept, without being asked for
    limit_rates: Floats  # what each limit counts of a unit of each decision, of those too that rules hold at zero

    @property
    def size(self) -> int:
        """Length of `v`."""
        return len(self.body.q)

    @property
    def equalities(self) -> tuple[Floats, Floats]:
        """`(E, f)` of all equalities `E v = f` that the rules say, those that follow from the others last."""
        return np.vstack([self.body.E, self.follow[0]]), np.append(self.body.f, self.follow[1])

    def plan(self, v: Floats) -> Floats:
        """The decisions `x`, in units."""
        n = self.amounts.segment.shape[1]
        return np.asarray(self.scale[:n] * np.maximum(v[:n], 0.0))

    def entries(self, x: Floats) -> Floats:
        """The entries of `v` for decisions `x` in units; what is held at zero is zero."""
        scale = self.scale[: len(x)]
        return np.divide(x, scale, out=np.zeros(len(x)), where=scale > 0)

    def priced(self, limit: Floats) -> Floats:
        """Prices of the risk terms, with what limits add that have these multipliers."""
        eta = np.array([row.eta for row in self.rows]).reshape(len(self.rows), len(self.prices))
        return np.asarray(self.prices + limit @ eta)

    def coordinates(self, kind: Kind, pooled: bool, kinked: bool, t: int) -> tuple[Floats, Floats]:
        """`y = M v + m` of a term with its `t`."""
        M, m = self.amounts.coordinates(kind, pooled, kinked, self.size, t)
        return M * self.scale, m


def compiled(program: Program, elastic: Sequence[object] | None = None) -> Compiled:
    """Compile a program; with `elastic` conditions, minimise `1 + what they have to give` instead of the objective.

    The 1 keeps a relative gap meaningful where nothing has to give.
    """
    x = cp.Variable(program.size)
    plan = program.asked.plan(x)
    amounts = Amounts.of(program, plan, x)
    blocks = [rule_rows(rule, program, x, plan) for rule in program.rules]
    places = Places.of(program, blocks, elastic)
    rules, scale = scaled(program, stacked(blocks, places), places, elastic is not None)
    cost, prices, rows = _costs(program, plan, x, places)
    if elastic is not None:
        cost, prices = np.isin(np.arange(places.size), places.given).astype(np.float64), np.zeros(len(prices))
    said, implied = independent(rules.E, rules.f)
    body = Body(
        q=np.where(scale > 0, cost * scale, 1.0),
        P=np.zeros(places.size),
        G=rules.G,
        h=rules.h,
        cone=rules.cone,
        E=rules.E[said],
        f=rules.f[said],
        bounded=np.array([*range(program.size), *places.given, *places.t], dtype=np.intp),
        constant=0.0 if elastic is None else 1.0,
        total=np.where(np.arange(places.size) < program.n_cells, scale, 0.0),
    )
    limits = tuple(replace(row, q=row.q * scale) for row in rows)
    follow, equal_room = (rules.E[implied], rules.f[implied]), rules.equal_room[np.append(said, implied)]
    rates = np.array([row.q[: program.size] for row in rows]).reshape(len(rows), program.size)
    terms, room = program.risk_terms, rules.room
    return Compiled(body, amounts, terms, places.t, prices, limits, scale, room, equal_room, follow, rates)


def _costs(program: Program, plan: Plan, x: cp.Variable, places: Places) -> tuple[Floats, Floats, list[Row]]:
    """Cost of each entry of `v`, prices of the risk terms, and the limits as rows."""
    terms, first, rows = program.risk_terms, len(program.rules), []
    for j, limit in enumerate(program.limits, start=first):
        q, eta = _linear(program, limit.term.parts, plan, x, places.size, terms)
        if j in places.slack:
            q[places.slack[j]] = -1.0
        rows.append(Row(q, eta, limit.amount / program.unit))
    return *_linear(program, program.objective, plan, x, places.size, terms), rows


def _linear(
    program: Program, parts: Parts, plan: Plan, x: cp.Variable, n: int, terms: tuple[RiskTerm, ...]
) -> tuple[Floats, Floats]:
    """A sum of prices times terms as a cost vector and a price for each risk term."""
    cost, prices = np.zeros(n), np.zeros(len(terms))
    for price, part in parts:
        if isinstance(part, CostTerm):
            row, constant = affine(cp.reshape(part.amount(plan) / program.unit, (1,), order="C"), x)
            if constant.any():
                raise NotSeparable(f"{part} has a fixed part")
            cost[: program.size] += price * row[0, program.positions]
        else:
            prices[terms.index(part)] += price
    return cost, prices
