"""Correlation of the normal scores of few periods and many columns, with point masses at the smallest value."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import norm

from calibrate.models.arrays import Floats

__all__ = ["Ranks", "positive_definite", "shrunk_correlation"]

Flags = npt.NDArray[np.bool_]

TERMS = 40  # of the Hermite series
LIMIT = 0.98  # of a single correlation
FEWEST = 2  # periods: two members that were there together in fewer have no correlation of their own


@dataclass(frozen=True)
class Ranks:
    """Ranks of each column: `uniform` levels in (0, 1), `mass` of the ties at the smallest value, who is `at_mass`.

    Of the periods in which the column is `present`. `reliability` is the share of its variance that is not chance.
    """

    uniform: Floats
    mass: Floats
    at_mass: Flags
    present: Flags
    reliability: Floats

    @property
    def losing(self) -> Flags:
        """Who is there, and above its mass."""
        return self.present & ~self.at_mass

    def part(self, columns: npt.NDArray[np.intp]) -> Ranks:
        """The ranks of some columns."""
        uniform, at_mass, present = self.uniform[:, columns], self.at_mass[:, columns], self.present[:, columns]
        return Ranks(uniform, self.mass[columns], at_mass, present, self.reliability[columns])

    def rows(self, kept: Flags) -> Ranks:
        """Of some periods; levels and masses stay those of all."""
        return replace(self, uniform=self.uniform[kept], at_mass=self.at_mass[kept], present=self.present[kept])

    @classmethod
    def of(cls, values: Floats, weights: Floats, reliability: Floats) -> Ranks:
        """Levels `(rank - 1/2) / n`, mean ranks for ties; weighted by repeating rows in thought. NaN is not there."""
        present = ~np.isnan(values)
        never = ~present.any(axis=0)
        values, present = np.where(never, 0.0, values), present | never  # such a column is all mass: it tells nothing
        total, uniform = weights @ present, np.full(values.shape, 0.5)
        for j in range(values.shape[1]):
            there = present[:, j]
            place, at = np.unique(values[there, j], return_inverse=True)
            share = np.bincount(at, weights[there], minlength=place.size)
            uniform[there, j] = ((np.cumsum(share) - share / 2) / total[j])[at]
        at_mass = values == np.nanmin(values, axis=0)
        tied = (at_mass.sum(axis=0) > 1) | (weights @ at_mass >= 2)
        at_mass &= tied
        mass = (weights @ at_mass) / total
        return cls(np.clip(uniform, 1e-12, 1 - 1e-12), mass, at_mass, present, reliability)


def shrunk_correlation(ranks: Ranks, weights: Floats, groups: np.ndarray) -> tuple[Floats, float]:
    """Correlation matrix of the latent normal scores, positive definite, and the mean weight of the shared ones.

    Losses at the point mass have the score `E[Z | Z < c]`. The correlation of such scores is a known increasing
    function `m(rho) = sum_k rho^k a_ik a_jk` of the latent one (Hermite series). Each pair of groups shares the `rho`
    that fits all its pairs, by the periods in which both were there; a single pair departs from it as far as its own
    observations carry (`tau^2 / (tau^2 + v)`, `tau^2` by moments; Daniels and Kass 1999), for few periods not far.
    """
    scores, series = _scores(ranks)
    deviation = np.sqrt((series**2).sum(axis=0))
    informative = deviation > 1e-6
    series = np.where(informative, series / np.where(informative, deviation, 1.0), 0.0)
    weighted = weights[:, None] * ranks.present
    total = weighted.sum(axis=0)
    centred = np.where(ranks.present, scores - (weighted * scores).sum(axis=0) / total, 0.0)
    spread = np.sqrt((weighted * centred**2).sum(axis=0) / total)
    standard = np.where(informative & (spread > 0), centred / np.where(spread > 0, spread, 1.0), 0.0)
    series = np.where(spread > 0, series, 0.0) * np.sqrt(ranks.reliability)
    together = weighted.T @ ranks.present.astype(float)
    seen = (standard * weights[:, None]).T @ standard / np.where(together > 0, together, 1.0)
    count = np.where(together >= FEWEST, np.maximum(together - 1, 1.0), 0.0)
    result, kept = np.eye(seen.shape[0]), 0.0
    names = np.unique(groups)
    for position, first in enumerate(names):
        for second in names[position:]:
            kept += _fill_block(
                result, seen, series, np.flatnonzero(groups == first), np.flatnonzero(groups == second), count
            )
    pairs = max(groups.size * (groups.size - 1) / 2, 1)
    return positive_definite(result), kept / pairs


def _scores(ranks: Ranks) -> tuple[Floats, Floats]:
    """Scores of the observations; Hermite coefficients (orders 1 to TERMS, columns) of the score as a function."""
    mass = np.clip(ranks.mass, 0, 1 - 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = ndtri(mass)
        density = np.where(mass > 0, norm.pdf(cut), 0.0)
        below = np.where(mass > 0, -density / np.where(mass > 0, mass, 1.0), 0.0)
    cut = np.where(mass > 0, cut, 0.0)
    hermite = [np.ones_like(cut), cut]
    for k in range(1, TERMS + 1):
        hermite.append((cut * hermite[k] - np.sqrt(k) * hermite[k - 1]) / np.sqrt(k + 1))
    series = np.zeros((TERMS, cut.size))
    series[0] = density * (cut - below) + 1 - mass
    for k in range(2, TERMS + 1):
        series[k - 1] = density * (
            hermite[k] + np.sqrt(k / (k - 1)) * hermite[k - 2] - below * hermite[k - 1] / np.sqrt(k)
        )
    return np.where(ranks.at_mass, below, ndtri(ranks.uniform)), series


def _fill_block(
    result: Floats, seen: Floats, series: Floats, rows: np.ndarray, columns: np.ndarray, count: Floats
) -> float:
    """Write the correlations between two groups into `result`; returns the summed weight of the shared one."""
    i, j = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    if rows is columns or np.array_equal(rows, columns):
        i, j = i[i < j], j[i < j]
    products = series[:, i] * series[:, j]
    known = (np.abs(products[0]) > 1e-12) & (count[i, j] > 0)
    if not i.size or not known.any():
        return float(i.size)
    products, observed, counts = products[:, known], seen[i, j][known], count[i, j][known]
    shared = _shared(products, observed, counts / counts.max())
    powers = shared ** np.arange(TERMS)
    slope = (np.arange(1, TERMS + 1) * powers) @ products
    distance = (observed - (shared * powers) @ products) / slope
    variance = (1 - shared**2) ** 2 / (counts * slope**2)
    precision = 1 / variance**2
    between = max(0.0, float(precision @ (distance**2 - variance) / precision.sum()))
    own = between / (between + variance)
    block = np.full(i.size, shared)
    block[known] = np.clip(shared + own * distance, -LIMIT, LIMIT)
    result[i, j] = result[j, i] = block
    return float(i.size - own.sum())


def _shared(products: Floats, observed: Floats, weights: Floats) -> float:
    """The `rho` with `sum weight slope (m(rho) - observed) = 0`, by bisection."""
    slopes = weights * products[0]
    weighted, target = products @ slopes, float(slopes @ observed)
    low, high = -LIMIT, LIMIT
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if middle ** np.arange(1, TERMS + 1) @ weighted < target else (low, middle)
    return (low + high) / 2


def positive_definite(matrix: Floats, floor: float = 1e-4) -> Floats:
    """The matrix with eigenvalues raised to `floor`, scaled back to a unit diagonal (Rebonato and Jaeckel 2000)."""
    values, vectors = np.linalg.eigh(matrix)
    if values[0] < floor:
        matrix = (vectors * np.maximum(values, floor)) @ vectors.T
    scale = np.sqrt(np.diag(matrix))
    matrix = matrix / np.outer(scale, scale)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1.0)
    return matrix
