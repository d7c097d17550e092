"""The trees of a risk term under way: the kernels of `elimination` and `sweeping` on chunks of them, on all cores.

The chunks depend on the forest alone and their sums are added in order: the same bytes for any number of threads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from calibrate.program import centring, elimination, sweeping
from calibrate.program.forest import Forest, Step
from calibrate.program.sweeping import Swept
from calibrate.program.threads import side_by_side

__all__ = ["Trees"]

Floats = npt.NDArray[np.float64]

KINKS_A_CHUNK, MOST_CHUNKS = 20_000, 8
PLACES = "groups_of", "leaves_of", "lines_of", "cell", "line_cell"
DENSE_FROM = 0.3  # share of the coordinates in an average tree from which a matrix product beats scattering


def _total(parts: list[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else np.sum(parts, axis=0)


class Trees:
    """A forest and where its kinks are. What is read along the coordinates `y` comes out along them."""

    def __init__(self, forest: Forest, step: Step) -> None:
        # Places that cannot be negative spare the kernels to look whether they count from the end: a seventh of them.
        unsigned = {name: getattr(forest, name).view(np.uint64) for name in PLACES}
        self.forest, self.step = forest._replace(**unsigned), step
        n, roots = forest.n_coordinates, len(forest.weight)
        chunks = max(1, min(MOST_CHUNKS, roots, -(-forest.kinks // KINKS_A_CHUNK)))
        self.ends = [roots * k // chunks for k in range(chunks + 1)]
        dense = len(forest.cell) + len(forest.line_cell) > DENSE_FROM * n * max(roots, 1)
        lines = roots + (len(forest.segment) if forest.group_kinks else 0)
        self.rows = np.zeros((lines if dense else 0, n))

    def centre(self, y: Floats, price: float, mu: float) -> None:
        """Put every tree near the central path at coordinates `y`, from the multiplier that its root has."""

        def work(first: int, last: int) -> None:
            centring.centre(self.forest, first, last, y, price, mu, self.step.state)

        side_by_side(work, self.ends)

    def sweep(self, primal: float, dual: float, price: float) -> Swept:
        """Go along the moves, eliminate, and push towards products of zero: one pass does for all three."""
        n = self.forest.n_coordinates
        self.rows[:] = 0.0

        def work(first: int, last: int) -> Swept:
            into = Swept(np.zeros(n), np.zeros(3), np.zeros((n, n)), np.zeros(n), np.zeros(n), np.zeros(2))
            sweeping.sweep(self.forest, first, last, primal, dual, price, self.step, self.rows, into)
            if len(self.rows):
                lines = self.rows[self._line(first) : self._line(last)]
                into.half[:] += lines.T @ lines
            return into

        parts = side_by_side(work, self.ends)
        return parts[0] if len(parts) == 1 else Swept(*(_total(list(part)) for part in zip(*parts, strict=True)))

    def forward(self, price: float, target: float, second: float) -> tuple[Floats, float]:
        """Towards products of `target`, less `second` times the second-order term: the push and the leak."""

        def work(first: int, last: int) -> tuple[Floats, float]:
            push = np.zeros(self.forest.n_coordinates)
            state, factors, relative = self.step
            aim = (target, second)
            return push, elimination.forward(self.forest, first, last, price, aim, state, factors, relative, push)

        parts = side_by_side(work, self.ends)
        return _total([push for push, _ in parts]), sum(leak for _, leak in parts)

    def backward(self, dy: Floats, d_price: float) -> Floats:
        """Moves of the kinks. Returns the largest relative falls of slacks and multipliers, and three sums."""

        def work(first: int, last: int) -> Floats:
            reach = np.zeros(5)
            state, factors, relative = self.step
            elimination.backward(self.forest, first, last, dy, d_price, state, factors, relative, reach)
            return reach

        parts = side_by_side(work, self.ends)
        if len(parts) == 1:
            return parts[0]
        together = np.array(parts)
        return np.append(together[:, :2].max(axis=0), together[:, 2:].sum(axis=0))

    def advance(self, primal: float, dual: float) -> tuple[Floats, Floats]:
        """Go along the moves. Returns the pull and `(constant, complementarity, sum w z)`."""

        def work(first: int, last: int) -> tuple[Floats, Floats]:
            pull, sums = np.zeros(self.forest.n_coordinates), np.zeros(3)
            state, relative = self.step.state, self.step.relative
            sweeping.advance(self.forest, first, last, primal, dual, state, relative, pull, sums)
            return pull, sums

        parts = side_by_side(work, self.ends)
        return _total([pull for pull, _ in parts]), _total([sums for _, sums in parts])

    def _line(self, s: int) -> int:
        """First line of a scenario in `rows`."""
        return s + (int(self.forest.groups_of[s]) if self.forest.group_kinks else 0)
