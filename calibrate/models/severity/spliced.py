"""A body and a tail joined at the threshold."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
from sklearn.base import clone

from calibrate.errors import ModelError
from calibrate.models.severity.base import Floats, Severity
from calibrate.models.severity.gamma import Gamma
from calibrate.models.severity.generalized_pareto import GeneralizedPareto
from calibrate.models.severity.lognormal import LogNormal
from calibrate.models.severity.observation import Sample
from calibrate.models.severity.scale_family import ScaleFamily
from calibrate.models.severity.threshold import QuantileThreshold
from calibrate.models.severity.weibull import Weibull

__all__ = ["Spliced"]

BODIES = (LogNormal(), Gamma(), Weibull())


class Spliced(Severity):
    """Body `B` up to the threshold `u`, generalized Pareto tail `G` above it.

    `P(X > x) = 1 - (1 - p) B(x) / B(u)` for `x <= u`, `p G(x - u)` above; `p` is the share of losses above `u`.
    The body is the likeliest one below `u`, the tail apart: a law fitted to all losses, those above `u` censored there,
    must have the share `p` above `u` too, and pays for it below. Bodies without a scale are fitted like that, and those
    under a deductible of all losses, where nothing but the family tells what lies.
    With a deductible, `p` is the share from the ground up that the body implies.
    Source: Klugman, Panjer, Willmot, Loss Models, 5.2.6 (splicing).

    Parameters
    ----------
    body : a severity estimator (`LogNormal()`, `Gamma()`, `Empirical()`, ...); if not given the likeliest of LogNormal,
        Gamma and Weibull.
    tail : `GeneralizedPareto(threshold)`; the threshold at the 90 % quantile if not given.

    Fitted: `body_`, `tail_`, `threshold_`, `exceedance_probability_` (`p`), `shape_` (of the tail).

    >>> from calibrate.models.severity.empirical import Empirical
    >>> x = (1 - (np.arange(2000) + 0.5) / 2000) ** -0.5
    >>> model = Spliced(body=Empirical(), tail=GeneralizedPareto(threshold=2.0)).fit(x)
    >>> bool(abs(model.mean() - 2.0) < 0.05)
    True
    """

    body_: Severity
    tail_: GeneralizedPareto
    threshold_: float
    shape_: float
    exceedance_probability_: float

    def __init__(self, body: Severity | None = None, tail: GeneralizedPareto | None = None) -> None:
        self.body = body
        self.tail = tail

    def _fit(self, sample: Sample) -> None:
        tail = GeneralizedPareto(QuantileThreshold(0.9)) if self.tail is None else self.tail
        self.tail_ = clone(tail)
        self.tail_._fit(sample)
        self.threshold_, self.shape_ = self.tail_.threshold_, self.tail_.shape_
        self._fit_body(sample)
        self.has_mean_, self.endpoint_ = self.tail_.has_mean_, self.tail_.endpoint_
        self.n_parameters_ = self.body_.n_parameters_ + self.tail_.n_parameters_ + 1
        self.has_density_ = self.body_.has_density_
        self.log_likelihood_ = float(sample.weights @ self.log_terms(sample))

    def _fit_body(self, sample: Sample) -> None:
        below = sample.losses <= self.threshold_
        if not (below & ~sample.censored).any():
            raise ModelError(
                f"Spliced: no fully seen loss lies at or below the threshold {self.threshold_:g}, so there is no body; "
                "use GeneralizedPareto alone, or a higher threshold"
            )
        entered = sample.where(sample.entry < self.threshold_)
        above = entered.losses > self.threshold_
        just_above = np.nextafter(self.threshold_, np.inf)  # keeps the atom of an empirical body out of B(u)
        cut = Sample(np.minimum(entered.losses, just_above), entered.weights, entered.entry, entered.censored | above)
        found: list[tuple[float, Severity]] = []
        faults: list[ModelError] = []
        for body in BODIES if self.body is None else (self.body,):
            model: Severity = clone(body)
            try:
                model._fit(cut)
            except ModelError as error:
                faults.append(error)
                continue
            if isinstance(model, ScaleFamily) and not entered.entry.min() > 0:
                with suppress(ModelError), np.errstate(all="ignore"):
                    model.fit_below(entered, self.threshold_, self.tail_.exceedance_probability_)
            self._join(model, sample)
            found.append((float(entered.weights @ self.log_terms(entered)) if self.body is None else 0.0, model))
        if not found:
            raise faults[0]
        self._join(max(found, key=lambda each: each[0])[1], sample)

    def _join(self, body: Severity, sample: Sample) -> None:
        """A body to the tail: `p = k (1 - b)/(1 - k b)`, `k` the share above `u` among losses above the smallest
        deductible `d`, `b = B(d) / B(u)`."""
        self.body_, self._body_share = body, float(1.0 - body._sf(np.asarray(self.threshold_)))
        k = self.tail_.exceedance_probability_
        b = float(1.0 - body._sf(np.asarray(sample.entry.min()))) / self._body_share
        self.exceedance_probability_ = k * (1 - b) / (1 - k * b)
        self._tail_share = self.exceedance_probability_ / k

    def _sf(self, x: Floats) -> Floats:
        low, high = np.minimum(x, self.threshold_), np.maximum(x, self.threshold_)
        body = 1.0 - (1.0 - self.exceedance_probability_) * (1.0 - self.body_._sf(low)) / self._body_share
        return np.where(x < self.threshold_, body, self._tail_share * self.tail_._sf(high))

    def _isf(self, p: Floats) -> Floats:
        p = np.asarray(p)
        share = self.exceedance_probability_
        inner = np.clip((1.0 - p) / (1.0 - share), 0.0, 1.0) * self._body_share
        body = np.minimum(self.body_._isf(1.0 - inner), self.threshold_)
        return np.where(p < share, self.tail_._isf(np.minimum(p, share) / self._tail_share), body)

    def _layer(self, low: float, high: float) -> float:
        u, value = self.threshold_, 0.0
        if low < u:
            top = min(high, u)
            missing = (top - low) - self.body_._layer(low, top)  # integral of B
            value = (top - low) - (1.0 - self.exceedance_probability_) * missing / self._body_share
        if high > u:
            value += self._tail_share * self.tail_._layer(max(low, u), high)
        return value

    def _log_density(self, x: Floats) -> Floats:
        weight = math.log((1.0 - self.exceedance_probability_) / self._body_share)
        with np.errstate(invalid="ignore"):
            body = weight + self.body_._log_density(np.minimum(x, self.threshold_))
            tail = math.log(self._tail_share) + self.tail_._log_density(np.maximum(x, self.threshold_))
        return np.where(x <= self.threshold_, body, tail)
