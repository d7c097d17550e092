"""What the joint model asks of a number of losses, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from calibrate.errors import ModelError
from calibrate.models.arrays import Floats, RandomState, exposure_table, nonnegative, row_counts, table
from calibrate.models.frequency.posterior import CountPosterior

__all__ = ["CountModel", "Open", "Order", "counted", "levels"]


class Order(Enum):
    """What a model reads of the order of the periods: what may be done to it when a history is drawn again."""

    NOTHING = "nothing"
    NEIGHBOURS = "which periods follow each other, and which is the last"
    PLACES = "when each period was"


class CountModel(BaseEstimator, ABC):  # type: ignore[misc]
    """Numbers of losses, periods x columns (members), with exposures.

    Fitted: `credibility_` (by column), `size_`, `means_` (like the counts), `log_likelihood_`.
    """

    n_features_in_: int

    @abstractmethod
    def fit(self, X: Any, y: object = None, sample_weight: Any = None, *, exposure: Any = None) -> Self:
        """Fit to counts `X` (periods, columns) or (periods,); `y` is ignored; `exposure` is 1 if not given.

        `sample_weight`: how often each period is repeated; shares of one are refused.
        """

    @abstractmethod
    def mean(self, exposure: Any = 1.0) -> Floats:
        """Expected count of each column at `exposure` (one number or one for each column)."""

    @abstractmethod
    def variance(self, exposure: Any = 1.0) -> Floats:
        """Variance of each column's count."""

    @abstractmethod
    def zero_probability(self, exposure: Any = 1.0) -> Floats:
        """Probability of a period without losses, by column."""

    @abstractmethod
    def ppf(self, q: Any, exposure: Any = 1.0) -> Any:
        """Quantile of each column's count; `q` broadcasts against the columns."""

    @abstractmethod
    def sample(self, exposure: Any = 1.0, random_state: RandomState = None, n: int = 1) -> Floats:
        """`n` independent counts for each column, shape (n, columns)."""

    @abstractmethod
    def largest(self, exceeded: Floats, mean: Floats | float) -> Floats:
        """Chance that one event exceeds a size which the largest of a period exceeds with probability `exceeded`.

        `mean` is the expected number of events of the column.
        """

    @abstractmethod
    def others(self, chance: Floats, mean: Floats | float, rng: np.random.Generator) -> Floats:
        """Poisson means of further events, drawn, given a largest one that an event exceeds with this `chance`."""

    @property
    @abstractmethod
    def shared(self) -> bool:
        """Whether one shock hits all columns together."""

    @property
    @abstractmethod
    def order(self) -> Order:
        """What it reads of the order of the periods."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


class Open(CountModel, ABC):
    """Numbers of losses whose model says what few counts leave open."""

    @abstractmethod
    def posterior(self, counts: Floats, worth: float = 1.0) -> CountPosterior:
        """Level of the rates and variance of the shock, as the fitted counts tell them."""

    @abstractmethod
    def unlike(self, counts: Floats, chances: Floats) -> Floats:
        """Rates of the columns over the fitted ones, at `chances` (n, columns) of a smaller one; their sum is kept."""

    @abstractmethod
    def moved(self, levels: Floats, size: float | None = None) -> Self:
        """The same with rates times `levels` (of the columns), and perhaps another size."""


def counted(estimator: CountModel, X: Any, sample_weight: Any, exposure: Any) -> tuple[Floats, Floats, Floats]:
    """Counts, exposures and how often each row is repeated, checked. ModelError if nothing was ever counted."""
    counts = nonnegative(table(estimator, X), "a count")
    weights = row_counts(sample_weight, len(counts))
    exposures = exposure_table(exposure, counts.shape, X)
    if not (weights @ counts).any():
        seen = f"no loss was counted in {len(counts)} periods (n_samples = {len(counts)})"
        remedy = "join the segment with another one, or lengthen the history"
        raise ModelError(f"{type(estimator).__name__}: {seen}, so no rate can be told; {remedy}")
    return counts, exposures, weights


def levels(q: Any) -> Floats:
    """Quantile levels, checked."""
    found = np.asarray(q, dtype=np.float64)
    if not np.all((found >= 0) & (found <= 1)):
        raise ModelError("quantile levels must lie in [0, 1]")
    return found
