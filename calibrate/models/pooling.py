"""How columns borrow means and variances from each other."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaln, digamma, polygamma

from calibrate.models.arrays import Floats

__all__ = [
    "compensation",
    "inverse_trigamma",
    "mean_exponent",
    "pooled_means",
    "pooled_shares",
    "pooled_variances",
    "size_exponent",
]

# Of what happens to a column in two periods: none, as likely as any other together, whose roots are as likely.
CORRELATIONS = np.append(1e-6, ((np.arange(20) + 0.5) / 20) ** 2)
PRIOR = np.append(0.5, np.full(20, 0.5 / 20))
LEAST = 1e-12  # of the largest variance
STEPS = 100
COMPENSATIONS = np.append(0.0, (np.arange(20) + 0.5) / 20)
EXPONENTS = (np.arange(10) + 0.5) / 10


def pooled_means(means: Floats, variances: Floats) -> tuple[Floats, float, Floats]:
    """Credibility means `Z m + (1 - Z) collective`, the collective mean and `Z = tau^2 / (tau^2 + v)`.

    `v` is the variance of a column's mean (infinite where it has no data, `m` is then ignored); `tau^2`, the variance
    between columns, by moments (Buehlmann and Straub 1970; Paule and Mandel 1982). A single column stands alone.
    """
    seen = np.isfinite(variances)
    m, v = means[seen], variances[seen]
    if not seen.any():
        return np.zeros_like(means), 0.0, np.zeros_like(means)
    if (v <= 0).any() or m.size == 1:
        collective, credibility = float(m.mean()), np.where(seen, 1.0, 0.0)
    else:
        (collective,), between, _ = _regression(np.ones((m.size, 1)), m, v)
        credibility = np.where(seen, between / (between + np.where(seen, variances, 1.0)), 0.0)
    own = np.where(seen, means, collective)
    return collective + credibility * (own - collective), float(collective), credibility


def mean_exponent(means: Floats, variances: Floats, log_size: Floats, gain: float) -> float:
    """How log-means of columns go with size, `b` in `mean ~ size^b`; 0 below a `gain` of log-likelihood or 5 columns.

    Weighted least squares, the variance between columns by moments with the slope and without (as in `pooled_means`).
    """
    seen = np.isfinite(variances) & (variances > 0)
    if seen.sum() < 5 or np.ptp(log_size[seen]) < 1e-9:
        return 0.0
    x = np.column_stack([np.ones(int(seen.sum())), log_size[seen]])
    *_, plain = _regression(x[:, :1], means[seen], variances[seen])
    (_, power), _, tilted = _regression(x, means[seen], variances[seen])
    return float(power) if tilted - plain > gain else 0.0


def compensation(means: Floats, variances: Floats, often: Floats) -> float:
    """How far who loses less often loses more when he does: `k` in [0, 1], `mean + k often` alike but for chance.

    `often` is the log of how often each column loses anything; 1: what it loses in all is alike, 0: what it loses at
    a time. The mean of `k`, before the data as likely 0 as any other, at the variance between columns by moments.

    >>> often = np.log([0.1, 0.2, 0.4, 0.8] * 5)
    >>> [round(compensation(means, np.full(20, 0.01), often), 2) for means in (-often, 0 * often)]
    [0.97, 0.0]
    """
    seen = np.isfinite(variances) & (variances > 0)
    if seen.sum() < 2:
        return float(PRIOR @ COMPENSATIONS)
    ones = np.ones((int(seen.sum()), 1))
    found = [_regression(ones, (means + k * often)[seen], variances[seen]) for k in COMPENSATIONS]
    likelihood = np.array([log_likelihood for *_, log_likelihood in found])
    return float(np.average(COMPENSATIONS, weights=PRIOR * np.exp(likelihood - likelihood.max())))


def _regression(x: Floats, m: Floats, v: Floats) -> tuple[Floats, float, float]:
    """Coefficients of `m ~ x`, the variance that `m` has beyond `v`, and log-likelihood.

    That variance is such that the weighted squares of what is left sum to their expectation (Paule and Mandel 1982), by
    Newton's steps on a convex sum that falls: who is known best does not tell alone how far the others differ.
    """

    def solved(w: Floats) -> tuple[Floats, Floats]:
        square, right = x.T * w @ x, x.T @ (w * m)
        b = right / square[0] if right.size == 1 else np.linalg.pinv(square, hermitian=True) @ right
        return b, m - x @ b

    v = np.maximum(v, LEAST * v.max())  # one that outweighs all would leave nothing to tell the others by
    between, left = 0.0, m.size - x.shape[1]
    for _ in range(STEPS):
        w = 1 / (v + between)
        b, r = solved(w)
        missed = float(w @ r**2) - left
        if missed <= 1e-12 * m.size:
            break
        between += missed / float(w**2 @ r**2)
    return b, between, float(np.log(w).sum() - w @ r**2) / 2


def pooled_variances(variances: Floats, freedom: Floats) -> tuple[Floats, Floats]:
    """Variances `(d0 s0^2 + d s^2) / (d0 + d)` and their degrees of freedom, `d0 + d`; `d` those of `s^2`.

    `d0, s0^2` by moments of `log s^2` (Smyth 2004, the scaled inverse chi-square prior). Constant columns do not speak.
    """
    seen = (freedom > 0) & (variances > 0)
    if not seen.any():
        return np.zeros_like(variances), np.full_like(variances, math.inf)
    s2, d = variances[seen], freedom[seen]
    if s2.size == 1:
        common, prior = float(s2[0]), 0.0
    else:
        logs = np.log(s2) - digamma(d / 2) + np.log(d / 2)
        excess = float(logs.var(ddof=1) - polygamma(1, d / 2).mean())
        if excess > 1e-3:
            prior = 2 * float(inverse_trigamma(np.asarray(excess)))
            common = math.exp(float(logs.mean()) + float(digamma(prior / 2)) - math.log(prior / 2))
        else:
            prior, common = math.inf, float(np.average(s2, weights=d))
    if math.isinf(prior):
        return np.full_like(variances, common), np.full_like(variances, math.inf)
    d = np.maximum(freedom, 0.0)
    total = prior + d
    pooled = np.where(total > 0, (prior * common + d * variances) / np.where(total > 0, total, 1.0), common)
    return np.where(pooled > 0, pooled, common), total


def size_exponent(variances: Floats, freedom: Floats, log_size: Floats) -> float:
    """How variances fall with size: `b` in `s^2 ~ size^b`, between -1 (independent parts) and 0 (all move together).

    Least squares of `log s^2` on `log size`, drawn to 0 by `1 - (error / b)^2` (James and Stein); 0 below 5 columns.
    """
    seen = (freedom > 0) & (variances > 0)
    if seen.sum() < 5 or np.ptp(log_size[seen]) < 1e-9:
        return 0.0
    x, y = log_size[seen] - log_size[seen].mean(), np.log(variances[seen])
    slope = float(x @ (y - y.mean()) / (x @ x))
    residual = y - y.mean() - slope * x
    error = float(residual @ residual) / (seen.sum() - 2) / float(x @ x)
    kept = max(0.0, 1 - error / slope**2) if slope < 0 else 0.0
    return max(-1.0, slope * kept)


def pooled_shares(hits: Floats, trials: Floats, log_size: Floats) -> tuple[Floats, Floats]:
    """Shares of each column, drawn towards that of columns of its size `c` as far as chance explains their differences.

    `c = exp(-a size^k)`: `k` is 0 where size does not matter, 1 where parts of a column are hit by themselves; `a` such
    that as many hits are expected as there are. A column's share is `Beta(s c, s (1 - c))`, `s = 1 / r - 1`: two of its
    trials have the correlation `r`. Before the data it is as likely 0 as not, and its root, as `k`, anything in [0, 1];
    what follows is weighted by their likelihood (beta-binomial). So one trial of a newcomer does not tell what it will
    always do. Returns the shares and `c`, in the mean.
    Source: Skellam 1948, Journal of the Royal Statistical Society B 10.

    >>> pooled_shares(np.array([0.0, 0.0, 0.0, 1.0]), np.array([8.0, 8.0, 8.0, 1.0]), np.zeros(4))[0].round(2)
    array([0.02, 0.02, 0.02, 0.28])
    """
    common = float(hits.sum() / trials.sum())
    if common in (0.0, 1.0) or hits.size == 1:
        return np.full_like(hits, common), np.full_like(hits, common)
    c = _shares_by_size(common, trials, EXPONENTS[:, None] * log_size)
    strength = 1 / CORRELATIONS[:, None, None] - 1
    a, b = strength * c, strength * (1 - c)
    likelihood = (betaln(a + hits, b + trials - hits) - betaln(a, b)).sum(axis=-1) + np.log(PRIOR)[:, None]
    chances = np.exp(likelihood - likelihood.max())
    chances /= chances.sum()
    return np.einsum("rk,rkj->j", chances, (hits + a) / (trials + strength)), chances.sum(axis=0) @ c


def _shares_by_size(common: float, trials: Floats, log_size: Floats) -> Floats:
    """`exp(-exp(u + log_size))` by row, of the mean `common` over all trials: by bisection, as it falls with `u`."""
    middle = np.log(-np.log(common))
    low, high = middle - log_size.max(axis=1), middle - log_size.min(axis=1)
    for _ in range(60):
        u = (low + high) / 2
        c = np.exp(-np.exp(u[:, None] + log_size))
        more = c @ trials > common * trials.sum()
        low, high = np.where(more, u, low), np.where(more, high, u)
    return np.asarray(c.clip(1e-9, 1 - 1e-9))


def inverse_trigamma(values: Floats) -> Floats:
    """The `x > 0` with `trigamma(x) = value > 0`, by Newton's steps on `1 / trigamma`, convex: they rise to it.

    Source: Smyth 2004 (appendix).

    >>> inverse_trigamma(np.array([np.pi**2 / 6])).round(12)
    array([1.])
    """
    x = 0.5 + 1 / values
    for _ in range(50):
        found = polygamma(1, x)
        step = found * (1 - found / values) / polygamma(2, x)
        x = x + step
        if np.abs(step / x).max(initial=0.0) < 1e-14:
            break
    return np.asarray(x)
