"""The program on one sample of scenarios, solved in rounds on a growing working set of its tail."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from calibrate.errors import SolverError
from calibrate.program.bound import lower_bound
from calibrate.program.compiled import Compiled
from calibrate.program.form import LITTLE, Attempt, Program
from calibrate.program.interior_point import InteriorPoint
from calibrate.program.neighbourhood import Neighbourhood
from calibrate.program.newton import FEASIBLE
from calibrate.program.proof import Witness
from calibrate.program.risk import RiskTerm
from calibrate.program.sample import Guess, Sample, plant
from calibrate.program.sight import Sight, View
from calibrate.program.standard_form import Body, Point, StandardForm, Tail

__all__ = ["ROUGH", "WARM", "Bounds", "Level"]

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_ROUNDS = 12
MOST_DOUBLINGS = 12  # of the reference, for a start
ROUGH = 1e-3  # relative gap at which a level or a first round knows where the tail is
WARM = 0.05  # complementarity at the start near the optimum, relative to the objective
FAR = 100.0  # complementarity over the gap from which the next round starts: nearer, its steps are short
ROUND, LAST_ROUND = 0.3, 0.05  # how much more exactly a round is solved than its goal
MUCH = 0.5  # growth of the working set beyond which old multipliers mislead
STALLED = 0.9  # of the gap before: less has not become of it
STUCK = 1e-5  # residual above which a round has failed: no plan, or a program too badly scaled


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


class Level:
    """The program on one sample of scenarios, solved in rounds on a growing working set."""

    def __init__(self, program: Program, form: Compiled, sample: Sample, tolerance: float, near: bool) -> None:
        self.program, self.form, self.sample, self.tolerance = program, form, sample, tolerance
        # A conflict is looked for in many small solves: those are not progress that anybody waits for.
        self.told = logging.INFO if program.objective else logging.DEBUG
        self.working: dict[RiskTerm, Ints] = {}
        self.tails: list[Tail] = []
        self.view = View(program, form, sample)
        self.attempts: list[Attempt] = []
        self.near = near  # nothing is guessed from a plan that may be far from the optimum
        self.around = Neighbourhood(form.amounts.own_rate, form.scale[: program.size])

    def run(self, v: Floats, mu: float | None) -> tuple[Bounds, Point]:
        """Rounds until the bounds meet, from a plan `v` and a complementarity `mu`. Returns them and the last point."""
        if self.near:
            self.around.settle(self.form.plan(v))
        sight = self.look(v)
        if mu is None:
            mu = WARM * max(abs(self.view.cost(v, sight)), LITTLE)
        best, like, start = Bounds(v, np.inf, -np.inf), None, (v, self.view.cost(v, sight))
        goal = max(ROUGH, self.tolerance)
        v = self.view.lift(v, sight)
        for round_ in range(MOST_ROUNDS):
            grown = self.extend(v, sight)
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
                v, like, sight = start[0], None, self.look(start[0])
                continue
            v, like, before = point.v, point, best.gap
            sight = self.look(v)
            best = self._tighter(best, sight, point)
            logger.log(self.told, "%s; relative gap %.2e", self.attempts[-1], best.gap)
            if best.gap <= 0.5 * self.tolerance or (goal > self.tolerance and best.gap <= self.tolerance):
                return best, point
            if grown == 0 and point.iterations == 0 and self.around.open and not self.tolerance < best.gap / 3 <= goal:
                break  # nothing new was seen, nothing moved, and no more digits are asked for
            if grown == 0 and not best.gap < STALLED * before and not self.around.open:
                self.around.leave()  # nothing new was seen, and still the bounds do not meet: without guesses, then
                like, sight = None, self.look(v)
            if best.gap <= 3 * goal or goal == self.tolerance:
                nearer = abs(best.upper) * min(WARM, FAR * best.gap)
                goal, mu = self.tolerance, min(mu, max(nearer, LITTLE * mu))
        if best.gap <= self.tolerance and best.point is not None:
            return best, best.point
        raise SolverError(f"no proven optimum, relative gap {best.gap:.3g}: {'; '.join(map(str, self.attempts))}")

    def _round(self, v: Floats, mu: float, like: Point | None, exact: float, same: bool) -> Point:
        """Solve on the working set; where it is the `same` as that of a point, go on from there."""
        method = InteriorPoint(StandardForm(self.body(), self.tails, list(self.form.rows)))
        if same and like is not None and method.fits(like):
            return method.follow(like.copy(), exact)
        return method.solve(v, exact, mu / method.form.pairs, like)

    def first(self, v: Floats) -> Floats:
        """A multiple of a plan that costs little: rules apart, the optimum may be many times the reference."""
        best = self.view.cost(v, self.look(v))
        for factor in (2.0, 0.5):
            for _ in range(MOST_DOUBLINGS):
                cost = self.view.cost(factor * v, self.look(factor * v))
                if cost >= best:
                    break
                v, best = factor * v, cost
        return v

    def look(self, v: Floats) -> Sight:
        """One pass over the sample."""
        return self.view.look(v, near=not self.around.open)

    def extend(self, v: Floats, sight: Sight) -> float:
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

    def body(self) -> Body:
        """Costs, rules and bounds within the neighbourhood."""
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
