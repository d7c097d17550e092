"""The program on one sample of scenarios, solved in rounds on a growing working set of its tail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from calibrate.errors import SolverError
from calibrate.program.bound import lower_bound
from calibrate.program.compiled import Compiled
from calibrate.program.first import good_reserves
from calibrate.program.form import LITTLE, Program
from calibrate.program.interior_point import InteriorPoint
from calibrate.program.neighbourhood import CLOSE, REACH, Neighbourhood
from calibrate.program.newton import DIVERGED, FEASIBLE
from calibrate.program.planting import Guess, plant
from calibrate.program.proof import Witness
from calibrate.program.risk import RiskTerm
from calibrate.program.sample import ASKED, Sample, different
from calibrate.program.search import WARM, Bounds, Search
from calibrate.program.sight import Sight, View
from calibrate.program.solution import Attempt
from calibrate.program.standard_form import HELD_DOWN, Body, Point, StandardForm, Tail

__all__ = ["ROUGH", "Level", "Tie"]

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_ROUNDS = 12
ROUGH = 1e-3  # relative gap at which a level or a first round knows where the tail is
KNOWN = 1e-3  # relative gap from which the plan is known so well that a smaller neighbourhood does
ROUND, LAST_ROUND = 0.3, 1e-3  # how much more exactly a round is solved than its goal: last digits are proof
DOUBLE = 1.0  # growth of the working set after a plan that is worse than the one known: its tail is too large
MUCH = 0.05  # growth of the working set beyond which old multipliers mislead
AFRESH = 20.0  # complementarity of a round that sets out anew, times that near the optimum
PRESSED = 0.5  # of the goal: a neighbourhood that costs more is in the way
STALLED = 0.9  # of the gap before: less has not become of it
ATOMS = 0.5  # of the losses that are different: below it they lie on atoms
UNTOLD = 0.1  # of the tolerance: so much less than a plan costs may be known of it
UNDECIDED, DECIDED = 0.5, 0.8  # of the tolerance: what a gap may take before a tie has picked a plan, and after
SMALLER = 0.2  # of a plan: at so much of it the first working set is seen where nothing is known of the optimum
STUCK = 1e-5  # residual above which a round has failed: no plan, or a program too badly scaled


Tie = Callable[["Level", Point], Point | None]  # the plan that it picks, from a point


class Level:
    """The program on one sample of scenarios, solved in rounds on a growing working set."""

    def __init__(
        self,
        program: Program,
        form: Compiled,
        sample: Sample,
        tolerance: float,
        near: bool,
        tie: Tie | None = None,
    ) -> None:
        self.program, self.form, self.sample, self.tolerance = program, form, sample, tolerance
        self.tie = tie  # of plans that the trees know to be as good; if it is to be decided
        self.coarse = len(sample.probabilities) < len(program.pool.scenarios)  # its plan is a guess for the next level
        # A conflict is looked for in many small solves: those are not progress that anybody waits for.
        self.told = logging.INFO if program.objective else logging.DEBUG
        self.working: dict[RiskTerm, Ints] = {}
        self.tails: list[Tail] = []
        self.view = View(program, form, sample)
        self.attempts: list[Attempt] = []
        self.near = near  # nothing is guessed from a plan that may be far from the optimum
        self.close = False  # the neighbourhood was drawn closer
        self.around = Neighbourhood(form.amounts.own_rate, form.scale[: program.size])

    def run(self, v: Floats, mu: float | None) -> tuple[Bounds, Point]:
        """Rounds until the bounds meet, from a plan `v` and a complementarity `mu`. Returns them and the last point."""
        search = self._begin(v, mu)
        for number in range(1, MOST_ROUNDS + 1):
            grown, point = self._round(search, number)
            if point.status == DIVERGED or not point.residual <= STUCK:
                if self.around.open:
                    break
                search.v = search.known[0]
                self._without_guesses(search)  # with them the program may have no optimum
                continue
            before, goal = search.best.gap, search.goal
            search.freed = self._pressed(point, goal)
            search.best = self._raised(search.best, point)
            if search.best.gap <= UNDECIDED * self.tolerance:  # the plan seen last was good enough: no pass
                return replace(search.best, point=point), point
            if search.freed and search.best.costs_at_most(point.value, UNDECIDED * goal):  # as good was seen
                search.like = point
                self._tell(self.attempts[-1], search)
                continue
            self._learn(search, point)
            if self._met(search.best, goal):
                return search.best, point
            gap = search.best.gap
            unmoved = grown == 0 and point.iterations == 0
            if unmoved and self.around.open and not self.tolerance < gap / 3 <= goal:
                break  # nothing new was seen, nothing moved, and no more digits are asked for
            if grown == 0 and not search.freed and not gap < STALLED * before and not self.around.open:
                self._without_guesses(search)  # nothing new was seen, and still the bounds do not meet
            search.aim(self.tolerance)
        return self._after_all(search)

    def _after_all(self, search: Search) -> tuple[Bounds, Point]:
        """What bounds there are when rounds bring nothing new, if they meet."""
        for found in (search.best, search.claimed):
            if found.gap <= self.tolerance and found.point is not None:
                return found, found.point
        tried = "; ".join(map(str, self.attempts))
        raise SolverError(f"no proven optimum, relative gap {search.best.gap:.3g}: {tried}")

    def _met(self, best: Bounds, goal: float) -> bool:
        """Whether the bounds meet, with room for a tie that is still to be decided."""
        rough = goal > self.tolerance or self.coarse
        return best.gap <= (1.0 if rough else DECIDED if best.tied else UNDECIDED) * self.tolerance

    def _begin(self, v: Floats, mu: float | None) -> Search:
        if self.near:
            self.around.settle(self.form.plan(v), REACH)
        # From afar the tail of a smaller plan tells more: it has what plans of other proportions leave too.
        sight = self.look(v if self.near else SMALLER * v)
        goal = self.tolerance if mu is None else max(ROUGH, self.tolerance)
        mu = WARM * max(abs(self.view.cost(v, sight)), LITTLE) if mu is None else mu
        if self.near:
            v = self.view.lift(v, sight)
        else:  # the value at risk is that of the plan itself, and of what it would have in reserve
            among = self._among(sight)
            v = good_reserves(among, v)
            v = among.lift(v, among.look(v, near=False))
        nothing = Bounds(v, np.inf, -np.inf)
        return Search(v, sight, (v, self.view.value(v, sight)), mu, goal, nothing, nothing)

    def _among(self, sight: Sight) -> View:
        """The program seen on the tails of a sight alone."""
        tails = reduce(np.union1d, sight.tails.values(), np.zeros(0, dtype=np.int64))
        return View(self.program, self.form, self.sample.among(tails))

    def _round(self, search: Search, number: int) -> tuple[float, Point]:
        """Take in what was seen and solve on the working set. Returns by what share that grew, and the point."""
        worse = self.view.cost(search.v, search.sight) > search.known[1]
        grown = 0.0
        if not self._knows(search):
            if search.best.gap <= KNOWN and self._drawn_closer(search.v) and search.like is not None:
                search.like = replace(search.like, steps=[])  # the trees are others now
            grown = self.extend(search.v, search.sight, most=DOUBLE if worse else np.inf)
        v = search.known[0] if grown >= MUCH and worse else search.v  # the working set knew too little: not from there
        like = search.like if grown < MUCH else None
        exact = (ROUND if search.goal >= ROUGH else LAST_ROUND) * search.goal
        method = InteriorPoint(StandardForm(self.body(), self.tails, list(self.form.rows)))
        mu = search.mu / method.form.pairs
        if grown == 0 and like is not None and method.fits(like):  # the same program: go on
            point = method.follow(like.going_on(), exact)
        else:
            point = method.solve(v, exact, AFRESH * mu if like is None and number > 1 else mu, like)
        done = Attempt(f"round {number}{self._size()}", f"{point.status} after {point.iterations} steps")
        self.attempts.append(done)
        return grown, point

    def _learn(self, search: Search, point: Point) -> None:
        """See the plan of a point over all scenarios, and tighten the bounds.

        A point that is exact on what is planted has its tie decided there, and it is that plan which is seen.
        """
        done = self.attempts[-1]  # a tie is an attempt too, and nothing to report
        short = abs(point.value - point.dual) <= UNTOLD * self.tolerance * abs(point.value)
        exact = short and point.residual <= FEASIBLE
        last = exact and not search.freed and (self.near or search.goal <= self.tolerance)
        seen = (self.tie(self, point) if last and self.tie is not None else None) or point
        search.sight = self.look(seen.v)
        search.v, search.like = self.view.lift(seen.v, search.sight), point
        best = self._tighter(search.best, search.sight, seen, point)
        tied = replace(best, v=seen.v, upper=self.view.value(seen.v, search.sight), point=point, tied=True)
        search.best = tied if seen is not point and tied.gap <= DECIDED * self.tolerance else best
        search.claimed = self._claimed(search.sight, seen, point)
        value = self.view.value(search.v, search.sight)
        if value < search.known[1]:
            search.known = search.v, value
        self._tell(done, search)

    def _tell(self, done: Attempt, search: Search) -> None:
        logger.log(self.told, "%s; relative gap %.2e", done, search.best.gap)

    def _knows(self, search: Search) -> bool:
        """Whether what is planted tells all that the plan costs: then the next round goes on with it."""
        if search.like is None or search.freed or not search.met:
            return False
        told = np.array([tail.risk(search.v) for tail in self.tails])
        lacks = float(self.form.priced(search.like.limit) @ np.maximum(search.sight.risks - told, 0.0))
        return lacks <= UNTOLD * self.tolerance * max(abs(search.best.upper), LITTLE)

    def _drawn_closer(self, v: Floats) -> bool:
        """A smaller neighbourhood of a plan that is nearly known, once: what follows has fewer kinks.

        Not on atoms, where plans that are as good lie far apart.
        """
        if self.close or self.around.open or self.on_atoms:
            return False
        self.close = True
        self.around.settle(self.form.plan(v), CLOSE)
        return True

    def _without_guesses(self, search: Search) -> None:
        self.around.leave()
        search.like, search.sight = None, self.look(search.v)

    @property
    def on_atoms(self) -> bool:
        """Whether the losses in the tails lie on few values."""
        return different(self.sample.losses[self.seen[:ASKED]]) < ATOMS

    @property
    def seen(self) -> Ints:
        """All scenarios of the working sets, in their order."""
        return reduce(np.union1d, self.working.values()) if self.working else np.zeros(0, dtype=np.int64)

    def look(self, v: Floats) -> Sight:
        """One pass over the sample."""
        return self.view.look(v, near=not self.around.open)

    def extend(self, v: Floats, sight: Sight, most: float = np.inf) -> float:
        """Take the tails at a plan, with a margin, into the working sets. Returns by what share they grew.

        `most`: by what share they may; the worst scenarios first.
        """
        before = sum(map(len, self.working.values()))
        self.around.see(self.form.plan(v), sight.deep)
        for term in self.form.terms:
            old = self.working.get(term)
            self.working[term] = sight.tails[term] if old is None else np.union1d(old, sight.worst(term, old, most))
        self._replant()
        return sum(map(len, self.working.values())) / max(before, 1) - 1

    def loosen(self, v: Floats) -> bool:
        """Plant anew without the edges of the neighbourhood that a plan reaches, if it does; needs no pass."""
        if not self.around.loosen(self.form.plan(v)):
            return False
        self._replant()
        return True

    def _replant(self) -> None:
        """The trees of the working sets, with what the neighbourhood knows."""
        self.tails = []
        for term, t, price in zip(self.form.terms, self.form.t, self.form.prices, strict=True):
            guess = Guess(self.around.covered, self.around.exceeded, self.around.sure(term))
            grove = plant(self.program, self.sample, term, self.working[term], guess)
            M, m = self.form.coordinates(term.of, self.sample.collateral is None, grove.forest.group_kinks, t)
            self.tails.append(Tail(grove, M, m, t, float(price), self.program.n_cells))

    def _pressed(self, point: Point, goal: float) -> bool:
        """Whether the neighbourhood costs more than a goal allows, to first order; what holds it back is freed then.

        What is full costs the bound as much as the decision could be without it.
        """
        at, _, ends = self.body().bounds
        caps = slice(len(self.form.body.bounded), len(at))
        full = point.v[at[caps]] >= HELD_DOWN * ends[caps]
        reach = np.where(full, self.form.body.reach(point.v, point.value)[at[caps]], ends[caps])
        cost = point.multiplier[caps] * reach
        allowed = goal * max(abs(point.value), LITTLE)
        if cost.sum() <= PRESSED * allowed:
            return False
        self.around.give_up(at[caps][cost > allowed / len(at)])
        return True

    def body(self) -> Body:
        """Costs, rules and bounds within the neighbourhood."""
        cap = np.full(self.form.size, np.inf)
        cap[: self.program.size] = self.around.cap
        return replace(self.form.body, cap=cap)

    def _size(self) -> str:
        sizes = " + ".join(f"{len(one):,}" for one in self.working.values())
        return f" on {sizes} scenarios" if sizes else ""

    def _claimed(self, sight: Sight, seen: Point, point: Point) -> Bounds:
        """Both bounds as the solver claims them.

        Where numbers lie far apart, the last digits of a slope times all that a decision may be leave no bound in
        floating point. Exact arithmetic may find one from the same multipliers (see `mending`).
        """
        upper = self.view.value(seen.v, sight) if seen.residual <= FEASIBLE else np.inf
        return Bounds(seen.v, upper, min(point.dual, upper), point, self._witness(point), claimed=True)

    def _witness(self, point: Point) -> Witness:
        return Witness(self.form, tuple(self.tails), point)

    def _tighter(self, best: Bounds, sight: Sight, seen: Point, point: Point) -> Bounds:
        """Both bounds after a solve on the working set: of the plan that was seen, and of the multipliers."""
        upper = self.view.value(seen.v, sight)
        if upper < best.upper and seen.residual <= FEASIBLE:
            best = replace(best, v=seen.v, upper=upper, point=point, tied=False)
        if best.gap < -self.tolerance:  # a bound above a plan is none: its box was as small as the plan before
            best = replace(best, lower=-np.inf, witness=None)
        return self._raised(best, point)

    def _raised(self, best: Bounds, point: Point) -> Bounds:
        """The lower bound of a solve on the working set, beside the best plan that was seen over all scenarios."""
        if not np.isfinite(best.upper):
            return best
        lower = lower_bound(self.form, self.tails, point, best.upper)
        if lower <= best.lower:
            return best
        found = replace(best, lower=lower, witness=self._witness(point))
        return found if found.gap >= -self.tolerance else best
