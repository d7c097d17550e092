"""Tests of risk forecasts: each says how far the losses are from the forecasts; all are judged by simulation.

A test is one statistic, larger when the forecasts are worse. Its p-value is the share of histories, simulated from the
forecasts themselves, that look as bad or worse (ties count half): right in small samples, and right where the forecast
law has point masses, which chi-squared tables are not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy
from scipy.stats import binom

from calibrate.errors import ModelError
from calibrate.models.arrays import RandomState
from calibrate.models.backtest.forecasts import Forecasts

__all__ = [
    "AcerbiSzekelyConditional",
    "AcerbiSzekelyUnconditional",
    "BacktestResult",
    "ChristoffersenCoverage",
    "ChristoffersenIndependence",
    "ForecastTest",
    "Kupiec",
    "TrafficLight",
    "traffic_light",
]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BacktestResult:
    """A statistic and the probability of one as bad or worse if the forecasts are right."""

    name: str
    statistic: float
    p_value: float
    simulations: int


class ForecastTest(ABC):
    """A statistic of exceedances or of losses over expected shortfall, larger is worse."""

    needs_draws = False

    @abstractmethod
    def statistic(self, hits: npt.NDArray[np.bool_], ratios: Floats, level: float) -> Floats:
        """For each column of `hits` (loss > VaR) and `ratios` (loss / shortfall), both (periods, histories)."""

    def __call__(self, forecasts: Forecasts, random_state: RandomState = 0, simulations: int = 9999) -> BacktestResult:
        """Judge forecasts. With draws, histories are as many as the draws; without, `simulations` of exceedances."""
        hits, ratios = simulated_histories(forecasts, random_state, simulations)
        if self.needs_draws and forecasts.draws is None:
            raise ModelError(
                f"{type(self).__name__} judges how large the losses beyond the VaR are and needs draws from the "
                "forecast law: Forecasts.from_draws(losses, draws, level)"
            )
        found = self.statistic(forecasts.exceedances[:, None], observed_ratios(forecasts)[:, None], forecasts.level)[0]
        null = self.statistic(hits, ratios, forecasts.level)
        return BacktestResult(type(self).__name__, float(found), p_value(float(found), null), null.size)

    def power(
        self, forecasts: Forecasts, factor: float = 1.5, size: float = 0.05, random_state: RandomState = 0
    ) -> float:
        """Probability of rejecting at `size` if true losses are `factor` times the forecast ones: what it can see.

        With 1.5 the forecasts understate by a third. Half of the draws make the histories, half the null.
        """
        if forecasts.draws is None:
            raise ModelError("power needs draws from the forecast law: Forecasts.from_draws(losses, draws, level)")
        draws = _shuffled(forecasts.draws, random_state)
        half = draws.shape[1] // 2
        es, var = forecasts.expected_shortfall[:, None], forecasts.var[:, None]
        null = self.statistic(draws[:, :half] > var, draws[:, :half] / es, forecasts.level)
        worse = factor * draws[:, half:]
        found = self.statistic(worse > var, worse / es, forecasts.level)
        return float(np.mean([p_value(value, null) <= size for value in found]))


class Kupiec(ForecastTest):
    """As many exceedances as forecast? `LR = 2 (l(x/T) - l(1 - level))`, `l(p) = x log p + (T - x) log(1 - p)`.

    Too few count as wrong too. Source: Kupiec 1995, Journal of Derivatives 3(2).
    """

    def statistic(self, hits: npt.NDArray[np.bool_], ratios: Floats, level: float) -> Floats:
        """Likelihood ratio of each history."""
        n = hits.shape[0]
        x = hits.sum(axis=0).astype(float)
        return _surplus(x, n - x, np.full(x.shape, 1.0 - level))


class ChristoffersenIndependence(ForecastTest):
    """Do exceedances come in clusters? Likelihood ratio of a first-order Markov chain against independence.

    Source: Christoffersen 1998, International Economic Review 39(4).
    """

    def statistic(self, hits: npt.NDArray[np.bool_], ratios: Floats, level: float) -> Floats:
        """Likelihood ratio of each history."""
        before, after = hits[:-1], hits[1:]
        n11, n01 = (before & after).sum(axis=0).astype(float), (~before & after).sum(axis=0).astype(float)
        n10, n00 = (before & ~after).sum(axis=0).astype(float), (~before & ~after).sum(axis=0).astype(float)
        pooled = (n01 + n11) / max(hits.shape[0] - 1, 1)
        return _surplus(n01, n00, pooled) + _surplus(n11, n10, pooled)


class ChristoffersenCoverage(ForecastTest):
    """Number and independence of exceedances at once: the sum of both likelihood ratios (Christoffersen 1998)."""

    def statistic(self, hits: npt.NDArray[np.bool_], ratios: Floats, level: float) -> Floats:
        """Likelihood ratio of each history."""
        count = Kupiec().statistic(hits, ratios, level)
        return np.asarray(count + ChristoffersenIndependence().statistic(hits, ratios, level))


class AcerbiSzekelyUnconditional(ForecastTest):
    """Number and size of exceedances: `Z2 = sum_t 1{L > VaR} L / ES / (T (1 - level)) - 1`.

    0 is expected, positive is bad. Source: Acerbi and Szekely 2014, Risk; test 2.
    """

    needs_draws = True

    def statistic(self, hits: npt.NDArray[np.bool_], ratios: Floats, level: float) -> Floats:
        """`Z2` of each history."""
        return np.asarray((hits * ratios).sum(axis=0) / (hits.shape[0] * (1.0 - level)) - 1.0)


class AcerbiSzekelyConditional(ForecastTest):
    """Size of exceedances, given their number: `Z1 = mean of L / ES over exceedances - 1`, 0 expected, positive is bad.

    Without an exceedance there is nothing to judge: -1. Source: Acerbi and Szekely 2014, Risk; test 1.
    """

    needs_draws = True

    def statistic(self, hits: npt.NDArray[np.bool_], ratios: Floats, level: float) -> Floats:
        """`Z1` of each history."""
        return np.asarray((hits * ratios).sum(axis=0) / np.maximum(hits.sum(axis=0), 1) - 1.0)


@dataclass(frozen=True)
class TrafficLight:
    """Zone of a model: `green`, `yellow` or `red`; `cumulative` the chance of this many exceedances or fewer.

    A right model is yellow or red in 11 % of the histories of 250 periods at 99 %, as published; no more exceedances
    than expected are green in however few periods. `p_value` is the chance of more exceedances and half of that of as
    many: at most 0.05 in 5 % of the histories.
    """

    zone: str
    exceedances: int
    periods: int
    cumulative: float
    multiplier: float | None
    p_value: float


def traffic_light(forecasts: Forecasts) -> TrafficLight:
    """The Basel zones: yellow from the least count `x` with `P(X <= x) >= 95 %` if the model is right, red 99.99 %.

    A count that is no more than expected, `x <= n (1 - level)`, is green: where few exceedances can be seen, the chance
    of none reaches 95 % by itself (10 periods at 99.5 %). The capital multiplier (3 to 4) is defined for 250 periods at
    99 % only. Source: Basel Committee 1996, annex 10a.

    >>> calm = Forecasts(np.zeros(250), np.ones(250), np.full(250, 2.0), 0.99)
    >>> traffic_light(calm).zone, traffic_light(calm).multiplier
    ('green', 3.0)
    """
    n, x = forecasts.losses.size, int(forecasts.exceedances.sum())
    cumulative = float(binom.cdf(x, n, 1.0 - forecasts.level))
    few = x <= forecasts.expected_exceedances
    zone = "green" if few or cumulative < 0.95 else "yellow" if cumulative < 0.9999 else "red"
    plus = (0.0, 0.0, 0.0, 0.0, 0.0, 0.40, 0.50, 0.65, 0.75, 0.85, 1.0)[min(x, 10)]
    basel = n == 250 and abs(forecasts.level - 0.99) < 1e-12
    p_value = 1.0 - cumulative + 0.5 * float(binom.pmf(x, n, 1.0 - forecasts.level))
    return TrafficLight(zone, x, n, cumulative, 3.0 + plus if basel else None, p_value)


def simulated_histories(
    forecasts: Forecasts, random_state: RandomState, simulations: int
) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Exceedances and ratios of histories in which the forecasts are right, (periods, histories)."""
    if forecasts.draws is not None:
        draws = _shuffled(forecasts.draws, random_state)
        return draws > forecasts.var[:, None], draws / forecasts.expected_shortfall[:, None]
    generator = np.random.default_rng(random_state)
    hits = generator.random((forecasts.losses.size, simulations)) < 1.0 - forecasts.level
    return hits, hits.astype(float)


def observed_ratios(forecasts: Forecasts) -> Floats:
    """Loss over forecast expected shortfall."""
    return np.asarray(forecasts.losses / forecasts.expected_shortfall)


def p_value(found: float, null: Floats) -> float:
    """Share of the null as large or larger, ties half, the history itself counted in: never 0."""
    close = 1e-12 * max(abs(found), 1.0)
    larger, equal = float((null > found + close).sum()), float((np.abs(null - found) <= close).sum())
    return (larger + 0.5 * (equal + 1.0)) / (null.size + 1.0)


def _shuffled(draws: Floats, random_state: RandomState) -> Floats:
    """Each period's draws in their own order: simulated periods must not depend on each other."""
    return np.random.default_rng(random_state).permuted(draws, axis=1)


def _surplus(ones: Floats, zeros: Floats, probability: Floats) -> Floats:
    """`2 (max over p of l(p) - l(probability))` for Bernoulli counts; 0 log 0 = 0."""
    total = ones + zeros
    best = np.divide(ones, total, out=np.zeros_like(total), where=total > 0)
    gap = xlogy(ones, best) + xlogy(zeros, 1 - best) - xlogy(ones, probability) - xlogy(zeros, 1 - probability)
    return np.asarray(2.0 * np.maximum(gap, 0.0))
