"""Solving again: from a plan that is near, and along the values of one condition."""

import numpy as np
import pandas as pd
import pytest

from calibrate import Scenarios, fairness
from calibrate.errors import ProblemError, SolverError
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, PoolReserve, Waterfall

MEMBERS = ["A", "B", "C", "D"]


def losses(seed=0, n=2000):
    rng = np.random.default_rng(seed)
    return rng.pareto(2.5, (n, 4)) * rng.uniform(0.5, 2, 4) * (rng.random((n, 4)) < 0.3)


def stated(*conditions, scenarios=None):
    pool = Scenarios(losses() if scenarios is None else scenarios, MEMBERS)
    terms = [CostOfCapital(0.05, 0.02), CVaR(0.95, of="mutualised")]
    return PoolProblem(pool, Waterfall((OwnContribution(), PoolReserve())), terms, conditions)


@pytest.mark.parametrize("band", [0.1, 0.45, 0.55, 2.0])
def test_from_a_plan_that_is_near_the_same_answer_is_found(band):
    before = stated(fairness.ActuarialFairness(0.5)).solve()
    moved = stated(fairness.ActuarialFairness(band))
    cold, warm = moved.solve(), moved.solve(start=before)
    assert warm.objective == pytest.approx(cold.objective, rel=2e-6)
    assert warm.gap <= 1e-6
    assert list(warm.contributions) == pytest.approx(list(cold.contributions), abs=1e-3 * cold.total)


def test_a_frontier_goes_on_where_nothing_can_be_proved():
    table = stated().frontier(fairness.FundFloor, [1e300, 1.0])
    assert np.isnan(table["objective"][1e300])
    assert "can only be kept by contributions of at least 1e+300 USD in all" in table["conflict"][1e300]
    assert table["objective"][1.0] > 0
    with pytest.raises(SolverError, match=r"at least 1e\+300 USD in all, .* times the tail of all losses"):
        stated().frontier(fairness.FundFloor, [1e300])


def test_next_months_scenarios_and_newcomers_may_start_from_last_months_plan():
    before = stated(fairness.ActuarialFairness(0.5)).solve()
    pool = Scenarios(losses(seed=1)[:, :3], ["B", "New", "A"])
    problem = PoolProblem(pool, Waterfall(), [CostOfCapital(0.05, 0.02), CVaR(0.95)], [fairness.ShareCap(0.5)])
    assert problem.solve(start=before).objective == pytest.approx(problem.solve().objective, rel=2e-6)


def test_a_plan_of_other_segments_is_no_start_and_does_no_harm():
    before = stated().solve()
    pool = Scenarios(losses(), ["A", "B"], segments=["x", "y"])
    problem = PoolProblem(pool, Waterfall(), [CostOfCapital(0.05, 0.02), CVaR(0.95)])
    assert problem.solve(start=before).objective == problem.solve().objective


def test_the_frontier_of_a_limit_is_that_of_separate_solves_and_convex():
    problem = stated(fairness.ActuarialFairness(0.5))
    amounts = [2.0, 1.5, 1.0, 0.5]
    frontier = problem.frontier(CVaR(0.95, of="mutualised"), amounts)
    apart = [stated(fairness.ActuarialFairness(0.5), CVaR(0.95, of="mutualised") <= one).solve() for one in amounts]
    assert list(frontier["objective"]) == pytest.approx([one.objective for one in apart], rel=2e-6)
    assert (frontier["objective"] - frontier["lower_bound"] <= 1e-6 * frontier["objective"]).all()
    assert list(frontier["contributions"] + frontier["reserves"]) == pytest.approx([o.total for o in apart], rel=1e-3)
    slopes = np.diff(frontier["objective"]) / np.diff(amounts)
    assert (np.diff(slopes) <= 1e-6).all()  # towards smaller amounts the price of one more unit rises
    assert list(frontier.index) == amounts


def test_the_price_of_a_rule_is_its_slope():
    floors = np.array([6.0, 6.3])
    frontier = stated().frontier(fairness.FundFloor, floors)
    slope = np.diff(frontier["objective"])[0] / 0.3
    low, high = frontier["shadow_price"]
    assert low - 1e-6 <= slope <= high + 1e-6


def test_values_without_a_plan_name_the_conflict_and_the_others_go_on():
    frontier = stated(fairness.FundFloor(5.0)).frontier(fairness.Budget, [4.0, 6.0])
    assert frontier["conflict"].loc[6.0] == ""
    assert "FundFloor" in frontier["conflict"].loc[4.0]
    assert "Budget" in frontier["conflict"].loc[4.0]
    assert pd.isna(frontier["objective"].loc[4.0])
    assert frontier["objective"].loc[6.0] > 0


def test_a_function_that_gives_no_rule_is_refused():
    with pytest.raises(ProblemError, match="expected a fairness rule, Budget, or a limit"):
        stated().frontier(lambda value: value, [1.0])
