"""No dependence."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from calibrate.models.arrays import Floats
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

    def _scores(self, n: int, rng: np.random.Generator) -> Floats:
        return rng.standard_normal((n, self.n_features_in_))

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
