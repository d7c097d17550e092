"""Student t copula with degrees of freedom by group."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import gammaincinv, stdtr, stdtrit

from calibrate.models.arrays import Floats
from calibrate.models.dependence.correlation import Ranks, positive_definite, shrunk_correlation
from calibrate.models.dependence.factor import joint_profile
from calibrate.models.dependence.likelihood import GRID, mixed_tail_dependence, plausible, profile, tail_dependence
from calibrate.models.dependence.mixture import NormalMixture
from calibrate.models.dependence.survival import StudentSurvival

__all__ = ["GroupedT"]


class GroupedT(NormalMixture):
    """Grouped t copula: segments whose large losses come together more, or less, than those of others.

    Score `z_j sqrt(v_g / W_g)` of column j in group g, `z` normal with correlation `R`, `W_g` the chi-square quantile
    of `v_g` degrees of freedom at one uniform that all groups share. `R` as in `Gaussian`; `v_g` as in `StudentT`,
    from the group's own columns. Without groups it is `StudentT`; a group of one column says
    nothing of `v` and has 100. Source: Daul, De Giorgi, Lindskog and McNeil 2003.

    Fitted: `correlation_`, `shrinkage_`, `degrees_of_freedom_` (by column), `profile_` (frame, one group a column),
    `tail_dependence_` (matrix).

    >>> x = np.random.default_rng(0).standard_t(4, size=(200, 4))
    >>> GroupedT().fit(x, groups=["a", "a", "b", "b"]).sample(5, 1).shape
    (5, 4)
    """

    shrinkage_: float
    degrees_of_freedom_: Floats
    profile_: pd.DataFrame
    _survivals: list[StudentSurvival]

    def _fit(self, ranks: Ranks, weights: Floats, groups: np.ndarray) -> None:
        self.correlation_, self.shrinkage_ = shrunk_correlation(ranks, weights, groups)
        self.degrees_of_freedom_, factors = np.full(groups.size, GRID[-1]), np.ones(groups.size)
        profiles, massive = {}, ranks.mass.any()
        for group in np.unique(groups):
            columns = np.flatnonzero(groups == group)
            if columns.size > 1:
                part, own = ranks.part(columns), self.correlation_[np.ix_(columns, columns)]
                name = int(group)
                if massive:
                    profiles[name], factors[columns] = joint_profile(part, weights, own, groups[columns])
                else:
                    profiles[name] = profile(part, weights, own, GRID)
                self.degrees_of_freedom_[columns] = plausible(profiles[name])
        scaled = self.correlation_ * np.sqrt(np.outer(factors, factors))
        np.fill_diagonal(scaled, 1.0)
        self.correlation_ = positive_definite(scaled)
        self.profile_ = pd.DataFrame(profiles)
        self._distinct, self._place = np.unique(self.degrees_of_freedom_, return_inverse=True)
        self._survivals = [StudentSurvival(v) for v in self._distinct]

    @property
    def tail_dependence_(self) -> Floats:
        """`E min(A_i, A_j)` with `A_j = (z_j+)^v_j / E (z_j+)^v_j`; as in `StudentT` where `v` is the same."""
        d, v = self.n_features_in_, self.degrees_of_freedom_
        found = np.array([tail_dependence(row, k) for row, k in zip(self.correlation_, v, strict=True)])
        for i, j in zip(*np.triu_indices(d, 1), strict=True):
            if v[i] != v[j]:
                found[i, j] = found[j, i] = mixed_tail_dependence(float(self.correlation_[i, j]), v[i], v[j])
        return found

    def _shocks(self, n: int, rng: np.random.Generator) -> Floats:
        """One uniform behind all, shape (n, distinct degrees of freedom)."""
        uniform = rng.random(n)
        shocks = [np.sqrt(k / (2 * gammaincinv(k / 2, uniform))) for k in self._distinct]
        return np.asarray(np.column_stack(shocks), dtype=np.float64)

    @property
    def _shock_of_column(self) -> npt.NDArray[np.intp]:
        return np.asarray(self._place, dtype=np.intp)

    def score_cdf(self, scores: Any) -> Any:
        """Distribution functions of Student's t, by column."""
        return stdtr(self.degrees_of_freedom_, scores)

    def score_ppf(self, q: Any) -> Any:
        """Quantiles of Student's t, by column."""
        return stdtrit(self.degrees_of_freedom_, q)

    def score_sf(self, scores: Floats, column: int | npt.NDArray[np.intp]) -> Floats:
        """Survival function of the column's Student t."""
        which, found = np.broadcast_to(self._place[column], scores.shape), np.empty(scores.size)
        for k, survival in enumerate(self._survivals):
            found[which == k] = survival(scores[which == k])
        return found
