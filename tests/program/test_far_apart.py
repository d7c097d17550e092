"""Pools whose numbers lie far apart: refused once, for the digits that a solver or a proof lost on the way."""

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
)

OWN_AND_POOL = Waterfall((OwnContribution(), PoolReserve()))
TERMS = [CostOfCapital(0.02, 0.05), CVaR(0.99, of="mutualised")]


def steps(calibration):
    """Of the longest solve."""
    told = [one.split(" after ")[1] for one in calibration.provenance["attempts"] if " after " in one]
    return max(int(one.removesuffix(" steps")) for one in told)


# --- where the solver starts ----------------------------------------------------------------------------------------


def test_a_solve_that_begins_again_has_its_value_at_risk():
    """A tail of less than one scenario: the first round knows too little, and the second sets out from the start."""
    rng = np.random.default_rng(0)
    losses = rng.lognormal(0, 2, (300, 6)) * (rng.random((300, 6)) < 0.5)
    waterfall = Waterfall((OwnContribution(), SegmentReserve(), PoolReserve()))
    terms = [CostOfCapital(0.02, 0.05), 30 * CVaR(0.999999, of="mutualised")]
    rule = fairness.CoverK(np.full((1, 3), losses.max()), 1)
    calibration = PoolProblem(Scenarios(losses, segments=["x", "y"]), waterfall, terms, [rule]).solve()
    assert steps(calibration) < 60  # 190 without it


def test_scenarios_that_never_happen_are_left_out_and_change_nothing():
    rng = np.random.default_rng(0)
    losses, n = rng.pareto(2, (300, 4)), 50
    likely = np.where(np.arange(300) < n, 1 / n, 1e-160)
    with_them = PoolProblem(Scenarios(losses, probabilities=likely), OWN_AND_POOL, TERMS).solve()
    without = PoolProblem(Scenarios(losses[:n]), OWN_AND_POOL, TERMS).solve()
    assert "CLARABEL" not in " ".join(with_them.provenance["attempts"])
    assert with_them.objective == pytest.approx(without.objective, rel=2e-6)
