"""What a panel says of the family of its ratios, all columns together: lognormal, lighter up to gamma, or heavier."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, logsumexp

from calibrate.models.arrays import Floats
from calibrate.models.power_gamma import gamma_shapes, no_heavier

__all__ = ["CLEARLY", "GAMMA", "LOGNORMAL", "POWERS", "chances", "log_evidence", "worth"]

POWERS = (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)  # of a ratio, that may be gamma; below 0 its tail is heavier
LOGNORMAL, GAMMA = POWERS.index(0.0), POWERS.index(1.0)
LIKELY = 0.6  # chance of the lognormal before the data; lighter and heavier laws are as likely as each other
CLEARLY = 2.0  # difference of log-likelihoods from which one family is said to be likelier
HOPELESS = np.exp(-10.0)  # chance that is as good as none: a rare family must not rule the mean


def log_evidence(power: float, logs: Floats, weights: Floats, deviations: Floats) -> float:
    """Log-likelihood of log-ratios (periods, columns) where `R^p` is gamma, the columns' levels integrated out.

    Of one column with `n` ratios, deviation `b` and shape `k` (`trigamma(k) = (p b)^2`), any level as likely as
    another: `|p|^(n-1) Gamma(nk) / Gamma(k)^n exp(p k sum x) / (sum exp(p x))^(nk)`; of normal logs (p = 0)
    `(2 pi b^2)^((1-n)/2) n^(-1/2) exp(-sum (x - mean)^2 / 2 b^2)`. A power below 0 is the one of `no_heavier`.
    Source: Fraser 1979, Inference and Linear Models (location models, conditional on what does not depend on it).
    """
    count = weights.sum(axis=0)
    told = (count > 1) & (deviations > 0)
    n, w, b = count[told], weights[:, told], deviations[told]
    x = logs[:, told] - (w * logs[:, told]).sum(axis=0) / n
    normal = -(n - 1) / 2 * np.log(2 * np.pi * b**2) - np.log(n) / 2 - (w * x**2).sum(axis=0) / (2 * b**2)
    p = no_heavier(power, b)
    shapes = gamma_shapes(p, b)
    steady = np.isinf(shapes)
    k, p = np.where(steady, 1.0, shapes), np.where(steady, 1.0, p)
    gamma = gammaln(n * k) - n * gammaln(k) - n * k * logsumexp(p * x, b=w, axis=0) + (n - 1) * np.log(np.abs(p))
    return float(np.where(steady, normal, gamma).sum())


def worth(logs: Floats, weights: Floats, deviations: Floats) -> float:
    """Variance of the periods' sums of standardised log-ratios if nothing bound the columns, over what it is; <= 1.

    Columns that move together tell less than as many independent ones. Source: Chandler and Bate 2007, Biometrika 94.
    """
    count = weights.sum(axis=0)
    means = (weights * logs).sum(axis=0) / np.where(count > 0, count, 1.0)
    moved = deviations > 0
    scaled = np.where(moved, np.sqrt(weights) * (logs - means) / np.where(moved, deviations, 1.0), 0.0)
    alone, together = float((scaled**2).sum()), float((scaled.sum(axis=1) ** 2).sum())
    return alone / max(alone, together) if alone > 0 else 1.0


def chances(log_likelihoods: Floats) -> Floats:
    """Of the powers, given what the data say of each; the lognormal has 3/5 before, each side of it 1/5.

    >>> chances(np.zeros(8)).round(3).tolist(), chances(np.array([0.0, 0, 0, 0, 5, 10, 15, 20])).round(2).tolist()
    ([0.067, 0.067, 0.067, 0.6, 0.05, 0.05, 0.05, 0.05], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.01, 0.99])
    """
    prior = np.zeros(len(POWERS))
    prior[LOGNORMAL] = LIKELY
    for side in (slice(LOGNORMAL), slice(LOGNORMAL + 1, None)):
        prior[side] = (1 - LIKELY) / 2 / prior[side].size
    found = prior * np.exp(log_likelihoods - log_likelihoods.max())
    found = np.maximum(found / found.sum() - HOPELESS, 0.0)
    return np.asarray(found / found.sum())
