"""A lognormal law whose scatter is known only as far as the data tell."""

from __future__ import annotations

import math

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import ndtr, ndtri
from scipy.stats import chi2

from calibrate.models.arrays import Floats

__all__ = ["SURE", "equally_likely_variances", "unsure_lognormal_isf"]

NODES = 12  # equally likely variances, by quantiles: with 5 degrees of freedom the t law is met at 99 % to 4 %
FEWEST = 3.0  # degrees of freedom: a t law has a variance from there on
SURE = 1e6  # from so many on the variance is known
WIDEST = 4.0  # variance of a log: the mean of a lognormal of more is not seen in a sample
KNOTS, STEPS = 129, 60
CLOSE = 3e-7  # a step so short, in deviations, leaves its square


def unsure_lognormal_isf(chance: Floats, log_mean: float, log_deviation: float, freedom: float) -> Floats:
    """What `exp(a + (b^2 - c)/2 + sqrt(c) Z)` exceeds with probability `chance`, `c = b^2 v / chi2_v`, `v` degrees.

    The log is a Student t around `a`, of scale `b`, as a mixture of 12 normal laws (a log t has no mean; this has, and
    `c` is no more than 4, or `b^2`). Each has the mean `exp(a + b^2 / 2)` of the law that is sure of its `b`.
    Source: Smyth 2004 (moderated t); Heckman and Meyers 1983 (what is uncertain raises the tail, not the mean).

    >>> sure, unsure = (unsure_lognormal_isf(np.array([0.01]), 0.0, 0.2, v)[0] for v in (np.inf, 8.0))
    >>> round(float(np.log(sure)), 3), round(float(np.log(unsure)), 3)
    (0.465, 0.547)
    """
    variances = equally_likely_variances(log_deviation, freedom)
    deviations = np.sqrt(variances)
    centres = log_mean + (log_deviation**2 - variances) / 2
    wanted = np.where(log_deviation > 0, -ndtri(chance), 0.0)
    if variances.size == 1 or not log_deviation > 0:
        return np.asarray(np.exp(log_mean + log_deviation * wanted))
    finite = np.isfinite(wanted)
    logs = np.where(finite, 0.0, wanted)
    if finite.any():
        logs[finite] = _solved(wanted[finite], centres[:, None], deviations[:, None])
    return np.asarray(np.exp(logs))


def equally_likely_variances(log_deviation: float, freedom: float) -> Floats:
    """Of the log, equally likely."""
    if freedom >= SURE:
        return np.array([log_deviation**2])
    v = max(freedom, FEWEST)
    drawn = log_deviation**2 * v / chi2.ppf((np.arange(NODES) + 0.5) / NODES, v)
    return np.asarray(np.minimum(drawn, max(WIDEST, log_deviation**2)))


def _solved(wanted: Floats, centres: Floats, deviations: Floats) -> Floats:
    """Where the mixture has the score `wanted`, by a spline through some of them and a Newton step or two."""
    if wanted.size <= KNOTS:
        return _stepped(wanted, centres, deviations)
    knots = np.linspace(wanted.min() - 1, wanted.max() + 1, KNOTS)
    spline = CubicSpline(knots, _stepped(knots, centres, deviations))
    return _stepped(wanted, centres, deviations, spline(wanted))


def _stepped(wanted: Floats, centres: Floats, deviations: Floats, start: Floats | None = None) -> Floats:
    """Newton's steps, between the quantiles of the parts."""
    parts = centres + deviations * wanted
    low, high = parts.min(axis=0), parts.max(axis=0)
    side = np.where(wanted < 0, 1.0, -1.0)  # the tail that is small is the one that is exact
    x = parts.mean(axis=0) if start is None else start
    for _ in range(STEPS):
        z = side * (x - centres) / deviations
        score = side * ndtri(ndtr(z).mean(axis=0))
        low, high = np.where(score <= wanted, x, low), np.where(score >= wanted, x, high)
        with np.errstate(all="ignore"):
            slope = (np.exp((score**2 - z**2) / 2) / deviations).mean(axis=0)
            step = x + (wanted - score) / slope
        inside = (step >= low) & (step <= high)
        new = np.where(inside, step, (low + high) / 2)
        if float(np.abs(new - x).max(initial=0.0)) <= CLOSE * math.sqrt(float((deviations**2).max())):
            break
        x = new
    return np.asarray(new)
