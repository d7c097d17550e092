"""The program in the form in which it is solved: one vector of decisions, in a unit of money that is a power of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from calibrate.errors import ProblemError
from calibrate.program.fairness.base import Rule
from calibrate.program.plan import Plan, Pool
from calibrate.program.risk import CostTerm, RiskLimit, RiskTerm, Sum
from calibrate.program.stated_amounts import check_cost, check_layer
from calibrate.program.waterfall import Cascade, PoolReserve, SegmentReserve, Stage, Waterfall

__all__ = ["Program"]

Floats = npt.NDArray[np.float64]
Parts = tuple[tuple[float, RiskTerm | CostTerm], ...]

SAFE = 1e-9  # relative: a rule or a limit that is broken by less is kept, but for rounding
LITTLE = 1e-6  # units: a value below which a gap is not asked to be relative


@dataclass(frozen=True, eq=False)
class Program:
    """`minimise objective subject to limits and rules` over `x = (c[0, 0], c[0, 1], ..., r[0], ..., r0) >= 0`.

    `x` counts in `unit`s of money. Segment and pool reserves are there only if the waterfall has them. What is solved
    is the program in an order of its own (`ordered`, see `order`); rules and layers, which may hold arrays, are `asked`
    in the caller's.
    """

    pool: Pool
    waterfall: Waterfall
    objective: Parts
    limits: tuple[RiskLimit, ...]
    rules: tuple[Rule, ...]
    reference: Floats  # decisions, money
    unit: float
    told: Program | None = None  # the program in the caller's order, where this is in another

    @property
    def n_cells(self) -> int:
        """Contributions: members x segments."""
        return int(self.pool.scenarios.losses.shape[1])

    @cached_property
    def reserve_names(self) -> tuple[str, ...]:
        """Names of the reserves, in the order of `x`."""
        return self.waterfall.reserve_names(self.pool.scenarios.segments)

    @property
    def size(self) -> int:
        """Length of `x`."""
        return self.n_cells + len(self.reserve_names)

    @property
    def risk_terms(self) -> tuple[RiskTerm, ...]:
        """The risk terms of objective and limits, each once."""
        parts = (*self.objective, *(pair for limit in self.limits for pair in limit.term.parts))
        return tuple(dict.fromkeys(term for _, term in parts if isinstance(term, RiskTerm)))

    def plan(self, x: cp.Expression) -> Plan:
        """Decisions in units as a plan in money."""
        shape = (len(self.pool.members), len(self.pool.scenarios.segments))
        if self.told is not None:
            at = np.argsort(self.positions)
            return self.told.plan(cp.Constant(x.value[at]) if x.is_constant() else x[at])
        money = self.unit * x
        has_segments, has_pool = self.waterfall.has(SegmentReserve), self.waterfall.has(PoolReserve)
        start = self.n_cells
        return Plan(
            pool=self.pool,
            cells=cp.reshape(money[:start], shape, order="C"),
            segment_reserves=money[start : start + shape[1]] if has_segments else cp.Constant(np.zeros(shape[1])),
            pool_reserve=money[self.size - 1] if has_pool else cp.Constant(0.0),
        )

    @cached_property
    def trials(self) -> tuple[Plan, Plan]:
        """A plan of ones and one of variables: what is stated for the program is tried on both."""
        return self.plan(cp.Constant(np.ones(self.size))), self.plan(cp.Variable(self.size))

    def with_condition(self, condition: Rule | RiskLimit) -> Program:
        """The program with one rule or limit more, the last of its kind."""
        if isinstance(condition, RiskLimit):
            return replace(self, limits=(*self.limits, self._counting(condition)))
        return replace(self, rules=(*self.rules, condition))

    def _counting(self, limit: RiskLimit) -> RiskLimit:
        """A limit without parts that are nothing here: a price of 0, the cost of reserves where there are none."""
        risks = [(price, part) for price, part in limit.term.parts if price > 0 and isinstance(part, RiskTerm)]
        costs = [(price, part) for price, part in limit.term.parts if isinstance(part, CostTerm) and price > 0]
        for _, cost in costs:
            check_cost(cost, *self.trials)
        plans = [
            self.plan(cp.Constant(x)) for x in (np.zeros(self.size), np.ones(self.size), np.arange(self.size) + 1.0)
        ]
        if not any(sum(price * float(part.amount(plan).value) for price, part in costs) for plan in plans):
            costs = []
        kept = tuple(pair for pair in limit.term.parts if pair in risks or pair in costs)
        if not kept:
            raise ProblemError(f"{limit}: nothing of it counts in this pool, so every plan keeps it; leave it out")
        return limit if len(kept) == len(limit.term.parts) else replace(limit, term=Sum(kept))

    def cascade(self, x: Floats) -> Cascade:
        """What the stages of the waterfall pay at decisions `x` (units), money."""
        cascade, order = Cascade.of(self.waterfall, self.plan(cp.Constant(x))), self.pool.order
        if order is None:
            return cascade
        return replace(cascade, own=order.arranged(cascade.own), segment=cascade.segment[order.segments])

    def places(self, stage: Stage) -> npt.NDArray[np.int64]:
        """Where what the layers of a stage pay stands in the caller's order, cell by cell or segment by segment."""
        order, segments = self.pool.order, len(self.pool.scenarios.segments)
        length = {Stage.MEMBER: self.n_cells, Stage.SEGMENT: segments, Stage.POOL: 1}[stage]
        if order is None or stage == Stage.POOL:
            return np.arange(length)
        return order.cells if stage == Stage.MEMBER else order.segments

    def amount(self, stage: Stage, plan: Plan) -> cp.Expression | None:
        """All that the layers of a stage pay at most, in the order of the program; None if there are none."""
        amount = self.waterfall.amount(stage, plan)
        if amount is None or self.pool.order is None or stage == Stage.POOL:
            return amount
        return self.in_order(amount) if stage == Stage.MEMBER else amount[self.pool.order.segments]

    def in_order(self, cells: cp.Expression) -> cp.Expression:
        """A table (members, segments) of a plan, in the order of the program."""
        return cells if self.pool.order is None else self.pool.order.arranged(cells)

    @property
    def ordered(self) -> Program:
        """The same program in the order in which it is solved; itself where that is its own.

        Not kept, as it keeps this one: in a circle, memory would wait for the collector of garbage.
        """
        pool = self.pool.ordered
        if pool.order is None or pool is self.pool:
            return self
        ordered = replace(self, pool=pool, told=self)
        return replace(ordered, reference=self.reference[ordered.positions])

    @property
    def asked(self) -> Program:
        """The program in the caller's order: that of rules and layers, which may hold arrays."""
        return self if self.told is None else self.told

    @cached_property
    def positions(self) -> npt.NDArray[np.int64]:
        """Where the decisions of the program stand in the caller's."""
        order = self.pool.order
        if order is None:
            return np.arange(self.size)
        segments = self.n_cells + order.segments if self.waterfall.has(SegmentReserve) else np.zeros(0, dtype=np.int64)
        pool = [self.size - 1] if self.waterfall.has(PoolReserve) else []
        return np.concatenate([order.cells, segments, np.array(pool, dtype=np.int64)])

    def arranged(self, x: Floats) -> Floats:
        """The caller's decisions in the order of the program."""
        return x if self.told is None else x[self.positions]

    def gaps(self, plan: Plan) -> Floats:
        """The worst gap of each rule at a plan of constants, money: fair when not above 0."""
        return np.array([float(np.max(rule.gap(plan).value)) for rule in self.rules])

    def as_fair(self, x: Floats, other: Floats) -> bool:
        """Whether no rule is broken by decisions `x` (units) that another plan keeps, or further than by that one."""
        room = SAFE * self.unit
        after = self.gaps(self.plan(cp.Constant(x)))
        if np.all(after <= room):  # mostly: the other plan need not be asked
            return True
        return bool(np.all(after <= np.maximum(self.gaps(self.plan(cp.Constant(other))), 0.0) + room))

    def relative_gap(self, objective: float, lower_bound: float) -> float:
        """Between an objective and a bound on the best, money; to a millionth of a unit where it is smaller still."""
        return (objective - lower_bound) / max(abs(objective), LITTLE * self.unit)

    def check_amounts(self) -> None:
        """Refuse layers of the waterfall and costs of the objective that are not affine in the plan."""
        for layer in self.waterfall.layers:
            check_layer(layer, *self.trials)
        for _, part in self.objective:
            if isinstance(part, CostTerm):
                check_cost(part, *self.trials)

    def check(self) -> None:
        """Refuse terms that the waterfall does not define, and two that nobody could tell apart in a table."""
        named: dict[str, RiskTerm] = {}
        for term in self.risk_terms:
            other = named.setdefault(str(term), term)
            if other != term:
                raise ProblemError(f"{other!r} and {term!r} are both called {str(term)!r} in tables; use one of them")
            if term.of == "mutualised" and not self.waterfall.defaulter_pays:
                raise ProblemError(
                    f"{term} needs a layer in which the defaulter pays, but the waterfall has none; "
                    'add OwnContribution() as its first layer, or use of="shortfall"'
                )
