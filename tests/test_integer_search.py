"""Roundings that keep rules, against a look at every rounding there is."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.certificate.rounding import Row, rounded, rows_of
from calibrate.fixed_point import FixedPoint
from calibrate.integer_search import kept
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, PoolReserve, Waterfall

ROUNDING = Fraction(1, 10**6)  # units: tight rows of doubles are missed by some 1e-16 of their amounts


def row(values, amount):
    columns = np.flatnonzero(values)
    return Row(tuple(columns.tolist()), tuple(np.asarray(values)[columns].tolist()), float(amount))


def rules_around(rng, paid, held):
    """Rows of rules that a plan keeps, many of them tight: caps, floors, bands, an order, limits on sums."""
    n, size = len(paid), len(paid) + len(held)
    one, every, unit = np.append(np.ones(n), np.zeros(len(held))), np.ones(size), np.eye(size)
    total, share = paid.sum(), rng.dirichlet(np.ones(n))
    share = 0.5 * share + 0.5 * paid / total
    low, high = (paid / total / share).min(), (paid / total / share).max()
    order = np.argsort(paid)
    kinds = [
        [row(unit[j] - paid.max() / total * one, 0.0) for j in range(n)],
        [row(unit[j], paid[j] * rng.choice([1.0, 1.3])) for j in range(n)],
        [row(-unit[j], -paid.min()) for j in range(n)],
        [row(-one, -total * rng.choice([1.0, 0.99]))],
        [row(every, total + held.sum())],
        [row(-every, -total - held.sum())],
        [row(sign * (unit[j] - edge * share[j] * one), 0.0) for sign, edge in ((1, high), (-1, low)) for j in range(n)],
        [row(unit[a] - unit[b], 0.0) for a, b in pairwise(order)],
    ]
    return [one for k in rng.permutation(len(kinds))[: rng.integers(1, 5)] for one in kinds[k]]


def held_by(rows, whole, grid):
    """Whether each row holds, but for rounding."""
    return [
        sum(Fraction(a) * whole[j] for a, j in zip(r.values, r.columns, strict=True))
        <= Fraction(r.amount) * grid + ROUNDING
        for r in rows
    ]


def roundings(exact, n):
    """Every rounding up or down whose sum of contributions is right to less than a unit."""
    for one in product(*({int(value // 1), -int(-value // 1)} for value in exact)):
        if abs(sum(one[:n]) - sum(exact[:n])) < 1:
            yield one


def sits(seed):
    """Whether the rows could all be kept; then they were."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 7))
    paid = rng.lognormal(0, 1, n) * 10.0 ** rng.integers(-1, 3)
    held = rng.lognormal(0, 1, int(rng.integers(0, 3))) * paid.mean()
    rows, decimals = rules_around(rng, paid, held), int(rng.choice([0, 1, 2]))
    grid, values = 10**decimals, [*paid.tolist(), *held.tolist()]
    exact = [Fraction(value) * grid for value in values]
    whole = kept(values, n, decimals, rows)
    assert all(abs(units - value) < 1 for units, value in zip(whole, exact, strict=True))
    assert abs(sum(whole[:n]) - sum(exact[:n])) < 1
    ours = held_by(rows, whole, grid)
    possible = all(ours) or any(all(held_by(rows, one, grid)) for one in roundings(exact, n))
    assert all(ours) or not possible, (seed, rows, whole)
    return possible


def test_what_some_rounding_keeps_is_kept():
    assert sum(map(sits, range(150))) >= 75
    assert sits(3456)  # missed by less than another sum weighed


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_what_some_rounding_keeps_is_kept_in_thousands(block):
    assert sum(map(sits, range(1000 * (block + 1), 1000 * (block + 2)))) >= 500


def test_three_units_at_once():
    """2.5 each, at most 7 of the first three, at least 5 of the last two, and the first no more than the second."""
    rows = [row([1.0, 1.0, 1.0, 0.0], 7.0), row([0.0, 0.0, -1.0, -1.0], -5.0), row([1.0, -1.0, 0.0, 0.0], 0.0)]
    whole = kept([2.5] * 4, 4, 0, rows)
    assert sum(whole) == 10
    assert all(held_by(rows, whole, 1))


def test_the_sum_is_the_nearest_unless_a_rule_speaks_of_it():
    assert sum(kept([1.2, 1.2], 2, 0, [row([1.0, 0.0], 1.2)])) == 2  # nearest to 2.4
    assert kept([1.2, 1.2], 2, 0, [row([-1.0, -1.0], -2.4), row([1.0, 0.0], 1.2)]) == [1, 2]  # a floor: up
    assert kept([1.4, 1.4], 2, 0, [row([1.0, 1.0], 2.8)]) in ([1, 1], [2, 0])  # a budget: down
    assert kept([1.2, 1.2, 5.5], 2, 0, [row([-1.0, -1.0, -1.0], -7.9)]) == [1, 1, 6]  # a reserve before the sum


def test_the_order_of_members_does_not_matter():
    rng = np.random.default_rng(3)
    for seed in range(20):
        paid = np.append(np.full(3, 2.5), rng.lognormal(0, 1, 3))
        rows = rules_around(np.random.default_rng(seed), paid, np.zeros(0))
        order = rng.permutation(6)
        place = np.argsort(order)
        moved = [Row(tuple(place[list(r.columns)].tolist()), r.values, r.amount) for r in rows]
        paid_by = {(f"m{j}",): float(paid[j]) for j in range(6)}
        other = {(f"m{j}",): float(paid[j]) for j in order}
        assert dict(FixedPoint.of(paid_by, {}, 0, rows).contributions) == dict(
            FixedPoint.of(other, {}, 0, moved).contributions
        )


@pytest.fixture(scope="module", params=range(4))
def tight(request):
    """Pools of few members whose answers lie on caps, floors and bands."""
    rng = np.random.default_rng(request.param)
    losses = rng.pareto(2.2, (150, 5)) * rng.lognormal(0, 1, 5) * (rng.random((150, 5)) < 0.5)
    rules = [
        [fairness.ShareCap(0.25), fairness.FundFloor(9.37)],
        [fairness.ActuarialFairness(0.1), fairness.ContributionFloor(0.813), fairness.Budget(20.55)],
        [fairness.IndividualRationality(0.6), fairness.FundFloor(3.33)],
        [fairness.Solidarity(0.6, 0.05), fairness.AbilityToPay(dict.fromkeys("ABCDE", 1.377))],
    ][request.param]
    waterfall = Waterfall((OwnContribution(), PoolReserve())) if request.param % 2 else Waterfall((OwnContribution(),))
    terms = [CostOfCapital(0.3, 0.2), CVaR(0.9, of="mutualised")]
    return PoolProblem(Scenarios(losses, list("ABCDE")), waterfall, terms, rules).solve()


@pytest.mark.parametrize("decimals", [0, 1, 2])
def test_rules_of_a_calibration_are_kept_where_a_rounding_keeps_them(tight, decimals):
    fixed, grid = tight.to_fixed_point(decimals), 10**decimals
    whole = [*fixed.contributions.values(), *fixed.reserves.values()]
    exact = [Fraction(value) * grid for value in (*tight.contributions, *tight.reserves)]
    rows = rows_of(tight.certificate)
    assert rows
    kept_by_plan = [r for r, held in zip(rows, held_by(rows, exact, grid), strict=True) if held]
    ours = held_by(kept_by_plan, whole, grid)
    assert all(ours) or not any(all(held_by(kept_by_plan, one, grid)) for one in roundings(exact, 5))
    simple = rounded([*tight.contributions, *tight.reserves], 5, decimals, rows)
    assert sum(ours) >= sum(held_by(kept_by_plan, simple, grid))


def test_sums_are_exact_at_any_number_of_decimals(tight):
    for decimals in (0, 1, 7, 18, 60):
        fixed = tight.to_fixed_point(decimals)
        total = sum(Fraction(value) for value in tight.contributions) * 10**decimals
        assert abs(sum(fixed.contributions.values()) - total) < 1
        assert fixed.total == sum(fixed.contributions.values()) + sum(fixed.reserves.values())
        assert sum(fixed.weights.values()) in (0, 10**18)


@pytest.mark.parametrize("decimals", [0, 7, 8, 9, 18])
def test_a_rule_that_every_plan_keeps_has_an_empty_row(decimals):
    scenarios = Scenarios(np.random.default_rng(0).pareto(2, (100, 3)))
    rules = [fairness.ShareCap(1.0), fairness.FundFloor(3.4567)]
    calibration = PoolProblem(scenarios, Waterfall(), [CostOfCapital(0.03, 0.05)], rules).solve()
    fixed = calibration.to_fixed_point(decimals)
    total = sum(map(Fraction, calibration.contributions)) * 10**decimals
    assert abs(sum(fixed.contributions.values()) - total) <= 1
