"""The user's files as a loss history. `LossHistory` checks the numbers; here, that the file is the one meant."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from calibrate import datasets
from calibrate.errors import DataError
from calibrate.history import LossHistory
from calibrate.operations.config import Configuration, Data, ExposureFile, did_you_mean

__all__ = ["read_history", "read_table"]


def read_history(configuration: Configuration) -> LossHistory:
    """The history that `[data]` speaks of. Raises DataError or ConfigurationError naming file, column and row."""
    data = configuration.data
    history = _as_written(configuration, data)
    if data.prices is None:
        return history
    exposures = None if data.exposure_prices is None else _prices(configuration.path(data.exposure_prices))
    return history.at_prices(_prices(configuration.path(data.prices)), exposures=exposures)


def _as_written(configuration: Configuration, data: Data) -> LossHistory:
    if data.dataset is not None:
        return datasets.load(data.dataset)
    if data.events is not None:
        return _events(configuration, data, configuration.path(data.events))
    path = configuration.path(str(data.panel))
    return _wide_panel(configuration, data, path) if data.member is None else _long_panel(data, path)


def _prices(path: Path) -> pd.Series[Any]:
    """A price index: two columns, the period and its level."""
    frame = _read(path)
    if frame.shape[1] != 2:
        raise DataError(f"{path} has {frame.shape[1]} columns, expected two: the period, and its price level")
    return frame.set_index(_numbers(frame[frame.columns[0]]))[frame.columns[1]]


def read_table(path: Path) -> pd.DataFrame | pd.Series[Any]:
    """A CSV with names in its first column: a Series if one column follows, else a DataFrame."""
    frame = _read(path)
    if frame.shape[1] < 2:
        raise DataError(f"{path} has one column, expected names in the first and numbers in the others")
    table = frame.set_index(frame.columns[0]).apply(_numbers)
    return table.iloc[:, 0] if table.shape[1] == 1 else table


def _events(configuration: Configuration, data: Data, path: Path) -> LossHistory:
    columns = {"date": data.date or "date", "member": data.member or "member", "loss": data.loss or "loss"}
    more = [name for name in (data.segment, data.at_least) if name is not None]
    return LossHistory.from_events(
        _with_columns(path, [*columns.values(), *more]),
        date=columns["date"],
        member=columns["member"],
        loss=columns["loss"],
        segment=data.segment,
        at_least=data.at_least,
        exposures=_exposures(configuration, data),
        period=data.period,
        currency=data.currency,
        start=None if data.start is None else str(data.start),
        end=None if data.end is None else str(data.end),
        confirm_unit_jumps=data.confirm_unit_jumps,
    )


def _wide_panel(configuration: Configuration, data: Data, path: Path) -> LossHistory:
    return LossHistory.from_panel(
        _wide(path),
        exposures=_exposures(configuration, data),
        currency=data.currency,
        confirm_unit_jumps=data.confirm_unit_jumps,
    )


def _long_panel(data: Data, path: Path) -> LossHistory:
    """Cells that the file does not have stay missing: `LossHistory` names them."""
    date, member, loss = str(data.date), str(data.member), str(data.loss)
    segment = [] if data.segment is None else [data.segment]
    optional = [] if data.exposure is None else [data.exposure]
    frame = _with_columns(path, [date, member, loss, *segment, *optional])
    losses = _pivot(frame, path, date, [member, *segment], loss)
    exposures = None
    if data.exposure is not None:
        told = frame.drop_duplicates([date, member, data.exposure]) if segment else frame
        apart = segment if told.duplicated([date, member]).any() else []  # a premium for each line, or one for all
        exposures = _pivot(frame if apart else told, path, date, [member, *apart], data.exposure)
    return LossHistory.from_panel(
        losses, exposures=exposures, currency=data.currency, confirm_unit_jumps=data.confirm_unit_jumps
    )


def _exposures(configuration: Configuration, data: Data) -> pd.DataFrame | None:
    if data.exposures is None:
        return None
    if isinstance(data.exposures, ExposureFile):
        source = data.exposures
        path = configuration.path(source.file)
        frame = _with_columns(path, [source.date, source.member, source.exposure])
        return _pivot(frame, path, source.date, [source.member], source.exposure)
    return _wide(configuration.path(data.exposures))


def _wide(path: Path) -> pd.DataFrame:
    frame = _read(path)
    if frame.shape[1] < 2:
        raise DataError(f"{path} has one column, expected periods in the first and a column for each member after it")
    return frame.set_index(_numbers(frame[frame.columns[0]])).drop(columns=frame.columns[0])


def _pivot(frame: pd.DataFrame, path: Path, date: str, names: Sequence[str], value: str) -> pd.DataFrame:
    keys = [date, *names]
    twice = frame.index[frame.duplicated(keys)]
    if len(twice):
        cell = ", ".join(f"{key} {frame.loc[twice[0], key]!r}" for key in keys)
        raise DataError(f"{path}, line {twice[0]}: {cell} occurs twice; expected one row for each {', '.join(keys)}")
    frame = frame.assign(**{date: _numbers(frame[date])})
    return frame.set_index(keys)[value].unstack(list(names))  # noqa: PD010 (duplicates are refused above)


def _with_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    frame = _read(path, columns)
    faults = [
        f"{path} has no column {column!r}{did_you_mean(column, map(str, frame.columns))}"
        for column in columns
        if column not in frame.columns
    ]
    if faults:
        raise DataError(faults)
    return frame


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers if all of the column are (years, amounts), else the texts."""
    try:
        return pd.to_numeric(column)
    except (TypeError, ValueError):
        return column


def _read(path: Path, wanted: Sequence[str] | None = None) -> pd.DataFrame:
    """Texts of all columns; rows are labelled by their line in the file, empty ones left out.

    No name of a column may stand twice, or none that is `wanted`, if given.
    """
    try:
        names = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].to_list()
        mark = next((mark for mark in ";\t|" if mark in names[0]), None)
        if len(names) == 1 and mark is not None:
            remedy = "save it with commas there, and points in numbers"
            raise DataError(f"{path} has {mark!r} between its columns; {remedy}")
        _check_named_once(path, names if wanted is None else wanted, names)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(  # "007" and "NA" are names
                path, dtype=str, keep_default_na=False, na_values=[""], skip_blank_lines=False, index_col=False
            )
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8 text; save it as CSV UTF-8") from None
    except pd.errors.ParserWarning:
        raise DataError(f"{path} has rows with more columns than its first line names; name them all") from None
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} cannot be read as a CSV file: {error}") from None
    frame = frame.set_axis(range(2, len(frame) + 2), axis=0).dropna(how="all")
    if frame.empty:
        raise DataError(f"{path} has no rows")
    return frame


def _check_named_once(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    twice = [name for name in dict.fromkeys(wanted) if name and names.count(name) > 1]
    if twice:
        raise DataError(
            [f"{path} has {names.count(name)} columns named {name!r}; rename or remove one" for name in twice]
        )
