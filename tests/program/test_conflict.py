"""When rules conflict: which, verified by solving again without each, and by how much, against closed forms."""

import re

import cvxpy as cp
import numpy as np
import pytest

from calibrate import Scenarios, fairness, verify
from calibrate.errors import CalibrateError, ProblemError, RuleConflictError
from calibrate.program import Budget, CostOfCapital, CVaR, OwnContribution, PoolProblem, RiskLimit, Waterfall

LOSSES = np.array([[0, 0, 0, 0], [4, 0, 2, 0], [0, 8, 2, 0], [0, 0, 4, 10], [1, 2, 2, 0]], dtype=float)
CERTAIN = np.array([[6.0, 4.0]])  # one scenario: 10 in all


class Relaxed(fairness.Rule):
    """A rule that gives by an amount of money."""

    def __init__(self, rule, amount):
        self.rule, self.amount = rule, amount

    def gap(self, plan):
        return self.rule.gap(plan) - self.amount

    def __repr__(self):
        return f"Relaxed({self.rule})"


class Impossible(fairness.Rule):
    """Nobody can satisfy it, by 3."""

    def gap(self, plan):
        return 3.0 + 0.0 * plan.total

    def __repr__(self):
        return "Impossible()"


class Spectral(fairness.Rule):
    """A rule that needs a semidefinite cone; of a single row the largest singular value is the Euclidean norm."""

    def __init__(self, share):
        self.share = share

    def gap(self, plan):
        return cp.sigma_max(cp.reshape(plan.contributions, (1, 2), order="C")) - self.share * plan.total

    def __repr__(self):
        return f"Spectral({self.share})"


def relaxed(rule, amount):
    return RiskLimit(rule.term, rule.amount + amount) if isinstance(rule, RiskLimit) else Relaxed(rule, amount)


def stated(rules, losses=LOSSES, unit=1.0, waterfall=None, collateral=None):
    names = list("ABCDEFG")[: losses.shape[1]]
    pool = Scenarios(losses * unit, names, collateral=collateral, currency="EUR")
    return PoolProblem(pool, waterfall or Waterfall(), CostOfCapital(0.1, 0.2) + 0.5 * CVaR(0.8), rules)


def conflict_of(rules, **more):
    with pytest.raises(RuleConflictError) as caught:
        stated(rules, **more).solve()
    return caught.value


def holds(rules, **more):
    try:
        stated(rules, **more).solve()
    except RuleConflictError:
        return False
    return True


def means(**capital):
    return fairness.AbilityToPay({"A": 100.0, "B": 100.0, **capital})


TWO = LOSSES[:, :2]
# rules, pool, and what each would have to give alone
KNOWN = {
    "fund and budget": ([fairness.FundFloor(8.0), Budget(5.0)], LOSSES, [3.0, 3.0]),
    # four floors of 2 in a budget of 5: each floor gives 0.75, or the budget 3
    "floors and budget": ([fairness.ContributionFloor(2.0), Budget(5.0)], LOSSES, [0.75, 3.0]),
    # equal halves of a fund of 10, but A has 3: B pays 7 = 2 above half; A finds 2; or the fund stays at 6
    "means, halves, fund": ([means(A=3.0), fairness.ShareCap(0.5), fairness.FundFloor(10.0)], TWO, [2.0, 2.0, 4.0]),
    "caps that add to less than one": ([fairness.ShareCap(0.4), fairness.FundFloor(10.0)], TWO, [1.0, 10.0]),
    # 10 is lost for certain: a budget of 5 leaves 5
    "risk and budget": ([CVaR(0.9) <= 2.0, Budget(5.0)], CERTAIN, [3.0, 3.0]),
    "risk, budget, of two": ([CVaR(0.9, of="mutualised") <= 2.0, Budget(5.0)], CERTAIN, [3.0, 3.0]),
    # weights (A, B) within 10 % of 6:4 in the fund and of 1:1 by floor
    "last year and this": (
        [fairness.Turnover({"A": 1.0, "B": 1.0}, member=0.5), fairness.FundFloor(7.0)],
        TWO,
        [2.0, 4.0],
    ),
}


FEW = ("floors and budget", "risk, budget, of two")


@pytest.mark.parametrize(
    ("name", "unit"), [(name, 1.0) for name in KNOWN] + [(n, u) for n in FEW for u in (1e18, 1e-12)]
)
def test_each_rule_is_named_with_what_it_would_have_to_give(name, unit):
    rules, losses, amounts = KNOWN[name]
    if unit != 1.0:
        rules = [in_unit(rule, unit) for rule in rules]
    noise = [fairness.LoadingRatio(1e3), fairness.ShareCap(1.0)]  # fair always, never to be named
    error = conflict_of([noise[0], *rules, noise[1]], losses=losses, unit=unit)
    assert list(error.conflict) == [str(rule) for rule in sorted(rules, key=lambda one: isinstance(one, RiskLimit))]
    expected = {str(rule): amount * unit for rule, amount in zip(rules, amounts, strict=True)}
    assert error.conflict == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("unit", [1.0, 1e18, 1e-12])
@pytest.mark.parametrize("name", ["means, halves, fund", "last year and this"])
def test_a_rule_of_second_order_may_be_among_them(name, unit):
    rules, losses, amounts = KNOWN[name]
    heap = [fairness.ConcentrationLimit(1.0), *(in_unit(rule, unit) for rule in rules), fairness.LoadingRatio(1e3)]
    named = conflict_of(heap, losses=losses, unit=unit).conflict
    assert list(named.values()) == pytest.approx([amount * unit for amount in amounts], rel=1e-4)


def in_unit(rule, unit):
    if isinstance(rule, RiskLimit):
        return RiskLimit(rule.term, rule.amount * unit)
    if isinstance(rule, fairness.FundFloor | fairness.Budget | fairness.ContributionFloor):
        return type(rule)(rule.amount * unit)
    if isinstance(rule, fairness.AbilityToPay):
        return fairness.AbilityToPay({name: value * unit for name, value in rule.capital.items()})
    if isinstance(rule, fairness.Turnover):
        return fairness.Turnover({name: value * unit for name, value in rule.previous.items()}, member=rule.member)
    return rule


@pytest.mark.parametrize("name", KNOWN)
def test_the_set_is_irreducible_and_the_amounts_suffice_and_are_needed(name):
    rules, losses, _ = KNOWN[name]
    named = conflict_of(rules, losses=losses).conflict
    assert not holds(rules, losses=losses)
    for rule in rules:
        others = [other for other in rules if other is not rule]
        assert holds(others, losses=losses), f"without {rule} the others hold"
        assert holds([*others, relaxed(rule, named[str(rule)] * 1.001)], losses=losses)
        assert not holds([*others, relaxed(rule, named[str(rule)] * 0.99)], losses=losses)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))])
def test_the_conflict_within_a_heap_of_random_rules_is_irreducible(seed):
    rng = np.random.default_rng(seed)
    losses = rng.lognormal(1, 1, (12, 4))
    size = losses.mean(axis=0).sum()
    heap = [
        fairness.ActuarialFairness(0.3),
        fairness.ShareCap(0.9),
        fairness.LoadingRatio(4.0),
        fairness.FundFloor(rng.uniform(2.0, 4.0) * size),
        fairness.IndividualRationality(0.5),
        fairness.ContributionFloor(0.45 * size),
        Budget(rng.uniform(0.8, 1.6) * size),
        CVaR(0.8, of="mutualised") <= 0.05 * size,
        fairness.GiniLimit(0.02),
    ]
    rng.shuffle(heap)
    named = conflict_of(heap, losses=losses).conflict
    core = [rule for rule in heap if str(rule) in named]
    assert len(core) == len(named) >= 2
    assert not holds(core, losses=losses)
    for rule in core:
        others = [other for other in core if other is not rule]
        assert holds(others, losses=losses)
        assert holds([*others, relaxed(rule, named[str(rule)] * 1.01)], losses=losses)
        assert not holds([*others, relaxed(rule, named[str(rule)] * 0.97)], losses=losses)


def test_the_message_says_it_in_words_and_money():
    message = str(conflict_of([fairness.FundFloor(8_000_000.0), Budget(5_000_000.0)]))
    assert "no plan satisfies all rules: these conflict" in message
    assert re.search(
        r"- FundFloor\(amount=8000000\.0\): by 3e\+06 EUR|- FundFloor\(amount=8000000\.0\): by 3,000,000 EUR", message
    )
    assert "Without any one of them" in message


def test_one_rule_that_nobody_can_satisfy():
    error = conflict_of([fairness.ShareCap(0.9), Impossible()])
    assert error.conflict == pytest.approx({"Impossible()": 3.0}, rel=1e-5)
    assert "no plan satisfies this rule alone" in str(error)
    assert "Impossible(): by 3 EUR" in str(error)
    assert "others" not in str(error)


def test_a_risk_limit_that_no_money_can_meet():
    """Collateral that is worth nothing when it is needed, and no reserve: 10 - 4 is missing."""
    error = conflict_of(
        [CVaR(0.5) <= 4.0], losses=CERTAIN, waterfall=Waterfall((OwnContribution(),)), collateral=np.zeros((1, 2))
    )
    assert list(error.conflict.values()) == pytest.approx([6.0], rel=1e-5)
    assert "CVaR 50% of shortfall <= 4: by 6 EUR" in str(error)


def test_rules_that_look_alike_are_told_apart():
    rules = [means(A=1.0), means(B=2.0), fairness.FundFloor(10.0)]
    assert conflict_of(rules, losses=TWO).conflict == pytest.approx(
        {
            "AbilityToPay(share=1.0), number 1 of 2": 7.0,
            "AbilityToPay(share=1.0), number 2 of 2": 7.0,
            "FundFloor(amount=10.0)": 7.0,
        },
        rel=1e-4,
    )


def test_a_conflict_has_its_exit_code():
    error = conflict_of([fairness.FundFloor(8.0), Budget(5.0)])
    assert isinstance(error, CalibrateError)
    assert error.exit_code == 3


@pytest.mark.parametrize("miss", [1e-3, 1e-5])
def test_a_small_conflict_is_a_conflict(miss):
    error = conflict_of([fairness.FundFloor(10.0 + miss), Budget(10.0)], losses=CERTAIN)
    assert list(error.conflict.values()) == pytest.approx([miss, miss], rel=0.05)


@pytest.mark.parametrize(
    "rule",
    [
        fairness.ActuarialFairness(0.25),
        fairness.LoadingRatio(2.0),
        fairness.AbilityToPay({f"member {i + 1}": 1e9 if i < 4 else 50.0 for i in range(5)}, 1.0),
        fairness.IndividualRationality(0.9),
    ],
)
def test_a_conflict_far_below_the_losses_is_named_and_proved(rule, tmp_path):
    """A least premium of 1,000 and a member that never loses, in a pool that loses 1e9: no solver proved anything."""
    losses = 1e8 * np.random.default_rng(0).pareto(2.5, (300, 5))
    losses[:, 4] = 0.0
    terms = [CostOfCapital(0.04, 0.06), 0.1 * CVaR(0.99, of="mutualised")]
    problem = PoolProblem(Scenarios(losses), Waterfall(), terms, [rule, fairness.ContributionFloor(1000.0)])
    with pytest.raises(RuleConflictError) as told:
        problem.solve()
    assert list(told.value.conflict) == [str(rule), "ContributionFloor(amount=1000.0)"]
    assert max(told.value.conflict.values()) <= 1000.0 * (1 + 1e-6)
    assert verify(told.value.certificate.save(tmp_path / "conflict")).proved


@pytest.mark.parametrize("miss", [1e-13, 1e-9, 3e-8, 1e-7])
def test_rules_that_miss_each_other_by_rounding_have_a_plan_and_by_more_are_told_by_how_much(miss):
    """Amounts of 1 in a pool that loses 1: in finer units solvers measure no millionth of them."""
    rules = [fairness.FundFloor(1 + miss), Budget(1.0)]
    problem = PoolProblem(Scenarios(np.eye(4)), Waterfall(), [CostOfCapital(0.1, 0.2), CVaR(0.5)], rules)
    try:
        assert problem.solve().contributions.sum() == pytest.approx(1.0, rel=1e-12)
        assert miss < 1e-12
    except RuleConflictError as told:
        assert list(told.conflict.values()) == pytest.approx([miss, miss], rel=0.1)


@pytest.mark.parametrize("miss", [0.0, -1e-9, -1e-6])
def test_rules_that_just_meet_are_no_conflict(miss):
    rules = [fairness.FundFloor(10.0 + miss), Budget(10.0), fairness.ShareCap(0.5)]
    paid = stated(rules, losses=CERTAIN).solve().contributions
    np.testing.assert_allclose(paid, [5.0, 5.0], rtol=1e-5)


@pytest.mark.parametrize("miss", [1e-8, 1e-10])
def test_a_conflict_below_the_tolerance_is_solved_or_told_but_never_an_inner_error(miss):
    problem = stated([fairness.FundFloor(10.0 * (1 + miss)), Budget(10.0)], losses=CERTAIN)
    try:
        assert problem.solve().contributions.sum() == pytest.approx(10.0, rel=1e-6)
    except CalibrateError as error:
        assert any(word in str(error) for word in ("Budget", "FundFloor", "conflict"))


def test_an_unbounded_program_names_the_rate():
    pool = Scenarios(LOSSES)
    with pytest.raises(ProblemError, match=r"falls without bound.*CostOfCapital\(contributions=-0\.1, reserves=0\.2\)"):
        PoolProblem(pool, Waterfall(), CostOfCapital(-0.1, 0.2)).solve()
    with pytest.raises(ProblemError, match="falls without bound"):
        PoolProblem(pool, Waterfall(), CostOfCapital(0.1, -0.2) + CVaR(0.9), [fairness.ShareCap(0.5)]).solve()


def test_a_rate_below_zero_is_fine_where_a_budget_holds():
    calibration = PoolProblem(Scenarios(LOSSES), Waterfall(), CostOfCapital(-0.1, 0.2), [Budget(7.0)]).solve()
    assert calibration.contributions.sum() == pytest.approx(7.0, rel=1e-6)
    assert calibration.objective == pytest.approx(-0.7, rel=1e-6)


def test_a_conflict_beside_a_giant_is_the_one_that_is_proved():
    """Floor and band alone are kept by contributions of 1e9 times all losses: it takes the budget to exclude them."""
    losses = LOSSES.copy()
    losses[:, 3] *= 1e12
    rules = [fairness.ActuarialFairness(0.1), fairness.ContributionFloor(1e9), Budget(1e13), fairness.ShareCap(1.0)]
    error = conflict_of(rules, losses=losses)
    assert set(error.conflict) == {str(rule) for rule in rules[:3]}
    assert error.certificate["multipliers"] is not None
    assert error.conflict[str(rules[1])] == pytest.approx(1e9, rel=0.2)
    assert holds([rules[0], rules[2]], losses=losses)
    assert holds(rules[1:3], losses=losses)


WORTHLESS = Scenarios([[10.0, 5.0, 3.0]], members=list("ABC"), collateral=[[0.0, 1.0, 0.5]])
UNEQUAL = Scenarios([[25.0, 0.0], [10.0, 0.0], [0.0, 0.0]], members=list("AB"))


@pytest.mark.parametrize(
    ("pool", "conditions", "gives"),
    [
        (WORTHLESS, [CVaR(0.33, of="mutualised") <= 5.0], {"CVaR 33% of mutualised <= 5": 5.0}),
        (
            UNEQUAL,
            [fairness.CoverK([[6.0, 9.0]], 2), fairness.GroupParity({"A": "a", "B": "b"}, 0.0)],
            {"CoverK(k=2)": 9.0, "GroupParity(groups=2, tolerance=0.0)": 9.0},
        ),
    ],
)
def test_a_contradiction_of_money_without_bound_is_proved(pool, conditions, gives, tmp_path):
    """A member's assets are worth nothing where it loses; a member that never loses: no slope is zero by a hair."""
    with pytest.raises(RuleConflictError) as told:
        PoolProblem(pool, Waterfall((OwnContribution(),)), CostOfCapital(0.02, 0.05), conditions).solve()
    assert told.value.conflict == pytest.approx(gives, rel=1e-4)
    told.value.certificate.save(tmp_path / "proof")
    assert verify(tmp_path / "proof").proved


@pytest.mark.parametrize("seed", range(3))
def test_money_that_costs_nothing_and_is_worth_nothing_in_places_has_a_proof(seed, tmp_path):
    rng = np.random.default_rng(seed)
    worth = rng.choice([0.0, 0.25, 0.5, 1.0], (1000, 4))
    pool = Scenarios(rng.pareto(1.5, (1000, 4)) * 10, collateral=worth)
    terms = [CostOfCapital(0.0, 1.0), CVaR(0.9, of="mutualised")]
    plan = PoolProblem(pool, Waterfall(), terms, fairness.ActuarialFairness(0.5)).solve()
    verdict = verify(plan.save(tmp_path / "plan"))
    assert verdict.proved, verdict.sentence


@pytest.mark.parametrize("unit", [1.0, 1e9, 1e18])
def test_other_cones_are_no_conflict_where_money_is_large(unit):
    rng = np.random.default_rng(0)
    losses = rng.pareto(2.5, (20, 2)) * unit
    rules = [fairness.ContributionFloor(float(losses.mean(axis=0).min())), Spectral(0.9)]
    costs = [CostOfCapital(0.02, 0.5), 0.5 * CVaR(0.9, of="mutualised")]
    paid = PoolProblem(Scenarios(losses), Waterfall(), costs, rules).solve().contributions
    assert np.linalg.norm(paid) <= 0.9 * paid.sum() * (1 + 1e-9)
    assert paid.min() >= losses.mean(axis=0).min() * (1 - 1e-9)


def test_a_conflict_that_is_not_proved_says_so():
    """Two contributions have a norm of at least their sum over the root of 2."""
    rules = [Spectral(0.5), fairness.ContributionFloor(1.0)]
    with pytest.raises(RuleConflictError, match=r"This is a solver's claim, and not proved\.") as told:
        PoolProblem(Scenarios(CERTAIN), Waterfall(), CostOfCapital(0.1, 0.2), rules).solve()
    assert told.value.certificate is None
    with pytest.raises(RuleConflictError) as told:
        PoolProblem(
            Scenarios(CERTAIN), Waterfall(), CostOfCapital(0.1, 0.2), [Budget(5.0), fairness.FundFloor(50.0)]
        ).solve()
    assert "claim" not in str(told.value)
