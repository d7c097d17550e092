"""Counts of all members from a self-exciting process, forecast from where the history ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats, broadcast
from calibrate.models.frequency.baseline import Baseline
from calibrate.models.frequency.hawkes import LARGEST, Hawkes
from calibrate.models.frequency.model import Order, counted
from calibrate.models.frequency.reexposed import Reexposed
from calibrate.models.frequency.shared_shock import SharedShock

__all__ = ["Calendar", "SelfExciting"]

DOUBTFUL = 0.05  # p-value of time rescaling


@dataclass(frozen=True, repr=False)
class Calendar:
    """Days of events since the start of the first period, edges of the periods in days, and the last period."""

    days: Floats
    edges: Floats
    last: pd.Period

    @classmethod
    def of(cls, periods: pd.PeriodIndex, dates: pd.Series[pd.Timestamp]) -> Calendar:
        """Of the periods and of the dates of events."""
        first, day = periods[0].start_time, pd.Timedelta(days=1)
        edges = [0.0, *((period.end_time.ceil("D") - first) / day for period in periods)]
        days = np.asarray((dates.dt.tz_localize(None) - first) / day, dtype=np.float64)
        return cls(days, np.array(edges), periods[-1])

    @property
    def periods(self) -> pd.PeriodIndex:
        """All periods, from the first to the last."""
        return pd.period_range(end=self.last, periods=self.edges.size - 1)

    def ahead(self, periods: int) -> float:
        """Days of so many periods after the last."""
        return float(((self.last + periods).end_time - self.last.end_time) / pd.Timedelta(days=1))

    def where(self, keep: npt.NDArray[np.bool_]) -> Calendar:
        """With the events of these places only."""
        return replace(self, days=self.days[keep])


class SelfExciting(Reexposed):
    """Events of all columns together as a Hawkes process at a base rate that follows exposure; who is hit by the rates.

    Rates and credibility of the columns are those of `SharedShock`. An event excites all columns by their rates.
    Scenarios are drawn from the process; mean and variance of a period's count are closed forms, and where a law of one
    count is asked for (`ppf`, `zero_probability`) it is the negative binomial one with these moments.

    Parameters
    ----------
    process : the process to fit, `Hawkes(resolution=1.0)` for dates.
    calendar : days of the events of the counts, and of the periods.

    Fitted: `process_`, `base_` (with rates, and size one period ahead); `log_likelihood_` is that of the event times,
    not to be compared with that of counts.
    """

    process_: Hawkes

    def __init__(self, process: Hawkes, calendar: Calendar) -> None:
        self.process = process
        self.calendar = calendar

    def fit(self, X: Any, y: object = None, sample_weight: Any = None, *, exposure: Any = None) -> Self:
        """Fit to counts `X` (periods in the order of time, columns) and the calendar; `y` is ignored."""
        counts, exposures, _ = counted(self, X, None, exposure)
        if sample_weight is not None:
            raise ModelError("SelfExciting: events of a process have no weights by period; leave out sample_weight")
        self.base_ = SharedShock().fit(counts, exposure=exposures)
        level = self.base_.means_.sum(axis=1)
        edges = self.calendar.edges
        self._unit = float(level @ np.diff(edges) / edges[-1])
        self.process_ = self.process.fit(
            self.calendar.days, start=0.0, end=edges[-1], exposure=Baseline.of(edges, level)
        )
        self._now, days = exposures[-1], self.calendar.ahead(1)
        level_now = self._level(self._now)
        mean, variance = self.process_.mean_count(days, level_now), self.process_.count_variance(days, level_now)
        self.base_.size_ = mean**2 / (variance - mean) if variance > mean * (1 + 1e-9) else math.inf
        self.base_.log_likelihood_ = self.process_.log_likelihood_
        return self

    def totals(self, n: int, exposure: Any, periods: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Events of all columns in the next `periods`, in `n` scenarios; none without exposure."""
        level = self._level(exposure)
        if level == 0:
            return np.zeros(n, dtype=np.int64)
        return self.process_.sample_counts(n, self.calendar.ahead(periods), rng, level)

    def shares(self, exposure: Any) -> Floats:
        """Chance of each column to be the one hit."""
        weights = self.base_.mean(broadcast(exposure, self.n_features_in_))
        return np.asarray(weights / weights.sum())

    def flag(self, segment: str) -> str:
        """What was found, and from where scenarios start."""
        process, a = self.process_, self.process_.branching_ratio_
        start = f"scenarios start at the end of {self.calendar.last}, at {process.intensity_:.3g} events a day"
        if a == 0:
            return f"segment {segment!r}: no event brings others, they come at the base rate; {start}"
        steady = process.base_rate_ * self._level(self._now) / (1 - a)
        brings = f"an event brings {a:.2f} more, {1 / process.decay_:.3g} days later in the mean"
        edge = "; the likelihood would have it at 1: events become ever more, as of a trend or of exposures not given"
        brings += edge * (a >= LARGEST * (1 - 1e-9))
        doubt = f"; time rescaling rejects this (p-value {process.goodness_of_fit_:.2g})"
        against = f", {process.intensity_ / steady:.2f} times what it is in the long run" if steady > 0 else ""
        return f"segment {segment!r}: {brings}; {start}{against}" + doubt * (process.goodness_of_fit_ < DOUBTFUL)

    @property
    def order(self) -> Order:
        """Which periods follow each other, and which is the last."""
        return Order.NEIGHBOURS

    def _level(self, exposure: Any) -> float:
        """Level of the base rate, one in the mean of the history."""
        return float(self.base_.mean(broadcast(exposure, self.n_features_in_)).sum()) / self._unit

    def _ahead(self, exposure: Any) -> Floats:
        exposures = broadcast(exposure, self.n_features_in_)
        level = self._level(exposures)
        if level == 0:
            return exposures
        return exposures * (self.process_.mean_count(self.calendar.ahead(1), level) / (level * self._unit))
