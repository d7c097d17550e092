"""The search for a coalition that would leave, against all groups one by one."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from calibrate import Scenarios, fairness
from calibrate.errors import SolverError
from calibrate.program import CostOfCapital, CVaR, PoolProblem, Waterfall
from calibrate.program.fairness import coalitions
from calibrate.program.fairness.coalitions import TOLERANCE, all_coalitions, most_aggrieved

LEVEL = 0.9


def gains(paid: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """What every group gains by leaving: the CVaR 90 % of 60 scenarios is the mean of the worst six."""
    groups = all_coalitions(len(paid)).astype(float)
    return groups @ paid - np.sort(losses @ groups.T, axis=0)[-6:].mean(axis=0)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("gain", [-3.0, -0.5, 0.5, 3.0, 9.0])
def test_a_gain_of_a_few_tolerances_is_told_from_none(seed: int, gain: float) -> None:
    """Around the tolerance, below the accuracy to which a solver of integer programs keeps its rows by default."""
    rng = np.random.default_rng(seed)
    losses = rng.pareto(2.5, (60, 8)) * (rng.random((60, 8)) < 0.4)
    paid = rng.uniform(0.5, 1.5, 8) * np.sort(losses, axis=0)[-6:].mean(axis=0)
    low, high = 0.0, 1.0
    for _ in range(200):  # the multiple of the contributions at which the best group gains so much
        middle = 0.5 * (low + high)
        too_much = gains(middle * paid, losses).max() > gain * TOLERANCE * middle * paid.sum()
        low, high = (low, middle) if too_much else (middle, high)
    found = most_aggrieved(low * paid, Scenarios(losses), LEVEL, 0.0)
    assert (len(found) > 0) == (gain > 1.0)
    for group in found:
        assert group @ (low * paid) - np.sort(losses @ group)[-6:].mean() > 0.99 * TOLERANCE * low * paid.sum()


@pytest.mark.parametrize("more", [0.97, 1.02])
def test_the_whole_pool_is_no_group(more):
    """Who pays more than the whole pool's risk, to nobody's harm, is told from who aggrieves a group."""
    rng = np.random.default_rng(4)
    losses = rng.lognormal(0, 1.0, (60, 8))
    paid = more * np.sort(losses, axis=0)[-6:].mean(axis=0) * 0.75
    found = most_aggrieved(paid, Scenarios(losses), LEVEL, 0.0)
    assert (len(found) > 0) == (gains(paid, losses).max() > TOLERANCE * paid.sum())
    assert not found.all(axis=1).any()


def test_a_search_that_does_not_end_says_so(monkeypatch):
    monkeypatch.setattr(coalitions, "MOST_PARTS", 3)
    monkeypatch.setattr(coalitions, "MOST_GROUPS", 0)
    losses = np.random.default_rng(1).lognormal(0, 1.0, (200, 14))
    whole = np.sort(losses.sum(axis=1))[-100:].mean()  # CVaR 50 %
    rules = [fairness.CoalitionStability(0.5), fairness.FundFloor(0.98 * whole)]
    with pytest.raises(SolverError, match="no aggrieved coalition among 14 members was found in 3 parts of all groups"):
        PoolProblem(Scenarios(losses), Waterfall(), [CostOfCapital(0.05, 0.04)], rules).solve()


def test_losses_of_twenty_members_that_are_all_positive_are_searched_through():
    """The gains of all `2^20` groups are looked at here, in blocks; hundreds of integer programs took minutes."""
    rng = np.random.default_rng(0)
    losses = rng.lognormal(0, 1.2, (120, 20)) * rng.lognormal(0, 1, 20)
    half = np.sort(losses.sum(axis=1))[-60:].mean()
    terms = [CostOfCapital(0.05, 0.04), 0.2 * CVaR(0.95, of="mutualised")]
    rules = [fairness.CoalitionStability(0.5), fairness.FundFloor(0.95 * half)]
    solved = PoolProblem(Scenarios(losses), Waterfall(), terms, rules).solve()
    paid = solved.contributions.to_numpy()
    bits = np.arange(1, 2**20 - 1)
    for block in np.array_split(bits, 64):
        groups = ((block[:, None] >> np.arange(20)) & 1).astype(float)
        pooled = groups @ losses.T
        worst = np.partition(pooled, 60, axis=1)[:, 60:].mean(axis=1)
        assert (groups @ paid - worst).max() <= 2e-7 * paid.sum()


@pytest.mark.slow
def test_groups_looked_at_one_by_one_and_searched_for_leave_the_same_plan(monkeypatch):
    rng = np.random.default_rng(0)
    losses = rng.pareto(1.5, (60, 13)) * 10 * (rng.random((60, 13)) < 0.5)
    terms = [CostOfCapital(0.02, 0.3), 2 * CVaR(0.5, of="mutualised")]

    def solved():
        return PoolProblem(Scenarios(losses), Waterfall(), terms, fairness.CoalitionStability(0.8)).solve()

    one_by_one = solved()
    monkeypatch.setattr(coalitions, "MOST_GROUPS", 0)
    searched = solved()
    assert one_by_one.objective == pytest.approx(searched.objective, rel=2e-6)
    paid = one_by_one.contributions.to_numpy()
    for mask in range(1, 2**13 - 1):
        group = np.array([mask >> i & 1 for i in range(13)], dtype=bool)
        worst = np.sort(losses[:, group].sum(axis=1))[-12:]  # the worst fifth of 60
        assert paid[group].sum() <= worst.mean() + 2e-7 * paid.sum()


def test_the_bytes_do_not_depend_on_the_threads_of_linear_algebra():
    rng = np.random.default_rng(0)
    losses = rng.pareto(2.0, (20_000, 6)) * rng.lognormal(0, 1, 6) * (rng.random((20_000, 6)) < 0.3)
    terms = [CostOfCapital(0.04, 0.06), 0.1 * CVaR(0.99, of="mutualised"), 0.05 * CVaR(0.95)]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            rules = [fairness.CoalitionStability(0.95)]
            found.append(PoolProblem(Scenarios(losses), Waterfall(), terms, rules).solve().contributions)
    np.testing.assert_array_equal(*found)
