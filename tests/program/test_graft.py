"""Trees that two programs share keep their state; new ones start on the central path; the answer is the same."""

import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.program import (
    CostOfCapital,
    CVaR,
    OwnContribution,
    PoolProblem,
    PoolReserve,
    SegmentReserve,
    Waterfall,
    tie,
)
from calibrate.program.forest import Step
from calibrate.program.graft import grafted
from calibrate.program.planting import Guess, plant
from calibrate.program.sample import Sample
from calibrate.program.standard_form import Point, Tail
from calibrate.program.working_set import solve_by_tail

TERM = CVaR(0.8, of="mutualised")


@pytest.mark.parametrize("layers", [(OwnContribution(), PoolReserve()), (OwnContribution(), SegmentReserve())])
@pytest.mark.parametrize("atoms", [False, True])
def test_shared_trees_keep_their_state(layers, atoms):
    rng = np.random.default_rng(1)
    losses = rng.pareto(1.5, (40, 6)) * (rng.random((40, 6)) < 0.5)
    losses = np.minimum(np.ceil(losses), 3.0) if atoms else losses
    program = PoolProblem(Scenarios(losses, segments=["g", "h"]), Waterfall(layers), TERM).program
    guess = Guess(np.full(6, 0.1), np.full(6, 1.0), np.arange(0))
    few, more = np.arange(0, 40, 2), np.arange(40)
    groves = [plant(program, Sample.every(program, 1), TERM, one, guess) for one in (few, more)]
    rows = groves[0].forest.n_coordinates
    M = np.vstack([np.eye(rows - 1, 10), np.eye(10)[9]])
    old, new = (Tail(grove, M, np.zeros(rows), 9, 1.0, 6) for grove in groves)
    step = Step.empty(old.forest)
    for state in step.state:
        state[:] = rng.uniform(1.0, 2.0, state.shape)
    nothing = np.zeros(0)
    point = Point(rng.uniform(0.1, 0.5, 10), *[nothing] * 5, 0, [step], mu=1e-4)
    (fresh,) = grafted(point, [old], [new], np.ones(1)).steps
    kept = 0
    for k, tree in enumerate(new.grove.planted.tree):
        root = fresh.state.root[tree]
        before = np.flatnonzero(few[old.grove.planted.scenario] == new.grove.planted.scenario[k])
        if before.size and np.array_equal(root, step.state.root[old.grove.planted.tree[before[0]]]):
            kept += 1
            continue
        assert root[0] * root[2] == pytest.approx(1e-4, rel=1e-9)  # slack times multiplier
        assert root[1] * root[3] == pytest.approx(1e-4, rel=1e-9)
    assert kept >= (15 if atoms else 20)  # equal ones are known by the first of them, which may be new
    assert np.isin(step.state.leaf, fresh.state.leaf).mean() > 0.7
    if new.forest.group_kinks:
        assert np.isin(step.state.group, fresh.state.group).mean() > 0.7


def problem(seed: int = 0) -> PoolProblem:
    rng = np.random.default_rng(seed)
    losses = rng.pareto(2.5, (10_000, 20)) * rng.uniform(0.5, 2, 20)
    losses *= rng.random((10_000, 20)) < 0.1
    terms = [CostOfCapital(0.02, 0.05), 1.0 * CVaR(0.99, of="mutualised")]
    return PoolProblem(Scenarios(losses), Waterfall((OwnContribution(),)), terms, [fairness.ActuarialFairness(0.5)])


def test_a_tie_that_saw_more_goes_on(monkeypatch):
    def steps(solution):
        told = [str(one) for one in solution.attempts if str(one).startswith("tie")]
        return [int(one.split(" after ")[1].split(" ")[0]) for one in told]

    program = problem(7).program
    ours = solve_by_tail(program, 1e-6)
    monkeypatch.setattr(tie, "_moved", lambda level, start, before: start)
    other = solve_by_tail(program, 1e-6)
    assert len(steps(ours)) > 1
    assert sum(steps(ours)) < sum(steps(other))
    assert ours.x == pytest.approx(other.x, rel=1e-5, abs=1e-9 * ours.x.max())


def test_a_tie_cut_off_is_no_answer(monkeypatch):
    """Where no price is decided, the optimal plan stays as it was before the tie, and no pass is spent."""
    monkeypatch.setattr(tie, "MOST_STEPS", 3)
    solution = solve_by_tail(problem().program, 1e-6)
    told = [str(one) for one in solution.attempts]
    ties = [one for one in told if one.startswith("tie")]
    assert len(ties) == tie.MOST_PRICES
    assert all("step limit" in one for one in ties)
    prices = [float(one.split("price ")[1].split(":")[0]) for one in ties]
    assert np.all(np.diff(prices) < 0)
    rounds = sum(one.startswith("round") for one in told)
    assert int(told[-1].rsplit(" ", 1)[1]) <= 1 + rounds
    monkeypatch.undo()
    assert solution.lower_bound == pytest.approx(solve_by_tail(problem().program, 1e-6).lower_bound, rel=1e-6)
