"""LossHistory: the dated losses of a pool's members, checked once at the one door for raw data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from calibrate import intake
from calibrate.errors import DataError

__all__ = ["LossHistory"]

COLUMNS = ["date", "member", "segment", "loss"]


@dataclass(frozen=True, eq=False, repr=False)
class LossHistory:
    """Losses of members by period, from events (`from_events`) or from a panel (`from_panel`). Frozen; hands out copies.

    Losses are ground-up money in `currency`; exposures are in any unit, per period (premium, open interest, TVL, payroll).

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
        exposures: pd.DataFrame | pd.Series[float] | Mapping[Any, float] | None = None,
        period: str = "M",
        currency: str = "USD",
        start: Any = None,
        end: Any = None,
        confirm_unit_jumps: Collection[str] = (),
    ) -> LossHistory:
        """History of one row per loss event.

        Parameters
        ----------
        frame : one event a row; `date`, `member`, `loss`, `segment` name its columns. Further columns only help to tell
            events apart: two rows that agree in everything are a duplicate. Dates without a zone are UTC.
        exposures : number by member, or periods x members, or periods x (member, segment). Says who the members are: one
            without events is a member with zero losses. A member's exposure holds in each of its segments. Zero exposure
            in a period means that the member was not in the pool then.
        period : length of a period: "Y", "Q", "M", "W" or "D".
        start, end : first and last period (any date within, or "2023"); default: of the first and last event. Events outside
            are left out; periods without events are periods with zero losses.
        confirm_unit_jumps : members whose losses may change their median more than 1000 times.

        Raises
        ------
        DataError
            listing everything that is wrong, by row (label of the frame's index) and column.
        """
        problems: list[str] = []
        frequency = _frequency(period)
        wanted = {"date": date, "member": member, "loss": loss} | ({"segment": segment} if segment is not None else {})
        clean = _clean_events(frame, wanted, frequency, problems)
        known = clean.dropna()
        if known.empty:
            raise DataError(problems)
        events, index = _window(known, frequency, start, end)
        columns = _cells(events, exposures, wanted["member"], problems)
        events = events[events["member"].isin(columns.get_level_values("member"))]
        table = None if exposures is None else intake.exposure_table(exposures, index, columns, problems)
        losses = _aggregate(events, index, columns)
        events = events.sort_values("date", kind="stable").reset_index(drop=True)[COLUMNS]
        return _checked(cls(losses, table, events, currency), confirm_unit_jumps, problems)

    @classmethod
    def from_panel(
        cls,
        losses: pd.DataFrame,
        *,
        exposures: pd.DataFrame | pd.Series[float] | Mapping[Any, float] | None = None,
        currency: str = "USD",
        confirm_unit_jumps: Collection[str] = (),
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
        if losses.empty:
            raise DataError("the panel is empty: expected one row for each period and one column for each member")
        index = intake.panel_periods(losses.index, problems)
        if index is None:
            raise DataError(problems)
        columns = _panel_columns(losses.columns, problems)
        _check_gaps(index, problems)
        places = [f"row {row}, member {_shown(label)}" for row in index for label in losses.columns]
        values = intake.numbers(list(losses.to_numpy(dtype=object).ravel()), places, "loss", problems)
        if problems:
            raise DataError(problems)
        order = np.argsort(index, kind="stable")
        table = pd.DataFrame(values.reshape(losses.shape)[order], index=index[order].rename("period"), columns=columns)
        table = table[_product(columns)]
        exposure = None if exposures is None else intake.exposure_table(exposures, table.index, table.columns, problems)
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
        """Events by date: columns date (UTC), member, segment, loss. None if the history is a panel."""
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
            sha.update(
                json.dumps([[str(item) for item in row] for row in self._events[COLUMNS[:3]].to_numpy()]).encode()
            )
        return sha.hexdigest()

    def until(self, date: Any) -> LossHistory:
        """The history as it was known at the end of `date` ("2023", "2023-05-31", a Timestamp): whole periods only.

        Members stay as they are. Raises DataError if no period had ended.
        """
        day = intake.boundary(date, "D", "date").end_time
        kept = self.periods[self.periods.end_time <= day]
        if kept.empty:
            raise DataError(f"no period ended by {date}: the history runs from {self.periods[0]} to {self.periods[-1]}")
        events = self._events
        if events is not None:
            events = events[events["date"].dt.tz_localize(None) <= kept[-1].end_time].reset_index(drop=True)
        exposures = None if self._exposures is None else self._exposures.loc[kept]
        return LossHistory(self._losses.loc[kept], exposures, events, self.currency)

    def __repr__(self) -> str:
        kind = "panel" if self._events is None else f"{len(self._events):,} events"
        return (
            f"<LossHistory: {len(self.members)} members x {len(self.segments)} segments, "
            f"{len(self.periods)} periods {self.periods[0]} to {self.periods[-1]}, {kind}, {self.currency}>"
        )

    def _out(self, table: pd.DataFrame) -> pd.DataFrame:
        copy = table.copy()
        return copy if len(self.segments) > 1 or self.segments != ("all",) else copy.droplevel("segment", axis=1)


def _frequency(period: str) -> str:
    if period not in intake.FREQUENCIES:
        raise DataError(f"period is {period!r}, expected one of Y, Q, M, W, D")
    return intake.FREQUENCIES[period]


def _clean_events(frame: pd.DataFrame, wanted: Mapping[str, str], frequency: str, problems: list[str]) -> pd.DataFrame:
    """Columns date, member, segment, loss; what is wrong with them goes to `problems`."""
    absent = [
        f"column {name!r} ({role}) is not in the frame, which has {list(map(str, frame.columns))}"
        for role, name in wanted.items()
        if name not in frame.columns
    ]
    if absent:
        raise DataError(absent)
    if frame.empty:
        raise DataError("there are no events: expected one row for each loss event")
    rows = {role: [f"row {label}, column {name!r}" for label in frame.index] for role, name in wanted.items()}
    clean = pd.DataFrame({"date": intake.instants(list(frame[wanted["date"]]), rows["date"], frequency, problems)})
    for role in ("member", "segment"):
        texts = (
            intake.names(list(frame[wanted[role]]), rows[role], role, problems)
            if role in wanted
            else ["all"] * len(frame)
        )
        clean[role] = pd.Series(texts, dtype=object)
    clean["loss"] = intake.numbers(list(frame[wanted["loss"]]), rows["loss"], "loss", problems)
    rest = (
        frame.drop(columns=list(wanted.values()))
        .astype(str)
        .reset_index(drop=True)
        .set_axis(range(frame.shape[1] - len(wanted)), axis=1)
    )
    whole = pd.concat([clean, rest], axis=1)
    again = whole.duplicated(keep="first") & clean.notna().all(axis=1)
    first = whole.reset_index().groupby(list(whole.columns), sort=False, dropna=False)["index"].transform("first")
    intake.listed(
        problems,
        [
            f"row {frame.index[k]} repeats row {frame.index[first[k]]} ({clean['date'][k]:%Y-%m-%d}, {clean['member'][k]}, {clean['loss'][k]:g}); "
            "remove it, or add a column that tells the two events apart"
            for k in np.flatnonzero(again)
        ],
    )
    return clean[COLUMNS].assign(row=list(frame.index))


def _window(events: pd.DataFrame, frequency: str, start: Any, end: Any) -> tuple[pd.DataFrame, pd.PeriodIndex]:
    """The events from `start` to `end` and all periods between them."""
    periods = pd.DatetimeIndex(events["date"]).tz_localize(None).to_period(frequency)
    first = periods.min() if start is None else intake.boundary(start, frequency, "start")
    last = periods.max() if end is None else intake.boundary(end, frequency, "end")
    inside = np.asarray((periods >= first) & (periods <= last))
    if first > last or not inside.any():
        raise DataError(
            f"no event lies between start {first} and end {last}; the events run from {periods.min()} to {periods.max()}"
        )
    return events.assign(period=periods)[inside], pd.period_range(first, last, freq=frequency, name="period")


def _cells(events: pd.DataFrame, exposures: Any, column: str, problems: list[str]) -> pd.MultiIndex:
    """(member, segment) pairs: who is named in the exposures, or else in the events."""
    members, segments = list(dict.fromkeys(events["member"])), list(dict.fromkeys(events["segment"]))
    if exposures is not None:
        labels = list(exposures.columns) if isinstance(exposures, pd.DataFrame) else list(pd.Series(exposures).index)
        known = list(dict.fromkeys(str(label[0] if isinstance(label, tuple) else label) for label in labels))
        strangers = events[~events["member"].isin(known)]
        intake.listed(
            problems,
            [
                f"row {row}, column {column!r}: member {name!r} is unknown, the exposures name {', '.join(known[:10])}; "
                "add its exposure or mend the name"
                for row, name in zip(strangers["row"], strangers["member"], strict=True)
            ],
        )
        members = known
        segments = list(dict.fromkeys([str(label[1]) for label in labels if isinstance(label, tuple)] + segments))
    return pd.MultiIndex.from_product([members, segments], names=["member", "segment"])


def _aggregate(events: pd.DataFrame, index: pd.PeriodIndex, columns: pd.MultiIndex) -> pd.DataFrame:
    """Total losses, periods x (member, segment)."""
    table = np.zeros((len(index), len(columns)))
    rows = index.get_indexer(pd.PeriodIndex(events["period"]))
    cells = columns.get_indexer(pd.MultiIndex.from_frame(events[["member", "segment"]]))
    np.add.at(table, (rows, cells), events["loss"].to_numpy())
    return pd.DataFrame(table, index=index, columns=columns)


def _panel_columns(columns: pd.Index[Any], problems: list[str]) -> pd.MultiIndex:
    """(member, segment) labels of a panel, checked for missing, repeated and absent ones."""
    if columns.nlevels > 2:
        raise DataError(
            f"the panel's columns have {columns.nlevels} levels; expected members, or (member, segment) pairs"
        )
    pairs = [tuple(map(str, label)) if columns.nlevels == 2 else (str(label), "all") for label in columns]
    intake.listed(
        problems,
        [
            f"column {k + 1}: the member's name is missing"
            for k, pair in enumerate(pairs)
            if pair[0] in ("", "nan", "None")
        ],
    )
    twice = {pair for pair in pairs if pairs.count(pair) > 1}
    intake.listed(
        problems,
        [f"member {_shown(pair)} has more than one column; add them up or rename one" for pair in sorted(twice)],
    )
    index = pd.MultiIndex.from_tuples(pairs, names=["member", "segment"])
    absent = [pair for pair in _product(index) if pair not in set(pairs)]
    intake.listed(
        problems, [f"member {_shown(pair)} has no column; add one (zeros if there were no losses)" for pair in absent]
    )
    return index


def _product(columns: pd.MultiIndex) -> pd.MultiIndex:
    return pd.MultiIndex.from_product(
        [list(dict.fromkeys(columns.get_level_values(level))) for level in (0, 1)], names=["member", "segment"]
    )


def _check_gaps(index: pd.PeriodIndex, problems: list[str]) -> None:
    twice = index[index.duplicated()].unique()
    intake.listed(
        problems, [f"row {period} occurs more than once; expected one row for each period" for period in twice]
    )
    gaps = pd.period_range(index.min(), index.max(), freq=index.freq).difference(index)
    intake.listed(
        problems,
        [
            f"row {period} is missing between {index.min()} and {index.max()}; add it (zeros if there were no losses)"
            for period in gaps
        ],
    )


def _checked(history: LossHistory, confirmed: Collection[str], problems: list[str]) -> LossHistory:
    """The history, if nothing is wrong with it: losses without exposure, changes of unit."""
    losses, exposures, events = history._losses, history._exposures, history._events
    if exposures is not None:
        rows, cells = np.nonzero((exposures.to_numpy() == 0) & (losses.to_numpy() > 0))
        intake.listed(
            problems,
            [
                f"row {losses.index[t]}, member {_shown(losses.columns[j])}: zero exposure but a loss of {losses.iat[t, j]:g}; give the exposure"
                for t, j in zip(rows, cells, strict=True)
            ],
        )
    unknown = [name for name in confirmed if name not in history.members]
    intake.listed(problems, [f"confirm_unit_jumps names {name!r}, which is no member" for name in unknown])
    if events is not None:
        series = {str(name): part.to_numpy() for name, part in events.groupby("member", sort=False)["loss"]}
    else:
        series = {name: losses[name].to_numpy().sum(axis=1) for name in history.members}
    problems.extend(intake.unit_jumps(series, tuple(confirmed)))
    if problems:
        raise DataError(problems)
    return history


def _shown(label: Any) -> str:
    """A column's label in a sentence."""
    if not isinstance(label, tuple):
        return repr(str(label))
    return repr(label[0]) if label[1] == "all" else f"{label[0]!r}, segment {label[1]!r}"
