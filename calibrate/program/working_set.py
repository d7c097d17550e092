"""The program at any number of scenarios: solved on a working set of the tail, between a lower and an upper bound.

The lower bound is that of the multipliers (`bound`, with the proof). The upper bound is the plan itself, its CVaR over
all scenarios computed exactly. When its tail lies within the working set the two meet.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from calibrate.blocks import HELD
from calibrate.errors import SolverError
from calibrate.program.bound import lower_bound, smallest
from calibrate.program.compiled import Compiled, compiled
from calibrate.program.extensive import reference_point, reference_weights
from calibrate.program.form import LITTLE, Attempt, Program, Solution
from calibrate.program.interior_point import InteriorPoint
from calibrate.program.neighbourhood import Neighbourhood
from calibrate.program.newton import AT_A_CAP, FEASIBLE
from calibrate.program.proof import Witness
from calibrate.program.risk import RiskTerm
from calibrate.program.sample import Guess, Sample, plant
from calibrate.program.sight import SAFE, Sight, View
from calibrate.program.standard_form import Body, Point, StandardForm, Tail

__all__ = ["solve_by_tail"]

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PROOF = "multipliers of rules and tail, by weak duality"
MOST_ROUNDS = 12
MOST_DOUBLINGS = 12  # of the reference, for a start
COARSER = 4  # a level has a fourth of the scenarios of the one above
COARSEST = 200  # scenarios in a tail below which no coarser level helps
ROUGH = 1e-3  # relative gap at which a level or a first round knows where the tail is
COLD, WARM = 30.0, 0.05  # complementarity at the start, relative to the objective, far from and near the optimum
FAR = 100.0  # complementarity over the gap from which the next round starts: nearer, its steps are short
ROUND, LAST_ROUND = 0.3, 0.05  # how much more exactly a round is solved than its goal
MUCH = 0.5  # growth of the working set beyond which old multipliers mislead
STALLED = 0.9  # of the gap before: less has not become of it
STUCK = 1e-5  # residual above which a round has failed: no plan, or a program too badly scaled
TIE = 0.3  # of the tolerance: what the objective may give for a plan closer to the reference
TIE_EXACT, WARM_TIE = 1e-8, 1e-3
SMOOTH_PRICE, ATOMS_PRICE, MOST_TIES = (
    100.0,
    300.0,
    10,
)  # of the distance: times the one that is small enough for certain
SAMPLED = 1000  # scenarios of a tail that are asked whether their losses lie on atoms
FEW_VALUES = 0.5  # of the losses in the tail that are different: below it they lie on atoms
NOTHING = 1e-9  # units: an amount, of the size of the tail of all losses, that is as good as none


@dataclass(frozen=True, eq=False)
class Bounds:
    """A plan with its value over all scenarios, and the best lower bound so far; units."""

    v: Floats
    upper: float
    lower: float
    point: Point | None = None
    witness: Witness | None = None  # of the lower bound

    @property
    def gap(self) -> float:
        """Relative to the value, or to a millionth of the gross tail loss where the value is smaller still."""
        return (self.upper - self.lower) / max(abs(self.upper), LITTLE)


def solve_by_tail(program: Program, tolerance: float, start: Floats | None = None) -> Solution:
    """Optimum within `tolerance`, proved by the two bounds, and among such plans the one closest to the reference.

    `start`: decisions (units) that are thought to be near the optimum. Raises `NotSeparable` when the program has a
    form this way does not know, SolverError when the bounds do not meet.
    """
    program.check()
    ordered = program.ordered
    with one_thread():
        form = compiled(ordered)
        near = None if start is None else ordered.arranged(start)
        level, best = _near(ordered, form, tolerance, near) or _levels(ordered, form, tolerance)
        return program.answered(level.solution(level.closest(best)))


def least_slack(program: Program, elastic: Sequence[object], tolerance: float = 1e-7) -> float:
    """Least sum of what the `elastic` rules and limits have to give for a plan to exist, in units."""
    return slack_bounds(program, elastic, tolerance).upper - 1.0


def slack_bounds(program: Program, elastic: Sequence[object], tolerance: float = 1e-7) -> Bounds:
    """Bounds on 1 plus the least slack; their multipliers prove that without slack there is no plan."""
    ordered = program.ordered
    with one_thread():
        return _levels(ordered, compiled(ordered, elastic), tolerance)[1]


def one_thread() -> threadpool_limits:
    """Matrices as small as a plan are slower on several threads, and their last digits would depend on how many."""
    return threadpool_limits(limits=1, user_api="blas")


def _near(program: Program, form: Compiled, tolerance: float, start: Floats | None) -> tuple[_Level, Bounds] | None:
    """From a plan near the optimum, on all scenarios at once; None where there is none, or it leads nowhere."""
    if start is None:
        return None
    v = np.zeros(form.size)
    v[: program.size] = form.entries(start)
    level = _Level(program, form, Sample.every(program, 1), tolerance, near=True)
    try:
        return level, level.run(v, None)[0]
    except (SolverError, ArithmeticError):
        return None


def _levels(program: Program, form: Compiled, tolerance: float) -> tuple[_Level, Bounds]:
    """From the coarsest sample to all scenarios, each level starting where the one before ended."""
    v = np.zeros(form.size)
    v[: program.size] = 0.5 * form.entries(reference_point(program))
    mu, near = COLD * float(max(form.prices.sum() + form.body.constant, 1e-3)), False
    for stride in _strides(program):
        with suppress(SolverError, ArithmeticError):  # a sample may have no plan where the whole has one
            level = _Level(program, form, Sample.every(program, stride), ROUGH, near)
            best, point = level.run(v if near else level.first(v), mu)
            v, mu, near = point.v, max(WARM * abs(best.upper), LITTLE * mu), True
    level = _Level(program, form, Sample.every(program, 1), tolerance, near)
    return level, level.run(v if near else level.first(v), mu)[0]


def _strides(program: Program) -> list[int]:
    """From the coarsest level to the finest but one."""
    scenarios = program.pool.scenarios
    n = len(scenarios)
    share = 1 - max((term.level for term in program.risk_terms), default=0.0)
    most = n * share / COARSEST
    levels = int(np.log(most) / np.log(COARSER)) if most > 1 else 0
    strides = [COARSER**k for k in range(levels, 0, -1)]
    return strides if scenarios.in_memory else [k for k in strides if scenarios.losses.size <= HELD * k]


class _Level:
    """The program on one sample of scenarios, solved in rounds on a growing working set."""

    def __init__(self, program: Program, form: Compiled, sample: Sample, tolerance: float, near: bool) -> None:
        self.program, self.form, self.sample, self.tolerance = program, form, sample, tolerance
        # A conflict is looked for in many small solves: those are not progress that anybody waits for.
        self.told = logging.INFO if program.objective else logging.DEBUG
        self.working: dict[RiskTerm, Ints] = {}
        self.tails: list[Tail] = []
        self.weights, self.target = np.zeros(form.size), np.zeros(form.size)
        n = program.size
        self.weights[:n] = reference_weights(program) * form.scale[:n]
        self.target[:n] = form.entries(reference_point(program))
        self.view = View(program, form, sample)
        self.attempts: list[Attempt] = []
        self.near = near  # nothing is guessed from a plan that may be far from the optimum
        self.around = Neighbourhood(form.amounts.own_rate, form.scale[:n])

    def run(self, v: Floats, mu: float | None) -> tuple[Bounds, Point]:
        """Rounds until the bounds meet, from a plan `v` and a complementarity `mu`. Returns them and the last point."""
        if self.near:
            self.around.settle(self.form.plan(v))
        sight = self._look(v)
        if mu is None:
            mu = WARM * max(abs(self.view.cost(v, sight)), LITTLE)
        best, like, start = Bounds(v, np.inf, -np.inf), None, (v, self.view.cost(v, sight))
        goal = max(ROUGH, self.tolerance)
        v = self.view.lift(v, sight)
        for round_ in range(MOST_ROUNDS):
            grown = self._extend(v, sight)
            if grown >= MUCH and self.view.cost(v, sight) > start[1]:  # the working set knew too little: not from there
                v = start[0]
            exact = (ROUND if goal > self.tolerance else LAST_ROUND) * goal
            point = self._round(v, mu, like if grown < MUCH else None, exact, same=grown == 0)
            self.attempts.append(
                Attempt(f"round {round_ + 1}{self._size()}", f"{point.status} after {point.iterations} steps")
            )
            if point.status == "diverged" or not point.residual <= STUCK:
                if self.around.open:
                    break
                self.around.leave()  # without them the program may have no optimum
                v, like, sight = start[0], None, self._look(start[0])
                continue
            v, like, before = point.v, point, best.gap
            sight = self._look(v)
            best = self._tighter(best, sight, point)
            logger.log(self.told, "%s; relative gap %.2e", self.attempts[-1], best.gap)
            if best.gap <= 0.5 * self.tolerance or (goal > self.tolerance and best.gap <= self.tolerance):
                return best, point
            if grown == 0 and not best.gap < STALLED * before and not self.around.open:
                self.around.leave()  # nothing new was seen, and still the bounds do not meet: without guesses, then
                like, sight = None, self._look(v)
            if best.gap <= 3 * goal or goal == self.tolerance:
                nearer = abs(best.upper) * min(WARM, FAR * best.gap)
                goal, mu = self.tolerance, min(mu, max(nearer, LITTLE * mu))
        if best.gap <= self.tolerance and best.point is not None:
            return best, best.point
        raise SolverError(f"no proven optimum, relative gap {best.gap:.3g}: {'; '.join(map(str, self.attempts))}")

    def _round(self, v: Floats, mu: float, like: Point | None, exact: float, same: bool) -> Point:
        """Solve on the working set; where it is the `same` as that of a point, go on from there."""
        method = InteriorPoint(StandardForm(self._body(), self.tails, list(self.form.rows)))
        if same and like is not None and method.fits(like):
            return method.follow(like.copy(), exact)
        return method.solve(v, exact, mu / method.form.pairs, like)

    def first(self, v: Floats) -> Floats:
        """A multiple of a plan that costs little: rules apart, the optimum may be many times the reference."""
        best = self.view.cost(v, self._look(v))
        for factor in (2.0, 0.5):
            for _ in range(MOST_DOUBLINGS):
                cost = self.view.cost(factor * v, self._look(factor * v))
                if cost >= best:
                    break
                v, best = factor * v, cost
        return v

    def closest(self, best: Bounds) -> Bounds:
        """Among plans within the tolerance, the closest to the reference: the distance gets a price in the objective.

        A small enough price picks exactly among optimal plans (Friedlander and Tseng 2007). The objective never gives
        more than the price of the distance gone, so that a price of `TIE` of the tolerance over the distance would be
        small enough for certain; a larger one is exact to more digits, and is lowered where the objective gives too
        much. Where losses lie on atoms the optimal plans are many, and more digits are worth more steps.
        """
        far = float(np.sum((self.weights * (best.v - self.target)) ** 2))
        left_over = max(1.0 - best.gap / self.tolerance, 0.0)  # the gap and what is given must not exceed the tolerance
        allowed = min(TIE, 0.9 * left_over) * self.tolerance * abs(best.upper)
        first = ATOMS_PRICE if self._on_atoms() else SMOOTH_PRICE
        price = first * allowed / far if far > 0 else 0.0
        start = best.point
        for _ in range(MOST_TIES):
            if start is None or price <= 0:
                break
            point = self._pulled(best.v, price, start)
            sight = self._look(point.v)
            if point.status == AT_A_CAP:  # closer plans lie outside: from now on they do not
                self._extend(point.v, sight)
                continue
            if point.status == "diverged" or point.residual > FEASIBLE:
                break
            closer = replace(best, v=point.v, upper=self.view.value(point.v, sight))
            gives = closer.upper - best.upper
            if gives <= allowed:
                return closer
            if self._extend(point.v, sight) == 0:  # the working set knows what the plan costs: the price was too high
                price *= max(0.9 * min(float(np.sqrt(allowed / gives)), 0.1), 1 / first)
        return best

    def _on_atoms(self) -> bool:
        seen = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *self.working.values()]))[:SAMPLED]
        losses = self.sample.losses[seen]
        losses = losses[losses > 0]
        return len(np.unique(losses)) < FEW_VALUES * len(losses)

    def _pulled(self, v: Floats, price: float, like: Point) -> Point:
        """The program on the working set, with the distance from the reference at a price."""
        body, w = self._body(), self.weights**2
        body = replace(body, P=2 * price * w, q=body.q - 2 * price * w * self.target)
        method = InteriorPoint(StandardForm(body, self.tails, list(self.form.rows)))
        exact = TIE_EXACT * self.tolerance
        if like.on_the_way is not None and method.fits(like.on_the_way):
            point = method.follow(like.on_the_way.copy(), exact)
        else:
            point = method.solve(v, exact, WARM_TIE * max(abs(like.value), LITTLE) / method.form.pairs, like)
        self.attempts.append(Attempt(f"tie at price {price:.1e}", f"{point.status} after {point.iterations} steps"))
        return point

    def solution(self, best: Bounds) -> Solution:
        """The plan, its bound in money, the shadow prices of rules and limits, and how it came about."""
        shadows: list[float] = []
        if best.point is not None:
            prices = np.abs(self.form.room).T @ np.abs(best.point.rule)
            prices = prices + np.abs(self.form.equal_room).T @ np.abs(smallest(self.form.body.E, best.point.equal))
            shadows = [float(price) for price in prices]
            shadows += [float(multiplier) for multiplier in best.point.limit]
        return Solution(
            self._without_dust(best),
            best.lower * self.program.unit,
            tuple(shadows),
            (*self.attempts, Attempt("passes over all scenarios", str(self.view.passes))),
            PROOF,
            best.witness,
            best.v,
        )

    def _without_dust(self, best: Bounds) -> Floats:
        """The plan without the traces that an interior method leaves where nothing is due, if it costs no more so."""
        n, cells = self.program.size, self.program.n_cells
        x = self.form.plan(best.v)
        seen = np.unique(np.concatenate([np.zeros(1, dtype=np.int64), *self.working.values()]))
        largest = np.append(self.sample.losses[seen].max(axis=0) / self.program.unit, np.ones(n - cells))
        clean = np.where(x < NOTHING * np.where(largest > 0, largest, 1.0), 0.0, x)
        if np.array_equal(clean, x):
            return x
        v = best.v.copy()
        v[:n] = self.form.entries(clean)
        upper = self.view.value(v, self._look(v))
        as_fair = np.all(self._gaps(clean) <= np.maximum(self._gaps(x), 0.0) + SAFE * self.program.unit)
        return clean if as_fair and replace(best, upper=upper).gap <= self.tolerance else x

    def _gaps(self, x: Floats) -> Floats:
        """The worst gap of each rule at a plan, money: a trace may matter to a rule on ratios."""
        plan = self.program.plan(cp.Constant(x))
        return np.array([float(np.max(rule.gap(plan).value)) for rule in self.program.rules])

    def _look(self, v: Floats) -> Sight:
        return self.view.look(v, near=not self.around.open)

    def _extend(self, v: Floats, sight: Sight) -> float:
        """Take the tails at a plan, with a margin, into the working sets. Returns by what share they grew."""
        before = sum(map(len, self.working.values()))
        self.around.see(self.form.plan(v))
        self.tails = []
        for term, t, price in zip(self.form.terms, self.form.t, self.form.prices, strict=True):
            old, sure = self.working.get(term), self.around.sure(term, sight.deep[term])
            self.working[term] = sight.tails[term] if old is None else np.union1d(old, sight.tails[term])
            M, m = self.form.coordinates(term.of, self.sample.collateral is None, t)
            guess = Guess(self.around.covered, self.around.exceeded, sure)
            grove = plant(self.program, self.sample, term, self.working[term], guess)
            self.tails.append(Tail(grove, M, m, t, float(price), self.program.n_cells))
        return sum(map(len, self.working.values())) / max(before, 1) - 1

    def _body(self) -> Body:
        """The program within the neighbourhood."""
        cap = np.full(self.form.size, np.inf)
        cap[: self.program.size] = self.around.cap
        return replace(self.form.body, cap=cap)

    def _size(self) -> str:
        sizes = " + ".join(f"{len(one):,}" for one in self.working.values())
        return f" on {sizes} scenarios" if sizes else ""

    def _tighter(self, best: Bounds, sight: Sight, point: Point) -> Bounds:
        """Both bounds after a solve on the working set."""
        upper = self.view.value(point.v, sight)
        if upper < best.upper and point.residual <= FEASIBLE:
            best = replace(best, v=point.v, upper=upper, point=point)
        lower = lower_bound(self.form, self.tails, point, best.upper)
        if lower <= best.lower:
            return best
        chosen = tuple(self.working[term] for term in self.form.terms)
        return replace(best, lower=lower, witness=Witness(self.form, tuple(self.tails), chosen, point))
