"""What the estimators of many columns are given: tables, weights, exposures and random states, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import validate_data

from calibrate.errors import DataError
from calibrate.labels import of_table

__all__ = [
    "Floats",
    "RandomState",
    "broadcast",
    "exposure_table",
    "exposures_by_column",
    "generator",
    "nonnegative",
    "row_counts",
    "row_weights",
    "table",
]

Floats = npt.NDArray[np.float64]
RandomState = int | np.random.SeedSequence | np.random.Generator | None


def table(estimator: Any, X: Any, minimum: int = 1, finite: Literal["allow-nan"] | bool = True) -> Floats:
    """`X` as (rows, columns) of finite numbers, or NaN if allowed; a vector is one column. Sets `n_features_in_`."""
    vector = getattr(X, "ndim", 0) == 1 or (isinstance(X, list | tuple) and np.ndim(X) == 1)
    try:
        given = np.asarray(X)[:, None] if vector else X
        found = validate_data(estimator, given, dtype=np.float64, ensure_min_samples=minimum, ensure_all_finite=finite)
    except ValueError as error:
        raise DataError(f"{type(estimator).__name__}: {error}") from None
    return np.asarray(found, dtype=np.float64)


def nonnegative(values: Floats, what: str) -> Floats:
    """The same values, if none is negative."""
    if (values < 0).any():
        row, column = np.argwhere(values < 0)[0]
        found = f"{what} is {values[row, column]:g}, expected a number >= 0"
        raise DataError(f"Negative values in data: row {row}, column {column}: {found}")
    return values


def row_weights(sample_weight: Any, rows: int) -> Floats:
    """Weights of the rows, >= 0 and not all zero; 1 if not given."""
    if sample_weight is None:
        return np.ones(rows)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (rows,):
        raise DataError(f"sample_weight has shape {weights.shape}, expected ({rows},), one for each row")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise DataError("sample_weight must hold finite numbers >= 0")
    if not weights.any():
        raise DataError("sample_weight: all weights are zero, at least one must be positive")
    return weights


def row_counts(sample_weight: Any, rows: int) -> Floats:
    """Weights of rows that say how often each is repeated; DataError for shares of one, which would be no period."""
    counts = row_weights(sample_weight, rows)
    repeated = np.count_nonzero(counts)
    if counts.sum() < repeated and counts.sum() <= 1 + 1e-9:
        raise DataError(
            f"sample_weight sums to {counts.sum():g} (rows of positive weight: {repeated}): a weight is how often its "
            "row is repeated; give counts, such as 1 for each row, and no shares"
        )
    return counts


def exposure_table(exposure: Any, shape: tuple[int, int], X: Any) -> Floats:
    """Exposures in the shape of the data (one number, one for each column, or one for each entry); 1 if not given.

    Where `X`, the data as they were given, has labels, those of the exposures are put in their order.
    """
    values = np.asarray(1.0 if exposure is None else of_table(exposure, X, "exposure"), dtype=np.float64)
    if values.ndim == 1 and shape[1] == 1 and values.size == shape[0]:
        values = values[:, None]
    try:
        spread = np.broadcast_to(values, shape)
    except ValueError:
        raise DataError(
            f"exposure has shape {values.shape}, expected {shape} as the data or one for each column"
        ) from None
    if not np.isfinite(spread).all() or (spread < 0).any():
        raise DataError("exposure must hold finite numbers >= 0")
    empty = np.flatnonzero((spread == 0).all(axis=0))
    if empty.size:
        raise DataError(f"column {empty[0]} has zero exposure in every row; leave it out or give its exposure")
    return np.array(spread)


def broadcast(exposure: Any, columns: int) -> Floats:
    """One exposure for each column."""
    values = np.asarray(exposure, dtype=np.float64)
    try:
        return np.array(np.broadcast_to(values, (columns,)))
    except ValueError:
        raise DataError(
            f"exposure has shape {values.shape}, expected one number for each of {columns} columns"
        ) from None


def generator(random_state: RandomState) -> np.random.Generator:
    """The generator of a seed, a seed sequence or a generator. DataError for what is none of them."""
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise DataError(f"random_state is {random_state!r}, expected a whole number >= 0, such as 1") from None


def exposures_by_column(exposures: Any, members: Sequence[str], segments: Sequence[str]) -> Floats:
    """Exposures given by member, or by (member, segment), one for each column. DataError names what is missing."""
    expected = "expected one number for each member, or for each (member, segment)"
    if isinstance(exposures, pd.DataFrame):
        raise DataError(
            f"exposures are a frame of {len(exposures)} rows; {expected}: give one row, as exposures.iloc[-1]"
        )
    try:
        given = pd.Series(exposures, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"exposures: {error}; {expected}") from None
    # Names are texts: member 1 is "1".
    labels = [tuple(map(str, label)) if isinstance(label, tuple) else str(label) for label in given.index]
    cells = [(member, segment) for member in members for segment in segments]
    by_cell = any(isinstance(label, tuple) for label in labels)
    wanted: list[Any] = cells if by_cell else [member for member, _ in cells]
    values = dict(zip(labels, given, strict=True))
    absent = [label for label in dict.fromkeys(wanted) if label not in values]
    wrong = [f"{label!r} ({value})" for label, value in values.items() if not 0 <= value < np.inf]
    if len(values) < len(labels):
        twice = [label for label in values if labels.count(label) > 1]
        raise DataError(f"exposures: more than one for {twice}; {expected}")
    if absent or wrong:
        raise DataError(f"exposures: missing for {absent}, no number >= 0 for {wrong}; {expected}")
    return np.array([values[label] for label in wanted], dtype=np.float64)
