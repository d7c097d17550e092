"""Rules, limits and costs of a program as matrices: what does not depend on the scenarios, compiled once by cvxpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from calibrate.program.affine import NotSeparable, Rows, affine, rows_of
from calibrate.program.cones import Cone
from calibrate.program.equalities import independent, paired
from calibrate.program.fairness.base import Rule
from calibrate.program.form import Parts, Program
from calibrate.program.plan import Plan
from calibrate.program.risk import CostTerm, Kind, RiskTerm
from calibrate.program.row_order import placed_by_content
from calibrate.program.scaling import asked_of, balanced, near_one, shared_out, sizes_of, sizes_of_auxiliary
from calibrate.program.standard_form import Body, Row
from calibrate.program.waterfall import Stage

__all__ = ["Amounts", "Compiled", "NotSeparable", "compiled", "rule_rows"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
_Rules = tuple[Floats, Floats, Floats, Floats, Cone, Floats]  # G, h, E, f, cone, room
MOST_COLUMNS = 3000  # decisions and auxiliary variables of the rules: beyond it a dense system is the wrong tool


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
            amount, at = program.waterfall.amount(stage, plan), program.places(stage)
            if amount is None:
                return np.zeros((len(at), n)), np.zeros(len(at))
            slopes, constant = affine(cp.reshape(amount, (len(at),), order="C") / program.unit, x)
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
    extra = sum(block.A.shape[1] - program.size - 1 for block in blocks)
    conditions = (*program.rules, *program.limits)
    gives = [] if elastic is None else [j for j, one in enumerate(conditions) if any(one is other for other in elastic)]
    terms = program.risk_terms
    n = program.size + extra + len(gives) + len(terms)
    if n > MOST_COLUMNS:
        raise NotSeparable(f"the rules need {extra} auxiliary variables")
    t = tuple(range(n - len(terms), n))
    slack = {j: program.size + extra + k for k, j in enumerate(gives)}
    G, h, E, f, cone, room = _stack(blocks, program.size, n, slack)
    cost, prices = _linear(program, program.objective, plan, x, n, terms)
    rows = []
    for j, limit in enumerate(program.limits, start=len(program.rules)):
        q, eta = _linear(program, limit.term.parts, plan, x, n, terms)
        if j in slack:
            q[slack[j]] = -1.0
        rows.append(Row(q, eta, limit.amount / program.unit))
    q = cost
    if elastic is not None:
        q, prices = np.zeros(n), np.zeros(len(terms))
        q[list(slack.values())] = 1.0
    bounded = np.array([*range(program.size), *slack.values(), *t], dtype=np.intp)
    constant = 0.0 if elastic is None else 1.0
    scale = np.ones(n)
    if elastic is None:  # what has to give is money, and so are the plans that are asked about it
        few, linear = len(program.pool.scenarios.segments), slice(cone.orthant)
        sizes = asked_of(G[linear], h[linear], sizes_of(program), few)
        scale[: program.n_cells] = shared_out(G, h, cone, sizes)
    G, h, cone, room, zero = _without_zeros(G, h, cone, room, program.size)
    scale[zero] = 0.0  # out of every row; a cost of its own keeps what is left of the variable at zero
    G, h, E, f, cone, room, equal_room = paired(G, h, E, f, cone, room)
    scale[program.size : program.size + extra] = sizes_of_auxiliary(
        np.vstack([E, G]) * scale, np.append(f, h), cone, program.size, extra
    )
    G, h, room = near_one(G * scale, h, room, cone)
    E, f, equal_room = near_one(E * scale, f, equal_room, Cone(len(E)))
    said, implied = independent(E, f)
    rows = [replace(row, q=row.q * scale) for row in rows]
    body = Body(
        q=np.where(scale > 0, q * scale, 1.0),
        P=np.zeros(n),
        G=G,
        h=h,
        cone=cone,
        E=E[said],
        f=f[said],
        bounded=bounded,
        constant=constant,
        total=np.where(np.arange(n) < program.n_cells, scale, 0.0),
    )
    follow = (E[implied], f[implied])
    equal_room = equal_room[np.append(said, implied)]
    return Compiled(body, amounts, terms, t, prices, tuple(rows), scale, room, equal_room, follow)


def rule_rows(rule: Rule, program: Program, x: cp.Variable, plan: Plan) -> Rows:
    """One rule as balanced rows of a cone, units; `x` and `plan` in the caller's order, the rows in the program's."""
    slack = cp.Variable()
    rows = rows_of(rule.gap(plan) / program.unit <= slack, [x, slack])
    fixed = program.size + 1
    rows.A[:, : program.size] = rows.A[:, program.positions]
    A, b = balanced(rows.A, rows.b, fixed, rows.sizes)
    placed = placed_by_content(A, b, fixed, (rows.zero, rows.zero + rows.orthant), rows.sizes)
    return replace(rows, A=A[np.ix_(placed.rows, placed.columns)], b=b[placed.rows], sizes=placed.sizes)


def _stack(blocks: list[Rows], size: int, n: int, slack: dict[int, int]) -> _Rules:
    """All rules under each other: orthant rows first, then the second-order cones; equalities apart."""
    zero, orthant, second = [], [], []
    room_parts: dict[str, list[Floats]] = {"orthant": [], "second": []}
    start = size
    for j, block in enumerate(blocks):
        A = np.zeros((len(block.b), n))
        extra = block.A.shape[1] - size - 1
        A[:, :size] = block.A[:, :size]
        A[:, start : start + extra] = block.A[:, size + 1 :]
        start += extra
        if j in slack:
            A[:, slack[j]] = block.A[:, size]
        give = np.zeros((len(block.b), len(blocks)))
        give[:, j] = block.A[:, size]
        a, b = block.zero, block.zero + block.orthant
        zero.append((A[:a], block.b[:a]))
        orthant.append((A[a:b], block.b[a:b]))
        second.append((A[b:], block.b[b:]))
        room_parts["orthant"].append(give[a:b])
        room_parts["second"].append(give[b:])
    empty = (np.zeros((0, n)), np.zeros(0))
    G = np.vstack([A for A, _ in (*orthant, *second, empty)])
    h = np.concatenate([b for _, b in (*orthant, *second, empty)])
    E = np.vstack([A for A, _ in (*zero, empty)])
    f = np.concatenate([b for _, b in (*zero, empty)])
    cone = Cone(sum(block.orthant for block in blocks), tuple(size for block in blocks for size in block.sizes))
    room = np.vstack([*room_parts["orthant"], *room_parts["second"], np.zeros((0, len(blocks)))])
    return G, h, E, f, cone, room


def _without_zeros(
    G: Floats, h: Floats, cone: Cone, room: Floats, size: int
) -> tuple[Floats, Floats, Cone, Floats, Ints]:
    """Decisions that a rule holds at zero, `sum g x <= 0` with `g >= 0`, and the rules without the rows that say so.

    Such rows leave no interior; without these decisions other rows may be such. Rows that `x >= 0` implies go as well.
    """
    n = cone.orthant
    ours, rows, held = ~np.any(G[:n, size:] != 0, axis=1), G[:n, :size].copy(), np.zeros(size, dtype=bool)
    while True:
        zeros = ours & np.all(rows >= 0, axis=1) & (h[:n] == 0)
        new = np.any(rows[zeros] > 0, axis=0)
        if not new.any():
            break
        held |= new
        rows[:, new] = 0.0
    idle = ours & np.all(rows <= 0, axis=1) & (h[:n] >= 0)
    kept = np.append(~(zeros | idle), np.ones(len(G) - n, dtype=bool))
    return G[kept], h[kept], Cone(int(kept[:n].sum()), cone.sizes), room[kept], np.flatnonzero(held)


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
