"""What every dependence model can do; a family says how its scores are drawn and how one score is distributed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import DataError
from calibrate.models.arrays import Floats, RandomState, generator, row_weights, table
from calibrate.models.dependence.correlation import Ranks

__all__ = ["Dependence"]


class Dependence(BaseEstimator, ABC):  # type: ignore[misc]
    """Copula of the columns of a table (periods x columns), fitted to their ranks: no unit and no margin matters.

    Equal smallest values (periods without loss) are a point mass: all that is known of them is that they lie there.
    Rows are drawn as scores, increasing in the loss; `sample` gives them as uniforms.
    """

    correlation_: Floats
    n_features_in_: int

    @abstractmethod
    def _fit(self, ranks: Ranks, weights: Floats, groups: np.ndarray) -> None: ...

    @abstractmethod
    def _by_column(self, n: int, rng: np.random.Generator) -> Floats:
        """Dependent scores, one column of the data a row: shape (columns, n), contiguous."""

    @abstractmethod
    def score_cdf(self, scores: Any) -> Any:
        """`P(score <= s)` of one column."""

    @abstractmethod
    def score_ppf(self, q: Any) -> Any:
        """Score that is not exceeded with probability `q`."""

    def fit(
        self, X: Any, y: object = None, sample_weight: Any = None, *, groups: Any = None, reliability: Any = None
    ) -> Self:
        """Fit to losses `X` (periods, columns), at least 2 periods; `y` is ignored.

        `groups` names the group (segment) of each column; `reliability`, in (0, 1], is the share of each column's
        variance that is not chance and can depend on others (1 if not given). DataError says what is wrong.
        """
        values = table(self, X, minimum=2)
        weights = row_weights(sample_weight, len(values))
        labels = np.zeros(values.shape[1], dtype=int) if groups is None else np.unique(groups, return_inverse=True)[1]
        if labels.size != values.shape[1]:
            raise DataError(f"groups names {labels.size} columns, but the losses have {values.shape[1]}")
        share = np.ones(labels.size) if reliability is None else np.clip(np.asarray(reliability, dtype=float), 1e-6, 1)
        kept = weights > 0
        self._fit(Ranks.of(values[kept], weights[kept], share), weights[kept], labels)
        return self

    def scores(self, n: int, random_state: RandomState = None) -> Floats:
        """`n` rows of dependent scores, shape (n, columns); each column is contiguous in memory."""
        check_is_fitted(self)
        return self._by_column(n, generator(random_state)).T

    def sample(self, n: int = 1, random_state: RandomState = None) -> Floats:
        """`n` rows of dependent uniforms, shape (n, columns)."""
        return np.asarray(self.score_cdf(self.scores(n, random_state)))
