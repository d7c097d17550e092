"""Raw numbers, names and dates of a column become clean ones; everything wrong is written down with its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["Floats", "instants", "listed", "marks", "names", "numbers"]

Floats = npt.NDArray[np.float64]
SHOWN = 20  # faults of one kind that are listed one by one
TRUE, FALSE = {"true", "1", "yes"}, {"false", "0", "no"}
EARLIEST, LATEST = 1678, 2261  # years of which every day is counted in nanoseconds
OFFSET = re.compile(r"(\d[T ]\d{2}[\d:.,]*)\s*[+-][\d:]+$")  # what follows the time of a text: its zone
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


def marks(values: Sequence[Any], places: Sequence[str], what: str, problems: list[str]) -> npt.NDArray[np.bool_]:
    """Truth by row: True and False, or 1 and 0, also as text; what is neither is written down."""
    texts = [str(value).strip().lower().removesuffix(".0") for value in values]
    faults = [
        f"{place}: {what} is {value!r}, expected True or False"
        for value, text, place in zip(values, texts, places, strict=True)
        if text not in TRUE | FALSE
    ]
    listed(problems, faults)
    return np.array([text in TRUE for text in texts], dtype=bool)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or value != value or str(value).strip() == ""


def instants(values: Sequence[Any], places: Sequence[str], frequency: str, problems: list[str]) -> pd.Series[Any]:
    """Times by the clock on the wall, each in the zone it names, in a column that says UTC: midnight in Berlin is no
    hour of the day before. What cannot be read in one way only is written down and becomes NaT.
    """
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
    read = list(_at_once(values)) if not pairs else [pd.NaT] * len(values)
    for position, (value, place) in enumerate(zip(values, places, strict=True)):
        if read[position] is pd.NaT:
            read[position] = _instant(value, firsts > 12, frequency)
        if read[position] is pd.NaT:
            faults.append(f"{place}: date is {value!r}, expected a date such as 2024-01-31 (with a four-digit year)")
        elif not EARLIEST <= read[position].year <= LATEST:
            faults.append(f"{place}: date is {value!r}, expected a year from {EARLIEST} to {LATEST}")
            read[position] = pd.NaT
    listed(problems, faults)
    return pd.Series(pd.to_datetime(pd.Series(read, dtype=object), utc=True).astype("datetime64[ns, UTC]"))


def _at_once(values: Sequence[Any]) -> Any:
    """Times of ISO texts and of timestamps, a hundred times faster than one by one; NaT for all else."""
    kinds = {type(value) for value in values}
    if kinds == {str}:
        texts = pd.Series(values, dtype=object).str.strip()
        dated = texts.str.contains(r"\d{4}")  # pandas reads "now" by the clock
        read = pd.to_datetime(texts.where(dated), format="ISO8601", utc=True, errors="coerce")
        bare = texts.where(read.notna()).str.replace(OFFSET, r"\1", regex=True)
        return pd.to_datetime(bare, format="ISO8601", utc=True)
    if kinds == {pd.Timestamp} and len({value.tzinfo for value in values}) == 1:
        return pd.to_datetime(pd.Series(values).dt.tz_localize(None), utc=True)
    return [pd.NaT] * len(values)


def _instant(value: Any, day_first: bool, frequency: str) -> Any:
    """One time by the clock on the wall, in a stamp that says UTC, or NaT."""
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
        return moment.tz_localize(None).tz_localize("UTC").as_unit("ns")
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
