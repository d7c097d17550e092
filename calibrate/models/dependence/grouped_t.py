"""Student t copula with degrees of freedom by group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaincinv, stdtr, stdtrit

from calibrate.models.arrays import Floats
from calibrate.models.dependence.base import Dependence
from calibrate.models.dependence.correlation import Ranks, shrunk_correlation
from calibrate.models.dependence.likelihood import GRID, plausible, profile, tail_dependence

__all__ = ["GroupedT"]


class GroupedT(Dependence):
    """Grouped t copula: segments whose large losses come together more, or less, than those of others.

    Score `z_j sqrt(v_g / W_g)` of column j in group g, `z` normal with correlation `R`, `W_g` the chi-square quantile
    of `v_g` degrees of freedom at one uniform that all groups share. `R` as in `Gaussian`; `v_g` as in `StudentT`,
    from the group's own columns. Without groups it is `StudentT`; a group of one column says
    nothing of `v` and has 100. Source: Daul, De Giorgi, Lindskog and McNeil 2003.

    Fitted: `correlation_`, `shrinkage_`, `degrees_of_freedom_` (by column), `profile_` (frame, one group a column),
    `tail_dependence_` (matrix; NaN between groups, where there is no closed form).

    >>> x = np.random.default_rng(0).standard_t(4, size=(200, 4))
    >>> GroupedT().fit(x, groups=["a", "a", "b", "b"]).sample(5, 1).shape
    (5, 4)
    """

    shrinkage_: float
    degrees_of_freedom_: Floats
    profile_: pd.DataFrame

    def _fit(self, ranks: Ranks, weights: Floats, groups: np.ndarray) -> None:
        self.correlation_, self.shrinkage_ = shrunk_correlation(ranks, weights, groups)
        self._factor = np.linalg.cholesky(self.correlation_)
        self._groups = groups
        self.degrees_of_freedom_ = np.full(groups.size, GRID[-1])
        profiles = {}
        for group in np.unique(groups):
            columns = np.flatnonzero(groups == group)
            if columns.size > 1:
                own = self.correlation_[np.ix_(columns, columns)]
                profiles[int(group)], _ = profile(ranks.part(columns), weights, own, GRID)
                self.degrees_of_freedom_[columns] = plausible(profiles[int(group)])
        self.profile_ = pd.DataFrame(profiles)

    @property
    def tail_dependence_(self) -> Floats:
        """As in `StudentT` within a group."""
        pieces = [tail_dependence(row, v) for row, v in zip(self.correlation_, self.degrees_of_freedom_, strict=True)]
        same = self._groups[:, None] == self._groups
        return np.where(same, np.array(pieces), np.nan)

    def _by_column(self, n: int, rng: np.random.Generator) -> Floats:
        """Each column a Student t of its group's degrees of freedom."""
        uniform = rng.random(n)
        scores = np.asarray(self._factor @ rng.standard_normal((self.n_features_in_, n)))
        distinct, place = np.unique(self.degrees_of_freedom_, return_inverse=True)
        shocks = [np.sqrt(k / (2 * gammaincinv(k / 2, uniform))) for k in distinct]
        for column, at in zip(scores, place, strict=True):
            column *= shocks[at]
        return scores

    def score_cdf(self, scores: Any) -> Any:
        """Distribution functions of Student's t, by column."""
        return stdtr(self.degrees_of_freedom_, scores)

    def score_ppf(self, q: Any) -> Any:
        """Quantiles of Student's t, by column."""
        return stdtrit(self.degrees_of_freedom_, q)
