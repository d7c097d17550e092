"""The language of terms, the doors of a problem, and the numbers that it answers with."""

import math
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest

from calibrate import Scenarios, fairness, verify
from calibrate.errors import ProblemError, SolverError
from calibrate.program import (
    Budget,
    CostOfCapital,
    CostTerm,
    CVaR,
    ExpectedLoss,
    Layer,
    OwnContribution,
    PoolProblem,
    PoolReserve,
    RiskLimit,
    RiskTerm,
    SegmentReserve,
    Stage,
    Waterfall,
)
from calibrate.program.answer import answer
from calibrate.program.extensive import solve_extensive
from calibrate.program.seam import optimum
from calibrate.program.working_set import solve_by_tail

RNG = np.random.default_rng(8)
LOSSES = RNG.lognormal(0, 1, (400, 3)) * (RNG.random((400, 3)) < 0.7)
NAMES = ["A", "B", "C"]
TERMS = CostOfCapital(0.05, 0.2) + 0.4 * CVaR(0.9, of="mutualised")


def stated(terms=TERMS, rules=(), waterfall=None, **more):
    return PoolProblem(Scenarios(LOSSES, NAMES), waterfall or Waterfall(), terms, rules, **more)


# --- terms ----------------------------------------------------------------------------------------------------------


def test_terms_add_and_multiply_and_say_so():
    total = 2 * (0.5 * CVaR(0.99) + ExpectedLoss("mutualised")) + CostOfCapital(0.02)
    assert (
        str(total)
        == "CVaR 99% of shortfall + 2 * expected loss of mutualised + CostOfCapital(contributions=0.02, reserves=0)"
    )
    assert [price for price, _ in total.parts] == [1.0, 2.0, 1.0]
    assert CVaR(0.9) * 3 == 3 * CVaR(0.9)
    limit = CVaR(0.995) <= 1e6
    assert isinstance(limit, RiskLimit)
    assert str(limit) == "CVaR 99.5% of shortfall <= 1,000,000"


def test_numbers_of_numpy_are_numbers_and_truth_is_none():
    assert (CVaR(0.9) <= np.int64(5)) == (CVaR(0.9) <= 5.0)
    assert (CVaR(0.9) * np.int64(2)).parts == (2 * CVaR(0.9)).parts
    assert CostOfCapital(np.float32(0.5)) == CostOfCapital(0.5)
    assert fairness.CoverK([[1.0, 2.0]], np.int64(2)).k == 2
    with pytest.raises(ProblemError, match="k is True, expected a whole number"):
        fairness.CoverK([[1.0, 2.0]], True)
    with pytest.raises(ProblemError, match="limit of CVaR 90% of shortfall is True"):
        CVaR(0.9) <= True  # noqa: B015


def test_a_level_of_half_precision_is_that_number_and_proved(tmp_path):
    pool = Scenarios(np.random.default_rng(0).pareto(2.5, (400, 3)))
    terms = [CostOfCapital(0.05, 0.2), 0.5 * CVaR(np.float16(0.9), of="mutualised")]
    half = PoolProblem(pool, Waterfall(), terms).solve()
    whole = PoolProblem(pool, Waterfall(), [terms[0], 0.5 * CVaR(float(np.float16(0.9)), of="mutualised")]).solve()
    assert half.objective == whole.objective
    assert verify(half.save(tmp_path / "run")).proved


def test_what_is_no_waterfall_is_refused():
    with pytest.raises(ProblemError, match=r"waterfall is \(PoolReserve\(\),\), expected a Waterfall"):
        PoolProblem(Scenarios(LOSSES), (PoolReserve(),), TERMS)
    with pytest.raises(ProblemError, match="a waterfall holds 3, expected layers"):
        Waterfall((3,))
    assert Waterfall(PoolReserve()) == Waterfall((PoolReserve(),))


def test_a_name_that_stands_twice_is_refused():
    twice = pd.Series([10.0, 99.0, 20.0, 30.0], index=list("AABC"))
    for rule in (fairness.Turnover(twice, member=0.0), fairness.AbilityToPay(twice, 1.0)):
        with pytest.raises(ProblemError, match="names 'A' more than once; expected one number for each name"):
            stated(rules=[rule])
    for name in ("exposures", "expected_losses", "reference"):
        with pytest.raises(ProblemError, match=f"{name} names 'A' more than once"):
            stated(**{name: twice})
    with pytest.raises(ProblemError, match="names '1' more than once"):
        stated(reference={1: 5.0, "1": 50.0})
    with pytest.raises(ProblemError, match=r"Turnover: previous: could not convert .* expected a number for each name"):
        stated(rules=[fairness.Turnover({"A": "much"}, member=0.1)])


def test_a_segment_has_not_the_name_of_the_pool_s_reserve():
    pool = Scenarios(np.ones((5, 4)), ["A", "B"], ["pool", "y"])
    with pytest.raises(ProblemError, match="a segment is named 'pool', as the pool's own reserve is"):
        PoolProblem(pool, Waterfall((SegmentReserve(), PoolReserve())), CVaR(0.5))
    assert PoolProblem(pool, Waterfall((PoolReserve(),)), CostOfCapital(1, 1) + 2 * CVaR(0.5)).solve().objective > 0


def test_what_is_asked_of_a_solve_is_checked():
    for asked, words in (
        ({"tolerance": "a"}, "tolerance is 'a', expected a relative gap > 0, at most 0.01"),
        ({"out_of_sample": LOSSES}, "out_of_sample is a ndarray, expected Scenarios"),
        ({"start": 5}, "start is a int, expected Calibration"),
    ):
        with pytest.raises(ProblemError, match=words):
            stated().solve(**asked)
    with pytest.raises(ProblemError, match=r"CoverK: stress: .* expected a table of numbers"):
        stated(rules=fairness.CoverK([["a", "b", "c"]], 1))
    with pytest.raises(ProblemError, match="stress must be stress scenarios x 3 members"):
        stated(rules=fairness.CoverK(np.zeros((0, 3)), 1))


def test_fresh_scenarios_are_of_the_same_pool():
    """Without its collateral the risk would be that of a pool that posts cash; told before the solve."""
    worth = np.random.default_rng(1).random((400, 3))
    cash, posted = stated(), PoolProblem(Scenarios(LOSSES, NAMES, collateral=worth), Waterfall(), TERMS)
    with pytest.raises(ProblemError, match="the scenarios of the problem have collateral and out_of_sample has none"):
        posted.solve(out_of_sample=Scenarios(LOSSES, NAMES))
    with pytest.raises(ProblemError, match="out_of_sample has collateral and the scenarios of the problem have none"):
        cash.solve(out_of_sample=posted.program.pool.scenarios)
    with pytest.raises(ProblemError, match=r"out_of_sample has other members or segments .*, or another order of them"):
        cash.solve(out_of_sample=Scenarios(LOSSES, NAMES[::-1]))
    fresh = Scenarios(LOSSES[:200], NAMES, collateral=worth[:200])
    assert posted.solve(out_of_sample=fresh).risk["out_of_sample"].notna().all()


def test_a_risk_term_without_a_name_is_none():
    with pytest.raises(TypeError, match="abstract"):
        RiskTerm()


def test_a_list_of_terms_is_their_sum():
    together = stated(CostOfCapital(0.05, 0.2) + 0.4 * CVaR(0.9)).solve(tolerance=1e-8)
    apart = stated([CostOfCapital(0.05, 0.2), 0.1 * CVaR(0.9), 0.3 * CVaR(0.9)]).solve(tolerance=1e-8)
    assert apart.objective == pytest.approx(together.objective, rel=1e-7)


@pytest.mark.parametrize("price", [-0.1, float("nan"), float("inf"), "2", None])
def test_a_price_that_is_not_convex_is_refused(price):
    with pytest.raises(ProblemError, match=r"price of CVaR 90% of shortfall is .*, expected a finite number >= 0"):
        price * CVaR(0.9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CVaR(1.0), r"level is 1\.0, expected a probability with 0 <= level < 1"),
        (lambda: CVaR(1 - 1e-9), r"level is 0\.999999999, expected at most 0\.999999: no pool knows"),
        (lambda: CVaR(99), "level is 99"),
        (lambda: CVaR(0.9, of="everything"), 'of is \'everything\', expected "shortfall" or "mutualised"'),
        (lambda: ExpectedLoss("both"), "of is 'both'"),
        (lambda: CostOfCapital(float("nan")), "CostOfCapital: contributions is nan, expected a finite rate"),
        (lambda: CostOfCapital(0.1, "0.2"), "CostOfCapital: reserves is '0.2'"),
        (lambda: CVaR(0.9) <= -1, "limit of CVaR 90% of shortfall is -1, expected a finite amount of money >= 0"),
        (lambda: CVaR(0.9) <= float("inf"), "is inf"),
    ],
)
def test_bad_terms_are_refused_in_words(make, words):
    with pytest.raises(ProblemError, match=words):
        make()


# --- doors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: stated([]), "minimise is empty, expected at least one term"),
        (
            lambda: stated([fairness.ShareCap(0.5)]),
            r"minimise holds ShareCap\(cap=0\.5\).* a rule belongs in subject_to",
        ),
        (lambda: stated([0.5]), r"minimise holds 0\.5, expected a term such as"),
        (lambda: stated(rules=[CVaR(0.9)]), "subject_to holds CVaR.*expected a fairness rule, Budget, or a limit"),
        (lambda: stated(rules=["ShareCap"]), "subject_to holds 'ShareCap'"),
        (lambda: stated(exposures={"A": 1, "B": 2}), r"exposures says nothing of member\(s\) 'C'"),
        (
            lambda: stated(exposures={"A": 1, "B": -2, "C": 1}),
            r"exposures: member 'B' has -2\.0, expected a number >= 0",
        ),
        (lambda: stated(exposures={"A": 1, "B": math.nan, "C": 1}), "exposures: member 'B' has nan"),
        (
            lambda: stated(exposures={"A": 1, "B": 1, "C": 1, "D": 1}),
            r"names unknown member\(s\) 'D'; the pool has 'A', 'B', 'C'",
        ),
        (
            lambda: stated().solve(tolerance=0),
            "tolerance is 0, expected a relative gap > 0, at most 0.01, such as 1e-6",
        ),
        (lambda: stated().solve(out_of_sample=Scenarios(LOSSES, ["A", "B", "X"])), "out_of_sample has other members"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(make, words):
    with pytest.raises(ProblemError, match=words):
        make()


def test_the_given_objects_are_not_changed():
    exposures = pd.Series([1.0, 2.0, 3.0], index=["C", "A", "B"])
    before = exposures.copy()
    rules = [fairness.ExposureProportional(2.0)]
    stated(rules=rules, exposures=exposures).solve()
    pd.testing.assert_series_equal(exposures, before)
    assert len(rules) == 1


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answered():
    fresh = Scenarios(np.random.default_rng(9).lognormal(0, 1, (5000, 3)), NAMES)
    rules = [fairness.ActuarialFairness(0.1), Budget(1e6), CVaR(0.95, of="mutualised") <= 50.0]
    return stated(rules=rules, exposures={"A": 3, "B": 2, "C": 1}).solve(out_of_sample=fresh), fresh


def left(losses, calibration, kind):
    """Own contributions, then the pool reserve."""
    beyond = losses - calibration.contributions.to_numpy()
    beyond = np.maximum(beyond, 0) if kind == "mutualised" else beyond
    return np.maximum(beyond.sum(axis=1) - calibration.reserves["pool"], 0)


def test_the_risk_table_is_measured_on_the_plan(answered):
    calibration, fresh = answered
    assert list(calibration.risk.columns) == ["in_sample", "out_of_sample", "standard_error", "lower", "upper"]
    for kind in ("mutualised", "shortfall"):
        for level, name in (
            (0.95, f"CVaR 95% of {kind}"),
            (0.9, f"CVaR 90% of {kind}"),
            (0.0, f"expected loss of {kind}"),
        ):
            inside, outside = (np.sort(left(losses, calibration, kind)) for losses in (LOSSES, fresh.losses))
            row = calibration.risk.loc[name]
            assert row["in_sample"] == pytest.approx(inside[-round(400 * (1 - level)) :].mean(), rel=1e-9, abs=1e-12)
            assert row["out_of_sample"] == pytest.approx(
                outside[-round(5000 * (1 - level)) :].mean(), rel=1e-9, abs=1e-12
            )
            edge = outside[max(4999 - round(5000 * (1 - level)), 0)]
            enough = (outside > edge).sum() >= 99  # with the one at the edge
            assert (row["lower"] <= row["out_of_sample"] <= row["upper"]) if enough else np.isnan(row["upper"])
            refused = [note for note in calibration.provenance["risk_notes"] if note.startswith(f"{name}: no interval")]
            assert bool(refused) != enough


def test_the_interval_is_that_of_repeated_samples():
    """The standard error against the spread of the estimate over 300 fresh samples."""
    pool = Scenarios(LOSSES, NAMES)
    calibration = PoolProblem(pool, Waterfall(), CostOfCapital(0.05, 0.2) + 0.2 * CVaR(0.9, of="mutualised")).solve()
    rng = np.random.default_rng(1)

    def sample():
        return rng.lognormal(0, 1, (4000, 3))

    estimates = [np.sort(left(sample(), calibration, "mutualised"))[-400:].mean() for _ in range(300)]
    problem = PoolProblem(pool, Waterfall(), CostOfCapital(0.05, 0.2) + 0.2 * CVaR(0.9, of="mutualised"))
    row = problem.solve(out_of_sample=Scenarios(sample(), NAMES)).risk.loc["CVaR 90% of mutualised"]
    assert row["standard_error"] == pytest.approx(np.std(estimates), rel=0.25)
    assert row["upper"] - row["lower"] == pytest.approx(2 * 1.96 * row["standard_error"], rel=0.03)


def test_too_few_scenarios_in_the_tail_have_no_interval():
    small = stated().solve().risk.loc["CVaR 90% of mutualised"]  # 40 scenarios in the tail
    assert math.isnan(small["standard_error"]) and math.isnan(small["lower"])


def test_the_members_table(answered):
    calibration, _ = answered
    table = calibration.members
    assert list(table.index) == NAMES
    np.testing.assert_allclose(table["expected_loss"], LOSSES.mean(axis=0))
    np.testing.assert_allclose(table["standalone_risk"], np.sort(LOSSES, axis=0)[-20:].mean(axis=0), rtol=1e-9)
    assert list(table["exposure"]) == [3, 2, 1]
    np.testing.assert_allclose(table["weight"], table["contribution"] / table["contribution"].sum())
    assert calibration.weights.sum() == pytest.approx(1, abs=1e-12)


def test_stated_expected_losses_are_what_the_rules_follow():
    pool = Scenarios(LOSSES, NAMES)
    mu = {NAMES[0]: 5.0, NAMES[1]: 3.0, NAMES[2]: 2.0}
    terms = CostOfCapital(0.05, 0.2) + 0.2 * CVaR(0.9, of="mutualised")
    rules = [fairness.ActuarialFairness(band=0.0)]
    problem = PoolProblem(pool, Waterfall(), terms, rules, expected_losses=mu)
    calibration = problem.solve()
    assert calibration.weights.to_numpy() == pytest.approx([0.5, 0.3, 0.2], abs=1e-9)
    assert list(calibration.members["expected_loss"]) == [5.0, 3.0, 2.0]
    np.testing.assert_allclose(calibration.members["sampled_loss"], LOSSES.mean(axis=0))
    with pytest.raises(ProblemError, match=f"expected_losses: member '{NAMES[1]}' has -1.0, expected a number >= 0"):
        PoolProblem(pool, Waterfall(), terms, rules, expected_losses=mu | {NAMES[1]: -1.0})
    with pytest.raises(ProblemError, match=f"expected_losses says nothing of member\\(s\\) '{NAMES[2]}'"):
        PoolProblem(pool, Waterfall(), terms, rules, expected_losses={NAMES[0]: 1.0, NAMES[1]: 1.0})


def test_the_loss_curve_is_made_of_quantiles(answered):
    calibration, _ = answered
    curve = calibration.loss_curve
    gross = np.sort(LOSSES.sum(axis=1))[::-1]
    assert curve["loss"].iloc[-1] == gross[0]
    for probability, value in curve["loss"].items():
        assert (gross > value).mean() <= probability + 1e-12
        assert (gross >= value).mean() >= probability - 1e-9
    assert (curve["mutualised"] >= curve["shortfall"] - 1e-9).all()


def test_the_objective_and_its_bound(answered):
    calibration, _ = answered
    c, r = calibration.contributions.sum(), calibration.reserves["pool"]
    tail = np.sort(left(LOSSES, calibration, "mutualised"))[-40:].mean()
    assert calibration.objective == pytest.approx(0.05 * c + 0.2 * r + 0.4 * tail, rel=1e-9)
    assert calibration.lower_bound <= calibration.objective
    assert calibration.gap <= 1e-6


def test_the_provenance_says_what_was_done(answered):
    calibration, fresh = answered
    origin = calibration.provenance
    assert origin["scenarios"] == {"count": 400, "sha256": Scenarios(LOSSES, NAMES).digest}
    assert origin["out_of_sample"]["sha256"] == fresh.digest
    assert origin["waterfall"] == ["OwnContribution()", "PoolReserve()"]
    assert any("0.4 * CVaR 90% of mutualised" in text for text in origin["minimise"])
    assert origin["subject_to"][0] == "ActuarialFairness(band=0.1)"
    assert origin["attempts"] and origin["versions"]["numpy"] == np.__version__


def test_reserves_carry_the_names_of_their_layers():
    pool = Scenarios(np.abs(RNG.normal(size=(30, 6))), NAMES, ["exploit", "oracle"])
    layers = (OwnContribution(), SegmentReserve(), PoolReserve())
    calibration = PoolProblem(pool, Waterfall(layers), CostOfCapital(0.1, 0.05) + CVaR(0.9)).solve()
    assert list(calibration.reserves.index) == ["exploit", "oracle", "pool"]
    assert list(calibration.contributions.index.names) == ["member", "segment"]
    assert (calibration.contributions >= 0).all() and (calibration.reserves >= 0).all()


def test_the_same_problem_twice_is_the_same_answer():
    first, second = stated().solve(), stated().solve()
    np.testing.assert_array_equal(first.contributions, second.contributions)
    assert first.objective == second.objective


@pytest.mark.parametrize(
    "losses", [np.zeros((5, 2)), [[0.0, 1e-300]], [[1e-18, 2e-18]], [[1e24, 3e24]], [[5.0, 0.0]] * 3]
)
def test_pools_at_the_edge_have_an_answer(losses):
    calibration = PoolProblem(
        Scenarios(losses), Waterfall(), CostOfCapital(0.1, 0.2) + CVaR(0.9, of="mutualised")
    ).solve()
    top = np.max(losses, axis=0)
    np.testing.assert_allclose(calibration.contributions, top, rtol=1e-6, atol=1e-6 * top.max() or 1e-12)
    assert np.isfinite(calibration.risk["in_sample"]).all()


def test_a_reference_leaves_newcomers_to_the_euler_allocation_and_ignores_those_who_left():
    calibration = stated(reference={"A": 5.0, "Gone": 9.0}).solve()
    euler = stated().solve().members["reference"]
    reference = calibration.members["reference"]
    assert reference["A"] == 5.0
    assert list(reference[["B", "C"]]) == pytest.approx(list(euler[["B", "C"]]))


@pytest.mark.parametrize("solve", [solve_by_tail, solve_extensive])
def test_a_plan_that_is_its_own_reference_stays_reserves_included(solve):
    """Money of a segment costs the same wherever it is held: any split of what it should have is optimal."""
    losses = np.random.default_rng(0).lognormal(0, 1, (500, 6)) * np.tile([1.0, 2.0], 3)
    pool, layers = Scenarios(losses, NAMES, ["g", "h"]), Waterfall((SegmentReserve(), PoolReserve()))
    terms = [CostOfCapital(0.05, 0.05), 0.5 * CVaR(0.9)]
    plan = PoolProblem(pool, layers, terms).solve()
    of_segment = plan.contributions.groupby(level=1).sum() + plan.reserves[["g", "h"]]
    paid = np.outer([0.1, 0.2, 0.3], of_segment).ravel()
    held = [*0.4 * of_segment, plan.reserves["pool"]]
    told = replace(plan, contributions=plan.contributions * 0 + paid, reserves=plan.reserves * 0 + held)
    program = PoolProblem(pool, layers, terms, reference=told).program
    np.testing.assert_allclose(program.unit * solve(program, 1e-6).x, [*paid, *held], rtol=1e-2, atol=1e-3 * plan.total)


@pytest.mark.parametrize("rules", [(), (fairness.ActuarialFairness(0.5),)])
def test_a_reference_decides_where_the_best_plan_costs_nothing(rules):
    plan = stated(CVaR(0.9), rules, reference={"A": 300.0, "B": 400.0, "C": 350.0}).solve()
    assert plan.objective == 0.0
    np.testing.assert_allclose(plan.contributions, [300.0, 400.0, 350.0], rtol=1e-3)
    assert plan.reserves["pool"] < 1e-1


def test_the_shadow_price_of_a_rule_without_room_is_the_slope_of_the_objective():
    """A band of 0 is an equality; a hair of room, in money, must save what the price says (the objective is convex)."""
    losses = np.random.default_rng(0).lognormal(0, 1, (400, 5))

    class Roomier(fairness.Rule):
        def gap(self, plan):
            return fairness.ActuarialFairness(0.0).gap(plan) - 1e-3

    def solved(rule):
        terms = [CostOfCapital(0.1, 0.3), CVaR(0.9, of="mutualised")]
        return PoolProblem(Scenarios(losses), Waterfall(), terms, [rule]).solve(tolerance=1e-9)

    strict, roomier = solved(fairness.ActuarialFairness(0.0)), solved(Roomier())
    saved = (strict.objective - roomier.objective) / 1e-3
    assert saved > 0.1
    assert saved * 0.999 <= strict.fairness["shadow_price"].iloc[0] <= saved * 1.02


def test_a_plan_in_which_nobody_pays_says_so():
    """Five members, each at most a tenth of the whole: only nothing is shared so."""
    drawn = np.random.default_rng(2).pareto(2.5, (400, 5))
    capped = PoolProblem(
        Scenarios(drawn),
        minimise=[CostOfCapital(0.02, 0.05), CVaR(0.95)],
        waterfall=Waterfall(),
        subject_to=[fairness.ShareCap(0.1)],
    )
    calibration = capped.solve()
    assert not calibration.contributions.any()
    (note,) = [text for text in calibration.provenance["risk_notes"] if "contributes" in text]
    assert note.startswith("no member contributes anything: the rules (ShareCap(cap=0.1)) leave no other plan, or ")


SLIPS = {
    "0.5 was added to CVaR 90% of shortfall, expected a term": lambda s, t: t + (CVaR(0.9) + 0.5),
    "scenarios are a ndarray, expected Scenarios": lambda s, t: PoolProblem(s.losses, Waterfall(), t),
    "minimise is None, expected a list of terms": lambda s, t: PoolProblem(s, Waterfall(), None),
    "subject_to is None, expected a list of rules": lambda s, t: PoolProblem(s, Waterfall(), t, None),
    "reference names X, and no member of the pool: A, B": lambda s, t: PoolProblem(
        s, Waterfall(), t, reference={"X": 1.0}
    ),
    "reference names nobody": lambda s, t: PoolProblem(s, Waterfall(), t, reference={}),
    "GroupParity: groups has no group for A; name one": lambda s, t: PoolProblem(
        s, Waterfall(), t, [fairness.GroupParity({"A": None, "B": "x"}, 0.1)]
    ),
    "SimilarMembers: distance is 'near', expected a 2 x 2 matrix": lambda s, t: PoolProblem(
        s, Waterfall(), t, [fairness.SimilarMembers("near", 1.0)]
    ),
}


@pytest.mark.parametrize("sentence", SLIPS)
def test_a_slip_is_told_in_words(sentence):
    scenarios = Scenarios([[0.0, 1.0], [4.0, 0.0]], members=["A", "B"])
    with pytest.raises(ProblemError) as caught:
        SLIPS[sentence](scenarios, CostOfCapital(0.1, 0.3))
    assert sentence in str(caught.value)


def test_a_number_of_numpy_reads_as_a_number_in_a_rule():
    assert str(fairness.FundFloor(np.float64(3.0))) == str(fairness.FundFloor(3.0))


def test_a_frontier_goes_on_where_no_pool_like_this_keeps_a_rule():
    scenarios = Scenarios(np.random.default_rng(0).pareto(2, (100, 3)))
    problem = PoolProblem(scenarios, Waterfall(), CostOfCapital(0.03, 0.05), [fairness.FundFloor(1.0)])
    table = problem.frontier(fairness.ConcentrationLimit, [0.3, 0.35])
    assert np.isnan(table["objective"][0.3])
    assert "3 members cannot be less concentrated" in table["conflict"][0.3]
    assert table["objective"][0.35] == pytest.approx(0.03)
    with pytest.raises(ProblemError, match="3 members cannot be less concentrated"):
        problem.frontier(fairness.ConcentrationLimit, [0.1, 0.2])


# --- rules of the user's own ----------------------------------------------------------------------------------------


class Own(fairness.Rule):
    def __init__(self, gap, name="Own()"):
        self.gap_of, self.name = gap, name

    def gap(self, plan):
        return self.gap_of(plan)

    def __str__(self):
        return self.name


def between_levels(plan):
    level = cp.Variable()
    return cp.hstack([plan.contributions - 1.5 * level, level - plan.contributions])


def whole_levels(plan):
    return plan.contributions - (np.zeros(3) if plan.cells.is_constant() else cp.Variable(3, integer=True))


WRONG_AT_ONCE = {
    "gap is of type float, expected a cvxpy expression": lambda plan: -1.0,
    "gap is of type ndarray, expected a cvxpy expression": lambda plan: np.array([-1.0, -2.0]),
    "gap is of type Inequality, expected a cvxpy expression": lambda plan: plan.contributions[0] <= 3,
    "gap is of type NoneType, expected a cvxpy expression": lambda plan: None,
    r"gap leaves 1 variable\(s\) of its own open": between_levels,
    "gap holds a cvxpy Parameter, expected a number; put its value": lambda plan: plan.total - cp.Parameter(value=9),
}
WRONG_WHEN_SOLVED = {
    "gap is concave to cvxpy, expected convex": lambda plan: 1 - cp.norm2(plan.contributions),
    "gap is unknown to cvxpy, expected convex": lambda plan: plan.contributions[0] / plan.total - 0.3,
    "gap has 0 rows, expected at least one": lambda plan: plan.contributions[:0],
    "gap has a whole-numbered variable": whole_levels,
    "gap holds nan, expected finite numbers": lambda plan: plan.contributions - np.nan,
    "gap holds -inf, expected finite numbers": lambda plan: plan.contributions - np.inf,
    "gap holds inf, expected finite numbers": lambda plan: plan.contributions / 0.0,
    "gap holds nan, expected": lambda plan: cp.sum(cp.pos(plan.contributions - np.nan)),
    "gap holds nan, .* or for the value of a plan that is not": lambda plan: plan.contributions - plan.total.value,
    "gap holds a cvxpy Parameter": lambda plan: (
        plan.total - (5.0 if plan.cells.is_constant() else cp.Parameter(value=9))
    ),
}


@pytest.mark.parametrize("sentence", WRONG_AT_ONCE)
def test_a_gap_that_is_none_is_refused_when_the_problem_is_stated(sentence):
    with pytest.raises(ProblemError, match=r"^Own\(\): " + sentence):
        stated(rules=[Own(WRONG_AT_ONCE[sentence])])


@pytest.mark.parametrize("sentence", WRONG_WHEN_SOLVED)
def test_a_gap_that_cannot_be_solved_is_refused_in_words(sentence):
    rule = Own(WRONG_WHEN_SOLVED[sentence])
    with pytest.raises(ProblemError, match=r"^Own\(\): " + sentence):
        stated(rules=[rule]).solve()
    with pytest.raises(ProblemError, match=r"^Own\(\): " + sentence):
        stated().frontier(lambda _: rule, [1.0])


def test_a_rule_is_not_called_like_a_limit():
    with pytest.raises(
        ProblemError, match="a rule is called 'each <= 4', but ' <= ' is how limits and risks are called"
    ):
        stated(rules=[Own(lambda plan: plan.contributions - 4.0, "each <= 4")])


def test_a_variable_of_a_rule_s_own_has_a_least_gap_in_numbers():
    """Some level of which each pays 1 to 1.5: the least one is found by the program, and by hand on a plan."""

    def gap(plan):
        paid = plan.contributions
        return cp.max(paid) - 1.5 * cp.min(paid) if plan.cells.is_constant() else between_levels(plan)

    ours = stated(rules=[Own(gap)]).solve()
    theirs = stated(rules=[Own(lambda plan: cp.max(plan.contributions) - 1.5 * cp.min(plan.contributions))]).solve()
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-6)
    assert ours.contributions.max() <= 1.5 * ours.contributions.min() * (1 + 1e-6)


def test_a_gap_need_not_be_a_number_everywhere():
    """A logarithm has no value where nobody pays enough."""
    plan = stated(rules=[Own(lambda plan: cp.sum(cp.inv_pos(plan.contributions - 2.0)) - 3.0)]).solve()
    assert plan.contributions.min() > 2.0


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        (CVaR(0.9, of="mutualised") + CostOfCapital(reserves=0.06) <= 1.0, "CVaR 90% of mutualised <= 1"),
        (CVaR(0.9, of="mutualised") + 0 * CostOfCapital(1.0) <= 1.0, "CVaR 90% of mutualised <= 1"),
        (CVaR(0.9, of="mutualised") + CostOfCapital(0.1) + CostOfCapital(-0.1) <= 1.0, "CVaR 90% of mutualised <= 1"),
        (0 * CVaR(0.9) + CostOfCapital(1.0) <= 9.0, "CostOfCapital(contributions=1, reserves=0) <= 9"),
    ],
)
def test_parts_of_a_limit_that_are_nothing_here_are_left_out(limit, left, tmp_path):
    """Such a limit was solved, and then refused as it had another name than its row."""
    own = Waterfall((OwnContribution(),))
    solved = stated(rules=[limit], waterfall=own).solve()
    assert list(solved.fairness.index) == [left]
    assert verify(solved.save(tmp_path / "run")).proved


@pytest.mark.parametrize("limit", [CostOfCapital(reserves=0.06) <= 1.0, 0 * CVaR(0.9) <= 1.0])
def test_a_limit_of_which_nothing_counts_is_told(limit):
    with pytest.raises(ProblemError, match="nothing of it counts in this pool, so every plan keeps it; leave it out"):
        stated(rules=[limit], waterfall=Waterfall((OwnContribution(),)))


def test_money_of_another_currency_is_refused_at_every_door():
    problem, yen = stated(), Scenarios(LOSSES * 150, NAMES, currency="JPY")
    theirs = PoolProblem(yen, Waterfall(), TERMS).solve()
    with pytest.raises(ProblemError, match="out_of_sample is in JPY, the scenarios are in USD; convert one of them"):
        problem.solve(out_of_sample=yen)
    with pytest.raises(ProblemError, match="start is in JPY"):
        problem.solve(start=theirs)
    with pytest.raises(ProblemError, match="reference is in JPY"):
        stated(reference=theirs)
    with pytest.raises(ProblemError, match="the plan is in JPY"):
        problem.value(theirs)


def test_tolerances_of_any_number_type_and_of_any_use():
    assert stated().solve(tolerance=np.float32(1e-6)).gap <= 1e-6
    for much in (0.3, 0.0, math.nan, True):
        with pytest.raises(ProblemError, match=r"expected a relative gap > 0, at most 0\.01"):
            stated().solve(tolerance=much)


@pytest.mark.parametrize("bad", [-5.0, math.inf, math.nan])
def test_a_reference_that_is_no_money_is_named(bad):
    with pytest.raises(ProblemError, match=f"reference: 'B' has {bad}, expected an amount of money >= 0; leave out"):
        stated(reference={"A": 1.0, "B": bad})


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda p: p.frontier(CVaR(0.9), 3.0), "values is 3.0, expected a list of numbers, one solve each"),
        (lambda p: p.frontier(fairness.ShareCap(0.5), [0.5]), "condition is ShareCap"),
        (lambda p: p.value(None), "value needs a Calibration, got None"),
        (lambda p: p.solve().to_fixed_point(-1), "decimals is -1, expected a whole number from 0"),
        (lambda p: CVaR(0.9) >= 3, "is not convex; a limit is written term <= amount"),
        (lambda p: -CVaR(0.9), "a negative price is not convex"),
        (lambda p: CVaR(0.9) < 3, "CVaR 90% of shortfall < 3: a limit is written term <= amount"),
        (lambda p: CVaR(0.9) - CVaR(0.5), "CVaR 90% of shortfall - CVaR 50% of shortfall is not convex"),
        (lambda p: CVaR(0.9) / 0, "CVaR 90% of shortfall was divided by 0, expected a finite number > 0"),
        (
            lambda p: p.frontier(fairness.Solidarity, [0.5]),
            "condition at 0.5: .*'band'; expected a function of one number",
        ),
        (
            lambda p: stated(rules=[fairness.GroupParity({"x": ["A", "B"], "y": ["C"]}, 0.1)]),
            "GroupParity: groups has several entries for 'x'; expected the name of one group for each member",
        ),
    ],
)
def test_slips_are_told_in_words(slip, words):
    with pytest.raises(ProblemError, match=words.replace("(", r"\(")):
        slip(stated())


def test_what_numpy_fills_up_and_wraps_is_one_line_in_tables(tmp_path):
    """A rule, and a cost in a limit, with long arrays: they were solved and saved, and then not verified."""

    @dataclass(frozen=True)
    class Weighted(fairness.Rule):
        weights: np.ndarray

        def gap(self, plan):
            return self.weights[: len(plan.pool.members)] @ plan.contributions - 100 * plan.total

    @dataclass(frozen=True)
    class Fees(CostTerm):
        rates: np.ndarray

        def amount(self, plan):
            return 0.1 * plan.total

    long = np.linspace(0.5, 10, 40)
    rules = [Weighted(long), 1.0 * Fees(long) + CVaR(0.5) <= 100.0]
    plan = PoolProblem(Scenarios(LOSSES), Waterfall(), [CostOfCapital(0.1, 0.2), CVaR(0.5)], rules).solve()
    assert all(name == " ".join(name.split()) for name in plan.fairness.index)
    assert verify(plan.save(tmp_path / "run")).proved


@pytest.mark.parametrize("name", ["cap of shortfall", " lead", "tab\there", "", "a  b"])
def test_a_name_that_no_table_can_show_is_refused(name):
    class Named(fairness.Rule):
        def gap(self, plan):
            return plan.total - 100.0

        def __str__(self):
            return name

    told = "how limits and risks are called" if "shortfall" in name else "expected one line that shows as it is"
    with pytest.raises(ProblemError, match=told):
        PoolProblem(Scenarios(LOSSES), Waterfall(), CostOfCapital(0.1, 0.2), [Named()])


def test_a_layer_may_have_any_shape_of_the_right_size():
    """Half of the contributions of a pool with one segment, as one number a member."""

    class Half(Layer):
        stage = Stage.MEMBER

        def amount(self, plan):
            return 0.5 * plan.contributions

    class Whole(Layer):
        stage = Stage.MEMBER

        def amount(self, plan):
            return 0.5 * plan.cells

    terms = [CostOfCapital(0.1, 0.2), CVaR(0.5, of="mutualised")]
    plans = [PoolProblem(Scenarios(LOSSES), Waterfall((one(), PoolReserve())), terms).solve() for one in (Half, Whole)]
    assert plans[0].objective == pytest.approx(plans[1].objective, rel=1e-9)


def test_where_the_best_plan_costs_nothing_the_answer_is_the_same_from_a_start():
    """All plans that pay for the worst scenario cost nothing: the closest one, by cvxpy, was found without a start."""
    losses = np.random.default_rng(1).lognormal(0, 1, (60, 4))
    weights = 0.6 * losses.mean(axis=0) / losses.mean() / 4 + 0.1
    terms, rule = [CostOfCapital(0, 0), CVaR(0.9)], fairness.Solidarity(0.4, 0.5)
    problem = PoolProblem(Scenarios(losses), Waterfall(), terms, [rule])
    dear = [CostOfCapital(0.01, 0.02), *terms]
    far = PoolProblem(Scenarios(losses), Waterfall(), dear, [rule, fairness.FundFloor(200.0)]).solve()
    reference = problem.solve().members["reference"].to_numpy()
    c, r = cp.Variable(4, nonneg=True), cp.Variable(nonneg=True)
    distance = cp.sum(cp.multiply(1 / reference, cp.square(c - reference))) + cp.square(r) / reference.sum()
    fair = cp.abs(c - cp.sum(c) * weights) <= 0.5 * cp.sum(c) * weights
    cp.Problem(cp.Minimize(distance), [losses.sum(axis=1).max() <= cp.sum(c) + r, fair]).solve(solver="CLARABEL")
    for plan in (problem.solve(), problem.solve(start=far)):
        np.testing.assert_allclose(plan.contributions, c.value, rtol=2e-3)
        np.testing.assert_allclose(plan.reserves, r.value, rtol=2e-3)


@pytest.mark.parametrize("seed", [23, 24, 52, 59])
def test_where_nobody_defaults_the_answer_is_the_same_from_a_start(seed):
    """Who pays is the tie's to say; it stopped at the edge of what was thought to be near the start."""
    rng = np.random.default_rng(seed)
    losses = rng.pareto(2.0, (200, 8)) * rng.uniform(0.5, 2, 8) * (rng.random((200, 8)) < 0.3)
    pool, layers = (
        Scenarios(losses, probabilities=rng.dirichlet(np.ones(200))),
        Waterfall((SegmentReserve(), PoolReserve())),
    )
    term, terms = CVaR(0.95), [CostOfCapital(0.1, 0.5), 3 * CVaR(0.8)]
    gross = PoolProblem(pool, layers, [CostOfCapital(9.0, 9.0), term]).solve().risk["in_sample"][str(term)]
    before = PoolProblem(pool, layers, terms).solve()
    problem = PoolProblem(pool, layers, terms, [term <= float(rng.uniform(0.3, 0.9) * gross)])
    cold, warm = problem.solve(), problem.solve(start=before)
    assert warm.contributions.to_numpy() == pytest.approx(
        cold.contributions.to_numpy(), abs=1e-4 * cold.contributions.max()
    )


def test_a_plan_cheaper_than_its_bound_is_refused():
    """Rules are kept to rounding, and where that is worth more than the tolerance, the plan is none of theirs."""
    problem = PoolProblem(Scenarios(LOSSES), Waterfall(), CostOfCapital(0.1, 0.2), [fairness.FundFloor(5.0)])
    program, solution = optimum(problem.program, 1e-6, None)
    beyond = replace(solution, lower_bound=solution.lower_bound * (1 + 1e-5))
    with pytest.raises(SolverError, match="less than any plan that keeps all rules and limits to the last digit can"):
        answer(program, beyond, 1e-6, None)
    assert answer(program, solution, 1e-6, None).objective == pytest.approx(solution.lower_bound, rel=1e-6)


def test_a_term_over_a_number_is_that_part_of_it():
    assert CVaR(0.9) / 4 == 0.25 * CVaR(0.9)
