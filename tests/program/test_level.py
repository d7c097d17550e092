"""Rounds on a working set: how it grows, and where they start."""

import re
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.program import (
    CostOfCapital,
    CVaR,
    OwnContribution,
    PoolProblem,
    PoolReserve,
    Waterfall,
    level,
    working_set,
)
from calibrate.program.compiled import compiled
from calibrate.program.extensive import Extensive
from calibrate.program.level import Level, Search
from calibrate.program.measure import objective_at
from calibrate.program.sample import Sample
from calibrate.program.search import Bounds
from calibrate.program.sight import Sight
from calibrate.program.standard_form import Point
from calibrate.program.working_set import solve_by_tail

TERM = CVaR(0.95, of="mutualised")


def test_of_a_tail_that_may_be_too_large_the_worst_scenarios_are_taken() -> None:
    rng = np.random.default_rng(0)
    tail, left = np.arange(1000, 6000), rng.permutation(5000).astype(float)
    sight = Sight({TERM: tail}, {TERM: left}, {}, np.zeros(1), np.zeros(1))
    known = tail[left >= 4900]  # the hundred worst of all
    assert np.array_equal(np.sort(sight.worst(TERM, known, np.inf)), tail[left < 4900])
    some = sight.worst(TERM, known, 1.0)
    assert set(some) == set(tail[(left < 4900) & (left >= 4900 - 5000 // 16)])  # a sixteenth of the tail
    many = sight.worst(TERM, tail[left >= 3000], 1.0)
    assert set(many) == set(tail[(left < 3000) & (left >= 1000)])  # as many as are known


def heavy(scenarios: int) -> PoolProblem:
    """Of a wild sample a fourth tells little of the whole: the first plan on all scenarios is far too small."""
    rng = np.random.default_rng(3)
    losses = rng.pareto(1.3, (scenarios, 5)) * (rng.random((scenarios, 5)) < 0.1)
    layers, cost = Waterfall((OwnContribution(), PoolReserve())), CostOfCapital(0.0025, 0.05)
    return PoolProblem(Scenarios(losses), layers, [cost, 1.0 * TERM], [fairness.ActuarialFairness(2.0)])


def written_out(stated: PoolProblem) -> float:
    """Optimum of the program with a variable for every loss."""
    parts = Extensive.of(stated.program)
    whole = cp.Problem(cp.Minimize(parts.objective), [*parts.constraints, *(gap <= 0 for gap in parts.gaps)])
    whole.solve(solver=cp.HIGHS)
    assert whole.status == cp.OPTIMAL
    return float(whole.value) * stated.program.unit


def test_a_plan_that_knew_too_little_does_not_bring_in_its_whole_tail() -> None:
    stated = heavy(20_000)
    solution = solve_by_tail(stated.program, 1e-6)
    told = " ".join(map(str, solution.attempts))
    sizes = [int(size.replace(",", "")) for size in re.findall(r"on ([\d,]+) scenarios:", told)]
    assert sizes
    assert max(sizes) < 0.5 * 0.05 * 20_000  # of the tail
    assert solution.lower_bound == pytest.approx(written_out(stated), rel=2e-6)


def smooth(seed: int) -> PoolProblem:
    rng = np.random.default_rng(seed)
    losses = rng.pareto(2.5, (40_000, 10)) * (rng.random((40_000, 10)) < 0.1)
    terms = [CostOfCapital(0.02, 0.05), 1.0 * TERM]
    return PoolProblem(Scenarios(losses), Waterfall((OwnContribution(),)), terms, [fairness.ActuarialFairness(2.0)])


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Kinks and steps of every round, in order."""
    seen: list[tuple[int, int]] = []
    original = Level._round

    def watched(level: Level, search: Search, number: int) -> tuple[float, Point]:
        grown, point = original(level, search, number)
        seen.append((sum(tail.forest.kinks for tail in level.tails), point.iterations))
        return grown, point

    monkeypatch.setattr(Level, "_round", watched)
    return seen


def test_near_the_optimum_fewer_losses_are_kinks(rounds: list[tuple[int, int]]) -> None:
    stated = smooth(3)
    solution = solve_by_tail(stated.program, 1e-6)
    kinks = [one for one, _ in rounds]
    assert kinks[-1] < 0.5 * max(kinks)
    assert solution.lower_bound == pytest.approx(written_out(stated), rel=2e-6)


def test_a_round_that_knows_all_that_its_plan_costs_goes_on(rounds: list[tuple[int, int]]) -> None:
    stated = smooth(1)
    solution = solve_by_tail(stated.program, 1e-6)
    (before, steps), (last, few) = rounds[-2:]
    assert last == before  # nothing was planted
    assert few < 0.5 * steps
    assert solution.lower_bound == pytest.approx(written_out(stated), rel=2e-6)


def test_a_plan_just_as_good_needs_no_pass() -> None:
    stated = smooth(4)
    attempts = solve_by_tail(stated.program, 1e-6).attempts
    done = [str(attempt) for attempt in attempts]
    passes = int(done[-1].rsplit(" ", 1)[1])
    assert passes < 1 + sum(one.startswith(("round", "tie")) for one in done)


def steps_of(attempts: tuple[object, ...]) -> int:
    return sum(int(steps) for steps in re.findall(r"after (\d+) steps", " ".join(map(str, attempts))))


@pytest.mark.parametrize("seed", [0, 4])
def test_where_the_working_set_grew_a_round_sets_out_anew_from_farther_off(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    losses = rng.pareto(1.3, (20_000, 100)) * (rng.random((20_000, 100)) < 0.1) * rng.uniform(0.5, 2, 100)
    terms, rules = [CostOfCapital(0.0025, 0.05), 1.0 * TERM], [fairness.ActuarialFairness(2.0)]
    stated = PoolProblem(Scenarios(losses), Waterfall((OwnContribution(),)), terms, rules)
    anew = solve_by_tail(stated.program, 1e-6)
    monkeypatch.setattr("calibrate.program.level.MUCH", 0.5)
    monkeypatch.setattr("calibrate.program.level.AFRESH", 1.0)
    near = solve_by_tail(stated.program, 1e-6)
    assert steps_of(anew.attempts) < 0.7 * steps_of(near.attempts)
    assert anew.x == pytest.approx(near.x, abs=2e-5 * near.x.max())


def test_a_plan_of_nothing_grows_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the one scenario of the first round own contributions are worth nothing, to the whole they are all."""
    rng = np.random.default_rng([5, 100_000, 13, 10])
    losses = rng.pareto(1.3, (100_000, 5))
    losses *= rng.random((100_000, 5)) < 0.1
    losses *= rng.uniform(0.5, 2, 5)
    layers, cost = Waterfall((OwnContribution(), PoolReserve())), CostOfCapital(0.0025, 0.05)
    terms = [cost, 1.0 * CVaR(0.995, of="mutualised")]
    monkeypatch.setattr(working_set, "COARSEST", 50)
    stated = PoolProblem(Scenarios(losses), layers, terms, [fairness.ActuarialFairness(0.1)])
    attempts = solve_by_tail(stated.program, 1e-6).attempts
    assert "step limit" not in " ".join(map(str, attempts))
    assert steps_of(attempts) < 250


def reserved(seed: int, members: int = 10, scenarios: int = 40_000) -> PoolProblem:
    rng = np.random.default_rng(seed)
    losses = rng.pareto(2.5, (scenarios, members)) * (rng.random((scenarios, members)) < 0.1)
    layers, terms = Waterfall((OwnContribution(), PoolReserve())), [CostOfCapital(0.02, 0.05), 1.0 * TERM]
    return PoolProblem(Scenarios(losses), layers, terms, [fairness.ActuarialFairness(0.5)])


def passes_of(attempts: tuple[object, ...]) -> int:
    return int(str(attempts[-1]).rsplit(" ", 1)[1])


@pytest.mark.parametrize("seed", [0, 3])
def test_a_tie_decided_on_what_is_planted_saves_a_pass(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = reserved(seed)
    at_once = solve_by_tail(stated.program, 1e-6)
    monkeypatch.setattr(working_set, "on_trees", None)
    later = solve_by_tail(stated.program, 1e-6)
    assert passes_of(at_once.attempts) < passes_of(later.attempts)
    assert at_once.x == pytest.approx(later.x, abs=2e-5 * later.x.max())
    scale = objective_at(stated.program, later.x)
    assert objective_at(stated.program, at_once.x) == pytest.approx(scale, rel=1e-6)
    assert at_once.lower_bound <= scale <= at_once.lower_bound * (1 + 1e-6)


def test_a_tie_that_knew_too_little_is_not_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """The working set is thinned behind the level's back: the plan that the tie picks costs more than it knows."""
    stated = reserved(2)
    original = Level.extend

    def thinned(level: Level, v: object, sight: Sight, most: float = np.inf) -> float:
        if not level.working:
            sight = replace(sight, tails={term: tail[::3] for term, tail in sight.tails.items()})
        return original(level, v, sight, most)

    monkeypatch.setattr(Level, "extend", thinned)
    solution = solve_by_tail(stated.program, 1e-6)
    cost = objective_at(stated.program, solution.x)
    assert solution.lower_bound <= cost <= solution.lower_bound * (1 + 1e-6)
    assert cost == pytest.approx(written_out(stated), rel=2e-6)


def test_a_point_near_its_end_keeps_the_way_that_led_there() -> None:
    nothing = np.zeros(0)
    way = Point(np.ones(1), *[nothing] * 5, 0)
    near = Point(np.ones(1), *[nothing] * 5, 0, value=1.0, dual=1.0 - 1e-6, on_the_way=way)
    far = replace(near, dual=1.0 - 1e-4)
    assert near.going_on().on_the_way is way
    assert far.going_on().on_the_way is None
    assert near.copy().on_the_way is None


def test_a_cap_that_is_full_costs_the_bound_what_the_decision_could_be() -> None:
    stated = reserved(0, members=3, scenarios=2000)
    program = stated.program.ordered
    level = Level(program, compiled(program), Sample.every(program, 1), 1e-6, near=True)
    v = np.array([1.0, 1.0, 1.0, 1.0, 0.5])
    level.around.settle(level.form.plan(v), 0.5)
    at, _, ends = level.body().bounds
    multiplier = np.zeros(len(at))
    caps = np.arange(len(at)) >= len(level.form.body.bounded)
    multiplier[caps] = 1e-8  # of no weight beside a cap, and of much beside all that a decision could be
    point = Point(v, np.ones(len(at)), multiplier, *[np.zeros(0)] * 3, 0, value=1.0)
    assert not level._pressed(point, 1e-3)
    first = at[caps][0]
    point.v[first] = ends[caps][0] * 0.99
    assert not level._pressed(point, 1e-3)  # 1e-8 times at most 50 units of a decision that costs .02
    multiplier[caps] = 1e-4
    point.v[first] = 1.0
    assert not level._pressed(point, 3e-3)
    point.v[first] = ends[caps][0] * 0.99
    assert level._pressed(point, 3e-3)
    assert np.isinf(level.around.most[first])
    assert np.isfinite(np.delete(level.around.most, first)).all()


def fixed_sum_of_assets(seed: int) -> PoolProblem:
    """Contributions posted in assets that fall together."""
    rng = np.random.default_rng(seed)
    common = rng.standard_t(4, (10_000, 1)) * rng.uniform(0.5, 1.5, 100)
    falls = 0.08 + 0.04 * common + 0.05 * rng.standard_t(4, (10_000, 100))
    pool = Scenarios(np.full(falls.shape, 0.02), collateral=np.clip(1.0 - falls, 0.0, 1.0))
    rules = [fairness.Budget(1.0), fairness.FundFloor(1.0)]
    return PoolProblem(pool, Waterfall((OwnContribution(),)), [CVaR(0.95)], rules)


def test_a_fixed_sum_of_assets_that_fall_together_is_split_as_by_a_peer() -> None:
    stated = fixed_sum_of_assets(0)
    solution = solve_by_tail(stated.program, 1e-6)
    weights = solution.x[:100] / solution.x[:100].sum()
    values = np.sort(2.0 - stated.program.pool.scenarios.collateral @ weights)[-500:]
    assert values.mean() == pytest.approx(1.0 + 0.15530305, abs=2e-6)  # skfolio 1.12 with Clarabel, and with HiGHS
    assert solution.lower_bound <= objective_at(stated.program, solution.x) <= solution.lower_bound * (1 + 1e-6)


def test_where_the_working_set_grows_old_multipliers_mislead(monkeypatch: pytest.MonkeyPatch) -> None:
    program = fixed_sum_of_assets(3).program
    ours = steps_of(solve_by_tail(program, 1e-6).attempts)
    monkeypatch.setattr(level, "MUCH", 0.5)
    assert ours < 0.7 * steps_of(solve_by_tail(program, 1e-6).attempts)


@pytest.mark.parametrize(("upper", "costs"), [(np.inf, False), (1.0 + 1e-6, False), (1.0 + 1e-7, True), (0.9, True)])
def test_what_a_plan_costs_beside_what_another_promises(upper: float, costs: bool) -> None:
    assert Bounds(np.ones(1), upper, -np.inf).costs_at_most(1.0, 5e-7) == costs


def test_no_pass_for_a_plan_that_promises_nothing_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """The neighbourhood is said to hold the second plan of the last level back."""
    stated = smooth(1)
    plain = solve_by_tail(stated.program, 1e-6)
    seen: list[str] = []
    learn, pressed = Level._learn, Level._pressed

    def watched(self: Level, search: Search, point: Point) -> None:
        seen.append(str(self.attempts[-1]))
        learn(self, search, point)

    def second(self: Level, point: Point, goal: float) -> bool:
        return pressed(self, point, goal) or str(self.attempts[-1]).startswith("round 2 ")

    monkeypatch.setattr(Level, "_learn", watched)
    monkeypatch.setattr(Level, "_pressed", second)
    monkeypatch.setattr(Bounds, "costs_at_most", lambda self, *_: np.isfinite(self.upper))
    solution = solve_by_tail(stated.program, 1e-6)
    rounds = [str(one) for one in solution.attempts if str(one).startswith("round")]
    assert rounds[0] in seen
    assert rounds[1] not in seen
    assert rounds[2] in seen
    assert solution.x == pytest.approx(plain.x, abs=2e-5 * plain.x.max())


def test_edges_that_a_tie_reaches_are_given_up_without_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    losses = np.minimum(rng.pareto(2.5, (200_000, 50)), 3.0) * (rng.random((200_000, 50)) < 0.01)
    losses *= rng.uniform(0.5, 2, 50)
    layers, cost = Waterfall((OwnContribution(), PoolReserve())), CostOfCapital(0.0025, 0.05)
    stated = PoolProblem(Scenarios(losses), layers, [cost, 1.0 * TERM], [fairness.ActuarialFairness(2.0)])
    given_up = solve_by_tail(stated.program, 1e-6)
    monkeypatch.setattr(Level, "loosen", lambda *_: False)  # then the pass over the plan gives them up
    seen = solve_by_tail(stated.program, 1e-6)
    assert passes_of(given_up.attempts) < passes_of(seen.attempts)
    assert given_up.x == pytest.approx(seen.x, abs=2e-5 * seen.x.max())


def test_the_first_working_set_has_what_plans_of_other_proportions_leave() -> None:
    """From the tail of the reference, which leaves hardly anything, no round saw what a cheaper plan would leave."""
    rng = np.random.default_rng(9)
    losses = rng.pareto(1.3, (10_000, 20)) * rng.uniform(0.5, 2, 20)
    losses *= rng.random((10_000, 20)) < 0.1
    cost, term = CostOfCapital(0.0025, 0.05), 1.0 * CVaR(0.95, of="mutualised")
    stated = PoolProblem(
        Scenarios(losses), Waterfall((OwnContribution(),)), [cost, term], [fairness.ActuarialFairness(0.1)]
    )
    solution = solve_by_tail(stated.program, 1e-6)
    assert solution.lower_bound <= objective_at(stated.program, solution.x) <= solution.lower_bound * (1 + 1e-6)
