"""The door: raw dates, names, numbers and exposures become clean columns, and everything wrong with them is written down."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate.errors import DataError

__all__ = [
    "FREQUENCIES",
    "Floats",
    "boundary",
    "exposure_table",
    "instants",
    "names",
    "numbers",
    "panel_periods",
    "unit_jumps",
]

Floats = npt.NDArray[np.float64]
FREQUENCIES = {"Y": "Y", "A": "Y", "Q": "Q", "M": "M", "W": "W", "D": "D"}
SHOWN = 20  # faults of one kind that are listed one by one
JUMP = 1000.0  # times that a median may change
APART = 0.95  # share of pairs (before, after) in the same order that makes two clouds of one
SLASHED = re.compile(r"^\s*(\d{1,2})[/.\-](\d{1,2})[/.\-]\d{4}")


def listed(problems: list[str], faults: Sequence[str]) -> None:
    """Add the faults of one kind, the first ones in full and the rest by their number."""
    problems.extend(faults[:SHOWN])
    if len(faults) > SHOWN:
        problems.append(f"... and {len(faults) - SHOWN} more like the last one")


def numbers(values: Sequence[Any], places: Sequence[str], what: str, problems: list[str]) -> Floats:
    """Finite numbers >= 0, one for each place; what is none is written down and becomes NaN."""
    clean, faults = np.full(len(values), np.nan), []
    for position, (value, place) in enumerate(zip(values, places, strict=True)):
        try:
            number = float("nan") if value is None or value is pd.NA else float(value)
        except (TypeError, ValueError, OverflowError):
            faults.append(f"{place}: {what} is {value!r}, expected a number")
            continue
        if np.isnan(number):
            faults.append(
                f"{place}: {what} is missing (NaN); write 0 if there was none, remove the row if it is unknown"
            )
        elif np.isinf(number):
            faults.append(f"{place}: {what} is infinite ({number}), expected a finite number")
        elif number < 0:
            faults.append(f"{place}: {what} is negative ({number:g}), expected a number >= 0")
        else:
            clean[position] = number
    listed(problems, faults)
    return clean


def names(values: Sequence[Any], places: Sequence[str], what: str, problems: list[str]) -> list[str | None]:
    """Names as text; a missing or blank one is written down."""
    texts: list[str | None] = [None if _missing(value) else str(value) for value in values]
    listed(problems, [f"{place}: {what} is missing" for text, place in zip(texts, places, strict=True) if text is None])
    return texts


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or value != value or str(value).strip() == ""


def instants(values: Sequence[Any], places: Sequence[str], frequency: str, problems: list[str]) -> pd.Series[Any]:
    """Instants in UTC (no zone said means UTC); what cannot be read in one way only is written down and becomes NaT."""
    pairs = [match for value in values if isinstance(value, str) and (match := SLASHED.match(value))]
    firsts = max((int(match[1]) for match in pairs), default=0)
    seconds = max((int(match[2]) for match in pairs), default=0)
    faults: list[str] = []
    if pairs and (firsts > 12) == (seconds > 12):
        faults.append(
            f"dates such as {pairs[0].string!r} may mean day/month or month/day; write them as YYYY-MM-DD"
            if firsts <= 12
            else "some dates are day/month and others month/day; write them all as YYYY-MM-DD"
        )
    read: list[Any] = []
    for value, place in zip(values, places, strict=True):
        moment = _instant(value, firsts > 12, frequency)
        read.append(moment)
        if moment is pd.NaT:
            faults.append(f"{place}: date is {value!r}, expected a date such as 2024-01-31 (with a four-digit year)")
    listed(problems, faults)
    return pd.Series(
        pd.DatetimeIndex(read).as_unit("ns") if read else pd.DatetimeIndex([], tz="UTC"), dtype="datetime64[ns, UTC]"
    )


def _instant(value: Any, day_first: bool, frequency: str) -> Any:
    """One instant in UTC, or NaT."""
    try:
        if _missing(value) or isinstance(value, bool):
            return pd.NaT
        if isinstance(value, pd.Period):
            moment = value.start_time
        elif isinstance(value, int | float | np.integer | np.floating):
            moment = _from_number(float(value), frequency)
        elif isinstance(value, str):
            if not re.search(r"\d{4}", value):
                return pd.NaT
            moment = pd.to_datetime(value.strip(), dayfirst=day_first and _slashed_day_first(value))
        else:
            moment = pd.Timestamp(value)
        utc = moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
        return utc.as_unit("ns")
    except (TypeError, ValueError, OverflowError):
        return pd.NaT


def _slashed_day_first(value: str) -> bool:
    match = SLASHED.match(value)
    return match is not None and int(match[2]) <= 12


def _from_number(value: float, frequency: str) -> Any:
    """A year (for yearly periods), seconds or milliseconds since 1970."""
    if frequency == "Y" and 1600 <= value <= 2250 and value == int(value):
        return pd.Timestamp(year=int(value), month=1, day=1)
    if 1e8 <= value < 1e11:
        return pd.Timestamp(value, unit="s")
    return pd.Timestamp(value, unit="ms") if 1e11 <= value < 1e13 else pd.NaT


def boundary(value: Any, frequency: str, what: str) -> pd.Period:
    """The period that holds the end of `value`: "2023" is all of 2023, "2023-05-31" that day."""
    try:
        if isinstance(value, int | np.integer):
            value = str(int(value))
        moment = pd.Period(value).end_time if isinstance(value, str) else value
        if isinstance(moment, pd.Period):
            moment = moment.end_time
        stamp = pd.Timestamp(moment)
        if stamp.tzinfo is not None:
            stamp = stamp.tz_convert("UTC").tz_localize(None)
        if stamp is pd.NaT:
            raise ValueError
        return stamp.to_period(frequency)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{what} is {value!r}, expected a date such as 2024-01-31") from None


def panel_periods(index: pd.Index[Any], problems: list[str]) -> pd.PeriodIndex | None:
    """Periods of a panel's rows: a Period index, whole years, dates or texts such as 2020Q1. None when they cannot be read."""
    if isinstance(index, pd.PeriodIndex):
        return index
    if pd.api.types.is_integer_dtype(index) or all(
        isinstance(label, str) and re.fullmatch(r"\d{4}", label) for label in index
    ):
        years = [int(label) for label in index]
        if all(1 <= year <= 9999 for year in years):
            return pd.PeriodIndex.from_ordinals([year - 1970 for year in years], freq="Y")
    elif all(isinstance(label, str) and re.fullmatch(r"\d{4}-?Q[1-4]", label) for label in index):
        return pd.PeriodIndex([pd.Period(label.replace("-", ""), freq="Q") for label in index])
    else:
        faults: list[str] = []
        dates = instants(list(index), [f"row {label!r}" for label in index], "Y", faults)
        if not faults:
            plain = pd.DatetimeIndex(dates).tz_localize(None)
            fits = [frequency for frequency in ("Y", "Q", "M", "W", "D") if plain.to_period(frequency).is_unique]
            return plain.to_period(fits[0] if fits else "D")
        problems.extend(faults[:SHOWN])
        return None
    problems.append(
        f"the rows are labelled {index[0]!r}, {index[-1]!r}: expected years (1988), dates or periods; set the index to them"
    )
    return None


def exposure_table(
    exposures: pd.Series[float] | pd.DataFrame | Mapping[Any, float],
    periods: pd.PeriodIndex,
    columns: pd.MultiIndex,
    problems: list[str],
) -> pd.DataFrame | None:
    """Exposures of periods x (member, segment); a member's exposure holds in each of its segments. None when unreadable."""
    table = exposures if isinstance(exposures, pd.DataFrame) else pd.Series(exposures).to_frame("exposure").T
    if isinstance(exposures, pd.DataFrame):
        index = panel_periods(table.index, problems)
        if index is None:
            return None
        table = table.set_axis(index.asfreq(periods.freqstr) if index.freqstr != periods.freqstr else index)
        if not table.index.is_unique:
            problems.append(f"exposures: period {table.index[table.index.duplicated()][0]} occurs more than once")
            return None
        absent = [str(period) for period in periods if period not in table.index]
        if absent:
            problems.append(
                f"exposures: no row for period {', '.join(absent[:5])}; expected one for each period {periods[0]} to {periods[-1]}"
            )
            return None
        table = table.loc[periods]
    labels = [_label(label) for label in table.columns]
    table = table.set_axis(pd.Index(labels, tupleize_cols=False), axis=1)
    by_cell = any(isinstance(label, tuple) for label in labels)
    wanted: list[Any] = list(columns) if by_cell else list(dict.fromkeys(columns.get_level_values(0)))
    faults = [
        f"exposures: member {label!r} is named more than once" for label in {x for x in labels if labels.count(x) > 1}
    ]
    faults += [f"member {label!r} has no exposure; add it to exposures" for label in wanted if label not in set(labels)]
    if faults:
        listed(problems, faults)
        return None
    raw = table[wanted]
    places = [
        f"exposures, {'row ' + str(row) + ', ' if isinstance(exposures, pd.DataFrame) else ''}member {label!r}"
        for row in raw.index
        for label in wanted
    ]
    clean = numbers(list(raw.to_numpy(dtype=object).ravel()), places, "exposure", problems).reshape(raw.shape)
    clean = np.broadcast_to(clean, (len(periods), len(wanted)))
    zero = [
        f"member {wanted[k]!r} has zero exposure in every period; leave it out or give its exposure"
        for k in np.flatnonzero((clean == 0).all(axis=0))
    ]
    listed(problems, zero)
    position = {label: k for k, label in enumerate(wanted)}
    take = [position[label if by_cell else label[0]] for label in columns]
    return pd.DataFrame(clean[:, take], index=periods, columns=columns)


def _label(label: Any) -> Any:
    return tuple(str(part) for part in label) if isinstance(label, tuple) else str(label)


def unit_jumps(losses: Mapping[str, Floats], confirmed: Sequence[str]) -> list[str]:
    """Members whose losses, in the order of time, change their median more than 1000 times and hardly overlap."""
    found = []
    for member, series in losses.items():
        values = series[series > 0]
        side = min(5, max(2, len(values) // 5))  # losses on each side that make a median
        cuts = range(side, len(values) - side + 1) if len(values) >= 5 and member not in confirmed else ()
        jumps = [_jump(values[:cut], values[cut:]) for cut in cuts]
        apart, factor, cut = max(jumps, default=(0.0, 0.0, 0))
        if apart >= APART and factor > JUMP:
            low, high = float(np.median(values[:cut])), float(np.median(values[cut:]))
            found.append(
                f"member {member!r}: the median loss changes {factor:,.0f} times, from {low:g} (first {cut} losses) to "
                f"{high:g}; a change of unit? Mend it, or confirm it by confirm_unit_jumps=[{member!r}]"
            )
    return found


def _jump(before: Floats, after: Floats) -> tuple[float, float, int]:
    """Share of pairs in the same order, factor between the medians, place."""
    low, high = float(np.median(before)), float(np.median(after))
    rising = float(np.searchsorted(np.sort(before), after).mean()) / len(before)
    factor = max(high / low, low / high)
    apart = max(rising, 1 - rising)
    return (apart if factor > JUMP else 0.0), factor, len(before)
