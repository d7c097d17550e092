"""Rules that choose the threshold above which the tail begins."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from sklearn.base import BaseEstimator

from calibrate.errors import ModelError
from calibrate.models.severity.observation import Sample

__all__ = ["QuantileThreshold", "ThresholdRule"]


class ThresholdRule(BaseEstimator):  # type: ignore[misc]
    """Chooses a threshold from a sample, in the unit of the losses."""

    @abstractmethod
    def choose(self, sample: Sample) -> float:
        """The threshold: losses strictly above it make the tail."""


class QuantileThreshold(ThresholdRule):
    """The loss at a quantile: the `level` order statistic, so that a share `1 - level` of the weight lies above.

    >>> from calibrate.models.severity.generalized_pareto import GeneralizedPareto
    >>> x = np.arange(1.0, 101.0)
    >>> GeneralizedPareto(QuantileThreshold(0.8)).fit(x).threshold_
    80.0
    """

    def __init__(self, level: float = 0.9) -> None:
        self.level = level

    def choose(self, sample: Sample) -> float:
        """The smallest loss with at least `level` of the weight at or below it."""
        if not 0 < self.level < 1:
            raise ModelError(f"QuantileThreshold: level must lie strictly between 0 and 1, got {self.level}")
        order = np.argsort(sample.losses, kind="stable")
        cumulated = np.cumsum(sample.weights[order]) / sample.weight
        place = int(np.searchsorted(cumulated, self.level * (1 - 1e-12)))
        return float(sample.losses[order][min(place, order.size - 1)])
