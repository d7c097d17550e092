"""The order in which a pool is solved: by what its members and scenarios are, not by where the caller put them.

Sums of floating-point numbers, samples and the choice of a working set depend on the order of their parts, and with
them the last digits of a plan, or more of them where many plans are optimal. So the program is solved in an order of
its own: permuted members and scenarios are the same program to the bit, and have the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrate.program.content import Keys, by_column, by_row, mixed, size_of
from calibrate.scenarios import Scenarios

__all__ = ["MOST_ORDERED", "Order"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_ORDERED = 4_000_000  # losses: a copy of more would cost memory and time that a solve does not
MOST_ROUNDS = 4  # in which members that look alike may come to look different
ONE = np.ones(1, dtype=np.uint64)
OTHER = np.uint64(0xA0761D6478BD642F)  # tells collateral from losses


@dataclass(frozen=True, eq=False)
class Order:
    """`rows`, `members` and `segments`: which of the caller's is first, second, and so on in the order of the program.

    Members are in the order of the keys (`content`) of their losses, probabilities, collateral, and of what else is
    known of them, the `marks`; in any unit that is a power of two times another. Of those that look alike the first is
    the first by name. `alike` numbers what members look like, in the order of the program: twins have the same number.
    Equal scenarios are interchangeable.

    >>> one = Scenarios([[0.0, 3.0], [5.0, 0.0]], members=["A", "B"])
    >>> other = Scenarios([[0.0, 5.0], [3.0, 0.0]], members=["B", "A"])
    >>> [pool.rearranged(o.rows, o.members, o.segments).digest for pool in (one, other) for o in [Order.of(pool)]] == [
    ...     one.rearranged(o.rows, o.members, o.segments).digest for o in [Order.of(one)] * 2
    ... ]
    True
    """

    rows: Ints
    members: Ints
    segments: Ints
    alike: Ints

    @classmethod
    def of(cls, scenarios: Scenarios, marks: Sequence[Floats | None] = ()) -> Order:
        """The order of some scenarios; `marks` are numbers by member that tell twins apart."""
        told = np.zeros(len(scenarios.members), dtype=np.uint64)
        for mark in marks:
            told = mixed(told) if mark is None else mixed(told ^ by_row(mark[:, None], ONE, size_of(mark)))
        content = _Content(scenarios)
        keys, segments = content.looks(told)
        while len(alike := np.unique(keys)) < len(keys) and content.rounds < MOST_ROUNDS:
            keys, segments = content.looks(keys)
            if len(np.unique(keys)) == len(alike):
                break
        members = _sorted(keys, scenarios.members)
        return cls(content.rows(members, segments), members, segments, np.unique(keys, return_inverse=True)[1][members])

    @cached_property
    def cells(self) -> Ints:
        """Which of the caller's columns is first, second, and so on."""
        return np.asarray((self.members[:, None] * len(self.segments) + self.segments).ravel())

    def arranged(self, table: Any) -> Any:
        """A table (members, segments), of numbers or of expressions, in this order."""
        return table[self.members, :][:, self.segments]


class _Content:
    """What the members of some scenarios look like, told by the scenarios in which they lose, and by how much."""

    def __init__(self, scenarios: Scenarios) -> None:
        self.scenarios = scenarios
        self.size = size_of(scenarios.losses)
        self.likely = mixed(scenarios.probabilities)
        self.seen = self.likely
        self.rounds = 0

    def looks(self, members: Keys) -> tuple[Keys, Ints]:
        """Keys of the members, given those of the last round, and the order of the segments."""
        scenarios, n = self.scenarios, len(self.scenarios.members)
        cells = by_column(scenarios.losses, self.seen, self.size).reshape(n, -1)
        if scenarios.collateral is not None:
            cells = cells + mixed(by_column(scenarios.collateral, self.seen ^ OTHER))[:, None]
        cells = mixed(cells ^ mixed(members)[:, None])
        segments = _sorted(cells.sum(axis=0), scenarios.segments)
        places = mixed(np.argsort(segments))
        keys = mixed(cells ^ places).sum(axis=1)
        self.rounds += 1
        self.seen = self._rows(mixed(keys[:, None] ^ places), keys)
        return keys, segments

    def rows(self, members: Ints, segments: Ints) -> Ints:
        """The order of the scenarios, once that of the columns is known."""
        places = np.argsort(members)
        cells = places[:, None] * len(segments) + np.argsort(segments)
        return np.argsort(self._rows(mixed(cells), mixed(places)))

    def _rows(self, cells: Keys, members: Keys) -> Keys:
        keys = by_row(self.scenarios.losses, cells.ravel(), self.size) + self.likely
        if self.scenarios.collateral is not None:
            keys = keys + mixed(by_row(self.scenarios.collateral, members ^ OTHER))
        return mixed(keys)


def _sorted(keys: Keys, names: Sequence[str]) -> Ints:
    """By key, then by name."""
    return np.lexsort((np.argsort(np.argsort(np.array(names))), keys))
