"""Rows and columns of rules brought near one by powers of two, which change no digit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from calibrate.program.cones import Cone
from calibrate.program.form import Program

__all__ = ["asked_of", "balanced", "near_one", "power_of", "shared_out", "sizes_of", "sizes_of_auxiliary"]

Floats = npt.NDArray[np.float64]

FAINT = 1e-6  # of a row, or of a variable, near one
SWEEPS = 3  # over the rows: who is asked for much may ask others


def sizes_of(program: Program) -> Floats:
    """A power of two near each column's share of the expected losses; 1 for a column that never loses."""
    mu = program.pool.column_means / program.unit
    return 1 / power_of(np.where(mu > 0, mu / max(float(mu.sum()), 1e-300), 1.0))


def asked_of(rows: Floats, amounts: Floats, sizes: Floats, few: int) -> Floats:
    """The `sizes` of the first columns, but of what a rule asks for where that is far beyond.

    A rule asks `few` columns, those of one member, to be as large as others, `a x >= b y`, or, but for an auxiliary
    variable, as an amount. A part of what a giant pays would count as 1e27 of what a member of 1e-30 of the losses
    pays. A floor alone does not count: where shares are tied to each other, all are as far beyond their sizes.
    """
    own = rows[:, : len(sizes)]
    others = np.any(own > 0, axis=1) | np.any(rows[:, len(sizes) :] != 0, axis=1)
    asking = others & (amounts <= 0) & (np.count_nonzero(own < 0, axis=1) <= few)
    own, below = own[asking], own[asking] < 0
    for _ in range(SWEEPS):
        most = np.maximum(-amounts[asking], (np.maximum(own, 0.0) * sizes).max(axis=1, initial=0.0))
        asked = np.where(below, most[:, None] / np.where(below, -own, 1.0), 0.0).max(axis=0, initial=0.0)
        sizes = np.where(asked * FAINT > sizes, 1 / power_of(asked), sizes)
    return sizes


def shared_out(rows: Floats, amounts: Floats, cone: Cone, sizes: Floats) -> Floats:
    """The `sizes` of the first columns, but of those that have to be as large as another together.

    Where a cap on shares, or on their concentration, holds a giant down, the others pay what it may not: in
    proportion to their sizes, for want of better.
    """
    n, m = cone.orthant, len(sizes)
    linear = rows[:n][amounts[:n] == 0]
    own = [linear[:, :m]]
    for block in cone.blocks:  # a norm is as large as the largest in it, and so is what a row has in its place
        head, tail = rows[block][0], np.abs(rows[block][1:, :m])
        norm = tail[int(np.argmax((tail * sizes).max(axis=1)))]
        own.append((head[:m] + norm)[None])
        for k in np.flatnonzero(head[m:] < 0) + m:
            in_place = linear[linear[:, k] > 0]
            own.append(in_place[:, :m] - in_place[:, k, None] * norm / head[k])
    every = np.vstack(own)
    asking, giving = np.maximum(every, 0.0), np.maximum(-every, 0.0)
    given = (giving * sizes).max(axis=1, initial=0.0)
    times = np.divide((asking * sizes).max(axis=1, initial=0.0), given, out=np.ones(len(every)), where=given > 0)
    beyond = np.where(giving > 0, times[:, None], 1.0).max(axis=0, initial=1.0)
    return np.where(beyond * FAINT > 1, sizes / power_of(beyond), sizes)


def sizes_of_auxiliary(rows: Floats, amounts: Floats, cone: Cone, start: int, count: int) -> Floats:
    """Sizes of the auxiliary variables in columns `start:start + count`, where no residual would tell them from zero.

    They count in what the decisions and amounts beside them count in: the difference between the loadings of two
    dwarfs is 1e-27 of the pool, and a row that adds it to others would be met by anything.
    """
    known = np.ones(rows.shape[1] + 1, dtype=bool)
    known[start : start + count] = False
    _, column = _factors(np.column_stack([rows, amounts]), known, cone.sizes, _least)
    found = column[start : start + count]
    return np.where(found < FAINT, found, 1.0)


def balanced(A: Floats, b: Floats, fixed: int, sizes: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Rows and auxiliary columns brought near one: cvxpy's auxiliary variables count in money."""
    row, column = _factors(A, np.arange(A.shape[1]) < fixed, sizes, _largest)
    return A * row[:, None] * column, b * row


def _factors(
    A: Floats, known: npt.NDArray[np.bool_], sizes: tuple[int, ...], measure: Callable[[Floats], Floats]
) -> tuple[Floats, Floats]:
    """Powers of two for rows and columns; those of `known` columns are 1.

    It spreads from them: a row is measured by the largest of the columns whose scale is known, a column by the rows
    whose scale is known. The rows of a second-order cone keep one scale among them.
    """
    ends = np.cumsum([len(A) - sum(sizes), *sizes])
    cones = [slice(int(a), int(z)) for a, z in pairwise(ends)]
    row, column = np.ones(len(A)), np.ones(A.shape[1])
    told, known, size = np.zeros(len(A), dtype=bool), known.copy(), np.abs(A)
    while True:
        height = (size[:, known] * column[known]).max(axis=1, initial=0.0)
        for cone in cones:
            height[cone] = height[cone].max(initial=0.0)
        new = (height > 0) & ~told
        if not new.any():
            return row, column
        row[new] = power_of(height[new])
        told |= new
        width = measure(size[told] * row[told, None])
        found = (width > 0) & ~known
        column[found] = power_of(width[found])
        known |= found


def _largest(size: Floats) -> Floats:
    """Of each column."""
    return np.asarray(size.max(axis=0, initial=0.0))


def _least(size: Floats) -> Floats:
    """Of each column, zeros apart: a variable that is at least this and that is as large as the largest of these."""
    found = np.where(size > 0, size, np.inf).min(axis=0, initial=np.inf)
    return np.where(np.isfinite(found), found, 0.0)


def near_one(A: Floats, b: Floats, room: Floats, cone: Cone) -> tuple[Floats, Floats, Floats]:
    """Rows so small in the columns as the solver scales them that no residual would tell, brought near one."""
    height = np.maximum(np.abs(A).max(axis=1, initial=0.0), np.abs(b))
    for block in cone.blocks:
        height[block] = height[block].max(initial=0.0)
    factor = np.where(height < FAINT, power_of(height), 1.0)
    return A * factor[:, None], b * factor, room * factor[:, None]


def power_of(size: Floats) -> Floats:
    """The power of two that brings each size near one; 1 for zero."""
    return np.asarray(np.where(size > 0, 2.0 ** -np.round(np.log2(np.where(size > 0, size, 1.0))), 1.0))
