"""Likelihood of a t copula with one common factor, all columns at once, point masses as intervals."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import chdtri, gammaln, log_ndtr, logsumexp, stdtrit

from calibrate.models.arrays import Floats
from calibrate.models.dependence.correlation import Ranks

__all__ = ["FactorLikelihood", "joint_profile", "loadings"]

INVERSES = (0.45, 0.375, 0.3, 0.225, 0.15, 0.075, 0.01)  # of the degrees of freedom: evenly spaced
FACTORS = np.linspace(0.2, 1.3, 8)  # of the correlations
REACH, STEP, SHOCKS = 4.6, 0.2, 32  # of the common factor; number of shocks
OUTERMOST = 1e-7  # quantile of the shocks
LARGEST = 0.97  # square of a loading


class FactorLikelihood:
    """`x_j = s (l_j f + sqrt(1 - l_j^2) e_j)`, `f, e_j` normal, `s = sqrt(v / chi2_v)`; `x_j` below its cut is a zero.

    Given `f` and `s` the columns are independent, so a row's likelihood is a sum over a grid of them: `Phi` for the
    zeros, a normal density for the losses (whose exponent is linear in `1/s^2, f/s, f^2`), over the losses' t
    densities. Pairs of columns do not see how many lose together, and that tells `v`: by pairs, 4 degrees of freedom
    were taken for 7, in tables of 20 or 50 columns with nine in ten entries zero.
    """

    def __init__(self, ranks: Ranks, weights: Floats, loading: Floats) -> None:
        self.ranks, self.weights, self.loading = ranks, weights, loading
        self.losing = ranks.losing
        self.zero = ranks.at_mass.astype(np.float64)

    def __call__(self, v: float, factors: Floats) -> Floats:
        """Log-likelihood at `v` degrees of freedom, for each of `factors` times the correlations."""
        x = np.zeros(self.zero.shape)
        x[self.losing] = stdtrit(v, self.ranks.uniform[self.losing])
        with np.errstate(all="ignore"):
            cut = np.where(self.ranks.mass > 0, stdtrit(v, self.ranks.mass), -1e8)
        constant = gammaln((v + 1) / 2) - gammaln(v / 2) - math.log(v * math.pi) / 2
        margins = (self.losing * (constant - (v + 1) / 2 * np.log1p(x**2 / v))).sum(axis=1)
        nodes = _nodes(v)
        rows = np.column_stack([self._rows(x, cut, nodes, float(factor)) for factor in factors])
        return np.asarray(self.weights @ (rows - margins[:, None]), dtype=np.float64)

    def _rows(self, x: Floats, cut: Floats, nodes: tuple[Floats, Floats, Floats], factor: float) -> Floats:
        """Log density of each row's scores and zeros."""
        f, log_s, chance = nodes
        square = np.minimum(self.loading**2 * factor, LARGEST)
        loading, rest = np.sign(self.loading) * np.sqrt(square), 1 - square
        inverse = np.exp(-log_s)
        zeros = log_ndtr((cut[:, None] * inverse - loading[:, None] * f) / np.sqrt(rest)[:, None])
        count = self.losing.sum(axis=1)
        sums = np.column_stack(
            [self.zero, x**2 @ (1 / rest), x @ (loading / rest), self.losing @ (square / rest), count]
        )
        terms = np.vstack([zeros, -(inverse**2) / 2, f * inverse, -(f**2) / 2, -log_s])
        own = self.losing @ (np.log(2 * math.pi * rest) / 2)
        return np.asarray(logsumexp(sums @ terms + chance, axis=1) - own)


def _nodes(v: float) -> tuple[Floats, Floats, Floats]:
    """Common factor and log shock of each node, and its log probability, by trapezoids."""
    f = np.arange(-REACH, REACH + STEP / 2, STEP)
    low, high = (0.5 * np.log(v / chdtri(v, q)) for q in (OUTERMOST, 1 - OUTERMOST))
    log_s, step = np.linspace(low, high, SHOCKS, retstep=True)
    w = v * np.exp(-2 * log_s)
    density = (v / 2) * np.log(w) - w / 2 - (v / 2 - 1) * math.log(2) - gammaln(v / 2) + np.log(step)
    chance = (density - logsumexp(density))[:, None] + (-(f**2) / 2 - logsumexp(-(f**2) / 2))[None, :]
    grid = np.meshgrid(log_s, f, indexing="ij")
    return grid[1].ravel(), grid[0].ravel(), chance.ravel()


def loadings(correlation: Floats, groups: npt.NDArray[np.intp]) -> Floats:
    """One loading for each group: products as near as can be to the mean correlations within and between groups.

    What single pairs add is mostly chance. A group of one column counts as correlated with itself as with the others.
    """
    member = (groups[:, None] == np.unique(groups)).astype(np.float64)
    size = member.sum(axis=0)
    total = member.T @ correlation @ member - np.diag(size)
    pairs = np.outer(size, size) - np.diag(size)
    mean = total / np.where(pairs > 0, pairs, 1.0)
    between = np.abs(mean - np.diag(np.diag(mean))).max(axis=1)
    np.fill_diagonal(mean, np.where(size > 1, np.diag(mean), between))
    values, vectors = np.linalg.eigh(mean * np.sqrt(np.outer(size, size)))
    loading = vectors[:, -1] * math.sqrt(max(values[-1], 0.0)) / np.sqrt(size)
    top = math.sqrt(LARGEST)
    return np.asarray(member @ np.clip(loading if loading.sum() >= 0 else -loading, -top, top))


def joint_profile(
    ranks: Ranks,
    weights: Floats,
    correlation: Floats,
    groups: npt.NDArray[np.intp],
    degrees_of_freedom: float | None = None,
) -> tuple[pd.Series[float], float]:
    """Log-likelihood by degrees of freedom, less its maximum, and the mean factor of the correlations by likelihood."""
    seen = correlation * np.sqrt(np.outer(ranks.reliability, ranks.reliability))
    likelihood = FactorLikelihood(ranks, weights, loadings(seen, groups))
    grid = [1 / inverse for inverse in INVERSES] if degrees_of_freedom is None else [float(degrees_of_freedom)]
    values = np.array([likelihood(v, FACTORS) for v in grid])
    chances = np.exp(values - values.max())
    index = pd.Index(grid, name="degrees of freedom")
    profile = pd.Series(values.max(axis=1) - values.max(), index=index, name="log-likelihood")
    return profile, float((chances @ FACTORS).sum() / chances.sum())
