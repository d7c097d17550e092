"""Scenarios that come to the same tree: on atoms there are many, and one with all their weight does."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pandas.util import hash_array

__all__ = ["Bunches", "alike", "apart"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.signedinteger[Any]]


class Bunches(NamedTuple):
    """Rows that are the same: the first of each bunch, in order, and the bunch of every row."""

    first: Ints
    which: Ints

    def total(self, weight: Floats) -> Floats:
        """Weight of every bunch."""
        return np.bincount(self.which, weight, len(self.first)).astype(float)


def apart(rows: int) -> Bunches:
    """Every row by itself."""
    return Bunches(np.arange(rows), np.arange(rows))


def alike(rows: int, *tables: tuple[Places, Places, npt.NDArray[np.floating[Any]]]) -> Bunches:
    """Bunches of equal rows of `tables` side by side, each told by row, column and value of what is not zero.

    By sums of 64-bit hashes. Rows that are not equal share one with a chance of 1e-19 a pair; the exact proof would
    tell.

    >>> alike(3, (np.array([0, 1, 2]), np.array([0, 1, 0]), np.array([2.0, 3.0, 2.0])))
    Bunches(first=array([0, 1]), which=array([0, 1, 0]))
    """
    key, offset = np.zeros(rows, dtype=np.uint64), 0
    for row, column, value in tables:
        width = int(column.max(initial=-1)) + 1
        place = hash_array(np.arange(offset, offset + width, dtype=np.uint64))
        np.add.at(key, row, hash_array(value.view(np.uint64) ^ place[column]))
        offset += 1 << 32  # more than there are columns
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return Bunches(first[order], np.argsort(order)[which])
