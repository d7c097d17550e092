"""Decisions that rules hold at zero together, though none of them does so alone.

Shares that follow losses and contributions that rise with risk may leave no contributions but none. Such rules have no
interior, and the multipliers of an interior method grow without end. Without these decisions, and without the rows that
speak of nothing else, there is one; what the rows are needed for in the bound is found by `dual`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from calibrate.program.compiled import Compiled
from calibrate.program.cones import Cone
from calibrate.program.dual import solved
from calibrate.program.multipliers import Witness

__all__ = ["Held", "held_together"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NONE = 1e-4  # of what every decision could be if the rules let it: less is nothing


@dataclass(frozen=True, eq=False)
class Held:
    """A compiled program, which of its variables are zero, and which of its rows are needed still."""

    form: Compiled
    zero: Bools
    rows: Bools
    equalities: Bools

    @property
    def rest(self) -> Compiled:
        """The program without them: out of every row, a cost of their own keeps what is left of them at zero."""
        body, zero = self.form.body, self.zero
        kept = [block for block in body.cone.blocks if self.rows[block].all()]
        cone = Cone(int(self.rows[: body.cone.orthant].sum()), tuple(block.stop - block.start for block in kept))
        shorter = replace(
            body,
            q=np.where(zero, 1.0, body.q),
            G=np.where(zero, 0.0, body.G)[self.rows],
            h=body.h[self.rows],
            cone=cone,
            E=np.where(zero, 0.0, body.E)[self.equalities],
            f=body.f[self.equalities],
            bounded=np.union1d(body.bounded, np.flatnonzero(zero)),
        )
        limits = tuple(replace(row, q=np.where(zero, 0.0, row.q)) for row in self.form.rows)
        room, equal = self.form.room[self.rows], self.form.equal_room[: len(body.f)][self.equalities]
        nothing = (np.zeros((0, self.form.size)), np.zeros(0))
        return replace(
            self.form,
            body=shorter,
            rows=limits,
            scale=np.where(zero, 0.0, self.form.scale),
            room=room,
            equal_room=equal,
            follow=nothing,
        )

    def told(self, witness: Witness) -> Witness:
        """A witness of the rest as one of the whole: rows that are not needed have no multipliers yet."""
        point = witness.point
        rule, equal = np.zeros(len(self.rows)), np.zeros(len(self.equalities))
        rule[self.rows], equal[self.equalities] = point.rule, point.equal
        return replace(witness, form=self.form, point=replace(point, rule=rule, equal=equal))


def held_together(form: Compiled) -> Held | None:
    """What the homogeneous rows of a program hold at zero; None if that is nothing."""
    size = form.amounts.segment.shape[1]
    zero = np.zeros(form.size, dtype=bool)
    zero[:size] = _largest(form, size) < NONE
    zero[:size] |= form.scale[:size] == 0
    if not (zero[:size] & (form.scale[:size] > 0)).any():
        return None
    body = form.body
    matrix, amounts = np.vstack([body.G, body.E]), np.append(body.h, body.f)
    needed = np.any(matrix[:, ~zero & _decisions(form)] != 0, axis=1) | (amounts != 0)
    whose = _components(body.cone, matrix[:, ~_decisions(form)] != 0)
    idle = ~np.isin(whose, whose[needed])
    auxiliary = ~_decisions(form) & ~np.any(matrix[~idle] != 0, axis=0)
    return Held(form, zero | auxiliary, ~idle[: len(body.h)], ~idle[len(body.h) :])


def _decisions(form: Compiled) -> Bools:
    """Which variables are bounded: decisions, and `t` of the risk terms; not the auxiliary ones of the rules."""
    found = np.zeros(form.size, dtype=bool)
    found[form.body.bounded] = True
    return found


def _components(cone: Cone, touching: Bools) -> npt.NDArray[np.int32]:
    """Numbers of rows that are tied to each other by auxiliary variables, or by a cone."""
    ties = np.zeros((len(touching), len(cone.sizes)), dtype=bool)
    for k, block in enumerate(cone.blocks):
        ties[block, k] = True
    both = csr_matrix(np.hstack([touching, ties]).astype(float))
    whose: npt.NDArray[np.int32] = connected_components(both @ both.T, directed=False)[1]
    return whose


def _largest(form: Compiled, size: int) -> Floats:
    """How large each decision may be at once, up to 1, by the rules that hold for all multiples of a plan."""
    body, v = form.body, cp.Variable(form.size)
    most, slack, n = cp.Variable(size), -body.G @ v, body.cone.orthant
    alike = np.flatnonzero(body.h[:n] == 0)
    rows = [v[body.bounded] >= 0, most <= v[:size], most <= 1]
    rows += [slack[alike] >= 0] if alike.size else []
    rows += [body.E[body.f == 0] @ v == 0] if (body.f == 0).any() else []
    rows += [cp.SOC(slack[block][0], slack[block][1:]) for block in body.cone.blocks if not body.h[block].any()]
    problem = cp.Problem(cp.Maximize(cp.sum(most)), rows)
    return np.asarray(most.value) if solved(problem) else np.ones(size)
