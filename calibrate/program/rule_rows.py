"""The matrix of the rules: a rule of shares is a few entries and a multiple of the total of all contributions.

With `g` the multiples, `u` the total and `S` the few entries, `G = g u' + S`: `G v` takes as long as its rows and
columns are many, and `G' W G`, which takes `rows n^2` for any matrix, takes `n^2`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from calibrate.program.kernel import inlined, kernel

__all__ = ["RuleRows", "add_back", "add_curvature", "add_rows", "limited", "rule_rows"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FEW = 4  # entries
EQUAL = 1e-14  # relative: what scaling a column may change of a multiple


class RuleRows(NamedTuple):
    """Rows `multiple[i] * total + entries`, those at `ends[i]:ends[i + 1]`; then the rows that are none such."""

    total: Floats
    multiple: Floats
    row: Ints
    ends: Ints
    column: Ints
    value: Floats
    other: Ints
    others: Floats


@kernel
def rule_rows(G: Floats, total: Floats) -> RuleRows:
    """Tell rows of shares from others.

    >>> G = np.array([[1.0, -0.5, -0.5], [0.3, 0.1, 0.7]])
    >>> rows = rule_rows(G, np.ones(3))
    >>> rows.multiple, rows.column, rows.value
    (array([-0.5,  0.3]), array([0, 1, 2]), array([ 1.5, -0.2,  0.4]))
    """
    n_rows, n = G.shape
    multiple, row, ends = np.empty(n_rows), np.empty(n_rows, np.int64), np.zeros(n_rows + 1, np.int64)
    column, value = np.empty(FEW * n_rows, np.int64), np.empty(FEW * n_rows)
    other, shares, others = np.empty(n_rows, np.int64), 0, 0
    for i in range(n_rows):
        start = ends[shares]
        times, found = _multiple(G[i], total), start
        for j in range(n):
            rest = G[i, j] - times * total[j]
            if abs(rest) > EQUAL * abs(G[i, j]):
                if found < start + FEW:
                    column[found], value[found] = j, rest
                found += 1
        if found <= start + FEW:
            multiple[shares], row[shares], ends[shares + 1] = times, i, found
            shares += 1
        else:
            other[others] = i
            others += 1
    last = ends[shares]
    return RuleRows(
        total,
        multiple[:shares],
        row[:shares],
        ends[: shares + 1],
        column[:last],
        value[:last],
        other[:others],
        G[other[:others]],
    )


@inlined
def _multiple(row: Floats, total: Floats) -> float:
    """The multiple that most entries have, if there is one: the median of three."""
    at = np.flatnonzero(total)
    if len(at) == 0:
        return 0.0
    first, middle, last = at[0], at[len(at) // 2], at[-1]
    a, b, c = row[first] / total[first], row[middle] / total[middle], row[last] / total[last]
    return float(max(min(a, b), min(max(a, b), c)))


@kernel
def add_rows(rows: RuleRows, v: Floats, out: Floats) -> None:
    """Add `G v` to `out`."""
    total = (rows.total * v).sum()
    for k in range(len(rows.row)):
        out[rows.row[k]] += rows.multiple[k] * total
        for a in range(rows.ends[k], rows.ends[k + 1]):
            out[rows.row[k]] += rows.value[a] * v[rows.column[a]]
    for k in range(len(rows.other)):
        out[rows.other[k]] += (rows.others[k] * v).sum()


@kernel
def add_back(rows: RuleRows, y: Floats, out: Floats) -> None:
    """Add `G' y` to `out`."""
    total = 0.0
    for k in range(len(rows.row)):
        total += rows.multiple[k] * y[rows.row[k]]
        for a in range(rows.ends[k], rows.ends[k + 1]):
            out[rows.column[a]] += rows.value[a] * y[rows.row[k]]
    out += total * rows.total
    for k in range(len(rows.other)):
        out += y[rows.other[k]] * rows.others[k]


@kernel
def add_curvature(rows: RuleRows, weight: Floats, H: Floats) -> None:
    """Add `G' W G` to `H`."""
    n = len(H)
    square, mixed = 0.0, np.zeros(n)
    for k in range(len(rows.row)):
        w, g = weight[rows.row[k]], rows.multiple[k]
        square += w * g * g
        for a in range(rows.ends[k], rows.ends[k + 1]):
            i, at_i = rows.column[a], w * rows.value[a]
            mixed[i] += g * at_i
            for b in range(rows.ends[k], rows.ends[k + 1]):
                H[i, rows.column[b]] += at_i * rows.value[b]
    for i in range(n):
        along, across = square * rows.total[i] + mixed[i], rows.total[i]
        if along != 0.0 or across != 0.0:
            for j in range(n):
                H[i, j] += along * rows.total[j] + across * mixed[j]
    if len(rows.other) > 0:
        scaled = np.sqrt(weight[rows.other]).reshape(-1, 1) * rows.others
        H += scaled.T @ scaled


@kernel
def limited(rows: Floats, most: Floats, free: Bools, reach: Floats) -> Floats:
    """How large each variable can be under `rows @ v <= most` where no other is larger than its `reach`.

    What adds to a row helps the others, and so does a variable that is `free` to be negative. Infinite without a limit.
    """
    found = np.full(len(reach), np.inf)
    for i in range(len(rows)):
        left = most[i]
        for j in range(len(reach)):
            if rows[i, j] < 0.0 or (free[j] and rows[i, j] > 0.0):
                left += abs(rows[i, j]) * reach[j]
        for j in range(len(reach)):
            if rows[i, j] > 0.0:
                found[j] = min(found[j], left / rows[i, j])
    return found
