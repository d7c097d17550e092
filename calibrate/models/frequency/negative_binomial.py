"""Negative binomial counts: events that come in clusters."""

from __future__ import annotations

from calibrate.models.arrays import Floats
from calibrate.models.frequency.base import Frequency
from calibrate.models.frequency.likelihood import size

__all__ = ["NegativeBinomial"]


class NegativeBinomial(Frequency):
    """Clustered events: Poisson with mean `m = rate * exposure` times a gamma shock of each column's own, of mean 1.

    `variance = m + m^2 / size`, by maximum likelihood; `size_` is infinite (Poisson) where the counts scatter no more
    than independent events. Source: Klugman, Panjer, Willmot, Loss Models, 6.3; Cameron and Trivedi 2013 (NB2).

    >>> model = NegativeBinomial().fit([0, 0, 9, 0, 1, 0, 7, 0])
    >>> float(model.rate_[0]), bool(model.variance()[0] > 10)
    (2.125, True)
    """

    def _together(self, table: Floats) -> Floats:
        return table

    def _size(self, counts: Floats, means: Floats, weights: Floats) -> float:
        return size(counts, means, weights)
