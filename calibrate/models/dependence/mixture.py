"""Normal scores under common shocks: all that is drawn of them, in pieces that stay in the processor's cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from numba import njit
from sklearn.utils.validation import check_is_fitted

from calibrate.models.arrays import Floats, RandomState, generator
from calibrate.models.dependence.base import Dependence, Exceedances

__all__ = ["NormalMixture"]

Places = npt.NDArray[np.int32]
PIECE = 2**16  # scores that are drawn and compared together
STEP = 32  # columns of the triangular factor that are multiplied together


class NormalMixture(Dependence, ABC):
    """Score `z_j s_g(j)`: `z` normal with correlation `correlation_`, `s_g` a shock that a group of columns shares."""

    @abstractmethod
    def _shocks(self, n: int, rng: np.random.Generator) -> Floats:
        """Positive shocks, shape (n, groups)."""

    @property
    @abstractmethod
    def _shock_of_column(self) -> npt.NDArray[np.intp]:
        """The group of each column."""

    @property
    def _lower(self) -> Floats:
        """The lower triangular factor of the correlation."""
        return np.asarray(np.linalg.cholesky(self.correlation_), dtype=np.float64)

    def _pieces(self, n: int, rng: np.random.Generator) -> Iterator[tuple[int, Floats]]:
        """First row and correlated normals of each piece; the memory is used again for the next."""
        lower = self._lower
        d = len(lower)
        size = max(PIECE // d, 16)
        fresh, normals = np.empty((size, d)), np.empty((size, d))
        for first in range(0, n, size):
            _fill(fresh, rng)  # whole pieces: the first rows do not depend on how many follow
            for column in range(0, d, STEP):
                end = min(column + STEP, d)
                np.matmul(fresh[:, :end], lower[column:end, :end].T, out=normals[:, column:end])
            yield first, normals[: n - first]

    def _scores(self, n: int, rng: np.random.Generator) -> Floats:
        shocks = self._shocks(n, rng)
        result = np.empty((n, self.n_features_in_))
        for first, normals in self._pieces(n, rng):
            rows = slice(first, first + len(normals))
            result[rows] = normals * shocks[rows][:, self._shock_of_column]
        return result

    def exceedances_by_law(
        self, laws: npt.NDArray[np.intp], thresholds: Floats, random_state: RandomState = None
    ) -> Exceedances:
        """As in `Dependence`, and only what is above is kept."""
        check_is_fitted(self)
        rng = generator(random_state)
        shocks, columns = np.ascontiguousarray(self._shocks(laws.size, rng)), self._shock_of_column
        parts: list[tuple[Places, Places, Floats]] = []
        for first, normals in self._pieces(laws.size, rng):
            rows, keys = np.empty(normals.size, dtype=np.int32), np.empty(normals.size, dtype=np.int32)
            scores = np.empty(normals.size)
            count = _collect(normals, shocks, columns, laws, thresholds, first, rows, keys, scores)
            parts.append((rows[:count].copy(), keys[:count].copy(), scores[:count].copy()))
        rows, keys, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Exceedances.of(rows, keys, scores, thresholds.size)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill(table: Floats, rng: np.random.Generator) -> None:
    """`rng.standard_normal(out=table)`, the same numbers in a third of the time."""
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            table[i, j] = rng.standard_normal()


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _collect(
    normals: Floats,
    shocks: Floats,
    columns: npt.NDArray[np.intp],
    laws: npt.NDArray[np.intp],
    thresholds: Floats,
    first: int,
    rows: Places,
    keys: Places,
    scores: Floats,
) -> int:
    """Write row, place of law and column, and score of what lies above its threshold; how many there are."""
    count, width = 0, normals.shape[1]
    for i in range(normals.shape[0]):
        begun, law = count, laws[first + i]
        for j in range(width):  # without a branch: nine in ten are skipped, and nobody can guess which
            keys[count] = j
            count += normals[i, j] * shocks[first + i, columns[j]] > thresholds[law, j]
            if count == keys.size:
                break
        for k in range(begun, count):
            j = keys[k]
            rows[k] = first + i
            keys[k] = law * width + j
            scores[k] = normals[i, j] * shocks[first + i, columns[j]]
    return count
