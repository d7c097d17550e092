"""The program written down in money, row by row, as a certificate holds it: plain data, exactly what was solved."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cvxpy as cp
import numpy as np

from calibrate.program.compiled import Compiled
from calibrate.program.fairness.base import GeneratedRule
from calibrate.program.form import Floats, Program
from calibrate.program.rule_matrix import rule_rows

__all__ = ["Layout", "auxiliary_at", "placed", "statement", "vector_at"]

SCHEMA = 1


def statement(program: Program, form: Compiled) -> dict[str, Any]:
    """The program as plain data: names, waterfall, costs, risk terms, rules row by row, limits; money."""
    scenarios = program.pool.scenarios
    layout, plan = Layout.of(program, form), program.asked.plan(cp.Constant(np.zeros(program.size)))
    costs = layout.columns(form.body.q[None, :])[0, : program.size]
    costs[form.scale[: program.size] == 0] = 0.0  # held at zero by a rule: its own cost was replaced
    return {
        "schema": SCHEMA,
        "currency": scenarios.currency,
        "members": list(scenarios.members),
        "segments": list(scenarios.segments),
        "reserves": list(program.reserve_names),
        "waterfall": _waterfall(program, form),
        "costs": costs.tolist(),
        "terms": [
            {"name": str(term), "level": float(term.level), "of": term.of, "price": float(price)}
            for term, price in zip(form.terms, form.prices, strict=True)
        ],
        "auxiliary": layout.auxiliary,
        "rules": [str(one) for one in (*program.rules, *program.limits)],
        "searched": [str(rule) for rule in program.rules if isinstance(rule, GeneratedRule) and rule.searched(plan)],
        "blocks": _blocks(program, form, layout),
        "limits": [
            {"name": str(limit), "row": _row(q, float(limit.amount)), "risks": row.eta.tolist()}
            for limit, row, q in zip(program.limits, form.rows, form.limit_rates, strict=True)
        ],
    }


@dataclass(frozen=True)
class Layout:
    """Which columns of the compiled program the statement has: decisions, then auxiliary variables of rules."""

    size: int
    auxiliary: int
    scale: Floats

    @classmethod
    def of(cls, program: Program, form: Compiled) -> Layout:
        """Slacks of elastic conditions and the `t` of the terms come last, and are bounded: they are left out."""
        bounded = form.body.bounded
        last = int(min(bounded[bounded >= program.size], default=form.size))
        return cls(program.size, last - program.size, form.scale)

    def columns(self, matrix: Floats) -> Floats:
        """Rows in the columns of the statement, without the scaling of the solver: a power of two, so exactly."""
        n = self.size + self.auxiliary
        scale = self.scale[:n]
        return np.divide(matrix[:, :n], scale, out=np.zeros((len(matrix), n)), where=scale > 0)


def auxiliary_at(form: Compiled, layout: Layout, x: Floats) -> Floats:
    """Auxiliary variables of the rules at decisions `x`, units: those with which the worst row is missed by least."""
    if not layout.auxiliary:
        return np.zeros(0)
    body, n = form.body, layout.size
    v, miss = cp.Variable(layout.auxiliary), cp.Variable(nonneg=True)
    E, f = form.equalities
    G, E = layout.columns(body.G), layout.columns(E)
    slack = body.h - G[:, :n] @ x - G[:, n:] @ v
    ends = np.cumsum([body.cone.orthant, *body.cone.sizes])
    rows = [slack[: body.cone.orthant] + miss >= 0] if body.cone.orthant else []
    rows += [cp.SOC(slack[int(a)] + miss, slack[int(a) + 1 : int(b)]) for a, b in pairwise(ends)]
    rows += [cp.abs(f - E[:, :n] @ x - E[:, n:] @ v) <= miss] if len(f) else []
    with suppress(cp.SolverError), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "may be inaccurate": the rules are checked at what is found
        cp.Problem(cp.Minimize(miss), rows).solve(solver=cp.CLARABEL)
    return np.zeros(layout.auxiliary) if v.value is None else np.asarray(v.value)


def vector_at(program: Program, form: Compiled, x: Floats) -> Floats:
    """The vector `v` of a form at decisions `x`, units, with its auxiliary variables; `t` is 0."""
    v, layout = np.zeros(form.size), Layout.of(program, form)
    own = slice(layout.size, layout.size + layout.auxiliary)
    v[: program.size], v[own] = form.entries(x), auxiliary_at(form, layout, x) / form.scale[own]
    return v


def _waterfall(program: Program, form: Compiled) -> dict[str, Any]:
    amounts, unit = form.amounts, program.unit
    stages = [*zip(amounts.segment, amounts.segment_constant, strict=True), (amounts.pool, amounts.pool_constant)]
    return {
        "own": amounts.own_rate.tolist(),
        "stages": [_row(row, float(constant) * unit) for row, constant in stages],
    }


def _row(values: Floats, amount: float) -> list[Any]:
    columns = np.flatnonzero(values)
    return [[[j, a] for j, a in zip(columns.tolist(), values[columns].tolist(), strict=True)], amount]


def _blocks(program: Program, form: Compiled, layout: Layout) -> list[list[Any]]:
    """The rules row by row, as `[name, kind, rows]`: "at_most" and "equal" with one row, "cone" with several."""
    names = [str(rule) for rule in program.rules]
    blocks: list[list[Any]] = []
    for rule, kind, at in placed(form, layout):
        matrix, amounts = form.equalities if kind == "equal" else (form.body.G, form.body.h)
        rows = zip(layout.columns(matrix[at]), (amounts[at] * program.unit).tolist(), strict=True)
        blocks.append([names[rule], kind, [_row(row, h) for row, h in rows]])
    blocks += [[names[rule], "at_most", [[[[j, 1.0]], 0.0]]] for rule, j in _held(program, form)]
    kept = [name for name in dict.fromkeys(names) if name not in {block[0] for block in blocks}]
    blocks += [[name, "at_most", [[[], 0.0]]] for name in kept]  # by every plan: its rows follow from x >= 0
    return blocks + _absolute(blocks, program.size)


def _absolute(blocks: list[list[Any]], size: int) -> list[list[Any]]:
    """`t >= 0` for each auxiliary variable of which rules say `t >= d` and `t >= -d`: their sum, said for the box."""
    seen: dict[tuple[Any, ...], float] = {}
    implied: dict[int, list[Any]] = {}
    for name, kind, ((row, amount), *_) in blocks:
        for j, a in row if kind == "at_most" else ():
            if j >= size and a < 0:
                rest = [(i, one / a) for i, one in row if i != j]
                if seen.get((j, *((i, -one) for i, one in rest))) == -amount / a:
                    implied[j] = [name, "at_most", [[[[j, -1.0]], 0.0]]]
                seen[(j, *rest)] = amount / a
    return list(implied.values())


def placed(form: Compiled, layout: Layout) -> list[tuple[int, str, slice]]:
    """The rows of the compiled program in their order: the rule they belong to, their kind, where they are."""
    body, (E, _) = form.body, form.equalities
    n = body.cone.orthant
    pieces = [("at_most", slice(i, i + 1)) for i in range(n)] + [
        ("cone", slice(int(a), int(b))) for a, b in pairwise(np.cumsum([n, *body.cone.sizes]))
    ]
    pieces += [("equal", slice(i, i + 1)) for i in range(len(E))]
    owner: list[int | None] = []
    touched: list[list[int]] = []
    for kind, at in pieces:
        room = (form.equal_room if kind == "equal" else form.room)[at]
        own = np.flatnonzero(np.any(room != 0, axis=0))
        owner.append(int(own[0]) if own.size else None)
        matrix = (E if kind == "equal" else body.G)[at, layout.size : layout.size + layout.auxiliary]
        touched.append(np.flatnonzero(np.any(matrix != 0, axis=0)).tolist())
    whose: dict[int, int] = {}  # auxiliary variables: each belongs to one rule, and carries it on to its rows
    waiting = True
    while waiting:
        waiting = False
        for k, columns in enumerate(touched):
            found = owner[k] if owner[k] is not None else next((whose[j] for j in columns if j in whose), None)
            new = [j for j in columns if found is not None and j not in whose]
            waiting = waiting or bool(new) or (owner[k] is None and found is not None)
            owner[k] = found
            whose.update((j, found) for j in new if found is not None)
    return [(own or 0, kind, at) for own, (kind, at) in zip(owner, pieces, strict=True)]


def _held(program: Program, form: Compiled) -> Iterator[tuple[int, int]]:
    """Decisions that a rule holds at zero, which the solver leaves out: `(rule, decision)`."""
    held = form.scale[: program.size] == 0
    rows = list(_homogeneous(program)) if held.any() else []
    found = True
    while found:
        found = False
        for rule, row in rows:
            new = (row > 0) & held
            if new.any() and np.all(row >= 0):
                found, held = True, held & ~new
                yield from ((rule, int(j)) for j in np.flatnonzero(new))
                for _, other in rows:
                    other[new] = 0.0


def _homogeneous(program: Program) -> Iterator[tuple[int, Floats]]:
    """Rows `row @ x <= 0` of the rules, each with its rule."""
    x = cp.Variable(program.size)
    for k, rule in enumerate(program.rules):
        block = rule_rows(rule, program, x, program.asked.plan(x))
        rows, b = block.A[block.zero :][: block.orthant], block.b[block.zero :][: block.orthant]
        ours = ~np.any(rows[:, program.size + 1 :] != 0, axis=1) & (b == 0)
        yield from ((k, row) for row in rows[ours, : program.size])
