"""What is planted on guesses lies below the risk at every plan, and meets it where the guesses are right."""

import warnings

import numpy as np
import pytest

from calibrate import Scenarios
from calibrate.program import CVaR, OwnContribution, PoolProblem, PoolReserve, SegmentReserve, Waterfall
from calibrate.program.neighbourhood import Neighbourhood
from calibrate.program.planting import Guess, plant
from calibrate.program.sample import Sample

LEVEL = 0.8
LAYERS = {
    "own": (OwnContribution(),),
    "own, pool": (OwnContribution(), PoolReserve()),
    "own, segment": (OwnContribution(), SegmentReserve()),
}


def pool(rng, segments, collateral, atoms=False):
    losses = rng.pareto(1.5, (60, 4 * segments)) * (rng.random((60, 4 * segments)) < 0.5)
    losses = np.minimum(np.ceil(losses), 2.0) if atoms else losses
    columns = None if segments == 1 else [f"g{g}" for g in range(segments)]
    worth = rng.uniform(0.3, 1.0, (60, 4)) if collateral else None
    p = rng.uniform(0.5, 1.5, 60)
    return Scenarios(losses, segments=columns, probabilities=p / p.sum(), collateral=worth)


def together(forest, y):
    """What hangs on the roots is one coordinate."""
    kept = forest.n_coordinates - 1
    return np.append(y[:kept], y[kept:].sum())


def planted(grove, y):
    """Its value where cells, segments, pool and `t` are `y`, kink by kink."""
    forest = grove.forest
    y = together(forest, y)
    total = grove.constant - grove.line @ y
    for s in range(len(forest.weight)):
        level = -forest.hung[s] * y[-1]
        for g in range(forest.groups_of[s], forest.groups_of[s + 1]):
            inner = forest.base[g] - (y[forest.segment[g]] if forest.segment[g] >= 0 else 0.0)
            for i in range(forest.leaves_of[g], forest.leaves_of[g + 1]):
                inner += max(forest.loss[i] - forest.worth[i] * y[forest.cell[i]], 0.0)
            for j in range(forest.lines_of[g], forest.lines_of[g + 1]):
                inner -= forest.line_worth[j] * y[forest.line_cell[j]]
            level += max(inner, 0.0) if forest.group_kinks else inner
        total += forest.weight[s] * max(level, 0.0)
    return total


def formula(scenarios, own, segment, reserve, t):
    """`sum p (U - t)+ / (1 - level)` by the design's formulas."""
    k = len(scenarios.segments)
    worth = 1.0 if scenarios.collateral is None else np.repeat(scenarios.collateral, k, axis=1)
    e = np.maximum(scenarios.losses - worth * own, 0.0).reshape(len(scenarios), -1, k).sum(axis=1)
    left = np.maximum(np.maximum(e - segment, 0.0).sum(axis=1) - reserve - t, 0.0)
    return left, float(scenarios.probabilities @ left) / (1 - LEVEL)


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("segments", [1, 2])
@pytest.mark.parametrize("collateral", [False, True])
@pytest.mark.parametrize("atoms", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_guesses_never_lie_above(layers, segments, collateral, atoms, seed):
    rng = np.random.default_rng(seed)
    scenarios = pool(rng, segments, collateral, atoms)
    term = CVaR(LEVEL, of="mutualised")
    program = PoolProblem(scenarios, Waterfall(LAYERS[layers]), term).program
    cells, k, unit = program.n_cells, segments, program.unit
    own, reserve, t = rng.uniform(0.1, 1.0, cells), rng.uniform(0.0, 0.5), rng.uniform(0.0, 0.5)
    segment = rng.uniform(0.0, 0.5, k) if layers == "own, segment" else np.zeros(k)
    reserve = reserve if layers == "own, pool" else 0.0
    left, here = formula(scenarios, own, segment, reserve, t)
    sure = np.flatnonzero(left > np.quantile(left, 0.9))
    guess = Guess(0.7 * own / unit, own / unit / 0.7, sure)
    grove = plant(program, Sample.every(program, 1), term, np.arange(len(scenarios)), guess)
    assert planted(grove, np.concatenate([own, segment, [reserve, t]]) / unit) * unit == pytest.approx(here, rel=1e-12)
    if k == 1:
        assert grove.mass == pytest.approx(scenarios.probabilities[sure].sum() / (1 - LEVEL), rel=1e-12)
    strictly = 0
    for _ in range(40):
        x = [one * rng.uniform(0.0, 3.0, np.shape(one)) for one in (own, segment, reserve, t)]
        below, value = (
            planted(grove, np.concatenate([x[0], x[1], [x[2], x[3]]]) / unit) * unit,
            formula(scenarios, *x)[1],
        )
        assert below <= value + 1e-12 * (1 + abs(value))
        strictly += below < value - 1e-6
    assert strictly  # the guesses are wrong somewhere: else nothing was guessed


def test_a_guess_that_a_plan_contradicts_is_given_up():
    around = Neighbourhood(own_rate=np.ones(2), scale=np.ones(3))
    assert around.open
    assert np.isinf(around.exceeded).all()
    around.settle(np.array([4.0, 0.0, 3.0]), 0.6)
    assert around.covered == pytest.approx([0.6 * 4.0, 0.0])
    assert around.exceeded == pytest.approx([4.0 / 0.6, 0.01 / 0.6])
    term = CVaR(LEVEL)
    around.see(np.array([4.0, 0.001, 3.5]), {term: np.array([1, 2, 3])})
    assert around.covered == pytest.approx([0.6 * 4.0, 0.0])
    assert around.sure(term).tolist() == [1, 2, 3]
    around.see(np.array([2.0, 0.001, 3.5]), {term: np.array([2, 3, 4])})  # the first pays less than was covered
    assert around.covered.tolist() == [0.0, 0.0]
    assert np.isfinite(around.exceeded).all()
    assert around.sure(term).tolist() == [2, 3]
    around.see(np.array([4.0, 0.0166, 4.9]), {term: np.array([2, 3, 4])})  # the second, the reserve: all they may
    assert np.isfinite(around.exceeded).tolist() == [True, False]
    assert around.sure(term).tolist() == []


def test_collateral_worth_nothing_where_nothing_is_known():
    """Zero times no limit: neither a warning nor a line."""
    scenarios = Scenarios([[1.0, 2.0], [3.0, 0.0]], collateral=[[0.0, 1.0], [0.5, 1.0]])
    term = CVaR(0.5, of="mutualised")
    program = PoolProblem(scenarios, Waterfall(), term).program
    guess = Guess(np.zeros(2), np.full(2, np.inf), np.zeros(0, dtype=np.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grove = plant(program, Sample.every(program, 1), term, np.arange(2), guess)
    assert len(grove.forest.cell) == 3
    assert len(grove.forest.line_cell) == 0


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("of", ["mutualised", "shortfall"])
def test_a_forest_knows_its_risk(layers, of):
    rng = np.random.default_rng(6)
    scenarios = pool(rng, 2, False)
    program = PoolProblem(scenarios, Waterfall(LAYERS[layers]), CVaR(LEVEL, of=of)).program
    guess = Guess(np.full(8, 0.2), np.full(8, 0.8), np.arange(0))
    grove = plant(program, Sample.every(program, 1), CVaR(LEVEL, of=of), np.arange(60), guess)
    for _ in range(20):
        y = rng.uniform(0.0, 1.0, grove.forest.n_coordinates)
        told = grove.forest.risk(y) + grove.constant - grove.line @ y
        assert told == pytest.approx(planted(grove, y), rel=1e-12)


def test_equal_scenarios_are_one_tree():
    rng = np.random.default_rng(7)
    kinds = np.array([[1.0, 0.0, 3.0], [0.0, 2.0, 0.0], [1.0, 2.0, 0.0], [5.0, 0.0, 0.0]])
    losses = kinds[rng.integers(4, size=400)]
    p = rng.uniform(0.5, 1.5, 400)
    scenarios = Scenarios(losses, probabilities=p / p.sum())
    term = CVaR(LEVEL, of="mutualised")
    program = PoolProblem(scenarios, Waterfall((OwnContribution(),)), term).program
    unit, sure = program.unit, np.flatnonzero(losses[:, 0] == 5.0)[:20]
    guess = Guess(np.zeros(3), np.full(3, 2.5) / unit, sure)
    grove = plant(program, Sample.every(program, 1), term, np.arange(400), guess)
    assert len(grove.forest.weight) == 4  # what is surely in the tail has no loss that is a kink
    for k, kind in enumerate(kinds):
        ours = np.flatnonzero((losses[grove.planted.scenario] == kind).all(axis=1))
        tree = np.unique(grove.planted.tree[ours])
        assert len(tree) == 1
        mass = p[np.setdiff1d(np.flatnonzero((losses == kind).all(axis=1)), sure)].sum() / p.sum() / (1 - LEVEL)
        assert grove.forest.weight[tree[0]] == pytest.approx(mass, rel=1e-12), k
    for _ in range(20):
        own, t = rng.uniform(0.0, 2.5, 3), rng.uniform(0.0, 4.0)
        left = np.maximum(losses - own, 0.0).sum(axis=1) - t
        left[np.setdiff1d(np.arange(400), sure)] = np.maximum(left, 0.0)[np.setdiff1d(np.arange(400), sure)]
        here = float(scenarios.probabilities @ left) / (1 - LEVEL)
        assert planted(grove, np.concatenate([own, [0.0, 0.0, t]]) / unit) * unit == pytest.approx(here, rel=1e-12)
