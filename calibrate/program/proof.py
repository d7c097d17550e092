"""The certificate of an answer: the program as rows in money, the published integers, and the multipliers of the bound.

Multipliers come from the interior-point method and are repaired until they are valid exactly: flows are rounded down to
a grid and clipped from the roots to the leaves, multipliers of cones pushed into their cones. What that costs the bound
is of the order of 1e-12. The verifier needs nothing else; what it is told here it computes again.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrate import records
from calibrate.certificate import verifier
from calibrate.certificate.rounding import auxiliary, rounded, rows_of
from calibrate.certificate.scenario_file import WrittenScenarios
from calibrate.program.compiled import Compiled, NotSeparable, compiled
from calibrate.program.dual import Flows, best_flows, best_rules
from calibrate.program.forest import Y1, Forest, Kinks, Step
from calibrate.program.form import Floats, Program, Solution
from calibrate.program.interior_point import Point, Tail
from calibrate.program.statement import Layout, placed, statement
from calibrate.program.tail import value_at_risk

__all__ = ["Certificate", "Witness", "certified"]

logger = logging.getLogger(__name__)

Ints = npt.NDArray[np.int64]

FLOW_BITS = 60  # of a price
AS_GOOD = 1e-8  # of the objective: what exact arithmetic may cost the bound
EDGE = 1e-6  # units: scenarios so close to the edge of a tail may be in it
MOST_ANEW = 300_000  # losses whose flows may all be sought anew
CLEAR = (1e-11, 1e-9, 1e-8, 1e-7)  # of the largest multiplier: how far slopes without bounds keep from zero
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
    lower_bound: float
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
        body |= _proved(program, witness, claim, body)
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
    lower = min(solution.lower_bound, objective)
    claim = Claim(program.unit * solution.x, auxiliary, objective, lower, tolerance)
    return Certificate(program, form, witness, claim)


def _proved(program: Program, witness: Witness | None, claim: Claim | None, body: dict[str, Any]) -> dict[str, Any]:
    """Multipliers and the bound that they prove, the first that is as good as the solver's; nothing without a bound."""
    plain, best, proved = exactly(body), -math.inf if claim is not None else 0.0, {}
    enough = 0.0
    if claim is not None:
        tenth = claim.objective - 0.1 * claim.tolerance * abs(claim.objective)
        enough = min(claim.lower_bound - AS_GOOD * abs(claim.objective), tenth)
    for given in _attempts(program, witness, claim, plain):
        plain["multipliers"] = exactly(given)
        with suppress(ValueError):  # nothing bounds a decision
            bound = _below(verifier.bound(plain, carrying(program, plain), plain["objective"]))
            if bound > best:
                best, proved = bound, {"multipliers": given, "lower_bound": bound}
            if best >= enough and proved:
                break
    return proved


def _attempts(
    program: Program, witness: Witness | None, claim: Claim | None, plain: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Multipliers to try: as the solver left them, without their traces, those of rules anew, and all of them anew."""
    for least in LEAST:
        if witness is None:
            break
        given = multipliers(program, witness, plain, least)
        yield given
        for clear in CLEAR:
            plain["multipliers"] = exactly(given)
            blocks = best_rules(plain, carrying(program, plain), program.unit, clear)
            if blocks is not None:
                yield {**given, "blocks": _in_cones(plain, blocks)}
    chosen = tails_of(program, claim) if witness is None else witness.chosen
    for clear in CLEAR if sum(map(len, chosen)) * program.n_cells <= MOST_ANEW else ():
        found = best_flows(plain, program, chosen, clear)
        if found is not None:
            blocks, limits, flows = found
            yield given_of(program, plain, _in_cones(plain, blocks), limits, flows)


def tails_of(program: Program, claim: Claim | None) -> tuple[Ints, ...]:
    """The scenarios of each term that leave most at a plan, to the edge of its tail; all without a plan."""
    scenarios = program.pool.scenarios
    if claim is None:
        return tuple(np.arange(len(scenarios)) for _ in program.risk_terms)
    cascade = program.cascade(claim.decisions / program.unit)
    chosen = []
    for term in program.risk_terms:
        left = cascade.leaves(term.of, scenarios.cube, scenarios.collateral)
        edge = value_at_risk(left, scenarios.probabilities, term.level)
        chosen.append(np.flatnonzero(left >= edge - EDGE * program.unit))
    return tuple(chosen)


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


def multipliers(program: Program, witness: Witness, plain: Mapping[str, Any], least: float) -> dict[str, Any]:
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
    blocks += [[0.0]] * (len(plain["blocks"]) - len(blocks))  # rows that hold a decision at zero
    limits = np.where(point.limit >= max(traces, 0.0), point.limit, 0.0)
    flows = [_flows_of(program, tail.forest, ids, step.state) for tail, ids, step in _parts(witness)]
    return given_of(program, plain, blocks, limits.tolist(), flows, least)


def given_of(
    program: Program,
    plain: Mapping[str, Any],
    blocks: list[list[float]],
    limits: list[float],
    flows: Sequence[Flows],
    least: float = 0.0,
) -> dict[str, Any]:
    """Multipliers as a certificate holds them."""
    prices = [term["price"] for term in plain["terms"]]
    for nu, limit in zip(limits, plain["limits"], strict=True):
        prices = [price + Fraction(nu) * eta for price, eta in zip(prices, limit["risks"], strict=True)]
    numerators, under = verifier.whole(program.pool.scenarios.probabilities.tolist())
    shares = [
        price / ((1 - term["level"]) * Fraction(sum(numerators), under))
        for price, term in zip(prices, plain["terms"], strict=True)
    ]
    whole = [
        _whole(program, flow, price, share, least) for flow, price, share in zip(flows, prices, shares, strict=True)
    ]
    return {"blocks": blocks, "limits": limits, "flows": whole}


def _in_cones(plain: Mapping[str, Any], blocks: list[list[float]]) -> list[list[float]]:
    kinds = [kind for _, kind, _ in plain["blocks"]]
    return [m if kind == "equal" else _in_cone(np.array(m)) for kind, m in zip(kinds, blocks, strict=True)]


def _in_cone(values: Floats) -> list[float]:
    """The nearest multipliers that lie in the second-order cone exactly; alone: that are >= 0."""
    m: list[float] = values.tolist()
    m[0] = max(m[0], float(np.linalg.norm(values[1:])), 0.0)
    while Fraction(m[0]) ** 2 < sum(Fraction(one) ** 2 for one in m[1:]):
        m[0] = math.nextafter(m[0], math.inf) * (1 + 1e-15)
    return m


def _parts(witness: Witness) -> Iterator[tuple[Tail, Ints, Step]]:
    return zip(witness.tails, witness.chosen, witness.point.steps, strict=True)


def _flows_of(program: Program, forest: Forest, chosen: Ints, state: Kinks) -> Flows:
    """The multipliers of a forest; a loss without a leaf has none."""
    segments, leaf = len(program.pool.scenarios.segments), None
    if forest.leaf_kinks:
        tree = np.repeat(np.arange(len(chosen)), np.diff(forest.groups_of))
        leaf = np.zeros((len(chosen), program.n_cells))
        leaf[np.repeat(tree, np.diff(forest.leaves_of)), forest.cell] = state.leaf[:, Y1]
    group = state.group[:, Y1].reshape(len(chosen), segments) if forest.group_kinks else None
    return Flows(chosen, state.root[:, Y1], group, leaf)


def _whole(program: Program, flows: Flows, price: Fraction, share: Fraction, least: float) -> dict[str, Any]:
    """Flows as integers over `2 ** shift`: rounded down, then clipped to the flow above, from roots to leaves."""
    scenarios = program.pool.scenarios
    shift = max(0, FLOW_BITS - math.frexp(float(price))[1])
    most = int(price * (1 << shift))
    p = scenarios.probabilities[flows.chosen].tolist()
    caps = [min(most, int(share * Fraction(one) * (1 << shift))) for one in p]
    root = np.minimum(_on_grid(flows.root, shift), np.array(caps, dtype=np.int64))
    root[root < min(least, 2.0) * most] = 0
    total = sum(root.tolist())
    if total > most:
        root = np.array([flow * most // total for flow in root.tolist()], dtype=np.int64)
    segments = len(scenarios.segments)
    group = np.repeat(root[:, None], segments, axis=1)
    if flows.group is not None:
        group = np.minimum(_on_grid(flows.group, shift), group)
    leaf: list[list[int]] = [[] for _ in root]
    if flows.leaf is not None:
        leaves = np.minimum(_on_grid(flows.leaf, shift), np.tile(group, program.n_cells // segments))
        losses = scenarios.losses[flows.chosen]
        leaf = [row[own > 0].tolist() for row, own in zip(leaves, losses, strict=True)]
    return {
        "shift": shift,
        "scenarios": flows.chosen.tolist(),
        "root": root.tolist(),
        "group": [[] for _ in root] if flows.group is None else group.tolist(),
        "leaf": leaf,
    }


def _on_grid(flow: Floats, shift: int) -> Ints:
    return np.floor(np.ldexp(np.maximum(flow, 0.0), shift)).astype(np.int64)


def exactly(body: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate as the verifier reads it: numbers as fractions."""
    plain: dict[str, Any] = json.loads(json.dumps(body), parse_float=lambda number: Fraction(float(number)))
    return plain


def carrying(program: Program, plain: dict[str, Any]) -> verifier.Pool:
    """The scenarios that carry flow; all others are empty, as the bound does not look at them."""
    scenarios = program.pool.scenarios
    ids = [np.array(flows["scenarios"], dtype=np.int64) for flows in plain["multipliers"]["flows"]]
    chosen = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *ids]))
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
    return verifier.Pool(arrays, plain)
