"""Newton's equations of a forest, eliminated from the leaves to the root and solved from the root to the leaves.

A kink with stiffnesses `D = multiplier / slack` passes on the slope `theta = D1 / (D1 + D2)` in (0, 1), a softened 0 or
1, and the compliance `1 / (D1 + D2)`; what it holds back, `theta D2`, is curvature on the vector of its subtree. Over
children with compliance `B` the first stiffness is softer, `kappa = 1 / (1 / D1 + B)`. So a million variables cost one
pass, and what is left to solve is as large as the plan.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibrate.program.forest import S1, S2, Y1, Y2, Forest, Kinks
from calibrate.program.kernel import inlined, kernel

__all__ = ["aim", "backward", "factor", "forward", "gradient", "start"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

K, THETA, R, C, KAPPA = 0, 1, 2, 3, 4


@kernel
def start(forest: Forest, y: Floats, price: float, tail: Floats, mu: float, state: Kinks) -> None:
    """States near the central path at coordinates `y`; a root carries the share `tail[s]` in (0, 1) of its weight."""
    groups_of, leaves_of, base, segment, cell, loss, worth, weight, leaf_kinks, group_kinks, _ = forest
    leaf, group, root = state
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


@inlined
def _kink(level: float, multiplier: float, mu: float, state: Floats, i: int) -> float:
    """The point of the central path of `v >= level, v >= 0` under a multiplier; returns `v`."""
    root = np.sqrt(level * level + (2.0 * mu / multiplier) ** 2)
    v = 0.5 * (level + root) + mu / multiplier
    # v - level and v without cancellation: both are mu / multiplier + (root -+ level) / 2
    small = 2.0 * (mu / multiplier) ** 2 / (root + abs(level))
    s2 = v if level >= 0 else mu / multiplier + small
    s1 = mu / multiplier + (small if level >= 0 else 0.5 * (root - level))
    state[i, S1], state[i, S2] = s1, s2
    state[i, Y1], state[i, Y2] = mu / s1, mu / s2
    return float(s2)


@kernel
def factor(forest: Forest, state: Kinks, factors: Kinks, H: Floats, rows: Floats, dense: bool, bend: Floats) -> float:
    """Eliminate every tree.

    Adds the curvature to `H` (or writes rows `sqrt(h) V` if `dense`), and `sum w theta V` to `bend`. Returns
    `sum w^2 / k` over the roots.
    """
    groups_of, leaves_of, _base, segment, cell, _loss, worth, weight, leaf_kinks, group_kinks, _ = forest
    leaf, group, root = state
    leaf_f, group_f, root_f = factors
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


@inlined
def _eliminate(state: Floats, i: int, compliance: float, factors: Floats) -> tuple[float, float, float]:
    """Curvature, slope and stiffness of a kink over the compliance of its children."""
    d1, d2 = state[i, Y1] / state[i, S1], state[i, Y2] / state[i, S2]
    kappa = d1 / (1.0 + d1 * compliance)
    k = kappa + d2
    theta = kappa / k
    factors[i, K], factors[i, THETA], factors[i, KAPPA] = k, theta, kappa
    return theta * d2, theta, k


@inlined
def _outer(H: Floats, at: Ints, value: Floats, first: int, last: int, h: float) -> None:
    """`H += h V V'` for the sparse vector `V`."""
    for a in range(first, last):
        scaled = h * value[a]
        row = H[at[a]]
        for b in range(first, last):
            row[at[b]] += scaled * value[b]


@kernel
def forward(forest: Forest, price: float, state: Kinks, factors: Kinks, aims: Kinks, push: Floats) -> float:
    """Right-hand side of a Newton step on which every product of slack and multiplier goes to its aim, to first order.

    Adds what the eliminated kinks push on the coordinates to `push`. Returns `sum w R / k` over the roots.
    """
    groups_of, leaves_of, _, segment, cell, _, worth, weight, leaf_kinks, group_kinks, _ = forest
    leaf, group, root = state
    leaf_f, group_f, root_f = factors
    leaf_a, group_a, root_a = aims
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
                _push(forest, leaf_f, g, group_f[g, C], push)
                if segment[g] >= 0:
                    push[segment[g]] += group_f[g, C]
            else:
                above_root += above
        _forward_kink(root, s, price * weight[s], above_root, root_f, root_a)
        leak += weight[s] * root_f[s, R] / root_f[s, K]
        c = root_f[s, C]
        for g in range(groups_of[s], groups_of[s + 1]):
            theta = group_f[g, THETA] if group_kinks else 1.0
            _push(forest, leaf_f, g, c * theta, push)
            if segment[g] >= 0:
                push[segment[g]] += c * theta
        push[n_y - 2] += c
        push[n_y - 1] += c
    return leak


@kernel
def gradient(forest: Forest, state: Kinks, pull: Floats) -> float:
    """Adds the first multipliers to `pull`, minus the gradient of the tail by coordinate. Returns its constant."""
    groups_of, leaves_of, base, segment, cell, loss, worth, weight, leaf_kinks, group_kinks, _ = forest
    leaf, group, root = state
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


@inlined
def _forward_kink(state: Floats, i: int, parent: float, above: float, factors: Floats, aims: Floats) -> None:
    """`R` and `c` of a kink with children that push `above`."""
    rc1 = aims[i, S1] - state[i, S1] * state[i, Y1]
    r2 = aims[i, S2] / state[i, S2] - state[i, Y2]
    rho = factors[i, KAPPA] * (rc1 / state[i, Y1] + above)
    r = rho + r2 - (parent - state[i, Y1] - state[i, Y2])
    factors[i, R] = r
    factors[i, C] = rho - factors[i, THETA] * r


@inlined
def _push(forest: Forest, leaf_f: Floats, g: int, c: float, push: Floats) -> None:
    """`push += c * v` for the vector of a group's leaves."""
    leaves_of, cell, worth, leaf_kinks = forest.leaves_of, forest.cell, forest.worth, forest.leaf_kinks
    for i in range(leaves_of[g], leaves_of[g + 1]):
        push[cell[i]] += c * worth[i] * (leaf_f[i, THETA] if leaf_kinks else 1.0)


@kernel
def backward(
    forest: Forest, dy: Floats, d_price: float, state: Kinks, factors: Kinks, aims: Kinks, moves: Kinks
) -> Floats:
    """Moves of all kinks for moves `dy` of the coordinates and `d_price` of the price; returns the longest steps."""
    groups_of, leaves_of, _, _, cell, _, worth, weight, leaf_kinks, group_kinks, _ = forest
    leaf, group, root = state
    leaf_f, group_f, root_f = factors
    leaf_a, group_a, root_a = aims
    leaf_m, group_m, root_m = moves
    n_y = len(dy)
    limits = np.array([np.inf, np.inf])
    for s in range(len(weight)):
        along = dy[n_y - 2] + dy[n_y - 1]
        for g in range(groups_of[s], groups_of[s + 1]):
            theta = group_f[g, THETA] if group_kinks else 1.0
            along += theta * _along(forest, leaf_f, g, dy)
        _backward_kink(root, s, weight[s] * d_price, along, root_f, root_a, root_m, limits)
        for g in range(groups_of[s], groups_of[s + 1]):
            d_parent = root_m[s, Y1]
            if group_kinks:
                along_group = _along(forest, leaf_f, g, dy)
                _backward_kink(group, g, d_parent, along_group, group_f, group_a, group_m, limits)
                d_parent = group_m[g, Y1]
            if leaf_kinks:
                for i in range(leaves_of[g], leaves_of[g + 1]):
                    _backward_kink(leaf, i, d_parent, worth[i] * dy[cell[i]], leaf_f, leaf_a, leaf_m, limits)
    return limits


@inlined
def _along(forest: Forest, leaf_f: Floats, g: int, dy: Floats) -> float:
    """`v . dy` for the vector of a group."""
    leaves_of, segment, cell, worth = forest.leaves_of, forest.segment, forest.cell, forest.worth
    leaf_kinks = forest.leaf_kinks
    total = dy[segment[g]] if segment[g] >= 0 else 0.0
    for i in range(leaves_of[g], leaves_of[g + 1]):
        total += worth[i] * dy[cell[i]] * (leaf_f[i, THETA] if leaf_kinks else 1.0)
    return total


@inlined
def _backward_kink(
    state: Floats,
    i: int,
    d_parent: float,
    along: float,
    factors: Floats,
    aims: Floats,
    moves: Floats,
    limits: Floats,
) -> None:
    """Moves of a kink for moves of its parent's multiplier and of its level; shortens the `limits` of the step."""
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


@kernel
def aim(aims: Floats, moves: Floats, target: float) -> None:
    """Aim at `target` less the second-order term of a move: Mehrotra's corrector."""
    for i in range(len(aims)):
        aims[i, 0] = target - moves[i, S1] * moves[i, Y1]
        aims[i, 1] = target - moves[i, S2] * moves[i, Y2]
