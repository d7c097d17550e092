"""Every fairness rule in a small pool: its rows are in the certificate, and the verifier proves the plan."""

import cvxpy as cp
import numpy as np
import pytest

from calibrate import Scenarios, fairness, verify
from calibrate.program import (
    CostOfCapital,
    CVaR,
    PoolProblem,
    Waterfall,
)
from calibrate.program.fairness.base import Rule

MEMBERS = ["A", "B", "C", "D", "E"]
EXPOSURES = dict(zip(MEMBERS, [10.0, 20.0, 30.0, 40.0, 25.0], strict=True))
EVEN = dict.fromkeys(MEMBERS, 1.0)
STRESS = np.array([[5.0, 9.0, 3.0, 12.0, 2.0], [7.0, 7.0, 7.0, 7.0, 7.0]])
DISTANCE = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))


def losses(n=400, columns=5, seed=3):
    rng = np.random.default_rng(seed)
    return rng.pareto(2.2, (n, columns)) * rng.lognormal(0, 0.5, columns) * (rng.random((n, columns)) < 0.4)


RULES = {
    "ActuarialFairness": [fairness.ActuarialFairness(0.2)],
    "ExposureProportional": [fairness.ExposureProportional(0.1)],
    "Solidarity": [fairness.Solidarity(share=0.5, band=0.05)],
    "LoadingRatio": [fairness.LoadingRatio(1.5)],
    "IndividualRationality": [fairness.IndividualRationality(0.8)],
    "CoalitionStability": [fairness.CoalitionStability(0.9, epsilon=0.1)],
    "RiskMonotonicity": [fairness.RiskMonotonicity(0.9)],
    "SimilarMembers": [fairness.SimilarMembers(DISTANCE, lipschitz=0.1)],
    "GroupParity": [fairness.GroupParity({"A": "x", "B": "y", "C": "x", "D": "y", "E": "y"}, tolerance=0.1)],
    "AbilityToPay": [fairness.AbilityToPay(dict.fromkeys(MEMBERS, 0.7), share=0.5)],
    "ShareCap": [fairness.ShareCap(0.25)],
    "ContributionFloor": [fairness.ContributionFloor(0.5)],
    "FundFloor": [fairness.FundFloor(9.0)],
    "Budget": [fairness.Budget(3.0)],
    "ConcentrationLimit": [fairness.ConcentrationLimit(0.21)],
    "GiniLimit": [fairness.GiniLimit(0.05)],
    "CrossSubsidyCap": [fairness.CrossSubsidyCap(share=0.1, loading=0.2)],
    "Turnover": [fairness.Turnover(EVEN, member=0.3, total=0.15)],
    "CoverK": [fairness.CoverK(STRESS, k=2)],
}


def proved(problem, folder):
    calibration = problem.solve()
    verdict = verify(calibration.save(folder / "run"))
    assert verdict.proved, verdict
    assert verdict.gap <= 1e-6
    assert verdict.sentence == f"optimal within {verdict.gap:.2g}, proved"
    exact = calibration.certificate["lower_bound"]
    assert exact >= calibration.lower_bound - 1e-8 * abs(calibration.objective)
    return calibration


def test_every_rule_is_here():
    assert set(RULES) == set(fairness.__all__) - {"Rule", "GeneratedRule"}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_certified(name, tmp_path):
    terms = [CostOfCapital(0.03, 0.05), 0.2 * CVaR(0.9, of="mutualised")]
    problem = PoolProblem(Scenarios(losses(), MEMBERS), Waterfall(), terms, RULES[name], exposures=EXPOSURES)
    certificate = proved(problem, tmp_path).certificate
    assert certificate["rules"] == [str(rule) for rule in RULES[name]]
    assert {block[0] for block in certificate["blocks"]} == set(certificate["rules"])


@pytest.mark.slow
def test_coalitions_of_many_members_are_searched_and_the_verdict_says_so(tmp_path):
    """Of 13 members' 8,190 groups those that a plan aggrieves are rows; that no other objects is not in the proof."""
    drawn = losses(60, 13, seed=8)
    rule = fairness.CoalitionStability(0.9)
    terms = [CostOfCapital(0.03, 0.05), 2.0 * CVaR(0.9, of="mutualised")]
    floor = fairness.FundFloor(0.999 * float(np.sort(drawn.sum(axis=1))[-6:].mean()))
    calibration = PoolProblem(Scenarios(drawn), Waterfall(), terms, [rule, floor]).solve()
    verdict = verify(calibration.save(tmp_path / "run"))
    assert verdict.proved, verdict
    assert verdict.sentence == (
        f"optimal within {verdict.gap:.2g}, proved; that no other row of {rule} is broken was searched, not proved"
    )
    blocks = [block for block in calibration.certificate["blocks"] if block[0] == str(rule)]
    assert 13 < len(blocks) < 2**13 - 2  # single members at first, some groups, not all
    groups = (np.arange(1, 2**13 - 1)[:, None] >> np.arange(13)) & 1
    tails = np.sort(drawn @ groups.T, axis=0)[-6:].mean(axis=0)  # CVaR 90 % of 60 scenarios: the worst six
    assert np.all(groups @ calibration.contributions.to_numpy() <= tails + 1e-6 * tails.max())


def test_coalitions_of_few_members_are_all_in_the_proof(tmp_path):
    terms = [CostOfCapital(0.03, 0.05), 0.2 * CVaR(0.9, of="mutualised")]
    rule = fairness.CoalitionStability(0.9)
    certificate = proved(PoolProblem(Scenarios(losses(60)), Waterfall(), terms, [rule]), tmp_path).certificate
    assert certificate["searched"] == []
    assert sum(block[0] == str(rule) for block in certificate["blocks"]) == 2**5 - 2


class Convex(Rule):
    """A rule of one's own, of the convex function `of(contributions, total)`."""

    def __init__(self, name, of):
        self.name, self.of = name, of

    def gap(self, plan):
        return self.of(plan.contributions, plan.total)

    def __str__(self):
        return self.name


@pytest.mark.parametrize("seed", [9, 13, 14, 16, 20, 23])
def test_equations_of_auxiliary_variables_are_closed_exactly(seed, tmp_path):
    """A norm of order 3 has an equation with the coefficients 1 and 1/2: only some of its variables can close it."""
    rng = np.random.default_rng(seed)
    losses = rng.gamma(0.5, 2, (150, 4)) * rng.lognormal(0, 1, 4) * 1e-3
    mean, total = losses.mean(axis=0), losses.mean(axis=0).sum()
    rule = Convex("norm 3", lambda c, C: cp.pnorm(c - C * mean / total, 3) - 0.03 * C)
    terms = [CostOfCapital(0.05, 0.04), 0.5 * CVaR(0.9)]
    solved = PoolProblem(Scenarios(losses), Waterfall(), terms, [rule, fairness.FundFloor(0.9 * total)]).solve()
    assert verify(solved.save(tmp_path / "run")).proved


@pytest.mark.parametrize(
    ("name", "of"),
    {
        "norm 4": lambda c, C: cp.norm(c, 4) - 0.5 * C,
        "norm 3/2": lambda c, C: cp.norm(c, 1.5) - 0.9 * C,
        "squares": lambda c, C: cp.sum_squares(c) - 20.0,
        "concentration": lambda c, C: cp.quad_over_lin(c, C) - 0.3 * C,
        "geometric mean": lambda c, C: 1 - cp.geo_mean(c),
        "huber": lambda c, C: cp.sum(cp.huber(c - 1)) - 4.0,
    }.items(),
)
def test_a_rule_of_ones_own_that_needs_other_cones_is_certified(name, of, tmp_path):
    rng = np.random.default_rng(1)
    pool = Scenarios(rng.lognormal(0, 1, (200, 5)) * (rng.random((200, 5)) < 0.6))
    terms = [CostOfCapital(0.05, 0.2), 0.5 * CVaR(0.9, of="mutualised")]
    calibration = PoolProblem(pool, Waterfall(), terms, [Convex(name, of)]).solve()
    verdict = verify(calibration.save(tmp_path / "run"))
    assert verdict.proved, verdict.sentence


@pytest.mark.parametrize("scenarios", [500, 3000])
def test_a_limit_counts_the_cost_of_decisions_that_rules_hold_at_zero(scenarios, tmp_path):
    """A member that never loses is held at zero by loadings, and by exposure all others with it."""
    losses = np.random.default_rng(0).lognormal(0, 1, (scenarios, 10))
    losses[:, 0] = 0.0
    limit = CVaR(0.99) + CostOfCapital(0.1, 0) <= 1.5 * losses.sum(axis=1).mean()
    rules = [fairness.ExposureProportional(0.25), fairness.LoadingRatio(1.5), limit]
    exposures = {f"member {i + 1}": 1.0 for i in range(10)}
    terms = [CostOfCapital(0.02, 0.05), 3 * CVaR(0.95)]
    solved = PoolProblem(Scenarios(losses), Waterfall(), terms, rules, exposures=exposures).solve()
    verdict = verify(solved.save(tmp_path / "run"))
    assert verdict.proved, verdict.sentence


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "of"),
    {
        "norm 3": lambda c, C, total: cp.norm(c, 3) - total / 4,
        "power 3/2": lambda c, C, total: total * cp.sum(cp.power(c / total, 1.5)) - total / 2,
    }.items(),
)
def test_what_follows_in_a_cone_bounds_the_variables_of_its_rows(name, of, seed, tmp_path):
    """No row alone bounds them: the head of a cone is no less than each entry of what follows."""
    rng = np.random.default_rng(seed)
    losses = rng.pareto(2.5, (200, 4)) * (rng.random((200, 4)) < 0.5)
    terms, total = [CostOfCapital(0.02, 0.05), 0.3 * CVaR(0.9, of="mutualised")], losses.mean(axis=0).sum()
    rule = Convex(name, lambda c, C: of(c, C, total))
    verdict = verify(PoolProblem(Scenarios(losses), Waterfall(), terms, [rule]).solve().save(tmp_path / "run"))
    assert verdict.proved, verdict.sentence
