"""Events that bring further events: the self-exciting process of Hawkes."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import expm
from scipy.special import expit, logit
from scipy.stats import kstest
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from calibrate.errors import DataError, ModelError
from calibrate.models.arrays import RandomState
from calibrate.models.frequency.baseline import Baseline
from calibrate.models.severity.likelihood import curvature, maximise, one_by_one

__all__ = ["Hawkes"]

Floats = npt.NDArray[np.float64]
FEWEST = 20
LARGEST = 0.99  # branching ratio where the likelihood rises up to one: a trend, or an explosion


class Hawkes(BaseEstimator):  # type: ignore[misc]
    """Rate `mu + sum over past events of a b exp(-b (t - t_i))`: each brings `a` more, `1/b` later in the mean.

    With exposures `mu` is multiplied by their level (1 in the mean); an event's echo is not. Mean rate `mu / (1 - a)`;
    over long periods the variance of the count is its mean times `1 / (1 - a)^2`. Maximum likelihood `sum log rate(t_i)
    - integral of the rate`, from several starts; `a` below 1.
    Goodness of fit by time rescaling: the integrated rate between events is exponential(1) if the model is right.
    Source: Hawkes 1971; Ozaki 1979; Ogata 1988.

    Parameters
    ----------
    resolution : length of the smallest step of the clock, in the unit of the times (1 for dates in days). Events are
        spread evenly over it at random, since two events at one instant cannot tell which came first. 0: exact times.
    random_state : of that spreading.

    Fitted: `base_rate_` (`mu`), `branching_ratio_` (`a`), `decay_` (`b`), `standard_errors_`, `log_likelihood_`,
    `poisson_log_likelihood_` (of a constant rate), `residuals_`, `goodness_of_fit_` (p-value of Kolmogorov-Smirnov; too
    high, because parameters are fitted: right models hardly ever have one below .05), `intensity_` (the rate at the
    end, where forecasts start). `a` is 0 where clustering does not raise the likelihood; 0.99 where it rises up to 1
    (events become ever more).

    >>> times = Hawkes.simulate(0.5, 0.6, 2.0, horizon=2000.0, random_state=1)
    >>> model = Hawkes().fit(times, end=2000.0)
    >>> bool(abs(model.branching_ratio_ - 0.6) < 0.1)
    True
    """

    base_rate_: float
    branching_ratio_: float
    decay_: float
    standard_errors_: pd.Series[float]
    log_likelihood_: float
    poisson_log_likelihood_: float
    residuals_: Floats
    goodness_of_fit_: float
    intensity_: float

    def __init__(self, resolution: float = 0.0, random_state: int = 0) -> None:
        self.resolution = resolution
        self.random_state = random_state

    def fit(
        self, X: Any, y: object = None, *, start: Any = None, end: Any = None, exposure: Baseline | None = None
    ) -> Self:
        """Fit to event times `X`: numbers, or dates (then the unit is a day). Observed from `start` to `end`.

        `start` defaults to 0 (the first event's day for dates), `end` to the last event, which is a little too early.
        `exposure` is the level of `mu` from `start` to `end`, constant if not given.
        """
        times, horizon = self._checked(X, start, end)
        unit, n = horizon / times.size, times.size
        scaled, length = times / unit, horizon / unit
        level = Baseline.flat(horizon) if exposure is None else exposure
        levels = self._levels(level, times, horizon)
        theta, value = _best(scaled, length, levels)
        self.poisson_log_likelihood_ = n * math.log(n / horizon) - n + float(np.log(levels).sum())
        found = value * n - n * math.log(unit)
        clustered = theta is not None and found > self.poisson_log_likelihood_
        mu, a, b = _parameters(theta) if clustered and theta is not None else (1.0, 0.0, math.inf)
        self.log_likelihood_ = found if clustered else self.poisson_log_likelihood_
        self.base_rate_, self.branching_ratio_, self.decay_ = mu / unit, a, b / unit
        self.times_, self.horizon_, self.unit_ = times, horizon, unit
        now = float(level.at(np.array([horizon]))[0])
        self.intensity_ = self.base_rate_ * now + (a * b / unit * float(self._echo().sum()) if a else 0.0)
        self.residuals_ = np.diff(_compensator(level.until(times) / unit, scaled, mu, a, b), prepend=0.0)
        self.goodness_of_fit_ = float(kstest(self.residuals_, "expon").pvalue)
        self.standard_errors_ = _standard_errors(theta if clustered else None, scaled, length, unit, levels)
        return self

    def mean_count(self, horizon: float, level: float = 1.0) -> float:
        """Expected events in the `horizon` after the end of the observation, the past still echoing.

        `r h + (rate(T) - r) (1 - e^(-k h)) / k`, `r = mu / (1 - a)`, `k = b (1 - a)`, `mu` at `level` of exposure.
        """
        check_is_fitted(self)
        base = self.base_rate_ * level
        if self.branching_ratio_ == 0:
            return base * horizon
        rate = base / (1 - self.branching_ratio_)
        now = base + self.branching_ratio_ * self.decay_ * float(self._echo().sum())
        k = self.decay_ * (1 - self.branching_ratio_)
        return rate * horizon + (now - rate) * -math.expm1(-k * horizon) / k

    def count_variance(self, horizon: float, level: float = 1.0) -> float:
        """Variance of that number: the moments of (rate, count) follow a linear differential equation.

        `x = rate`, `m = b mu`, `j = a b` (the jump): `E[x]' = m - k E[x]`, `E[x^2]' = (2m + j^2) E[x] - 2k E[x^2]`,
        `E[N]' = E[x]`, `E[N x]' = m E[N] + j E[x] + E[x^2] - k E[N x]`, `E[N^2]' = E[x] + 2 E[N x]`.
        Source: Dassios and Zhao 2011, Advances in Applied Probability 43 (generator of the process).
        """
        mean = self.mean_count(horizon, level)
        if self.branching_ratio_ == 0:
            return mean
        mu, a, b = self.base_rate_ * level * horizon, self.branching_ratio_, self.decay_ * horizon
        now, m, j, k = mu + a * b * float(self._echo().sum()), b * mu, a * b, b * (1 - a)
        flow = np.zeros((6, 6))  # of 1, E[x], E[x^2], E[N], E[N x], E[N^2]; the horizon is the unit of time
        flow[1, :2] = m, -k
        flow[2, 1:3] = 2 * m + j * j, -2 * k
        flow[3, 1] = 1.0
        flow[4, 1:5] = j, 1.0, m, -k
        flow[5, [1, 4]] = 1.0, 2.0
        moments = expm(flow) @ [1.0, now, now**2, 0.0, 0.0, 0.0]
        return max(float(moments[5] - moments[3] ** 2), mean)

    def sample_counts(
        self, n: int, horizon: float, random_state: RandomState = None, level: float = 1.0
    ) -> npt.NDArray[np.int64]:
        """Number of events in the `horizon` after the observation, in `n` scenarios; exposure stays at `level`."""
        check_is_fitted(self)
        generator = np.random.default_rng(random_state)
        first = generator.poisson(self.branching_ratio_ * float(self._echo().sum()), n)
        delays = generator.exponential(1 / self.decay_ if self.decay_ < math.inf else 0.0, int(first.sum()))
        place = np.repeat(np.arange(n), first)
        immigrants = generator.poisson(self.base_rate_ * level * horizon, n)
        times = np.concatenate([delays, horizon * generator.random(int(immigrants.sum()))])
        place = np.concatenate([place, np.repeat(np.arange(n), immigrants)])
        kept = times < horizon
        _, place = _offspring(times[kept], place[kept], self.branching_ratio_, self.decay_, horizon, generator)
        return np.bincount(place, minlength=n).astype(np.int64)

    @staticmethod
    def simulate(
        base_rate: float, branching_ratio: float, decay: float, *, horizon: float, random_state: RandomState = None
    ) -> Floats:
        """Event times from 0 to `horizon`, nothing before 0, by generations of offspring (Hawkes and Oakes 1974)."""
        if not (base_rate > 0 and 0 <= branching_ratio < 1 and decay > 0 and horizon > 0):
            given = f"{base_rate}, {branching_ratio}, {decay}, {horizon}"
            needs = "base_rate > 0, 0 <= branching_ratio < 1, decay > 0 and horizon > 0"
            raise ModelError(f"Hawkes needs {needs}, got {given}")
        generator = np.random.default_rng(random_state)
        first = horizon * generator.random(generator.poisson(base_rate * horizon))
        times, _ = _offspring(first, np.zeros(first.size, np.int64), branching_ratio, decay, horizon, generator)
        return np.sort(times)

    def _echo(self) -> Floats:
        """What is left of each past event at the end of the observation."""
        if math.isinf(self.decay_):
            return np.zeros(1)
        return np.exp(-self.decay_ * (self.horizon_ - self.times_))

    def _spread(self, times: Floats, end: float) -> Floats:
        """Each event anywhere within its step of the clock, which the end of the observation may cut short."""
        if not self.resolution:
            return times
        step = np.floor(times / self.resolution + 1e-9) * self.resolution
        width = np.clip(end - step, 0.0, self.resolution)
        return np.asarray(step + width * np.random.default_rng(self.random_state).random(times.size))

    def _levels(self, level: Baseline, times: Floats, horizon: float) -> Floats:
        """Level of exposure at each event; DataError for an event without any."""
        span = float(level.edges[-1])
        if abs(level.edges[0]) > 1e-9 * horizon or abs(span - horizon) > 1e-9 * horizon:
            raise DataError(f"exposure is known from {level.edges[0]:g} to {span:g}, events from 0 to {horizon:g}")
        levels = level.at(times)
        if (levels <= 0).any():
            first = float(times[int(np.argmax(levels <= 0))])
            raise DataError(f"an event at {first:g} in a period without exposure; give its exposure, or leave it out")
        return levels

    def _checked(self, X: Any, start: Any, end: Any) -> tuple[Floats, float]:
        values = np.asarray(X)
        if values.dtype.kind in "MO":
            dates = pd.DatetimeIndex(pd.to_datetime(values))
            first = dates.min().normalize() if start is None else pd.Timestamp(start)
            times = np.asarray((dates - first) / pd.Timedelta(days=1), dtype=np.float64)
            last = None if end is None else float((pd.Timestamp(end) - first) / pd.Timedelta(days=1))
        else:
            origin = 0.0 if start is None else float(start)
            times = values.astype(np.float64).ravel() - origin
            last = None if end is None else float(end) - origin
        if not np.isfinite(times).all():
            raise DataError(f"event {int(np.flatnonzero(~np.isfinite(times))[0])}: the time is missing or infinite")
        if times.size < FEWEST:
            raise ModelError(
                f"Hawkes: {times.size} events; at least {FEWEST} are needed to tell clustering from chance. Use Poisson"
            )
        spread = np.sort(self._spread(times, math.inf if last is None else last))
        horizon = float(spread[-1]) if last is None else last
        outside = (times < 0) | (times > horizon)
        if outside.any() or not horizon > 0:
            row = int(np.argmax(outside))
            raise DataError(
                f"event {row}: the time {times[row]:g} lies outside the observed span, 0 to {horizon:g} after its start"
            )
        if (np.diff(spread) == 0).any():
            raise DataError(
                "two events have the same time, so that it is unknown which came first; give the clock's step as "
                "resolution (1.0 for dates)"
            )
        return np.minimum(spread, horizon), horizon


def _parameters(theta: Floats) -> tuple[float, float, float]:
    return math.exp(theta[0]), float(expit(theta[1])), math.exp(theta[2])


def _mean_log_likelihood(theta: Floats, times: Floats, horizon: float, levels: Floats) -> float:
    mu, a, b = _parameters(theta)
    with np.errstate(over="ignore", divide="ignore"):
        rates = mu * levels + a * b * _excitation(times, b)
        total = mu * horizon + a * float(-np.expm1(-b * (horizon - times)).sum())
    value = float(np.log(rates).sum() - total) / times.size
    return value if math.isfinite(value) else -math.inf


def _excitation(times: Floats, b: float) -> Floats:
    """`sum over j < i of exp(-b (t_i - t_j))` at each event, in one pass without overflow."""
    past = np.logaddexp.accumulate(b * times)
    return np.concatenate([[0.0], np.exp(past[:-1] - b * times[1:])])


def _compensator(exposed: Floats, times: Floats, mu: float, a: float, b: float) -> Floats:
    """Integral of the rate from 0 to each event; `exposed` is that of the level of exposure."""
    if a == 0:
        return mu * exposed
    return np.asarray(mu * exposed + a * (np.arange(times.size) - _excitation(times, b)))


def _best(times: Floats, horizon: float, levels: Floats) -> tuple[Floats | None, float]:
    """The best of several starts, fast and slow decay, inside and at the edge; None where none converges."""
    height = partial(_mean_log_likelihood, times=times, horizon=horizon, levels=levels)
    edge = float(logit(LARGEST))

    def at_edge(theta: Floats) -> float:
        return height(np.array([theta[0], edge, theta[1]]))

    best: tuple[Floats | None, float] = (None, -math.inf)
    for decay in (0.1, 1.0, 10.0, 100.0):
        start = np.array([math.log(0.5), 0.0, math.log(decay)])
        try:
            theta = maximise(one_by_one(height), start, "Hawkes")
            if theta[1] > edge:
                raise ModelError("the likelihood rises up to a branching ratio of one")
        except (ModelError, np.linalg.LinAlgError):  # to no clustering, to an instant echo, or to a ratio of one
            try:
                mu, b = maximise(one_by_one(at_edge), start[[0, 2]], "Hawkes")
            except (ModelError, np.linalg.LinAlgError):
                continue
            theta = np.array([mu, edge, b])
        value = height(theta)
        if value > best[1] and _parameters(theta)[1] > 1e-6:
            best = (theta, value)
    return best


def _standard_errors(
    theta: Floats | None, times: Floats, horizon: float, unit: float, levels: Floats
) -> pd.Series[float]:
    names = ["base_rate", "branching_ratio", "decay"]
    if theta is None:
        return pd.Series(np.full(3, np.nan), index=names, name="standard error")
    height = partial(_mean_log_likelihood, times=times, horizon=horizon, levels=levels)
    information = -curvature(one_by_one(height), theta) * times.size
    mu, a, b = _parameters(theta)
    with np.errstate(invalid="ignore"):
        errors = np.sqrt(np.diag(np.linalg.inv(information))) * [mu / unit, a * (1 - a), b / unit]
    return pd.Series(errors, index=names, name="standard error")


def _offspring(
    times: Floats, place: npt.NDArray[np.int64], a: float, b: float, horizon: float, generator: np.random.Generator
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """All generations within the horizon: each event has Poisson(`a`) children after exponential(`b`) delays."""
    all_times, all_places = [times], [place]
    while times.size:
        children = generator.poisson(a, times.size)
        times = np.repeat(times, children) + generator.exponential(1 / b, int(children.sum()))
        place = np.repeat(place, children)[times < horizon]
        times = times[times < horizon]
        all_times.append(times)
        all_places.append(place)
    return np.concatenate(all_times), np.concatenate(all_places)
