"""CVaR and value at risk of weighted samples, against a sort and a minimisation that share no code with the package."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.errors import ProblemError
from calibrate.program.tail import check_level, cvar, tail_weights, value_at_risk


def sorted_cvar(values, weights, level):
    """Mean of the worst `1 - level`, in fractions: fill the tail from the top, the last scenario in part."""
    room = left = 1 - Fraction(level)
    total = Fraction(0)
    for value, weight in sorted(zip(values, weights, strict=True), key=lambda pair: -pair[0]):
        taken = min(left, Fraction(weight))
        total += taken * Fraction(value)
        left -= taken
    return total / room


def minimised_cvar(values, weights, level):
    """Rockafellar and Uryasev 2000: `min_t t + E[(Y - t)+] / (1 - level)`; some value of Y is a minimiser."""
    return min(t + np.dot(weights, np.maximum(values - t, 0)) / (1 - level) for t in values)


weighted_samples = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 6), min_size=n, max_size=n),  # few distinct values: ties are the rule
        st.lists(st.integers(0, 5), min_size=n, max_size=n).filter(any),
    )
)
levels = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999])


def as_arrays(sample):
    values, counts = sample
    return np.array(values, dtype=float), np.array(counts, dtype=float) / sum(counts)


def test_the_textbook_value():
    assert cvar(np.arange(5.0), np.full(5, 0.2), 0.75) == pytest.approx(3.8, abs=1e-14)


def test_a_fractional_tail_takes_part_of_a_scenario():
    # worst 30 %: all of 10 (20 %), and 10 points of the 20 % at 5
    assert cvar(np.array([0.0, 1, 2, 5, 10]), np.full(5, 0.2), 0.7) == pytest.approx(
        (0.2 * 10 + 0.1 * 5) / 0.3, abs=1e-13
    )


@given(weighted_samples, levels)
@settings(max_examples=300, deadline=None)
def test_weighted_and_tied_samples_against_a_sort_in_fractions(sample, level):
    values, p = as_arrays(sample)
    exact = sorted_cvar(values.tolist(), [Fraction(k, sum(sample[1])) for k in sample[1]], level)
    assert cvar(values, p, level) == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


@given(weighted_samples, levels)
@settings(max_examples=200, deadline=None)
def test_rockafellar_and_uryasev(sample, level):
    values, p = as_arrays(sample)
    assert cvar(values, p, level) == pytest.approx(minimised_cvar(values, p, level), rel=1e-12, abs=1e-12)


@given(weighted_samples, levels)
@settings(max_examples=200, deadline=None)
def test_tail_weights_are_a_density_of_the_tail_that_attains_the_cvar(sample, level):
    values, p = as_arrays(sample)
    q = tail_weights(values, p, level)
    assert q.sum() == pytest.approx(1, abs=1e-12)
    assert (q >= 0).all() and (q <= p / (1 - level) + 1e-12).all()
    assert q @ values == pytest.approx(cvar(values, p, level), rel=1e-12, abs=1e-12)


@given(weighted_samples, levels, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_scenarios_does_not_matter(sample, level, random):
    values, p = as_arrays(sample)
    order = list(range(len(values)))
    random.shuffle(order)
    np.testing.assert_allclose(
        tail_weights(values[order], p[order], level), tail_weights(values, p, level)[order], rtol=0, atol=1e-13
    )


@pytest.mark.parametrize(
    ("level", "expected"), [(0.0, 0.0), (0.2, 1.0), (0.5, 2.0), (0.75, 3.0), (0.8, 4.0), (0.9, 4.0), (0.999, 4.0)]
)
def test_value_at_risk_is_a_quantile(level, expected):
    edge = value_at_risk(np.arange(5.0), np.full(5, 0.2), level)
    # where 1 - level is a whole number of scenarios, every point between two of them is a quantile
    assert edge in ({expected, max(expected - 1, 0.0)} if (level * 5).is_integer() else {expected})


@pytest.mark.parametrize("n", [10, 100, 1000])
@pytest.mark.parametrize("level", [0.9, 0.7, 0.1])
def test_rounding_of_cumulated_probabilities_does_not_move_the_tail(n, level):
    values = np.arange(n, dtype=float)
    k = round(n * (1 - level))
    assert cvar(values, np.full(n, 1 / n), level) == pytest.approx(values[-k:].mean(), rel=1e-12)


def test_scenarios_of_probability_zero_do_not_exist():
    values, p = np.array([1.0, 2.0, 1e9]), np.array([0.5, 0.5, 0.0])
    assert value_at_risk(values, p, 0.99) == 2.0
    assert cvar(values, p, 0.99) == 2.0
    assert tail_weights(values, p, 0.99)[2] == 0.0


def test_one_scenario_and_constants():
    assert cvar(np.array([3.0]), np.array([1.0]), 0.99) == 3.0
    assert cvar(np.full(7, 2.5), np.full(7, 1 / 7), 0.9) == pytest.approx(2.5, rel=1e-15)


def test_level_zero_is_the_mean():
    rng = np.random.default_rng(0)
    values, p = rng.lognormal(0, 2, 50), rng.dirichlet(np.ones(50))
    assert cvar(values, p, 0.0) == pytest.approx(p @ values, rel=1e-13)


@pytest.mark.parametrize("power", [-60, 80])
def test_powers_of_two_are_exact(power):
    rng = np.random.default_rng(1)
    values, p = rng.lognormal(0, 2, 50), rng.dirichlet(np.ones(50))
    assert cvar(values * 2.0**power, p, 0.93) == cvar(values, p, 0.93) * 2.0**power


@pytest.mark.parametrize("level", [1.0, -0.01, 1.5, float("nan"), float("inf"), "0.99", None])
def test_a_level_outside_its_range_is_refused_in_words(level):
    with pytest.raises(ProblemError, match=r"expected a probability with 0 <= level < 1, such as 0\.99"):
        check_level(level)
