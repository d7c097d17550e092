"""The law of each (member, segment) column alone: what is lost in a period, given that something is."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pandas as pd

from calibrate.models.arrays import Floats
from calibrate.models.ratio import Ratio

__all__ = ["Margins", "RatioMargins"]


class Margins(ABC):
    """Fitted laws of all columns; the dependence says when each of them loses and in which order of size."""

    @abstractmethod
    def zero_probability(self, exposures: Floats) -> Floats:
        """Probability of a period without loss, by column."""

    @abstractmethod
    def draw(self, counts: np.ndarray, exposures: Floats, rng: np.random.Generator) -> Floats:
        """Losses given that there is one: `counts[j]` independent draws for each column j, column after column."""

    @abstractmethod
    def events_per_period(self, exposures: Floats) -> float:
        """Single draws that a period costs, for all columns together."""

    @abstractmethod
    def summary(self, exposures: Floats, columns: pd.Index) -> pd.DataFrame:
        """What was fitted, by column; `expected_loss` in closed form, money a period at `exposures`."""


class RatioMargins(Margins):
    """Losses of a panel: exposure times ratio."""

    def __init__(self, ratio: Ratio, observed: Floats) -> None:
        self.ratio = ratio
        self.observed = observed

    def zero_probability(self, exposures: Floats) -> Floats:
        """As the ratio model says."""
        return self.ratio.zero_probability(exposures)

    def draw(self, counts: np.ndarray, exposures: Floats, rng: np.random.Generator) -> Floats:
        """Exposure times the quantile of a uniform draw."""
        uniform = rng.random(int(counts.sum()))
        parts = np.split(uniform, np.cumsum(counts)[:-1])
        drawn = [exposures[j] * self.ratio.positive_quantiles(part, j) for j, part in enumerate(parts)]
        return np.concatenate(drawn)

    def events_per_period(self, exposures: Floats) -> float:
        """One draw a column."""
        return float(exposures.size)

    def summary(self, exposures: Floats, columns: pd.Index) -> pd.DataFrame:
        """Exposure, observed and expected ratio, log moments, credibility, zero share, expected loss."""
        ratio = self.ratio
        return pd.DataFrame(
            {
                "exposure": exposures,
                "observed_ratio": self.observed,
                "expected_ratio": ratio.mean(),
                "log_mean": ratio.log_mean_,
                "log_deviation": ratio.log_deviation_,
                "credibility": ratio.credibility_,
                "zero_probability": self.zero_probability(exposures),
                "expected_loss": ratio.mean(exposures),
            },
            index=columns,
        )
