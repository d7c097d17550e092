"""Members, segments and scenarios in another order: the same plan to the last bit, proved from the same files."""

import cvxpy as cp
import numpy as np
import pytest

from calibrate import Scenarios, fairness, verify
from calibrate.errors import RuleConflictError, SolverError
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
from calibrate.program.content import by_column, by_row
from calibrate.program.fairness.base import Rule
from calibrate.program.order import Order
from calibrate.program.working_set import solve_by_tail

KINDS = ["continuous", "grid", "two-point", "twins", "exchangeable"]


def table(rng, kind, n, columns):
    losses = rng.pareto(2.5, (n, columns)) * rng.lognormal(0, 0.7, columns)
    losses *= rng.random(losses.shape) < rng.choice([0.1, 0.5, 1.0])
    if kind == "grid":
        losses = np.ceil(3 * losses)
    if kind == "two-point":
        losses = (losses > 0) * np.ceil(rng.lognormal(0, 1, columns))
    if kind == "twins":
        losses[:, columns // 2 :] = losses[:, : columns - columns // 2]
    if kind == "exchangeable":
        losses = np.vstack([np.roll(np.ceil(losses[: n // columns + 1]), k, axis=1) for k in range(columns)])
    losses[0, 0] += not losses.any()
    return losses


class Told:
    """A pool in the order of the caller: everything by position that a problem is made of."""

    def __init__(self, seed):
        rng = np.random.default_rng([seed, 11])
        kind, n, self.k = KINDS[seed % 5], int(rng.integers(30, 600)), int(rng.choice([1, 1, 2, 3]))
        self.m = int(rng.integers(2, 10))
        self.losses = table(rng, kind, n, self.m * self.k)
        n = len(self.losses)
        self.p = rng.dirichlet(np.ones(n)) if rng.random() < 0.4 else np.full(n, 1 / n)
        self.worth = rng.uniform(0.3, 1, (n, self.m)) if rng.random() < 0.3 else None
        self.members = [f"M{i}" for i in range(self.m)]
        self.segments = [f"g{k}" for k in range(self.k)]
        size = float(self.p @ self.losses.sum(axis=1))
        self.stress = 2 * size * rng.random((3, self.m))
        self.exposures = dict(zip(self.members, rng.lognormal(0, 1, self.m).tolist(), strict=True))
        self.reference = self.exposures if rng.random() < 0.3 else None
        self.level = rng.choice([0.8, 0.95, 0.99]).item()
        self.chosen = rng.random(9) < 0.25
        self.size = size

    def permuted(self, seed):
        """Scenarios, members and segments in another order, names along with them."""
        rng, other = np.random.default_rng(seed), object.__new__(Told)
        rows, own, held = rng.permutation(len(self.p)), rng.permutation(self.m), rng.permutation(self.k)
        other.__dict__ |= self.__dict__
        columns = (own[:, None] * self.k + held).ravel()
        other.losses, other.p = self.losses[np.ix_(rows, columns)], self.p[rows]
        other.worth = None if self.worth is None else self.worth[np.ix_(rows, own)]
        other.members, other.segments = [self.members[i] for i in own], [self.segments[g] for g in held]
        other.stress = self.stress[:, own]
        other.exposures = {name: self.exposures[name] for name in other.members}
        return other

    @property
    def rules(self):
        even = dict.fromkeys(self.members, self.size / self.m)
        rules = [
            fairness.ConcentrationLimit(min(1.5 / self.m + 0.1, 1.0)),
            fairness.GiniLimit(0.4),
            fairness.CoverK(self.stress, min(2, self.m)),
            fairness.GroupParity({name: "xy"[int(name[1:]) % 2] for name in self.members}, 0.5),
            fairness.RiskMonotonicity(0.9),
            fairness.CoalitionStability(0.5, 3 * self.size),
            fairness.CrossSubsidyCap(0.4, 0.1),
            fairness.ExposureProportional(20.0),
            fairness.Turnover(even, member=20.0, total=5.0),
        ]
        return [fairness.ActuarialFairness(2.0), *(rule for rule, on in zip(rules, self.chosen, strict=True) if on)]

    def problem(self, rules=None):
        pool = Scenarios(self.losses, self.members, self.segments, self.p, self.worth)
        layers = (OwnContribution(), *([SegmentReserve()] if self.k > 1 else []), PoolReserve())
        terms = [CostOfCapital(0.03, 0.06), 0.3 * CVaR(self.level, of="mutualised"), 0.1 * CVaR(0.7)]
        terms.append(0.05 * ExpectedLoss(of="mutualised"))
        rules = self.rules if rules is None else rules
        return PoolProblem(pool, Waterfall(layers), terms, rules, self.exposures, self.reference)


def solved(problem):
    try:
        return problem.solve()
    except (RuleConflictError, SolverError) as told:
        return told


def assert_same(ours, theirs, folder):
    if isinstance(ours, SolverError):
        assert str(theirs) == str(ours)  # nothing was proved, with the same numbers
        return
    if isinstance(ours, RuleConflictError):
        assert dict(theirs.conflict) == dict(ours.conflict)
        for name, one in (("ours", ours), ("theirs", theirs)):
            assert verify(one.certificate.save(folder / name)).proved
        return
    back = theirs.contributions.reindex(ours.contributions.index)
    assert back.to_numpy().tobytes() == ours.contributions.to_numpy().tobytes()
    held = theirs.reserves.reindex(ours.reserves.index)
    assert held.to_numpy().tobytes() == ours.reserves.to_numpy().tobytes()
    assert (theirs.objective, theirs.lower_bound) == (ours.objective, ours.lower_bound)
    for decimals in (2, 6, 18):
        one, other = ours.to_fixed_point(decimals), theirs.to_fixed_point(decimals)
        assert dict(one.contributions) == dict(other.contributions)
        assert dict(one.reserves) == dict(other.reserves)
        assert dict(one.weights) == dict(other.weights)
    published = [dict(zip(names_of(one), one.certificate["published"], strict=True)) for one in (ours, theirs)]
    assert published[0] == published[1]
    for name, one in (("ours", ours), ("theirs", theirs)):
        assert verify(one.save(folder / name)).proved


def names_of(calibration):
    return [*calibration.contributions.index, *calibration.reserves.index]


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(k, marks=pytest.mark.slow) for k in range(12, 30))])
def test_another_order_is_the_same_answer(seed, tmp_path):
    told = Told(seed)
    assert_same(solved(told.problem()), solved(told.permuted(seed).problem()), tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_from_the_same_start(seed):
    """A start is read by name; here it is the answer at another level."""
    told = Told(seed)
    told.chosen[:] = False
    other = told.permuted(seed)
    told.level, other.level = 0.9, 0.9
    start = told.problem().solve()
    told.level = other.level = 0.92
    ours, theirs = told.problem().solve(start=start), other.problem().solve(start=start)
    assert theirs.contributions.reindex(ours.contributions.index).tolist() == ours.contributions.tolist()


def test_a_frontier_is_the_same():
    told = Told(0)
    told.chosen[:] = False
    one, other = (t.problem().frontier(fairness.ShareCap, [0.9, 0.6]) for t in (told, told.permuted(3)))
    assert one.equals(other)


def test_members_without_names():
    """Columns are told apart by what they hold: the names are only for those that look alike."""
    rng = np.random.default_rng(4)
    losses, order = np.ceil(3 * rng.pareto(2.5, (400, 7))), rng.permutation(7)
    terms = [CostOfCapital(0.03, 0.06), 0.3 * CVaR(0.9, of="mutualised")]
    ours, theirs = (PoolProblem(Scenarios(one), Waterfall(), terms).solve() for one in (losses, losses[:, order]))
    assert theirs.contributions.tolist() == ours.contributions.to_numpy()[order].tolist()


class AtLeast(Rule):
    """Knows the members by their position, as any rule may: everybody pays a share of the total."""

    def __init__(self, shares):
        self.shares = shares

    def gap(self, plan):
        return self.shares * plan.total - plan.contributions


class Smooth(Rule):
    """A rule that only the program written out knows: an exponential cone."""

    def __init__(self, most):
        self.most = most

    def gap(self, plan):
        return cp.reshape(cp.log_sum_exp(plan.contributions / self.most) - 2.0, (1,), order="C") * self.most


def paid_in_two_orders(losses, terms, rules_of):
    """Contributions by name, of members in two orders; `rules_of` the positions of the first."""
    n = losses.shape[1]
    names, order = np.array([f"M{i}" for i in range(n)]), np.random.default_rng(n).permutation(n)
    ours, theirs = (
        PoolProblem(Scenarios(losses[:, own], names[own]), Waterfall(), terms, rules_of(own)).solve().contributions
        for own in (np.arange(n), order)
    )
    return ours.to_numpy(), theirs.reindex(names).to_numpy()


DEAR = [CostOfCapital(0.02, 0.5), 0.5 * CVaR(0.9, of="mutualised")]


def test_a_rule_may_know_members_by_their_position():
    losses = np.random.default_rng(0).pareto(2.5, (300, 5))
    shares = np.array([0.5, 0.05, 0.1, 0.05, 0.05])
    ours, theirs = paid_in_two_orders(losses, DEAR, lambda own: [AtLeast(shares[own])])
    assert np.all(ours >= (1 - 1e-9) * shares * ours.sum())
    assert ours[0] == pytest.approx(0.5 * ours.sum())
    assert theirs.tolist() == ours.tolist()


def test_the_program_written_out():
    losses = np.random.default_rng(1).pareto(2.5, (40, 4))
    ours, theirs = paid_in_two_orders(losses, DEAR, lambda own: [Smooth(float(losses.mean()))])
    free, _ = paid_in_two_orders(losses, DEAR, lambda own: [])
    assert ours.sum() < 0.9 * free.sum()
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)


@pytest.mark.slow
def test_coalitions_that_are_searched():
    losses = np.random.default_rng(2).pareto(2.5, (100, 13))
    rules = [fairness.CoalitionStability(0.8), fairness.ShareCap(0.09)]
    ours, theirs = paid_in_two_orders(losses, DEAR, lambda own: rules)
    assert theirs.tolist() == ours.tolist()


@pytest.mark.parametrize("seed", range(6))
def test_twins_pay_the_same_to_the_last_bit(seed):
    rng = np.random.default_rng([seed, 3])
    losses = table(rng, "grid" if seed % 2 else "continuous", 500, 6)
    losses[:, [3, 5]] = losses[:, [1, 1]]
    terms = [CostOfCapital(0.03, 0.06), 0.3 * CVaR(0.9, of="mutualised"), 0.1 * CVaR(0.8)]
    rules = [fairness.ActuarialFairness(0.5), fairness.GiniLimit(0.5)][: seed % 3]
    paid = PoolProblem(Scenarios(losses), Waterfall(), terms, rules).solve().contributions.to_numpy()
    assert paid[1] == paid[3] == paid[5]


def test_exchangeable_members_pay_the_same_to_the_last_bit():
    losses = table(np.random.default_rng(1), "exchangeable", 200, 5)
    terms = [CostOfCapital(0.03, 0.06), 0.3 * CVaR(0.9, of="mutualised")]
    paid = PoolProblem(Scenarios(losses), Waterfall(), terms).solve().contributions
    assert len(set(paid)) == 1


def test_twins_that_a_rule_tells_apart_do_not_pay_the_same():
    losses = np.repeat(np.random.default_rng(0).pareto(2.5, (300, 1)), 2, axis=1)
    terms = [CostOfCapital(0.02, 0.06), 0.9 * CVaR(0.9, of="mutualised")]
    rules = [fairness.AbilityToPay({"A": 0.5, "B": 100.0})]
    paid = PoolProblem(Scenarios(losses, ["A", "B"]), Waterfall(), terms, rules).solve().contributions
    assert paid["A"] <= 0.5 + 1e-9 < paid["B"]


def test_too_large_for_a_copy_the_order_shows_within_the_tolerance(monkeypatch):
    monkeypatch.setattr("calibrate.program.plan.MOST_ORDERED", 0)
    told = Told(0)
    ours, theirs = (one.problem().solve() for one in (told, told.permuted(1)))
    assert theirs.objective == pytest.approx(ours.objective, rel=1e-6)
    scale = float(ours.contributions.max())
    np.testing.assert_allclose(
        theirs.contributions.reindex(ours.contributions.index), ours.contributions, atol=1e-3 * scale
    )


def test_a_solution_is_told_in_the_order_of_the_caller():
    program = Told(1).problem().program
    x = solve_by_tail(program, 1e-6).x
    assert program.ordered.asked is program
    own = program.ordered.cascade(program.ordered.arranged(x)).own
    np.testing.assert_array_equal(own, program.ordered.pool.order.arranged(program.cascade(x).own))


def test_keys_do_not_depend_on_the_order_nor_on_the_unit():
    rng = np.random.default_rng(0)
    losses = np.round(rng.pareto(2.0, (50, 6)) * (rng.random((50, 6)) < 0.5), 2)
    rows = np.arange(50, dtype=np.uint64)
    assert len(set(by_column(losses, rows).tolist())) == 6
    assert by_column(losses[::-1], rows[::-1]).tolist() == by_column(losses, rows).tolist()
    assert by_row(losses[:, ::-1], rows[:6][::-1]).tolist() == by_row(losses, rows[:6]).tolist()
    assert by_column(-0.0 * losses, rows).tolist() == [0] * 6
    one, other = Order.of(Scenarios(losses)), Order.of(Scenarios(losses * 2.0**-70))
    assert (one.rows.tolist(), one.members.tolist()) == (other.rows.tolist(), other.members.tolist())


def test_members_who_look_alike_only_by_their_own_losses_are_told_apart():
    """The first two lose the same amounts as often, but one of them with the third."""
    losses = [[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert len(set(Order.of(Scenarios(losses)).alike.tolist())) == 3
    assert len(set(Order.of(Scenarios(np.eye(3))).alike.tolist())) == 1
