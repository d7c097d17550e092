"""The program against closed forms and brute force."""

import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.program import CostOfCapital, CVaR, PoolProblem, PoolReserve, Waterfall

DEAR = 5.0  # a rate at which nobody binds money


def gross_sums(n=997, seed=1):
    rng = np.random.default_rng(seed)
    return rng.lognormal(0, 1.3, (n, 3))


# d/dF [k F + E(S - F)+ / (1 - a)] = 0 where P(S > F) = k (1 - a)
@pytest.mark.parametrize(("a", "k"), [(0.9, 0.31), (0.95, 0.07), (0.99, 0.52), (0.5, 0.015)])
@pytest.mark.parametrize("paid_as", ["reserve", "contributions"])
def test_the_optimal_fund_is_a_value_at_risk(a, k, paid_as):
    losses = gross_sums()
    rates = {"reserve": (DEAR, k), "contributions": (k, DEAR)}[paid_as]
    waterfall = Waterfall((PoolReserve(),))
    calibration = PoolProblem(Scenarios(losses), waterfall, CostOfCapital(*rates) + CVaR(a)).solve(tolerance=1e-9)
    pooled = np.sort(losses.sum(axis=1))
    value_at_risk = pooled[int(np.ceil(997 * (1 - k * (1 - a)))) - 1]
    fund = {"reserve": calibration.reserves.sum(), "contributions": calibration.contributions.sum()}[paid_as]
    assert fund == pytest.approx(value_at_risk, rel=1e-6)
    assert calibration.total == pytest.approx(fund, rel=1e-6)
    tail = np.maximum(pooled - value_at_risk, 0).sum() / 997 / (1 - a)
    assert calibration.objective == pytest.approx(k * value_at_risk + tail, rel=1e-8)


def test_the_optimal_fund_under_unequal_probabilities():
    losses, p = np.array([[1.0], [2.0], [4.0], [8.0]]), [0.5, 0.3, 0.15, 0.05]
    # k (1 - a) = 0.1: P(S > 4) = .05 < .1 < P(S > 2) = .2
    problem = PoolProblem(
        Scenarios(losses, probabilities=p), Waterfall((PoolReserve(),)), CostOfCapital(DEAR, 0.2) + CVaR(0.5)
    )
    calibration = problem.solve(tolerance=1e-9)
    assert calibration.reserves["pool"] == pytest.approx(4.0, rel=1e-7)
    assert calibration.objective == pytest.approx(0.2 * 4 + 0.05 * 4 / 0.5, rel=1e-8)


@pytest.mark.parametrize(("a", "k"), [(0.9, 0.31), (0.95, 0.07), (0.5, 0.013)])
def test_a_member_alone_posts_its_value_at_risk(a, k):
    losses = gross_sums()[:, :1]
    problem = PoolProblem(Scenarios(losses), Waterfall(), CostOfCapital(k, DEAR) + CVaR(a, of="mutualised"))
    paid = problem.solve(tolerance=1e-9).contributions.iloc[0]
    assert paid == pytest.approx(np.sort(losses[:, 0])[int(np.ceil(997 * (1 - k * (1 - a)))) - 1], rel=1e-6)


def test_collateral_that_halves_doubles_the_contribution():
    losses = gross_sums(200)[:, :1]
    half = Scenarios(losses, collateral=np.full((200, 1), 0.5))
    terms = CostOfCapital(0.1, DEAR) + CVaR(0.9, of="mutualised")
    whole = CostOfCapital(0.2, DEAR) + CVaR(0.9, of="mutualised")
    paid = PoolProblem(half, Waterfall(), terms).solve(tolerance=1e-9).contributions.iloc[0]
    other = PoolProblem(Scenarios(losses), Waterfall(), whole).solve(tolerance=1e-9).contributions.iloc[0]
    assert paid == pytest.approx(2 * other, rel=1e-6)


def test_dear_money_is_not_bound_and_free_money_covers_everything():
    losses = gross_sums(50)
    terms = CVaR(0.9) + CVaR(0.9, of="mutualised")
    nothing = PoolProblem(Scenarios(losses), Waterfall(), CostOfCapital(50.0, 50.0) + terms).solve()
    assert nothing.total == pytest.approx(0, abs=1e-6)
    everything = PoolProblem(Scenarios(losses), Waterfall(), CostOfCapital(1e-4, 1e-3) + terms).solve(tolerance=1e-8)
    np.testing.assert_allclose(everything.contributions, losses.max(axis=0), rtol=1e-4)


def own_objective(c, r, losses, p, level, k, kr, price):
    """`k C + kr r + price CVaR(U)` by a sort, for many `c` at once (last axis: members)."""
    left = np.maximum(np.maximum(losses - c[..., None, :], 0).sum(axis=-1) - r, 0)
    order = np.argsort(-left, axis=-1)
    sorted_left = np.take_along_axis(left, order, axis=-1)
    mass = np.minimum(np.cumsum(p[order], axis=-1), 1 - level)
    taken = np.diff(mass, axis=-1, prepend=0.0)
    return k * c.sum(axis=-1) + kr * r + price * (taken * sorted_left).sum(axis=-1) / (1 - level)


@pytest.mark.parametrize("seed", range(4))
def test_no_point_of_a_grid_is_better_for_two_members(seed):
    rng = np.random.default_rng(seed)
    losses = rng.lognormal(0, 1, (25, 2)) * (rng.random((25, 2)) < 0.6)
    p = rng.dirichlet(np.ones(25))
    given = {"level": 0.8, "k": 0.1, "kr": 0.3, "price": 0.4}
    terms = CostOfCapital(0.1, 0.3) + 0.4 * CVaR(0.8, of="mutualised")
    rules = [fairness.LoadingRatio(1.2)]
    calibration = PoolProblem(Scenarios(losses, probabilities=p), Waterfall(), terms, rules).solve(tolerance=1e-9)
    c, r = calibration.contributions.to_numpy(), calibration.reserves["pool"]
    assert own_objective(c, r, losses, p, **given) == pytest.approx(calibration.objective, rel=1e-9)

    axes = [np.linspace(0, top, 60) for top in losses.max(axis=0)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    loading = grid / (p @ losses)
    grid = grid[loading.max(axis=-1) <= 1.2 * loading.min(axis=-1)]
    best = min(
        own_objective(grid, reserve, losses, p, **given).min()
        for reserve in np.linspace(0, losses.sum(axis=1).max(), 25)
    )
    assert calibration.objective <= best * (1 + 1e-9)
    assert calibration.objective == pytest.approx(best, rel=0.1)  # the grid is not far from the optimum either


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_everyone_pays_the_same_share_of_loss_at_band_zero(level):
    """With `c = C mu / M` the program has one unknown: its optimum is a kink of a function of `C`."""
    losses = gross_sums(150, seed=5)
    share = losses.mean(axis=0) / losses.mean(axis=0).sum()
    terms = CostOfCapital(0.1, DEAR) + 0.6 * CVaR(level, of="mutualised")
    found = PoolProblem(Scenarios(losses), Waterfall(), terms, [fairness.ActuarialFairness(0.0)]).solve(tolerance=1e-9)
    kinks = np.unique(losses / share)
    p = np.full(150, 1 / 150)
    low, high = 0, len(kinks) - 1
    values = {}

    def value(at):
        if at not in values:
            values[at] = own_objective(share * kinks[at], 0.0, losses, p, level, 0.1, 0.0, 0.6)
        return values[at]

    while high - low > 3:  # convex in C: thirds
        left, right = low + (high - low) // 3, high - (high - low) // 3
        low, high = (low, right) if value(left) <= value(right) else (left, high)
    # within the last kinks the tail's edge may lie between two of them
    fine = np.linspace(kinks[max(low - 1, 0)], kinks[min(high + 1, len(kinks) - 1)], 4001)
    best = own_objective(share * fine[:, None], 0.0, losses, p, level, 0.1, 0.0, 0.6).min()
    assert found.objective <= best * (1 + 1e-9)
    assert found.objective == pytest.approx(best, rel=1e-5)
    np.testing.assert_allclose(found.weights, share, rtol=1e-7)


@pytest.mark.parametrize("given", [None, [0.5, 2.0, 4.0], [30.0, 1.0, 10.0], [1.0, 1.0, 1.0]])
def test_the_tie_is_the_nearest_plan_to_the_reference(given):
    """A mutual cares for the total only: `min sum (c_i - f_i)^2 / f_i`, `sum c = F` has a closed form.

    `c_i = f_i F / sum f`: everybody moves by the same share.
    """
    losses = gross_sums()
    names = ["A", "B", "C"]
    reference = None if given is None else dict(zip(names, given, strict=True))
    problem = PoolProblem(
        Scenarios(losses, names),
        Waterfall((PoolReserve(),)),
        CostOfCapital(0.31, DEAR) + CVaR(0.9),
        reference=reference,
    )
    paid = problem.solve(tolerance=1e-8).contributions.to_numpy()
    pooled = losses.sum(axis=1)
    fund = np.sort(pooled)[int(np.ceil(997 * (1 - 0.31 * 0.1))) - 1]
    if given is None:  # Euler: the mean of the worst 10 % = 99.7 scenarios
        worst = np.argsort(-pooled)[:100]
        share = np.append(np.ones(99), 0.7)[:, None]
        given = (share * losses[worst]).sum(axis=0) / 99.7
    f = np.array(given)
    expected = f * fund / f.sum()
    np.testing.assert_allclose(paid, expected, rtol=1e-4)


def test_segments_keep_to_their_reference_too():
    losses = gross_sums().repeat(2, axis=1)
    pool = Scenarios(losses, ["A", "B", "C"], ["x", "y"])
    by_member = {"A": 4.0, "B": 8.0, "C": 2.0}
    problem = PoolProblem(pool, Waterfall((PoolReserve(),)), CostOfCapital(0.31, DEAR) + CVaR(0.9), reference=by_member)
    paid = problem.solve(tolerance=1e-8).contributions
    split = paid.unstack("segment")
    np.testing.assert_allclose(split["x"], split["y"], rtol=1e-3)  # equal risk in both segments
    assert list(problem.solve().members["reference"]) == pytest.approx([4.0, 8.0, 2.0])
