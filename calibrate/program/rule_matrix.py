"""The rules of a program as one matrix: rows under each other, in variables near one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cvxpy as cp
import numpy as np
import numpy.typing as npt

from calibrate.program.affine import NotSeparable, Rows, rows_of
from calibrate.program.cones import Cone
from calibrate.program.equalities import paired
from calibrate.program.fairness.base import Rule
from calibrate.program.form import Program
from calibrate.program.plan import Plan
from calibrate.program.row_order import placed_by_content
from calibrate.program.scaling import asked_of, balanced, near_one, shared_out, sizes_of, sizes_of_auxiliary

__all__ = ["Places", "RuleMatrix", "rule_rows", "scaled", "stacked"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
MOST_COLUMNS = 3000  # decisions and auxiliary variables of the rules: beyond it a dense system is the wrong tool


@dataclass(frozen=True)
class Places:
    """Of the entries of `v`: decisions, auxiliary variables, the slack of each condition that may give, `t`s."""

    decisions: int
    auxiliary: int
    slack: dict[int, int]
    t: tuple[int, ...]

    @classmethod
    def of(cls, program: Program, blocks: Sequence[Rows], elastic: Sequence[object] | None) -> Places:
        """One after the other. NotSeparable if they are too many."""
        auxiliary = sum(block.A.shape[1] - program.size - 1 for block in blocks)
        conditions, asked = (*program.rules, *program.limits), elastic or ()
        gives = [j for j, one in enumerate(conditions) if any(one is other for other in asked)]
        first = program.size + auxiliary
        slack = {j: first + k for k, j in enumerate(gives)}
        t = tuple(first + len(gives) + k for k in range(len(program.risk_terms)))
        if first + len(gives) + len(t) > MOST_COLUMNS:
            raise NotSeparable(f"the rules need {auxiliary} auxiliary variables")
        return cls(program.size, auxiliary, slack, t)

    @property
    def size(self) -> int:
        """Length of `v`."""
        return self.decisions + self.auxiliary + len(self.slack) + len(self.t)

    @property
    def given(self) -> list[int]:
        """Slacks."""
        return list(self.slack.values())


@dataclass(frozen=True, eq=False)
class RuleMatrix:
    """Rules as rows: `h - G v` in the cone, `E v = f`; `room` and `equal_room` as in `Compiled`."""

    G: Floats
    h: Floats
    E: Floats
    f: Floats
    cone: Cone
    room: Floats
    equal_room: Floats


def rule_rows(rule: Rule, program: Program, x: cp.Variable, plan: Plan) -> Rows:
    """One rule as balanced rows of a cone, units; `x` and `plan` in the caller's order, the rows in the program's."""
    slack = cp.Variable()
    rows = rows_of(rule.gap(plan) / program.unit <= slack, [x, slack])
    fixed = program.size + 1
    rows.A[:, : program.size] = rows.A[:, program.positions]
    A, b = balanced(rows.A, rows.b, fixed, rows.sizes)
    placed = placed_by_content(A, b, fixed, (rows.zero, rows.zero + rows.orthant), rows.sizes)
    return replace(rows, A=A[np.ix_(placed.rows, placed.columns)], b=b[placed.rows], sizes=placed.sizes)


def stacked(blocks: Sequence[Rows], places: Places) -> RuleMatrix:
    """All rules under each other: orthant rows first, then the second-order cones; equalities apart."""
    parts: tuple[list[tuple[Floats, Floats, Floats]], ...] = ([], [], [])  # equalities, orthant, second order
    start = size = places.decisions
    for j, block in enumerate(blocks):
        A, give = np.zeros((len(block.b), places.size)), np.zeros((len(block.b), len(blocks)))
        extra = block.A.shape[1] - size - 1
        A[:, :size], A[:, start : start + extra] = block.A[:, :size], block.A[:, size + 1 :]
        start += extra
        give[:, j] = block.A[:, size]
        if j in places.slack:
            A[:, places.slack[j]] = give[:, j]
        ends = (0, block.zero, block.zero + block.orthant, len(block.b))
        for part, (low, high) in zip(parts, pairwise(ends), strict=True):
            part.append((A[low:high], block.b[low:high], give[low:high]))
    nothing = np.zeros((0, places.size)), np.zeros(0), np.zeros((0, len(blocks)))
    E, f, equal_room = map(np.concatenate, zip(*parts[0], nothing, strict=True))
    G, h, room = map(np.concatenate, zip(*parts[1], *parts[2], nothing, strict=True))
    cone = Cone(sum(block.orthant for block in blocks), tuple(size for block in blocks for size in block.sizes))
    return RuleMatrix(G, h, E, f, cone, room, equal_room)


def scaled(program: Program, rules: RuleMatrix, places: Places, elastic: bool) -> tuple[RuleMatrix, Floats]:
    """The rules in variables near one, and units of one entry of `v`: members of any size count in their own losses.

    What has to give is money, and so are the plans that are asked about it. Opposite rows become equalities; a decision
    that rules hold at zero goes out of every row: its scale is 0, and a cost of its own keeps what is left at zero.
    """
    G, h, E, f, cone, room = rules.G, rules.h, rules.E, rules.f, rules.cone, rules.room
    scale = np.ones(places.size)
    if not elastic:
        few, linear = len(program.pool.scenarios.segments), slice(cone.orthant)
        sizes = asked_of(G[linear], h[linear], sizes_of(program), few)
        scale[: program.n_cells] = shared_out(G, h, cone, sizes)
    G, h, cone, room, zero = _without_zeros(G, h, cone, room, program.size)
    scale[zero] = 0.0
    G, h, E, f, cone, room, equal_room = paired(G, h, E, f, cone, room)
    own = slice(program.size, program.size + places.auxiliary)
    every, amounts = np.vstack([E, G]) * scale, np.append(f, h)
    scale[own] = sizes_of_auxiliary(every, amounts, cone, program.size, places.auxiliary)
    G, h, room = near_one(G * scale, h, room, cone)
    E, f, equal_room = near_one(E * scale, f, equal_room, Cone(len(E)))
    return RuleMatrix(G, h, E, f, cone, room, equal_room), scale


def _without_zeros(
    G: Floats, h: Floats, cone: Cone, room: Floats, size: int
) -> tuple[Floats, Floats, Cone, Floats, Ints]:
    """Decisions that a rule holds at zero, `sum g x <= 0` with `g >= 0`, and the rules without the rows that say so.

    Such rows leave no interior; without these decisions other rows may be such. Rows that `x >= 0` implies go as well.
    """
    n = cone.orthant
    ours, rows, held = ~np.any(G[:n, size:] != 0, axis=1), G[:n, :size].copy(), np.zeros(size, dtype=bool)
    while True:
        zeros = ours & np.all(rows >= 0, axis=1) & (h[:n] == 0)
        new = np.any(rows[zeros] > 0, axis=0)
        if not new.any():
            break
        held |= new
        rows[:, new] = 0.0
    idle = ours & np.all(rows <= 0, axis=1) & (h[:n] >= 0)
    kept = np.append(~(zeros | idle), np.ones(len(G) - n, dtype=bool))
    return G[kept], h[kept], Cone(int(kept[:n].sum()), cone.sizes), room[kept], np.flatnonzero(held)
