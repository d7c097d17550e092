"""The waist of the package: joint loss scenarios, made by models or by hand, read by the program."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from calibrate.blocks import Blocks, column_means
from calibrate.errors import DataError
from calibrate.labels import labelled, named, numbered, of_columns, of_rows
from calibrate.reals import UNREAL, real

__all__ = ["Scenarios"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

AT_ONCE = 512  # scenarios that are copied together
SURE_OF_ONE = 1e-15  # a sum of probabilities so near to one is one


@dataclass(frozen=True, eq=False, repr=False)
class Scenarios:
    """Joint losses of a pool, one scenario a row: `L[s, i, g] >= 0`, money one period ahead.

    Parameters
    ----------
    losses : array (scenarios, members x segments)
        Losses in money (`currency`), after margin and coverage. Columns run through the segments of the first member,
        then of the second, and so on: column `i * len(segments) + g`.
    members, segments : names, unique; numbered if not given. One segment named "all" is the plain case.
    probabilities : array (scenarios,), non-negative, sum 1; uniform if not given.
    collateral : array (scenarios, members) of values in [0, 1]: what one unit of the member's posted contribution
        is worth in the scenario (wrong-way risk). 1 if not given.
    currency : unit of all money.

    Raises
    ------
    DataError
        naming the row, the member and the number.

    Labels are held against labels: beside losses that are a frame, the rows of `probabilities` and `collateral` are put
    in its order by their index, and the columns of a collateral frame in that of named members, or refused where they
    differ. An array has no labels, nor has what pandas only counts through (a RangeIndex): there, all is taken by
    position.

    The arrays are read-only copies (a read-only array that owns its memory, or lies in a file that is mapped, is taken
    as it is); the object is frozen. Losses may be `Blocks`, which are drawn again whenever they are needed.

    >>> pool = Scenarios([[0.0, 3.0], [5.0, 0.0]], members=["A", "B"], probabilities=[0.75, 0.25])
    >>> pool.expected_losses.to_dict()
    {'A': 1.25, 'B': 2.25}
    """

    losses: Floats
    members: tuple[str, ...]
    segments: tuple[str, ...]
    probabilities: Floats
    collateral: Floats | None
    currency: str

    def __init__(
        self,
        losses: npt.ArrayLike | Blocks,
        members: Sequence[object] | None = None,
        segments: Sequence[object] | None = None,
        probabilities: npt.ArrayLike | None = None,
        collateral: npt.ArrayLike | None = None,
        *,
        currency: str = "USD",
    ) -> None:
        matrix: Any = losses if isinstance(losses, Blocks) else _matrix(losses, "losses")
        if isinstance(losses, pd.DataFrame) and not isinstance(losses.columns, pd.RangeIndex):
            members, segments = labelled(losses.columns, members, segments)
        names_g = named(segments, "segments") if segments is not None else ("all",)
        if matrix.shape[1] % len(names_g):
            raise DataError(
                f"losses have {matrix.shape[1]} columns, which is not a multiple of {len(names_g)} segments; "
                "expected one column for each (member, segment)"
            )
        n_members = matrix.shape[1] // len(names_g)
        names_i = named(members, "members") if members is not None else numbered(n_members)
        if len(names_i) != n_members:
            raise DataError(
                f"losses have {matrix.shape[1]} columns = {n_members} members x {len(names_g)} segments, "
                f"but {len(names_i)} members are named"
            )
        columns = [f"member {i!r}, segment {g!r}" for i in names_i for g in names_g]
        if not isinstance(matrix, Blocks):  # those are checked when they are drawn
            _check(matrix, "loss", columns, np.inf)
            matrix = _frozen(matrix)
        set_field = object.__setattr__  # the one way to fill a frozen object
        set_field(self, "losses", matrix)
        set_field(self, "members", names_i)
        set_field(self, "segments", names_g)
        likely = of_rows(probabilities, losses, "probabilities")
        set_field(self, "probabilities", _frozen(_probabilities(likely, len(matrix))))
        labels = losses.columns if isinstance(losses, pd.DataFrame) else None
        alike = isinstance(collateral, pd.DataFrame) and labels is not None and labels.equals(collateral.columns)
        told = labels if members is None or alike else names_i
        told = told if told is not None and len(told) == n_members else None  # cells have names of their own
        worth = of_columns(of_rows(collateral, losses, "collateral"), told, "collateral")
        set_field(self, "collateral", _collateral(worth, len(matrix), names_i))
        set_field(self, "currency", str(currency))

    def __len__(self) -> int:
        return len(self.losses)

    def __repr__(self) -> str:
        return (
            f"<Scenarios: {len(self):,} x {len(self.members)} members x {len(self.segments)} segments, {self.currency}>"
        )

    @property
    def cube(self) -> Floats:
        """Losses as a read-only view of shape (scenarios, members, segments)."""
        return self.losses.reshape(len(self), len(self.members), len(self.segments))

    @property
    def member_losses(self) -> Floats:
        """Losses summed over segments, shape (scenarios, members)."""
        return self.losses if len(self.segments) == 1 else self.cube.sum(axis=2)

    @property
    def in_memory(self) -> bool:
        """False where the losses are drawn block by block."""
        return not isinstance(self.losses, Blocks)

    @property
    def columns(self) -> pd.Index[str] | pd.MultiIndex:
        """Labels of the columns: members, or (member, segment) pairs when there are several segments."""
        if len(self.segments) == 1:
            return pd.Index(self.members, name="member", dtype=object)
        return pd.MultiIndex.from_product([self.members, self.segments], names=["member", "segment"])

    @property
    def expected_losses(self) -> pd.Series[float]:
        """`mu[i] = E L[i]`, money a period, summed over segments."""
        mu = column_means(self.losses, self.probabilities).reshape(len(self.members), -1).sum(axis=1)
        return pd.Series(mu, index=pd.Index(self.members, name="member", dtype=object), name="expected loss")

    def rearranged(self, rows: Ints, members: Ints, segments: Ints) -> Scenarios:
        """The same scenarios told in another order, by positions in this one, in memory: exactly the same numbers.

        >>> Scenarios([[0.0, 3.0], [5.0, 0.0]], members=["A", "B"]).rearranged([1, 0], [1, 0], [0]).losses.tolist()
        [[0.0, 5.0], [3.0, 0.0]]
        """
        columns = (np.asarray(members)[:, None] * len(self.segments) + np.asarray(segments)).ravel()
        held: Any = self.losses
        if isinstance(held, Blocks):
            held = np.concatenate(list(held.over(lambda _, block: block)))
        other = copy(self)
        for name in ("digest", "largest"):  # of this order
            other.__dict__.pop(name, None)
        set_field = object.__setattr__
        losses = np.empty(held.shape)
        for k in range(0, len(losses), AT_ONCE):  # touching fresh memory costs more than the copy: once is enough
            np.take(held[rows[k : k + AT_ONCE]], columns, axis=1, out=losses[k : k + AT_ONCE], mode="clip")
        set_field(other, "losses", _frozen(losses))
        set_field(other, "members", tuple(self.members[i] for i in members))
        set_field(other, "segments", tuple(self.segments[g] for g in segments))
        set_field(other, "probabilities", _frozen(self.probabilities[rows]))
        if self.collateral is not None:
            set_field(other, "collateral", _frozen(self.collateral[rows].take(members, axis=1)))
        return other

    def to_frame(self) -> pd.DataFrame:
        """Losses as a frame, one scenario a row."""
        return pd.DataFrame(self.losses, columns=self.columns, index=pd.RangeIndex(len(self), name="scenario"))

    @cached_property
    def largest(self) -> int:
        """Place of the scenario with the largest loss of all members together."""
        return int(np.argmax(self.losses.sum(axis=1)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of names, losses, probabilities and collateral (little-endian doubles)."""
        sha = hashlib.sha256(json.dumps([self.members, self.segments, self.currency]).encode())
        for array in (self.losses, self.probabilities, self.collateral):
            parts = array.over(lambda _, block: block) if isinstance(array, Blocks) else [array]
            for part in parts:
                if part is not None:
                    sha.update(np.ascontiguousarray(part, dtype="<f8").data)
        return sha.hexdigest()


def _matrix(values: npt.ArrayLike, what: str) -> Floats:
    if isinstance(values, np.ndarray) and values.dtype == np.float64 and values.ndim == 2 and values.size:
        flags, whole = values.flags, not np.ma.is_masked(values)
        if whole and flags.c_contiguous and not flags.writeable and (flags.owndata or _mapped(values)):
            return np.asarray(values)  # frozen already: a gigabyte need not be copied
    try:
        matrix = real(values)
    except UNREAL as error:
        raise DataError(f"{what} must be numbers in a 2-d array (scenarios x columns): {error}") from None
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise DataError(
            f"{what} must be a 2-d array (scenarios x columns) with at least one of each, got shape {matrix.shape}"
        )
    return matrix


def _mapped(values: object) -> bool:
    """Whether an array is a view of a file."""
    while isinstance(values, np.ndarray):
        if isinstance(values, np.memmap):
            return True
        values = values.base
    return False


def _check(matrix: Floats, what: str, columns: Sequence[str], top: float) -> None:
    if matrix.min() >= 0 and matrix.max() <= min(top, np.finfo(np.float64).max):  # false for NaN
        return
    wrong = ~(np.isfinite(matrix) & (matrix >= 0) & (matrix <= top))
    if wrong.any():
        rows, cols = np.nonzero(wrong)
        limit = ">= 0" if np.isinf(top) else f"between 0 and {top:g}"
        problems = [
            f"scenario {s}, {columns[j]}: {what} is {matrix[s, j]}, expected a finite number {limit}"
            for s, j in zip(rows[:20], cols[:20], strict=True)
        ]
        if len(rows) > 20:
            problems.append(f"... and {len(rows) - 20} more")
        raise DataError(problems)


def _probabilities(values: npt.ArrayLike | None, n: int) -> Floats:
    if values is None:
        return np.full(n, 1.0 / n)
    try:
        p = real(values)
    except UNREAL:
        raise DataError(f"probabilities are {values!r}, expected one number for each of {n} scenarios") from None
    if p.shape != (n,):
        raise DataError(f"probabilities must have shape ({n},), one for each scenario, got {p.shape}")
    wrong = np.flatnonzero(~(np.isfinite(p) & (p >= 0)))
    if wrong.size:
        raise DataError(f"scenario {wrong[0]}: probability is {p[wrong[0]]}, expected a finite number >= 0")
    total = math.fsum(p.tolist())  # the same in any order
    if abs(total - 1) > 1e-9:
        raise DataError(f"probabilities sum to {total:.12g}, expected 1; divide weights by their sum")
    return p if abs(total - 1) <= SURE_OF_ONE else np.asarray(p / total)


def _collateral(values: npt.ArrayLike | None, n: int, members: tuple[str, ...]) -> Floats | None:
    if values is None:
        return None
    matrix = _matrix(values, "collateral")
    if matrix.shape != (n, len(members)):
        raise DataError(f"collateral must have shape ({n}, {len(members)}) = scenarios x members, got {matrix.shape}")
    _check(matrix, "collateral value", [f"member {i!r}" for i in members], 1.0)
    return _frozen(matrix)


def _frozen(array: Floats) -> Floats:
    array.setflags(write=False)
    return array
