"""Rules whose rows are generated: against programs that have all pairs of members, and all groups of defaulters."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import linprog

from calibrate import Scenarios, fairness, verify
from calibrate.errors import RuleConflictError
from calibrate.program import CostOfCapital, CVaR, PoolProblem, Waterfall

LEVEL, PRICE, CONTRIBUTIONS, RESERVES = 0.9, 0.3, 0.04, 0.1
MINIMISE = [CostOfCapital(CONTRIBUTIONS, RESERVES), PRICE * CVaR(LEVEL, of="mutualised")]
RELATED = [fairness.ActuarialFairness(0.5), fairness.ShareCap(0.3)]


def pool_of(n, scenarios, seed=1):
    rng = np.random.default_rng(seed)
    size = rng.lognormal(0, 1, n)
    return rng.pareto(2.5, (scenarios, n)) * size * (rng.random((scenarios, n)) < 0.5), size


def solved(losses, rules, tolerance=1e-8):
    members = [f"M{i:03d}" for i in range(losses.shape[1])]
    return PoolProblem(Scenarios(losses, members), Waterfall(), MINIMISE, rules).solve(tolerance=tolerance)


def by_hand(losses, rows):
    """The optimum with `row @ (c, r, more variables >= 0) <= amount` for all rows: every loss has a variable."""
    (s, n), width = losses.shape, max([losses.shape[1] + 1, *(len(row) for row, _ in rows)])
    excess, beyond, t = width, width + s * n, width + s * n + s
    cost = np.zeros(t + 1)
    cost[:n], cost[n], cost[beyond:t], cost[t] = CONTRIBUTIONS, RESERVES, PRICE / s / (1 - LEVEL), PRICE
    table, amounts = np.zeros((s * n + s + len(rows), t + 1)), np.zeros(s * n + s + len(rows))
    for k in range(s * n):
        table[k, k % n] = table[k, excess + k] = -1.0
    amounts[: s * n] = -losses.ravel()
    for k in range(s):
        table[s * n + k, excess + k * n : excess + (k + 1) * n] = 1.0
        table[s * n + k, [n, beyond + k, t]] = -1.0
    for k, (row, amount) in enumerate(rows):
        table[s * n + s + k, : len(row)], amounts[s * n + s + k] = row, amount
    found = linprog(cost, table, amounts, method="highs")
    assert found.status == 0
    return found.fun


def gini_rows(mu, limit):
    """`sum_(i<j) d_ij <= n limit sum r`, `d_ij >= abs(r_i - r_j)`."""
    n = len(mu)
    pairs = list(combinations(range(n), 2))
    head, rows = np.zeros(n + 1 + len(pairs)), []
    head[:n], head[n + 1 :] = -n * limit / mu, 1.0
    for k, (i, j) in enumerate(pairs):
        for sign in (1.0, -1.0):
            row = np.zeros(len(head))
            row[i], row[j], row[n + 1 + k] = sign / mu[i], -sign / mu[j], -1.0
            rows.append((row, 0.0))
    return [(head, 0.0), *rows]


def cover_rows(stress, k, payers=True):
    """For every group and every choice of who of it has paid more than it loses."""
    n, rows = stress.shape[1], []
    for group in combinations(range(n), k):
        for size in range(k + 1 if payers else 1):
            for paid in combinations(group, size):
                row = np.full(n + 1, -1.0)
                row[list(paid)] = 0.0
                lose = [i for i in group if i not in paid]
                rows.append((row, -stress[:, lose].sum(axis=1).max()))
    return rows


def gini_of(amounts, mu):
    """From a sort."""
    r = np.sort(np.asarray(amounts, dtype=float) / mu)
    return float((2 * np.arange(len(r)) - len(r) + 1) @ r / (len(r) * r.sum()))


def published(calibration):
    return [int(one) for one in calibration.certificate["published"]]


def verdict_of(calibration, tmp_path):
    calibration.save(tmp_path / "saved")
    return verify(tmp_path / "saved")


@pytest.mark.parametrize("limit", [0.02, 0.1, 0.2])
def test_gini_against_all_pairs(limit):
    losses, _ = pool_of(20, 60)
    mu = losses.mean(axis=0)
    expected = by_hand(losses, gini_rows(mu, limit))
    assert expected > by_hand(losses, []) * (1 + 1e-4), "the limit must bind, or this test proves nothing"
    found = solved(losses, [fairness.GiniLimit(limit)])
    assert found.objective == pytest.approx(expected, rel=1e-7)
    assert gini_of(published(found)[:20], mu) == pytest.approx(limit, abs=1e-8)


STRESS = np.random.default_rng(5).pareto(1.2, (40, 7)) * np.array([0.01, 0.01, 0.01, 1.0, 1.5, 2.0, 2.5])


@pytest.mark.parametrize(("k", "scale"), [(1, 4.0), (2, 0.5), (3, 0.5), (3, 1.0)])
def test_cover_against_all_groups(k, scale):
    losses, _ = pool_of(7, 60, seed=4)
    losses, stress = losses * np.array([9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0]), scale * STRESS
    expected = by_hand(losses, cover_rows(stress, k))
    assert expected > by_hand(losses, []) * (1 + 1e-4), "the rule must bind, or this test proves nothing"
    if k > 1:
        assert expected > by_hand(losses, cover_rows(stress, k, payers=False)) * (1 + 1e-4), "and rows be generated"
    found = solved(losses, [fairness.CoverK(stress, k)])
    assert found.objective == pytest.approx(expected, rel=1e-7)
    assert cover_gap(found, stress, k) <= 1e-8 * float(found.contributions.sum())


def whole_cover_rows(stress, k):
    """`k t + sum_i z_i <= R + C`, `z_i >= max(E_i, c_i) - t`: the k largest of a stress scenario by their dual."""
    (m, n), rows = stress.shape, []
    for s in range(m):
        t = n + 1 + s * (n + 1)
        head = np.zeros(n + 1 + m * (n + 1))
        head[: n + 1], head[t], head[t + 1 : t + 1 + n] = -1.0, k, 1.0
        rows.append((head, 0.0))
        for i in range(n):
            for paid, amount in ((1.0, 0.0), (0.0, -stress[s, i])):
                row = np.zeros(len(head))
                row[i], row[t], row[t + 1 + i] = paid, -1.0, -1.0
                rows.append((row, amount))
    return rows


def test_a_scenario_that_every_plan_breaks_in_another_group_takes_few_plans(tmp_path):
    """Seven of 40 members default: those who pay most are in the group, and with every plan they are others."""
    rng, plans = np.random.default_rng(22), []
    losses = rng.pareto(1.3, (40, 40)) * (rng.random((40, 40)) < 0.3)
    stress = rng.pareto(1.3, (10, 40))

    class Counted(fairness.CoverK):
        def refined(self, plan):
            plans.append(plan)
            return super().refined(plan)

    found = solved(losses, [Counted(stress, 7)])
    assert found.objective == pytest.approx(by_hand(losses, whole_cover_rows(stress, 7)), rel=1e-7)
    assert found.objective > by_hand(losses, cover_rows(stress.max(axis=0)[None], 1, payers=False)) * (1 + 1e-4)
    assert 3 < len(plans) < 20
    verdict = verdict_of(found, tmp_path)
    assert verdict.proved and "searched, not proved" in verdict.sentence, verdict.sentence


def cover_gap(calibration, stress, k):
    c = calibration.contributions.to_numpy()
    drawn = np.sort(np.maximum(stress, c), axis=1)[:, -k:].sum(axis=1).max()
    return float(drawn - c.sum() - calibration.reserves.sum())


@pytest.mark.slow
@pytest.mark.parametrize("related", [pytest.param([], id="alone"), pytest.param(RELATED, id="with others")])
@pytest.mark.parametrize("limit", [0.02, 0.3])
def test_gini_of_a_hundred_members_is_proved(limit, related, tmp_path):
    losses, _ = pool_of(100, 2_000)
    found = solved(losses, [fairness.GiniLimit(limit), *related], tolerance=1e-6)
    verdict = verdict_of(found, tmp_path)
    assert verdict.proved and verdict.gap <= 1e-6, verdict.sentence
    assert gini_of(found.contributions, losses.mean(axis=0)) <= limit + 1e-8
    assert gini_of(published(found)[:100], losses.mean(axis=0)) <= limit + 1e-7  # a unit is 1e-7 of the smallest
    assert found.provenance["lower_bound"].startswith("multipliers")


@pytest.mark.parametrize("members", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_cover_of_many_members_is_proved(members, tmp_path):
    losses, size = pool_of(members, 2_000)
    stress = np.random.default_rng(3).pareto(1.5, (50, members)) * size * 10
    found = solved(losses, [fairness.CoverK(stress, 5)], tolerance=1e-6)
    verdict = verdict_of(found, tmp_path)
    assert verdict.proved and verdict.gap <= 1e-6, verdict.sentence
    assert "searched, not proved" in verdict.sentence
    unit = Fraction(1, 10 ** found.certificate["decimals"])
    whole = [unit * n for n in published(found)]
    worst = max(sum(sorted(map(max, map(Fraction, row), whole))[-5:]) for row in stress.tolist())
    assert worst <= sum(whole) * (1 + Fraction(1, 10**9))
    assert worst >= sum(whole) * (1 - Fraction(1, 10**6)), "the rule must bind, or this test proves nothing"


def test_what_is_written_whole_is_not_searched(tmp_path):
    losses, _ = pool_of(10, 60)
    few = [fairness.GiniLimit(0.1), fairness.CoverK(STRESS[:4].mean() * np.ones((4, 10)), 2)]
    sentence = verdict_of(solved(losses, few), tmp_path).sentence
    assert sentence.endswith("proved") and "searched" not in sentence


def rules_of(n, money=1.0):
    stress = np.random.default_rng(3).pareto(1.5, (30, n)) * money
    return stress, [fairness.GiniLimit(0.05), fairness.CoverK(stress, 3)]


def test_the_order_of_members_does_not_matter_and_twins_pay_the_same():
    losses, _ = pool_of(20, 200)
    losses[:, 1] = losses[:, 0]
    stress, rules = rules_of(20)
    stress[:, 1] = stress[:, 0]
    other = np.random.default_rng(7).permutation(20)
    names = np.array([f"M{i:03d}" for i in range(20)])
    first = solved(losses, rules)
    moved = PoolProblem(
        Scenarios(losses[:, other], names[other].tolist()),
        Waterfall(),
        MINIMISE,
        [fairness.GiniLimit(0.05), fairness.CoverK(stress[:, other], 3)],
    ).solve(tolerance=1e-8)
    assert first.fairness["binding"].all()
    assert first.contributions["M000"] == first.contributions["M001"]
    told = dict(zip(first.contributions.index, published(first)[:20], strict=True))
    assert [told[name] for name in moved.contributions.index] == published(moved)[:20]


@pytest.mark.parametrize("money", [1e-18, 1e24])
def test_money_in_other_units(money):
    losses, _ = pool_of(20, 200)
    plain, other = solved(losses, rules_of(20)[1]), solved(losses * money, rules_of(20, money)[1])
    assert other.objective == pytest.approx(plain.objective * money, rel=1e-7)
    assert other.fairness["binding"].all()


def test_conflicts_are_named():
    losses, _ = pool_of(20, 200)
    capital = {f"M{i:03d}": 0.01 if i < 10 else 1e4 for i in range(20)}
    rules = [fairness.ShareCap(0.9), fairness.GiniLimit(0.1), fairness.AbilityToPay(capital), fairness.FundFloor(100.0)]
    with pytest.raises(RuleConflictError) as told:
        solved(losses, rules)
    assert set(told.value.conflict) == {str(one) for one in rules[1:]}
    stress = rules_of(20)[0]
    cover, budget = (
        fairness.CoverK(stress, 3),
        fairness.Budget(float(np.sort(stress, axis=1)[:, -3:].sum(axis=1).max())),
    )
    tight = fairness.Budget(0.9 * budget.amount)
    with pytest.raises(RuleConflictError) as told:
        solved(losses, [cover, tight])
    assert told.value.conflict[str(cover)] == pytest.approx(0.1 * budget.amount, rel=1e-3)


def least_given(mu, limit, cap, floor, giving):
    """What one of a Gini limit, caps on shares and a floor has to give for the others to hold, over all pairs."""
    (head, _), *pairs = gini_rows(mu, limit)
    n, last = len(mu), len(head)
    rows = [(head * mu.sum() / n**2, 0.0, giving == "gini"), *((row, 0.0, False) for row, _ in pairs)]
    rows += [(np.append(np.eye(n)[i] - cap, np.zeros(last - n)), 0.0, giving == "cap") for i in range(n)]
    rows.append((np.append(np.full(n, -1.0), np.zeros(last - n)), -floor, giving == "floor"))
    table = np.array([np.append(row, -1.0 if gives else 0.0) for row, _, gives in rows])
    found = linprog(np.append(np.zeros(last), 1.0), table, [amount for _, amount, _ in rows], method="highs")
    assert found.status == 0
    return found.fun


def test_what_rules_in_conflict_have_to_give_is_of_all_their_rows():
    """Of the few rows with which the conflict was found, the limit seems to have to give less."""
    losses, _ = pool_of(20, 200)
    mu = losses.mean(axis=0)
    gini, cap, floor = fairness.GiniLimit(0.05), fairness.ShareCap(0.06), fairness.FundFloor(100.0)
    with pytest.raises(RuleConflictError) as told:
        solved(losses, [gini, cap, floor])
    expected = [least_given(mu, 0.05, 0.06, 100.0, giving) for giving in ("gini", "cap", "floor")]
    given = [told.value.conflict[str(rule)] for rule in (gini, cap, floor)]
    assert given == pytest.approx(expected, rel=1e-6)


def test_the_shadow_price_of_a_generated_rule_is_what_money_is_worth():
    """The gap is `mu.sum() / n^2` of the row over all pairs."""
    losses, _ = pool_of(20, 60)
    mu, step = losses.mean(axis=0), 1e-3
    (head, _), *pairs = gini_rows(mu, 0.1)
    tighter, middle, roomier = (by_hand(losses, [(head, by * 20**2 / mu.sum()), *pairs]) for by in (-step, 0.0, step))
    price = solved(losses, [fairness.GiniLimit(0.1)]).fairness["shadow_price"].iloc[0]
    slopes = ((tighter - middle) / step, (middle - roomier) / step)
    assert min(slopes) - 1e-4 <= price <= max(slopes) + 1e-4
    assert max(slopes) > 1e-3
