"""What every dependence model can do; a family says how its scores are drawn and how one score is distributed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numba import njit
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import DataError
from calibrate.models.arrays import Floats, RandomState, generator, row_weights, table
from calibrate.models.dependence.correlation import Ranks

__all__ = ["Dependence", "Exceedances"]

Places = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Exceedances:
    """Scores above their column's threshold, column after column, by row; column j is `starts[j]:starts[j + 1]`.

    A column of another law counts as another column.
    """

    rows: Places
    scores: Floats
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: Places, columns: Places, scores: Floats, n: int) -> Exceedances:
        """Of `n` columns, given in any order."""
        starts = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=n))])
        rows, scores = _by_key(rows, columns, scores, starts)
        return cls(rows, scores, starts)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many there are of each column."""
        return np.diff(self.starts)

    @property
    def columns(self) -> Iterator[tuple[int, slice]]:
        """The columns that have any, and where they are."""
        return ((j, slice(a, b)) for j, (a, b) in enumerate(pairwise(self.starts)) if b > a)

    def parts(self, n: int) -> Iterator[Exceedances]:
        """Of the first `n` columns, of the next `n`, ..."""
        for k in range(0, self.starts.size - 1, n):
            own = self.starts[k : k + n + 1]
            yield Exceedances(self.rows[own[0] : own[-1]], self.scores[own[0] : own[-1]], own - own[0])


class Dependence(BaseEstimator, ABC):  # type: ignore[misc]
    """Copula of the columns of a table (periods x columns), fitted to their ranks: no unit and no margin matters.

    Equal smallest values (periods without loss) are a point mass: all that is known of them is that they lie there.
    NaN is a period in which a column was not there (a member before it joined): pairs are seen where both were.
    Rows are drawn as scores, increasing in the loss; `sample` gives them as uniforms. Every model has
    `tail_dependence_`, (columns, columns): the chance that one column is extreme given that another is.
    """

    correlation_: Floats
    n_features_in_: int

    @abstractmethod
    def _fit(self, ranks: Ranks, weights: Floats, groups: np.ndarray) -> None: ...

    @abstractmethod
    def _scores(self, n: int, rng: np.random.Generator) -> Floats:
        """Dependent scores, shape (n, columns)."""

    @abstractmethod
    def score_cdf(self, scores: Any) -> Any:
        """`P(score <= s)` by column; the last axis runs through the columns."""

    @abstractmethod
    def score_ppf(self, q: Any) -> Any:
        """Score that is not exceeded with probability `q`, by column."""

    @abstractmethod
    def score_sf(self, scores: Floats, column: int | npt.NDArray[np.intp]) -> Floats:
        """`P(score > s)` of one column, or of a column for each score, exact far in the tail; one-dimensional."""

    @property
    @abstractmethod
    def tail_dependence_(self) -> Floats:
        """`lim P(U_i > q | U_j > q)` for `q` to 1; NaN where the model has no closed form."""

    def fit(
        self, X: Any, y: object = None, sample_weight: Any = None, *, groups: Any = None, reliability: Any = None
    ) -> Self:
        """Fit to losses `X` (periods, columns), NaN where a column was not there; at least 2 periods; `y` is ignored.

        `groups` names the group (segment) of each column; `reliability`, in (0, 1], is the share of each column's
        variance that is not chance and can depend on others (1 if not given). DataError says what is wrong.
        """
        values = table(self, X, minimum=2, finite="allow-nan")
        weights = row_weights(sample_weight, len(values))
        labels = np.zeros(values.shape[1], dtype=int) if groups is None else np.unique(groups, return_inverse=True)[1]
        if labels.size != values.shape[1]:
            raise DataError(f"groups names {labels.size} columns, but the losses have {values.shape[1]}")
        share = np.ones(labels.size) if reliability is None else np.clip(np.asarray(reliability, dtype=float), 1e-6, 1)
        kept = weights > 0
        self._fit(Ranks.of(values[kept], weights[kept], share), weights[kept], labels)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def scores(self, n: int, random_state: RandomState = None) -> Floats:
        """`n` rows of dependent scores, shape (n, columns)."""
        check_is_fitted(self)
        return self._scores(n, generator(random_state))

    def sample(self, n: int = 1, random_state: RandomState = None) -> Floats:
        """`n` rows of dependent uniforms, shape (n, columns)."""
        return np.asarray(self.score_cdf(self.scores(n, random_state)))

    def exceedances(self, n: int, thresholds: Floats, random_state: RandomState = None) -> Exceedances:
        """What of `scores(n, random_state)` lies above the thresholds, by column."""
        return self.exceedances_by_law(np.zeros(n, dtype=np.intp), thresholds[None], random_state)

    def exceedances_by_law(
        self, laws: npt.NDArray[np.intp], thresholds: Floats, random_state: RandomState = None
    ) -> Exceedances:
        """As `exceedances`, row k above `thresholds[laws[k]]`: all columns of the first law, then of the second, ..."""
        scores = self.scores(laws.size, random_state)
        rows, columns = np.nonzero(scores > thresholds[laws])
        keys = laws[rows] * scores.shape[1] + columns
        return Exceedances.of(rows.astype(np.int32), keys.astype(np.int32), scores[rows, columns], thresholds.size)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _by_key(rows: Places, keys: Places, scores: Floats, starts: npt.NDArray[np.int64]) -> tuple[Places, Floats]:
    """Rows and scores key after key (key k is `starts[k]:starts[k + 1]`), in the order in which they come."""
    ends = starts[:-1].copy()
    sorted_rows, sorted_scores = np.empty_like(rows), np.empty_like(scores)
    for k in range(rows.size):
        at = ends[keys[k]]
        sorted_rows[at] = rows[k]
        sorted_scores[at] = scores[k]
        ends[keys[k]] += 1
    return sorted_rows, sorted_scores
