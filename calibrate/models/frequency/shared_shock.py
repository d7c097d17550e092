"""Counts of all members that rise and fall together."""

from __future__ import annotations

import numpy as np

from calibrate.models.arrays import Floats
from calibrate.models.frequency.base import Frequency
from calibrate.models.frequency.likelihood import size

__all__ = ["SharedShock"]


class SharedShock(Frequency):
    """Events that hit all columns in the same periods: Poisson with mean `rate * exposure * G`, one `G` a period.

    `G` is gamma of mean 1 and variance `1 / size`; each column is negative binomial, their sum too, and `size` is
    that of the sum (maximum likelihood; infinite where it scatters no more than Poisson). Given the sum, the rates
    decide who is hit. Source: McNeil, Frey, Embrechts, Quantitative Risk Management, 11.2 (mixed Poisson).

    >>> model = SharedShock().fit([[0, 0], [4, 5], [0, 1], [6, 3], [0, 0]])
    >>> bool(model.size_ < 1)
    True
    """

    def _together(self, table: Floats) -> Floats:
        return np.asarray(table.sum(axis=1, keepdims=True))

    def _size(self, counts: Floats, means: Floats, weights: Floats) -> float:
        return size(counts, means, weights)
