"""Plans that are moved to where their rules hold, at the size of what the rules speak of."""

from fractions import Fraction

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate import Scenarios, fairness, verify
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, PoolReserve, Waterfall
from calibrate.program.fairness.base import Rule
from calibrate.program.least_distance import auxiliary_nearest, least_distance, nearest

TERMS = [CostOfCapital(0.5, 0.02), CVaR(0.9)]


def stated(rows, published):
    """A certificate of a few rules, a plan, and a reference of equal parts."""
    return (
        {
            "decimals": 15,
            "scale": 1.0,
            "costs": [0.0] * len(published),
            "waterfall": {"own": [1.0] * len(published)},
            "auxiliary": 0,
            "witness": [],
            "blocks": rows,
        },
        np.array(published, dtype=float),
        np.ones(len(published)),
    )


# --- by hand --------------------------------------------------------------------------------------------------------


def test_a_step_to_two_planes_and_between_planes_that_exclude_each_other():
    np.testing.assert_allclose(least_distance(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([-3.0, 2.0])), [-3.0, 0.0])
    np.testing.assert_allclose(least_distance(np.array([[-3.0, -4.0]]), np.array([-5.0])), [0.6, 0.8])
    assert least_distance(np.array([[1.0], [-1.0]]), np.array([-1.0, -1.0])) is None


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.integers(1, 8), st.integers(0, 10**6))
def test_the_shortest_step_is_a_projection(n, m, seed):
    """A projection `d` of 0 has `d.(y - d) >= 0` for every `y` of the set; here the set holds a known ball."""
    rng = np.random.default_rng(seed)
    A, inside = rng.normal(size=(m, n)), rng.normal(size=n) * 3
    b = A @ inside + np.linalg.norm(A, axis=1)
    d = least_distance(A, b)
    assert np.all(A @ d <= b + 1e-9)
    for y in inside + (rng.normal(size=(50, n)) / 10):
        assert d @ (y - d) >= -1e-9 or np.any(A @ y > b)


def test_equal_contributions_move_alike_and_large_ones_by_more():
    """`c >= 10.10` in all, of 2 + 2 + 6: each moves by a like share of itself, to 2.02 + 2.02 + 6.06."""
    floor = ["floor", "at_most", [[[[0, -1.0], [1, -1.0], [2, -1.0]], -10.10]]]
    np.testing.assert_allclose(nearest(*stated([floor], [2.0, 2.0, 6.0])), [2.02, 2.02, 6.06])


def test_an_equality_without_interior_is_met_and_a_cone_as_well():
    equal = ["same", "equal", [[[[0, 1.0], [1, -1.0]], 0.0]]]
    found = nearest(*stated([equal], [1.0, 2.0]))
    assert abs(found[0] - found[1]) <= 2.0**-40 * found.sum()  # as near as the verifier asks
    ball = ["ball", "cone", [[[], 5.0], [[[0, 1.0]], 0.0], [[[1, 1.0]], 0.0]]]  # norm(c) <= 5
    assert np.linalg.norm(nearest(*stated([ball], [6.0, 8.0]))) == pytest.approx(5.0, rel=1e-12)


def test_where_only_nothing_is_fair_nothing_is_paid():
    """Shares of a tenth each of what two pay in all."""
    caps = [["cap", "at_most", [[[[j, 0.9], [1 - j, -0.1]], 0.0]]] for j in range(2)]
    np.testing.assert_array_equal(nearest(*stated(caps, [0.03, 0.04])), [0.0, 0.0])


def test_rules_that_exclude_each_other_are_told():
    rows = [["floor", "at_most", [[[[0, -1.0]], -2.0]]], ["cap", "at_most", [[[[0, 1.0]], 1.0]]]]
    assert nearest(*stated(rows, [1.5])) is None


# --- pools ----------------------------------------------------------------------------------------------------------


def pool(seed, members=6):
    rng = np.random.default_rng(seed)
    losses = rng.pareto(2.2, (200, members)) * rng.lognormal(0, 0.5, members)
    return Scenarios(losses * (rng.random((200, members)) < 0.4))


@pytest.mark.parametrize("size", [1e-5, 1e-6, 1e-7, 1e-8])
@pytest.mark.parametrize("seed", range(3))
def test_contributions_tiny_beside_reserves_keep_their_rules(size, seed, tmp_path):
    """The turnover of contributions of 1e-8 of the reserves is limited at their own size, not at the reserves'."""
    scenarios = pool(seed)
    shares = np.random.default_rng(seed).dirichlet(np.ones(6))
    before = (size * scenarios.expected_losses.sum() * shares).tolist()
    rule = fairness.Turnover(dict(zip(scenarios.members, before, strict=True)), total=0.3)
    calibration = PoolProblem(scenarios, Waterfall(), TERMS, [rule, fairness.ShareCap(0.9)]).solve()
    verdict = verify(calibration.save(tmp_path / "run"))
    assert verdict.proved, verdict
    unit = Fraction(1, 10 ** calibration.certificate["decimals"])
    paid = [int(n) * unit for n in calibration.certificate["published"][:6]]
    change = sum(abs(c - Fraction(old)) for c, old in zip(paid, before, strict=True))
    assert change <= Fraction(0.3) * sum(map(Fraction, before)) * (1 + Fraction(1, 10**6))


def test_rules_that_only_nothing_keeps(tmp_path):
    """Who never loses pays nothing, and nobody pays more than 30 % of all: nobody pays, and the reserve does it all."""
    losses = np.zeros((20, 6))
    losses[3, 3] = losses[7, 5] = 1.0  # the second member, two of three segments
    scenarios = Scenarios(losses, ["A", "B"], ["x", "y", "z"])
    rules = [fairness.ActuarialFairness(2.0), fairness.ShareCap(0.3)]
    calibration = PoolProblem(scenarios, Waterfall((OwnContribution(), PoolReserve())), TERMS, rules).solve()
    assert (calibration.contributions == 0).all()
    assert calibration.reserves["pool"] == pytest.approx(1.0, rel=1e-6)
    assert verify(calibration.save(tmp_path / "run")).proved


def test_shares_beside_a_giant_keep_their_digits(tmp_path):
    """One member loses 1e12 times the rest. `1 - share` as a difference has five digits, and then only zero is fair."""
    losses = np.array(pool(4).losses)
    losses[:, 2] *= 1e12
    scenarios = Scenarios(losses)
    terms = [CostOfCapital(0.02, 0.5), CVaR(0.5, of="mutualised")]
    calibration = PoolProblem(
        scenarios, Waterfall((OwnContribution(),)), terms, [fairness.ActuarialFairness(0.0)]
    ).solve()
    assert verify(calibration.save(tmp_path / "run")).proved
    mu = losses.mean(axis=0)
    np.testing.assert_allclose(calibration.weights, mu / mu.sum(), rtol=1e-3)
    assert calibration.contributions.sum() > scenarios.expected_losses.sum()  # which costs less than to pay nothing


def test_a_scenario_of_hardly_any_probability_is_proved(tmp_path):
    """A loss of 1e16 with probability 1e-17: the flow it carries has digits of its own."""
    losses = np.zeros((3, 2))
    losses[1:] = [[1e16, 0.0], [1e16, 3e16]]
    scenarios = Scenarios(losses, probabilities=[1 - 2e-17, 1e-17, 1e-17])
    terms = [CostOfCapital(0.02, 0.05), 30 * CVaR(0.9, of="mutualised")]
    calibration = PoolProblem(scenarios, Waterfall(), terms).solve()
    assert calibration.objective == pytest.approx(30 * (1e-17 * 1e16 + 1e-17 * 4e16) / 0.1, rel=1e-6)
    assert verify(calibration.save(tmp_path / "run")).proved


def test_rules_that_only_a_giant_plan_keeps_are_no_conflict(tmp_path):
    """Floor and band beside a giant: only contributions of 1e9 times all losses keep them, and those do."""
    losses = np.array(pool(5).losses)
    losses[:, 2] *= 1e12
    rules = [fairness.ActuarialFairness(0.1), fairness.ContributionFloor(1e9)]
    calibration = PoolProblem(Scenarios(losses), Waterfall(), TERMS, rules).solve()
    assert calibration.contributions.min() == pytest.approx(1e9)
    mu = losses.mean(axis=0) / losses.mean(axis=0).sum()
    assert np.all(np.abs(calibration.weights / mu - 1) <= 0.1 + 1e-9)
    assert verify(calibration.save(tmp_path / "run")).proved


# --- auxiliary variables at published integers ----------------------------------------------------------------------


def test_what_stands_inside_a_norm_moves_to_the_published_integers():
    """`x^2 <= y`, as `norm2(2 x, 1 - y) <= 1 + y`, and `y <= 4.0000000001` at x = 2.00: y was 3.999, now 4."""
    blocks = [
        ["square", "cone", [[[[1, -1.0]], 1.0], [[[0, -2.0]], 0.0], [[[1, 1.0]], 1.0]]],
        ["square", "at_most", [[[[1, 1.0]], 4.0000000001]]],
    ]
    body = stated(blocks, [2.0])[0] | {"decimals": 9}
    unit = 10**18
    (found,) = auxiliary_nearest(body, [2 * 10**9], [3_999 * unit // 1000])
    assert abs(found - 4 * unit) <= 1e-8 * unit
    assert auxiliary_nearest(body, [3 * 10**9], [9 * unit]) == [9 * unit]  # there is none


@pytest.mark.parametrize(("seed", "times", "kind"), [(5, 0.5, "squares"), (0, 2.0, "huber"), (1, 0.5, "huber")])
def test_quadratic_rules_of_a_user_hold_on_the_published_integers(seed, times, kind, tmp_path):
    rng = np.random.default_rng(seed)
    losses = rng.pareto(2.5, (200, 4)) * (rng.random((200, 4)) < 0.5)
    mu, total = losses.mean(axis=0), losses.mean(axis=0).sum()

    def squares(c):
        return (c**2).sum() / total - times**2 * total / 4

    def huber(c):
        x = np.abs(c - mu) / total
        return total * np.where(x <= 0.1, x**2, 0.2 * x - 0.01).sum() - 0.05 * times * total

    class Quadratic(Rule):
        def gap(self, plan):
            c = plan.contributions
            if kind == "squares":
                return cp.sum_squares(c) / total - times**2 * total / 4
            return total * cp.sum(cp.huber((c - mu) / total, 0.1)) - 0.05 * times * total

    terms = [CostOfCapital(0.02, 0.05), 0.3 * CVaR(0.9, of="mutualised")]
    plan = PoolProblem(Scenarios(losses), Waterfall(), terms, [Quadratic()]).solve()
    assert plan.fairness["binding"].iloc[0]
    assert {"squares": squares, "huber": huber}[kind](plan.contributions.to_numpy()) <= 1e-8 * total
    assert verify(plan.save(tmp_path / "plan")).proved
