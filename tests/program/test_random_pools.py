"""Random pools of every awkward kind: a proven answer, or a refusal in words; never a crash, never a worse plan."""

import numpy as np
import pytest

from calibrate import Scenarios, fairness
from calibrate.errors import CalibrateError, ProblemError, RuleConflictError, SolverError
from calibrate.program import (
    CostOfCapital,
    CVaR,
    ExpectedLoss,
    OwnContribution,
    PoolProblem,
    PoolReserve,
    SegmentReserve,
    Waterfall,
)
from calibrate.program.extensive import Infeasible, solve_extensive


def losses_of(rng, n_scenarios, n_columns):
    shape = rng.choice(["pareto", "lognormal", "two-point", "grid", "capped"])
    if shape == "lognormal":
        losses = rng.lognormal(0, 2, (n_scenarios, n_columns))
    else:
        losses = rng.pareto(rng.choice([1.3, 2.5]), (n_scenarios, n_columns))
    losses = losses * rng.lognormal(0, 1, n_columns)
    if shape == "two-point":
        losses = np.ones_like(losses)
    if shape == "grid":
        losses = np.ceil(losses)
    if shape == "capped":
        losses = np.minimum(losses, 1.0)
    return losses * (rng.random(losses.shape) < rng.choice([0.02, 0.1, 0.5, 1.0]))


def pool_of(rng):
    members, segments = int(rng.choice([1, 2, 3, 5, 10, 20, 50])), int(rng.choice([1, 1, 1, 2, 3]))
    segments = segments if members < 50 else 1
    n = int(rng.choice([1, 2, 5, 20, 100, 500]))
    losses = losses_of(rng, n, members * segments)
    if members > 1 and rng.random() < 0.2:
        losses[:, segments : 2 * segments] = losses[:, :segments]  # a twin
    if rng.random() < 0.2:
        losses[:, :segments] = 0.0  # a member who never loses
    if rng.random() < 0.15:
        losses[:, -segments:] *= 1e6  # a whale
    losses = losses * 10.0 ** rng.integers(-18, 25)
    p = None if rng.random() < 0.6 else rng.dirichlet(np.full(n, rng.choice([0.1, 1.0])))
    collateral = rng.random((n, members)) if rng.random() < 0.1 else None
    return Scenarios(losses, segments=[f"g{k}" for k in range(segments)], probabilities=p, collateral=collateral)


def waterfall_of(rng, segments):
    layers = [OwnContribution()] if rng.random() < 0.8 else []
    if segments > 1 and rng.random() < 0.7:
        layers.append(SegmentReserve())
    if rng.random() < 0.7 or not layers:
        layers.append(PoolReserve())
    return Waterfall(tuple(layers))


def problem_of(seed):
    rng = np.random.default_rng(seed)
    pool = pool_of(rng)
    waterfall = waterfall_of(rng, len(pool.segments))
    kinds = ["shortfall", "mutualised"] if waterfall.defaulter_pays else ["shortfall"]
    size = float(pool.expected_losses.sum())
    terms = [CostOfCapital(rng.choice([0.02, 0.1, 0.3]).item(), rng.choice([0.05, 0.2, 0.5]).item())]
    terms.append(rng.choice([0.1, 1.0, 3.0]).item() * CVaR(rng.choice([0.5, 0.9, 0.99, 0.9999]), of=rng.choice(kinds)))
    more = [0.5 * ExpectedLoss(of=rng.choice(kinds)), 0.5 * CVaR(0.8, of=rng.choice(kinds))]
    terms += [term for term in more if rng.random() < 0.3]
    rules = [
        (0.6, fairness.ActuarialFairness(rng.choice([0.0, 0.1, 0.5, 2.0]).item())),
        (0.2, fairness.LoadingRatio(2.0)),
        (0.2, fairness.ShareCap(0.9)),
        (0.1, fairness.FundFloor(size)),
        (0.1, fairness.ConcentrationLimit(0.9)),
        (0.1, fairness.RiskMonotonicity(0.9)),
        (0.2, CVaR(0.9, of=rng.choice(kinds)) <= size * rng.choice([0.1, 1.0, 3.0]).item()),
    ]
    return pool, waterfall, terms, [rule for chance, rule in rules if rng.random() < chance]


def sits(seed):
    pool, waterfall, terms, rules = problem_of(seed)
    try:
        problem = PoolProblem(pool, waterfall, terms, rules)
        calibration = problem.solve()
    except (RuleConflictError, ProblemError) as refusal:
        assert "rule" in str(refusal) or "member" in str(refusal)
        return "refused"
    unit = problem.program.unit
    assert calibration.objective - calibration.lower_bound <= 1e-6 * max(calibration.objective, 1e-6 * unit)
    assert (calibration.contributions >= 0).all()
    assert (calibration.reserves >= 0).all()
    total = calibration.total
    assert (calibration.fairness["gap"] <= 1e-6 * max(total, unit)).all()
    try:
        written_out = solve_extensive(problem.program, 1e-6)
    except (CalibrateError, Infeasible):  # the reference may fail where ours must not
        return "proved"
    assert calibration.objective <= written_out.lower_bound * (1 + 1e-5) + 1e-8 * unit
    return "proved"


@pytest.mark.parametrize("seed", range(25))
def test_a_random_pool(seed):
    assert sits(seed) in ("proved", "refused")


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_many_random_pools(block):
    """Of thirty at most one may be too badly scaled for a proof (a loss of 1e-9 chance, say), and then says so."""
    unproven = 0
    for seed in range(1000 + 30 * block, 1030 + 30 * block):
        try:
            sits(seed)
        except SolverError as told:
            assert "attempts" in str(told) or "no solver proved an optimum" in str(told)
            unproven += 1
    assert unproven <= 1
