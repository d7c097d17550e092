"""Integers that keep rules, by a search over all roundings of money: up or down, within one unit of each amount.

Moving single units mends most of what rounding breaks (`rounding`), but may end where only several moves at once help,
and it leaves the sum alone. Contracts get integers of few decimals, where a unit matters: there every rounding counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from calibrate.certificate import verifier
from calibrate.certificate.rounding import EXACT, Row, rounded, within_reach

__all__ = ["kept"]

MOST_NODES = 300  # of the search: it ends alike on every machine
MISSED, ANOTHER_SUM = 1e4, 2.0  # a unit by which a row is missed, and one by which the sum is another, over all moves


def kept(
    values: Sequence[float], n_cells: int, decimals: int, rows: Sequence[Row] = (), names: Sequence[Any] = ()
) -> list[int]:
    """`rounded`, and where rows that `values` keep are missed then, the rounding that misses them by least.

    A sum of contributions that no rule minds is the nearest, to half a unit; otherwise it is right to less than a unit.
    What is nearly kept, such as a cap that a solver reached, is not missed by more.

    >>> floor = Row((0, 1), (-1.0, -1.0), -2.5)
    >>> rounded([1.25, 1.25], 2, 0, [floor]), kept([1.25, 1.25], 2, 0, [floor])
    ([1, 1], [2, 1])
    """
    order = sorted(range(len(values)), key=lambda j: (j >= n_cells, names[j] if names and j < n_cells else j))
    place = {j: k for k, j in enumerate(order)}
    placed = [Row(tuple(place[j] for j in row.columns), row.values, row.amount) for row in rows]
    whole = _kept([float(values[j]) for j in order], n_cells, decimals, placed)
    return [whole[place[j]] for j in range(len(values))]


def _kept(values: list[float], n_cells: int, decimals: int, rows: Sequence[Row]) -> list[int]:
    """The same with members in the order of their names, on which no answer then depends."""
    simple, grid = rounded(values, n_cells, decimals, rows), 10**decimals
    exact = [Fraction(value) * grid for value in values]
    slacks = {row: _slack(row, exact, grid) for row in within_reach(exact, grid, rows)}
    room = {row: min(slack, Fraction(0)) for row, slack in slacks.items() if abs(slack) <= sum(map(abs, row.values))}
    missed = _missed(room, simple, grid)
    found = _searched(exact, n_cells, room, grid) if missed > EXACT else None
    return simple if found is None or _missed(room, found, grid) >= missed - EXACT else found


def _slack(row: Row, whole: Sequence[Fraction | int], grid: int) -> Fraction:
    """What a row has left, units."""
    (entries, below), (numbers, under) = verifier.whole(row.values), verifier.whole([whole[j] for j in row.columns])
    spent = sum(a * n for a, n in zip(entries, numbers, strict=True))
    return Fraction(row.amount) * grid - Fraction(spent, below * under)


def _missed(room: Mapping[Row, Fraction], whole: Sequence[int], grid: int) -> float:
    """Units by which rows are missed beyond their room, each over its largest entry, all together."""
    return sum(
        float(max(least - _slack(row, whole, grid), Fraction(0))) / max(map(abs, row.values), default=1.0)
        for row, least in room.items()
    )


def _searched(exact: list[Fraction], n_cells: int, room: Mapping[Row, Fraction], grid: int) -> list[int] | None:
    """The best of all roundings: first it misses rows by least, then the sum is the nearest, then the amounts are.

    An integer program over what is rounded up, what rows are missed by, and whether the sum is one more or one less;
    first without a miss, as the least of them weighs less than another sum.
    """
    n, m, down = len(exact), len(room), [math.floor(value) for value in exact]
    rest = np.array([float(value - least) for value, least in zip(exact, down, strict=True)])
    A, ends = np.zeros((m, n + m + 2)), np.zeros(m)
    for i, (row, least) in enumerate(room.items()):
        size = max(map(abs, row.values), default=1.0)
        A[i, list(row.columns)] = np.array(row.values) / size
        A[i, n + i], ends[i] = -1.0, float((_slack(row, down, grid) - least) / Fraction(size))
    total = sum(exact[:n_cells], Fraction(0))
    nearest = round(total)
    sums = np.concatenate([np.ones(n_cells), np.zeros(n - n_cells + m), [-1.0, 1.0]])
    up = float(nearest - sum(down[:n_cells]))
    costs = np.concatenate([1 - 2 * rest, np.full(m, MISSED * n), np.full(2, ANOTHER_SUM * n)])
    for miss in (0.0, np.inf):
        found = milp(
            costs,
            constraints=[LinearConstraint(A, -np.inf, ends), LinearConstraint(sums[None, :], up, up)],
            integrality=np.concatenate([np.ones(n), np.zeros(m), np.ones(2)]),
            bounds=Bounds(0.0, np.concatenate([rest > 0, np.full(m, miss), [nearest < total, nearest > total]])),
            options={"node_limit": MOST_NODES},
        )
        if found.x is not None:
            return [least + round(one) for least, one in zip(down, found.x[:n], strict=True)]
    return None
