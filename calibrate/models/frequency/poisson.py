"""Poisson counts: independent events."""

from __future__ import annotations

import math
from typing import ClassVar

from calibrate.models.arrays import Floats
from calibrate.models.frequency.base import Frequency

__all__ = ["Poisson"]


class Poisson(Frequency):
    """Independent events: `P(N = n) = exp(-m) m^n / n!`, `m = rate * exposure`; variance = mean.

    Source: Klugman, Panjer, Willmot, Loss Models, 6.2.

    >>> Poisson().fit([2, 0, 4], exposure=[10.0, 10.0, 20.0]).rate_
    array([0.15])
    """

    shocked: ClassVar[bool] = False

    def _together(self, table: Floats) -> Floats:
        return table

    def _size(self, counts: Floats, means: Floats, weights: Floats) -> float:
        return math.inf
