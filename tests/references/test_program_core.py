"""The core (Denault 2001): the Euler allocation lies in it, and coalitions are searched as enumeration would."""

from itertools import chain, combinations

import cvxpy as cp
import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.errors import RuleConflictError
from calibrate.program import CostOfCapital, CVaR, Plan, Pool, PoolProblem, PoolReserve, Waterfall


def by_sort(values, p, level):
    """CVaR of a weighted sample, by filling the tail from the top."""
    order = np.argsort(-values)
    mass = np.minimum(np.cumsum(p[order]), 1 - level)
    return np.diff(mass, prepend=0.0) @ values[order] / (1 - level)


def groups_of(n):
    return list(chain.from_iterable(combinations(range(n), size) for size in range(1, n)))


def sample(n_members, n_scenarios=60, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    losses = rng.lognormal(0, 1.5, (n_scenarios, n_members)) * (rng.random((n_scenarios, n_members)) < 0.7)
    losses += 0.5 * rng.lognormal(0, 1, (n_scenarios, 1))
    if ties:
        losses = np.round(losses)
    return losses, rng.dirichlet(np.ones(n_scenarios))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("level", [0.0, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("seed", range(5))
def test_the_euler_allocation_lies_in_the_core(seed, level, ties):
    losses, p = sample(6, seed=seed, ties=ties)
    allocated = Pool(Scenarios(losses, probabilities=p)).euler_allocation(level)
    whole = by_sort(losses.sum(axis=1), p, level)
    assert allocated.sum() == pytest.approx(whole, rel=1e-12)
    coalitions = groups_of(6)
    assert len(coalitions) == 62
    for group in coalitions:
        assert allocated[list(group)].sum() <= by_sort(losses[:, group].sum(axis=1), p, level) + 1e-12 * whole


def test_the_euler_allocation_passes_the_rule_and_is_the_reference():
    losses, p = sample(6)
    pool = Scenarios(losses, probabilities=p)
    allocated = Pool(pool).euler_allocation(0.9)
    plan = Plan(Pool(pool), cp.Constant(allocated[:, None]), cp.Constant([0.0]), cp.Constant(0.0))
    gap = fairness.CoalitionStability(0.9).gap(plan).value
    assert gap.shape == (62,)
    assert gap.max() <= 1e-12 * allocated.sum()
    calibration = PoolProblem(pool, Waterfall((PoolReserve(),)), CostOfCapital(0.1, 0.2) + CVaR(0.9)).solve()
    np.testing.assert_allclose(calibration.members["reference"], allocated, rtol=1e-12)


def test_a_fund_of_the_pooled_risk_can_be_shared_without_losing_a_coalition():
    losses, p = sample(5, seed=3)
    whole = by_sort(losses.sum(axis=1), p, 0.9)
    rules = [fairness.CoalitionStability(0.9), fairness.FundFloor(whole)]
    pool = Scenarios(losses, probabilities=p)
    paid = PoolProblem(pool, Waterfall(), CostOfCapital(0.1, 0.2), rules).solve().contributions.to_numpy()
    assert paid.sum() == pytest.approx(whole, rel=1e-6)
    for group in groups_of(5):
        assert paid[list(group)].sum() <= by_sort(losses[:, group].sum(axis=1), p, 0.9) + 1e-6 * whole


@pytest.mark.parametrize(("n", "seed"), [(13, 0), pytest.param(14, 2, marks=pytest.mark.slow)])
def test_beyond_twelve_members_coalitions_are_generated_as_enumeration_finds_them(n, seed):
    """The plan must satisfy all `2^n - 2` inequalities, and a program with only those generated must not be dearer."""
    losses, p = sample(n, n_scenarios=30, seed=seed)
    pool = Scenarios(losses, probabilities=p)
    whole = by_sort(losses.sum(axis=1), p, 0.8)
    rng = np.random.default_rng(seed)
    # a reference far from the core, a fund at nine tenths of the pooled risk: without the rule coalitions would leave
    reference = dict(zip(pool.members, rng.dirichlet(np.full(n, 0.3)) * whole, strict=True))
    fund = fairness.FundFloor(0.9 * whole)

    def solved(*rules):
        waterfall = Waterfall((PoolReserve(),))
        return PoolProblem(pool, waterfall, CostOfCapital(0.1, 0.2), [fund, *rules], reference=reference).solve()

    masks = (np.arange(1, 2**n - 1)[:, None] >> np.arange(n) & 1).astype(float)
    group_losses = masks @ losses.T
    order = np.argsort(-group_losses, axis=1)
    mass = np.minimum(np.cumsum(p[order], axis=1), 0.2)
    risks = (np.diff(mass, axis=1, prepend=0.0) * np.take_along_axis(group_losses, order, axis=1)).sum(axis=1) / 0.2

    free = solved().contributions.to_numpy()
    assert (masks @ free - risks).max() > 0.01 * whole, "without the rule somebody must want to leave"
    stable = solved(fairness.CoalitionStability(0.8)).contributions.to_numpy()
    assert (masks @ stable - risks).max() <= 2e-6 * whole
    assert stable.sum() == pytest.approx(0.9 * whole, rel=1e-6)


def test_beyond_twelve_members_a_fund_above_the_pooled_risk_conflicts():
    losses, p = sample(13, n_scenarios=30, seed=5)
    pool = Scenarios(losses, probabilities=p)
    # each group of twelve keeps to its own risk; in all 12/13 of the sum of those risks is the most that can be raised
    groups = [[i for i in range(13) if i != out] for out in range(13)]
    most = sum(by_sort(losses[:, group].sum(axis=1), p, 0.8) for group in groups) / 12
    rules = [fairness.FundFloor(1.01 * most), fairness.CoalitionStability(0.8)]
    with pytest.raises(RuleConflictError, match="CoalitionStability"):
        PoolProblem(pool, Waterfall(), CostOfCapital(0.1, 0.2), rules).solve()


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_cover_k_against_every_group_of_defaulters(k):
    rng = np.random.default_rng(k)
    n = 5
    for _ in range(40):
        stress, paid, reserve = rng.lognormal(0, 1.5, (3, n)), rng.lognormal(0, 1, n), rng.lognormal(0, 1)
        plan = Plan(
            Pool(Scenarios(np.ones((1, n)))),
            cp.Constant(paid[:, None]),
            cp.Constant([0.4 * reserve]),
            cp.Constant(0.6 * reserve),
        )
        for row, gap in zip(stress, fairness.CoverK(stress, k=k).gap(plan).value, strict=True):
            lacking = max(
                np.maximum(row - paid, 0)[list(group)].sum() - paid.sum() + paid[list(group)].sum()
                for group in combinations(range(n), k)
            )
            assert gap == pytest.approx(lacking - reserve, rel=1e-9, abs=1e-9)
