"""LossHistory: the dated losses of a pool's members, checked once at the one door for raw data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate.errors import DataError
from calibrate.intake.exposures import exposure_table
from calibrate.intake.jumps import unit_jumps
from calibrate.intake.periods import check_gaps, frequency_of, last_period, panel_periods
from calibrate.intake.prices import to_last_prices
from calibrate.intake.tables import (
    AT_LEAST,
    COLUMNS,
    cells,
    clean_events,
    panel_columns,
    product,
    shown,
    totals,
    window,
)
from calibrate.intake.values import listed, numbers

__all__ = ["LossHistory"]


@dataclass(frozen=True, eq=False, repr=False)
class LossHistory:
    """Losses of members by period, from events or from a panel. Frozen; hands out copies.

    Losses are ground-up money in `currency`; exposures (premium, open interest, TVL, payroll) are per period.

    >>> frame = pd.DataFrame({"when": ["2024-01-05", "2024-03-09"], "who": ["A", "B"], "usd": [10.0, 4.0]})
    >>> history = LossHistory.from_events(frame, date="when", member="who", loss="usd")
    >>> history.losses["A"].to_list(), [str(period) for period in history.periods]
    ([10.0, 0.0, 0.0], ['2024-01', '2024-02', '2024-03'])
    """

    _losses: pd.DataFrame
    _exposures: pd.DataFrame | None
    _events: pd.DataFrame | None
    currency: str

    @classmethod
    def from_events(
        cls,
        frame: pd.DataFrame,
        *,
        date: str,
        member: str,
        loss: str,
        segment: str | None = None,
        at_least: str | None = None,
        exposures: pd.DataFrame | pd.Series[float] | Mapping[Any, float] | None = None,
        period: str = "M",
        currency: str = "USD",
        start: Any = None,
        end: Any = None,
        confirm_unit_jumps: Collection[Any] = (),
    ) -> LossHistory:
        """History of one row per loss event.

        Parameters
        ----------
        frame : one event a row; `date`, `member`, `loss`, `segment` name its columns. Further columns only help to tell
            events apart: two rows that agree in everything are a duplicate. Dates are read by the clock on the wall,
            each in the zone it names: midnight in Berlin is no hour of the day before.
        at_least : column that is True where a loss is known only to be at least so large: it reached the limit of a
            policy, or the claim is open. Models of sizes take it for cut off wherever it would have ended: what is paid
            to date of open claims goes with their size and makes sizes too large, so give what they are thought to come
            to. Losses below a deductible are no events: give them from the ground up above the highest one, which is a
            `Coverage(retention=)`.
        exposures : number by member, or periods x members, or periods x (member, segment). Says who the members are:
            one without events is a member with zero losses. A member's exposure holds in each of its segments. Zero
            exposure in a period means that the member was not in the pool then.
        period : length of a period: "Y", "Q", "M", "W" or "D".
        start, end : first and last period (any date within, or "2023"); default: of the first and last event. Events
            outside are left out; periods without events are periods with zero losses.
        confirm_unit_jumps : members whose losses may change their median more than 1000 times.

        Raises
        ------
        DataError
            listing everything that is wrong, by row (label of the frame's index) and column.
        """
        problems: list[str] = []
        frequency = frequency_of(period)
        wanted = {"date": date, "member": member, "loss": loss}
        wanted |= {role: name for role, name in (("segment", segment), (AT_LEAST, at_least)) if name is not None}
        clean = clean_events(frame, wanted, frequency, problems)
        known = clean.dropna()
        if known.empty:
            raise DataError(problems)
        events, index = window(known, frequency, start, end)
        columns = cells(events, exposures, wanted["member"], problems)
        events = events[events["member"].isin(columns.get_level_values("member"))]
        table = None if exposures is None else exposure_table(exposures, index, columns, problems)
        losses = totals(events, index, columns)
        events = events.sort_values("date", kind="stable").reset_index(drop=True)
        events = events[[*COLUMNS, *([] if at_least is None else [AT_LEAST])]]
        return _checked(cls(losses, table, events, currency), confirm_unit_jumps, problems)

    @classmethod
    def from_panel(
        cls,
        losses: pd.DataFrame,
        *,
        exposures: pd.DataFrame | pd.Series[float] | Mapping[Any, float] | None = None,
        currency: str = "USD",
        confirm_unit_jumps: Collection[Any] = (),
    ) -> LossHistory:
        """History of total losses, periods x members; columns may be (member, segment) pairs.

        Parameters
        ----------
        losses : one period a row; the index holds years (1988), dates, or periods, without a gap, in any order.
        exposures, confirm_unit_jumps : as in `from_events`.

        Raises
        ------
        DataError
            listing everything that is wrong, by row and member.

        >>> panel = pd.DataFrame({"A": [1.0, 2.0], "B": [0.0, 5.0]}, index=[2023, 2024])
        >>> LossHistory.from_panel(panel, exposures={"A": 10, "B": 20})
        <LossHistory: 2 members x 1 segments, 2 periods 2023 to 2024, panel, USD>
        """
        problems: list[str] = []
        if not isinstance(losses, pd.DataFrame):
            raise DataError(f"losses are a {type(losses).__name__}, expected a pandas DataFrame, periods x members")
        if losses.empty:
            raise DataError("the panel is empty: expected one row for each period and one column for each member")
        index = panel_periods(losses.index, problems)
        if index is None:
            raise DataError(problems)
        columns = panel_columns(losses.columns, problems)
        check_gaps(index, problems)
        places = [f"row {row}, member {shown(label)}" for row in index for label in losses.columns]
        values = numbers(list(losses.to_numpy(dtype=object).ravel()), places, "loss", problems)
        if problems:
            raise DataError(problems)
        order = np.argsort(index, kind="stable")
        periods = pd.PeriodIndex(index[order], name="period")
        whole = product(columns)
        table = pd.DataFrame(values.reshape(losses.shape)[order], index=periods, columns=columns)[whole]
        exposure = None if exposures is None else exposure_table(exposures, periods, whole, problems)
        return _checked(cls(table, exposure, None, currency), confirm_unit_jumps, problems)

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members, in the order of the columns."""
        return tuple(dict.fromkeys(self._losses.columns.get_level_values("member")))

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments; ("all",) in the plain case."""
        return tuple(dict.fromkeys(self._losses.columns.get_level_values("segment")))

    @property
    def periods(self) -> pd.PeriodIndex:
        """All periods from the first to the last, those without losses too."""
        return pd.PeriodIndex(self._losses.index, name="period")

    @property
    def losses(self) -> pd.DataFrame:
        """Total losses, periods x members, or x (member, segment) when there are several segments. Money."""
        return self._out(self._losses)

    @property
    def exposures(self) -> pd.DataFrame | None:
        """Exposures in the shape of `losses`; None if none were given."""
        return None if self._exposures is None else self._out(self._exposures)

    @property
    def events(self) -> pd.DataFrame | None:
        """Events by date: columns date, member, segment, loss, and `at_least` if given. None for a panel.

        Dates are of the clock on the wall, whatever the zone was, and written as UTC.
        """
        return None if self._events is None else self._events.copy()

    @property
    def digest(self) -> str:
        """SHA-256 of names, periods, losses, exposures and events (little-endian doubles)."""
        head = [
            self.members,
            self.segments,
            self.currency,
            [str(period) for period in self.periods],
            self.periods.freqstr,
        ]
        sha = hashlib.sha256(json.dumps(head).encode())
        tables = [self._losses, self._exposures, None if self._events is None else self._events[["loss"]]]
        for table in tables:
            sha.update(b"none" if table is None else np.ascontiguousarray(table.to_numpy(), dtype="<f8").tobytes())
        if self._events is not None:
            sha.update(np.ascontiguousarray(self._events["date"].astype("int64"), dtype="<i8").tobytes())
            if AT_LEAST in self._events:
                sha.update(np.ascontiguousarray(self._events[AT_LEAST], dtype="?").tobytes())
            for role, known in (("member", self.members), ("segment", self.segments)):
                codes = pd.Index(known).get_indexer(pd.Index(self._events[role]))
                sha.update(np.ascontiguousarray(codes, dtype="<i8").tobytes())
        return sha.hexdigest()

    def until(self, date: Any) -> LossHistory:
        """The history as it was known at the end of `date` ("2023", "2023-05-31", a Timestamp): whole periods only.

        A member without exposure until then was not there yet, and is left out; without exposures all that were ever
        named are members from the start. Raises DataError if no period had ended.
        """
        day = last_period(date, "D", "date").end_time
        kept = self.periods[self.periods.end_time <= day]
        if kept.empty:
            raise DataError(f"no period ended by {date}: the history runs from {self.periods[0]} to {self.periods[-1]}")
        events = self._events
        if events is not None:
            events = events[events["date"].dt.tz_localize(None) <= kept[-1].end_time].reset_index(drop=True)
        if self._exposures is None:
            return LossHistory(self._losses.loc[kept], None, events, self.currency)
        exposures = self._exposures.loc[kept]
        there = exposures.T.groupby(level=0, sort=False).any().any(axis=1)
        known = exposures.columns.get_level_values(0).isin(there.index[there])
        return LossHistory(self._losses.loc[kept, known], exposures.loc[:, known], events, self.currency)

    def at_prices(self, prices: pd.Series[Any], *, exposures: pd.Series[Any] | None = None) -> LossHistory:
        """The history in the money of the last entry of `prices`: models that draw from all periods alike want that.

        Parameters
        ----------
        prices : index of what losses cost (wages, building costs, a coin's price) by period, in any unit: periods,
            years or dates as labels. It may go on after the history, to the money of the period that is calibrated for.
            Finer entries are averaged, coarser ones hold for all periods that end in them.
        exposures : the same for the exposures, where they are money too (payroll, premium); they stay otherwise.

        Raises DataError naming the entry that is wrong, or the period that has none.

        >>> panel = pd.DataFrame({"A": [10.0, 20.0]}, index=[2023, 2024])
        >>> LossHistory.from_panel(panel).at_prices(pd.Series({2023: 1.0, 2024: 1.5})).losses["A"].to_list()
        [15.0, 20.0]
        """
        worth = to_last_prices(prices, self.periods).to_numpy()
        moved, table = self.times(np.tile(worth[:, None], self._losses.shape[1])), self._exposures
        if exposures is not None:
            if table is None:
                raise DataError("the history has no exposures to restate; leave exposures out")
            table = table.mul(to_last_prices(exposures, self.periods, "exposures"), axis=0)
        return replace(moved, _exposures=table)

    def times(self, factors: npt.NDArray[np.float64]) -> LossHistory:
        """The history with its losses times `factors` (periods, columns)."""
        losses, events = self._losses * factors, self._events
        if events is not None:
            when = pd.PeriodIndex(events["date"].dt.tz_localize(None).dt.to_period(self.periods.freqstr))
            member = pd.Index(self.members).get_indexer(pd.Index(events["member"]))
            column = member * len(self.segments) + pd.Index(self.segments).get_indexer(pd.Index(events["segment"]))
            events = events.assign(loss=events["loss"] * factors[self.periods.get_indexer(when), column])
            losses = totals(events.assign(period=when), self.periods, product(self._losses.columns))
        return LossHistory(losses, self._exposures, events, self.currency)

    def __repr__(self) -> str:
        kind = "panel" if self._events is None else f"{len(self._events):,} events"
        return (
            f"<LossHistory: {len(self.members)} members x {len(self.segments)} segments, "
            f"{len(self.periods)} periods {self.periods[0]} to {self.periods[-1]}, {kind}, {self.currency}>"
        )

    def _out(self, table: pd.DataFrame) -> pd.DataFrame:
        copy = table.copy()
        return copy if len(self.segments) > 1 or self.segments != ("all",) else copy.droplevel("segment", axis=1)


def _checked(history: LossHistory, confirmed: Collection[Any], problems: list[str]) -> LossHistory:
    """The history, if nothing is wrong with it: no loss without exposure, no change of unit."""
    losses, exposures, events = history._losses, history._exposures, history._events
    if exposures is not None:
        values = losses.to_numpy()
        bare = [(int(t), int(j)) for t, j in np.argwhere((exposures.to_numpy() == 0) & (values > 0))]
        places = [f"row {losses.index[t]}, member {shown(losses.columns[j])}" for t, j in bare]
        faults = [f"zero exposure but a loss of {values[t, j]:g}; give the exposure" for t, j in bare]
        listed(problems, [f"{place}: {fault}" for place, fault in zip(places, faults, strict=True)])
    confirmed = [str(name) for name in confirmed]
    unknown = [name for name in confirmed if name not in history.members]
    listed(problems, [f"confirm_unit_jumps names {name!r}, which is no member" for name in unknown])
    if events is not None:
        series = {str(name): part.to_numpy() for name, part in events.groupby("member", sort=False)["loss"]}
    else:
        series = {name: losses[name].to_numpy().sum(axis=1) for name in history.members}
    problems.extend(unit_jumps(series, tuple(confirmed)))
    if problems:
        raise DataError(problems)
    return history
