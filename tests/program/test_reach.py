"""How large a better plan may be: never less than the largest that costs and rules allow, found by linear programs."""

import numpy as np
import pytest
from scipy.optimize import linprog

from calibrate.program.cones import Cone
from calibrate.program.standard_form import Body


def body_of(rng, n, rows, free):
    """Rules with and without room of their own; the last `free` variables are those of rules, of either sign."""
    G = rng.normal(size=(rows, n)) * (rng.random((rows, n)) < 0.6)
    G[:, -free:] = np.abs(G[:, -free:]) * rng.choice([-1.0, 1.0], (rows, free))
    q = np.append(10.0 ** rng.uniform(-9, 1, n - free), np.zeros(free))
    h, E = np.abs(rng.normal(size=rows)), rng.normal(size=(1, n)) * np.append(np.ones(n - free), np.zeros(free))
    return Body(q, np.zeros(n), G, h, Cone(rows), E, np.zeros(1), np.arange(n - free))


@pytest.mark.parametrize("seed", range(20))
def test_no_plan_that_keeps_the_rules_and_costs_no_more_reaches_farther(seed):
    rng, n, free = np.random.default_rng(seed), 7, 2
    body, value = body_of(rng, n, 5, free), 3.0
    reach = body.reach(np.ones(n), value)
    within = [(0.0, None)] * (n - free) + [(-far, far) for far in reach[-free:]]
    for j in range(n - free):
        aim = -np.eye(n)[j]
        rules, amounts = np.vstack([body.G, body.q]), np.append(body.h, value)
        most = linprog(aim, rules, amounts, body.E, body.f, bounds=within, method="highs-ds")
        assert most.status == 0
        assert -most.fun <= reach[j] * (1 + 1e-9)


@pytest.mark.parametrize("equal", [0, 1])
def test_a_dwarf_beside_a_giant_is_limited_by_the_rule_that_ties_them(equal):
    """Costs allow the dwarf 1e12 of its entries; the band allows it its share, twice."""
    row = np.array([[1.0, -2.0]])  # v_0 <= 2 v_1, or = 2 v_1
    G, E = row[equal:], row[:equal]
    body = Body(
        np.array([1e-12, 1.0]), np.zeros(2), G, np.zeros(len(G)), Cone(len(G)), E, np.zeros(len(E)), np.arange(2)
    )
    np.testing.assert_allclose(body.reach(np.ones(2), 3.0), [6.0, 3.0])
    assert body.short(np.array([-1e-9, 0.0]), np.ones(2), 3.0) == pytest.approx(6e-9)


@pytest.mark.parametrize("seed", range(20))
def test_what_a_bound_falls_short_is_the_least_over_the_plans_that_may_be_better(seed):
    """A linear program: every decision within its reach, all of them together for no more than the value."""
    rng, n = np.random.default_rng(seed), 12
    q = rng.random(n) * (rng.random(n) < 0.8)
    body = Body(q, np.zeros(n), np.zeros((0, n)), np.zeros(0), Cone(0), np.zeros((0, n)), np.zeros(0), np.arange(n))
    v, value, slope = rng.random(n), 10 ** rng.uniform(-2, 2), rng.normal(size=n)
    reach = body.reach(v, value)
    found = linprog(slope, q[None], [value], bounds=[(0.0, far) for far in reach])
    assert found.status == 0
    assert body.short(slope, v, value) == pytest.approx(-found.fun, rel=1e-9)
