"""Frames of events and panels become clean columns and tables of periods x (member, segment)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from calibrate.errors import DataError
from calibrate.intake.periods import first_period, last_period
from calibrate.intake.values import instants, listed, marks, names, numbers
from calibrate.labels import unwritable

__all__ = ["AT_LEAST", "COLUMNS", "cells", "clean_events", "panel_columns", "product", "shown", "totals", "window"]

COLUMNS = ["date", "member", "segment", "loss"]
AT_LEAST = "at_least"  # a column of events, where some losses are known only to be at least so large


def clean_events(frame: pd.DataFrame, wanted: Mapping[str, str], frequency: str, problems: list[str]) -> pd.DataFrame:
    """Columns date, member, segment, loss, perhaps `at_least`, and `row` (label in the frame); faults to `problems`."""
    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"events are a {type(frame).__name__}, expected a pandas DataFrame with a row for each loss event"
        )
    having = list(map(str, frame.columns))
    twice = [name for name in wanted.values() if list(frame.columns).count(name) > 1]
    if twice:
        raise DataError([f"column {name!r} is in the frame more than once; rename one" for name in twice])
    absent = [
        f"column {name!r} ({role}) is not in the frame, which has {having}"
        for role, name in wanted.items()
        if name not in frame.columns
    ]
    if absent:
        raise DataError(absent)
    if frame.empty:
        raise DataError("there are no events: expected one row for each loss event")
    places = {role: [f"row {label}, column {name!r}" for label in frame.index] for role, name in wanted.items()}
    clean = pd.DataFrame({"date": instants(list(frame[wanted["date"]]), places["date"], frequency, problems)})
    for role in ("member", "segment"):
        texts: list[Any] = ["all"] * len(frame)
        if role in wanted:
            texts = list(names(list(frame[wanted[role]]), places[role], role, problems))
        clean[role] = pd.Series(texts, dtype=object)
    clean["loss"] = numbers(list(frame[wanted["loss"]]), places["loss"], "loss", problems)
    clean = clean[COLUMNS].assign(row=list(frame.index))
    if AT_LEAST in wanted:
        clean[AT_LEAST] = marks(list(frame[wanted[AT_LEAST]]), places[AT_LEAST], AT_LEAST, problems)
    read = [name for role, name in wanted.items() if role != AT_LEAST]  # two rows may differ in that alone
    _check_duplicates(clean, frame.drop(columns=read), problems)
    return clean


def _check_duplicates(clean: pd.DataFrame, rest: pd.DataFrame, problems: list[str]) -> None:
    """Two rows that agree in every column are one event told twice."""
    others = rest.astype(str).reset_index(drop=True).set_axis(range(rest.shape[1]), axis=1)
    whole = pd.concat([clean[COLUMNS], others], axis=1)
    again = np.flatnonzero(whole.duplicated(keep="first") & clean[COLUMNS].notna().all(axis=1))
    by_content = whole.reset_index().groupby(list(whole.columns), sort=False, dropna=False)["index"]
    first = by_content.transform("first").to_numpy()
    told = clean.to_dict("records")
    listed(
        problems,
        [
            f"row {told[k]['row']} repeats row {told[first[k]]['row']} ({told[k]['date']:%Y-%m-%d}, "
            f"{told[k]['member']}, {told[k]['loss']:g}); remove it, or add a column that tells the two events apart"
            for k in again
        ],
    )


def window(events: pd.DataFrame, frequency: str, start: Any, end: Any) -> tuple[pd.DataFrame, pd.PeriodIndex]:
    """The events from `start` to `end`, with their `period`, and all periods between."""
    periods = pd.DatetimeIndex(events["date"]).tz_localize(None).to_period(frequency)
    first = periods.min() if start is None else first_period(start, frequency, "start")
    last = periods.max() if end is None else last_period(end, frequency, "end")
    inside = np.asarray((periods >= first) & (periods <= last))
    if first > last or not inside.any():
        found = f"the events run from {periods.min()} to {periods.max()}"
        raise DataError(f"no event lies between start {first} and end {last}; {found}")
    return events.assign(period=periods)[inside], pd.period_range(first, last, freq=frequency, name="period")


def cells(events: pd.DataFrame, exposures: Any, column: str, problems: list[str]) -> pd.MultiIndex:
    """(member, segment) pairs: of the members named in the exposures, or else in the events."""
    members, segments = _unique(events["member"]), _unique(events["segment"])
    if exposures is not None:
        labels = list(exposures.columns) if isinstance(exposures, pd.DataFrame) else list(pd.Series(exposures).index)
        members = _unique(str(label[0] if isinstance(label, tuple) else label) for label in labels)
        segments = _unique([*(str(label[1]) for label in labels if isinstance(label, tuple)), *segments])
        strangers = events[~events["member"].isin(members)]
        known = ", ".join(members[:10])
        faults = [
            f"row {row}, column {column!r}: member {name!r} is unknown, the exposures name {known}; add its exposure "
            "or mend the name"
            for row, name in zip(strangers["row"], strangers["member"], strict=True)
        ]
        listed(problems, faults)
    _check_names(members, "members", problems)
    _check_names(segments, "segments", problems)
    return pd.MultiIndex.from_product([members, segments], names=["member", "segment"])


def _check_names(names: Sequence[str], what: str, problems: list[str]) -> None:
    """Names that only blanks tell apart are one name, written twice; and every name has to be written."""
    listed(problems, unwritable(names, what))
    seen: dict[str, str] = {}
    told = [(name, seen.setdefault(" ".join(name.split()), name)) for name in names]
    faults = [f"{what} {first!r} and {name!r} differ in blanks only; write them alike" for name, first in told]
    listed(problems, [fault for fault, (name, first) in zip(faults, told, strict=True) if name != first])


def totals(events: pd.DataFrame, index: pd.PeriodIndex, columns: pd.MultiIndex) -> pd.DataFrame:
    """Total losses, periods x (member, segment)."""
    table = np.zeros((len(index), len(columns)))
    rows = index.get_indexer(pd.PeriodIndex(events["period"]))
    places = columns.get_indexer(pd.MultiIndex.from_frame(events[["member", "segment"]]))
    np.add.at(table, (rows, places), events["loss"].to_numpy())
    return pd.DataFrame(table, index=index, columns=columns)


def panel_columns(columns: pd.Index[Any], problems: list[str]) -> pd.MultiIndex:
    """(member, segment) labels of a panel, checked for missing, repeated and absent ones."""
    if columns.nlevels > 2:
        expected = "expected members, or (member, segment) pairs"
        raise DataError(f"the panel's columns have {columns.nlevels} levels; {expected}")
    pairs = [tuple(map(str, label)) if columns.nlevels == 2 else (str(label), "all") for label in columns]
    nameless = [k + 1 for k, pair in enumerate(pairs) if pair[0].strip() in ("", "nan", "None")]
    listed(problems, [f"column {k}: the member's name is missing" for k in nameless])
    twice = sorted({pair for pair in pairs if pairs.count(pair) > 1})
    listed(problems, [f"member {shown(pair)} has more than one column; add them up or rename one" for pair in twice])
    index = pd.MultiIndex.from_tuples(pairs, names=["member", "segment"])
    for level, what in ((0, "members"), (1, "segments")):
        _check_names(_unique(index.get_level_values(level)), what, problems)
    absent = [pair for pair in product(index) if pair not in set(pairs)]
    remedy = "add one (zeros if there were no losses)"
    listed(problems, [f"member {shown(pair)} has no column; {remedy}" for pair in absent])
    return index


def product(columns: pd.Index[Any]) -> pd.MultiIndex:
    """Every member with every segment, in the order in which they first occur."""
    levels = [_unique(columns.get_level_values(level)) for level in (0, 1)]
    return pd.MultiIndex.from_product(levels, names=["member", "segment"])


def shown(label: Any) -> str:
    """A column's label in a sentence."""
    if not isinstance(label, tuple):
        return repr(str(label))
    return repr(label[0]) if label[1] == "all" else f"{label[0]!r}, segment {label[1]!r}"


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
