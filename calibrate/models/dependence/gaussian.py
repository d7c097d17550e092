"""Gaussian copula."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from calibrate.models.arrays import Floats
from calibrate.models.dependence.base import Dependence
from calibrate.models.dependence.correlation import Ranks, shrunk_correlation

__all__ = ["Gaussian"]


class Gaussian(Dependence):
    """Gaussian copula `C(u) = Phi_R(Phi^-1(u_1), ..., Phi^-1(u_d))`: dependence that fades out in the tail.

    `R` by normal scores, shrunk towards the correlation that each pair of groups shares (see `shrunk_correlation`).
    Fitted: `correlation_`, `shrinkage_` (mean weight of the shared correlation, 1 = no pair speaks for itself).
    Source: McNeil, Frey, Embrechts, Quantitative Risk Management, 7.1.

    >>> x = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=2000)
    >>> bool(abs(Gaussian().fit(np.exp(x)).correlation_[0, 1] - 0.6) < 0.03)
    True
    """

    shrinkage_: float

    def _fit(self, ranks: Ranks, weights: Floats, groups: np.ndarray) -> None:
        self.correlation_, self.shrinkage_ = shrunk_correlation(ranks, weights, groups)
        self._factor = np.linalg.cholesky(self.correlation_)

    def _by_column(self, n: int, rng: np.random.Generator) -> Floats:
        return np.asarray(self._factor @ rng.standard_normal((self.n_features_in_, n)))

    def score_cdf(self, scores: Any) -> Any:
        """Standard normal distribution function."""
        return ndtr(scores)

    def score_ppf(self, q: Any) -> Any:
        """Standard normal quantile."""
        return ndtri(q)
