"""A rate that follows exposure: constant within each period, one in the mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibrate.errors import DataError

__all__ = ["Baseline"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """Level of a rate by period: `levels[k] >= 0` from `edges[k]` to `edges[k + 1]`, in the unit of the event times.

    >>> Baseline.of([0.0, 10.0, 20.0], [1.0, 3.0]).levels.tolist()
    [0.5, 1.5]
    """

    edges: Floats
    levels: Floats

    @classmethod
    def of(cls, edges: npt.ArrayLike, levels: npt.ArrayLike) -> Baseline:
        """Checked, and divided by the mean over time. DataError for edges that do not rise, or no level above zero."""
        at, high = np.asarray(edges, dtype=np.float64), np.asarray(levels, dtype=np.float64)
        if at.ndim != 1 or high.shape != (at.size - 1,) or not (np.diff(at) > 0).all():
            raise DataError(f"{at.size} edges of periods must rise, and bound {at.size - 1} levels, got {high.size}")
        if not (np.isfinite(high) & (high >= 0)).all() or not high.any():
            raise DataError("levels of exposure must be finite numbers >= 0, at least one of them above zero")
        return cls(at, high / (high @ np.diff(at) / (at[-1] - at[0])))

    @classmethod
    def flat(cls, horizon: float) -> Baseline:
        """One, from 0 to `horizon`."""
        return cls(np.array([0.0, horizon]), np.ones(1))

    def scaled(self, unit: float) -> Baseline:
        """The same in multiples of `unit`."""
        return Baseline(self.edges / unit, self.levels)

    def at(self, times: Floats) -> Floats:
        """Level at each time; that of the nearest period outside."""
        place = np.searchsorted(self.edges, times, side="right") - 1
        return np.asarray(self.levels[place.clip(0, self.levels.size - 1)])

    def until(self, times: Floats) -> Floats:
        """Integral of the level from 0 to each time."""
        sums = np.concatenate([[0.0], np.cumsum(self.levels * np.diff(self.edges))])
        return np.asarray(np.interp(times, self.edges, sums))
