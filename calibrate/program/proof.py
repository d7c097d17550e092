"""The certificate of an answer: the program as rows in money, the published integers, and the multipliers of the bound.

Multipliers come from the interior-point method and are repaired until they are valid exactly: flows are rounded down to
a grid and clipped from the roots to the leaves, multipliers of cones pushed into their cones. What that costs the bound
is of the order of 1e-12. The verifier needs nothing else; what it is told here it computes again.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrate.certificate import verifier
from calibrate.certificate.rounding import rounded, rows_of
from calibrate.certificate.scenario_file import WrittenScenarios
from calibrate.program.compiled import Compiled, NotSeparable, compiled, rule_rows
from calibrate.program.forest import Y1
from calibrate.program.form import Floats, Program, Solution
from calibrate.program.interior_point import Point, Tail

__all__ = ["Certificate", "Witness", "certified"]

logger = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]

SCHEMA = 1
FLOW_BITS = 60  # of a price
SWEEPS = 3  # over the auxiliary variables


@dataclass(frozen=True, eq=False)
class Witness:
    """What a solve leaves for the proof: the compiled program, the tails with their scenarios, the multipliers."""

    form: Compiled
    tails: tuple[Tail, ...]
    chosen: tuple[Ints, ...]
    point: Point


@dataclass(frozen=True, eq=False)
class Claim:
    """A published plan: decisions in money, auxiliary variables of rules (units), objective and tolerance."""

    decisions: Floats
    auxiliary: Floats
    objective: float
    tolerance: float


class Certificate(Mapping[str, Any]):
    """Plain data, computed when it is first looked at: exact arithmetic takes its time, and not everybody asks."""

    def __init__(self, program: Program, form: Compiled, witness: Witness | None, claim: Claim) -> None:
        self._parts = (program, form, witness, claim)
        scenarios = program.pool.scenarios
        self.scenarios = WrittenScenarios(scenarios.losses, scenarios.probabilities, scenarios.collateral)

    @cached_property
    def _body(self) -> dict[str, Any]:
        program, form, witness, claim = self._parts
        body = statement(program, form) | {"kind": "plan", "scenarios": self.scenarios.sha256}
        decimals = decimals_of(math.fsum(claim.decisions.tolist()))
        published = rounded(claim.decisions.tolist(), program.n_cells, decimals, rows_of(body))
        near = [
            round(Fraction(one) * 10**decimals * verifier.FINER) for one in (program.unit * claim.auxiliary).tolist()
        ]
        body |= {
            "decimals": decimals,
            "published": [str(n) for n in published],
            "witness": [],
            "objective": claim.objective,
            "tolerance": claim.tolerance,
            "scale": program.unit,
            "multipliers": None if witness is None else multipliers(program, witness, body),
            "lower_bound": None,
        }
        body["witness"] = [str(n) for n in auxiliary(body, published, near)]
        if witness is not None:
            body["lower_bound"] = _lower_bound(program, witness, body)
        if body["lower_bound"] is None:
            body["multipliers"] = None
        plain: dict[str, Any] = json.loads(json.dumps(body))
        return plain

    def __getitem__(self, key: str) -> Any:
        return self._body[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._body)

    def __len__(self) -> int:
        return len(self._body)


def certified(program: Program, solution: Solution, objective: float, tolerance: float) -> Certificate | None:
    """The certificate of a solution; None where the program has a form that cannot be written as rows."""
    witness = solution.witness
    try:
        form = compiled(program) if witness is None else witness.form
    except NotSeparable:
        return None
    layout = Layout.of(program, form)
    v = np.zeros(form.size) if solution.v is None else solution.v
    auxiliary = v[program.size : program.size + layout.auxiliary]
    return Certificate(program, form, witness, Claim(program.unit * solution.x, auxiliary, objective, tolerance))


def decimals_of(total: float) -> int:
    """Decimals of the published unit: at least 2, and so many that a unit is no more than 1e-9 of all money."""
    decimals = 2
    while 0 < Fraction(total) * 10**decimals < verifier.FINER:
        decimals += 1
    return decimals


def auxiliary(body: Mapping[str, Any], published: list[int], near: list[int]) -> list[int]:
    """Auxiliary variables of the rules at the published integers, in 1e-9 of their unit, from values `near` by.

    Each goes to the least that the rows which hold it from below allow, so that no other row suffers from it. Where that
    is too much, as a loss of 1e-20 of the pool's is below the published unit, those rows give what the verifier grants.
    """
    grain = max(1, sum(published) // verifier.FINER)
    v = [n * verifier.FINER for n in published]
    for give in (0, grain):
        found = _least(body, v + near, give * verifier.FINER)
        with suppress(ValueError):
            verifier.feasible(body, found, grain)
            break
    return found[len(v) :]


def _least(body: Mapping[str, Any], v: list[int], give: int) -> list[int]:
    """Sweeps over the auxiliary variables; a row gives `give` for each of its entries."""
    n, grid = len(body["costs"]), 10 ** body["decimals"] * verifier.FINER
    below: dict[int, list[tuple[Fraction, Fraction, list[Any]]]] = {}
    for _, kind, rows in body["blocks"] if len(v) > n else ():
        exactly = [(_exact(row), Fraction(h) * grid) for row, h in rows]
        room = give * sum((abs(a) for row, _ in exactly for _, a in row), Fraction(0))
        for j, a in exactly[0][0]:
            if j >= n and a < 0 and kind != "equal":
                below.setdefault(j, []).append((a, room, exactly))
    for _ in range(SWEEPS):
        for j, held in below.items():
            v[j] = 0
            v[j] = max(
                math.ceil((_norm(tail, v) - room - (h - verifier.dot(row, v))) / -a)
                for a, room, ((row, h), *tail) in held
            )
    return v


def _exact(row: list[Any]) -> list[tuple[int, Fraction]]:
    return [(j, Fraction(a)) for j, a in row]


def _norm(rows: list[Any], v: list[int]) -> int:
    """At least the Euclidean norm of the slacks of some rows, in whole numbers."""
    size = Fraction(sum((h - verifier.dot(row, v)) ** 2 for row, h in rows))
    return math.isqrt(math.ceil(size)) + (size > 0)


# --- the program in money -------------------------------------------------------------------------------------------


def statement(program: Program, form: Compiled) -> dict[str, Any]:
    """The program as plain data: names, waterfall, costs, risk terms, rules row by row, limits; money."""
    scenarios = program.pool.scenarios
    layout = Layout.of(program, form)
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
        "rules": [str(rule) for rule in program.rules],
        "blocks": _blocks(program, form, layout),
        "limits": [
            {"name": str(limit), "row": _row(q, float(limit.amount)), "risks": row.eta.tolist()}
            for limit, row, q in zip(program.limits, form.rows, layout.columns(_limit_rows(form)), strict=True)
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


def _limit_rows(form: Compiled) -> Floats:
    return np.array([row.q for row in form.rows]).reshape(len(form.rows), form.size)


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
    for rule, kind, at in placed(program, form, layout):
        matrix, amounts = (form.body.E, form.body.f) if kind == "equal" else (form.body.G, form.body.h)
        rows = zip(layout.columns(matrix[at]), (amounts[at] * program.unit).tolist(), strict=True)
        blocks.append([names[rule], kind, [_row(row, h) for row, h in rows]])
    return blocks + [[names[rule], "at_most", [[[[j, 1.0]], 0.0]]] for rule, j in _held(program, form)]


def placed(program: Program, form: Compiled, layout: Layout) -> list[tuple[int, str, slice]]:
    """The rows of the compiled program in their order: the rule they belong to, their kind, where they are."""
    body = form.body
    n = body.cone.orthant
    pieces = [("at_most", slice(i, i + 1)) for i in range(n)] + [
        ("cone", slice(int(a), int(b))) for a, b in pairwise(np.cumsum([n, *body.cone.sizes]))
    ]
    pieces += [("equal", slice(i, i + 1)) for i in range(len(body.f))]
    owner: list[int | None] = []
    touched: list[list[int]] = []
    for kind, at in pieces:
        room = (form.equal_room if kind == "equal" else form.room)[at]
        own = np.flatnonzero(np.any(room != 0, axis=0))
        owner.append(int(own[0]) if own.size else None)
        matrix = (body.E if kind == "equal" else body.G)[at, layout.size : layout.size + layout.auxiliary]
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
    held = set(np.flatnonzero(form.scale[: program.size] == 0).tolist())
    if not held:
        return
    import cvxpy as cp

    x = cp.Variable(program.size)
    for k, rule in enumerate(program.rules):
        block = rule_rows(rule, program, x, program.plan(x))
        rows = block.A[block.zero : block.zero + block.orthant]
        ours = ~np.any(rows[:, program.size + 1 :] != 0, axis=1) & (block.b[block.zero :][: len(rows)] == 0)
        zeros = rows[ours & np.all(rows[:, : program.size] >= 0, axis=1), : program.size]
        for j in np.flatnonzero(np.any(zeros > 0, axis=0)):
            if int(j) in held:
                held.discard(int(j))
                yield k, int(j)


# --- the multipliers ------------------------------------------------------------------------------------------------


def multipliers(program: Program, witness: Witness, body: Mapping[str, Any]) -> dict[str, Any]:
    """Multipliers of rules and limits, and the flows of each term through its waterfall, exactly valid."""
    form, point = witness.form, witness.point
    blocks: list[list[float]] = []
    for _, kind, at in placed(program, form, Layout.of(program, form)):
        blocks.append(point.equal[at].tolist() if kind == "equal" else _in_cone(point.rule[at]))
    blocks += [[0.0]] * (len(body["blocks"]) - len(blocks))  # rows that hold a decision at zero
    limits = np.maximum(point.limit, 0.0)
    prices = [Fraction(price) for price in form.prices.tolist()]
    for nu, row in zip(limits.tolist(), form.rows, strict=True):
        prices = [price + Fraction(nu) * Fraction(eta) for price, eta in zip(prices, row.eta.tolist(), strict=True)]
    numerators, under = verifier.whole(program.pool.scenarios.probabilities.tolist())
    mass = Fraction(sum(numerators), under)
    flows = [_flows(program, witness, k, price, mass) for k, price in enumerate(prices)]
    return {"blocks": blocks, "limits": limits.tolist(), "flows": flows}


def _in_cone(values: Floats) -> list[float]:
    """The nearest multipliers that lie in the second-order cone exactly; alone: that are >= 0."""
    m: list[float] = values.tolist()
    m[0] = max(m[0], float(np.linalg.norm(values[1:])), 0.0)
    while Fraction(m[0]) ** 2 < sum(Fraction(one) ** 2 for one in m[1:]):
        m[0] = math.nextafter(m[0], math.inf) * (1 + 1e-15)
    return m


def _flows(program: Program, witness: Witness, k: int, price: Fraction, mass: Fraction) -> dict[str, Any]:
    """Flows as integers over `2 ** shift`: rounded down, then clipped to the flow above, from roots to leaves."""
    forest, chosen, state = witness.tails[k].forest, witness.chosen[k], witness.point.steps[k].state
    scenarios, level = program.pool.scenarios, Fraction(float(witness.form.terms[k].level))
    shift = max(0, FLOW_BITS - math.frexp(float(price))[1])
    most = int(price * (1 << shift))
    p = scenarios.probabilities[chosen].tolist()
    caps = [min(most, int(Fraction(one) * most / ((1 - level) * mass))) for one in p]
    root = np.minimum(_on_grid(state.root[:, Y1], shift), np.array(caps, dtype=np.int64))
    total = sum(root.tolist())
    if total > most:
        root = np.array([flow * most // total for flow in root.tolist()], dtype=np.int64)
    segments, cells = len(scenarios.segments), program.n_cells
    group = np.repeat(root[:, None], segments, axis=1)
    if forest.group_kinks:
        group = np.minimum(_on_grid(state.group[:, Y1], shift).reshape(len(root), segments), group)
    leaf: list[list[int]] = [[] for _ in root]
    if forest.leaf_kinks:
        tree = np.repeat(np.arange(len(root)), np.diff(forest.groups_of))
        flow = np.zeros((len(root), cells), dtype=np.int64)
        flow[np.repeat(tree, np.diff(forest.leaves_of)), forest.cell] = _on_grid(state.leaf[:, Y1], shift)
        flow = np.minimum(flow, np.tile(group, cells // segments))
        leaf = [row[losses > 0].tolist() for row, losses in zip(flow, scenarios.losses[chosen], strict=True)]
    return {
        "shift": shift,
        "scenarios": chosen.tolist(),
        "root": root.tolist(),
        "group": group.tolist() if forest.group_kinks else [[] for _ in root],
        "leaf": leaf,
    }


def _on_grid(flow: Floats, shift: int) -> Ints:
    return np.floor(np.ldexp(np.maximum(flow, 0.0), shift)).astype(np.int64)


def _lower_bound(program: Program, witness: Witness, body: Mapping[str, Any]) -> float | None:
    """The bound as the verifier will compute it, from the scenarios that carry flow."""
    scenarios = program.pool.scenarios
    chosen = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *witness.chosen]))
    losses = scenarios.losses[chosen]
    counts = np.zeros(len(scenarios) + 1, dtype=np.int64)
    counts[chosen + 1] = np.count_nonzero(losses, axis=1)
    arrays = {
        "indptr": np.cumsum(counts).tolist(),
        "indices": np.nonzero(losses)[1].tolist(),
        "data": losses[losses > 0].tolist(),
        "shape": scenarios.losses.shape,
        "probabilities": scenarios.probabilities.tolist(),
        "collateral": [] if scenarios.collateral is None else scenarios.collateral.ravel().tolist(),
    }
    plain = json.loads(json.dumps(body), parse_float=lambda number: Fraction(float(number)))
    try:
        bound = verifier.bound(plain, verifier.Pool(arrays, plain), plain["objective"])
    except ValueError as reason:  # nothing bounds a decision
        logger.info("no certificate of optimality: %s", reason)
        return None
    below = float(bound)
    return below if Fraction(below) <= bound else math.nextafter(below, -math.inf)
