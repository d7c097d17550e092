"""Every layer of the waterfall sits these exams, and new layers, rules and costs are one small class each."""

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import linprog

from calibrate import Scenarios, fairness
from calibrate import program as home
from calibrate.errors import ProblemError
from calibrate.program import (
    CostOfCapital,
    CostTerm,
    CVaR,
    ExpectedLoss,
    Layer,
    OwnContribution,
    Plan,
    Pool,
    PoolProblem,
    PoolReserve,
    SegmentReserve,
    Stage,
    Waterfall,
)
from calibrate.program.waterfall import Cascade

CASES = {"OwnContribution": OwnContribution(), "SegmentReserve": SegmentReserve(), "PoolReserve": PoolReserve()}
SHAPES = {Stage.MEMBER: (3, 2), Stage.SEGMENT: (2,), Stage.POOL: ()}
RNG = np.random.default_rng(2)
LOSSES = RNG.lognormal(0, 1, (20, 6)) * (RNG.random((20, 6)) < 0.6)
POOL = Pool(Scenarios(LOSSES, ["A", "B", "C"], ["x", "y"]))

every_layer = pytest.mark.parametrize("name", CASES)


def plan_of(cells, segment, pool):
    return Plan(POOL, cp.Constant(cells), cp.Constant(segment), cp.Constant(pool))


def test_every_public_layer_sits_the_exams():
    layers = {name for name in home.__all__ if isinstance(one := getattr(home, name), type) and issubclass(one, Layer)}
    assert layers - {"Layer"} == set(CASES)


@every_layer
def test_the_amount_has_the_shape_of_its_stage_and_is_affine(name):
    layer = CASES[name]
    variables = Plan(POOL, cp.Variable((3, 2)), cp.Variable(2), cp.Variable())
    amount = layer.amount(variables)
    assert amount.shape == SHAPES[layer.stage]
    assert amount.is_affine()


@every_layer
def test_the_amount_is_what_the_plan_holds(name):
    cells, segment, pool = RNG.random((3, 2)), RNG.random(2), RNG.random()
    expected = {"OwnContribution": cells, "SegmentReserve": segment, "PoolReserve": pool}[name]
    np.testing.assert_array_equal(CASES[name].amount(plan_of(cells, segment, pool)).value, expected)


def left_by_hand(kind, layers, cells, segment, pool, worth):
    """Scenario by scenario, layer by layer, in plain Python."""
    left = []
    for s in range(20):
        total = 0.0
        for g in range(2):
            load = 0.0
            for i in range(3):
                beyond = LOSSES[s, 2 * i + g] - worth[s, i] * cells[i, g]
                load += max(beyond, 0.0) if kind == "mutualised" else beyond
            total += max(load - (segment[g] if "SegmentReserve" in layers else 0.0), 0.0)
        left.append(max(total - (pool if "PoolReserve" in layers else 0.0), 0.0))
    return np.array(left)


@pytest.mark.parametrize("posted", ["cash", "collateral"])
@pytest.mark.parametrize(
    "names",
    [
        ("OwnContribution", "SegmentReserve", "PoolReserve"),
        ("OwnContribution", "PoolReserve"),
        ("OwnContribution",),
        ("SegmentReserve", "PoolReserve"),
        ("PoolReserve",),
        (),
    ],
)
def test_what_the_layers_leave(names, posted):
    waterfall = Waterfall(tuple(CASES[name] for name in names))
    cells, segment, pool = RNG.random((3, 2)), RNG.random(2), RNG.random()
    worth = RNG.random((20, 3)) if posted == "collateral" else np.ones((20, 3))
    cascade = Cascade.of(waterfall, plan_of(cells, segment, pool))
    for kind in ("mutualised", "shortfall") if waterfall.defaulter_pays else ("shortfall",):
        left = cascade.leaves(kind, LOSSES.reshape(20, 6), worth if posted == "collateral" else None)
        np.testing.assert_allclose(left, left_by_hand(kind, names, cells, segment, pool, worth), rtol=1e-12, atol=1e-14)


def test_what_is_mutualised_is_never_less_than_the_shortfall():
    cascade = Cascade.of(
        Waterfall((OwnContribution(), SegmentReserve(), PoolReserve())), plan_of(RNG.random((3, 2)), RNG.random(2), 0.3)
    )
    rows = LOSSES.reshape(20, 6)
    assert (cascade.leaves("mutualised", rows, None) >= cascade.leaves("shortfall", rows, None) - 1e-14).all()


@pytest.mark.parametrize(
    "layers",
    [(PoolReserve(), OwnContribution()), (SegmentReserve(), OwnContribution()), (PoolReserve(), SegmentReserve())],
)
def test_an_order_that_cannot_be_is_refused_in_words(layers):
    first, second = (type(layer).__name__ for layer in layers)
    with pytest.raises(ProblemError, match=f"in the order {first}, {second}, but .* nobody knows whose they were"):
        Waterfall(layers)


@pytest.mark.parametrize("term", [CVaR(0.9, of="mutualised"), ExpectedLoss("mutualised")])
def test_a_mutual_has_no_mutualised_loss(term):
    with pytest.raises(ProblemError, match=r"needs a layer in which the defaulter pays.*add OwnContribution\(\)"):
        PoolProblem(POOL.scenarios, Waterfall((PoolReserve(),)), term + CostOfCapital(0.1, 0.1))


# --- one small class each -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Assessment(Layer):
    """Survivors may be called once more, for a multiple of what all have paid."""

    multiple: float
    stage = Stage.POOL

    def amount(self, plan):
        return self.multiple * plan.total


@dataclass(frozen=True)
class PairCap(fairness.Rule):
    """Two members together pay at most an amount."""

    first: str
    second: str
    amount: float

    def gap(self, plan):
        pair = [plan.pool.members.index(name) for name in (self.first, self.second)]
        return cp.sum(plan.contributions[pair]) - self.amount


@dataclass(frozen=True)
class Levy(CostTerm):
    """A tax on one member's contributions."""

    member: str
    rate: float

    def amount(self, plan):
        return self.rate * plan.contributions[plan.pool.members.index(self.member)]

    def __str__(self):
        return f"Levy({self.member}, {self.rate:g})"


SMALL, P = LOSSES[:, :3], np.full(20, 0.05)


def by_hand(multiple=0.0, levy=0.0, pair=None):
    """`min 0.1 C + levy c_A + 0.6 CVaR_.8((sum (L - c)+ - multiple C)+)`: variables c, t, e[s, i], z[s]."""
    n = 3 + 1 + 60 + 20
    cost = np.zeros(n)
    cost[:3], cost[0], cost[3], cost[64:] = 0.1, 0.1 + levy, 0.6, 0.6 * 0.05 / 0.2
    rows, sides = [], []
    for s in range(20):
        for i in range(3):
            row = np.zeros(n)
            row[i], row[4 + 3 * s + i] = -1, -1
            rows.append(row)
            sides.append(-SMALL[s, i])
        row = np.zeros(n)
        row[4 + 3 * s : 7 + 3 * s], row[:3], row[3], row[64 + s] = 1, -multiple, -1, -1
        rows.append(row)
        sides.append(0.0)
    if pair is not None:
        row = np.zeros(n)
        row[:2] = 1
        rows.append(row)
        sides.append(pair)
    found = linprog(cost, np.array(rows), sides, bounds=[(0, None)] * n, method="highs")
    assert found.status == 0
    return found.fun


OWN = (OwnContribution(),)


def solved(layers=OWN, more=(), rules=()):
    terms = [CostOfCapital(0.1, 0.1), 0.6 * CVaR(0.8, of="mutualised"), *more]
    return PoolProblem(Scenarios(SMALL, ["A", "B", "C"]), Waterfall(layers), terms, rules).solve(tolerance=1e-8)


def test_a_new_layer_works_from_end_to_end():
    calibration = solved((OwnContribution(), Assessment(0.25)))
    assert calibration.objective == pytest.approx(by_hand(multiple=0.25), rel=1e-7)
    assert calibration.objective < by_hand() * 0.999, "the layer must matter"
    assert calibration.provenance["waterfall"] == ["OwnContribution()", "Assessment(multiple=0.25)"]
    c = calibration.contributions.to_numpy()
    left = np.sort(np.maximum(np.maximum(SMALL - c, 0).sum(axis=1) - 0.25 * c.sum(), 0))[-4:].mean()
    assert calibration.risk.loc["CVaR 80% of mutualised", "in_sample"] == pytest.approx(left, rel=1e-9)


def test_a_new_rule_works_from_end_to_end():
    calibration = solved(rules=[PairCap("A", "B", 2.0)])
    assert calibration.objective == pytest.approx(by_hand(pair=2.0), rel=1e-7)
    assert calibration.objective > by_hand() * 1.001, "the rule must bind"
    row = calibration.fairness.loc["PairCap(first='A', second='B', amount=2.0)"]
    assert row["binding"] and abs(row["gap"]) < 1e-6 and abs(row["shadow_price"]) > 1e-3


def test_a_new_cost_works_from_end_to_end():
    calibration = solved(more=[0.5 * Levy("A", 0.4)])
    assert calibration.objective == pytest.approx(by_hand(levy=0.2), rel=1e-7)
    assert calibration.objective > by_hand() * 1.001, "the levy must matter"
    assert "0.5 * Levy(A, 0.4)" in calibration.provenance["minimise"]
    paid = calibration.contributions.to_numpy()
    assert paid[0] < solved().contributions["A"]


@dataclass(frozen=True)
class Deductible(Layer):
    """The first part of a loss is the member's own affair."""

    fixed: float
    stage = Stage.MEMBER

    def amount(self, plan):
        return cp.Constant(np.full(plan.cells.shape, self.fixed))


@pytest.mark.parametrize("rules", [(), [fairness.ShareCap(0.5)]])
def test_what_members_do_not_pay_for_is_solved_without_a_certificate(rules):
    calibration = solved((*OWN, Deductible(0.3)), rules=rules)
    c = calibration.contributions.to_numpy()
    left = np.sort(np.maximum(SMALL - c - 0.3, 0).sum(axis=1))[-4:].mean()
    assert calibration.objective == pytest.approx(0.1 * c.sum() + 0.6 * left, rel=1e-9)
    assert calibration.objective < by_hand() * 0.999
    assert calibration.certificate is None
    beyond = Scenarios(np.maximum(SMALL - 0.3, 0), ["A", "B", "C"])
    terms = [CostOfCapital(0.1, 0.1), 0.6 * CVaR(0.8, of="mutualised")]
    cheapest = PoolProblem(beyond, Waterfall(OWN), terms, rules).solve(tolerance=1e-8)
    assert calibration.objective == pytest.approx(cheapest.objective, rel=1e-7)


# --- what is no layer, cost or risk ---------------------------------------------------------------------------------


class Odd(Layer):
    def __init__(self, amount, stage=Stage.POOL):
        self.stage, self.amount_of = stage, amount

    def amount(self, plan):
        return self.amount_of(plan)


class OddCost(CostTerm):
    def __init__(self, amount):
        self.amount_of = amount

    def amount(self, plan):
        return self.amount_of(plan)


NO_AMOUNT = {
    "amount is of type float, expected a cvxpy expression in money": lambda plan: 3.0,
    r"amount has shape \(3,\), expected \(\); of several numbers cp.sum makes one": lambda plan: plan.contributions,
    "amount is convex to cvxpy, expected affine in the plan": lambda plan: cp.max(plan.contributions),
    "amount is concave to cvxpy, expected affine": lambda plan: cp.min(plan.contributions),
    "amount holds a cvxpy Parameter, expected a number": lambda plan: cp.Parameter(value=0.1) * plan.total,
    "amount has a variable of its own, expected the plan's only": lambda plan: plan.total + cp.Variable(),
    "amount holds nan, expected finite numbers": lambda plan: plan.total * np.nan,
    "amount holds nan, .* or for the value of a plan that is not": lambda plan: plan.total - plan.total.value,
}


@pytest.mark.parametrize("sentence", NO_AMOUNT)
def test_what_is_no_amount_is_refused_when_the_problem_is_stated(sentence):
    scenarios, amount = Scenarios(SMALL, ["A", "B", "C"]), NO_AMOUNT[sentence]
    with pytest.raises(ProblemError, match="^Odd: " + sentence):
        PoolProblem(scenarios, Waterfall((*OWN, Odd(amount))), CVaR(0.8))
    for terms, limits in ((CVaR(0.8) + OddCost(amount), ()), (CVaR(0.8), OddCost(amount) <= 1.0)):
        with pytest.raises(ProblemError, match="^OddCost: " + sentence):
            PoolProblem(scenarios, Waterfall(OWN), terms, limits)


@pytest.mark.parametrize(
    ("stage", "amount", "words"),
    [
        (Stage.POOL, lambda plan: plan.total - 2.0, "a fixed part of -2"),
        (Stage.POOL, lambda plan: -0.5 * plan.total, "a rate of -0.5"),
        (Stage.SEGMENT, lambda plan: cp.sum(plan.cells, axis=0) - 2.0, "a fixed part of -2"),
        (Stage.MEMBER, lambda plan: -0.25 * plan.cells, "a rate of -0.25"),
    ],
)
def test_a_layer_that_takes_is_refused(stage, amount, words):
    layers = sorted((*OWN, Odd(amount, stage)), key=lambda layer: layer.stage)
    with pytest.raises(ProblemError, match=f"Odd: amount has {words}, expected none below zero: a layer pays"):
        solved(layers)


def test_a_layer_says_its_stage():
    with pytest.raises(ProblemError, match=r"^Odd: stage is not said, expected "):
        Waterfall((Odd(None, stage=None),))


@dataclass(frozen=True)
class Mine(CVaR):
    """A name that the verifier cannot read."""

    def __str__(self):
        return "mine"


@pytest.mark.parametrize("stated", [lambda: (0.5 * Mine(0.9), ()), lambda: (CVaR(0.8), Mine(0.9) <= 1.0)])
def test_a_risk_that_no_proof_knows_is_refused(stated):
    with pytest.raises(ProblemError, match=r"^Mine is a risk that no proof knows, expected CVaR or Ex"):
        PoolProblem(Scenarios(SMALL), Waterfall(OWN), *stated())


def test_what_has_no_words_is_called_by_its_class():
    """An address in memory would be another name, and other bytes, in each run."""

    class Half(fairness.Rule):
        def gap(self, plan):
            return plan.contributions - plan.total / 2

    layer, cost = Odd(lambda plan: 0.5 * plan.total), OddCost(lambda plan: 0.01 * plan.total)
    calibration = solved((*OWN, layer), more=[cost], rules=[Half()])
    assert calibration.fairness.index.to_list() == ["Half"]
    assert calibration.provenance["waterfall"] == ["OwnContribution()", "Odd"]
    assert calibration.provenance["minimise"][-1] == "1 * OddCost"


def test_a_new_rule_takes_part_in_a_conflict():
    from calibrate.errors import RuleConflictError

    with pytest.raises(RuleConflictError, match=r"PairCap\(first='A', second='B', amount=2\.0\): by 1 USD"):
        solved(rules=[PairCap("A", "B", 2.0), fairness.ContributionFloor(1.5)])


@pytest.mark.parametrize("layer", [OwnContribution(), SegmentReserve(), PoolReserve()])
def test_the_money_of_a_layer_pays_once(layer):
    with pytest.raises(ProblemError, match=rf"a waterfall holds {type(layer).__name__}\(\) twice"):
        Waterfall((layer, layer))
