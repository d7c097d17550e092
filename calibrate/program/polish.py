"""Multipliers of rules moved a little, so that the bound they prove exists.

A decision that nothing bounds must have a slope of the right sign exactly, where an interior method leaves it at a
billionth of the wrong one. The flows of the risk terms stay; the multipliers of the rules maximise the bound, a small
linear program in which such slopes keep clear of zero.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from calibrate.certificate import verifier
from calibrate.program.form import Floats

__all__ = ["polished"]

EXACT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


def polished(body: dict[str, Any], pool: verifier.Pool, unit: float, clear: float) -> list[list[float]] | None:
    """New multipliers of the blocks of a certificate (numbers as fractions); None where there are none.

    `clear` of the largest multiplier is how far from zero a slope keeps that must not have the other sign.
    """
    slope = _base(body, pool)
    columns, amounts, free = _columns(body, unit)
    largest = max((abs(float(m)) for block in body["multipliers"]["blocks"] for m in block), default=0.0)
    if not columns.shape[1] or not largest:
        return None
    n, rows = len(slope), columns.shape[1]
    low, high = _box(body, unit).T
    sides: list[tuple[Any, Floats]] = []  # in (multipliers, y): y_j <= slope_j * end, and the clear signs
    eye = sp.identity(n, format="csr")
    for end in (low, high):
        known = np.flatnonzero(np.isfinite(end))
        scaled = sp.diags(end[known]) @ columns[known]
        sides.append((sp.hstack([-scaled, eye[known]]), slope[known] * end[known]))
    endless = [(1.0, np.flatnonzero(np.isnan(high))), (-1.0, np.flatnonzero(np.isnan(low)))]
    for sign, at in endless:
        sides.append(
            (sp.hstack([-sign * columns[at], sp.csr_matrix((len(at), n))]), sign * slope[at] - clear * largest)
        )
    solve: Any = linprog  # its overloads know no sparse matrices
    found = solve(
        np.append(amounts, -np.ones(n)),
        A_ub=sp.vstack([side for side, _ in sides]),
        b_ub=np.concatenate([limit for _, limit in sides]),
        bounds=[(None if one else 0.0, 3 * largest) for one in free] + [(None, None)] * n,
        options=EXACT,
    )
    if found.status != 0:
        return None
    return _scaled(body, found.x[:rows])


def _box(body: dict[str, Any], unit: float) -> Floats:
    """Bounds of decisions and auxiliary variables in units, NaN where there is none."""
    grid = 10 ** body["decimals"] * verifier.FINER
    ends = verifier.box(body, body["objective"])
    return np.array([[np.nan if end is None else float(Fraction(end, grid)) / unit for end in pair] for pair in ends])


def _base(body: dict[str, Any], pool: verifier.Pool) -> Floats:
    """Slope of the affine function without the rules."""
    given = body["multipliers"]
    slope: list[Any] = [*body["costs"], *[0] * body["auxiliary"]]
    prices = [term["price"] for term in body["terms"]]
    for limit, nu in zip(body["limits"], given["limits"], strict=True):
        prices = [price + nu * eta for price, eta in zip(prices, limit["risks"], strict=True)]
        for j, a in limit["row"][0]:
            slope[j] += nu * a
    for term, price, flows in zip(body["terms"], prices, given["flows"], strict=True):
        pool.cut(term, price, flows, slope)
    return np.array([float(one) for one in slope])


def _columns(body: dict[str, Any], unit: float) -> tuple[sp.csr_matrix, Floats, list[bool]]:
    """What one unit of each block's multiplier adds to the slopes, and takes off the constant (units); free or >= 0.

    The multipliers of a cone keep their proportions.
    """
    entries: list[tuple[int, int, float]] = []
    amounts, free = [], []
    for k, ((_, kind, rows), m) in enumerate(zip(body["blocks"], body["multipliers"]["blocks"], strict=True)):
        weights = [1.0] if len(rows) == 1 else [float(one) for one in m]
        entries += [(j, k, weight * float(a)) for weight, (row, _) in zip(weights, rows, strict=True) for j, a in row]
        amounts.append(sum(weight * float(h) / unit for weight, (_, h) in zip(weights, rows, strict=True)))
        free.append(kind == "equal")
    n = len(body["costs"]) + body["auxiliary"]
    at = np.array([(j, k) for j, k, _ in entries], dtype=int).reshape(-1, 2)
    values = np.array([a for *_, a in entries])
    return sp.csr_matrix((values, (at[:, 0], at[:, 1])), shape=(n, len(amounts))), np.array(amounts), free


def _scaled(body: dict[str, Any], found: Floats) -> list[list[float]]:
    """The multipliers of each block from one number for each."""
    blocks = []
    for (_, kind, rows), m, one in zip(body["blocks"], body["multipliers"]["blocks"], found.tolist(), strict=True):
        scale = one if kind == "equal" else max(one, 0.0)
        blocks.append([scale] if len(rows) == 1 else [scale * float(entry) for entry in m])
    return blocks
