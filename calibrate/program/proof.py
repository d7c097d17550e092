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
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrate import records
from calibrate.certificate import verifier
from calibrate.certificate.rounding import auxiliary, rounded, rows_of
from calibrate.certificate.scenario_file import WrittenScenarios
from calibrate.program.compiled import Compiled, NotSeparable, compiled
from calibrate.program.forest import Y1
from calibrate.program.form import Floats, Program, Solution
from calibrate.program.interior_point import Point, Tail
from calibrate.program.polish import polished
from calibrate.program.statement import Layout, placed, statement

__all__ = ["Certificate", "Witness", "certified"]

logger = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]

FLOW_BITS = 60  # of a price
CLEAR = (1e-13, 1e-11, 1e-9, 1e-7)  # of the largest multiplier: how far slopes without bounds keep from zero
LEAST = (0.0, 1e-9, 1e-6, np.inf)  # multipliers to do without, where their traces pull on a decision without bounds


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
    """Plain data, computed when it is first looked at: exact arithmetic takes its time, and not everybody asks.

    Without a claim it is about rules that no plan keeps.
    """

    def __init__(self, program: Program, form: Compiled, witness: Witness | None, claim: Claim | None) -> None:
        self._parts = (program, form, witness, claim)
        scenarios = program.pool.scenarios
        self.scenarios = WrittenScenarios(scenarios.losses, scenarios.probabilities, scenarios.collateral)

    @cached_property
    def _body(self) -> dict[str, Any]:
        program, form, witness, claim = self._parts
        body = statement(program, form) | {"scenarios": self.scenarios.sha256}
        if claim is None:
            body |= {"kind": "conflict", "decimals": decimals_of(program.unit), "objective": None}
        else:
            body |= {"kind": "plan", **_published(program, claim, body)}
        body |= {"multipliers": None, "lower_bound": None}
        if witness is not None:
            body |= _proved(program, witness, body)
        plain: dict[str, Any] = json.loads(json.dumps(body))
        return plain

    def save(self, path: str | Path) -> Path:
        """Write the certificate and the scenarios to a folder, for `verify`: enough for rules in conflict."""
        return records.write(Path(path), {records.CERTIFICATE: records.certificate_text(self, {})}, self.scenarios)

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


def _proved(program: Program, witness: Witness, body: Mapping[str, Any]) -> dict[str, Any]:
    """Multipliers and the bound that they prove; nothing where they prove none."""
    plain = exactly(body)
    pool = verifier.Pool(carrying(program, witness), plain)
    for least, clear in product(LEAST, (None, *CLEAR)):
        given = multipliers(program, witness, len(body["blocks"]), least)
        plain["multipliers"] = exactly(given)
        if clear is not None:
            given["blocks"] = polished(plain, pool, program.unit, clear) or given["blocks"]
            plain["multipliers"]["blocks"] = [[Fraction(one) for one in block] for block in given["blocks"]]
        with suppress(ValueError):  # nothing bounds a decision
            bound = verifier.bound(plain, pool, plain["objective"])
            if bound > 0 or body["kind"] == "plan":
                return {"multipliers": given, "lower_bound": _below(bound)}
    return {}


def _below(value: Fraction) -> float:
    """The largest double that is not above."""
    return float(value) if Fraction(float(value)) <= value else math.nextafter(float(value), -math.inf)


def _published(program: Program, claim: Claim, body: Mapping[str, Any]) -> dict[str, Any]:
    """The plan as integers, with the auxiliary variables of the rules at them, and what is claimed of it."""
    decimals = decimals_of(math.fsum(claim.decisions.tolist()))
    published = rounded(claim.decisions.tolist(), program.n_cells, decimals, rows_of(body))
    fine = 10**decimals * verifier.FINER
    near = [round(Fraction(one) * fine) for one in (program.unit * claim.auxiliary).tolist()]
    witness = auxiliary(exactly({**body, "decimals": decimals}), published, near)
    return {
        "decimals": decimals,
        "published": [str(n) for n in published],
        "witness": [str(n) for n in witness],
        "objective": claim.objective,
        "tolerance": claim.tolerance,
        "scale": program.unit,
    }


def decimals_of(total: float) -> int:
    """Decimals of the published unit: at least 2, and so many that a unit is no more than 1e-9 of all money."""
    decimals = 2
    while 0 < Fraction(total) * 10**decimals < verifier.FINER:
        decimals += 1
    return decimals


# --- the multipliers ------------------------------------------------------------------------------------------------


def multipliers(program: Program, witness: Witness, n_blocks: int, least: float) -> dict[str, Any]:
    """Multipliers of rules and limits, and the flows of each term through its waterfall, exactly valid.

    Those below `least` of the largest are taken for the zeros that an interior method never reaches.
    """
    form, point = witness.form, witness.point
    traces = max(float(np.abs(one).max(initial=1e-300)) for one in (point.rule, point.equal, point.limit)) * least
    blocks: list[list[float]] = []
    for _, kind, at in placed(program, form, Layout.of(program, form)):
        values = (point.equal if kind == "equal" else point.rule)[at]
        values = values if float(np.abs(values).max()) >= traces else np.zeros(len(values))
        blocks.append(values.tolist() if kind == "equal" else _in_cone(values))
    blocks += [[0.0]] * (n_blocks - len(blocks))  # rows that hold a decision at zero
    limits = np.where(point.limit >= max(traces, 0.0), point.limit, 0.0)
    prices = [Fraction(price) for price in form.prices.tolist()]
    for nu, row in zip(limits.tolist(), form.rows, strict=True):
        prices = [price + Fraction(nu) * Fraction(eta) for price, eta in zip(prices, row.eta.tolist(), strict=True)]
    numerators, under = verifier.whole(program.pool.scenarios.probabilities.tolist())
    mass = Fraction(sum(numerators), under)
    flows = [_flows(program, witness, k, price, mass, least) for k, price in enumerate(prices)]
    return {"blocks": blocks, "limits": limits.tolist(), "flows": flows}


def _in_cone(values: Floats) -> list[float]:
    """The nearest multipliers that lie in the second-order cone exactly; alone: that are >= 0."""
    m: list[float] = values.tolist()
    m[0] = max(m[0], float(np.linalg.norm(values[1:])), 0.0)
    while Fraction(m[0]) ** 2 < sum(Fraction(one) ** 2 for one in m[1:]):
        m[0] = math.nextafter(m[0], math.inf) * (1 + 1e-15)
    return m


def _flows(program: Program, witness: Witness, k: int, price: Fraction, mass: Fraction, least: float) -> dict[str, Any]:
    """Flows as integers over `2 ** shift`: rounded down, then clipped to the flow above, from roots to leaves."""
    forest, chosen, state = witness.tails[k].forest, witness.chosen[k], witness.point.steps[k].state
    scenarios, level = program.pool.scenarios, Fraction(float(witness.form.terms[k].level))
    shift = max(0, FLOW_BITS - math.frexp(float(price))[1])
    most = int(price * (1 << shift))
    p = scenarios.probabilities[chosen].tolist()
    caps = [min(most, int(Fraction(one) * most / ((1 - level) * mass))) for one in p]
    root = np.minimum(_on_grid(state.root[:, Y1], shift), np.array(caps, dtype=np.int64))
    root[root < min(least, 2.0) * most] = 0
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


def exactly(body: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate as the verifier reads it: numbers as fractions."""
    plain: dict[str, Any] = json.loads(json.dumps(body), parse_float=lambda number: Fraction(float(number)))
    return plain


def carrying(program: Program, witness: Witness) -> dict[str, Any]:
    """The scenarios that carry flow, as the arrays of a scenario file in which all others are empty."""
    scenarios = program.pool.scenarios
    chosen = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *witness.chosen]))
    losses = scenarios.losses[chosen]
    counts = np.zeros(len(scenarios) + 1, dtype=np.int64)
    counts[chosen + 1] = np.count_nonzero(losses, axis=1)
    return {
        "indptr": np.cumsum(counts).tolist(),
        "indices": np.nonzero(losses)[1].tolist(),
        "data": losses[losses > 0].tolist(),
        "shape": scenarios.losses.shape,
        "probabilities": scenarios.probabilities.tolist(),
        "collateral": [] if scenarios.collateral is None else scenarios.collateral.ravel().tolist(),
    }
