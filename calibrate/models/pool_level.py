"""Where the loss ratio of the whole pool stands in the periods ahead: a factor that all members share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.stats import chi2
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from calibrate.models.arrays import Floats, exposure_table, nonnegative, table

__all__ = ["KnownLevel", "LocalLevel", "PoolLevel"]

CREDIBILITIES = (np.arange(20) + 0.5) / 20  # of the latest period, in the long run; each as likely before the data
NODES = 32  # equally likely variances, by quantiles: with 5 periods the 99 % quantile of the t law is met to 2 %
FREEDOM = 3  # fewest degrees of freedom of a variance: a t law has one from there on
WIDEST = 4.0  # variance of a factor's log: the mean of a lognormal of more is not seen in a sample


class PoolLevel(BaseEstimator, ABC):  # type: ignore[misc]
    """A factor `W[h]` on the losses of all members, `h` periods after the last. Mean `level_`, whatever `h`.

    Fitted: `level_`, over the level of the whole history; 1 where nothing else is known; `path_`, log of the level
    period by period, as all of them tell it, less its mean.
    """

    level_: float
    path_: Floats

    @abstractmethod
    def _fit(self, logs: Floats, whole: float) -> None:
        """From log-ratios by period, NaN where there was no loss or none was to be expected, and that of all of them.

        All in all: the log of the sum of the losses over the sum of what was to be expected.
        """

    @abstractmethod
    def factors(self, n: int, periods: int, held: float, rng: np.random.Generator) -> Iterator[Floats]:
        """`W[h] / level_` of `n` scenarios, (n,), period after period.

        `held` is the variance that the log of the pool's loss in one period has without the factor, rare zeros apart.
        """

    @property
    @abstractmethod
    def outlook(self) -> str:
        """What scenarios do about a level that wanders, in a sentence."""

    @property
    @abstractmethod
    def knowledge(self) -> str:
        """How well they know the level where periods are few, in a sentence."""

    def fit(self, X: Any, y: object = None, *, exposure: Any = None) -> Self:
        """Fit to the pool's losses `X` by period, in the order of time; `exposure` is what was to be expected (or 1).

        Raises DataError for what is no loss or exposure.
        """
        losses = nonnegative(table(self, X), "a loss").sum(axis=1)
        rows = X.iloc[:, 0] if isinstance(X, pd.DataFrame) else X
        expected = exposure_table(exposure, (losses.size, 1), rows)[:, 0]
        known = (losses > 0) & (expected > 0)
        logs = np.full(losses.size, np.nan)
        logs[known] = np.log(losses[known]) - np.log(expected[known])
        self._fit(logs, float(np.log(losses[known].sum()) - np.log(expected[known].sum())) if known.any() else 0.0)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


class KnownLevel(PoolLevel):
    """The level of the whole history, for certain.

    >>> KnownLevel().fit([70.0, 80.0, 120.0], exposure=[100.0, 100.0, 100.0]).level_
    1.0
    """

    def _fit(self, logs: Floats, whole: float) -> None:
        self.level_, self.path_ = 1.0, np.zeros(logs.size)

    def factors(self, n: int, periods: int, held: float, rng: np.random.Generator) -> Iterator[Floats]:
        """Ones."""
        return (np.ones(n) for _ in range(periods))

    @property
    def outlook(self) -> str:
        """Nothing."""
        return (
            "Scenarios draw every period anew around the whole history: the next one may lie outside their intervals "
            "more often than they say; leave KnownLevel out, or bring losses to today's level first"
        )

    @property
    def knowledge(self) -> str:
        """For certain."""
        return (
            "So it takes the level of the pool: of six lines of insurers with 5 to 9 years, the pool's next year lay "
            "outside the 90 % interval 9 times of 30; leave KnownLevel out"
        )


class LocalLevel(PoolLevel):
    """A level that wanders, known as far as the history tells: evolutionary credibility.

    `x[t] = m[t] + e[t]`, `m[t+1] = m[t] + u[t]`, `Var e = s^2`, `Var u = q s^2`; `x` the log of the pool's loss over
    what was to be expected. By Kalman's filter from a level of which nothing is known, `m += k (x - m)`,
    `k = (P + q)/(P + q + 1)`, `P = k`: exponential smoothing, the level's variance is `P s^2`. For a given `q`, with
    the usual prior `1/s^2`, the next `x` is a Student t around `m`, of scale `s^2 (P + q + 1)` and n - 1 degrees of
    freedom; with `q = 0` that is the textbook's interval around the mean. `q = k^2/(1 - k)`, where `k` is the
    credibility of the latest period in the long run, any of them as likely as another before the data; each is
    weighted by its likelihood, with `m` and `s` integrated out.

    The t law is drawn as a normal one at 32 equally likely `s^2` (a log t has no mean; this has). What the scenarios
    scatter anyway (`held`) is taken off, so that the pool's loss one period ahead has the variance of the law above,
    or `held` where that is more. Given `q` and `s` the factor has the mean `exp(m - mean of x)`: what is uncertain
    about the level raises the tail and not the expected loss (Heckman and Meyers 1983). That mean is held between the
    lowest and the highest of the periods' ratios over that of all: one extreme loss must not count as scatter and as
    level. A period in which the whole pool lost nothing tells nothing of the level.
    Source: Gerber and Jones 1975 (credibility of this form); Harvey 1989, chapters 2 to 4 (the filter); West and
    Harrison 1997, chapters 2 and 4 (Student t forecasts).

    Parameters
    ----------
    still : chance, before the data, that the level stands still (that of the lowest credibility), over its equal share.

    Fitted, by credibility in the long run: `chances_`, `log_levels_` (less the mean of x), `errors_` (`P`), `drifts_`
    (`q`), `variances_` (`s^2`); `scales_` (what these are times, equally likely), `credibility_` (their mean), `logs_`
    (x by period less its mean, NaN where nothing was lost).

    >>> model = LocalLevel().fit([60.0, 62.0, 61.0, 80.0, 82.0, 84.0], exposure=np.full(6, 100.0))
    >>> round(model.level_, 2), round(model.credibility_, 2)
    (1.15, 0.7)
    """

    logs_: Floats
    chances_: Floats
    log_levels_: Floats
    errors_: Floats
    drifts_: Floats
    variances_: Floats
    scales_: Floats
    credibility_: float

    def __init__(self, still: float = 0.0) -> None:
        self.still = still

    def _fit(self, logs: Floats, whole: float) -> None:
        known = logs[~np.isnan(logs)]
        freedom = max(known.size - 1, 1)
        self.drifts_ = CREDIBILITIES**2 / (1 - CREDIBILITIES)
        found = [_filtered(logs, drift) for drift in self.drifts_]
        levels, self.errors_, squares, log_errors = np.array([numbers for numbers, _ in found]).T
        mean = known.mean() if known.size else 0.0
        self.logs_ = logs - mean
        moves = bool((squares > 1e-24 * (1 + mean**2)).all())  # else rounding of a constant ratio
        seen = known - whole if moves else np.zeros(1)
        self.log_levels_ = np.clip(levels - mean, seen.min(), seen.max())
        self.variances_ = squares / freedom if moves else np.zeros_like(squares)
        heights = -0.5 * log_errors - 0.5 * freedom * np.log(squares) if moves else np.zeros_like(squares)
        prior = np.full(CREDIBILITIES.size, 1 - self.still)
        prior[0] += CREDIBILITIES.size * self.still
        likelihood = prior * np.exp(heights - heights.max())
        self.chances_ = likelihood / likelihood.sum()
        self.credibility_ = float(self.chances_ @ CREDIBILITIES) if moves else 0.0
        self.level_ = float(self.chances_ @ np.exp(self.log_levels_)) if moves else 1.0
        path = self.chances_ @ np.array([smoothed for _, smoothed in found])
        self.path_ = path - path[~np.isnan(logs)].mean() if moves else np.zeros(logs.size)
        freedom = max(freedom, FREEDOM)
        self.scales_ = freedom / chi2.ppf((np.arange(NODES) + 0.5) / NODES, freedom)

    def factors(self, n: int, periods: int, held: float, rng: np.random.Generator) -> Iterator[Floats]:
        """A state of knowledge for each scenario, then the level's path."""
        check_is_fitted(self)
        cell = np.searchsorted(np.cumsum(self.chances_)[:-1], rng.random(n), side="right")
        noise = self.variances_[cell] * self.scales_[rng.integers(NODES, size=n)]
        error, drift = noise * self.errors_[cell], noise * self.drifts_[cell]
        excess = np.maximum(noise - held, 0.0)
        # scenarios that scatter too much already: the mean over all periods gets the variance that it should have
        path = error + drift * (periods + 1) * (2 * periods + 1) / (6 * periods)
        kept = np.maximum(1 - np.maximum(held - noise, 0.0) / periods / np.where(path > 0, path, np.inf), 0.0)
        error, drift = kept * error, kept * drift
        narrowed = WIDEST / np.maximum(error + periods * drift + excess, WIDEST)
        error, drift, excess = narrowed * error, narrowed * drift, narrowed * excess
        start = self.log_levels_[cell] - np.log(self.level_)
        walk = np.sqrt(error) * rng.standard_normal(n)
        for h in range(1, periods + 1):
            walk += np.sqrt(drift) * rng.standard_normal(n)
            around = np.sqrt(excess) * rng.standard_normal(n)
            yield np.exp(start + walk + around - (error + h * drift + excess) / 2)

    @property
    def outlook(self) -> str:
        """Where they set out from."""
        return (
            f"Scenarios set out from {self.level_:.3g} times the level of the whole history and let it wander on (a "
            f"new period counts for {self.credibility_:.0%} of it); they do not continue a rise or a fall: if one is "
            "sure to go on, bring losses to the level ahead first"
        )

    @property
    def knowledge(self) -> str:
        """As far as the periods tell."""
        return (
            f"The level of the pool, {self.level_:.3g} times that of the whole history, and its scatter are known only "
            "as far as the periods tell, and scenarios scatter the more: of six lines of insurers with 5 to 9 years, "
            "the pool's next year lay outside the 90 % interval once in 30 (9 times with the level taken as known)"
        )


def _filtered(logs: Floats, drift: float) -> tuple[tuple[float, float, float, float], Floats]:
    """Level and its variance after the last period, sum of squared errors of forecasts over their variances, log of
    the product of those; variances over that of the noise. A period without a ratio only lets the level wander.
    And the level of each period, as all of them tell it (the smoother of Rauch, Tung and Striebel 1965).
    """
    level, error, squares, log_errors, begun = 0.0, 0.0, 0.0, 0.0, False
    levels, kept = np.zeros(logs.size), np.ones(logs.size)  # what of a later period's surprise is said back
    for t, x in enumerate(logs):
        error += drift * begun
        if not np.isnan(x):
            ahead = error + 1
            if begun:
                squares += (x - level) ** 2 / ahead
                log_errors += np.log(ahead)
            credibility = error / ahead if begun else 1.0
            level, error, begun = level + credibility * (x - level), credibility, True
        levels[t], kept[t] = level, error / (error + drift) if begun else 1.0
    for t in range(logs.size - 2, -1, -1):
        levels[t] += kept[t] * (levels[t + 1] - levels[t])
    return (level, error, squares, log_errors), levels
