"""Student t copula."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr, stdtrit

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats
from calibrate.models.dependence.correlation import Ranks, positive_definite, shrunk_correlation
from calibrate.models.dependence.factor import joint_profile
from calibrate.models.dependence.likelihood import GRID, plausible, profile, tail_dependence
from calibrate.models.dependence.mixture import NormalMixture
from calibrate.models.dependence.survival import StudentSurvival

__all__ = ["StudentT"]


class StudentT(NormalMixture):
    """Student t copula `C(u) = t_R,v(t_v^-1(u_1), ..., t_v^-1(u_d))`: large losses come together.

    `R` as in `Gaussian`; the degrees of freedom `v` from the profile likelihood on a grid up to 100, for the whole
    table, or by pairs where there are fewer than 50 periods: `1 / v` is the mean of the grid's, weighted by likelihood.
    Where losses have a point mass, normal scores take heavy tails for correlation: the likelihood of one common factor
    (`FactorLikelihood`, zeros as intervals, all columns at once) then sets `v` and the level of `R` together.
    Fitted: `correlation_`, `shrinkage_`, `degrees_of_freedom_`, `profile_` (Series: log-likelihood by degrees of
    freedom, less its maximum), `tail_dependence_` (matrix).
    Source: Demarta and McNeil 2005; McNeil, Frey, Embrechts, Quantitative Risk Management, 7.3; Genest, Ghoudi, Rivest
    1995 (likelihood of ranks).

    Parameters
    ----------
    degrees_of_freedom : fixed `v` > 0 instead of an estimate.

    >>> x = np.random.default_rng(0).standard_t(4, size=(50, 1)) * [1.0, 2.0] + [[0.0, 1.0]]
    >>> bool(StudentT(degrees_of_freedom=4.0).fit(x).tail_dependence_[0, 1] > 0.8)
    True
    """

    shrinkage_: float
    degrees_of_freedom_: float
    profile_: pd.Series[float]

    def __init__(self, degrees_of_freedom: float | None = None) -> None:
        self.degrees_of_freedom = degrees_of_freedom

    def _fit(self, ranks: Ranks, weights: Floats, groups: np.ndarray) -> None:
        fixed = self.degrees_of_freedom
        if fixed is not None and not 0 < fixed < np.inf:
            raise ModelError(
                f"StudentT: degrees_of_freedom is {fixed!r}, expected a finite number > 0, or None to estimate it"
            )
        self.correlation_, self.shrinkage_ = shrunk_correlation(ranks, weights, groups)
        factor = 1.0
        if ranks.mass.any():
            self.profile_, factor = joint_profile(ranks, weights, self.correlation_, groups, fixed)
        else:
            self.profile_ = profile(ranks, weights, self.correlation_, GRID if fixed is None else (float(fixed),))
        np.fill_diagonal(scaled := self.correlation_ * factor, 1.0)
        self.correlation_ = positive_definite(scaled)
        self.degrees_of_freedom_ = plausible(self.profile_)
        self._survival = StudentSurvival(self.degrees_of_freedom_)

    @property
    def tail_dependence_(self) -> Floats:
        """`2 t_{v+1}(-sqrt((v + 1)(1 - rho)/(1 + rho)))`: chance that one is extreme given that the other is."""
        return tail_dependence(self.correlation_, self.degrees_of_freedom_)

    def _shocks(self, n: int, rng: np.random.Generator) -> Floats:
        """`sqrt(v / chi2_v)`, common to all columns."""
        return np.asarray(np.sqrt(self.degrees_of_freedom_ / rng.chisquare(self.degrees_of_freedom_, (n, 1))))

    @property
    def _shock_of_column(self) -> npt.NDArray[np.intp]:
        return np.zeros(self.n_features_in_, dtype=np.intp)

    def score_cdf(self, scores: Any) -> Any:
        """Distribution function of Student's t."""
        return stdtr(self.degrees_of_freedom_, scores)

    def score_ppf(self, q: Any) -> Any:
        """Quantile of Student's t."""
        return stdtrit(self.degrees_of_freedom_, q)

    def score_sf(self, scores: Floats, column: int | npt.NDArray[np.intp]) -> Floats:
        """Survival function of Student's t."""
        return self._survival(scores)
