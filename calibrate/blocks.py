"""A matrix of losses too large for memory: drawn again, block by block, whenever it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from calibrate.errors import DataError
from calibrate.one_thread import ONE_THREAD
from calibrate.reals import UNREAL, real

__all__ = ["HELD", "Blocks", "column_means"]

Floats = npt.NDArray[np.float64]
T = TypeVar("T")

HELD = 50_000_000  # losses: a selection of up to so many is kept in memory
CHUNK = 1024  # rows that are summed together: fixed, so that a sum has the same bytes for any block size


class Blocks:
    """Rows `k * rows` to `(k + 1) * rows` are `draw(k)`: an array on disk, or a model and a key.

    Parameters
    ----------
    draw : block number -> array (rows, columns) of losses >= 0, money; the same array every time, from any thread.
    shape : (scenarios, columns) of the whole.
    rows : scenarios a block, a multiple of 1,024 where bytes shall not depend on it; the last block may be shorter.

    It can be indexed by rows, and summed; only what is asked for is ever in memory, two blocks at a time.

    >>> table = np.arange(12.0).reshape(6, 2)
    >>> blocks = Blocks(lambda k: table[4 * k : 4 * k + 4], table.shape, rows=4)
    >>> blocks[[1, 5]].tolist(), blocks.sum(axis=1).tolist()
    ([[2.0, 3.0], [10.0, 11.0]], [1.0, 5.0, 9.0, 13.0, 17.0, 21.0])
    """

    __array_ufunc__ = None  # arrays leave a product with it to it
    ndim = 2

    def __init__(self, draw: Callable[[int], Floats], shape: tuple[int, int], rows: int) -> None:
        if min(*shape, rows) < 1:
            raise DataError(f"blocks of {rows} rows of a matrix of shape {shape}: expected at least one of each")
        self.shape, self.rows, self._draw = (int(shape[0]), int(shape[1])), int(rows), draw

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of losses."""
        return self.shape[0] * self.shape[1]

    def block(self, k: int) -> Floats:
        """One block, checked: its shape, and that all its losses are finite and >= 0."""
        drawn = self._draw(k)
        try:
            found = drawn if type(drawn) is np.ndarray and drawn.dtype == np.float64 else real(drawn)
        except UNREAL as error:
            raise DataError(f"block {k} must hold numbers, (scenarios, columns): {error}") from None
        expected = (min(self.rows, self.shape[0] - k * self.rows), self.shape[1])
        if found.shape != expected:
            raise DataError(f"block {k} has shape {found.shape}, expected {expected}")
        if not (found.min() >= 0 and found.max() < np.inf):
            s, j = np.argwhere(~((found >= 0) & (found < np.inf)))[0]
            raise DataError(
                f"scenario {k * self.rows + s}, column {j}: loss is {found[s, j]}, expected a finite number >= 0"
            )
        return found

    def over(self, work: Callable[[int, Floats], T]) -> Iterator[T]:
        """`work(first row, block)` of every block, in order, on as many threads as numba has."""
        count, ahead = -(-self.shape[0] // self.rows), get_num_threads()
        with ThreadPoolExecutor(ahead) as pool:
            waiting = [pool.submit(self._one, work, k) for k in range(min(ahead, count))]
            for k in range(count):
                result = waiting.pop(0).result()
                if k + ahead < count:
                    waiting.append(pool.submit(self._one, work, k + ahead))
                yield result

    def _one(self, work: Callable[[int, Floats], T], k: int) -> T:
        return work(k * self.rows, self.block(k))

    def __getitem__(self, key: Any) -> Floats:
        """Rows by a slice or by positions, as an array."""
        at = np.arange(self.shape[0])[key] if isinstance(key, slice) else np.asarray(key)
        if at.ndim != 1 or at.dtype.kind not in "iu":
            raise DataError("losses that are drawn block by block are indexed by rows only: a slice or positions")
        if at.size * self.shape[1] > HELD:
            raise DataError(f"{at.size:,} rows x {self.shape[1]} columns are more than the {HELD:,} kept in memory")
        order = np.argsort(at, kind="stable")
        ordered, out = at[order], np.empty((at.size, self.shape[1]))
        ends = np.searchsorted(ordered, np.arange(0, self.shape[0] + self.rows, self.rows))
        for k in np.flatnonzero(np.diff(ends)):
            here = slice(ends[k], ends[k + 1])
            out[order[here]] = self.block(int(k))[ordered[here] - k * self.rows]
        return out

    def sum(self, axis: int) -> Floats:
        """Sum of every row."""
        if axis != 1:
            raise DataError("losses that are drawn block by block are summed by row, axis=1")
        return np.concatenate(list(self.over(lambda _, block: block.sum(axis=1))))

    def __array__(self, dtype: Any = None, copy: Any = None) -> Floats:
        raise DataError(f"{self.shape[0]:,} x {self.shape[1]} losses are drawn block by block, never as one array")


def column_means(losses: Floats | Blocks, probabilities: Floats) -> Floats:
    """`p @ losses`, summed in chunks of 1,024 rows in their order."""

    def means(first: int, block: Floats) -> list[Floats]:
        ends = range(0, len(block), CHUNK)
        return [probabilities[first + k : first + k + CHUNK][: len(block) - k] @ block[k : k + CHUNK] for k in ends]

    with ONE_THREAD:
        parts = [*losses.over(means)] if isinstance(losses, Blocks) else [means(0, losses)]
    total = np.zeros(losses.shape[1])
    for part in parts:
        for chunk in part:
            total += chunk
    return total
