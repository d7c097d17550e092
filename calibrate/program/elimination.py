"""Newton's equations of a forest, eliminated from the leaves to the root and solved from the root to the leaves.

A kink with stiffnesses `D = multiplier / slack` passes on the slope `theta = D1 / (D1 + D2)` in (0, 1), a softened 0 or
1, and the compliance `1 / (D1 + D2)`; what it holds back, `theta D2`, is curvature on the vector of its subtree. Over
children with compliance `B` the first stiffness is softer, `kappa = 1 / (1 / D1 + B)`. So a million variables cost one
pass, and what is left to solve is as large as the plan.

Moves are relative. With `f` the move of a multiplier or slack over its size, a product `s y` that is to go to `aim`
says `f_s + f_y = g`, `g = aim / (s y) - 1` to first order; so two numbers `f` a kink tell all four moves, and the
longest step is one over the largest `-f`. Every kernel works on the trees `first:last` and can run beside others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibrate.program.forest import F1, F2, G1, G2, S1, S2, Y1, Y2, Forest, Kinks
from calibrate.program.kernel import inlined, kernel

__all__ = ["backward", "factor", "forward"]

Floats = npt.NDArray[np.float64]

GIVE, THETA, D2, R, C, KAPPA, ALONG = 0, 1, 2, 3, 4, 5, 6  # columns of the factors; a leaf has the first five


@kernel
def factor(
    forest: Forest, first: int, last: int, state: Kinks, factors: Kinks, H: Floats, rows: Floats, bend: Floats
) -> float:
    """Eliminate the trees.

    Adds the curvature to `H + H'` (or, where there are `rows`, writes it there as `sqrt(h / 2) V`), and `sum w theta V`
    to `bend`. Returns `sum w^2 / k` over the roots.
    """
    groups_of, leaves_of, lines_of, _, segment, cell, _, worth, line_cell, line_worth, weight, hung, group_kinks, _ = (
        forest
    )
    leaf, group, root = state
    leaf_f, group_f, root_f = factors
    n_y = H.shape[0]
    at = np.empty(n_y, np.int64)
    value = np.empty(n_y)
    give = 0.0
    for s in range(first, last):
        count, compliance_root, end = 0, 0.0, groups_of[s + 1]
        for g in range(groups_of[s], end + 1):  # the groups, and after them the root
            begin, compliance = count, 0.0
            if g < end:
                for i in range(leaves_of[g], leaves_of[g + 1]):
                    d1, d2 = leaf[i, Y1] / leaf[i, S1], leaf[i, Y2] / leaf[i, S2]
                    softness = 1.0 / (d1 + d2)
                    slope = d1 * softness
                    leaf_f[i, GIVE], leaf_f[i, THETA], leaf_f[i, D2] = softness, slope, d2
                    compliance += softness
                    H[cell[i], cell[i]] += 0.5 * slope * d2 * worth[i] * worth[i]
                    at[count], value[count] = cell[i], slope * worth[i]
                    count += 1
                for j in range(lines_of[g], lines_of[g + 1]):
                    at[count], value[count] = line_cell[j], line_worth[j]
                    count += 1
                if not group_kinks:
                    compliance_root += compliance
                    continue
                at[count], value[count] = segment[g], 1.0
                h, line = _eliminate(group, g, compliance, group_f), g + s
                theta = group_f[g, THETA]
                compliance_root += group_f[g, GIVE]
            else:
                begin = 0
                at[count], value[count] = n_y - 1, hung[s]
                h, line = _eliminate(root, s, compliance_root, root_f), (s + end if group_kinks else s)
                theta = weight[s] * root_f[s, THETA]
                give += weight[s] * weight[s] * root_f[s, GIVE]
            count += 1
            # Curvature `h V V'`. Not a function of its own: what numba counts for its arrays took half of the time.
            if len(rows) > 0:
                for a in range(begin, count):
                    rows[line, at[a]] += np.sqrt(0.5 * h) * value[a]
            else:
                for a in range(begin, count):
                    row = H[at[a]]
                    row[at[a]] += 0.5 * h * value[a] * value[a]
                    for b in range(a + 1, count):
                        row[at[b]] += h * value[a] * value[b]
            for a in range(begin, count):
                value[a] *= theta
                if g == end:
                    bend[at[a]] += value[a]
    return give


@inlined
def _eliminate(state: Floats, i: int, compliance: float, factors: Floats) -> float:
    """Slope and softness of a kink over the compliance of its children; returns its curvature."""
    d1, d2 = state[i, Y1] / state[i, S1], state[i, Y2] / state[i, S2]
    kappa = d1 / (1.0 + d1 * compliance)
    softness = 1.0 / (kappa + d2)
    factors[i, GIVE], factors[i, THETA], factors[i, D2], factors[i, KAPPA] = softness, kappa * softness, d2, kappa
    return float(kappa * softness * d2)


@kernel
def forward(
    forest: Forest,
    first: int,
    last: int,
    price: float,
    aim: tuple[float, float],
    state: Kinks,
    factors: Kinks,
    relative: Kinks,
    push: Floats,
) -> float:
    """Right-hand side of a Newton step on which every product of slack and multiplier goes to `aim[0]`.

    `aim[1]` is the weight of the second-order term of the moves that `relative` holds (Mehrotra's corrector). Adds what
    the eliminated kinks push on the coordinates to `push`. Returns `sum w R / k` over the roots.
    """
    groups_of, leaves_of, lines_of, _, segment, cell, _, worth, line_cell, line_worth, weight, hung, group_kinks, _ = (
        forest
    )
    leaf, group, root = state
    leaf_f, group_f, root_f = factors
    leaf_r, group_r, root_r = relative
    n_y = len(push)
    leak = 0.0
    for s in range(first, last):
        above_root = 0.0
        for g in range(groups_of[s], groups_of[s + 1]):
            above = 0.0
            parent = group[g, Y1] if group_kinks else root[s, Y1]
            for i in range(leaves_of[g], leaves_of[g + 1]):
                _aim(leaf, i, aim, leaf_r)
                above += _forward_kink(leaf, i, parent, leaf[i, Y1] * leaf_r[i, G1], leaf_f, leaf_r)
            if group_kinks:
                _aim(group, g, aim, group_r)
                rho = group_f[g, KAPPA] * (group[g, S1] * group_r[g, G1] + above)
                above = _forward_kink(group, g, root[s, Y1], rho, group_f, group_r)
            above_root += above
        _aim(root, s, aim, root_r)
        rho = root_f[s, KAPPA] * (root[s, S1] * root_r[s, G1] + above_root)
        leak += weight[s] * _forward_kink(root, s, price * weight[s], rho, root_f, root_r)
        c = root_f[s, C]
        for g in range(groups_of[s], groups_of[s + 1]):
            c_group = group_f[g, C] + c * group_f[g, THETA] if group_kinks else c
            if segment[g] >= 0:
                push[segment[g]] += c_group
            for i in range(leaves_of[g], leaves_of[g + 1]):
                push[cell[i]] += worth[i] * (leaf_f[i, C] + c_group * leaf_f[i, THETA])
            for j in range(lines_of[g], lines_of[g + 1]):
                push[line_cell[j]] += line_worth[j] * c_group
        push[n_y - 1] += c * hung[s]
    return leak


@inlined
def _aim(state: Floats, i: int, aim: tuple[float, float], relative: Floats) -> None:
    """`g` of both products of a kink: the aim over the product, less the second-order term, less 1."""
    f1, f2 = relative[i, F1], relative[i, F2]
    f_s1, f_y2 = relative[i, G1] - f1, relative[i, G2] - f2
    relative[i, G1] = aim[0] / (state[i, S1] * state[i, Y1]) - aim[1] * f_s1 * f1 - 1.0
    relative[i, G2] = aim[0] / (state[i, S2] * state[i, Y2]) - aim[1] * f_y2 * f2 - 1.0


@inlined
def _forward_kink(state: Floats, i: int, parent: float, rho: float, factors: Floats, relative: Floats) -> float:
    """`R` and `C` of a kink whose first side pushes `rho`; returns what it pushes up."""
    r = rho + state[i, Y2] * relative[i, G2] - (parent - state[i, Y1] - state[i, Y2])
    factors[i, R] = r
    factors[i, C] = rho - factors[i, THETA] * r
    return float(r * factors[i, GIVE])


@kernel
def backward(
    forest: Forest,
    first: int,
    last: int,
    dy: Floats,
    d_price: float,
    state: Kinks,
    factors: Kinks,
    relative: Kinks,
    reach: Floats,
) -> None:
    """Relative moves of all kinks for moves `dy` of the coordinates and `d_price` of the price.

    `reach` holds the largest `-f` of the slacks and of the multipliers, and the changes of complementarity with the
    step: `p` times its third, `d` times its fourth, `p d` times its fifth number.
    """
    groups_of, leaves_of, lines_of, _, segment, cell, _, worth, line_cell, line_worth, weight, hung, group_kinks, _ = (
        forest
    )
    leaf, group, root = state
    leaf_f, group_f, root_f = factors
    leaf_r, group_r, root_r = relative
    n_y = len(dy)
    for s in range(first, last):
        along_root = hung[s] * dy[n_y - 1]
        for g in range(groups_of[s], groups_of[s + 1]):
            along = dy[segment[g]] if segment[g] >= 0 else 0.0
            for i in range(leaves_of[g], leaves_of[g + 1]):
                along += worth[i] * dy[cell[i]] * leaf_f[i, THETA]
            for j in range(lines_of[g], lines_of[g + 1]):
                along += line_worth[j] * dy[line_cell[j]]
            group_f[g, ALONG] = along
            along_root += along * (group_f[g, THETA] if group_kinks else 1.0)
        d_parent = _backward_kink(root, s, weight[s] * d_price, along_root, root_f, root_r, reach)
        for g in range(groups_of[s], groups_of[s + 1]):
            d_group = d_parent
            if group_kinks:
                d_group = _backward_kink(group, g, d_parent, group_f[g, ALONG], group_f, group_r, reach)
            for i in range(leaves_of[g], leaves_of[g + 1]):
                _backward_kink(leaf, i, d_group, worth[i] * dy[cell[i]], leaf_f, leaf_r, reach)


@inlined
def _backward_kink(
    state: Floats, i: int, d_parent: float, along: float, factors: Floats, relative: Floats, reach: Floats
) -> float:
    """Moves of a kink for moves of its parent's multiplier and of its level; returns the one of its multiplier."""
    theta = factors[i, THETA]
    dv = (factors[i, R] - d_parent) * factors[i, GIVE] - theta * along
    dy1 = factors[i, C] + theta * (d_parent - factors[i, D2] * along)
    f_y1, f_s2 = dy1 / state[i, Y1], dv / state[i, S2]
    f_s1, f_y2 = relative[i, G1] - f_y1, relative[i, G2] - f_s2
    relative[i, F1], relative[i, F2] = f_y1, f_s2
    reach[0] = max(reach[0], -f_s1, -f_s2)
    reach[1] = max(reach[1], -f_y1, -f_y2)
    first, second = state[i, S1] * state[i, Y1], state[i, S2] * state[i, Y2]
    reach[2] += first * f_s1 + second * f_s2
    reach[3] += first * f_y1 + second * f_y2
    reach[4] += first * f_s1 * f_y1 + second * f_s2 * f_y2
    return float(dy1)
