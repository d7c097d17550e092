"""Money as integers of a smallest unit: exact sums by largest remainder, and rules that held still hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np

from calibrate.certificate import verifier

__all__ = ["Row", "auxiliary", "in_whole_numbers", "largest_remainder", "rounded", "rows_of", "within_reach"]

MOST_MOVES = 10_000  # units moved to mend rows that rounding broke
CANDIDATES = 12  # members to take a unit from, and to give it to, that are tried for one move
SWEEPS = 3  # over the auxiliary variables
EXACT = 1e-9  # units: less is the rounding of the sums themselves


@dataclass(frozen=True)
class Row:
    """A condition `sum values * x[columns] <= amount`, money."""

    columns: tuple[int, ...]
    values: tuple[float, ...]
    amount: float


def rows_of(certificate: Mapping[str, Any]) -> list[Row]:
    """The linear rows of a certificate without auxiliary variables: those that rounding can mend."""
    n = len(certificate["costs"])
    rows = [rows[0] for _, kind, rows in certificate["blocks"] if kind == "at_most"]
    ours = [(row, amount) for row, amount in rows if all(j < n for j, _ in row)]
    return [Row(tuple(j for j, _ in row), tuple(a for _, a in row), amount) for row, amount in ours]


def largest_remainder(values: Sequence[float | int], total: int, names: Sequence[Any] = ()) -> list[int]:
    """Integers in proportion to `values` >= 0 that sum to `total`: rounded down, the rest to the largest remainders.

    Ties go to the first by name, so that their order does not matter; to the first without names. All zero when the
    values are.

    >>> largest_remainder([1.0, 1.0, 1.0], 100)
    [34, 33, 33]
    """
    ratios = [value.as_integer_ratio() for value in values]
    under = max((below for _, below in ratios), default=1)
    weights = [above * (under // below) for above, below in ratios]
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    return _apportioned([Fraction(weight * total, whole) for weight in weights], total, names)


def _apportioned(exact: Sequence[Fraction], total: int, names: Sequence[Any]) -> list[int]:
    """Rounded down, then up where the remainder is largest, to a total that is theirs to less than a unit."""
    units = [math.floor(value) for value in exact]
    order = sorted(range(len(units)), key=lambda i: (units[i] - exact[i], names[i] if names else i))
    for i in order[: total - sum(units)]:
        units[i] += 1
    return units


def rounded(
    values: Sequence[float], n_cells: int, decimals: int, rows: Sequence[Row] = (), names: Sequence[Any] = ()
) -> list[int]:
    """Contributions (the first `n_cells`) by largest remainder of their exact sum, reserves to the nearest unit.

    Units are then moved so that every row that `values` keep is kept by the integers too, where that can be done within
    one unit of each value and with the sum of contributions untouched; reserves move before contributions.
    """
    grid = 10**decimals
    exact = [Fraction(value) * grid for value in map(float, values)]
    whole = _apportioned(exact[:n_cells], round(sum(exact[:n_cells])), names) + [
        round(value) for value in exact[n_cells:]
    ]
    order = [*(sorted(range(n_cells), key=names.__getitem__) if names else range(n_cells)), *range(n_cells, len(exact))]
    broken = _Rows([exact[j] for j in order], [whole[j] for j in order], grid, _by_place(rows, order))
    for _ in range(MOST_MOVES):
        move = broken.best_move(n_cells)
        if move is None:
            break
        for j, by in move:
            broken.move(j, by)
    return [n for _, n in sorted(zip(order, broken.whole, strict=True))]


def _by_place(rows: Sequence[Row], order: Sequence[int]) -> list[Row]:
    """Rows with their columns as they are ordered, and in an order of their own, so that theirs does not matter."""
    place = {j: k for k, j in enumerate(order)}
    entries = [(sorted((place[j], a) for j, a in zip(row.columns, row.values, strict=True)), row) for row in rows]
    moved = [Row(tuple(j for j, _ in one), tuple(a for _, a in one), row.amount) for one, row in entries]
    return sorted(moved, key=lambda row: (row.columns, row.values, row.amount))


def auxiliary(body: dict[str, Any], published: list[int], near: list[int]) -> list[int] | None:
    """Auxiliary variables of the rules at the published integers, in 1e-9 of their unit, from values `near` by.

    They stay where they do, or where an equation among them is closed by the first that can; else each goes to the
    least that the rows which hold it from below allow, so that no other row suffers from it. Where that is too much (a
    loss of 1e-20 of the pool's is below the published unit), those rows give what the verifier grants. None where that
    does not do: what stands inside a norm is not moved. `body` is a certificate with its numbers as fractions.
    """
    if not near:
        return []
    body = {**body, "blocks": in_whole_numbers(body["blocks"])}
    v = [n * verifier.FINER for n in published]
    for found in chain(
        [v + near, _closed(body, v + near)], (_least(body, v + near, giving) for giving in (False, True))
    ):
        with suppress(ValueError):
            verifier.feasible(body, found)
            return found[len(v) :]
    return None


def in_whole_numbers(blocks: Sequence[Any]) -> list[Any]:
    """The same blocks, each times the power of two that makes its numbers whole: sums of fractions take their time."""
    found: list[Any] = []
    for name, kind, rows in blocks:
        numbers, _ = verifier.whole([one for row, amount in rows for one in (amount, *(a for _, a in row))])
        left, scaled = iter(numbers), []
        for row, _ in rows:
            amount = next(left)
            scaled.append([[[j, next(left)] for j, _ in row], amount])
        found.append([name, kind, scaled])
    return found


def _closed(body: dict[str, Any], v: list[int]) -> list[int]:
    """Equations in which no decision stands hold exactly: the verifier gives no room where only auxiliaries stand."""
    n, grid, v = len(body["costs"]), 10 ** body["decimals"] * verifier.FINER, v.copy()
    for row, amount in (one for _, kind, rows in body["blocks"] if kind == "equal" for one in rows):
        missed = amount * grid - verifier.dot(row, v)
        close = [(j, missed // a) for j, a in row if a and missed % a == 0]  # numbers are whole: not each of them can
        if close and all(j >= n for j, _ in row):
            v[close[0][0]] += close[0][1]
    return v


def _least(body: dict[str, Any], v: list[int], giving: bool) -> list[int]:
    """Sweeps over the auxiliary variables; `giving`: a row gives what it may be missed by, unless it is equal."""
    n, grid = len(body["costs"]), verifier.grid(body)
    below: dict[int, list[tuple[int, int, list[Any]]]] = {}
    loosened = verifier.conditions({**body, "limits": []}) if len(v) > n else ()
    for (_, kind, rows), (_, _, ((loose, top), *_), *_) in zip(body["blocks"], loosened, strict=bool(loosened)):
        (head, amount), give = rows[0], giving and kind != "equal"
        room = math.floor((top - amount) * grid + verifier.dot(head, v) - verifier.dot(loose, v)) if give else 0
        inside = {j for row, _ in rows[1:] for j, _ in row}  # of a norm, which moves with it
        for j, a in rows[0][0]:
            if j >= n and j not in inside and (a < 0 or kind == "equal"):
                below.setdefault(j, []).append((a, room, [(row, h * grid) for row, h in rows]))
    for _ in range(SWEEPS):
        before = v.copy()
        for j, held in below.items():
            v[j] = 0
            v[j] = max(
                -((room + h - _norm(tail, v) - verifier.dot(row, v)) // -a) for a, room, ((row, h), *tail) in held
            )
        if v == before:
            break
    return v


def _norm(rows: list[Any], v: list[int]) -> int:
    """At least the Euclidean norm of the slacks of some rows, in whole numbers."""
    size: int = sum((h - verifier.dot(row, v)) ** 2 for row, h in rows)
    return math.isqrt(size) + (size > 0)


def within_reach(exact: Sequence[Fraction], grid: int, rows: Sequence[Row]) -> list[Row]:
    """Rows that rounding may break, by floating point: exact sums take their time."""
    money = np.array([float(value / grid) for value in exact])
    unit = float(Fraction(1, grid))
    found = []
    for row in rows:
        values, columns = np.array(row.values), list(row.columns)
        reach = 2 * unit * float(np.abs(values).sum()) + 1e-9 * (
            float(np.abs(values) @ money[columns]) + abs(row.amount)
        )
        if abs(row.amount - float(values @ money[columns])) <= reach:
            found.append(row)
    return found


class _Rows:
    """The rows that rounding may break, with their slack in units; `whole` is moved unit by unit."""

    def __init__(self, exact: list[Fraction], whole: list[int], grid: int, rows: Sequence[Row]) -> None:
        self.whole = whole
        self.offset = np.array([float(n - value) for n, value in zip(whole, exact, strict=True)])
        kept, slacks = [], []
        x, below = verifier.whole(exact)
        for row in within_reach(exact, grid, rows):
            (amount, *values), under = verifier.whole([row.amount, *row.values])
            before = amount * grid * below - sum(a * x[j] for a, j in zip(values, row.columns, strict=True))
            if 0 <= before <= sum(map(abs, values)) * below:
                now = amount * grid - sum(a * whole[j] for a, j in zip(values, row.columns, strict=True))
                kept.append(row)
                slacks.append(float(Fraction(now, under)))
        self.slack = np.array(slacks)
        self.matrix = np.zeros((len(kept), len(whole)))
        for i, row in enumerate(kept):
            self.matrix[i, list(row.columns)] = row.values

    def move(self, j: int, by: int) -> None:
        """Add units to an amount."""
        self.whole[j] += by
        self.offset[j] += by
        self.slack -= by * self.matrix[:, j]

    def best_move(self, n_cells: int) -> list[tuple[int, int]] | None:
        """The move that mends most of the worst row without breaking others by more; None if there is none."""
        if not self.slack.size or self.slack.min() >= -EXACT:
            return None
        row = self.matrix[int(np.argmin(self.slack))]
        up = np.flatnonzero(self.offset + 1 < 1)
        down = np.flatnonzero((self.offset - 1 > -1) & (np.array(self.whole) > 0))
        reserves = [[(int(j), by)] for group, by in ((up, 1), (down, -1)) for j in group if j >= n_cells]
        more = [int(j) for j in up[np.argsort(row[up])] if j < n_cells][:CANDIDATES]
        less = [int(j) for j in down[np.argsort(-row[down])] if j < n_cells][:CANDIDATES]
        moves = reserves + [[(i, -1), (j, 1)] for i in less for j in more if i != j]
        if not moves:
            return None
        now, *after = self._missed([[], *moves])
        best = int(np.argmin(after))
        return moves[best] if after[best] < now - EXACT else None

    def _missed(self, moves: list[list[tuple[int, int]]]) -> list[float]:
        """By what rows are missed after each of some moves."""
        change = np.zeros((len(moves), len(self.whole)))
        for k, move in enumerate(moves):
            for j, by in move:
                change[k, j] += by
        missed: list[float] = np.maximum(change @ self.matrix.T - self.slack, 0.0).sum(axis=1).tolist()
        return missed
