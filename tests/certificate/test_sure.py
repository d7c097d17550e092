"""What floating point is sure of needs no exact arithmetic: never where exact arithmetic would say otherwise."""

from fractions import Fraction

import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.certificate import verifier
from calibrate.program import CostOfCapital, CVaR, OwnContribution, PoolProblem, Waterfall
from calibrate.program.compiled import compiled
from calibrate.program.statement import statement
from calibrate.program.sure import doubtful, keeps_however_rounded, published_decimals

from .conftest import pareto


def exact(blocks, published, decimals, scale=0.0):
    """What the verifier says of rows on integers."""
    body = {"costs": [0] * len(published), "auxiliary": 0, "decimals": decimals, "scale": Fraction(scale), "limits": []}
    body["blocks"] = [
        [name, kind, [([[j, Fraction(a)] for j, a in row], Fraction(amount)) for row, amount in rows]]
        for name, kind, rows in blocks
    ]
    try:
        verifier.feasible(body, [n * verifier.FINER for n in published])
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("seed", range(20))
def test_a_row_that_is_left_out_holds(seed):
    rng = np.random.default_rng(seed)
    decimals = int(rng.integers(0, 6))
    published = [int(n) for n in rng.integers(0, 10 ** int(rng.integers(2, 12)), 5)]
    money = [Fraction(n, 10**decimals) for n in published]
    blocks = []
    for _ in range(60):
        values = rng.normal(size=5) * 10.0 ** rng.integers(-3, 3)
        edge = sum(Fraction(a) * x for a, x in zip(values.tolist(), money, strict=True))
        entry = Fraction(np.abs(values).sum()) / 10**decimals
        near = edge + entry * Fraction(rng.choice([-3.0, -1.0 - 1e-9, -1.0, -1.0 + 1e-9, -0.5, 0.0, 1.0]))
        blocks.append(["rule", "at_most", [([[j, a] for j, a in enumerate(values.tolist())], float(near))]])
    kept = doubtful(blocks, published, decimals)
    for block in blocks:
        if block not in kept:
            assert exact([block], published, decimals)
    assert any(block not in kept for block in blocks)
    assert all(block in kept for block in blocks if not exact([block], published, decimals))


def test_cones_equalities_and_auxiliary_variables_are_always_asked():
    row = ([[0, -1.0]], 1.0)
    other = ([[3, -1.0]], 1.0)  # there are two decisions
    blocks = [["a", "equal", [row]], ["b", "cone", [row, row]], ["c", "at_most", [other]], ["d", "at_most", [row]]]
    assert [block[0] for block in doubtful(blocks, [5, 5], 2)] == ["a", "b", "c"]
    vast = [["e", "at_most", [([[0, 1e308], [1, 1e308]], 1e308)]]]
    assert doubtful(vast, [10**9, 10**9], 0) == vast  # out of range: nothing is sure


@pytest.mark.parametrize("seed", range(15))
def test_integers_within_a_unit_keep_what_is_said_to_be_kept(seed):
    rng = np.random.default_rng(seed)
    scenarios = Scenarios(pareto(400, 6, seed))
    terms = [CostOfCapital(0.02, 0.05), 1.0 * CVaR(0.9, of="mutualised")]
    rules = [fairness.ActuarialFairness(0.3), fairness.ShareCap(0.5)]
    program = PoolProblem(scenarios, Waterfall((OwnContribution(),)), terms, rules).program.ordered
    form = compiled(program)
    share = program.pool.expected_losses / program.pool.expected_losses.sum()
    blocks = statement(program, form)["blocks"]
    surely = 0
    for spread in (0.0, 0.1, 0.4, 0.8):
        decisions = rng.uniform(0.5, 5.0) * share * rng.uniform(1 - spread, 1 + spread, 6)
        decimals = published_decimals(program, decisions)
        whole = np.floor(decisions * 10.0**decimals)
        if keeps_however_rounded(program, form, decisions):
            surely += 1
            assert all(
                exact(blocks, [int(n) for n in whole + rng.integers(0, 2, 6)], decimals, program.unit)
                for _ in range(20)
            )
    assert surely  # shares as they are keep both rules
    missed = 2.0 * share * np.where(np.arange(6) == 0, 3.0, 0.6)  # the first pays far more than its share
    assert not keeps_however_rounded(program, form, missed)


def test_rules_with_auxiliary_variables_are_not_sure():
    scenarios = Scenarios(pareto(200, 4))
    rules = [fairness.GiniLimit(0.3)]
    program = PoolProblem(scenarios, Waterfall(), [CostOfCapital(0.02, 0.05)], rules).program.ordered
    assert not keeps_however_rounded(program, compiled(program), np.ones(program.size))


def test_a_unit_is_a_trillionth_of_the_least_that_anybody_pays():
    program = PoolProblem(Scenarios(pareto(200, 2)), Waterfall(), [CostOfCapital(0.02, 0.05)]).program.ordered
    assert published_decimals(program, np.array([9.0, 1.0, 0.0])) == 12
    assert published_decimals(program, np.array([9.0, 0.0999, 0.0])) == 14
    assert published_decimals(program, np.array([9e12, 0.0, 1e15])) == 2
    assert published_decimals(program, np.array([1e-300, 0.0, 1.0])) == 312
