"""The law of each (member, segment) column alone: what is lost in a period, given that something is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import pandas as pd

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats
from calibrate.models.ratio import Ratio
from calibrate.models.severity import Severity

__all__ = ["DrawnMargins", "InvertibleMargins", "Margins", "RatioMargins", "SeverityMargins"]


class Margins(ABC):
    """Fitted laws of all columns; the dependence says when each of them loses and in which order of size."""

    @abstractmethod
    def zero_probability(self, exposures: Floats) -> Floats:
        """Probability of a period without loss, by column."""

    @abstractmethod
    def events_per_period(self, exposures: Floats) -> float:
        """Single draws that a period costs, for all columns together."""

    @abstractmethod
    def summary(self, exposures: Floats, columns: pd.Index) -> pd.DataFrame:
        """What was fitted, by column; `expected_loss` in closed form, money a period at `exposures`."""


class DrawnMargins(Margins):
    """Margins of which losses can be drawn, but whose quantiles have no formula: sums; the largest term has one."""

    @abstractmethod
    def draw(self, exceeded: Floats, column: np.ndarray, exposures: Floats, rng: np.random.Generator) -> Floats:
        """Losses of these columns, given the chances with which the largest event of a period exceeds theirs."""


class InvertibleMargins(Margins):
    """Margins with quantiles."""

    @abstractmethod
    def exceeded(self, chance: Floats, exposures: Floats, column: int) -> Floats:
        """The loss of one column that is exceeded with probability `chance`, given that there is one."""


class SeverityMargins(InvertibleMargins):
    """Known laws: column j loses `exposure X`, `X` of the law `laws[j]`, with probability `1 - zeros[j]`, else nothing.

    >>> from calibrate.models.severity import LogNormal
    >>> law = LogNormal().fit([1.0, 2.0, 4.0])
    >>> SeverityMargins([law], np.array([0.9])).exceeded(np.array([0.5]), np.array([10.0]), 0).round(9)
    array([20.])
    """

    def __init__(self, laws: Sequence[Severity], zeros: Floats) -> None:
        self.laws = list(laws)
        self.zeros = np.asarray(zeros, dtype=np.float64)
        if self.zeros.shape != (len(self.laws),) or not ((self.zeros >= 0) & (self.zeros <= 1)).all():
            raise ModelError(
                f"zeros has shape {self.zeros.shape}, expected ({len(self.laws)},): one probability of no loss a law"
            )

    def zero_probability(self, exposures: Floats) -> Floats:
        """As given; 1 without exposure."""
        return np.where(exposures > 0, self.zeros, 1.0)

    def exceeded(self, chance: Floats, exposures: Floats, column: int) -> Floats:
        """Exposure times the law's quantile."""
        return np.asarray(exposures[column] * self.laws[column].isf(chance), dtype=np.float64)

    def events_per_period(self, exposures: Floats) -> float:
        """One draw for each loss."""
        return float((1 - self.zero_probability(exposures)).sum())

    def summary(self, exposures: Floats, columns: pd.Index) -> pd.DataFrame:
        """Exposure, law, zero share, expected loss."""
        none = self.zero_probability(exposures)
        means = [law.mean() for law in self.laws]
        names = [type(law).__name__ for law in self.laws]
        expected = exposures * (1 - none) * means
        table = {"exposure": exposures, "severity": names, "zero_probability": none, "expected_loss": expected}
        return pd.DataFrame(table, index=columns)


class RatioMargins(InvertibleMargins):
    """Losses of a panel: exposure times ratio, times the column's level ahead over that of the whole history."""

    def __init__(self, ratio: Ratio, observed: Floats, level: Floats) -> None:
        self.ratio = ratio
        self.observed = observed
        self.level = level
        self._at: dict[bytes, Ratio] = {}

    def zero_probability(self, exposures: Floats) -> Floats:
        """As the ratio model says."""
        return self.ratio.zero_probability(exposures)

    def exceeded(self, chance: Floats, exposures: Floats, column: int) -> Floats:
        """Exposure times the ratio's quantile, at the level ahead."""
        key = exposures.tobytes()
        if key not in self._at:  # all columns at once, not each of them in every block
            self._at[key] = self.ratio.at(exposures)
        return np.asarray(self.level[column] * exposures[column] * self._at[key].exceeded(chance, column))

    def events_per_period(self, exposures: Floats) -> float:
        """One draw a column."""
        return float(exposures.size)

    def summary(self, exposures: Floats, columns: pd.Index) -> pd.DataFrame:
        """Exposure, observed and expected ratio, log moments, credibility, zero share, expected loss.

        The observed ratio and the log moments are those of the whole history; what is expected is at the level ahead.
        """
        ratio = self.ratio
        return pd.DataFrame(
            {
                "exposure": exposures,
                "observed_ratio": self.observed,
                "expected_ratio": self.level * ratio.mean(),
                "log_mean": ratio.log_mean_,
                "log_deviation": ratio.log_deviation_,
                "credibility": ratio.credibility_,
                "pool_level": self.level,
                "zero_probability": self.zero_probability(exposures),
                "expected_loss": self.level * ratio.mean(exposures),
            },
            index=columns,
        )
