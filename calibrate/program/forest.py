"""The tail of one risk term as a forest of kinks, and the linear algebra of an interior-point step through it.

A scenario is a tree: a leaf for every loss, a group for every segment, a root. Each kink `v >= l, v >= 0` is a variable `v` with
two slacks and two multipliers. In coordinates `y` (what each cell, each segment and the pool pay at most, and `t`):

    leaf    e >= L - a y_cell                    e >= 0      multipliers add up to the one of its group's first kink
    group   u >= base + sum e - y_segment        u >= 0      ... to the one of its root's first kink
    root    z >= sum u - y_pool - t              z >= 0      ... to price * p / (1 - level)

Newton's equations of such a tree are eliminated from the leaves to the root: a kink with stiffnesses `D = multiplier / slack`
passes on the slope `theta = D1 / (D1 + D2)` in (0, 1), a softened 0 or 1, and the compliance `1 / (D1 + D2)`; what it holds back,
`theta D2`, is curvature on the vector of its subtree. So a million variables cost one pass, and what is left to solve is as large as the plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["Forest", "Step", "backward", "factor", "forward"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

S1, S2, Y1, Y2 = 0, 1, 2, 3  # rows of a state: slack and multiplier of `v >= l`, and of `v >= 0`


@dataclass(frozen=True, eq=False)
class Forest:
    """The trees of a risk term over a working set of scenarios; amounts in units.

    `groups_of[s]:groups_of[s + 1]` are the groups of a root, `leaves_of[g]:leaves_of[g + 1]` the leaves of a group.
    Without leaf kinks (shortfall with collateral) a leaf is linear; without group kinks its leaves hang on the root.
    """

    groups_of: Ints
    leaves_of: Ints
    base: Floats
    segment: Ints
    cell: Ints
    loss: Floats
    worth: Floats
    weight: Floats
    leaf_kinks: bool
    group_kinks: bool
    n_coordinates: int  # cells, segments, pool, t

    @property
    def kinks(self) -> int:
        """Number of kinks: half the number of complementarity pairs."""
        return (
            len(self.weight)
            + (len(self.segment) if self.group_kinks else 0)
            + (len(self.cell) if self.leaf_kinks else 0)
        )

    def arrays(self) -> tuple[Ints, Ints, Floats, Ints, Ints, Floats, Floats, Floats, bool, bool]:
        """Its arrays in the order of the kernels' arguments."""
        return (
            self.groups_of, self.leaves_of, self.base, self.segment, self.cell, self.loss, self.worth, self.weight,
            self.leaf_kinks, self.group_kinks,
        )  # fmt: skip


@dataclass(eq=False)
class Step:
    """State, factor and direction of every kink: leaves, groups, roots. Rows of a state are S1, S2, Y1, Y2."""

    leaf: Floats
    group: Floats
    root: Floats
    leaf_factor: Floats  # k, theta, R, c
    group_factor: Floats  # k, theta, R, c, kappa
    root_factor: Floats
    leaf_move: Floats
    group_move: Floats
    root_move: Floats
    leaf_aim: Floats  # what the two products of slack and multiplier aim at
    group_aim: Floats
    root_aim: Floats

    @classmethod
    def empty(cls, forest: Forest) -> Step:
        """Room for a forest."""
        leaves, groups, roots = len(forest.cell), len(forest.segment), len(forest.weight)
        return cls(
            np.ones((leaves, 4)), np.ones((groups, 4)), np.ones((roots, 4)),
            np.zeros((leaves, 4)), np.zeros((groups, 5)), np.zeros((roots, 5)),
            np.zeros((leaves, 4)), np.zeros((groups, 4)), np.zeros((roots, 4)),
            np.zeros((leaves, 2)), np.zeros((groups, 2)), np.zeros((roots, 2)),
        )  # fmt: skip

    def aims(self) -> tuple[Floats, Floats, Floats]:
        """Leaves, groups, roots."""
        return self.leaf_aim, self.group_aim, self.root_aim

    def states(self) -> tuple[Floats, Floats, Floats]:
        """Leaves, groups, roots."""
        return self.leaf, self.group, self.root

    def factors(self) -> tuple[Floats, Floats, Floats]:
        """Leaves, groups, roots."""
        return self.leaf_factor, self.group_factor, self.root_factor

    def moves(self) -> tuple[Floats, Floats, Floats]:
        """Leaves, groups, roots."""
        return self.leaf_move, self.group_move, self.root_move


K, THETA, R, C, KAPPA = 0, 1, 2, 3, 4


@njit(cache=True)
def start(
    groups_of,
    leaves_of,
    base,
    segment,
    cell,
    loss,
    worth,
    weight,
    leaf_kinks,
    group_kinks,
    y,
    price,
    tail,
    mu,
    leaf,
    group,
    root,
):  # type: ignore[no-untyped-def]
    """States near the central path at coordinates `y`: `tail[s]` in (0, 1) is the share of its weight that a root carries."""
    n_y = len(y)
    for s in range(len(weight)):
        z1 = price * weight[s] * tail[s]
        level_root = -y[n_y - 2] - y[n_y - 1]
        for g in range(groups_of[s], groups_of[s + 1]):
            level_group = base[g] - (y[segment[g]] if segment[g] >= 0 else 0.0)
            y1 = 0.5 * z1 if group_kinks else z1
            for i in range(leaves_of[g], leaves_of[g + 1]):
                level = loss[i] - worth[i] * y[cell[i]]
                if leaf_kinks:
                    level_group += _kink(level, y1, mu, leaf, i)
                else:
                    level_group -= worth[i] * y[cell[i]]
            level_root += _kink(level_group, z1, mu, group, g) if group_kinks else level_group
            if group_kinks:
                y_true = group[g, Y1]
                for i in range(leaves_of[g], leaves_of[g + 1]):
                    if leaf_kinks:
                        scale = y_true / y1
                        leaf[i, Y1] *= scale
                        leaf[i, Y2] *= scale
        _kink(level_root, price * weight[s], mu, root, s)
        scale = root[s, Y1] / z1
        for g in range(groups_of[s], groups_of[s + 1]):
            if group_kinks:
                group[g, Y1] *= scale
                group[g, Y2] *= scale
            if leaf_kinks:
                for i in range(leaves_of[g], leaves_of[g + 1]):
                    leaf[i, Y1] *= scale
                    leaf[i, Y2] *= scale


@njit(cache=True, inline="always")
def _kink(level, multiplier, mu, state, i):  # type: ignore[no-untyped-def]
    """The point of the central path of `v >= level, v >= 0` under a multiplier; returns `v`."""
    root = np.sqrt(level * level + (2.0 * mu / multiplier) ** 2)
    v = 0.5 * (level + root) + mu / multiplier
    # v - level and v without cancellation: both are mu / multiplier + (root -+ level) / 2
    small = 2.0 * (mu / multiplier) ** 2 / (root + abs(level))
    s2 = v if level >= 0 else mu / multiplier + small
    s1 = mu / multiplier + (small if level >= 0 else 0.5 * (root - level))
    state[i, S1], state[i, S2] = s1, s2
    state[i, Y1], state[i, Y2] = mu / s1, mu / s2
    return s2


@njit(cache=True)
def factor(
    groups_of,
    leaves_of,
    base,
    segment,
    cell,
    loss,
    worth,
    weight,
    leaf_kinks,
    group_kinks,
    leaf,
    group,
    root,
    leaf_f,
    group_f,
    root_f,
    H,
    rows,
    dense,
    bend,
):  # type: ignore[no-untyped-def]
    """Eliminate every tree. Adds the curvature to `H` (or writes rows `sqrt(h) V` if `dense`), and `sum w theta V` to `bend`.

    Returns `sum w^2 / k` over the roots.
    """
    n_y = H.shape[0]
    at = np.empty(n_y + 2, np.int64)
    value = np.empty(n_y + 2)
    give = 0.0
    line = 0
    for s in range(len(weight)):
        count, compliance_root = 0, 0.0
        for g in range(groups_of[s], groups_of[s + 1]):
            first, compliance = count, 0.0
            for i in range(leaves_of[g], leaves_of[g + 1]):
                slope = 1.0
                if leaf_kinks:
                    d1, d2 = leaf[i, Y1] / leaf[i, S1], leaf[i, Y2] / leaf[i, S2]
                    k = d1 + d2
                    slope = d1 / k
                    leaf_f[i, K], leaf_f[i, THETA] = k, slope
                    compliance += 1.0 / k
                    H[cell[i], cell[i]] += slope * d2 * worth[i] * worth[i]
                at[count], value[count] = cell[i], slope * worth[i]
                count += 1
            if segment[g] >= 0:
                at[count], value[count] = segment[g], 1.0
                count += 1
            if group_kinks:
                h, theta, k = _eliminate(group, g, compliance, group_f)
                if dense:
                    for a in range(first, count):
                        rows[line, at[a]] += np.sqrt(h) * value[a]
                    line += 1
                else:
                    _outer(H, at, value, first, count, h)
                for a in range(first, count):
                    value[a] *= theta
                compliance_root += 1.0 / k
            else:
                compliance_root += compliance
        at[count], value[count] = n_y - 2, 1.0
        at[count + 1], value[count + 1] = n_y - 1, 1.0
        count += 2
        h, theta, k = _eliminate(root, s, compliance_root, root_f)
        if dense:
            for a in range(count):
                rows[line, at[a]] += np.sqrt(h) * value[a]
            line += 1
        else:
            _outer(H, at, value, 0, count, h)
        push = weight[s] * theta
        for a in range(count):
            bend[at[a]] += push * value[a]
        give += weight[s] * weight[s] / k
    return give


@njit(cache=True, inline="always")
def _eliminate(state, i, compliance, factors):  # type: ignore[no-untyped-def]
    d1, d2 = state[i, Y1] / state[i, S1], state[i, Y2] / state[i, S2]
    kappa = d1 / (1.0 + d1 * compliance)
    k = kappa + d2
    theta = kappa / k
    factors[i, K], factors[i, THETA], factors[i, KAPPA] = k, theta, kappa
    return theta * d2, theta, k


@njit(cache=True, inline="always")
def _outer(H, at, value, first, last, h):  # type: ignore[no-untyped-def]
    for a in range(first, last):
        scaled = h * value[a]
        row = H[at[a]]
        for b in range(first, last):
            row[at[b]] += scaled * value[b]


@njit(cache=True)
def forward(
    groups_of,
    leaves_of,
    base,
    segment,
    cell,
    loss,
    worth,
    weight,
    leaf_kinks,
    group_kinks,
    price,
    leaf,
    group,
    root,
    leaf_f,
    group_f,
    root_f,
    leaf_a,
    group_a,
    root_a,
    push,
):  # type: ignore[no-untyped-def]
    """Right-hand side of a Newton step on which every product of slack and multiplier aims at its `aim`, to first order.

    Adds what the eliminated kinks push on the coordinates to `push`. Returns `sum w R / k` over the roots.
    """
    n_y = len(push)
    leak = 0.0
    for s in range(len(weight)):
        above_root = 0.0
        for g in range(groups_of[s], groups_of[s + 1]):
            above = 0.0
            y_group = group[g, Y1] if group_kinks else root[s, Y1]
            if leaf_kinks:
                for i in range(leaves_of[g], leaves_of[g + 1]):
                    r1 = leaf_a[i, S1] / leaf[i, S1] - leaf[i, Y1]
                    r2 = leaf_a[i, S2] / leaf[i, S2] - leaf[i, Y2]
                    r = r1 + r2 - (y_group - leaf[i, Y1] - leaf[i, Y2])
                    leaf_f[i, R] = r
                    leaf_f[i, C] = r1 - leaf_f[i, THETA] * r
                    above += r / leaf_f[i, K]
                    push[cell[i]] += worth[i] * leaf_f[i, C]
            if group_kinks:
                _forward_kink(group, g, root[s, Y1], above, group_f, group_a)
                above_root += group_f[g, R] / group_f[g, K]
                _push(leaves_of, cell, worth, leaf_f, leaf_kinks, g, group_f[g, C], push)
                if segment[g] >= 0:
                    push[segment[g]] += group_f[g, C]
            else:
                above_root += above
        _forward_kink(root, s, price * weight[s], above_root, root_f, root_a)
        leak += weight[s] * root_f[s, R] / root_f[s, K]
        c = root_f[s, C]
        for g in range(groups_of[s], groups_of[s + 1]):
            theta = group_f[g, THETA] if group_kinks else 1.0
            _push(leaves_of, cell, worth, leaf_f, leaf_kinks, g, c * theta, push)
            if segment[g] >= 0:
                push[segment[g]] += c * theta
        push[n_y - 2] += c
        push[n_y - 1] += c
    return leak


@njit(cache=True)
def gradient(
    groups_of, leaves_of, base, segment, cell, loss, worth, weight, leaf_kinks, group_kinks, leaf, group, root, pull
):  # type: ignore[no-untyped-def]
    """Adds the first multipliers to `pull`: minus the gradient of the tail along the coordinates. Returns its constant."""
    n_y = len(pull)
    constant = 0.0
    for s in range(len(weight)):
        for g in range(groups_of[s], groups_of[s + 1]):
            y = group[g, Y1] if group_kinks else root[s, Y1]
            constant += y * base[g]
            if segment[g] >= 0:
                pull[segment[g]] += y
            for i in range(leaves_of[g], leaves_of[g + 1]):
                y_leaf = leaf[i, Y1] if leaf_kinks else y
                pull[cell[i]] += worth[i] * y_leaf
                constant += y_leaf * loss[i]
        pull[n_y - 2] += root[s, Y1]
        pull[n_y - 1] += root[s, Y1]
    return constant


@njit(cache=True, inline="always")
def _forward_kink(state, i, parent, above, factors, aims):  # type: ignore[no-untyped-def]
    rc1 = aims[i, S1] - state[i, S1] * state[i, Y1]
    r2 = aims[i, S2] / state[i, S2] - state[i, Y2]
    rho = factors[i, KAPPA] * (rc1 / state[i, Y1] + above)
    r = rho + r2 - (parent - state[i, Y1] - state[i, Y2])
    factors[i, R] = r
    factors[i, C] = rho - factors[i, THETA] * r


@njit(cache=True, inline="always")
def _push(leaves_of, cell, worth, leaf_f, leaf_kinks, g, c, push):  # type: ignore[no-untyped-def]
    for i in range(leaves_of[g], leaves_of[g + 1]):
        push[cell[i]] += c * worth[i] * (leaf_f[i, THETA] if leaf_kinks else 1.0)


@njit(cache=True)
def backward(
    groups_of,
    leaves_of,
    base,
    segment,
    cell,
    loss,
    worth,
    weight,
    leaf_kinks,
    group_kinks,
    dy,
    d_price,
    leaf,
    group,
    root,
    leaf_f,
    group_f,
    root_f,
    leaf_a,
    group_a,
    root_a,
    leaf_m,
    group_m,
    root_m,
):  # type: ignore[no-untyped-def]
    """Moves of all kinks for a move `dy` of the coordinates and `d_price` of the price. Returns the largest primal and dual step."""
    n_y = len(dy)
    limits = np.array([np.inf, np.inf])
    for s in range(len(weight)):
        along = dy[n_y - 2] + dy[n_y - 1]
        for g in range(groups_of[s], groups_of[s + 1]):
            theta = group_f[g, THETA] if group_kinks else 1.0
            along += theta * _along(leaves_of, segment, cell, worth, leaf_f, leaf_kinks, g, dy)
        _backward_kink(root, s, weight[s] * d_price, along, root_f, root_a, root_m, limits)
        for g in range(groups_of[s], groups_of[s + 1]):
            d_parent = root_m[s, Y1]
            if group_kinks:
                along_group = _along(leaves_of, segment, cell, worth, leaf_f, leaf_kinks, g, dy)
                _backward_kink(group, g, d_parent, along_group, group_f, group_a, group_m, limits)
                d_parent = group_m[g, Y1]
            if leaf_kinks:
                for i in range(leaves_of[g], leaves_of[g + 1]):
                    _backward_kink(leaf, i, d_parent, worth[i] * dy[cell[i]], leaf_f, leaf_a, leaf_m, limits)
    return limits


@njit(cache=True, inline="always")
def _along(leaves_of, segment, cell, worth, leaf_f, leaf_kinks, g, dy):  # type: ignore[no-untyped-def]
    total = dy[segment[g]] if segment[g] >= 0 else 0.0
    for i in range(leaves_of[g], leaves_of[g + 1]):
        total += worth[i] * dy[cell[i]] * (leaf_f[i, THETA] if leaf_kinks else 1.0)
    return total


@njit(cache=True, inline="always")
def _backward_kink(state, i, d_parent, along, factors, aims, moves, limits):  # type: ignore[no-untyped-def]
    d2 = state[i, Y2] / state[i, S2]
    theta = factors[i, THETA]
    rc1 = aims[i, S1] - state[i, S1] * state[i, Y1]
    r2 = aims[i, S2] / state[i, S2] - state[i, Y2]
    dv = (factors[i, R] - d_parent) / factors[i, K] - theta * along
    dy1 = factors[i, C] + theta * d_parent - theta * d2 * along
    dy2 = r2 - d2 * dv
    ds1 = (rc1 - state[i, S1] * dy1) / state[i, Y1]
    moves[i, S1], moves[i, S2], moves[i, Y1], moves[i, Y2] = ds1, dv, dy1, dy2
    if ds1 < 0:
        limits[0] = min(limits[0], -state[i, S1] / ds1)
    if dv < 0:
        limits[0] = min(limits[0], -state[i, S2] / dv)
    if dy1 < 0:
        limits[1] = min(limits[1], -state[i, Y1] / dy1)
    if dy2 < 0:
        limits[1] = min(limits[1], -state[i, Y2] / dy2)


@njit(cache=True)
def aim(aims, moves, target):  # type: ignore[no-untyped-def]
    """Aim at `target` less the second-order term of a move: Mehrotra's corrector."""
    for i in range(len(aims)):
        aims[i, 0] = target - moves[i, S1] * moves[i, Y1]
        aims[i, 1] = target - moves[i, S2] * moves[i, Y2]
