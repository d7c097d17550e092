"""Gaussian copula."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from calibrate.models.arrays import Floats
from calibrate.models.dependence.correlation import Ranks, shrunk_correlation
from calibrate.models.dependence.mixture import NormalMixture

__all__ = ["Gaussian"]


class Gaussian(NormalMixture):
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

    def _shocks(self, n: int, rng: np.random.Generator) -> Floats:
        return np.ones((n, 1))

    @property
    def _shock_of_column(self) -> npt.NDArray[np.intp]:
        return np.zeros(self.n_features_in_, dtype=np.intp)

    @property
    def tail_dependence_(self) -> Floats:
        """None: `0` between columns."""
        return np.eye(self.n_features_in_)

    def score_cdf(self, scores: Any) -> Any:
        """Standard normal distribution function."""
        return ndtr(scores)

    def score_ppf(self, q: Any) -> Any:
        """Standard normal quantile."""
        return ndtri(q)

    def score_sf(self, scores: Floats, column: int | npt.NDArray[np.intp]) -> Floats:
        """Standard normal survival function."""
        return np.asarray(ndtr(-scores))
