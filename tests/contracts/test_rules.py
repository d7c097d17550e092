"""Every fairness rule sits these exams: a plan that passes, one that fails, the gap by hand, units, refusals."""

import dataclasses
from itertools import combinations

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest

from calibrate import Scenarios, fairness
from calibrate.errors import ProblemError
from calibrate.program import CostOfCapital, CVaR, Plan, Pool, PoolProblem, Waterfall

MEMBERS = ["A", "B", "C", "D"]
LOSSES = np.array([[0, 0, 0, 0], [4, 0, 2, 0], [0, 8, 2, 0], [0, 0, 4, 10], [1, 2, 2, 0]], dtype=float)
MU = np.array([1.0, 2.0, 2.0, 2.0])
M = 7.0
RHO = np.array([4.0, 8.0, 4.0, 10.0])  # the worst of five scenarios: level 0.8
EXPOSURES = np.array([10.0, 20.0, 30.0, 40.0])
PREVIOUS = np.array([2.0, 2.0, 3.0, 3.0])
CAPITAL = np.array([10.0, 20.0, 8.0, 40.0])
STRESS = np.array([[5.0, 9.0, 3.0, 12.0], [7.0, 7.0, 7.0, 7.0]])
DISTANCE = np.array([[0, 1, 2, 3], [1, 0, 1, 2], [2, 1, 0, 1], [3, 2, 1, 0]], dtype=float)
GROUPS = {"A": "small", "B": "large", "C": "small", "D": "large"}


def named(vector):
    return pd.Series(vector, index=MEMBERS)


def band(c, target, width):
    return (np.abs(c - target * c.sum()) - width * target * c.sum()).max()


def worst(losses):
    return losses.max()


def coalition_gap(c, r, k):
    groups = [list(g) for size in (1, 2, 3) for g in combinations(range(4), size)]
    return max(c[g].sum() - k * worst(LOSSES[:, g].sum(axis=1)) for g in groups) - 0.5 * k


def cover_gap(c, r, k):
    return max(
        np.maximum(k * row - c, 0)[list(g)].sum() - r - (c.sum() - c[list(g)].sum())
        for row in STRESS
        for g in combinations(range(4), 2)
    )


def pairs(loadings):
    return [abs(a - b) for a in loadings for b in loadings]


@dataclasses.dataclass(frozen=True)
class Case:
    """`make(k)` is the rule with its money in units of 1/k; `gap(c, r, k)` its worst row by hand on a pool times k."""

    make: object
    fair: list[float]
    unfair: list[float]
    gap: object
    money: bool = False  # has money of its own, or reads the pool's
    reserve: float = 1.0


PROPORTIONAL = [1.0, 2.0, 2.0, 2.0]
CASES = {
    "ActuarialFairness": Case(
        lambda k: fairness.ActuarialFairness(0.2),
        [1.1, 2.0, 2.0, 1.9],
        [2.0, 2.0, 2.0, 1.0],
        lambda c, r, k: band(c, MU / M, 0.2),
    ),
    "ExposureProportional": Case(
        lambda k: fairness.ExposureProportional(0.1),
        [1.0, 2.0, 3.0, 4.0],
        [4.0, 3.0, 2.0, 1.0],
        lambda c, r, k: band(c, EXPOSURES / 100, 0.1),
    ),
    "Solidarity": Case(
        lambda k: fairness.Solidarity(share=0.5, band=0.01),
        (0.5 * MU / M + 0.125).tolist(),
        PROPORTIONAL,
        lambda c, r, k: band(c, 0.5 * MU / M + 0.125, 0.01),
    ),
    "LoadingRatio": Case(
        lambda k: fairness.LoadingRatio(1.5),
        [1.4, 2.0, 2.2, 2.4],
        [2.0, 2.0, 2.0, 2.0],
        lambda c, r, k: (c - 1.5 * MU * (c / MU).min()).max(),
    ),
    "IndividualRationality": Case(
        lambda k: fairness.IndividualRationality(0.8),
        [4.0, 8.0, 4.0, 10.0],
        [1.0, 1.0, 4.5, 1.0],
        lambda c, r, k: (c - k * RHO).max(),
        money=True,
    ),
    "CoalitionStability": Case(
        lambda k: fairness.CoalitionStability(0.8, epsilon=0.5 * k),
        [0.5, 1.0, 3.0, 9.0],
        [4.0, 8.0, 1.0, 1.0],
        coalition_gap,
        money=True,
    ),
    "RiskMonotonicity": Case(
        lambda k: fairness.RiskMonotonicity(0.75),
        [1.0, 2.0, 1.5, 3.0],
        [1.5, 2.0, 1.0, 3.0],
        lambda c, r, k: max(c[0] - c[2], c[2] - c[1], c[1] - c[3]),  # neighbours in risk: A 3.4, C 3.6, B 6.8, D 8
    ),
    "SimilarMembers": Case(
        lambda k: fairness.SimilarMembers(DISTANCE, lipschitz=0.1),
        [1.1, 2.0, 2.0, 2.0],
        [1.5, 2.0, 2.0, 2.0],
        lambda c, r, k: max(
            M * abs(c[i] / MU[i] - c[j] / MU[j]) - 0.1 * DISTANCE[i, j] * c.sum() for i, j in combinations(range(4), 2)
        ),
    ),
    "GroupParity": Case(
        lambda k: fairness.GroupParity(GROUPS, tolerance=0.1),
        [1.2, 1.0, 1.8, 3.0],
        [0.5, 2.0, 1.5, 3.0],
        lambda c, r, k: max(band_of(c, [0, 2]), band_of(c, [1, 3])),
    ),
    "AbilityToPay": Case(
        lambda k: fairness.AbilityToPay(named(CAPITAL * k), share=0.5),
        [5.0, 1.0, 4.0, 1.0],
        [5.0, 1.0, 4.25, 1.0],
        lambda c, r, k: (c - 0.5 * k * CAPITAL).max(),
        money=True,
    ),
    "ShareCap": Case(
        lambda k: fairness.ShareCap(0.3),
        [3.0, 3.0, 2.0, 2.0],
        [4.0, 2.0, 2.0, 2.0],
        lambda c, r, k: (c - 0.3 * c.sum()).max(),
    ),
    "ContributionFloor": Case(
        lambda k: fairness.ContributionFloor(1.5 * k),
        [1.5, 2.0, 2.0, 2.0],
        PROPORTIONAL,
        lambda c, r, k: 1.5 * k - c.min(),
        money=True,
    ),
    "FundFloor": Case(
        lambda k: fairness.FundFloor(7.5 * k),
        [1.5, 2.0, 2.0, 2.0],
        PROPORTIONAL,
        lambda c, r, k: 7.5 * k - c.sum(),
        money=True,
    ),
    "Budget": Case(
        lambda k: fairness.Budget(8.25 * k),
        PROPORTIONAL,
        [1.5, 2.0, 2.0, 2.0],
        lambda c, r, k: c.sum() + r - 8.25 * k,
        money=True,
    ),
    "ConcentrationLimit": Case(
        lambda k: fairness.ConcentrationLimit(0.28),
        PROPORTIONAL,
        [1.0, 1.0, 1.0, 3.0],
        lambda c, r, k: np.sqrt((c**2).sum()) - np.sqrt(0.28) * c.sum(),
    ),
    "GiniLimit": Case(
        lambda k: fairness.GiniLimit(0.1),
        [1.2, 2.0, 2.0, 2.0],
        [2.0, 2.0, 2.0, 2.0],
        lambda c, r, k: M * (sum(pairs(c / MU)) / (2 * 4) - 0.1 * (c / MU).sum()) / 4,
    ),
    "CrossSubsidyCap": Case(
        lambda k: fairness.CrossSubsidyCap(share=0.1, loading=0.2),
        [1.2, 2.4, 2.4, 3.2],
        [2.0, 2.0, 2.0, 3.0],
        lambda c, r, k: np.maximum(c - 1.2 * k * MU, 0).sum() - 0.1 * c.sum(),
        money=True,
    ),
    "Turnover": Case(
        lambda k: fairness.Turnover(named(PREVIOUS * k), member=0.3, total=0.15),
        [2.5, 2.0, 3.0, 2.5],
        [2.5, 2.5, 3.5, 3.5],
        lambda c, r, k: max(
            (np.abs(c - k * PREVIOUS) - 0.3 * k * PREVIOUS).max(), np.abs(c - k * PREVIOUS).sum() - 0.15 * k * 10
        ),
        money=True,
    ),
    "CoverK": Case(
        lambda k: fairness.CoverK(STRESS * k, k=2),
        [4.0, 6.0, 4.0, 6.5],
        [3.0, 4.0, 3.0, 4.0],
        cover_gap,
        money=True,
    ),
}


def band_of(c, group):
    target = c.sum() * MU[group].sum() / M
    return abs(c[group].sum() - target) - 0.1 * target


def pool_times(k=1.0):
    return Pool(Scenarios(LOSSES * k, MEMBERS), EXPOSURES)


def plan_of(c, r=1.0, k=1.0, pool_k=None):
    pool = pool_times(k if pool_k is None else pool_k)
    cells = cp.Constant(np.array(c, dtype=float)[:, None] * k)
    return Plan(pool, cells, cp.Constant([0.25 * r * k]), cp.Constant(0.75 * r * k))


def gap_of(rule, plan):
    return float(np.max(rule.gap(plan).value))


every_rule = pytest.mark.parametrize("name", CASES)


def test_every_public_rule_sits_the_exams():
    assert set(CASES) == set(fairness.__all__) - {"Rule", "GeneratedRule"}
    for name in CASES:
        assert issubclass(getattr(fairness, name), fairness.Rule)
        assert type(CASES[name].make(1.0)).__name__ == name


@every_rule
def test_a_fair_plan_passes_and_an_unfair_one_fails(name):
    case = CASES[name]
    assert gap_of(case.make(1.0), plan_of(case.fair, case.reserve)) <= 1e-12
    assert gap_of(case.make(1.0), plan_of(case.unfair, case.reserve)) > 0.01


@every_rule
def test_the_gap_is_what_arithmetic_says(name):
    case, rng = CASES[name], np.random.default_rng(7)
    for c in [case.fair, case.unfair, *rng.lognormal(0.5, 0.7, (30, 4))]:
        c = np.array(c)
        assert gap_of(case.make(1.0), plan_of(c)) == pytest.approx(case.gap(c, 1.0, 1.0), rel=1e-12, abs=1e-12)


@every_rule
@pytest.mark.parametrize("k", [1e-18, 1e-3, 1e6, 1e24])
def test_the_gap_is_money(name, k):
    """A pool, a plan and a rule in another unit have the same gap in that unit."""
    case = CASES[name]
    for c in (case.fair, case.unfair):
        ours, theirs = gap_of(case.make(1.0), plan_of(c)), gap_of(case.make(k), plan_of(c, k=k))
        assert theirs == pytest.approx(k * ours, rel=1e-9, abs=1e-12 * k)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.money])
def test_a_rule_on_proportions_is_homogeneous_in_the_plan_alone(name):
    case = CASES[name]
    ours = gap_of(case.make(1.0), plan_of(case.unfair))
    assert gap_of(case.make(1.0), plan_of(case.unfair, k=3.0, pool_k=1.0)) == pytest.approx(3 * ours, rel=1e-12)


@every_rule
def test_the_gap_is_convex_for_the_optimiser_and_along_lines(name):
    case, pool = CASES[name], pool_times()
    cells, r, r0 = cp.Variable((4, 1)), cp.Variable(1), cp.Variable()
    assert (case.make(1.0).gap(Plan(pool, cells, r, r0)) <= 0).is_dcp()
    rng = np.random.default_rng(3)
    for one, other in rng.lognormal(0.5, 0.7, (20, 2, 4)):
        ends = [gap_of(case.make(1.0), plan_of(c)) for c in (one, other)]
        assert gap_of(case.make(1.0), plan_of((one + other) / 2)) <= np.mean(ends) + 1e-12


@every_rule
def test_a_rule_is_frozen_and_says_its_name(name):
    rule = CASES[name].make(1.0)
    assert str(rule).startswith(f"{name}(") and "0x" not in str(rule) and "\n" not in str(rule)
    field = dataclasses.fields(rule)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(rule, field, 0.5)


@every_rule
@pytest.mark.parametrize("losses", [np.array([[3.0], [1.0]]), np.zeros((2, 1))], ids=["one member", "no losses"])
def test_a_pool_of_one_and_a_pool_without_losses(name, losses):
    """No rule stumbles over the smallest pools: a gap of finite numbers, and a solvable program where it is fair."""
    case = CASES[name]
    rule = {
        "AbilityToPay": lambda: fairness.AbilityToPay({"A": 5.0}),
        "SimilarMembers": lambda: fairness.SimilarMembers(np.zeros((1, 1)), 1.0),
        "GroupParity": lambda: fairness.GroupParity({"A": "x"}, 0.1),
        "Turnover": lambda: fairness.Turnover({"A": 1.0}, member=5.0),
        "CoverK": lambda: fairness.CoverK(np.array([[1.0]]), k=1),
        "ConcentrationLimit": lambda: fairness.ConcentrationLimit(1.0),
        "ShareCap": lambda: fairness.ShareCap(1.0),
        "FundFloor": lambda: fairness.FundFloor(0.0),
        "ContributionFloor": lambda: fairness.ContributionFloor(0.0),
        "CrossSubsidyCap": lambda: fairness.CrossSubsidyCap(1.0),
    }.get(name, lambda: case.make(1.0))()
    problem = PoolProblem(Scenarios(losses, ["A"]), Waterfall(), CostOfCapital(0.1, 0.2), [rule], exposures={"A": 1.0})
    calibration = problem.solve()
    assert np.isfinite(calibration.fairness["gap"]).all()
    assert calibration.fairness["gap"].iloc[0] <= 1e-6


@every_rule
def test_a_program_with_the_rule_is_the_same_in_any_unit(name):
    """Powers of two are exact: the same digits come out, also through rules with auxiliary variables."""

    def solved(k):
        terms = CostOfCapital(0.1, 0.2) + 0.5 * CVaR(0.6, of="mutualised")
        rules = [CASES[name].make(k), fairness.FundFloor(6.0 * k)]
        exposures = dict(zip(MEMBERS, EXPOSURES, strict=True))
        return PoolProblem(Scenarios(LOSSES * k, MEMBERS), Waterfall(), terms, rules, exposures=exposures).solve()

    ours = solved(1.0)
    assert ours.fairness["gap"].max() <= 1e-6
    k = (2.0**-57, 2.0**70)[list(CASES).index(name) % 2]
    theirs = solved(k)
    assert theirs.objective == pytest.approx(ours.objective * k, rel=1e-6)
    np.testing.assert_allclose(theirs.contributions / k, ours.contributions, atol=1e-3)
    assert theirs.fairness["gap"].max() <= 1e-6 * k


NEVER_LOSES = np.column_stack([LOSSES[:, 0], LOSSES[:, 1], np.zeros(5)])


@pytest.mark.parametrize(
    "rule",
    [
        fairness.ActuarialFairness(0.5),
        fairness.LoadingRatio(2.0),
        fairness.GiniLimit(0.5),
        fairness.SimilarMembers(np.ones((3, 3)) - np.eye(3), 1.0),
        fairness.IndividualRationality(0.8),
    ],
    ids=str,
)
def test_a_member_who_never_loses_is_fairly_charged_nothing(rule):
    pool = Pool(Scenarios(NEVER_LOSES))
    fair, unfair = (
        Plan(pool, cp.Constant(np.array(c)[:, None]), cp.Constant([0.0]), cp.Constant(0.0))
        for c in ([1.0, 2.0, 0.0], [1.0, 2.0, 0.3])
    )
    assert gap_of(rule, fair) <= 1e-12
    assert gap_of(rule, unfair) == pytest.approx(0.3, rel=1e-9)


def test_neighbours_in_risk_stand_for_all_pairs():
    """`rho_i >= rho_j => c_i >= c_j` for all pairs if and only if for neighbours."""
    rng = np.random.default_rng(5)
    rule, seen = fairness.RiskMonotonicity(0.8), set()
    plans = [np.sort(c) for c in rng.lognormal(0, 1, (40, 3))]
    for low, middle, high in [*plans, *rng.lognormal(0, 1, (40, 3))]:
        c = np.array([low, middle, low, high])
        fair = all(c[i] >= c[j] for i in range(4) for j in range(4) if RHO[i] >= RHO[j])
        assert (gap_of(rule, plan_of(c)) <= 0) == fair
        seen.add(fair)
    assert seen == {True, False}


def test_turnover_leaves_newcomers_alone():
    rule = fairness.Turnover({"A": 2.0, "B": 2.0, "C": 3.0}, member=0.1, total=0.05)
    assert gap_of(rule, plan_of([2.1, 2.0, 3.1, 99.0])) == pytest.approx(0.1 - 0.1 * 2)
    assert gap_of(rule, plan_of([2.5, 2.0, 3.0, 99.0])) == pytest.approx(0.5 - 0.1 * 2)


def test_cover_k_reads_labels_and_single_scenarios():
    c = [3.0, 4.0, 3.0, 4.0]
    frame = pd.DataFrame(STRESS, columns=MEMBERS)[["D", "B", "A", "C"]]
    assert gap_of(fairness.CoverK(frame, 2), plan_of(c)) == gap_of(fairness.CoverK(STRESS, 2), plan_of(c))
    single = fairness.CoverK(named(STRESS[0]), 2)
    assert gap_of(single, plan_of(c)) == gap_of(fairness.CoverK(STRESS[0], 2), plan_of(c))


REFUSED = [
    (lambda: fairness.ActuarialFairness(-0.1), r"ActuarialFairness: band is -0\.1, expected a finite number >= 0"),
    (lambda: fairness.ActuarialFairness(float("nan")), "ActuarialFairness: band is nan"),
    (lambda: fairness.ActuarialFairness("0.1"), r"band is '0\.1'"),
    (lambda: fairness.ActuarialFairness(True), "band is True"),
    (lambda: fairness.ExposureProportional(float("inf")), "ExposureProportional: band is inf"),
    (lambda: fairness.Solidarity(share=1.2, band=0.1), r"Solidarity: share is 1\.2, .* between 0 and 1"),
    (lambda: fairness.Solidarity(share=0.2, band=-1), "Solidarity: band is -1"),
    (lambda: fairness.LoadingRatio(0.9), r"LoadingRatio: limit is 0\.9, expected a finite number >= 1"),
    (lambda: fairness.IndividualRationality(1.0), r"level is 1\.0, expected a probability"),
    (lambda: fairness.CoalitionStability(-0.1), r"level is -0\.1"),
    (lambda: fairness.CoalitionStability(0.9, epsilon=-1), "CoalitionStability: epsilon is -1"),
    (lambda: fairness.RiskMonotonicity(99), "level is 99"),
    (lambda: fairness.SimilarMembers(DISTANCE, -1), "SimilarMembers: lipschitz is -1"),
    (lambda: fairness.GroupParity(GROUPS, -1), "GroupParity: tolerance is -1"),
    (lambda: fairness.AbilityToPay({}, share=-1), "AbilityToPay: share is -1"),
    (lambda: fairness.ShareCap(1.5), r"ShareCap: cap is 1\.5, .* between 0 and 1"),
    (lambda: fairness.ContributionFloor(-1), "ContributionFloor: amount is -1"),
    (lambda: fairness.FundFloor(float("inf")), "FundFloor: amount is inf"),
    (lambda: fairness.Budget(None), "Budget: amount is None"),
    (lambda: fairness.ConcentrationLimit(2.0), r"ConcentrationLimit: hhi is 2\.0"),
    (lambda: fairness.GiniLimit(-0.5), r"GiniLimit: limit is -0\.5"),
    (lambda: fairness.CrossSubsidyCap(share=2), "CrossSubsidyCap: share is 2"),
    (lambda: fairness.CrossSubsidyCap(share=0.1, loading=-2), "CrossSubsidyCap: loading is -2, .* >= -1"),
    (lambda: fairness.Turnover({"A": 1.0}), "Turnover: neither member nor total is given"),
    (lambda: fairness.Turnover({"A": 1.0}, member=-0.1), r"Turnover: member is -0\.1"),
    (lambda: fairness.CoverK(STRESS, k=0), "CoverK: k is 0, expected a whole number of defaulters >= 1"),
    (lambda: fairness.CoverK(STRESS, k=1.5), r"CoverK: k is 1\.5"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED)
def test_bad_parameters_are_refused_in_words(make, words):
    with pytest.raises(ProblemError, match=words):
        make()


def test_every_rule_refuses_some_bad_parameter():
    names = {make.__code__.co_names[1] for make, _ in REFUSED}
    assert names == set(CASES)


UNFIT = [
    (fairness.AbilityToPay({"A": 1, "B": 1, "C": 1, "Z": 1}), r"AbilityToPay: capital names unknown member\(s\) 'Z'"),
    (fairness.AbilityToPay({"A": 1, "B": 1}), r"AbilityToPay: capital says nothing of member\(s\) 'C', 'D'"),
    (fairness.AbilityToPay(named([1, 1, np.nan, 1])), r"AbilityToPay: capital: member 'C' has nan, expected a number"),
    (fairness.GroupParity({"A": "x", "B": "y", "C": "y"}, 0.1), r"GroupParity: groups says nothing of member\(s\) 'D'"),
    (fairness.GroupParity({**GROUPS, "E": "y"}, 0.1), r"GroupParity: groups names unknown member\(s\) 'E'"),
    (fairness.Turnover({"A": 1.0, "Q": 2.0}, member=0.1), r"Turnover: previous names unknown member\(s\) 'Q'"),
    (fairness.Turnover({}, member=0.1), "Turnover: previous names nobody, expected contributions by member; leave the"),
    (fairness.Turnover(pd.Series(dtype=float), total=0.0), "Turnover: previous names nobody"),
    (fairness.Turnover({"A": -1.0}, member=0.1), r"Turnover: previous: member 'A' has -1\.0, expected an amount"),
    (fairness.AbilityToPay(named([1, -2, 1, 1])), r"AbilityToPay: capital: member 'B' has -2\.0, expected an amount"),
    (fairness.SimilarMembers(DISTANCE[:3, :3], 0.1), r"a 4 x 4 matrix .* got \(3, 3\)"),
    (fairness.SimilarMembers(-DISTANCE, 0.1), "finite numbers >= 0"),
    (fairness.SimilarMembers(np.triu(DISTANCE), 0.1), "SimilarMembers: distance must be symmetric"),
    (
        fairness.SimilarMembers(pd.DataFrame(DISTANCE, index=list("ABCE"), columns=MEMBERS), 0.1),
        r"SimilarMembers: distance names unknown member\(s\) 'E' and says nothing of member\(s\) 'D'",
    ),
    (fairness.SimilarMembers(pd.DataFrame(DISTANCE, index=MEMBERS, columns=list("ABCE")), 0.1), "'E'"),
    (fairness.CoverK(STRESS, k=5), "CoverK.*: k is 5, but the pool has 4 members"),
    (fairness.CoverK(STRESS[:, :3], k=1), r"stress scenarios x 4 members.* got \(2, 3\)"),
    (fairness.CoverK(-STRESS, k=1), "CoverK: stress scenario 1, member .*: -.*, expected a loss in money, finite and"),
    (
        fairness.CoverK(pd.DataFrame(STRESS, columns=list("ABCX")), k=1),
        r"CoverK: stress scenario 0 names unknown .*'X'",
    ),
    (fairness.ConcentrationLimit(0.2), r"4 members cannot be less concentrated than 1/4 = 0\.25; raise hhi"),
    (fairness.ExposureProportional(0.1), r"needs exposures, but the pool has none; pass exposures= to PoolProblem"),
]


@pytest.mark.parametrize(("rule", "words"), UNFIT)
def test_a_rule_that_does_not_fit_the_pool_is_refused_when_the_problem_is_stated(rule, words):
    with pytest.raises(ProblemError, match=words):
        PoolProblem(Scenarios(LOSSES, MEMBERS), Waterfall(), CostOfCapital(0.1, 0.2), [rule])


def test_exposures_that_sum_to_zero():
    with pytest.raises(ProblemError, match=r"the exposures sum to 0\.0, expected a positive sum"):
        PoolProblem(
            Scenarios(LOSSES, MEMBERS),
            Waterfall(),
            CostOfCapital(0.1, 0.2),
            [fairness.ExposureProportional(0.1)],
            exposures=dict.fromkeys(MEMBERS, 0.0),
        )


def test_the_refused_rules_of_the_literature_are_explained():
    """Not convex, so not here; the page says why and what to use."""
    words = fairness_page()
    for idea in ("equal risk contributions", "pro-rata", "number of changes"):
        assert idea in words
    assert "convex" in words


def fairness_page():
    from calibrate.program import fairness as home

    return " ".join(home.__doc__.split())
