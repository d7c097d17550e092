"""No dependence."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri
from sklearn.utils.validation import check_is_fitted

from calibrate.models.arrays import Floats, RandomState, generator
from calibrate.models.dependence.base import Dependence
from calibrate.models.dependence.correlation import Ranks

__all__ = ["Independent"]


class Independent(Dependence):
    """Columns that know nothing of each other: `C(u) = u_1 u_2 ... u_d`. The incumbent to beat, hardly ever the truth.

    >>> Independent().fit([[1.0, 2.0], [3.0, 1.0]]).correlation_
    array([[1., 0.],
           [0., 1.]])
    """

    def _fit(self, ranks: Ranks, weights: Floats, groups: np.ndarray) -> None:
        self.correlation_ = np.eye(groups.size)

    def scores(self, n: int, random_state: RandomState = None) -> Floats:
        """`n` rows of independent standard normal scores."""
        check_is_fitted(self)
        return generator(random_state).standard_normal((n, self.n_features_in_))

    def score_cdf(self, scores: Any) -> Any:
        """Standard normal distribution function."""
        return ndtr(scores)

    def score_ppf(self, q: Any) -> Any:
        """Standard normal quantile."""
        return ndtri(q)
