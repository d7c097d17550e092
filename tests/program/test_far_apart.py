"""Pools whose numbers lie far apart: refused once, for the digits that a solver or a proof lost on the way."""

import numpy as np
import pytest

from calibrate import Scenarios, fairness, verify
from calibrate.errors import RuleConflictError, SolverError
from calibrate.program import (
    CostOfCapital,
    CVaR,
    OwnContribution,
    PoolProblem,
    PoolReserve,
    SegmentReserve,
    Waterfall,
    level,
    seam,
)
from calibrate.program.beyond import far_beyond
from calibrate.program.bound import lower_bound
from calibrate.program.compiled import compiled
from calibrate.program.cones import Cone
from calibrate.program.equalities import independent, paired
from calibrate.program.held import held_together
from calibrate.program.measure import objective_at
from calibrate.program.working_set import solve_by_tail

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


def test_a_bound_above_a_plan_is_none(monkeypatch):
    """The box of free variables is a guess by the plan at hand; a round that guessed too little bounds too much."""
    calls = []

    def too_high(form, tails, point, upper):
        calls.append(upper)
        return 2 * upper if len(calls) == 1 else lower_bound(form, tails, point, upper)

    monkeypatch.setattr(level, "lower_bound", too_high)
    program = PoolProblem(Scenarios(np.random.default_rng(1).pareto(2, (400, 4))), OWN_AND_POOL, TERMS).program
    solution = solve_by_tail(program, 1e-6)
    assert 0.999 < solution.lower_bound / objective_at(program, solution.x) <= 1 + 1e-9


def test_a_tail_of_few_scenarios_is_searched_among_a_hundred():
    """Sparse losses: no plan's tail holds much of the next one's, and twelve rounds of six more were not enough."""
    rng = np.random.default_rng(0)
    losses = rng.pareto(1.2, (300, 60)) * (rng.random((300, 60)) < 0.02)
    terms = [CostOfCapital(0.02, 0.5), 30 * CVaR(0.99, of="mutualised")]
    pool = Scenarios(losses, segments=["x", "y", "z"])
    calibration = PoolProblem(pool, Waterfall((OwnContribution(),)), terms, [fairness.LoadingRatio(2.0)]).solve()
    assert len([one for one in calibration.provenance["attempts"] if one.startswith("round")]) < 6


def test_a_pool_of_few_scenarios_is_seen_as_a_whole():
    """A tail of less than one of twenty: each round found one more, and twelve were not enough."""
    losses = np.random.default_rng(0).pareto(3, (20, 50))
    terms = [CostOfCapital(0.02, 0.05), CVaR(0.985, of="mutualised")]
    calibration = PoolProblem(Scenarios(losses), Waterfall((OwnContribution(),)), terms).solve()
    assert len([one for one in calibration.provenance["attempts"] if one.startswith("round")]) < 5


def test_scenarios_that_never_happen_are_left_out_and_change_nothing():
    rng = np.random.default_rng(0)
    losses, n = rng.pareto(2, (300, 4)), 50
    likely = np.where(np.arange(300) < n, 1 / n, 1e-160)
    with_them = PoolProblem(Scenarios(losses, probabilities=likely), OWN_AND_POOL, TERMS).solve()
    without = PoolProblem(Scenarios(losses[:n]), OWN_AND_POOL, TERMS).solve()
    assert "CLARABEL" not in " ".join(with_them.provenance["attempts"])
    assert with_them.objective == pytest.approx(without.objective, rel=2e-6)


def test_a_giant_loss_of_next_to_no_probability_is_carried_to_the_last_digit(tmp_path):
    """A flow of 1e-16 carries a loss of 1e12: rounded at 2 ** -55 it cost the bound 2e-6 of the objective."""
    losses, p = np.random.default_rng(0).pareto(2, (20, 5)), np.full(20, (1 - 1e-18) / 19)
    losses[0, 0], p[0] = 1e12, 1e-18
    pool = Scenarios(losses, probabilities=p)
    rule = fairness.AbilityToPay(dict.fromkeys(pool.members, 0.1), 1.0)
    terms = [CostOfCapital(0.3, 0.5), 30 * CVaR(0.9)]
    calibration = PoolProblem(pool, OWN_AND_POOL, terms, [rule]).solve()
    assert verify(calibration.save(tmp_path / "unlikely")).proved


# --- a giant --------------------------------------------------------------------------------------------------------


def beside_a_giant(seed=5, members=4):
    """One member loses 1e12 times what the others do; a floor then asks for a plan 1e12 times the losses."""
    losses = np.random.default_rng(seed).pareto(3, (40, members))
    losses[:, 1] *= 1e12
    floor = fairness.ContributionFloor(float(losses.mean(axis=0).sum()) / members / 10)
    terms = [CostOfCapital(0.02, 0.05), 30 * CVaR(0.999999)]
    return PoolProblem(
        Scenarios(losses), Waterfall((OwnContribution(),)), terms, [fairness.ActuarialFairness(0.0), floor]
    )


@pytest.mark.parametrize(("seed", "members"), [(5, 4), (3, 7)])  # the second leaves no bound in floating point
def test_shares_beside_a_giant_are_said_once(seed, members, tmp_path):
    problem = beside_a_giant(seed, members)
    calibration = problem.solve()
    losses = problem.program.pool.expected_losses
    np.testing.assert_allclose(calibration.weights, losses / losses.sum(), rtol=1e-9)
    assert verify(calibration.save(tmp_path / "giant")).proved


def test_a_plan_beyond_all_losses_is_refused_by_who_asks_for_it():
    """A floor for a member of 1e-35 of the losses, within a band: the others would pay 1e34 times what they lose."""
    losses = np.random.default_rng(0).pareto(3, (40, 4)) * np.array([1.0, 1e-35, 1e-9, 1.0])
    pool = Scenarios(losses, members=["A", "dwarf", "C", "D"])
    rules = [fairness.ActuarialFairness(0.5), fairness.ContributionFloor(0.01), fairness.ShareCap(0.9)]
    with pytest.raises(SolverError, match=r"^ActuarialFairness\(.*\) and ContributionFloor\(.*\) can only") as told:
        PoolProblem(pool, OWN_AND_POOL, TERMS, rules).solve()
    assert "'dwarf' is expected to lose" in str(told.value)
    assert far_beyond(PoolProblem(pool, OWN_AND_POOL, TERMS, rules[:1]).program) is None


def test_who_is_asked_for_too_much_is_named_only_where_it_is_one():
    """Amounts in the wrong unit, a billion of them: as equalities alone, as a row about all members, by member."""
    pool = Scenarios(np.random.default_rng(0).pareto(2.5, (200, 4)), members=["A", "B", "C", "D"])
    before = fairness.Turnover({"A": 1e9, "B": 1.0, "C": 1.0, "D": 1.0}, member=0.0)
    told = [
        far_beyond(PoolProblem(pool, OWN_AND_POOL, TERMS, [rule]).program) for rule in (before, fairness.FundFloor(1e9))
    ]
    assert "at least 1e+09 USD in all" in told[0]
    assert "member 'A' is expected to lose" in told[0]
    assert "all members are expected to lose" in told[1]
    assert "member '" not in told[1]


def test_the_last_share_follows_from_the_others_and_is_stated_all_the_same(tmp_path):
    problem = beside_a_giant()
    form = compiled(problem.program.ordered)
    E, f = form.equalities
    assert len(form.body.E) == 3
    assert (len(E), len(f), len(form.equal_room)) == (4, 4, 4)
    blocks = problem.solve().certificate["blocks"]
    assert sum(kind == "equal" for _, kind, _ in blocks) == 4


def test_the_same_row_twice_is_paired_twice():
    G = np.array([[1.0, -2.0], [-1.0, 2.0], [-1.0, 2.0], [1.0, -2.0], [1.0, 0.0]])
    nothing = (np.zeros((0, 2)), np.zeros(0))
    left, _, E, *_ = paired(G, np.array([0.0, 0.0, 0.0, 0.0, 1.0]), *nothing, Cone(5, ()), np.ones((5, 1)))
    assert left.tolist() == [[1.0, 0.0]]
    assert len(E) == 2
    assert len(independent(E, np.zeros(2))[0]) == 1


def test_equalities_that_follow_and_such_that_contradict():
    E = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1e-9], [1.0, 2.0, 1e-9]])
    kept, follow = independent(E, np.array([1.0, 1.0, 2.0]))
    assert (len(kept), len(follow)) == (2, 1)
    assert len(independent(E, np.array([1.0, 1.0, 3.0]))[1]) == 0  # a contradiction is for the solver to find
    assert len(independent(E[:1], np.ones(1))[0]) == 1


@pytest.mark.parametrize("tiny", [1e-30, 1e-74])
def test_a_conflict_beside_dwarfs_is_proved(tiny, tmp_path):
    """The rows of the rules close in on an empty box, whose ends once ran beyond all doubles."""
    losses = np.random.default_rng(0).pareto(2, (30, 8)) * np.geomspace(1, tiny, 8)
    pool = Scenarios(losses)
    even = dict.fromkeys(pool.members, float(losses.mean(axis=0).sum()) / 8)
    rules = [fairness.ActuarialFairness(0.1), fairness.Turnover(even, total=0.5)]
    with pytest.raises(RuleConflictError) as raised:
        PoolProblem(pool, OWN_AND_POOL, TERMS, rules).solve()
    assert verify(raised.value.certificate.save(tmp_path / "conflict")).proved


def shares_of_a_blend(pool):
    return fairness.Solidarity(0.3, 0.1)


def a_plan_of_equal_parts(pool):
    return fairness.Turnover(dict.fromkeys(pool.members, float(pool.expected_losses.sum()) / 5), total=0.5)


@pytest.mark.parametrize("rule", [shares_of_a_blend, a_plan_of_equal_parts])
def test_dwarfs_who_are_asked_for_much_count_in_what_they_are_asked_for(rule):
    """Of 1e-25 of the losses, and a fifth of what a giant pays: 1e24 in their own size, beyond any solver."""
    pool = Scenarios(np.random.default_rng(0).pareto(2, (30, 5)) * np.geomspace(1, 1e-25, 5))
    terms = [CostOfCapital(0.3, 0.05), CVaR(0.5)]
    calibration = PoolProblem(pool, OWN_AND_POOL, terms, [rule(pool)]).solve()
    assert "CLARABEL" not in " ".join(calibration.provenance["attempts"])


@pytest.mark.parametrize("rule", [fairness.ShareCap(0.3), fairness.ConcentrationLimit(0.3)])
def test_dwarfs_who_pay_what_a_giant_may_not_count_in_it(rule):
    pool = Scenarios(np.random.default_rng(1).pareto(2, (60, 12)) * np.array([1.0] + [1e-20] * 11))
    terms = [CostOfCapital(0.02, 0.5), 30 * CVaR(0.9, of="mutualised")]
    calibration = PoolProblem(pool, Waterfall((OwnContribution(),)), terms, [rule]).solve()
    assert "CLARABEL" not in " ".join(calibration.provenance["attempts"])
    assert calibration.weights.iloc[0] < 0.56


def test_what_counts_in_the_least_of_dwarfs_counts(tmp_path):
    """Differences of loadings of 1e-27 of the pool, added up in one row: anything far less than 1 met it."""
    losses = np.zeros((12, 5))
    losses[np.arange(12), np.arange(12) % 5] = np.geomspace(1, 1e-27, 5)[np.arange(12) % 5]
    rules = [fairness.GiniLimit(0.05), fairness.RiskMonotonicity(0.5)]
    problem = PoolProblem(
        Scenarios(losses), OWN_AND_POOL, [CostOfCapital(0.02, 0.5), CVaR(0.9, of="mutualised")], rules
    )
    calibration = problem.solve()
    loadings = calibration.contributions / problem.program.pool.expected_losses
    assert loadings.max() < 1.3 * loadings.min()
    assert verify(calibration.save(tmp_path / "dwarfs")).proved


# --- rules that only nothing keeps ----------------------------------------------------------------------------------


def contradiction():
    """A loses twice as much as B, whose losses are rarer and larger: A is to pay about twice what B pays, and less."""
    losses = np.zeros((20, 3))
    losses[:, 0], losses[:2, 1], losses[2:8, 2] = 1.0, 5.0, 2.0
    return Scenarios(losses, members=["A", "B", "C"]), [fairness.ActuarialFairness(0.1), fairness.RiskMonotonicity(0.9)]


def concentration():
    """One member loses; those of the other group pay nothing, and two cannot be as even as three."""
    groups = {"A": "x", "B": "y", "C": "x"}
    rules = [fairness.GroupParity(groups, 0.2), fairness.ConcentrationLimit(0.48)]
    return Scenarios(np.array([[3.0, 0, 0], [0.0, 0, 0]]), members=["A", "B", "C"]), rules


@pytest.mark.parametrize("pool", [contradiction, concentration])
def test_rules_that_leave_no_contribution_leave_the_reserve(pool, tmp_path):
    scenarios, rules = pool()
    terms = [CostOfCapital(0.3, 0.05), 30 * CVaR(0.9, of="mutualised")]
    calibration = PoolProblem(scenarios, OWN_AND_POOL, terms, rules).solve()
    assert calibration.contributions.max() < 1e-6
    reserve = float(scenarios.losses.sum(axis=1).max())
    assert calibration.objective == pytest.approx(0.05 * reserve, rel=1e-5)
    assert verify(calibration.save(tmp_path / "none")).proved


def test_what_no_rule_holds_is_not_held():
    scenarios, rules = contradiction()
    for one in rules:
        assert held_together(compiled(PoolProblem(scenarios, OWN_AND_POOL, TERMS, [one]).program.ordered)) is None
    held = held_together(compiled(PoolProblem(scenarios, OWN_AND_POOL, TERMS, rules).program.ordered))
    assert held.zero.tolist() == [True, True, True, False, False]
    assert not held.rows.any()


def test_a_pool_too_large_for_a_general_solver_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(seam, "EXTENSIVE_UP_TO", 10)
    monkeypatch.setattr("calibrate.program.rule_matrix.MOST_COLUMNS", 8)
    pool = Scenarios(np.random.default_rng(0).pareto(2, (40, 6)))
    with pytest.raises(SolverError, match=r"too large to be solved but by its tail.*15 auxiliary variables"):
        PoolProblem(pool, OWN_AND_POOL, TERMS, [fairness.GiniLimit(0.3)]).solve()
