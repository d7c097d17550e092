"""The law of a member's total loss in a period, computed and not simulated: number of losses and size of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from calibrate.errors import ModelError
from calibrate.models.counts import Count, NegativeBinomialCount, PoissonCount, count_of, positive
from calibrate.models.severity import Severity

__all__ = [
    "AggregateLoss",
    "Count",
    "DiscreteSeverity",
    "NegativeBinomialCount",
    "PoissonCount",
    "compound",
    "compound_by_recursion",
    "compound_by_transform",
    "count_of",
    "discretise",
]

Floats = npt.NDArray[np.float64]
TILT = 18.0  # e^-18 = 1.5e-8 of what wraps around is left; rounding grows by e^18 at the last point
LARGEST_RECURSION = 2**15
SURPLUS = 1e-3  # of probability that masses of a severity may bring, whose rounding is not in the error
COARSE = 0.25  # of the mean: a longer step makes quantiles wrong


@dataclass(frozen=True)
class DiscreteSeverity:
    """One loss on the grid `0, step, 2 step, ...`: `masses[k]` at `k step`; what is missing to 1 lies beyond."""

    step: float
    masses: Floats
    mean: float


@dataclass(frozen=True)
class AggregateLoss:
    """Law of the total on the grid `0, step, 2 step, ...`, money.

    `probabilities[k] = P(S = k step)` for the points of the grid; the rest, `beyond`, lies above it. `mean` is exact,
    tail included, infinite if it does not exist. `error` bounds the error of each probability.
    """

    step: float
    probabilities: Floats
    mean: float
    error: float

    @cached_property
    def _survival(self) -> Floats:
        return np.clip(1.0 - np.cumsum(self.probabilities), 0.0, 1.0)

    @property
    def beyond(self) -> float:
        """Probability above the grid."""
        return float(self._survival[-1])

    def cdf(self, x: npt.ArrayLike) -> Floats:
        """`P(S <= x)`; ModelError above the grid."""
        places = np.floor(np.asarray(x, dtype=np.float64) / self.step * (1 + 1e-14)).astype(np.int64)
        if (places >= self.probabilities.size).any():
            raise ModelError(
                f"{np.max(x):g} lies above the grid, which ends at {self._end:g}; use more points or longer steps"
            )
        below = np.concatenate([[0.0], 1.0 - self._survival])
        return np.asarray(below[np.maximum(places, -1) + 1])

    def var(self, level: float) -> float:
        """Value at risk: the smallest point not exceeded with probability `level`."""
        if not 0 < level < 1:
            raise ModelError(f"a risk level must lie strictly between 0 and 1, got {level}")
        outside = 1.0 - level
        if self.beyond > outside * (1 + 1e-12):
            raise ModelError(
                f"the quantile at {level} lies above the grid, which ends at {self._end:g} with {self.beyond:.3g} of "
                "the probability beyond; use more points or a larger step"
            )
        return self.step * int(np.argmax(self._survival <= outside * (1 + 1e-12)))

    def expected_shortfall(self, level: float) -> float:
        """`VaR + E[(S - VaR)+] / (1 - level)`, the tail beyond the grid included through the exact mean."""
        quantile = self.var(level)
        return quantile + self.expected_excess(quantile) / (1.0 - level)

    def conditional_tail_expectation(self, level: float) -> float:
        """`E[S | S > VaR]`: on a grid a little above the expected shortfall, because of the atom at the quantile."""
        quantile = self.var(level)
        above = float(self._survival[round(quantile / self.step)])
        return quantile + self.expected_excess(quantile) / above if above > 0 else quantile

    def expected_excess(self, retention: float) -> float:
        """`E[(S - d)+] = E S - sum over the grid below d of P(S > x) step`: stop-loss premium at a grid point."""
        if math.isinf(self.mean):
            raise ModelError(
                "the mean of the total does not exist (severity with shape >= 1), and neither does an expected "
                "shortfall; give the severity a limit, or use quantiles"
            )
        places = min(math.floor(retention / self.step * (1 + 1e-14)), self.probabilities.size)
        kept = self.step * float(self._survival[:places].sum()) + (retention - places * self.step) * float(
            self._survival[min(places, self.probabilities.size - 1)]
        )
        return max(self.mean - kept, 0.0)

    @property
    def _end(self) -> float:
        return self.step * (self.probabilities.size - 1)


def discretise(
    severity: Severity, step: float, n_points: int, *, retention: float = 0.0, limit: float = math.inf
) -> DiscreteSeverity:
    """The pay-out `min((X - retention)+, limit)` on a grid, its mean and that of every layer between grid points kept.

    Local moment matching: `f_0 = 1 - L(0, h)/h`, `f_k = (L((k-1)h, kh) - L(kh, (k+1)h)) / h`, `L(a, b)` the mean of
    a layer. Source: Gerber 1982; Klugman, Panjer, Willmot, Loss Models, 9.6.5.
    """
    positive("step", step)
    if n_points < 2:
        raise ModelError(f"a grid needs at least 2 points, got {n_points}")
    edges = retention + np.minimum(step * np.arange(n_points + 1), limit)
    layers = np.array([severity.layer_mean(a, b) for a, b in pairwise(edges)]) / step
    masses = -np.diff(layers, prepend=1.0)
    whole = severity.has_mean_ or math.isfinite(retention + limit)
    mean = severity.layer_mean(retention, retention + limit) if whole else math.inf
    return DiscreteSeverity(float(step), np.clip(masses, 0.0, None), mean)


def compound(
    count: Count,
    severity: Severity,
    *,
    n_points: int = 4096,
    beyond: float = 1e-6,
    retention: float = 0.0,
    limit: float = math.inf,
) -> AggregateLoss:
    """Law of the total on a grid found for it: its steps are doubled until at most `beyond` lies above it.

    The fast way to a member's stand-alone risk, in any unit. Where a heavy tail makes the steps longer than a fourth of
    the mean a ModelError says how many points it takes. `error` is that of the transform; a quantile may be off by a
    step besides.

    >>> from calibrate.models.severity import LogNormal
    >>> total = compound(PoissonCount(3.0), LogNormal().fit([1.0, 2.0, 4.0]))
    >>> round(total.expected_shortfall(0.99), 1)
    24.2
    """
    if not 0 < beyond < 1:
        raise ModelError(f"beyond must lie strictly between 0 and 1, got {beyond}")
    one = min(max(float(severity.isf(min(beyond / count.mean, 0.5))) - retention, 0.0), limit)
    guess = max(one, count.mean * severity.layer_mean(retention, retention + one)) / n_points
    step = guess / 4 if guess > 0 else 1.0  # in other units the same grid
    while True:
        total = compound_by_transform(count, discretise(severity, step, n_points, retention=retention, limit=limit))
        if total.beyond <= beyond:
            break
        step *= 2
    mean = total.mean / min(count.mean, 1.0)  # of the total, or of one loss where there is seldom any
    if step > COARSE * mean:
        enough = n_points * 2 ** math.ceil(math.log2(step / (COARSE * mean)))
        raise ModelError(
            f"the tail is so long that steps of a grid of {n_points:,} points, {step:g}, are no longer small beside "
            f"the mean of {mean:g}: quantiles would be wrong; take {enough:,} points, a larger beyond, or a limit"
        )
    return total


def compound_by_transform(count: Count, severity: DiscreteSeverity) -> AggregateLoss:
    """Law of the total by fast Fourier transform, exponentially tilted against wrapping around.

    `g = e^(t k) F^-1[ P_N( F[f e^(-t k)] ) ]`, `t n = 18`. Losses that wrap around the end of the grid of `n` points
    are damped by `e^-18` each time: the error of a probability is at most `e^-18 P(S beyond)` and rounding. ModelError
    where probabilities sum to more than such errors explain: the generating function has fewer digits than it takes.
    Source: Grubel and Hermesmeier 1999; Embrechts and Frei 2009.

    >>> from calibrate.models.severity import Gamma
    >>> size = Gamma().fit(np.random.default_rng(0).gamma(2.0, 1.0, 1000))
    >>> total = compound_by_transform(PoissonCount(10.0), discretise(size, 0.125, 1024))
    >>> bool(abs(total.mean - 10 * size.mean()) < 1e-12)
    True
    """
    n = severity.masses.size
    tilt = np.exp(-TILT / n * np.arange(n))
    transform = np.fft.rfft(severity.masses * tilt)
    exponent = count.log_generating_function(transform)
    total = np.exp(exponent)
    tilted = np.fft.irfft(total, n)
    probabilities = np.clip(tilted / tilt, 0.0, 1.0)
    relative = float(np.mean((math.log2(n) + np.abs(exponent)) * np.abs(total)))
    rounding = 4 * float(np.finfo(np.float64).eps) * relative * math.exp(TILT)
    found = float(probabilities.sum())
    error = math.exp(-TILT) * max(1.0 - found, 0.0) / (1 - math.exp(-TILT)) + rounding
    if found > 1 + n * error + SURPLUS:
        raise ModelError(
            f"the probabilities of the total sum to {found:.6g}: log_generating_function of {count} is too coarse for "
            "the transform, which needs all of its digits; use compound_by_recursion"
        )
    return AggregateLoss(severity.step, probabilities, count.mean * severity.mean, error)


def compound_by_recursion(count: Count, severity: DiscreteSeverity) -> AggregateLoss:
    """Law of the total by Panjer's recursion: every probability exact to rounding, in time `n^2`.

    `g_k = sum_j (a + b j/k) f_j g_(k-j) / (1 - a f_0)`, `g_0 = P_N(f_0)`. Source: Panjer 1981.
    """
    masses, (a, b) = severity.masses, count.recursion
    n = masses.size
    start = float(count.log_generating_function(np.array([masses[0]], dtype=complex))[0].real)
    if start < -700 or n > LARGEST_RECURSION:
        raise ModelError(
            f"the recursion cannot start (log probability of no loss {start:.0f}, least -700) or would take too long "
            f"({n} points, most {LARGEST_RECURSION}); use compound_by_transform"
        )
    total = np.zeros(n)
    total[0] = math.exp(start)
    backwards = masses[::-1]
    counted = (np.arange(n) * masses)[::-1]
    for k in range(1, n):
        earlier, place = total[:k], n - 1 - k
        plain, weighted = backwards[place : n - 1] @ earlier, counted[place : n - 1] @ earlier
        total[k] = (a * plain + b / k * weighted) / (1 - a * masses[0])
    return AggregateLoss(severity.step, total, count.mean * severity.mean, n * float(np.finfo(np.float64).eps))
