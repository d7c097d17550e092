"""The number of losses in a period, as the recursion and the transform of a compound law need it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibrate.errors import ModelError

__all__ = ["Count", "NegativeBinomialCount", "PoissonCount", "count_of", "positive"]


class Count(ABC):
    """Law of the number of losses in a period, of Panjer's class: `p_k = (a + b/k) p_(k-1)`."""

    @property
    @abstractmethod
    def mean(self) -> float:
        """Expected number."""

    @property
    @abstractmethod
    def recursion(self) -> tuple[float, float]:
        """`a` and `b`."""

    @abstractmethod
    def log_generating_function(self, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """`log E z^N`, for complex `z` with `abs(z) <= 1`."""


@dataclass(frozen=True)
class PoissonCount(Count):
    """`N ~ Poisson(rate)`: variance equal to the mean."""

    rate: float

    def __post_init__(self) -> None:
        positive("rate", self.rate)

    @property
    def mean(self) -> float:
        """Expected number."""
        return self.rate

    @property
    def recursion(self) -> tuple[float, float]:
        """`a` and `b`."""
        return 0.0, self.rate

    def log_generating_function(self, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """`rate (z - 1)`."""
        return np.asarray(self.rate * (z - 1))


@dataclass(frozen=True)
class NegativeBinomialCount(Count):
    """Mean `rate`, variance `rate (1 + rate / size)`: a Poisson number whose rate is itself gamma with shape `size`."""

    rate: float
    size: float

    def __post_init__(self) -> None:
        positive("rate", self.rate)
        positive("size", self.size)

    @property
    def mean(self) -> float:
        """Expected number."""
        return self.rate

    @property
    def recursion(self) -> tuple[float, float]:
        """`a` and `b`."""
        a = self.rate / (self.rate + self.size)
        return a, (self.size - 1) * a

    def log_generating_function(self, z: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        """`-size log(1 + w)`, `w = rate (1 - z) / size`, with all digits where `w` is tiny: a law nearly Poisson.

        By modulus and angle: the complex `log1p` of numpy loses the real part of a tiny `w`.
        """
        w = self.rate / self.size * (1 - z)
        modulus = np.log1p(2 * w.real + w.real**2 + w.imag**2) / 2
        return np.asarray(-self.size * (modulus + 1j * np.arctan2(w.imag, 1 + w.real)))


def count_of(mean: float, variance: float) -> Count:
    """The law of a number with these moments: Poisson if they are equal, negative binomial if the variance is larger.

    >>> count_of(4.0, 8.0)
    NegativeBinomialCount(rate=4.0, size=4.0)
    """
    if variance < mean * (1 - 1e-9):
        raise ModelError(
            f"a number with mean {mean:g} and a smaller variance {variance:g} is neither Poisson nor mixed Poisson"
        )
    return (
        PoissonCount(mean)
        if variance <= mean * (1 + 1e-9)
        else NegativeBinomialCount(mean, mean**2 / (variance - mean))
    )


def positive(what: str, value: float) -> None:
    """ModelError unless the value is a finite number > 0."""
    if not (math.isfinite(value) and value > 0):
        raise ModelError(f"{what} must be a finite number > 0, got {value}")
