"""A frequency whose exposures are turned into others before it sees them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np

from calibrate.models.arrays import Floats, RandomState
from calibrate.models.frequency.base import Frequency
from calibrate.models.frequency.model import CountModel
from calibrate.models.frequency.posterior import CountPosterior

__all__ = ["Reexposed"]


class Reexposed(CountModel, ABC):
    """What `base_` knows, at exposures that a model of their own has changed."""

    base_: Frequency

    @abstractmethod
    def _ahead(self, exposure: Any) -> Floats:
        """Exposures as `base_` takes them, one period after the last."""

    def posterior(self, counts: Floats, worth: float = 1.0) -> CountPosterior:
        """Of `base_`."""
        return self.base_.posterior(counts, worth)

    def unlike(self, counts: Floats, chances: Floats) -> Floats:
        """Of `base_`."""
        return self.base_.unlike(counts, chances)

    def moved(self, levels: Floats, size: float | None = None) -> Self:
        """The same with rates of `base_` times `levels`, and perhaps another size."""
        other = copy.copy(self)
        other.base_ = self.base_.moved(levels, size)
        return other

    @property
    def credibility_(self) -> Floats:
        """Of `base_`."""
        return self.base_.credibility_

    @property
    def size_(self) -> float:
        """Of `base_`."""
        return self.base_.size_

    @property
    def log_likelihood_(self) -> float:
        """Of `base_`."""
        return self.base_.log_likelihood_

    @property
    def means_(self) -> Floats:
        """Of `base_`."""
        return self.base_.means_

    @property
    def shared(self) -> bool:
        """Of `base_`."""
        return self.base_.shared

    def mean(self, exposure: Any = 1.0) -> Floats:
        """Expected count of each column at `exposure`, one period after the last."""
        return self.base_.mean(self._ahead(exposure))

    def variance(self, exposure: Any = 1.0) -> Floats:
        """Variance of each column's count, one period after the last."""
        return self.base_.variance(self._ahead(exposure))

    def zero_probability(self, exposure: Any = 1.0) -> Floats:
        """Probability of a period without losses, by column."""
        return self.base_.zero_probability(self._ahead(exposure))

    def ppf(self, q: Any, exposure: Any = 1.0) -> Any:
        """Quantile of each column's count."""
        return self.base_.ppf(q, self._ahead(exposure))

    def sample(self, exposure: Any = 1.0, random_state: RandomState = None, n: int = 1) -> Floats:
        """`n` independent counts for each column, shape (n, columns)."""
        return self.base_.sample(self._ahead(exposure), random_state, n)

    def largest(self, exceeded: Floats, mean: Floats | float) -> Floats:
        """Of `base_`."""
        return self.base_.largest(exceeded, mean)

    def others(self, chance: Floats, mean: Floats | float, rng: np.random.Generator) -> Floats:
        """Of `base_`."""
        return self.base_.others(chance, mean, rng)
