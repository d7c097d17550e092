"""What must not change when the pool is told in another way, and which way things must move."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from calibrate import Scenarios, fairness
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, PoolReserve, SegmentReserve, Waterfall

few = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # a smaller random pool tells no more: no shrinking
    suppress_health_check=list(HealthCheck),
)
PRECISE = 1e-8


@st.composite
def pools(draw, members=(1, 5), scenarios=(2, 40), segments=(1, 2)):
    """A random pool: heavy or light, dense or sparse, on a grid or not, uniform or not."""
    n, s, k = draw(st.integers(*members)), draw(st.integers(*scenarios)), draw(st.integers(*segments))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    losses = rng.lognormal(0, draw(st.sampled_from([0.3, 1.0, 2.0])), (s, n * k))
    losses *= rng.random(losses.shape) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    if draw(st.booleans()):
        losses = np.ceil(losses)
    p = rng.dirichlet(np.ones(s)) if draw(st.booleans()) else np.full(s, 1 / s)
    if not losses.any():
        losses[0, 0] = 1.0
    return losses, p, k


levels = st.sampled_from([0.0, 0.5, 0.8, 0.9, 0.95])
bands = st.sampled_from([0.1, 0.5, 2.0])


def stated(losses, p, k, level=0.8, rules=(), names=None, unit=1.0, collateral=None):
    layers = (OwnContribution(), *([SegmentReserve()] if k > 1 else []), PoolReserve())
    pool = Scenarios(losses * unit, names, [f"g{j}" for j in range(k)], p, collateral)
    terms = [CostOfCapital(0.05, 0.11), 0.3 * CVaR(level, of="mutualised"), 0.15 * CVaR(level)]
    return PoolProblem(pool, Waterfall(layers), terms, list(rules))


def solved(*args, **more):
    return stated(*args, **more).solve(tolerance=PRECISE)


@given(pools(), bands, st.integers(-18, 24))
@few
def test_another_unit_is_the_same_answer(pool, band, power):
    rules = [fairness.ActuarialFairness(band)]
    ours, theirs = solved(*pool, rules=rules), solved(*pool, rules=rules, unit=10.0**power)
    assert theirs.objective == pytest.approx(ours.objective * 10.0**power, rel=1e-7)
    np.testing.assert_allclose(
        theirs.risk["in_sample"], ours.risk["in_sample"] * 10.0**power, rtol=1e-4, atol=1e-4 * theirs.objective
    )
    scale = max(ours.contributions.max(), 1e-6)
    np.testing.assert_allclose(theirs.contributions / 10.0**power, ours.contributions, atol=1e-3 * scale)


@given(pools(), st.sampled_from([-60, 7, 80]))
@few
def test_a_power_of_two_is_exactly_the_same_answer(pool, power):
    ours, theirs = solved(*pool), solved(*pool, unit=2.0**power)
    assert theirs.objective == ours.objective * 2.0**power
    np.testing.assert_array_equal(theirs.contributions, ours.contributions * 2.0**power)
    np.testing.assert_array_equal(theirs.reserves, ours.reserves * 2.0**power)


@given(pools(members=(2, 5)), bands, st.randoms(use_true_random=False))
@few
def test_members_in_another_order(pool, band, random):
    losses, p, k = pool
    n = losses.shape[1] // k
    order = list(range(n))
    random.shuffle(order)
    names = [f"M{i}" for i in range(n)]
    columns = [i * k + g for i in order for g in range(k)]
    rules = [fairness.ActuarialFairness(band)]
    ours = solved(losses, p, k, rules=rules, names=names)
    theirs = solved(losses[:, columns], p, k, rules=rules, names=[names[i] for i in order])
    assert theirs.objective == pytest.approx(ours.objective, rel=1e-7)
    scale = max(ours.contributions.max(), 1e-6)
    np.testing.assert_allclose(
        theirs.contributions.reindex(ours.contributions.index), ours.contributions, atol=1e-3 * scale
    )


@given(pools(), st.randoms(use_true_random=False))
@few
def test_scenarios_in_another_order(pool, random):
    losses, p, k = pool
    order = list(range(len(p)))
    random.shuffle(order)
    ours, theirs = solved(*pool), solved(losses[order], p[order], k)
    assert theirs.objective == pytest.approx(ours.objective, rel=1e-7)
    np.testing.assert_allclose(
        theirs.contributions, ours.contributions, atol=1e-3 * max(ours.contributions.max(), 1e-6)
    )


@given(pools(), st.integers(2, 3))
@few
def test_scenarios_told_twice(pool, times):
    losses, p, k = pool
    ours = solved(*pool)
    theirs = solved(np.tile(losses, (times, 1)), np.tile(p, times) / times, k)
    assert theirs.objective == pytest.approx(ours.objective, rel=1e-7)
    np.testing.assert_allclose(
        theirs.contributions, ours.contributions, atol=1e-3 * max(ours.contributions.max(), 1e-6)
    )


@given(pools(), st.integers(1, 4))
@few
def test_scenarios_of_probability_zero_change_nothing(pool, more):
    losses, p, k = pool
    extra = np.full((more, losses.shape[1]), 50.0 * losses.max())
    ours, theirs = solved(*pool), solved(np.vstack([losses, extra]), np.append(p, np.zeros(more)), k)
    assert theirs.objective == pytest.approx(ours.objective, rel=1e-7)


@given(pools(members=(2, 4), segments=(1, 1)), bands)
@few
def test_a_twin_pays_what_its_twin_pays(pool, band):
    losses, p, k = pool
    twins = np.column_stack([losses[:, 0], losses])  # identical in every scenario
    paid = solved(twins, p, k, rules=[fairness.ActuarialFairness(band)]).contributions.to_numpy()
    assert paid[0] == pytest.approx(paid[1], rel=1e-4, abs=1e-6 * max(paid.max(), 1e-9))


@given(st.integers(2, 4), st.integers(0, 10**6))
@few
def test_exchangeable_members_pay_the_same(n, seed):
    """Every permutation of each scenario is in the set: not identical, but exchangeable."""
    rng = np.random.default_rng(seed)
    base = rng.lognormal(0, 1.5, (4, n)) * (rng.random((4, n)) < 0.7)
    losses = np.vstack([np.roll(base, shift, axis=1) for shift in range(n)])
    if not losses.any():
        return
    paid = solved(losses, np.full(len(losses), 1 / len(losses)), 1).contributions.to_numpy()
    np.testing.assert_allclose(paid, paid.mean(), rtol=1e-4, atol=1e-6 * losses.max())


@given(pools(members=(2, 5)), levels, st.sampled_from([0.0, 0.05, 0.3]), st.sampled_from([0.4, 1.0, 5.0]))
@few
def test_a_tighter_rule_never_makes_it_cheaper(pool, level, tight, loose):
    at = {"level": level}
    tighter = solved(*pool, **at, rules=[fairness.ActuarialFairness(tight)]).objective
    looser = solved(*pool, **at, rules=[fairness.ActuarialFairness(loose)]).objective
    free = solved(*pool, **at).objective
    assert tighter >= looser * (1 - 1e-7) >= free * (1 - 2e-7)


@given(pools(), levels, levels)
@few
def test_a_higher_level_never_makes_it_cheaper(pool, one, other):
    low, high = sorted((one, other))
    assert solved(*pool, level=high).objective >= solved(*pool, level=low).objective * (1 - 1e-7)


@given(pools(), st.sampled_from([0.2, 0.6, 0.95]))
@few
def test_collateral_that_falls_never_makes_it_cheaper(pool, worth):
    losses, p, k = pool
    collateral = np.full((len(p), losses.shape[1] // k), worth)
    cash = solved(*pool).objective
    assert solved(losses, p, k, collateral=collateral).objective >= cash * (1 - 1e-7)
    assert solved(losses, p, k, collateral=np.ones_like(collateral)).objective == pytest.approx(cash, rel=1e-7)


@given(pools(members=(2, 4), segments=(1, 1)))
@few
def test_a_reference_that_is_optimal_is_the_answer(pool):
    """The tie rule: the previous plan, if still optimal, stays."""
    problem = stated(*pool)
    first = problem.solve(tolerance=PRECISE)
    again = PoolProblem(
        problem.program.pool.scenarios,
        problem.program.waterfall,
        [CostOfCapital(0.05, 0.11), 0.3 * CVaR(0.8, of="mutualised"), 0.15 * CVaR(0.8)],
        reference=first,
    ).solve(tolerance=PRECISE)
    scale = max(first.contributions.max(), 1e-6)
    np.testing.assert_allclose(again.contributions, first.contributions, atol=1e-3 * scale)
    np.testing.assert_allclose(again.reserves, first.reserves, atol=1e-3 * scale)


@pytest.mark.parametrize("seed", range(6))
def test_rules_without_room_are_solved_as_the_equalities_that_they_are(seed):
    """Equal contributions said by a cone or a cap, one loading said by a ratio or a Gini index."""
    rng = np.random.default_rng(seed)
    pool = Scenarios(rng.pareto(1.5, (30, 5)) * 10 * (rng.random((30, 5)) < 0.6))
    terms = [CostOfCapital(0.0001, 0.05), 0.3 * CVaR(0.95, of="mutualised")]
    equal, alike = fairness.Solidarity(1.0, 0.0), fairness.ActuarialFairness(0.0)
    for rule, same in (
        (fairness.ConcentrationLimit(1 / 5), equal),
        (fairness.ShareCap(1 / 5), equal),
        (fairness.LoadingRatio(1.0), alike),
        (fairness.GiniLimit(0.0), alike),
    ):
        one, other = (PoolProblem(pool, Waterfall(), terms, each).solve() for each in (rule, same))
        assert one.objective == pytest.approx(other.objective, rel=1e-6)
        np.testing.assert_allclose(one.weights, other.weights, rtol=1e-6)
