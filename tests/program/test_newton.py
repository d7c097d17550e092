"""Newton's equations: a whole step solves every linear equation; products miss their aim by what is of second order.

All equations are written out anew here, kink by kink.
"""

from dataclasses import dataclass

import numpy as np
import pytest

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
    dense,
)
from calibrate.program.compiled import compiled
from calibrate.program.forest import S1, S2, Y1, Y2
from calibrate.program.interior_point import InteriorPoint
from calibrate.program.level import Level
from calibrate.program.newton import DIVERGED, STALLED, UNDER_WAY, Newton
from calibrate.program.rule_rows import add_back, add_curvature, add_rows, rule_rows
from calibrate.program.sample import Sample
from calibrate.program.standard_form import StandardForm

NAMES = ["a", "b", "c", "d"]
LAYERS = {
    "own": (OwnContribution(),),
    "pool": (OwnContribution(), PoolReserve()),
    "all": (OwnContribution(), SegmentReserve(), PoolReserve()),
    "together": (PoolReserve(),),
}


def newton_at_a_start(layers, seed=0):
    """Of a program with every kind of condition: bounds and caps, rules, a cone, equalities, limits, two tails."""
    rng = np.random.default_rng(seed)
    losses = np.ceil(rng.pareto(1.5, (60, 8)) * (rng.random((60, 8)) < 0.4) * 4) / 4
    scenarios = Scenarios(losses, members=NAMES, segments=["g", "h"], probabilities=rng.dirichlet(np.ones(60)))
    rules = [
        fairness.ActuarialFairness(0.8),
        fairness.ConcentrationLimit(0.5),
        fairness.GroupParity({"a": 1, "b": 1, "c": 2, "d": 2}, 0.0),
        CVaR(0.8, of="shortfall") <= float(losses.sum(axis=1).mean()),
    ]
    of = "shortfall" if layers == "together" else "mutualised"
    terms = [CostOfCapital(0.1, 0.2), 1.0 * CVaR(0.9, of=of), 0.3 * ExpectedLoss(of="shortfall")]
    program = PoolProblem(scenarios, Waterfall(LAYERS[layers]), terms, rules).program.ordered
    form = compiled(program)
    level = Level(program, form, Sample.every(program, 1), 1e-6, near=True)
    v = np.full(form.size, 0.1)
    level.around.settle(form.plan(v), 1.5)
    level.extend(v, level.look(v))
    method = InteriorPoint(StandardForm(level.body(), level.tails, list(form.rows)))
    return Newton(method.form, method._start(v, 0.01, None))


@dataclass
class Kinks:
    """Slack and multiplier of both sides of all kinks of one kind."""

    s: np.ndarray
    y: np.ndarray

    def __init__(self, state):
        self.s, self.y = state[:, [S1, S2]].copy(), state[:, [Y1, Y2]].copy()


def kinks_of(newton):
    return [[Kinks(kind) for kind in step.state if kind.any()] for step in newton.point.steps]


def trees_lack(newton, k):
    """Primal and dual equations of all kinks of a tail, and its slope and risk, by loops over all trees."""
    tail, price = newton.form.tails[k], newton.prices[k]
    forest, (leaf, group, root) = tail.forest, (Kinks(kind) for kind in newton.point.steps[k].state)
    y = tail.M @ newton.point.v + tail.m
    lacks, pull, risk = [], np.zeros(len(y)), 0.0
    for s in range(len(forest.weight)):
        up = -forest.hung[s] * y[-1]
        pull[-1] += root.y[s, 0] * forest.hung[s]
        for g in range(forest.groups_of[s], forest.groups_of[s + 1]):
            level = forest.base[g]
            above = group.y[g, 0] if forest.group_kinks else root.y[s, 0]
            if forest.segment[g] >= 0:
                level -= y[forest.segment[g]]
                pull[forest.segment[g]] += above
            for j in range(forest.lines_of[g], forest.lines_of[g + 1]):
                level -= forest.line_worth[j] * y[forest.line_cell[j]]
                pull[forest.line_cell[j]] += above * forest.line_worth[j]
            for i in range(forest.leaves_of[g], forest.leaves_of[g + 1]):
                e, cell = leaf.s[i, 1], forest.cell[i]
                lacks += [leaf.s[i, 0] - (e - forest.loss[i] + forest.worth[i] * y[cell]), leaf.y[i].sum() - above]
                pull[cell] += leaf.y[i, 0] * forest.worth[i]
                level += e
            if forest.group_kinks:
                lacks += [group.s[g, 0] - (group.s[g, 1] - level), group.y[g].sum() - root.y[s, 0]]
                level = group.s[g, 1]
            up += level
        lacks += [root.s[s, 0] - (root.s[s, 1] - up), root.y[s].sum() - price * forest.weight[s]]
        risk += forest.weight[s] * root.s[s, 1]
    slope = price * tail.slope - tail.M.T @ pull
    return np.array(lacks), slope, tail.slope @ newton.point.v + tail.constant + risk


def lacking(newton):
    """All linear equations of the program, at the point where the method is."""
    form, body, point = newton.form, newton.body, newton.point
    newton.prices = form.base_price + point.limit @ form.eta
    trees = [trees_lack(newton, k) for k in range(len(form.tails))]
    risks = np.array([risk for _, _, risk in trees])
    slope = body.q + body.P * point.v + body.G.T @ point.rule + body.E.T @ point.equal + form.row_q.T @ point.limit
    slope = slope + sum(one for _, one, _ in trees)
    at, signs, ends = body.bounds
    np.subtract.at(slope, at, signs * point.multiplier[: len(at)])
    return np.concatenate(
        [
            slope,
            body.G @ point.v + point.rule_slack - body.h,
            body.E @ point.v - body.f,
            form.row_q @ point.v + form.eta @ risks + point.slack[len(at) :] - form.amount,
            point.slack[: len(at)] - signs * (point.v[at] - ends),
            *(one for one, _, _ in trees),
        ]
    )


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("target", [0.0, 0.004])
def test_a_whole_step_solves_all_linear_equations(layers, target):
    newton = newton_at_a_start(layers)
    assert len(newton.body.f) and len(newton.form.rows) and newton.body.cone.sizes and len(newton.form.tails) >= 2
    assert np.abs(lacking(newton)).max() > 0.1
    before, old = kinks_of(newton), newton.place
    flat, rule = (old.slack.copy(), old.multiplier.copy()), (old.rule_slack.copy(), old.rule.copy())
    assert newton._factor()
    pushes = [tree.forward(float(price), target, 0.0) for tree, price in zip(newton.trees, newton.prices, strict=True)]
    reach = newton._direction(target, 0.0, pushes)
    mu = newton.mu
    dense.go(newton.place, newton.moves, 1.0, 1.0)
    newton._measure(1.0, 1.0)
    size = np.abs(newton.point.v).max() + np.abs(newton.point.multiplier).max()
    assert np.abs(lacking(newton)).max() < 1e-10 * size
    assert newton.point.residual < 1e-10 * size
    # Products go to the target but for the term of second order, ds dy.
    n = newton.body.cone.orthant
    pairs = [
        (flat[0], flat[1], old.slack, old.multiplier),
        (rule[0][:n], rule[1][:n], old.rule_slack[:n], old.rule[:n]),
    ]
    for was, now in zip(before, kinks_of(newton), strict=True):
        pairs += [(a.s, a.y, b.s, b.y) for a, b in zip(was, now, strict=True)]
    for s, y, s_now, y_now in pairs:
        np.testing.assert_allclose(s_now * y_now - (s_now - s) * (y_now - y), target, atol=1e-9 * size)
    falls = max(float(((s - s_now) / s).max(initial=0.0)) for s, _, s_now, _ in pairs)
    drops = max(float(((y - y_now) / y).max(initial=0.0)) for _, y, _, y_now in pairs)
    assert reach[0] >= falls * (1 - 1e-9) and reach[1] >= drops * (1 - 1e-9)  # a cone may reach farther
    assert newton.mu == pytest.approx(mu + reach[2:].sum() / newton.form.pairs, abs=1e-9 * size)


@pytest.mark.parametrize("layers", LAYERS)
def test_the_corrector_takes_the_second_order_of_the_predictor_into_its_aim(layers):
    newton, target, second = newton_at_a_start(layers), 0.003, 0.7
    assert newton._factor()
    newton._direction(0.0, 0.0, [(swept.push, swept.root[1]) for swept in newton.swept])
    bent = newton.moves.slack * newton.moves.multiplier
    pushes = [
        tree.forward(float(price), target, second) for tree, price in zip(newton.trees, newton.prices, strict=True)
    ]
    newton._direction(target, second, pushes)
    place, moves = newton.place, newton.moves
    to_first_order = place.slack * place.multiplier + place.slack * moves.multiplier + place.multiplier * moves.slack
    np.testing.assert_allclose(to_first_order, target - second * bent, atol=1e-12)


def test_rules_by_their_total():
    rng = np.random.default_rng(3)
    total = np.append(rng.lognormal(size=12), [0.0, 0.0])
    shares = np.eye(12, 14) - np.outer(rng.dirichlet(np.ones(12)), total > 0)
    G = np.vstack([shares, -0.3 * shares, rng.normal(size=(3, 14)), np.eye(14)[[2, 13]]])
    G = G * np.where(total > 0, total, 1.0) * rng.lognormal(size=(len(G), 1))
    rows = rule_rows(G, total)
    assert len(rows.other) == 3 and np.diff(rows.ends).max() == 1
    weight, H, v = rng.lognormal(size=len(G)), np.ones((14, 14)), rng.normal(size=14)
    add_curvature(rows, weight, H)
    np.testing.assert_allclose(H, 1.0 + G.T @ (weight[:, None] * G), rtol=1e-12)
    forth, back = np.ones(len(G)), np.ones(14)
    add_rows(rows, v, forth)
    add_back(rows, weight, back)
    np.testing.assert_allclose(forth, 1.0 + G @ v, rtol=1e-12)
    np.testing.assert_allclose(back, 1.0 + G.T @ weight, rtol=1e-12)


def test_rules_without_a_total():
    G, weight, H = np.random.default_rng(4).normal(size=(5, 9)), np.arange(1.0, 6.0), np.zeros((9, 9))
    rows = rule_rows(G, np.zeros(9))
    assert len(rows.other) == 5
    add_curvature(rows, weight, H)
    np.testing.assert_allclose(H, G.T @ (weight[:, None] * G), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("end", [STALLED, DIVERGED])
def test_where_rounding_is_in_the_way_the_point_with_the_best_bound_is_returned(end, monkeypatch):
    newton, seen = newton_at_a_start("own"), []
    misses = iter([np.inf, 3e-8, 1e-8, 2e-8, 4e-8])

    def state(self, tolerance):
        self.misses = next(misses)
        seen.append(self.point.v.copy())
        return end if len(seen) == 5 else UNDER_WAY

    monkeypatch.setattr(Newton, "state", state)
    point = InteriorPoint(newton.form).follow(newton.point, 1e-9)
    assert (point.status, point.iterations) == (STALLED, 4)
    np.testing.assert_array_equal(point.v, seen[2])
    assert not np.array_equal(seen[2], seen[4])


@pytest.mark.parametrize("more", [1.1, 1.001])
def test_a_cone_with_next_to_no_room_is_solved(more):
    """Nearly equal contributions that cost next to nothing: the cone loses its last digits before the gap does."""
    rng = np.random.default_rng(0)
    losses = rng.pareto(1.5, (1000, 12)) * 10 * (rng.random((1000, 12)) < 0.6)
    terms = [CostOfCapital(0.0001, 0.05), 0.3 * CVaR(0.95, of="mutualised")]
    limit = fairness.ConcentrationLimit(more / 12)
    plan = PoolProblem(Scenarios(losses), Waterfall(), terms, limit).solve()
    assert plan.gap <= 1e-6
    assert (plan.weights**2).sum() <= more / 12 * (1 + 1e-9)
