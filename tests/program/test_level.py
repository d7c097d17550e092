"""Rounds on a working set: how it grows, and where they start."""

import re

import cvxpy as cp
import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, PoolReserve, Waterfall
from calibrate.program.extensive import Extensive
from calibrate.program.level import Level, Search
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


def test_a_plan_that_knew_too_little_does_not_bring_in_its_whole_tail() -> None:
    stated = heavy(20_000)
    solution = solve_by_tail(stated.program, 1e-6)
    told = " ".join(map(str, solution.attempts))
    sizes = [int(size.replace(",", "")) for size in re.findall(r"on ([\d,]+) scenarios:", told)]
    assert sizes
    assert max(sizes) < 0.5 * 0.05 * 20_000  # of the tail
    parts = Extensive.of(stated.program)
    whole = cp.Problem(cp.Minimize(parts.objective), [*parts.constraints, *(gap <= 0 for gap in parts.gaps)])
    whole.solve(solver=cp.CLARABEL)
    assert whole.status == cp.OPTIMAL
    assert solution.lower_bound == pytest.approx(whole.value * stated.program.unit, rel=2e-6)


def smooth(scenarios: int) -> PoolProblem:
    rng = np.random.default_rng(4)
    losses = rng.pareto(2.5, (scenarios, 10)) * (rng.random((scenarios, 10)) < 0.1)
    terms = [CostOfCapital(0.02, 0.05), 1.0 * TERM]
    return PoolProblem(Scenarios(losses), Waterfall((OwnContribution(),)), terms, [fairness.ActuarialFairness(2.0)])


def test_near_the_optimum_fewer_losses_are_kinks(monkeypatch: pytest.MonkeyPatch) -> None:
    kinks: list[int] = []
    rounds = Level._round

    def watched(level: Level, search: Search, number: int) -> tuple[float, Point]:
        done = rounds(level, search, number)
        kinks.append(sum(tail.forest.kinks for tail in level.tails))
        return done

    monkeypatch.setattr(Level, "_round", watched)
    stated = smooth(40_000)
    solution = solve_by_tail(stated.program, 1e-6)
    assert kinks[-1] < 0.5 * max(kinks)
    parts = Extensive.of(stated.program)
    whole = cp.Problem(cp.Minimize(parts.objective), [*parts.constraints, *(gap <= 0 for gap in parts.gaps)])
    whole.solve(solver=cp.HIGHS)
    assert whole.status == cp.OPTIMAL
    assert solution.lower_bound == pytest.approx(whole.value * stated.program.unit, rel=2e-6)
