"""What a model said before and what then happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate.errors import DataError
from calibrate.labels import of_rows

__all__ = ["Forecasts"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Losses of periods beside the value at risk and expected shortfall that were forecast for them, money.

    Parameters
    ----------
    losses, var, expected_shortfall : one value a period; `expected_shortfall >= var >= 0`, `expected_shortfall > 0`.
        Where they have labels (Series), they are put in the order of the first one's.
    level : of both forecasts, e.g. 0.99.
    draws : (periods, draws) losses from the forecast law of each period, if the model can give them: with them every
        p-value is that of the model itself, point masses included; without them only exceedances can be tested.
    periods : labels; numbered if not given.
    notes : sentences on what was left out.

    Raises DataError naming period and number.

    >>> Forecasts(np.array([1.0, 5.0]), np.array([2.0, 2.0]), np.array([3.0, 3.0]), 0.95).exceedances.tolist()
    [False, True]
    """

    losses: Floats
    var: Floats
    expected_shortfall: Floats
    level: float
    draws: Floats | None = None
    periods: pd.Index | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the one way to fill a frozen object
        if not 0 < self.level < 1:
            raise DataError(f"the level of the forecasts must lie strictly between 0 and 1, got {self.level}")
        names = "losses", "var", "expected_shortfall", "draws"
        given = _together({name: getattr(self, name) for name in names})
        for name in names[:3]:
            set_field(self, name, np.array(given[name], dtype=np.float64))
        n = self.losses.size
        labels = pd.RangeIndex(n, name="period") if self.periods is None else pd.Index(self.periods)
        set_field(self, "periods", labels)
        if self.draws is not None:
            set_field(self, "draws", np.asarray(given["draws"], dtype=np.float64))
        shapes = {name: np.shape(getattr(self, name)) for name in names[:3]}
        drawn = None if self.draws is None else self.draws.shape[0]
        if not n or set(shapes.values()) != {(n,)} or len(labels) != n or drawn not in (None, n):
            raise DataError(
                f"forecasts need one value a period, at least one period; got shapes {shapes}, {drawn} rows of draws"
            )
        _check(self)

    @classmethod
    def from_draws(
        cls, losses: npt.ArrayLike, draws: npt.ArrayLike, level: float, periods: pd.Index | None = None
    ) -> Forecasts:
        """Forecasts that a model makes by simulation: VaR and ES of each row of draws.

        Take many: beyond a VaR from 500 draws a right model's losses lie 4 % more often than its own draws.
        """
        if np.ndim(draws) != 2 or not np.size(draws):
            raise DataError(f"draws have shape {np.shape(draws)}, expected a row of draws for each loss")
        drawn = np.asarray(_together({"losses": losses, "draws": draws})["draws"], dtype=np.float64)
        ordered = np.sort(drawn, axis=1)
        n = ordered.shape[1]
        place = min(int(np.ceil(n * level * (1 - 1e-12))) - 1, n - 1)
        var = ordered[:, place]
        excess = np.clip(ordered - var[:, None], 0.0, None).mean(axis=1) / (1.0 - level)
        return cls(np.asarray(losses, dtype=np.float64), var, var + excess, level, drawn, periods)

    @property
    def exceedances(self) -> npt.NDArray[np.bool_]:
        """True where the loss exceeded the VaR."""
        return np.asarray(self.losses > self.var)

    @property
    def expected_exceedances(self) -> float:
        """Number of exceedances that a right model expects."""
        return self.losses.size * (1.0 - self.level)

    def to_frame(self) -> pd.DataFrame:
        """One period a row: what a plot shows."""
        columns = {"loss": self.losses, "var": self.var, "expected_shortfall": self.expected_shortfall}
        return pd.DataFrame({**columns, "exceeded": self.exceedances}, index=self.periods)


def _together(given: dict[str, Any]) -> dict[str, Any]:
    """What has labels in the order of the first that has; DataError where labels differ."""
    told = (one for one in given.values() if isinstance(one, pd.Series | pd.DataFrame))
    first = next((pd.DataFrame(index=one.index) for one in told if not isinstance(one.index, pd.RangeIndex)), None)
    return {name: of_rows(one, first, name, "others") for name, one in given.items()}


def _check(forecasts: Forecasts) -> None:
    labels = list(range(forecasts.losses.size)) if forecasts.periods is None else list(forecasts.periods)
    es, var = forecasts.expected_shortfall, forecasts.var
    faults = (
        (~(np.isfinite(forecasts.losses) & (forecasts.losses >= 0)), forecasts.losses, "loss", "a finite amount >= 0"),
        (~(np.isfinite(var) & (var >= 0)), var, "VaR", "a finite amount >= 0"),
        (
            ~(np.isfinite(es) & (es > 0)),
            es,
            "expected shortfall",
            "a finite amount > 0 (a model that forecasts no risk)",
        ),
        (es < var * (1 - 1e-9), es, "expected shortfall", "no less than the VaR"),
    )
    problems = [
        f"period {labels[row]}: {what} is {values[row]:g}, expected {expected}"
        for wrong, values, what, expected in faults
        for row in np.flatnonzero(wrong)[:10]
    ]
    if forecasts.draws is not None and not np.isfinite(forecasts.draws).all():
        row = int(np.argwhere(~np.isfinite(forecasts.draws))[0, 0])
        problems.append(f"period {labels[row]}: a draw is not finite")
    if problems:
        raise DataError(problems)
