"""What every severity model can do; a family says its distribution, all else is derived here."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import ModelError
from calibrate.models.arrays import RandomState
from calibrate.models.severity.observation import Observation, Sample

__all__ = ["Severity"]

Floats = npt.NDArray[np.float64]


class Severity(BaseEstimator, ABC):  # type: ignore[misc]
    """Distribution of one loss, in the unit of the data. A family says `_fit`, `_sf`, `_isf`, `_layer`, `_log_density`.

    Fitted: `log_likelihood_` (of the losses, truncation and censoring included), `n_parameters_`, `n_observations_`
    (rows of positive weight), `has_mean_`, `has_density_` (of all losses), `endpoint_` (largest possible).
    """

    log_likelihood_: float
    n_parameters_: int
    n_observations_: int
    n_features_in_: int
    weight_: float
    has_mean_: bool
    has_density_: bool
    endpoint_: float

    def fit(
        self,
        X: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        observation: Observation | None = None,
    ) -> Self:
        """Fit to losses `X` (n,) or (n, 1), all > 0. DataError or ModelError say in words what is wrong."""
        return self._fitted(Sample.of(X, sample_weight, observation))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = True, False  # one column of losses
        tags.input_tags.positive_only = True
        return tags

    def _fitted(self, sample: Sample) -> Self:
        self._fit(sample)
        self.n_observations_, self.weight_, self.n_features_in_ = sample.losses.size, sample.weight, 1
        return self

    @abstractmethod
    def _fit(self, sample: Sample) -> None: ...

    @abstractmethod
    def _sf(self, x: Floats) -> Floats:
        """`P(X > x)`."""

    @abstractmethod
    def _isf(self, p: Floats) -> Floats:
        """The loss exceeded with probability `p`."""

    @abstractmethod
    def _layer(self, low: float, high: float) -> float:
        """Integral of `P(X > x)` from `low` to `high`; called with an infinite `high` only if the mean exists."""

    @abstractmethod
    def _log_density(self, x: Floats) -> Floats:
        """Logarithm of the density (of the probability, for a discrete distribution)."""

    def cdf(self, x: npt.ArrayLike) -> Any:
        """`P(X <= x)`, same shape as `x`."""
        check_is_fitted(self)
        return 1.0 - self._sf(np.asarray(x, dtype=np.float64))

    def sf(self, x: npt.ArrayLike) -> Any:
        """`P(X > x)`, exact far in the tail."""
        check_is_fitted(self)
        return self._sf(np.asarray(x, dtype=np.float64))

    def log_density(self, x: npt.ArrayLike) -> Any:
        """Logarithm of the density at `x`; the log score of a loss."""
        check_is_fitted(self)
        return self._log_density(np.asarray(x, dtype=np.float64))

    def ppf(self, q: npt.ArrayLike) -> Any:
        """Quantile: smallest loss that is not exceeded with probability `q`."""
        check_is_fitted(self)
        return self._isf(1.0 - _levels(q))

    def isf(self, p: npt.ArrayLike) -> Any:
        """Loss exceeded with probability `p`: the quantile, exact far in the tail."""
        check_is_fitted(self)
        return self._isf(_levels(p))

    def layer_mean(self, low: float, high: float) -> float:
        """Mean payment of a layer, `E[(min(X, high) - low)+]`, money, `low >= 0`; `high = inf` needs a mean."""
        check_is_fitted(self)
        if not low >= 0:
            raise ModelError(f"the layer begins at {low}, expected an amount >= 0")
        top = min(float(high), self.endpoint_)
        if math.isinf(top) and not self.has_mean_:
            raise ModelError(self._no_mean())
        return self._layer(float(low), top) if top > low else 0.0

    def mean(self, cap: float = math.inf) -> float:
        """`E[min(X, cap)]`. ModelError if the mean is infinite and no cap is given."""
        return self.layer_mean(0.0, cap)

    def var(self, level: float) -> float:
        """Value at risk: the quantile at `level`, 0 < level < 1."""
        check_is_fitted(self)
        if not 0 < level < 1:
            raise ModelError(f"a risk level must lie strictly between 0 and 1, got {level}")
        return float(self._isf(np.asarray(1.0 - level)))

    def expected_shortfall(self, level: float, cap: float = math.inf) -> float:
        """`VaR + E[(min(X, cap) - VaR)+] / (1 - level)` (Rockafellar, Uryasev 2002); `cap` limits a loss."""
        quantile = self.var(level)
        if quantile >= cap:
            return float(cap)
        return quantile + self.layer_mean(quantile, cap) / (1.0 - level)

    def sample(self, n: int, random_state: RandomState = None) -> Floats:
        """`n` independent losses; the same `random_state` gives the same bytes."""
        check_is_fitted(self)
        uniform = np.random.default_rng(random_state).random(n)
        return np.asarray(self._isf(1.0 - uniform), dtype=np.float64)

    def score(self, X: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """Mean log density of fresh, complete losses (log score, larger is better)."""
        check_is_fitted(self)
        fresh = Sample.of(X, sample_weight, None)
        return float(np.average(self.log_terms(fresh), weights=fresh.weights))

    def log_terms(self, sample: Sample) -> Floats:
        """Log-likelihood of each loss as seen: `log f(x)`, or `log S(x)` if censored, less `log S(deductible)`."""
        terms = np.empty(sample.losses.size)
        terms[~sample.censored] = self._log_density(sample.losses[~sample.censored])
        late = sample.entry > 0
        with np.errstate(divide="ignore"):
            terms[sample.censored] = np.log(self._sf(sample.losses[sample.censored]))
            terms[late] -= np.log(self._sf(sample.entry[late]))
        return terms

    @property
    def aic_(self) -> float:
        """`2 k - 2 log L` (Akaike 1974)."""
        return 2.0 * self.n_parameters_ - 2.0 * self.log_likelihood_

    @property
    def bic_(self) -> float:
        """`k log n - 2 log L` (Schwarz 1978), `n` the sum of the weights."""
        return self.n_parameters_ * math.log(self.weight_) - 2.0 * self.log_likelihood_

    def _no_mean(self) -> str:
        return (
            f"{type(self).__name__}: the fitted tail is so heavy that the mean does not exist (shape >= 1), and "
            "neither does an expected shortfall; pass a cap (exposure, or the limit of the cover), or use quantiles"
        )


def _levels(q: npt.ArrayLike) -> Floats:
    """Probabilities, checked."""
    levels = np.asarray(q, dtype=np.float64)
    if not np.all((levels >= 0) & (levels <= 1)):
        raise ModelError(f"quantile levels must lie in [0, 1], got {levels.ravel()[:5].tolist()}")
    return levels
