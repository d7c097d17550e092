"""A price index by period becomes factors that bring money of each period to that of the last entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from calibrate.errors import DataError
from calibrate.intake.periods import entries_of, panel_periods
from calibrate.intake.values import listed, numbers

__all__ = ["to_last_prices"]


def to_last_prices(prices: pd.Series[Any], periods: pd.PeriodIndex, what: str = "prices") -> pd.Series[float]:
    """What money of each period is worth in the money of the last entry, `last / prices[period]`.

    Entries of shorter periods are averaged; one of a longer period holds for all that end in it. Entries after the
    last of the `periods` are welcome. Raises DataError naming the entry or the period.

    >>> by_year = pd.Series({2022: 100.0, 2023: 110.0, 2024: 121.0})
    >>> to_last_prices(by_year, pd.period_range("2022-12", "2023-01", freq="M")).round(4).to_list()
    [1.21, 1.1]
    """
    if not isinstance(prices, pd.Series) or prices.empty:
        found = "empty" if isinstance(prices, pd.Series) else f"a {type(prices).__name__}"
        raise DataError(f"{what} are {found}, expected a pandas Series of a price index by period")
    problems: list[str] = []
    places = [f"{what}, row {label}" for label in prices.index]
    levels = numbers(list(prices), places, "price level", problems)
    listed(problems, [f"{places[k]}: price level is 0, expected more" for k in np.flatnonzero(levels == 0)])
    index = panel_periods(prices.index, problems)
    if index is None or problems:
        raise DataError(problems)
    entries, held = entries_of(pd.DataFrame({what: levels}), index, periods, what)
    table = entries[what]
    return pd.Series(float(table.iloc[-1]) / table.loc[held].to_numpy(), index=periods)
