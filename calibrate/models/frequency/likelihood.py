"""Gamma-mixed Poisson counts: their likelihood equations, solved to the last digits so that units do not matter."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, gammaln

from calibrate.models.arrays import Floats

__all__ = ["collective_rate", "column_rates", "heterogeneity", "log_mixed", "log_probability", "shared_rates", "size"]

LARGEST_SIZE = 1e5  # beyond it the mixed law cannot be told from the Poisson law


def size(counts: Floats, means: Floats, weights: Floats) -> float:
    """Size `k` of the negative binomial of known means by maximum likelihood; infinite for a Poisson scatter.

    Root of `sum w (psi(k + N) - psi(k) + log(k / (k + m)) + (m - N) / (k + m))`.
    """
    seen = (means > 0) & (weights > 0)
    n, m, w = counts[seen], means[seen], weights[seen]
    if w @ ((n - m) ** 2 - n) <= 0:  # slope of the likelihood where 1/k = 0
        return math.inf

    def score(log_size: float) -> float:
        k = math.exp(log_size)
        return k * float(w @ (digamma(k + n) - digamma(k) - np.log1p(m / k) + (m - n) / (k + m)))

    low, high = math.log(1e-6), math.log(LARGEST_SIZE)
    if score(high) >= -1e-9:
        return math.inf
    return math.exp(brentq(score, low, high, xtol=1e-13, rtol=1e-14)) if score(low) > 0 else math.exp(low)


def column_rates(counts: Floats, exposures: Floats, weights: Floats, k: float) -> tuple[Floats, Floats]:
    """Rate of each column by maximum likelihood and its effective exposure `sum w E / (1 + m / k)`.

    A shock of variance `1 / k` hits each count, of mean `m`, by itself; `weights` of rows or of entries.
    """
    by_entry = weights.reshape(len(weights), -1) * np.ones_like(exposures)
    w = by_entry
    rates = (w * counts).sum(axis=0) / (w * exposures).sum(axis=0)
    for _ in range(500):  # Fisher scoring with the identity link: stays positive
        w = by_entry / (1 + exposures * rates / k)
        new = (w * counts).sum(axis=0) / (w * exposures).sum(axis=0)
        done = bool(np.all(np.abs(new - rates) <= 1e-14 * rates))
        rates = new
        if done:
            break
    return rates, np.asarray((w * exposures).sum(axis=0))


def shared_rates(counts: Floats, exposures: Floats, weights: Floats, k: float) -> tuple[Floats, Floats]:
    """Rate of each column by maximum likelihood where one shock hits all columns, and its exposure `sum w E G`.

    Given the sum `N` of a period, of mean `M`, the shock is `G = (k + N) / (k + M)` in the mean and cancels between
    columns: `rate = sum w N / sum w E G`. How large all are together, the sums tell (`column_rates`): each step of
    expectation and maximisation alone would hardly move that.
    Source: Dempster, Laird and Rubin 1977; Johnson, Kotz and Balakrishnan 1997, chapter 36 (negative multinomial).
    """
    hit, totals = counts.sum(axis=1, keepdims=True), weights @ counts
    rates = totals / (weights @ exposures)
    for _ in range(500):
        means = exposures @ rates
        level, _ = column_rates(hit, means[:, None], weights, k)
        shocks = np.ones_like(means) if math.isinf(k) else (k + hit[:, 0]) / (k + level * means)
        effective = (weights * shocks) @ exposures
        new = totals / effective
        done = bool(np.all(np.abs(new - rates) <= 1e-13 * rates))
        rates = new
        if done:
            break
    return rates, effective


def collective_rate(totals: Floats, exposures: Floats, a: float) -> float:
    """Root of `sum (S - rate E) / (1 + rate E / a)`: the rate that columns with gamma heterogeneity `a` share."""
    if math.isinf(a):
        return float(totals.sum() / exposures.sum())

    def score(log_rate: float) -> float:
        expected = math.exp(log_rate) * exposures
        return float(((totals - expected) / (a + expected)).sum())

    own = totals[totals > 0] / exposures[totals > 0]
    low, high = math.log(own.min() * totals.sum() / (totals.sum() + totals.size * 1e3)) - 20, math.log(own.max()) + 1e-6
    return math.exp(brentq(score, low, high, xtol=1e-14, rtol=1e-14))


def heterogeneity(totals: Floats, exposures: Floats) -> tuple[float, float]:
    """Collective rate and `a` where a column's rate is `rate * Gamma(a, 1/a)` (Buehlmann and Gisler 2005, 2.4).

    `a = 0` for a single column (it stands alone), infinite where the columns differ no more than by chance.
    """
    if totals.size == 1:
        return float(totals[0] / exposures[0]), 0.0
    a, rate = math.inf, float(totals.sum() / exposures.sum())
    for _ in range(200):
        previous = rate
        a = size(totals, rate * exposures, np.ones_like(totals))
        rate = collective_rate(totals, exposures, a)
        if abs(rate - previous) <= 1e-13 * rate:
            break
    return rate, a


def log_mixed(totals: Floats, exposures: Floats, rates: Floats, collective: float, a: float) -> float:
    """Log-likelihood of totals with their rates drawn from `collective * Gamma(a, 1/a)`, less that with these rates.

    `int r^S exp(-r E) dGamma = Gamma(a + S) / Gamma(a) (a / collective)^a (a / collective + E)^-(a + S)`; 0 for columns
    that stand alone (`a = 0`) or do not differ.
    """
    if a == 0 or math.isinf(a):
        return 0.0
    mixed = gammaln(a + totals) - gammaln(a) - a * np.log1p(collective * exposures / a)
    mixed -= totals * np.log(a / collective + exposures)
    return float((mixed - totals * np.log(np.where(totals > 0, rates, 1.0)) + rates * exposures).sum())


def log_probability(counts: Floats, means: Floats, k: float) -> Floats:
    """Logarithm of the probability of the counts, negative binomial of size `k`, Poisson where `k` is infinite."""
    m = np.where(means > 0, means, 1.0)
    if math.isinf(k):
        value = counts * np.log(m) - m - gammaln(counts + 1)
    else:
        value = (
            gammaln(k + counts) - gammaln(k) - gammaln(counts + 1) - k * np.log1p(m / k) + counts * np.log(m / (k + m))
        )
    return np.where(means > 0, value, np.where(counts > 0, -np.inf, 0.0))
