"""How far a member's own experience counts: credibility between members, and between cohorts of members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator

from calibrate.errors import DataError, ModelError

__all__ = ["BuhlmannStraub", "HierarchicalCredibility"]

Floats = npt.NDArray[np.float64]
Cohorts = Sequence[object] | Mapping[Any, object] | pd.Series
MOST_ITERATIONS, SMALL_CHANGE = 10_000, 1e-13


@dataclass(frozen=True)
class Experience:
    """Checked ratios and weights, members x periods; weight 0 where a period was not observed."""

    values: Floats
    weights: Floats
    members: pd.Index

    @classmethod
    def of(cls, values: npt.ArrayLike, weights: npt.ArrayLike | None) -> Experience:
        """Check raw input; DataError names member and period."""
        try:
            frame = values if isinstance(values, pd.DataFrame) else pd.DataFrame(np.asarray(values, dtype=np.float64))
            matrix = frame.to_numpy(dtype=np.float64, copy=True)
        except (TypeError, ValueError) as error:
            raise DataError(f"values must be a table of numbers, members x periods: {error}") from None
        if not matrix.size:
            raise DataError(f"values must have members as rows and periods as columns, got shape {matrix.shape}")
        if isinstance(weights, pd.DataFrame):
            weights = _aligned(weights, frame)
        given = np.ones(matrix.shape) if weights is None else np.array(weights, dtype=np.float64)
        if given.shape != matrix.shape:
            raise DataError(f"weights must have the shape of the values, {matrix.shape}, got {given.shape}")
        unseen = np.isnan(matrix) & (np.isnan(given) | (given == 0) | np.full(matrix.shape, weights is None))
        given[unseen], matrix[unseen] = 0.0, 0.0
        wrong = ~np.isfinite(matrix) | ~np.isfinite(given) | (given < 0)
        if wrong.any():
            raise DataError(
                [
                    f"member {frame.index[i]!r}, period {frame.columns[j]!r}: value {matrix[i, j]} with weight "
                    f"{given[i, j]}, expected finite numbers and a weight >= 0 (0 or NaN for a period not observed)"
                    for i, j in np.argwhere(wrong)[:20]
                ]
            )
        return cls(np.where(given > 0, matrix, 0.0), given, frame.index)

    @property
    def totals(self) -> Floats:
        """Weight of each member."""
        return np.asarray(self.weights.sum(axis=1))

    @property
    def means(self) -> Floats:
        """Weighted mean of each member, 0 for a member without experience."""
        return _ratio((self.weights * self.values).sum(axis=1), self.totals)

    @property
    def within_variance(self) -> float:
        """`s2 = sum w_ij (X_ij - X_i)^2 / sum (n_i - 1)`: variance of a period of weight one."""
        freedom = int(np.maximum((self.weights > 0).sum(axis=1) - 1, 0).sum())
        if not freedom:
            raise ModelError(
                "no member was observed in two periods or more, so that the variance within members cannot be told "
                "from the variance between them; more periods are needed"
            )
        return float((self.weights * (self.values - self.means[:, None]) ** 2).sum() / freedom)


class BuhlmannStraub(BaseEstimator):  # type: ignore[misc]
    """Premiums between a member's own mean and the collective, by how much each can be believed.

    `premium_i = z_i X_i + (1 - z_i) m`, `z_i = w_i / (w_i + s2/a)`, `m = sum z_i X_i / sum z_i`;
    `s2` the variance within members (a period of weight one), `a` the variance between them,
    `a = (sum w_i (X_i - X)^2 - (I - 1) s2) / (w - sum w_i^2 / w)`: both unbiased. An estimate `a <= 0` says that the
    members do not differ by more than chance: `a = 0`, no member is believed, all pay the weighted mean.
    Source: Buehlmann and Straub 1970; Buehlmann and Gisler 2005, section 4.8.

    Fitted, in the unit of the values (squared for variances): `collective_mean_`, `between_variance_`,
    `within_variance_`, and by member `credibility_`, `premiums_`, `individual_means_`, `weights_`.

    >>> model = BuhlmannStraub().fit([[1.0, 3.0], [5.0, 7.0]])
    >>> model.collective_mean_, model.within_variance_, model.between_variance_
    (4.0, 2.0, 7.0)
    >>> model.credibility_.round(3).tolist()
    [0.875, 0.875]
    """

    collective_mean_: float
    between_variance_: float
    within_variance_: float
    credibility_: pd.Series[float]
    premiums_: pd.Series[float]
    individual_means_: pd.Series[float]
    weights_: pd.Series[float]

    def fit(self, values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Fit to ratios (members x periods; NaN where not observed) and their weights: exposures or claim counts."""
        experience = Experience.of(values, weights)
        totals, means = experience.totals, experience.means
        if (totals > 0).sum() < 2:
            raise ModelError(
                "credibility needs two members with experience; with one there is nothing to compare it with"
            )
        self.within_variance_ = experience.within_variance
        self.between_variance_ = max(_between(totals, means, self.within_variance_), 0.0)
        credibility = _credibility(totals, self.within_variance_, self.between_variance_)
        shares = credibility if credibility.any() else totals
        self.collective_mean_ = float(shares @ means / shares.sum())
        premiums = credibility * means + (1 - credibility) * self.collective_mean_
        self.credibility_ = pd.Series(credibility, index=experience.members, name="credibility")
        self.premiums_ = pd.Series(premiums, index=experience.members, name="premium")
        self.weights_ = pd.Series(totals, index=experience.members, name="weight")
        self.individual_means_ = pd.Series(means, index=experience.members, name="mean").where(self.weights_ > 0)
        return self


class HierarchicalCredibility(BaseEstimator):  # type: ignore[misc]
    """Members believe their cohort, cohorts believe the pool.

    `premium_i = z_i X_i + (1 - z_i) premium_of_cohort`, `z_i = w_i / (w_i + s2/a)`;
    `premium_of_cohort = q (sum z_i X_i / sum z_i) + (1 - q) m`, `q = z / (z + a/b)`, `z = sum z_i` over the cohort.
    Variances `a` (members within cohorts) and `b` (cohorts) by the iterative pseudo-estimators, never negative:
    `a = sum z_i (X_i - X_cohort)^2 / (I - P)`, `b = sum q (X_cohort - m)^2 / (P - 1)`.
    Source: Jewell 1975; Goovaerts et al. 1990; iterative estimators of Bichsel and Straub, as in the R package actuar.

    Fitted: `collective_mean_`, `between_cohort_variance_`, `between_variance_`, `within_variance_`; by member
    `credibility_`, `premiums_`; by cohort `cohort_credibility_`, `cohort_premiums_`.

    >>> values = [[1.0, 1.2], [1.4, 1.6], [5.0, 5.2], [5.4, 5.8]]
    >>> HierarchicalCredibility().fit(values, cohorts=["a", "a", "b", "b"]).cohort_premiums_.round(1).to_dict()
    {'a': 1.3, 'b': 5.3}
    """

    collective_mean_: float
    between_cohort_variance_: float
    between_variance_: float
    within_variance_: float
    credibility_: pd.Series[float]
    premiums_: pd.Series[float]
    cohort_credibility_: pd.Series[float]
    cohort_premiums_: pd.Series[float]

    def fit(self, values: npt.ArrayLike, weights: npt.ArrayLike | None = None, *, cohorts: Cohorts) -> Self:
        """Fit to ratios (members x periods), their weights and the cohort of each member.

        Cohorts are in the order of the rows, or by member: a mapping, or a Series with the rows' labels.
        """
        experience = Experience.of(values, weights)
        place, names = _cohorts(cohorts, experience)
        totals, means, s2 = experience.totals, experience.means, experience.within_variance
        alive = totals > 0
        a = _fixed_point(
            lambda a: _spread_within(_credibility(totals, s2, a), means, place),
            _start(means[alive]),
            int(alive.sum()) - len(names),
        )
        z = _credibility(totals, s2, a)
        shares = z if a else totals
        z_cohort = _total(place, shares, len(names))
        x_cohort = _ratio(_total(place, shares * means, len(names)), z_cohort)
        inner = a or s2  # of members alike only the periods' own scatter is left: `w a / s2` are weights, as a vanishes
        b = _fixed_point(
            lambda b: _spread(_credibility(z_cohort, inner, b), x_cohort), _start(x_cohort), len(names) - 1
        )
        q = _credibility(z_cohort, inner, b)
        believed = q if q.any() else z_cohort
        self.collective_mean_ = float(believed @ x_cohort / believed.sum())
        cohort_premiums = q * x_cohort + (1 - q) * self.collective_mean_
        self.within_variance_, self.between_variance_, self.between_cohort_variance_ = s2, a, b
        self.credibility_ = pd.Series(z, index=experience.members, name="credibility")
        self.premiums_ = pd.Series(
            z * means + (1 - z) * cohort_premiums[place], index=experience.members, name="premium"
        )
        self.cohort_credibility_ = pd.Series(q, index=names, name="credibility")
        self.cohort_premiums_ = pd.Series(cohort_premiums, index=names, name="premium")
        return self


def _between(totals: Floats, means: Floats, within: float) -> float:
    alive = totals > 0
    w, x = totals[alive], means[alive]
    spread = float(w @ (x - w @ x / w.sum()) ** 2)
    return (spread - (w.size - 1) * within) / float(w.sum() - w @ w / w.sum())


def _credibility(weights: Floats, inner: float, outer: float) -> Floats:
    """`w / (w + inner / outer)`, 0 when nothing varies outside, 1 when nothing varies inside."""
    if outer <= 0:
        return np.zeros(weights.shape)
    return _ratio(weights * outer, weights * outer + inner)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)


def _total(place: npt.NDArray[np.intp], values: Floats, n: int) -> Floats:
    return np.asarray(np.bincount(place, values, n), dtype=np.float64)


def _start(values: Floats) -> float:
    return float(np.var(values))


def _spread(credibility: Floats, means: Floats) -> float:
    total = float(credibility.sum())
    return float(credibility @ (means - credibility @ means / total) ** 2) if total else 0.0


def _spread_within(credibility: Floats, means: Floats, place: npt.NDArray[np.intp]) -> float:
    return sum(_spread(credibility[place == cohort], means[place == cohort]) for cohort in range(int(place.max()) + 1))


def _fixed_point(next_sum: Callable[[float], float], start: float, freedom: int) -> float:
    """The variance that reproduces itself, `v = next_sum(v) / freedom`; 0 where the iteration dies out."""
    if freedom < 1:
        raise ModelError(
            "hierarchical credibility needs at least two cohorts, and one with two members of experience; "
            "use BuhlmannStraub for a single level"
        )
    value = start
    for _ in range(MOST_ITERATIONS):
        new = next_sum(value) / freedom
        if abs(new - value) <= SMALL_CHANGE * value:
            return float(new)
        if new < 1e-9 * start:
            return 0.0
        value = new
    return float(value)


def _cohorts(cohorts: Cohorts, experience: Experience) -> tuple[npt.NDArray[np.intp], pd.Index]:
    if isinstance(cohorts, Mapping):
        cohorts = pd.Series(list(cohorts.values()), index=pd.Index(list(cohorts), dtype=object), dtype=object)
    if isinstance(cohorts, pd.Series) and not isinstance(cohorts.index, pd.RangeIndex):
        missing = experience.members.difference(cohorts.index)
        if len(missing):
            raise DataError(f"no cohort is given for {', '.join(map(repr, missing[:5]))}")
        cohorts = cohorts.reindex(experience.members)
    labels = pd.Index(list(cohorts), dtype=object, name="cohort")
    if len(labels) != len(experience.members) or labels.hasnans:
        raise DataError(
            f"cohorts must name one for each of the {len(experience.members)} members, got {len(labels)} or a gap"
        )
    place, names = pd.factorize(labels)
    empty = [str(name) for k, name in enumerate(names) if not experience.totals[place == k].any()]
    if empty:
        raise DataError(f"cohort {', '.join(map(repr, empty))} has no experience at all; join it to another")
    return place, pd.Index(names, name="cohort")


def _aligned(weights: pd.DataFrame, frame: pd.DataFrame) -> Floats:
    missing = frame.index.difference(weights.index).tolist() + frame.columns.difference(weights.columns).tolist()
    if missing:
        raise DataError(
            f"weights are missing for {', '.join(map(repr, missing[:5]))}; they need the values' rows and columns"
        )
    return weights.reindex(index=frame.index, columns=frame.columns).to_numpy(dtype=np.float64)
