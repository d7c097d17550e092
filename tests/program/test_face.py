"""The plan nearest to a reference among those that are as good, on programs small enough to be solved in the head."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate.program.cones import Cone
from calibrate.program.face import nearest_on_face
from calibrate.program.standard_form import Body, Point, StandardForm

BINDS, LOOSE = 1e-16, 1e-16  # slack of what binds beside a multiplier of 1, multiplier of what does not beside a slack


def simplex(n, extra=None, equal=None):
    """The cheapest plans with `sum v >= 1`, all costs 1: every share-out of 1, or a part of them."""
    G = -np.ones((1, n)) if extra is None else np.vstack([-np.ones(n), extra])
    h = np.array([-1.0, *np.zeros(len(G) - 1)])
    E = np.zeros((0, n)) if equal is None else np.array([equal])
    none = np.zeros(len(E))
    body = Body(np.ones(n), np.zeros(n), G, h, Cone(1, () if extra is None else (len(extra),)), E, none, np.arange(n))
    return StandardForm(body, [], [])


def optimal(form, v):
    """Where an interior method stops: near a plan, with slacks and multipliers that tell what binds."""
    v = np.asarray(v, dtype=float)
    rule_slack = form.body.h - form.body.G @ v
    rule = np.where(np.arange(len(rule_slack)) == 0, 1.0, 0.0)
    rule_slack[0] = BINDS
    zero = v < 1e-8
    slack, multiplier = np.where(zero, BINDS, v), np.where(zero, 1.0, LOOSE)
    for block in form.body.cone.blocks:
        rule[block.start] = LOOSE
    return Point(v, slack, multiplier, rule_slack, rule, np.zeros(len(form.body.f)), 0)


@pytest.mark.parametrize(
    ("at", "target", "nearest"),
    [
        ([0.5 + 1e-4, 0.5 - 1e-4], [0.9, 0.3], [0.8, 0.2]),
        ([0.5, 0.5], [0.8, 0.2], [0.8, 0.2]),
        ([0.5, 0.5], [2.0, -1.0], [1.0, 0.0]),  # a bound on the way
        ([0.2, 0.3, 0.5], [0.0, 0.0, 0.6], [0.2 / 1.5, 0.2 / 1.5, 0.6 + 0.2 / 1.5]),
        ([0.4, 0.6, 0.0], [0.0, 0.0, 9.0], [0.5, 0.5, 0.0]),  # the last one would cost more: it stays where it is
    ],
)
def test_the_nearest_plan_of_a_face(at, target, nearest):
    form = simplex(len(at))
    found = nearest_on_face(form, optimal(form, at), np.ones(len(at)), np.array(target), 1e-9)
    np.testing.assert_allclose(found, nearest, atol=1e-12)


def test_weights_of_the_distance_count():
    form = simplex(2)  # least 4 a^2 + b^2 with a + b = 1
    found = nearest_on_face(form, optimal(form, [0.5, 0.5]), np.array([4.0, 1.0]), np.zeros(2), 1e-9)
    np.testing.assert_allclose(found, [0.2, 0.8], atol=1e-12)


def test_equalities_stay_and_a_plan_that_is_the_only_one_stays():
    form = simplex(3, equal=[1.0, -1.0, 0.0])
    found = nearest_on_face(form, optimal(form, [0.2, 0.2, 0.6]), np.ones(3), np.array([0.4, 0.2, 0.0]), 1e-9)
    np.testing.assert_allclose(found, [13 / 30, 13 / 30, 4 / 30], atol=1e-12)
    point = optimal(simplex(2, equal=[1.0, -1.0]), [0.5, 0.5])
    found = nearest_on_face(simplex(2, equal=[1.0, -1.0]), point, np.ones(2), np.array([1.0, 0.0]), 1e-9)
    np.testing.assert_array_equal(found, [0.5, 0.5])


def test_a_cone_in_the_way_leaves_the_plan_undecided():
    form = simplex(2, extra=-np.array([[0.2, 0.2], [1.0, -1.0]]))  # |v0 - v1| <= (v0 + v1) / 5
    assert nearest_on_face(form, optimal(form, [0.5, 0.5]), np.ones(2), np.array([0.9, 0.3]), 1e-9) is None


def test_what_costs_more_is_no_plan_of_the_face():
    form = simplex(2)
    dearer = optimal(form, [0.5, 0.5])
    dearer.rule[:], dearer.rule_slack[:] = LOOSE, 0.5  # a point that is not optimal: nothing seems to bind
    assert nearest_on_face(form, dearer, np.ones(2), np.array([0.9, 0.3]), 1e-9) is None
