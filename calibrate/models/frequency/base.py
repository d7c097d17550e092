"""What every frequency model can do; a family says how its counts scatter around their means."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from scipy import stats
from scipy.special import gammaincinv
from sklearn.utils.validation import check_is_fitted

from calibrate.models.arrays import Floats, RandomState, broadcast, generator
from calibrate.models.frequency.likelihood import (
    column_rates,
    heterogeneity,
    log_mixed,
    log_probability,
    shared_rates,
)
from calibrate.models.frequency.model import Open, Order, counted, levels
from calibrate.models.frequency.posterior import CountPosterior

__all__ = ["Frequency"]

FEWEST = 0.5  # events that a member is worth of whom nothing is known


class Frequency(Open, ABC):
    """Counts of losses, periods x columns (members), with exposures; the columns borrow strength from each other.

    `E N[t, j] = rate[j] E[t, j]` with `rate[j] = Z[j] own[j] + (1 - Z[j]) collective` and
    `Z[j] = e[j] / (e[j] + a / collective)`: the posterior mean when rates are gamma distributed around the collective
    rate with shape `a` (Buehlmann and Gisler 2005, chapter 2); `e` is the exposure, less what shocks of a column's own
    take away, or times the shocks that all columns share.
    A single column stands alone (`Z = 1`).

    Fitted: `rate_`, `credibility_` (by column), `collective_rate_`, `means_` (like the counts), `size_` (the variance
    is mean + mean^2 / size), `log_likelihood_`, `evidence_` (the same, rates of the columns integrated out: rates of
    their own hide what columns have in common). Counts may be any numbers >= 0.
    """

    shocked: ClassVar[bool] = True
    rate_: Floats
    _likeness: float
    credibility_: Floats
    collective_rate_: float
    size_: float
    means_: Floats
    log_likelihood_: float
    evidence_: float
    n_features_in_: int

    @abstractmethod
    def _together(self, table: Floats) -> Floats:
        """The table (periods, columns) summed over the columns that one shock hits together, two-dimensional."""

    @abstractmethod
    def _size(self, counts: Floats, means: Floats, weights: Floats) -> float:
        """`k` of `variance = mean + mean^2 / k` of counts hit together, given their means."""

    def fit(self, X: Any, y: object = None, sample_weight: Any = None, *, exposure: Any = None) -> Self:
        """Fit to counts `X` (periods, columns) or (periods,); `y` is ignored; `exposure` is 1 if not given.

        `sample_weight`: how often each period is repeated (2 is the row twice); shares of one are refused.
        Raises DataError for counts or exposures that are none, ModelError if nothing was ever counted.
        """
        counts, exposures, weights = counted(self, X, sample_weight, exposure)
        unit = exposures.mean()
        self._fit(counts, exposures / unit, weights)
        self.rate_, self.collective_rate_ = self.rate_ / unit, self.collective_rate_ / unit
        return self

    def _fit(self, counts: Floats, exposures: Floats, weights: Floats) -> None:
        hit, k, rates = self._together(counts), math.inf, shared_rates if self.shared else column_rates
        repeated = np.repeat(weights, hit.shape[1])
        for _ in range(100):
            own, effective = rates(counts, exposures, weights, k)
            collective, a = heterogeneity(own * effective, effective)
            credibility = effective / (effective + a / collective) if math.isfinite(a) else np.zeros_like(effective)
            rate = credibility * own + (1 - credibility) * collective
            means = exposures * rate
            new = self._size(hit.ravel(), self._together(means).ravel(), repeated)
            done = new == k or abs(new - k) <= 1e-12 * min(new, k)
            k = new
            if done:
                break
        self.rate_, self.collective_rate_, self.credibility_, self.size_ = rate, collective, credibility, k
        self.means_, self._likeness = means, a
        expected = self._together(means)
        shocks = log_probability(hit, expected, k) - log_probability(hit, expected, math.inf)
        independent = log_probability(counts, means, math.inf)
        self.log_likelihood_ = float(weights @ (independent.sum(axis=1) + shocks.sum(axis=1)))
        self.evidence_ = self.log_likelihood_ + log_mixed(own * effective, effective, rate, collective, a)

    def residuals(self, counts: Floats) -> Floats:
        """`N - m G` of the fitted counts, `G = (k + N) / (k + m)` the shock, by all that it hits together.

        Times a covariate the slope of the log-likelihood.
        """
        hit, expected = self._together(counts), self._together(self.means_)
        shocks = 1.0 if math.isinf(self.size_) else (self.size_ + hit) / (self.size_ + expected)
        return np.asarray(counts - self.means_ * shocks)

    def posterior(self, counts: Floats, worth: float = 1.0) -> CountPosterior:
        """Level and shock, as the fitted counts tell them."""
        hit, expected = self._together(counts), self._together(self.means_)
        return CountPosterior.of(hit, expected, self.size_, shocked=self.shocked, worth=worth)

    def unlike(self, counts: Floats, chances: Floats) -> Floats:
        """Rates of the columns over their own, at `chances` (n, columns) of a smaller one; their sum is kept.

        Gamma, of shape `a` plus the events that were counted.
        """
        shapes = np.maximum(self._likeness + counts.sum(axis=0), FEWEST)
        if not np.isfinite(shapes).all():
            return np.ones_like(chances)
        drawn = gammaincinv(shapes, chances) / shapes
        expected = self.means_.sum(axis=0)
        return np.asarray(drawn * expected.sum() / (drawn @ expected)[:, None])

    def moved(self, levels: Floats, size: float | None = None) -> Self:
        """The same with rates times `levels` (of the columns), and perhaps another size."""
        other = copy.copy(self)
        other.rate_, other.size_ = self.rate_ * levels, self.size_ if size is None else size
        return other

    @property
    def shared(self) -> bool:
        """Whether one shock hits all columns together."""
        return bool(self._together(np.ones((1, 2))).shape[1] == 1)

    @property
    def order(self) -> Order:
        """Nothing: periods are drawn anew."""
        return Order.NOTHING

    def mean(self, exposure: Any = 1.0) -> Floats:
        """Expected count of each column at `exposure` (one number or one for each column)."""
        check_is_fitted(self)
        return self.rate_ * broadcast(exposure, self.n_features_in_)

    def variance(self, exposure: Any = 1.0) -> Floats:
        """`mean + mean^2 / size` of each column."""
        mean = self.mean(exposure)
        return mean + mean**2 / self.size_

    def zero_probability(self, exposure: Any = 1.0) -> Floats:
        """Probability of a period without losses, by column."""
        mean = self.mean(exposure)
        return np.exp(-mean) if math.isinf(self.size_) else np.exp(-self.size_ * np.log1p(mean / self.size_))

    def ppf(self, q: Any, exposure: Any = 1.0) -> Any:
        """Quantile of each column's count; `q` broadcasts against the columns."""
        return self._law(self.mean(exposure)).ppf(levels(q))

    def sample(self, exposure: Any = 1.0, random_state: RandomState = None, n: int = 1) -> Floats:
        """`n` independent counts for each column, shape (n, columns)."""
        mean = np.broadcast_to(self.mean(exposure), (n, self.n_features_in_))
        rng = generator(random_state)
        if math.isfinite(self.size_):
            mean = mean * rng.gamma(self.size_, 1 / self.size_, mean.shape)
        return rng.poisson(mean).astype(np.float64)

    def largest(self, exceeded: Floats, mean: Floats | float) -> Floats:
        """`s` with `P(N = 0) = 1 - exceeded` at the mean `s mean`: events above the size are a thinned count."""
        quiet = -np.log1p(-exceeded)
        hits = quiet if math.isinf(self.size_) else self.size_ * np.expm1(quiet / self.size_)
        return np.minimum(hits / mean, 1.0)

    def others(self, chance: Floats, mean: Floats | float, rng: np.random.Generator) -> Floats:
        """Smaller events: `mean (1 - s) G`, `G` the gamma shock given that one event has come and none is larger."""
        smaller = np.asarray(mean * (1 - chance))
        if math.isinf(self.size_):
            return smaller
        return rng.standard_gamma(self.size_ + 1, smaller.shape) * smaller / (self.size_ + mean * chance)

    def _law(self, mean: Floats) -> Any:
        return (
            stats.poisson(mean)
            if math.isinf(self.size_)
            else stats.nbinom(self.size_, self.size_ / (self.size_ + mean))
        )
