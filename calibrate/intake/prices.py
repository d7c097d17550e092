"""A price index by period becomes factors that bring money of each period to that of the last entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from calibrate.errors import DataError
from calibrate.intake.periods import panel_periods
from calibrate.intake.values import listed, numbers

__all__ = ["to_last_prices"]

FINER = 0.75  # of a period's length: a price's period is shorter (months are unlike by a tenth)


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
    twice = index[index.duplicated()]
    if len(twice):
        raise DataError(f"{what}: row {twice[0]} occurs more than once; expected one for each period")
    kind = periods.freqstr if _length(index) < FINER * _length(periods) else index.freqstr
    table = pd.Series(levels).groupby(index.asfreq(kind)).mean()
    held = periods.asfreq(kind)
    absent = [str(period) for period, entry in zip(periods, held, strict=True) if entry not in table.index]
    if absent:
        expected = f"expected entries for all of {periods[0]} to {periods[-1]}"
        raise DataError(f"{what}: no entry for period {', '.join(absent[:5])}; {expected}")
    return pd.Series(float(table.iloc[-1]) / table.loc[held].to_numpy(), index=periods)


def _length(periods: pd.PeriodIndex) -> pd.Timedelta:
    return periods[0].end_time - periods[0].start_time
