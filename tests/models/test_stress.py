"""Bent probabilities against closed forms, and stress scenarios."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.optimize import minimize

from calibrate import Scenarios
from calibrate.errors import DataError, ModelError
from calibrate.models.stress import Expectation, effective_scenarios, entropy_pooled, with_stress

GRID = np.linspace(-9, 9, 3601)
NORMAL = Scenarios(GRID[:, None] + 9, probabilities=stats.norm.pdf(GRID) / stats.norm.pdf(GRID).sum())


def law(mean, deviation):
    density = stats.norm(mean, deviation).pdf(GRID)
    return density / density.sum()


def test_a_view_on_the_mean_of_a_normal_law_shifts_it():
    pooled = entropy_pooled(NORMAL, [Expectation(GRID, 1.3)])
    np.testing.assert_allclose(pooled.probabilities, law(1.3, 1.0), atol=1e-12)
    divergence = pooled.probabilities @ np.log(pooled.probabilities / NORMAL.probabilities)
    assert divergence == pytest.approx(1.3**2 / 2, rel=1e-8)


def test_views_on_two_moments_give_the_normal_law_that_has_them():
    views = [Expectation(GRID, 0.5), Expectation(GRID**2, 0.25 + 0.7**2)]
    np.testing.assert_allclose(entropy_pooled(NORMAL, views).probabilities, law(0.5, 0.7), atol=1e-11)


def test_an_exponential_law_keeps_its_kind():
    """Mean 1 becomes 2: the exponential law of mean 2 has the least entropy relative to that of mean 1."""
    x = np.linspace(0.005, 60, 6000)
    q = np.exp(-x) / np.exp(-x).sum()
    pooled = entropy_pooled(Scenarios(x[:, None], probabilities=q), [Expectation(x, 2.0)])
    tilted = np.log(pooled.probabilities[:4000])
    np.testing.assert_allclose(np.diff(tilted) / np.diff(x[:4000]), -0.5, atol=2e-4)


def test_a_view_on_an_event_scales_both_sides():
    rng = np.random.default_rng(0)
    pool = Scenarios(rng.exponential(1, (500, 2)), probabilities=(w := rng.random(500)) / w.sum(), currency="EUR")
    event = pool.losses[:, 0] > 2
    pooled = entropy_pooled(pool, [Expectation(event, 0.4, "a large loss of member 1")])
    before = pool.probabilities[event].sum()
    exact = np.where(event, pool.probabilities * 0.4 / before, pool.probabilities * 0.6 / (1 - before))
    np.testing.assert_allclose(pooled.probabilities, exact, rtol=1e-8)
    assert pooled.currency == "EUR"
    assert pooled.losses is pool.losses


def test_several_views_against_a_general_solver():
    rng = np.random.default_rng(1)
    pool = Scenarios(rng.exponential(1, (40, 3)))
    views = [Expectation(pool.losses[:, 0], 1.5), Expectation(pool.losses[:, 1] > 1, 0.5)]
    pooled = entropy_pooled(pool, views)
    table = np.array([view.values for view in views], dtype=float)
    constraints = [
        {"type": "eq", "fun": lambda p: p.sum() - 1},
        {"type": "eq", "fun": lambda p: table @ p - np.array([1.5, 0.5])},
    ]
    found = minimize(
        lambda p: p @ np.log(p * 40), np.full(40, 1 / 40), bounds=[(1e-12, 1)] * 40, constraints=constraints, tol=1e-12
    )
    np.testing.assert_allclose(pooled.probabilities, found.x, atol=1e-5)
    assert 1 < effective_scenarios(pooled) < 40


@pytest.mark.parametrize("unit", [1e-18, 1e24])
def test_units(unit):
    rng = np.random.default_rng(2)
    losses = rng.exponential(1, (300, 1))
    one = entropy_pooled(Scenarios(losses), [Expectation(losses[:, 0], 1.7)])
    other = entropy_pooled(Scenarios(losses * unit), [Expectation(losses[:, 0] * unit, 1.7 * unit)])
    np.testing.assert_allclose(other.probabilities, one.probabilities, rtol=1e-8)


def test_views_that_cannot_be():
    pool = Scenarios([[0.0], [1.0], [2.0]])
    x = pool.losses[:, 0]
    with pytest.raises(ModelError, match="loss of A: the mean cannot be 3, the values lie between 0 and 2; draw more"):
        entropy_pooled(pool, [Expectation(x, 3.0, "loss of A")])
    with pytest.raises(ModelError, match=r"the views contradict each other .*: .* is .* at best, expected"):
        entropy_pooled(pool, [Expectation(x, 0.5, "low"), Expectation(x, 1.5, "high")])
    with pytest.raises(
        DataError, match=r"a view: values of shape \(2,\) and amount 1.0, expected a finite number for each of 3"
    ):
        entropy_pooled(pool, [Expectation([0.0, 1.0], 1.0)])
    assert entropy_pooled(pool, []).probabilities.tolist() == pool.probabilities.tolist()


def test_stress_scenarios():
    pool = Scenarios([[1.0, 2.0], [3.0, 4.0]], probabilities=[0.25, 0.75], collateral=[[1.0, 0.5], [0.2, 1.0]])
    hit = with_stress(pool, [[100.0, 0.0], [0.0, 50.0]], 0.2)
    np.testing.assert_allclose(hit.probabilities, [0.2, 0.6, 0.1, 0.1])
    np.testing.assert_allclose(hit.expected_losses, 0.8 * pool.expected_losses + 0.1 * np.array([100.0, 50.0]))
    assert hit.collateral[2:].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(DataError, match=r"stress losses have shape \(1, 3\), expected \(scenarios, 2\)"):
        with_stress(pool, [1.0, 2.0, 3.0], 0.1)
    with pytest.raises(ModelError, match=r"the stress scenarios have probability 1.0, expected a number in \[0, 1\)"):
        with_stress(pool, [[1.0, 2.0]], 1.0)


def test_stress_losses_stand_under_the_names_of_their_members():
    pool = Scenarios([[1.0, 2.0, 3.0]], members=["A", 2, "C"])
    turned = pd.DataFrame([[300.0, 200.0, 100.0]], columns=["C", 2, "A"])
    for given in (turned, turned.loc[0], [100.0, 200.0, 300.0], pd.DataFrame([[100.0, 200.0, 300.0]])):
        assert with_stress(pool, given, 0.5).losses[-1].tolist() == [100.0, 200.0, 300.0]
    cells = Scenarios([[1.0, 2.0]], members=[7], segments=["fire", "flood"])
    given = pd.DataFrame([[20.0, 10.0]], columns=pd.MultiIndex.from_tuples([(7, "flood"), (7, "fire")]))
    assert with_stress(cells, given, 0.5).losses[-1].tolist() == [10.0, 20.0]
    with pytest.raises(DataError, match="stress losses: the columns name unknown 'B', leave out 'A'"):
        with_stress(pool, turned.rename(columns={"A": "B"}), 0.5)


def test_labelled_values_of_a_view_are_refused():
    pool = Scenarios(pd.DataFrame({"A": [0.0, 1.0, 2.0]}, index=list("xyz")))
    with pytest.raises(DataError, match="a view: values are labelled, 'z' first, and scenarios have no labels"):
        entropy_pooled(pool, [Expectation(pd.Series([2.0, 1.0, 0.0], index=list("zyx")), 1.5)])
    pooled = entropy_pooled(pool, [Expectation(pool.to_frame()["A"], 1.5)])
    assert pooled.expected_losses["A"] == pytest.approx(1.5)
