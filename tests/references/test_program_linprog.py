"""The program against linear programs written out by hand and solved by scipy's HiGHS: no code is shared.

The formulas are those of the design's tables: own contributions, segment reserves, pool reserve, CVaR by Rockafellar
and Uryasev (2000), and each fairness rule in its printed form.
"""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from calibrate import Scenarios, fairness
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

MEMBERS = ["A", "B", "C"]
AGREE = 1e-8  # relative, of objectives


class Linear:
    """A linear program that grows by variables and rows; all variables free unless said otherwise."""

    def __init__(self):
        self.size, self.bounds, self.cost, self.rows, self.sides = 0, [], {}, [], []

    def variables(self, n, low=0.0):
        self.bounds += [(low, None)] * n
        self.size += n
        return np.arange(self.size - n, self.size)

    def at_most(self, coefficients, side):
        """`sum coefficient * variable <= side`, as a list of pairs."""
        self.rows.append(coefficients)
        self.sides.append(side)

    def charge(self, pairs):
        for j, price in pairs:
            self.cost[j] = self.cost.get(j, 0.0) + price

    def solve(self):
        matrix = np.zeros((len(self.rows), self.size))
        for k, row in enumerate(self.rows):
            for j, coefficient in row:
                matrix[k, j] += coefficient
        cost = np.zeros(self.size)
        for j, price in self.cost.items():
            cost[j] += price
        tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
        found = linprog(cost, matrix, self.sides, bounds=self.bounds, method="highs", options=tight)
        assert found.status == 0, found.message
        return found


class PoolByHand(Linear):
    """`c[i, g]`, `r[g]`, `r0` and what the waterfall leaves, literally."""

    def __init__(self, losses, p, n_segments=1, collateral=None, own=True, segment=False, pool=True):
        super().__init__()
        self.p, self.own = p, own
        self.L = losses.reshape(len(p), -1, n_segments)
        self.S, self.n, self.k = self.L.shape
        self.a = np.ones((self.S, self.n)) if collateral is None else collateral
        self.c = self.variables(self.n * self.k).reshape(self.n, self.k)
        self.r = self.variables(self.k) if segment else None
        self.r0 = self.variables(1)[0] if pool else None
        self.mu = p @ self.L.sum(axis=2)

    def all_contributions(self, factor=1.0):
        return [(j, factor) for j in self.c.ravel()]

    def all_reserves(self, factor=1.0):
        reserves = [] if self.r is None else list(self.r)
        return [(j, factor) for j in [*reserves, *([] if self.r0 is None else [self.r0])]]

    def left(self, kind):
        """Variables `Y[s]` of what is left of a kind."""
        y = self.variables(self.S)
        for s in range(self.S):
            beyond = []
            for g in range(self.k):
                u = self.variables(1)[0]
                reserve = [] if self.r is None else [(self.r[g], -1.0)]
                if kind == "mutualised":
                    e = self.variables(self.n)
                    for i in range(self.n):
                        self.at_most([(e[i], -1.0), (self.c[i, g], -self.a[s, i])], -self.L[s, i, g])
                    self.at_most([(u, -1.0), *[(j, 1.0) for j in e], *reserve], 0.0)
                else:
                    paid = [(self.c[i, g], -self.a[s, i]) for i in range(self.n)]
                    self.at_most([(u, -1.0), *paid, *reserve], -self.L[s, :, g].sum())
                beyond.append((u, 1.0))
            pool = [] if self.r0 is None else [(self.r0, -1.0)]
            self.at_most([(y[s], -1.0), *beyond, *pool], 0.0)
        return y

    def cvar(self, level, kind):
        """Pairs whose sum is the CVaR."""
        y, t, z = self.left(kind), self.variables(1, low=None)[0], self.variables(self.S)
        for s in range(self.S):
            self.at_most([(y[s], 1.0), (t, -1.0), (z[s], -1.0)], 0.0)
        return [(t, 1.0), *[(z[s], self.p[s] / (1 - level)) for s in range(self.S)]]

    def expected(self, kind):
        return list(zip(self.left(kind), self.p, strict=True))


def scaled(pairs, factor):
    return [(j, factor * value) for j, value in pairs]


def by_sort(values, p, level):
    """CVaR of a weighted sample, by filling the tail from the top."""
    room, total = 1 - level, 0.0
    for s in np.argsort(-values):
        taken = min(room, p[s])
        total, room = total + taken * values[s], room - taken
    return total / (1 - level)


def pool_of_three(n_segments=1, seed=4, scenarios=30):
    rng = np.random.default_rng(seed)
    size = np.repeat([1.0, 2.0, 4.0], n_segments)
    losses = rng.lognormal(0, 1.2, (scenarios, 3 * n_segments)) * size
    losses *= rng.random(losses.shape) < 0.5
    p = rng.dirichlet(np.full(scenarios, 2.0))
    return losses, p


LOSSES, P = pool_of_three()
EXPOSURES = {"A": 10.0, "B": 10.0, "C": 15.0}
PREVIOUS = {"A": 3.0, "B": 3.0, "C": 3.0}
STRESS = np.array([[9.0, 2.0, 30.0], [2.0, 25.0, 14.0]])
RHO = np.array([by_sort(LOSSES[:, i], P, 0.8) for i in range(3)])
MU = P @ LOSSES
TOTAL = MU.sum()
DISTANCE = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [4.0, 2.0, 0.0]])


def share_rows(hand, target, band):
    """`abs(c_i - C target_i) <= band * C target_i`."""
    for i in range(3):
        hand.at_most([(hand.c[i, 0], 1.0), *hand.all_contributions(-(1 + band) * target[i])], 0.0)
        hand.at_most([(hand.c[i, 0], -1.0), *hand.all_contributions((1 - band) * target[i])], 0.0)


def actuarial(hand):
    share_rows(hand, MU / TOTAL, 0.1)


def exposure(hand):
    share_rows(hand, np.array([10, 10, 15]) / 35, 0.05)


def solidarity(hand):
    share_rows(hand, 0.4 * MU / TOTAL + 0.6 / 3, 0.02)


def loading_ratio(hand):
    t = hand.variables(1)[0]
    for i in range(3):
        hand.at_most([(t, MU[i]), (hand.c[i, 0], -1.0)], 0.0)
        hand.at_most([(hand.c[i, 0], 1.0), (t, -1.05 * MU[i])], 0.0)


def individually_rational(hand):
    for i in range(3):
        hand.at_most([(hand.c[i, 0], 1.0)], RHO[i])


def stable(hand):
    for size in (1, 2):
        for group in combinations(range(3), size):
            rho = by_sort(LOSSES[:, group].sum(axis=1), P, 0.7)
            hand.at_most([(hand.c[i, 0], 1.0) for i in group], rho + 0.05)


def monotone(hand):
    rho = [by_sort(LOSSES[:, i], P, 0.95) for i in range(3)]
    for i in range(3):
        for j in range(3):
            if rho[i] >= rho[j] and i != j:
                hand.at_most([(hand.c[j, 0], 1.0), (hand.c[i, 0], -1.0)], 0.0)


def similar(hand):
    for i in range(3):
        for j in range(3):
            if i != j:
                reach = hand.all_contributions(-0.02 * DISTANCE[i, j] / TOTAL)
                hand.at_most([(hand.c[i, 0], 1 / MU[i]), (hand.c[j, 0], -1 / MU[j]), *reach], 0.0)


def parity(hand):
    for group in ([0, 1], [2]):
        ours = [(hand.c[i, 0], 1 / MU[group].sum()) for i in group]
        hand.at_most([*ours, *hand.all_contributions(-1.03 / TOTAL)], 0.0)
        hand.at_most([*scaled(ours, -1), *hand.all_contributions(0.97 / TOTAL)], 0.0)


def within_means(hand):
    for i, capital in enumerate([20.0, 8.0, 12.0]):
        hand.at_most([(hand.c[i, 0], 1.0)], 0.5 * capital)


def capped(hand):
    for i in range(3):
        hand.at_most([(hand.c[i, 0], 1.0), *hand.all_contributions(-0.4)], 0.0)


def floored(hand):
    for i in range(3):
        hand.at_most([(hand.c[i, 0], -1.0)], -12.5)


def funded(hand):
    hand.at_most(hand.all_contributions(-1.0), -50.0)


def within_budget(hand):
    hand.at_most([*hand.all_contributions(), *hand.all_reserves()], 9.0)


def gini(hand):
    """`sum_ij abs(r_i - r_j) <= 2 n g sum r`."""
    pairs = []
    for i in range(3):
        for j in range(3):
            gap = hand.variables(1)[0]
            pairs.append((gap, 1.0))
            hand.at_most([(hand.c[i, 0], 1 / MU[i]), (hand.c[j, 0], -1 / MU[j]), (gap, -1.0)], 0.0)
            hand.at_most([(hand.c[i, 0], -1 / MU[i]), (hand.c[j, 0], 1 / MU[j]), (gap, -1.0)], 0.0)
    hand.at_most([*pairs, *[(hand.c[i, 0], -2 * 3 * 0.01 / MU[i]) for i in range(3)]], 0.0)


def subsidies(hand):
    over = hand.variables(3)
    for i in range(3):
        hand.at_most([(hand.c[i, 0], 1.0), (over[i], -1.0)], 1.1 * MU[i])
    hand.at_most([*[(j, 1.0) for j in over], *hand.all_contributions(-0.2)], 0.0)


def turnover(hand):
    change = hand.variables(3)
    for i in range(3):
        hand.at_most([(hand.c[i, 0], 1.0)], 1.3 * 3.0)
        hand.at_most([(hand.c[i, 0], -1.0)], -0.7 * 3.0)
        hand.at_most([(hand.c[i, 0], 1.0), (change[i], -1.0)], 3.0)
        hand.at_most([(hand.c[i, 0], -1.0), (change[i], -1.0)], -3.0)
    hand.at_most([(j, 1.0) for j in change], 0.15 * 9.0)


def covers_two(hand):
    """For every group D of 2: `sum_D (E_i - c_i)+ <= r + contributions outside D`."""
    for row in STRESS:
        for group in combinations(range(3), 2):
            lacks = hand.variables(2)
            for variable, i in zip(lacks, group, strict=True):
                hand.at_most([(variable, -1.0), (hand.c[i, 0], -1.0)], -row[i])
            outside = [(hand.c[i, 0], -1.0) for i in range(3) if i not in group]
            hand.at_most([(lacks[0], 1.0), (lacks[1], 1.0), *outside, *hand.all_reserves(-1.0)], 0.0)


RULES = {
    "ActuarialFairness": (fairness.ActuarialFairness(0.1), actuarial),
    "ExposureProportional": (fairness.ExposureProportional(0.05), exposure),
    "Solidarity": (fairness.Solidarity(share=0.6, band=0.02), solidarity),
    "LoadingRatio": (fairness.LoadingRatio(1.05), loading_ratio),
    "IndividualRationality": (fairness.IndividualRationality(0.8), individually_rational),
    "CoalitionStability": (fairness.CoalitionStability(0.7, epsilon=0.05), stable),
    "RiskMonotonicity": (fairness.RiskMonotonicity(0.95), monotone),
    "SimilarMembers": (fairness.SimilarMembers(DISTANCE, lipschitz=0.02), similar),
    "GroupParity": (fairness.GroupParity({"A": "small", "B": "small", "C": "large"}, tolerance=0.03), parity),
    "AbilityToPay": (fairness.AbilityToPay({"C": 12.0, "A": 20.0, "B": 8.0}, share=0.5), within_means),
    "ShareCap": (fairness.ShareCap(0.4), capped),
    "ContributionFloor": (fairness.ContributionFloor(12.5), floored),
    "FundFloor": (fairness.FundFloor(50.0), funded),
    "Budget": (fairness.Budget(9.0), within_budget),
    "GiniLimit": (fairness.GiniLimit(0.01), gini),
    "CrossSubsidyCap": (fairness.CrossSubsidyCap(share=0.2, loading=0.1), subsidies),
    "Turnover": (fairness.Turnover(PREVIOUS, member=0.3, total=0.15), turnover),
    "CoverK": (fairness.CoverK(STRESS, k=2), covers_two),
}
PRICES = {"contributions": 0.08, "reserves": 0.2}
MINIMISE = [CostOfCapital(**PRICES), 0.5 * CVaR(0.8, of="mutualised"), 0.1 * CVaR(0.9)]


def by_hand(extra=lambda hand: None):
    hand = PoolByHand(LOSSES, P)
    hand.charge([*hand.all_contributions(0.08), *hand.all_reserves(0.2)])
    hand.charge(scaled(hand.cvar(0.8, "mutualised"), 0.5))
    hand.charge(scaled(hand.cvar(0.9, "shortfall"), 0.1))
    extra(hand)
    return hand.solve().fun


def solved(rules=(), scenarios=None, **more):
    pool = Scenarios(LOSSES, MEMBERS, probabilities=P) if scenarios is None else scenarios
    problem = PoolProblem(pool, Waterfall(), MINIMISE, list(rules), exposures=EXPOSURES, **more)
    return problem.solve(tolerance=1e-9)


@pytest.fixture(scope="module")
def free():
    """The optimum without rules."""
    return by_hand()


def test_without_rules(free):
    assert solved().objective == pytest.approx(free, rel=AGREE)


@pytest.mark.parametrize("name", RULES)
def test_each_rule_in_turn(name, free):
    rule, extra = RULES[name]
    expected = by_hand(extra)
    assert expected > free * (1 + 1e-5), f"{name} must bind, or this test proves nothing"
    assert solved([rule]).objective == pytest.approx(expected, rel=AGREE)


def test_all_linear_rules_of_the_package_are_in_the_list():
    abstract_or_conic = {"Rule", "GeneratedRule", "ConcentrationLimit"}
    assert set(RULES) == set(fairness.__all__) - abstract_or_conic


def test_rules_together():
    chosen = ("Solidarity", "FundFloor", "LoadingRatio")
    loose = fairness.LoadingRatio(3.0)

    def extra(hand):
        share_rows(hand, 0.4 * MU / TOTAL + 0.6 / 3, 0.02)
        funded(hand)
        t = hand.variables(1)[0]
        for i in range(3):
            hand.at_most([(t, MU[i]), (hand.c[i, 0], -1.0)], 0.0)
            hand.at_most([(hand.c[i, 0], 1.0), (t, -3.0 * MU[i])], 0.0)

    rules = [RULES[chosen[0]][0], RULES[chosen[1]][0], loose]
    assert solved(rules).objective == pytest.approx(by_hand(extra), rel=AGREE)


def test_concentration_limit_against_its_tangents():
    """`norm2(c) <= sqrt(H) C` as the limit of its tangents `d.c <= sqrt(H) C`, `d = c / norm2(c)` (Kelley 1960)."""
    hhi, directions = 0.335, []
    for _ in range(60):

        def extra(hand):
            for d in directions:
                hand.at_most([(hand.c[i, 0], d[i]) for i in range(3)] + hand.all_contributions(-np.sqrt(hhi)), 0.0)

        hand = PoolByHand(LOSSES, P)
        hand.charge([*hand.all_contributions(0.08), *hand.all_reserves(0.2)])
        hand.charge(scaled(hand.cvar(0.8, "mutualised"), 0.5))
        hand.charge(scaled(hand.cvar(0.9, "shortfall"), 0.1))
        extra(hand)
        found = hand.solve()
        c = found.x[:3]
        miss = np.linalg.norm(c) - np.sqrt(hhi) * c.sum()
        if miss <= 1e-10 * c.sum():
            break
        directions.append(c / np.linalg.norm(c))
    assert miss <= 1e-10 * c.sum()
    assert found.fun > by_hand() * (1 + 1e-4)
    calibration = solved([fairness.ConcentrationLimit(hhi)])
    assert calibration.objective == pytest.approx(found.fun, rel=1e-7)
    assert (calibration.weights**2).sum() == pytest.approx(hhi, rel=1e-6)


WATERFALLS = {
    "own, segments, pool": ((OwnContribution(), SegmentReserve(), PoolReserve()), {"segment": True}),
    "own, segments": ((OwnContribution(), SegmentReserve()), {"segment": True, "pool": False}),
    "own, pool": ((OwnContribution(), PoolReserve()), {}),
    "own": ((OwnContribution(),), {"pool": False}),
    "segments, pool": ((SegmentReserve(), PoolReserve()), {"own": False, "segment": True}),
    "pool": ((PoolReserve(),), {"own": False}),
    "nothing": ((), {"own": False, "pool": False}),
}


@pytest.mark.parametrize("posted", ["cash", "collateral"])
@pytest.mark.parametrize("name", WATERFALLS)
def test_two_segments_through_every_waterfall(name, posted):
    layers, options = WATERFALLS[name]
    losses, p = pool_of_three(n_segments=2, seed=9, scenarios=18)
    worth = np.random.default_rng(3).uniform(0.3, 1.0, (18, 3)) if posted == "collateral" else None
    hand = PoolByHand(losses, p, n_segments=2, collateral=worth, **options)
    hand.charge([*hand.all_contributions(0.15), *hand.all_reserves(0.19)])
    hand.charge(scaled(hand.cvar(0.7, "shortfall"), 0.4))
    terms = CostOfCapital(0.15, 0.19) + 0.4 * CVaR(0.7)
    if options.get("own", True):
        hand.charge(scaled(hand.cvar(0.75, "mutualised"), 0.3))
        terms = terms + 0.3 * CVaR(0.75, of="mutualised")
    pool = Scenarios(losses, MEMBERS, ["exploit", "cascade"], p, worth)
    calibration = PoolProblem(pool, Waterfall(layers), terms).solve(tolerance=1e-9)
    assert calibration.objective == pytest.approx(hand.solve().fun, rel=AGREE)


def test_two_tail_terms_an_expected_loss_and_their_prices():
    hand = PoolByHand(LOSSES, P)
    hand.charge([*hand.all_contributions(0.05), *hand.all_reserves(0.12)])
    for price, level in ((0.1, 0.6), (0.25, 0.95)):
        hand.charge(scaled(hand.cvar(level, "mutualised"), price))
    hand.charge(scaled(hand.expected("mutualised"), 0.3))
    hand.charge(scaled(hand.expected("shortfall"), 0.2))
    terms = [
        CostOfCapital(0.05, 0.12),
        0.1 * CVaR(0.6, of="mutualised") + 0.25 * CVaR(0.95, of="mutualised"),
        0.3 * ExpectedLoss(of="mutualised"),
        0.2 * ExpectedLoss(),
    ]
    pool = Scenarios(LOSSES, MEMBERS, probabilities=P)
    found = PoolProblem(pool, Waterfall(), terms).solve(tolerance=1e-9).objective
    assert found == pytest.approx(hand.solve().fun, rel=AGREE)


def test_a_risk_limit_and_a_limit_on_a_sum():
    pool = Scenarios(LOSSES, MEMBERS, probabilities=P)
    hand = PoolByHand(LOSSES, P)
    hand.charge([*hand.all_contributions(0.05), *hand.all_reserves(0.04)])
    hand.at_most(hand.cvar(0.9, "mutualised"), 4.0)
    hand.at_most([*scaled(hand.cvar(0.5, "shortfall"), 2.0), *hand.expected("mutualised")], 1.5)
    limits = [CVaR(0.9, of="mutualised") <= 4.0, 2 * CVaR(0.5) + ExpectedLoss("mutualised") <= 1.5]
    calibration = PoolProblem(pool, Waterfall(), [CostOfCapital(0.05, 0.04)], limits).solve(tolerance=1e-9)
    assert calibration.objective == pytest.approx(hand.solve().fun, rel=AGREE)
    assert (calibration.fairness["gap"] <= 1e-6).all()
    assert calibration.fairness["binding"].any()


@pytest.mark.parametrize("seed", range(6))
def test_random_pools_with_a_random_mixture(seed):
    rng = np.random.default_rng(100 + seed)
    losses, p = pool_of_three(seed=100 + seed, scenarios=25)
    price, level, band = rng.uniform(0.1, 1.0), rng.choice([0.5, 0.8, 0.9, 0.96]), rng.choice([0.1, 0.5, 2.0])
    mu = p @ losses
    hand = PoolByHand(losses, p)
    hand.charge([*hand.all_contributions(0.07), *hand.all_reserves(0.1)])
    hand.charge(scaled(hand.cvar(level, "mutualised"), price))
    share_rows(hand, mu / mu.sum(), band)
    terms = [CostOfCapital(0.07, 0.1), price * CVaR(level, of="mutualised")]
    pool = Scenarios(losses, MEMBERS, probabilities=p)
    rules = [fairness.ActuarialFairness(band)]
    found = PoolProblem(pool, Waterfall(), terms, rules).solve(tolerance=1e-9).objective
    assert found == pytest.approx(hand.solve().fun, rel=AGREE)


@pytest.mark.parametrize("name", ["FundFloor", "Budget", "AbilityToPay", "Turnover", "CoverK"])
def test_the_shadow_price_is_what_money_is_worth(name, free):
    """The objective's change for one unit of money more room, by moving the rule's gap by hand."""
    rule, _ = RULES[name]
    step = 1e-4

    class Roomier(fairness.Rule):
        def gap(self, plan):
            return rule.gap(plan) - step

    class Tighter(fairness.Rule):
        def gap(self, plan):
            return rule.gap(plan) + step

    price = solved([rule]).fairness["shadow_price"].iloc[0]
    up, middle, down = (solved([one]).objective for one in (Tighter(), rule, Roomier()))
    slopes = ((up - middle) / step, (middle - down) / step)
    assert min(slopes) - 1e-4 <= abs(price) <= max(slopes) + 1e-4
    assert max(slopes) > 1e-3


def test_frames_and_arrays_mean_the_same():
    """Distances and stress scenarios labelled in another order are read by their labels."""
    labels = ["C", "A", "B"]
    order = [2, 0, 1]
    distance = pd.DataFrame(DISTANCE[np.ix_(order, order)], index=labels, columns=labels)
    stress = pd.DataFrame(STRESS[:, order], columns=labels)
    for one, other in (
        (RULES["SimilarMembers"][0], fairness.SimilarMembers(distance, lipschitz=0.02)),
        (RULES["CoverK"][0], fairness.CoverK(stress, k=2)),
    ):
        assert solved([one]).objective == pytest.approx(solved([other]).objective, rel=1e-9)
