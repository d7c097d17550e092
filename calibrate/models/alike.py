"""Losses of one period that are alike in size: a score that they share, and that may go with how many they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc, gammaincinv, log_ndtr, logsumexp, ndtri, softmax
from scipy.stats import rankdata

from calibrate.models.arrays import Floats

__all__ = ["NOT_ALIKE", "UNLIKE", "Alike", "AlikePosterior", "Shocks", "pooled_evidence"]

LOADINGS = (np.arange(20) + 0.5) / 20  # roots of the share, of the scatter of sizes, that a period has in common
BONDS = (np.arange(6) + 0.5) / 6
SCALES = np.exp(np.linspace(-1.0, 2.0, 25))  # deviation of a size over that of those seen
SHOCKS = (np.arange(64) + 0.5) / 64
FARTHEST = 8.0  # score of a shock
SAID = 0.2  # chance of none, up to which it is said that losses are alike
LEAST = 1e-9  # scatter of scores: less is none


@dataclass(frozen=True)
class Shocks:
    """Shocks, one a scenario, and size and mean of the gamma law that they are of."""

    values: Floats
    size: float
    mean: float = 1.0


@dataclass(frozen=True)
class Alike:
    """A loss exceeds `x` if `Phi(-(a Z + sqrt(1 - a^2) e)) < P(X > x)`: `Z` the score of its period, `e` its own.

    `Z = k b(G) + sqrt(1 - k^2) e'` goes with the shock `G` of their number by the `bond` `k`; `a` is the `loading`.
    `b` is the normal score of `G` among events, of whom a shock brings `G` times as many: for a gamma shock of size
    `r` they see one of size `r + 1`. So any one event has `Z ~ N(0, 1)` and the law `X` of its segment, and expected
    losses need not know of periods. Source: McNeil, Frey, Embrechts, Quantitative Risk Management, 7.2 and 11.2 (one
    factor, mixed Poisson); Patil and Rao 1978, Biometrics 34 (size bias).

    >>> rng = np.random.default_rng(0)
    >>> levels = Alike(0.8, 0.0).levels(np.full(10_000, 2), np.ones(10_000), np.inf, rng).reshape(-1, 2)
    >>> levels.mean().round(1), np.corrcoef(ndtri(np.exp(-levels)).T)[0, 1].round(1)
    (np.float64(1.0), np.float64(0.6))
    """

    loading: float = 0.0
    bond: float = 0.0

    @property
    def share(self) -> float:
        """Of the scatter of sizes, on the normal scale, that a period has in common: `a^2`."""
        return self.loading**2

    def levels(self, counts: npt.NDArray[np.intp], shocks: Floats, size: float, rng: np.random.Generator) -> Floats:
        """Levels `-log P(loss is exceeded)` of `counts[s]` losses in each scenario `s`, of shocks of this size."""
        own = int(counts.sum())
        if self.loading == 0.0:
            return rng.standard_exponential(own)
        common = rng.standard_normal(counts.size)
        if math.isfinite(size):
            common = self.bond * _score(shocks, size) + math.sqrt(1 - self.bond**2) * common
        scores = self.loading * np.repeat(common, counts) + math.sqrt(1 - self.share) * rng.standard_normal(own)
        return np.asarray(-log_ndtr(-scores))


UNLIKE = Alike()


@dataclass(frozen=True)
class AlikePosterior:
    """Chances of the loading (rows, 0 first) and of the bond (columns), as the order of a segment's losses tells them.

    Normal scores are `m + s (a Z + sqrt(1 - a^2) e)`: those of a period of `n` have a mean of mean `m + s a k E b(G)`
    and variance `s^2 V`, `V = a^2 (1 - k^2 + k^2 Var b(G)) + (1 - a^2) / n`, with `G` as far as `n` tells it. Before
    the data `a` is 0 with chance 1/2, else flat up to 1; `k`, `m` and `log s` are flat, the last two integrated out.
    `evidence`: log of the likelihood so integrated, over that at `a = 0`. `doubt`: deviation that the mean log of the
    losses has by the common scores of their periods, at `a = 1`, beyond that of as many losses by themselves.
    Source: Box and Tiao 1973, Bayesian Inference in Statistical Analysis, 5.2 (one-way random effects).
    """

    chances: Floats
    evidence: float = 0.0
    doubt: float = 0.0

    @classmethod
    def of(cls, logs: Floats, when: npt.NDArray[np.intp], expected: Floats, size: float) -> AlikePosterior:
        """From the logs of losses, the places of their periods, expected numbers by period, size of the shock."""
        if not np.ptp(logs) > LEAST or np.unique(when).size < 2:
            return NOT_ALIKE
        scores = _normal_scores(logs)
        n = np.bincount(when, minlength=expected.size).astype(np.float64)
        seen = n > 0
        means = np.bincount(when, scores, expected.size)[seen] / n[seen]
        within = float(scores @ scores - n[seen] @ means**2)
        height = _heights(means, within, n[seen], *_shocks_seen(n[seen], expected[seen], size))
        height[1:] -= math.log(LOADINGS.size)
        value = height - logsumexp(height[0])
        doubt = float(logs.std()) * math.sqrt(float(n @ n) - logs.size) / logs.size
        return cls(softmax(value), float(logsumexp(value)) - math.log(2), doubt)

    def at(self, first: Floats, second: Floats) -> list[Alike]:
        """`first` is the chance of a smaller loading, `second` of a smaller bond given it."""
        place = np.searchsorted(np.cumsum(self.chances.sum(axis=1))[:-1], first)
        rows = self.chances[place]
        below = np.cumsum(rows / rows.sum(axis=1, keepdims=True), axis=1)[:, :-1]
        bond = (below < second[:, None]).sum(axis=1)
        return [
            Alike(float(LOADINGS[i - 1]), float(BONDS[j])) if i else UNLIKE for i, j in zip(place, bond, strict=True)
        ]

    def factors(self, alike: Sequence[Alike], chances: Floats) -> Floats:
        """Of all sizes, at `chances` of a smaller one: periods that are alike tell their level less than as many losses
        would; mean 1."""
        deviation = self.doubt * np.array([one.loading for one in alike])
        return np.asarray(np.exp(deviation * ndtri(chances) - deviation**2 / 2))

    @property
    def likely(self) -> Alike:
        """The medians; not alike where that is likelier than not."""
        return self.at(np.array([0.5]), np.array([0.5]))[0]

    def flag(self, name: str) -> tuple[str, ...]:
        """A sentence if the losses of a period are clearly likelier alike than not."""
        none = float(self.chances[0].sum())
        if none > SAID:
            return ()
        low, high = (one.share for one in self.at(np.array([0.05, 0.95]), np.full(2, 0.5)))
        return (
            f"segment {name!r}: losses of one period are alike in size: {self.likely.share:.0%} of their scatter lies "
            f"between periods (90 % interval {low:.0%} to {high:.0%}, chance of none {none:.2g}), and is drawn so",
        )


NOT_ALIKE = AlikePosterior(np.ones((1, 1)))  # where they cannot be, or nothing would show it


def pooled_evidence(laws: Sequence[AlikePosterior]) -> float:
    """Of all segments, for what can be alike over what cannot: with chance 1/2 none is, else each as its law says.

    So segments that tell nothing speak neither for shared shocks nor against them, however many they are.
    """
    return float(np.logaddexp(0.0, sum(law.evidence for law in laws)) - math.log(2))


def _normal_scores(values: Floats) -> Floats:
    """Normal quantiles of the ranks, equal values sharing theirs."""
    return np.asarray(ndtri((rankdata(values) - 0.5) / values.size))


def _score(shocks: Floats, size: float) -> Floats:
    """Normal score of gamma shocks among the events that they bring."""
    return np.clip(ndtri(gammainc(size + 1, size * shocks)), -FARTHEST, FARTHEST)


def _shocks_seen(n: Floats, expected: Floats, size: float) -> tuple[Floats, Floats]:
    """Mean and variance of the score of the shock of periods with `n` events; unknown where none was fitted."""
    if math.isinf(size):
        return np.zeros(n.size), np.ones(n.size)
    scores = _score(gammaincinv(size + n[:, None], SHOCKS) / (size + expected[:, None]), size)
    return scores.mean(axis=1), scores.var(axis=1)


def _heights(means: Floats, within: float, n: Floats, shock: Floats, shock_variance: Floats) -> Floats:
    """Log-likelihoods (loadings, bonds) of scatter within periods and of their means, `m` and `s` integrated out."""
    a, k = np.append(0.0, LOADINGS)[:, None, None], BONDS[:, None]
    own, shift = 1 - a**2, a * k * shock
    variance = a**2 * (1 - k**2 * (1 - shock_variance)) + own / n
    weight = 1 / variance
    whole, x, h = weight.sum(axis=2), weight @ means, (weight * shift).sum(axis=2)
    xx, xh, hh = weight @ means**2, (weight * shift) @ means, (weight * shift**2).sum(axis=2)
    around = [part[:, :, None] for part in (xx - x * x / whole, xh - x * h / whole, hh - h * h / whole)]
    free, s = float(n.sum()) - n.size, SCALES
    squares = within / own + around[0] - 2 * s * around[1] + s**2 * around[2]
    by_scale = logsumexp(-(free + n.size - 1) * np.log(s) - squares / (2 * s**2), axis=2)
    fixed = -free / 2 * np.log(own[:, :, 0]) - 0.5 * np.log(variance).sum(axis=2) - 0.5 * np.log(whole)
    return np.asarray(fixed + by_scale)
