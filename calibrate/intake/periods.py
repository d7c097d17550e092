"""Periods of a history: of a panel's rows, of a date, and without gaps."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from calibrate.errors import DataError
from calibrate.intake.values import instants, listed

__all__ = ["check_gaps", "entries_of", "first_period", "frequency_of", "last_period", "panel_periods"]

FINER = (pd.offsets.Hour, pd.offsets.Minute, pd.offsets.Second, pd.offsets.Milli, pd.offsets.Micro, pd.offsets.Nano)
SHORTER = 0.75  # of a period's length: an entry's period is shorter (months are unlike by a tenth)
FREQUENCIES = {"Y": "year", "Q": "quarter", "M": "month", "W": "week", "D": "day"}


def frequency_of(period: str) -> str:
    """The frequency of a period's name: "M", "ME" or "month"."""
    for frequency, word in FREQUENCIES.items():
        if str(period).lower() in (frequency.lower(), f"{frequency}e".lower(), word):
            return frequency
    raise DataError(f"period is {period!r}, expected one of Y, Q, M, W, D")


def first_period(value: Any, frequency: str, what: str) -> pd.Period:
    """The period that holds the beginning of `value`: "2023" begins on the first of January."""
    span, instant = _span(value, what)
    return (span.start_time if span is not None else instant).to_period(frequency)


def last_period(value: Any, frequency: str, what: str) -> pd.Period:
    """The period that holds the end of `value`: "2023" is all of 2023, "2023-05-31" that day."""
    span, instant = _span(value, what)
    return (span.end_time if span is not None else instant).to_period(frequency)


def _span(value: Any, what: str) -> tuple[pd.Period | None, pd.Timestamp]:
    """What a text or a period spans, or a time by the clock on the wall."""
    try:
        if isinstance(value, int | np.integer):
            value = str(int(value))
        span = pd.Period(value) if isinstance(value, str | pd.Period) else None
        stamp = pd.Timestamp(value) if span is None else span.end_time
        if pd.isna(stamp):
            raise ValueError
        return span, stamp.tz_localize(None)
    except (TypeError, ValueError, OverflowError, AttributeError):
        raise DataError(f"{what} is {value!r}, expected a date such as 2024-01-31") from None


def panel_periods(index: pd.Index[Any], problems: list[str]) -> pd.PeriodIndex | None:
    """Periods of rows labelled by periods, years, dates or texts such as 2020Q1. None when they cannot be read."""
    if isinstance(index, pd.PeriodIndex):
        if isinstance(index.freq, FINER):
            problems.append(f"rows are {index.freqstr} apart, expected days or longer periods; add them up by day")
            return None
        return index
    labels = list(index)
    if pd.api.types.is_integer_dtype(index) or _all_match(labels, r"\d{4}"):
        years = [int(label) for label in labels]
        if all(1 <= year <= 9999 for year in years):
            return pd.PeriodIndex([pd.Period(year=year, freq="Y") for year in years])
    elif _all_match(labels, r"\d{4}-?Q[1-4]"):
        return pd.PeriodIndex([pd.Period(label.replace("-", ""), freq="Q") for label in labels])
    else:
        faults: list[str] = []
        dates = instants(labels, [f"row {label!r}" for label in labels], "Y", faults)
        if not faults:
            return _coarsest(pd.DatetimeIndex(dates).tz_localize(None))
        listed(problems, faults)
        return None
    expected = "expected years (1988), dates or periods; set the index to them"
    problems.append(f"the rows are labelled {labels[0]!r}, {labels[-1]!r}: {expected}")
    return None


def _all_match(labels: list[Any], pattern: str) -> bool:
    return all(isinstance(label, str) and re.fullmatch(pattern, label) for label in labels)


def _coarsest(dates: pd.DatetimeIndex) -> pd.PeriodIndex:
    """The longest periods of which each holds one date at most."""
    fits = [frequency for frequency in ("Y", "Q", "M", "W", "D") if dates.to_period(frequency).is_unique]
    return dates.to_period(fits[0] if fits else "D")


def check_gaps(index: pd.PeriodIndex, problems: list[str]) -> None:
    """One row for each period, from the first to the last."""
    twice = index[index.duplicated()].unique()
    listed(problems, [f"row {period} occurs more than once; expected one row for each period" for period in twice])
    first, last = index.min(), index.max()
    gaps = pd.period_range(first, last, freq=index.freq).difference(index)
    remedy = "add it (zeros if there were no losses)"
    listed(problems, [f"row {period} is missing between {first} and {last}; {remedy}" for period in gaps])
    steps = np.unique(np.diff(np.sort(index.asi8)))
    if len(gaps) and len(index) > 2 and len(steps) == 1:  # half-years look like every other quarter
        length = f"{steps[0]}{index.freqstr.lstrip('0123456789')}"
        labels = f"pd.period_range(start, periods={len(index)}, freq={length!r})"
        problems.append(
            f"the rows are {length} apart: if each is of that length, set a PeriodIndex that says so, {labels}"
        )


def entries_of(
    table: pd.DataFrame, own: pd.PeriodIndex, periods: pd.PeriodIndex, what: str
) -> tuple[pd.DataFrame, pd.PeriodIndex]:
    """A table whose rows are of the periods `own`, by entry in the order of time, and the entry of each period.

    Rows of shorter periods are averaged; one of a longer period holds for all that end in it; further ones are welcome.
    Raises DataError naming the row that stands twice, or the period that has none.
    """
    twice = own[own.duplicated()]
    if len(twice):
        raise DataError(f"{what}: row {twice[0]} occurs more than once; expected one for each period")
    kind = periods.freqstr if _length(own) < SHORTER * _length(periods) else own.freqstr
    entries = table.groupby(own.asfreq(kind)).mean(skipna=False)
    held = periods.asfreq(kind)
    absent = [str(period) for period, entry in zip(periods, held, strict=True) if entry not in entries.index]
    if absent:
        expected = f"expected entries for all of {periods[0]} to {periods[-1]}"
        raise DataError(f"{what}: no entry for period {', '.join(absent[:5])}; {expected}")
    return entries, held


def _length(periods: pd.PeriodIndex) -> pd.Timedelta:
    return periods[0].end_time - periods[0].start_time
