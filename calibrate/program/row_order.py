"""Rows of a compiled rule, and the variables of its own, in an order that does not depend on that of the members."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from calibrate.program.content import Keys, by_column, by_row, mixed

__all__ = ["Placed", "placed_by_content"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_ROUNDS = 4  # in which variables that look alike may come to look different


class Placed(NamedTuple):
    """Rows and columns by their old positions, and the sizes of the second-order cones in their new order."""

    rows: Ints
    columns: Ints
    sizes: tuple[int, ...]


def placed_by_content(A: Floats, b: Floats, fixed: int, ends: tuple[int, int], sizes: tuple[int, ...]) -> Placed:
    """The first `fixed` columns stay, all others and the rows go by what they hold (`content`).

    Equalities, inequalities (up to `ends`) and cones stay apart, and the first row of a cone stays its first. Variables
    that look alike are interchangeable, and so are equal rows.
    """
    table, own = A + 0.0, mixed(b + 0.0)  # zeros of one sign
    cones = [slice(int(a), int(z)) for a, z in pairwise(np.cumsum([ends[1], *sizes]))]
    columns = mixed(np.append(np.arange(fixed), np.full(A.shape[1] - fixed, fixed)))
    told = 0
    for _ in range(MOST_ROUNDS):
        rows = _with_cones(mixed(by_row(table, columns) + own), ends, cones)
        if A.shape[1] == fixed:
            break
        columns[fixed:] = mixed(columns[fixed:] ^ by_column(table[:, fixed:], rows))
        if told == (told := len(np.unique(columns[fixed:]))):
            break
    blocks = sorted(cones, key=lambda cone: int(rows[cone.start]))
    order = [_by_key(rows, 0, ends[0]), _by_key(rows, *ends)]
    for cone in blocks:
        order += [np.array([cone.start]), _by_key(rows, cone.start + 1, cone.stop)]
    at = np.append(np.arange(fixed), fixed + np.argsort(columns[fixed:], kind="stable"))
    return Placed(np.concatenate(order), at, tuple(cone.stop - cone.start for cone in blocks))


def _by_key(rows: Keys, first: int, last: int) -> Ints:
    return np.asarray(first + np.argsort(rows[first:last], kind="stable"))


def _with_cones(rows: Keys, ends: tuple[int, int], cones: list[slice]) -> Keys:
    """Keys of rows that also say whether they are equalities, and in which cone they stand, and where."""
    rows = rows.copy()
    rows[: ends[0]] = mixed(rows[: ends[0]])
    for cone in cones:
        head, rest = rows[cone.start : cone.start + 1], rows[cone.start + 1 : cone.stop]
        whole = mixed(np.append(mixed(head), rest).sum(keepdims=True))
        rows[cone.start : cone.start + 1] = mixed(head ^ whole)
        rows[cone.start + 1 : cone.stop] = mixed(rest ^ whole)
    return rows
