"""Scenarios of hardly any probability: no part of any risk, and no reason to give up."""

import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.program import CostOfCapital, CVaR, ExpectedLoss, OwnContribution, PoolProblem, PoolReserve, Waterfall
from calibrate.program.working_set import solve_by_tail


def program(losses: np.ndarray, p: np.ndarray) -> object:
    terms = [CostOfCapital(0.1, 0.05), 3.0 * CVaR(0.95, of="mutualised"), 0.5 * ExpectedLoss(of="mutualised")]
    layers = Waterfall((OwnContribution(), PoolReserve()))
    return PoolProblem(Scenarios(losses, probabilities=p), layers, terms, [fairness.ActuarialFairness(0.5)]).program


@pytest.mark.parametrize("trace", [1e-80, 1e-170, 5e-324])
def test_a_scenario_of_no_probability_to_speak_of_changes_nothing(trace: float) -> None:
    rng = np.random.default_rng(5)
    losses = rng.pareto(2.5, (1200, 6)) * (rng.random((1200, 6)) < 0.3)
    faint = np.full(200, trace)
    with_them = solve_by_tail(program(losses, np.concatenate([np.full(1000, 1e-3), faint])), 1e-7)
    without = solve_by_tail(program(losses[:1000], np.full(1000, 1e-3)), 1e-7)
    assert with_them.lower_bound == pytest.approx(without.lower_bound, rel=2e-7)
