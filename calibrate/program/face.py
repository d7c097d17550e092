"""The face of optimal plans around one of them, and its plan that is nearest to the reference.

An interior method ends with stiffnesses `multiplier / slack` of 1e10 and more where conditions bind. Beside them the
small price of a distance is lost in rounding: along directions in which nothing binds a plan stops anywhere (at 1e-3 of
a contribution, elsewhere in other units). There nothing but the distance matters, and so it is minimised alone. Of
every slack and multiplier one is next to nothing, which tells what binds; all that does is taken to be equally stiff,
so that a direction is free by geometry and not because some multipliers are small beside others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from calibrate.program.forest import S1, S2, Y1, Y2
from calibrate.program.least_distance import least_distance
from calibrate.program.newton import Newton
from calibrate.program.standard_form import Point, StandardForm

__all__ = ["nearest_on_face"]

Floats = npt.NDArray[np.float64]

BINDING = (1.0, 1e-2, 1e-4, 1e-6, 1e-8)  # multiplier over slack: conditions above it are taken to bind
ALL = -1.0  # below any such ratio
LOOSE = 1e-12  # stiffness of the others, where that of what binds is 1
FREE = 1e-8  # stiffness below which nothing binds along a direction; their number times `LOOSE` is less
IDLE = 1e-8  # of the largest: directions that move no decision
TWICE = 2  # steps: the second takes back the rounding of the first
KEPT = 1e-10  # units: by no more a condition may be missed


def nearest_on_face(form: StandardForm, point: Point, squares: Floats, target: Floats, allowed: float) -> Floats | None:
    """The plan with the least `squares @ (v - target)^2` among those that are as good as that of an optimal point.

    `allowed`: what it may cost more, for rounding. None where rounding hides which those are.
    """
    roots, most = np.sqrt(squares), form.costs(point.v) + allowed
    scale = 1 / np.sqrt(np.diag(_stiffness(form, point, ALL)[0]))
    for least in BINDING:
        free = _free(*_stiffness(form, point, least), scale)
        if not free.shape[1]:
            return point.v
        v = _nearest(form, point.v, free, roots, target)
        if v is None:
            continue
        nearer = squares @ (v - target) ** 2 <= squares @ (point.v - target) ** 2
        if nearer and form.costs(v) <= most and form.misses(v) <= KEPT:
            return np.asarray(v)
    return None


def _nearest(form: StandardForm, v: Floats, free: Floats, roots: Floats, target: Floats) -> Floats | None:
    """The nearest plan along free directions that keeps bounds and linear rules."""
    u, size, back = np.linalg.svd(roots[:, None] * free, full_matrices=False)
    moving = size > IDLE * size[0]
    free = free @ (back[moving].T / size[moving])  # each moves the plan by a distance of 1, across the others
    for _ in range(TWICE):
        v = v + free @ (u[:, moving].T @ (roots * (target - v)))
    body, n = form.body, form.body.cone.orthant
    room = np.append(v[body.bounded], body.h[:n] - body.G[:n] @ v)
    miss = -float(room.min(initial=0.0))
    if miss <= KEPT:
        return v
    rows = np.vstack([-free[body.bounded], body.G[:n] @ free])
    step = least_distance(rows, room / miss)
    return None if step is None else v + free @ (miss * step)


def _stiffness(form: StandardForm, point: Point, least: float) -> tuple[Floats, Floats]:
    """The curvature of all that binds, limits included, and the equalities; binding is 1 and the rest next to 0."""
    with np.errstate(all="ignore"):  # moves from such a point mean nothing
        newton = Newton(form, _levelled(form, point, least))
        n, m, system = newton.n, newton.m, newton.system()
    H, B, C = system[:n, :n], system[n : n + m, :n], -system[n : n + m, n : n + m]
    return H + B.T @ np.linalg.solve(C, B), system[n + m :, :n]


def _levelled(form: StandardForm, point: Point, least: float) -> Point:
    """A point with slacks of 1 and multipliers of 1 where a condition binds."""
    cone, level = form.body.cone, point.copy()
    rule, rule_slack = cone.identity.copy(), cone.identity.copy()
    n = cone.orthant
    rule[:n] = _levels(point.rule_slack[:n], point.rule[:n], least)
    for block in cone.blocks:
        slack, multiplier = point.rule_slack[block], point.rule[block]
        rule[block.start] = _levels(slack[:1] - np.linalg.norm(slack[1:]), multiplier[:1], least)[0]
    for step in level.steps:
        for kinks in step.state:
            for slack_at, multiplier_at in ((S1, Y1), (S2, Y2)):
                kinks[:, multiplier_at] = _levels(kinks[:, slack_at], kinks[:, multiplier_at], least)
                kinks[:, slack_at] = 1.0
        for kinks in step.relative:
            kinks[:] = 0.0
    bounds = _levels(point.slack, point.multiplier, least)
    return replace(level, slack=np.ones(len(bounds)), multiplier=bounds, rule_slack=rule_slack, rule=rule)


def _levels(slack: Floats, multiplier: Floats, least: float) -> Floats:
    return np.where(multiplier > least * slack, 1.0, LOOSE)


def _free(H: Floats, E: Floats, scale: Floats) -> Floats:
    """Directions, as columns, along which nothing binds."""
    kept = np.linalg.qr((E * scale).T, mode="complete")[0][:, len(E) :]
    stiffness, directions = np.linalg.eigh(kept.T @ (H * np.outer(scale, scale)) @ kept)
    return np.asarray(scale[:, None] * (kept @ directions[:, stiffness < FREE]))
