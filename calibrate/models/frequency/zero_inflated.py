"""More periods without losses than chance explains."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats, RandomState, generator
from calibrate.models.frequency.base import Frequency
from calibrate.models.frequency.likelihood import column_rates, heterogeneity, log_probability
from calibrate.models.frequency.model import CountModel, Order, counted, levels
from calibrate.models.frequency.negative_binomial import NegativeBinomial

__all__ = ["ZeroInflated"]

STEPS, LEAPS = 1000, 6  # few take more than 50 steps
EXACT, SETTLED = 1e-11, 1e-6  # relative change of a step that ends them; that is good enough after so many
NEAR, MEMORY = 1e-4, 6  # change from which the last steps say together where they lead
FARTHEST = 0.1  # relative: so far they may lead at once, lest they end elsewhere


class ZeroInflated(CountModel):
    """A count that is 0 with probability `z` whatever the exposure, else Poisson or negative binomial (`base`).

    `P(N = 0) = z + (1 - z) p(0)`, `P(N = n) = (1 - z) p(n)`; mean `(1 - z) m`, `m = rate * exposure`. `z` is common to
    all columns; rates borrow strength as in `base`, from the periods that are not idle. EM: a zero is idle with
    probability `z / (z + (1 - z) p(0))`, accelerated. `z` is 0 where zeros are no more than `base` expects.
    Source: Lambert 1992; Cameron and Trivedi 2013, 4.7.

    Parameters
    ----------
    base : `Poisson()` or `NegativeBinomial()`, the latter if not given.

    Fitted: `idle_probability_` (`z`), `base_` (of periods that are not idle), `size_` (of `base_`), `gain_` (of
    log-likelihood over `base` alone), `means_`, `credibility_`, `log_likelihood_`.

    >>> counts = np.tile([0.0, 0.0, 0.0, 6.0, 4.0, 5.0], 20)
    >>> model = ZeroInflated().fit(counts)
    >>> round(model.idle_probability_, 2), model.mean().round(2)
    (0.5, array([2.5]))
    """

    base_: Frequency
    idle_probability_: float
    credibility_: Floats
    size_: float
    means_: Floats
    log_likelihood_: float
    gain_: float

    def __init__(self, base: Frequency | None = None) -> None:
        self.base = base

    def fit(self, X: Any, y: object = None, sample_weight: Any = None, *, exposure: Any = None) -> Self:
        """Fit to counts `X` (periods, columns) or (periods,); `y` is ignored. Errors as of `base`."""
        counts, exposures, weights = counted(self, X, sample_weight, exposure)
        self.base_ = clone(NegativeBinomial() if self.base is None else self.base).fit(
            counts, None, weights, exposure=exposures
        )
        if self.base_.shared and counts.shape[1] > 1:
            raise ModelError(
                f"ZeroInflated: {type(self.base_).__name__} hits all columns together, so no single one is idle; "
                "use Poisson() or NegativeBinomial() as base"
            )
        plain, unit = self.base_, float(exposures.mean())
        problem = _Idle(counts, exposures / unit, weights, plain)
        self.base_ = clone(plain).fit(counts, None, weights, exposure=exposures)
        z = problem.solve(self.base_, unit)
        self.base_.means_ = exposures * self.base_.rate_
        value = problem.log_likelihood(z, self.base_.means_, self.base_.size_)
        self.gain_ = max(0.0, value - plain.log_likelihood_)
        if value < plain.log_likelihood_:  # rates that borrow are not of maximum likelihood: idleness may cost some
            self.base_, z, value = plain, 0.0, plain.log_likelihood_
        self.idle_probability_, self.log_likelihood_ = z, value
        self.size_, self.credibility_ = self.base_.size_, self.base_.credibility_
        self.means_ = (1 - z) * self.base_.means_
        return self

    @property
    def shared(self) -> bool:
        """No shock hits all columns together."""
        return False

    @property
    def order(self) -> Order:
        """Nothing: periods are drawn anew."""
        return Order.NOTHING

    def mean(self, exposure: Any = 1.0) -> Floats:
        """`(1 - z) m`."""
        check_is_fitted(self)
        return (1 - self.idle_probability_) * self.base_.mean(exposure)

    def variance(self, exposure: Any = 1.0) -> Floats:
        """`(1 - z) (v + z m^2)`, `v` the variance of `base_`."""
        check_is_fitted(self)
        z = self.idle_probability_
        return (1 - z) * (self.base_.variance(exposure) + z * self.base_.mean(exposure) ** 2)

    def zero_probability(self, exposure: Any = 1.0) -> Floats:
        """`z + (1 - z) p(0)`."""
        check_is_fitted(self)
        return self.idle_probability_ + (1 - self.idle_probability_) * self.base_.zero_probability(exposure)

    def ppf(self, q: Any, exposure: Any = 1.0) -> Any:
        """Quantile of each column's count; `q` broadcasts against the columns."""
        check_is_fitted(self)
        z = self.idle_probability_
        return np.maximum(self.base_.ppf(np.clip((levels(q) - z) / (1 - z), 0.0, 1.0), exposure), 0.0)

    def sample(self, exposure: Any = 1.0, random_state: RandomState = None, n: int = 1) -> Floats:
        """`n` independent counts for each column, shape (n, columns)."""
        check_is_fitted(self)
        rng = generator(random_state)
        counts = self.base_.sample(exposure, rng, n)
        return np.where(rng.random(counts.shape) < self.idle_probability_, 0.0, counts)

    def largest(self, exceeded: Floats, mean: Floats | float) -> Floats:
        """As in `base_`, in periods that are not idle."""
        busy = 1 - self.idle_probability_
        return self.base_.largest(np.minimum(exceeded / busy, 1.0), mean / busy)

    def others(self, chance: Floats, mean: Floats | float, rng: np.random.Generator) -> Floats:
        """As in `base_`: a period with an event is not idle."""
        return self.base_.others(chance, mean / (1 - self.idle_probability_), rng)


class _Idle:
    """The likelihood equations of idle periods, and their fixed point."""

    def __init__(self, counts: Floats, exposures: Floats, weights: Floats, family: Frequency) -> None:
        self.counts, self.exposures, self.family = counts, exposures, family
        self.weights = weights[:, None] * np.ones_like(counts)
        self.exposed = self.weights * (exposures > 0)
        self.credibility = family.credibility_
        self.collective = family.collective_rate_

    def solve(self, fitted: Frequency, unit: float) -> float:
        """The idle probability; rates and size are written into the fitted model."""
        start = np.concatenate([[0.0, 1 / fitted.size_], fitted.rate_ * unit])
        none = self._none(start)
        excess = float(((self.counts == 0) / none * self.exposed).sum() / self.exposed.sum()) - 1
        if excess <= 1e-12:  # slope of the likelihood where z = 0
            return 0.0
        start[0] = 0.5 * float((self.exposed * (self.counts == 0)).sum() / self.exposed.sum())
        found = self._accelerated(start)
        fitted.size_ = math.inf if found[1] <= 0 else float(1 / found[1])
        fitted.rate_, fitted.collective_rate_ = found[2:] / unit, self.collective / unit
        fitted.credibility_ = self.credibility
        return float(found[0])

    def log_likelihood(self, z: float, means: Floats, k: float) -> float:
        """Of all counts."""
        logs = log_probability(self.counts, means, k) + math.log1p(-z)
        idle = np.logaddexp(logs, math.log(z)) if z > 0 else logs
        return float(
            (self.weights * np.where((self.counts == 0) & (means > 0), idle, np.where(means > 0, logs, 0))).sum()
        )

    def _none(self, values: Floats) -> Floats:
        means = self.exposures * values[2:]
        return np.exp(-means) if values[1] <= 0 else np.exp(-np.log1p(means * values[1]) / values[1])

    def _step(self, values: Floats) -> Floats:
        """One step of EM, from `z, 1 / size, rates` to the next."""
        z, none = values[0], self._none(values)
        idle = np.where(self.counts == 0, z / (z + (1 - z) * none), 0.0)
        kept = self.weights * (1 - idle)
        k = math.inf if values[1] <= 0 else 1 / values[1]
        own, effective = column_rates(self.counts, self.exposures, kept, k)
        self.collective, a = heterogeneity(own * effective, effective)
        finite = math.isfinite(a)
        self.credibility = effective / (effective + a / self.collective) if finite else np.zeros_like(effective)
        rate = self.credibility * own + (1 - self.credibility) * self.collective
        size = self.family._size(self.counts.ravel(), (self.exposures * rate).ravel(), kept.ravel())
        share = float((self.exposed * idle).sum() / self.exposed.sum())
        return np.concatenate([[share, 1 / size], rate])

    def _accelerated(self, values: Floats) -> Floats:
        """The fixed point: far from it by leaps along one change, near it by what the last steps say together."""
        known: list[tuple[Floats, Floats]] = []
        near = NEAR
        for _ in range(STEPS):
            first = self._step(values)
            distance = _change(values, first)
            if distance <= EXACT:
                return first
            if known and distance >= near:  # they have led astray
                near /= 2
            known = [*known, (values, first)][-MEMORY:] if distance < near else []
            values = self._together(known) if known else self._leapt(values, first)
        if distance < SETTLED:
            return first
        raise ModelError(
            f"ZeroInflated: the idle probability has not settled after {STEPS} steps, at {values[0]:.4g}; the counts "
            "do not tell idle periods from quiet ones: use NegativeBinomial(), or a longer history"
        )

    def _leapt(self, begun: Floats, first: Floats) -> Floats:
        """Two steps, and as far along their change as comes closer (Varadhan and Roland 2008)."""
        second = self._step(first)
        change, bend = first - begun, second - 2 * first + begun
        distance = float(np.abs(second - first).max())
        length = -math.sqrt(float(change @ change) / max(float(bend @ bend), 1e-300))
        for _ in range(LEAPS):  # leaps alone may go round in a circle: only one that comes closer is taken
            leap = begun - 2 * length * change + length**2 * bend
            if length < -1 and _possible(leap):
                landed = self._step(leap)
                if float(np.abs(landed - leap).max()) < distance:
                    return landed
            length = (length - 1) / 2
        return second

    def _together(self, known: list[tuple[Floats, Floats]]) -> Floats:
        """Where the steps known, taken as one affine map, stand still (Anderson 1965; Walker and Ni 2011)."""
        begun, landed = (np.array(part) for part in zip(*known, strict=True))
        moves = landed - begun
        shares = np.linalg.lstsq(np.diff(moves, axis=0).T, moves[-1], rcond=1e-10)[0]
        leap = np.asarray(landed[-1] - shares @ np.diff(landed, axis=0))
        return leap if _possible(leap) and _change(landed[-1], leap) <= FARTHEST else landed[-1]


def _change(before: Floats, after: Floats) -> float:
    """The largest relative change."""
    return float((np.abs(after - before) / (np.abs(after) + 0.1)).max())


def _possible(values: Floats) -> bool:
    """Whether an idle probability, a variance and rates are."""
    return bool(0 < values[0] < 1 and values[1] >= 0 and (values[2:] > 0).all())
