"""Log-likelihood of a Student t copula: of the whole table, or of pairs that may lie at a point mass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammainc, gammaincc, gammaln, stdtr, stdtrit

from calibrate.models.arrays import Floats
from calibrate.models.dependence.correlation import Ranks

__all__ = [
    "GRID",
    "copula_log_likelihood",
    "mixed_tail_dependence",
    "pairwise_log_likelihood",
    "plausible",
    "profile",
    "tail_dependence",
]

NODES, NODE_WEIGHTS = (np.asarray(part, dtype=np.float64) for part in np.polynomial.legendre.leggauss(24))
FINE_NODES, FINE_WEIGHTS = (np.asarray(part, dtype=np.float64) for part in np.polynomial.legendre.leggauss(96))
PAIRS = 600  # the pairs with most losses say what there is to say


# With 10 periods of 46 columns the likelihood of the whole table said 4 degrees whatever the truth (measured).
ENOUGH = 50  # periods from which it is trusted
GRID = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)


def profile(ranks: Ranks, weights: Floats, correlation: Floats, grid: Sequence[float]) -> pd.Series[float]:
    """Log-likelihood by degrees of freedom, less its maximum; by pairs with few periods."""
    likelihood = copula_log_likelihood if len(weights) >= ENOUGH else pairwise_log_likelihood
    seen = correlation * np.sqrt(np.outer(ranks.reliability, ranks.reliability))
    np.fill_diagonal(seen, 1.0)
    values = np.array([likelihood(ranks, weights, seen, v) for v in grid])
    return pd.Series(values - values.max(), index=pd.Index(grid, name="degrees of freedom"), name="log-likelihood")


def plausible(found: pd.Series[float]) -> float:
    """`1 / E[1 / v]` over the grid, each point weighted by its likelihood: few periods must not rule heavy tails out.

    Where the data are many it is the maximum; where the likelihood is flat it lies between what they allow, instead of
    at the end of the grid where large losses no longer come together.
    """
    weights = np.exp(found.to_numpy(dtype=np.float64))
    return float(weights.sum() / (weights / np.asarray(found.index, dtype=np.float64)).sum())


def tail_dependence(correlation: Floats, v: float) -> Floats:
    """`2 t_{v+1}(-sqrt((v + 1)(1 - rho)/(1 + rho)))` (Demarta and McNeil 2005)."""
    rho = np.clip(correlation, -1 + 1e-12, 1)
    return np.asarray(2 * stdtr(v + 1, -np.sqrt((v + 1) * (1 - rho) / (1 + rho))))


def mixed_tail_dependence(rho: float, first: float, second: float) -> float:
    """`E min(A, B)`, `A = (z_1+)^v_1 / E (z_1+)^v_1`, for two degrees of freedom and one uniform behind both shocks.

    Where that uniform `u` is small the score is `c z u^(-1 / v)`: it exceeds its quantile of `1 - p` if `u < p A`.
    In polar coordinates `A` is smaller than `B` beyond one radius, so each angle is two incomplete gamma functions.
    """
    if first > second:
        first, second = second, first
    low, high = -math.asin(rho), math.pi / 2  # where both are positive

    def half_radius(angle: Any) -> tuple[Any, Any, Any]:
        """`log A` and `log B` at radius one, and `log(r^2 / 2)` of the radius where they are equal."""
        a = first * np.log(np.cos(angle)) - _log_moment(first)
        b = second * np.log(np.sin(angle - low)) - _log_moment(second)
        return a, b, 2 * (a - b) / (second - first) - math.log(2)

    typical = math.log((first + second) / 4 + 1)
    start, end = low, high
    for _ in range(50):  # the angle at which the bend of the minimum lies in the bulk: the integral is split there
        bend = (start + end) / 2
        start, end = (bend, end) if half_radius(bend)[2] > typical else (start, bend)
    value = 0.0
    for left, right in ((low, bend), (bend, high)):
        a, b, radius = half_radius(left + (right - left) * (FINE_NODES + 1) / 2)
        half = np.exp(np.minimum(radius, 700.0))
        below = np.exp(b + second / 2 * math.log(2) + gammaln(second / 2 + 1)) * gammainc(second / 2 + 1, half)
        above = np.exp(a + first / 2 * math.log(2) + gammaln(first / 2 + 1)) * gammaincc(first / 2 + 1, half)
        value += float((right - left) / (4 * math.pi) * (FINE_WEIGHTS @ (below + above)))
    return value


def _log_moment(v: float) -> float:
    """`log E (z+)^v`."""
    return float((v / 2 - 1) * math.log(2) + gammaln((v + 1) / 2) - math.log(math.pi) / 2)


def copula_log_likelihood(ranks: Ranks, weights: Floats, correlation: Floats, v: float) -> float:
    """`sum_t w (log t_R,v(x_t) - sum_j log t_v(x_tj))` with `x = t_v^-1(u)`, over the columns that are there."""
    x = np.asarray(stdtrit(v, ranks.uniform), dtype=np.float64)
    kinds, kind = np.unique(ranks.present, axis=0, return_inverse=True)
    return sum(
        _density_of_rows(x[kind == k][:, there], weights[kind == k], correlation[np.ix_(there, there)], v)
        for k, there in enumerate(kinds)
        if there.any()
    )


def _density_of_rows(x: Floats, weights: Floats, correlation: Floats, v: float) -> float:
    d = x.shape[1]
    factor = np.linalg.cholesky(correlation)
    distance = (np.linalg.solve(factor, x.T) ** 2).sum(axis=0)
    joint = gammaln((v + d) / 2) - gammaln(v / 2) - d / 2 * np.log(v * np.pi) - np.log(np.diag(factor)).sum()
    joint = joint - (v + d) / 2 * np.log1p(distance / v)
    return float(weights @ (joint - _log_density(x, v).sum(axis=1)))


def pairwise_log_likelihood(ranks: Ranks, weights: Floats, correlation: Floats, v: float) -> float:
    """Sum over pairs of columns (composite likelihood; Varin, Reid and Firth 2011), exact for point masses.

    Both lose: copula density. One loses: `P(other at its mass | loss)`. None: probability of the corner.
    """
    i, j = np.triu_indices(ranks.mass.size, 1)
    losing = weights @ ranks.losing
    spread = np.arange(i.size) * 7919 % 104729  # equals are taken from everywhere, not from the first columns only
    most = np.lexsort((spread, -(losing[i] * losing[j])))[:PAIRS]
    i, j = i[most], j[most]
    with np.errstate(all="ignore"):
        cut = np.where(ranks.mass > 0, stdtrit(v, ranks.mass), -1e8)
    x = np.asarray(stdtrit(v, ranks.uniform), dtype=np.float64)
    rho = correlation[i, j]
    a, b, a_loses, b_loses = ranks.at_mass[:, i], ranks.at_mass[:, j], ranks.losing[:, i], ranks.losing[:, j]
    value = 0.0
    t, p = np.nonzero(a_loses & b_loses)
    value += float(weights[t] @ _log_pair(x[t, i[p]], x[t, j[p]], rho[p], v))
    for at, loses, column, other in ((a, b_loses, j, i), (b, a_loses, i, j)):
        t, p = np.nonzero(at & loses)
        value += float(weights[t] @ _log(_given(cut[other[p]], x[t, column[p]], rho[p], v)))
    none = weights @ (a & b)
    if none.any():
        value += float(none @ _log(_corner(np.maximum(ranks.mass[i], 1e-12), cut[j], rho, v)))
    return value * 2 / max(ranks.mass.size, 2)


def _log(probability: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(probability, 1e-300)))


def _log_density(x: Floats, v: float) -> Floats:
    constant = gammaln((v + 1) / 2) - gammaln(v / 2) - np.log(v * np.pi) / 2
    return np.asarray(constant - (v + 1) / 2 * np.log1p(x**2 / v), dtype=np.float64)


def _log_pair(x: Floats, y: Floats, rho: Floats, v: float) -> Floats:
    distance = (x**2 - 2 * rho * x * y + y**2) / (1 - rho**2)
    joint = -np.log(2 * np.pi) - np.log(1 - rho**2) / 2 - (v + 2) / 2 * np.log1p(distance / v)
    return np.asarray(joint - _log_density(x, v) - _log_density(y, v))


def _given(cut: Floats, x: Floats, rho: Floats, v: float) -> Floats:
    """`P(Y < cut | X = x)`."""
    return np.asarray(stdtr(v + 1, (cut - rho * x) / np.sqrt((v + x**2) * np.maximum(1 - rho**2, 1e-12) / (v + 1))))


def _corner(mass: Floats, cut: Floats, rho: Floats, v: float) -> Floats:
    """`P(X < its cut, Y < cut)`: integral of the conditional probability over the mass, by Gauss and Legendre."""
    x = np.asarray(stdtrit(v, mass * (NODES[:, None] + 1) / 2), dtype=np.float64)
    return np.asarray(mass / 2 * (NODE_WEIGHTS @ _given(cut, x, rho, v)))
