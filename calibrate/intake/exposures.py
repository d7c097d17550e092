"""Exposures in any of their forms become a table of periods x (member, segment)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from calibrate.intake.periods import panel_periods
from calibrate.intake.tables import shown
from calibrate.intake.values import listed, numbers

__all__ = ["exposure_table"]

Exposures = pd.DataFrame | pd.Series | Mapping[Any, float]


def exposure_table(
    exposures: Exposures, periods: pd.PeriodIndex, columns: pd.MultiIndex, problems: list[str]
) -> pd.DataFrame | None:
    """Exposures in the shape of the losses; a member's holds in each of its segments. None when they cannot be read."""
    constant = not isinstance(exposures, pd.DataFrame)
    table: pd.DataFrame | None = (
        _in_periods(exposures, periods, problems)
        if isinstance(exposures, pd.DataFrame)
        else pd.Series(exposures).to_frame("exposure").T
    )
    if table is None:
        return None
    labels = [tuple(map(str, label)) if isinstance(label, tuple) else str(label) for label in table.columns]
    by_cell = any(isinstance(label, tuple) for label in labels)
    wanted: list[Any] = list(columns) if by_cell else list(dict.fromkeys(columns.get_level_values(0)))
    faults = [f"exposures name member {shown(label)} twice" for label in {x for x in labels if labels.count(x) > 1}]
    faults += [f"member {shown(label)} has no exposure; add it" for label in wanted if label not in set(labels)]
    if faults:
        listed(problems, faults)
        return None
    raw = table.to_numpy(dtype=object)[:, [labels.index(label) for label in wanted]]
    rows = [""] if constant else [f"row {period}, " for period in periods]
    places = [f"exposures, {row}member {shown(label)}" for row in rows for label in wanted]
    clean = numbers(list(raw.ravel()), places, "exposure", problems).reshape(raw.shape)
    empty = np.flatnonzero((clean == 0).all(axis=0))
    alone = (
        "give its exposure, or make a history of its own for each segment: members take part in all of one history's"
    )
    remedy = alone if by_cell else "leave it out or give its exposure"
    listed(problems, [f"member {shown(wanted[k])} has zero exposure in every period; {remedy}" for k in empty])
    place = {label: k for k, label in enumerate(wanted)}
    taken = clean[:, [place[label if by_cell else label[0]] for label in columns]]
    return pd.DataFrame(np.broadcast_to(taken, (len(periods), len(columns))).copy(), index=periods, columns=columns)


def _in_periods(table: pd.DataFrame, periods: pd.PeriodIndex, problems: list[str]) -> pd.DataFrame | None:
    """The rows of the history's periods."""
    index = panel_periods(table.index, problems)
    if index is None:
        return None
    remedy = ""
    if index.freqstr != periods.freqstr:
        if (index.asfreq(periods.freqstr, "START") != index.asfreq(periods.freqstr)).any():  # longer periods
            labels = f"pd.PeriodIndex(exposures.index.astype(str), freq={index.freqstr!r})"
            carried = f"exposures.set_axis({labels}).resample({periods.freqstr!r}).ffill()"
            remedy = f"; the rows are of longer periods: repeat each for those within, as by {carried}"
        index = index.asfreq(periods.freqstr)
    twice = index[index.duplicated()]
    absent = [str(period) for period in periods if period not in index]
    if len(twice):
        mean = "add up or average finer ones, as by exposures.resample('MS').mean()"
        problems.append(f"exposures: row {twice[0]} occurs more than once; expected one for each period; {mean}")
    if absent:
        expected = f"expected one for each period {periods[0]} to {periods[-1]}"
        problems.append(f"exposures: no row for period {', '.join(absent[:5])}; {expected}{remedy}")
    return None if len(twice) or absent else table.set_axis(index).loc[periods]
