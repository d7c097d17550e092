"""What rows and columns of a matrix hold, as one number each that does not depend on their order: nothing is sorted.

The key of a column is the sum, modulo `2^64`, of its entries' bits mixed with a number for their row; likewise of a
row. Sums of integers do not depend on the order of the summands. Different columns have the same key once in `2^64`.
Source of the mixing function: Steele, Lea and Flood 2014 (SplitMix).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibrate.program.kernel import inlined, kernel

__all__ = ["Keys", "by_column", "by_row", "mixed", "size_of"]

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

START, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
EXPONENT, NONE = np.uint64(0x7FF0000000000000), np.uint64(0)
FAR, NEAR, LAST, SIGN = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(1)


@inlined
def _mix(number: np.uint64) -> np.uint64:
    number += START
    number = (number ^ (number >> FAR)) * FIRST
    number = (number ^ (number >> NEAR)) * SECOND
    return number ^ (number >> LAST)


@kernel
def _mixed(numbers: Keys, out: Keys) -> None:
    for i in range(len(numbers)):
        out[i] = _mix(numbers[i])


@kernel
def _by_column(bits: Keys, rows: Keys, size: np.uint64, out: Keys) -> None:
    for s in range(bits.shape[0]):
        for j in range(bits.shape[1]):
            if bits[s, j] << SIGN:  # not zero, of either sign
                out[j] += _mix((bits[s, j] - size) ^ rows[s])


@kernel
def _by_row(bits: Keys, columns: Keys, size: np.uint64, out: Keys) -> None:
    for s in range(bits.shape[0]):
        total = out[s]
        for j in range(bits.shape[1]):
            if bits[s, j] << SIGN:
                total += _mix((bits[s, j] - size) ^ columns[j])
        out[s] = total


def mixed(numbers: npt.NDArray[np.generic]) -> Keys:
    """Bits of numbers (8 bytes each), well mixed: close ones are far apart.

    >>> bool((mixed(np.array([1.0, 2.0])) == mixed(np.array([2.0, 1.0]))[::-1]).all())
    True
    """
    flat = np.ascontiguousarray(numbers).view(np.uint64).ravel()
    out = np.empty_like(flat)
    _mixed(flat, out)
    return out.reshape(numbers.shape)


def size_of(values: Floats) -> np.uint64:
    """Exponent of the largest value, in place: in units of that power of two values have the same bits in any unit."""
    return np.uint64(np.float64(values.max(initial=0.0)).view(np.uint64) & EXPONENT)


def by_column(matrix: Floats, rows: Keys, size: np.uint64 = NONE) -> Keys:
    """Key of each column, given a number for each row, in units of `size`. Zeros do not count.

    >>> table, rows = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([7, 7], dtype=np.uint64)
    >>> bool((by_column(table[::-1], rows) == by_column(table, rows)).all())
    True
    """
    out = np.zeros(matrix.shape[1], dtype=np.uint64)
    _by_column(np.ascontiguousarray(matrix).view(np.uint64), rows, size, out)
    return out


def by_row(matrix: Floats, columns: Keys, size: np.uint64 = NONE) -> Keys:
    """Key of each row, given a number for each column, in units of `size`."""
    out = np.zeros(matrix.shape[0], dtype=np.uint64)
    _by_row(np.ascontiguousarray(matrix).view(np.uint64), columns, size, out)
    return out
