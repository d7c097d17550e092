"""Multipliers of rules and flows of risk terms, from floating point to what is valid exactly.

Flows are rounded down to a grid and clipped from the roots to the leaves, multipliers of cones pushed into their cones:
what that costs the bound is of the order of 1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrate.program.compiled import Compiled
from calibrate.program.dual import Flows
from calibrate.program.forest import Y1, Grove, Kinks, spread
from calibrate.program.form import Floats, Program
from calibrate.program.standard_form import Point, Tail
from calibrate.program.statement import Layout, placed

__all__ = ["Witness", "given_of", "in_cones", "multipliers"]

Ints = npt.NDArray[np.int64]

FLOW_BITS, ROOT_BITS = 60, 44  # of a price, and at least of the largest flow: a scenario may be ever so unlikely
CARRIED = 36  # bits of the losses that flows carry


@dataclass(frozen=True, eq=False)
class Witness:
    """What a solve leaves for the proof: the compiled program, the tails with their scenarios, the multipliers."""

    form: Compiled
    tails: tuple[Tail, ...]
    point: Point

    @property
    def chosen(self) -> tuple[Ints, ...]:
        """Scenarios of each tail."""
        return tuple(tail.grove.chosen for tail in self.tails)


def multipliers(program: Program, witness: Witness, plain: Mapping[str, Any], least: float) -> dict[str, Any]:
    """Multipliers of rules and limits, and the flows of each term through its waterfall, exactly valid.

    Those below `least` of the largest are taken for the zeros that an interior method never reaches.
    """
    form, point = witness.form, witness.point
    traces = max(float(np.abs(one).max(initial=1e-300)) for one in (point.rule, point.equal, point.limit)) * least
    equal = np.append(point.equal, np.zeros(len(form.follow[1])))
    blocks: list[list[float]] = []
    for _, kind, at in placed(form, Layout.of(program, form)):
        values = (equal if kind == "equal" else point.rule)[at]
        if not (np.isfinite(values).all() and float(np.abs(values).max()) >= traces):
            values = np.zeros(len(values))
        blocks.append(values.tolist() if kind == "equal" else _in_cone(values))
    blocks += [[0.0]] * (len(plain["blocks"]) - len(blocks))  # rows that hold a decision at zero
    limits = np.where((point.limit >= max(traces, 0.0)) & np.isfinite(point.limit), point.limit, 0.0)
    prices = form.priced(point.limit)
    flows = [
        _flows_of(program, tail.grove, step.state, float(price))
        for price, tail, step in zip(prices, witness.tails, point.steps, strict=True)
    ]
    return given_of(program, plain, blocks, limits.tolist(), flows, least)


def given_of(
    program: Program,
    plain: Mapping[str, Any],
    blocks: list[list[float]],
    limits: list[float],
    flows: Sequence[Flows],
    least: float = 0.0,
) -> dict[str, Any]:
    """Multipliers as a certificate holds them. `plain` has the sum of all probabilities as its `mass`."""
    prices = [term["price"] for term in plain["terms"]]
    for nu, limit in zip(limits, plain["limits"], strict=True):
        prices = [price + Fraction(nu) * eta for price, eta in zip(prices, limit["risks"], strict=True)]
    whole = []
    for term, price, flow in zip(plain["terms"], prices, flows, strict=True):
        share = price / ((1 - Fraction(term["level"])) * plain["mass"])
        whole.append(_whole(program, flow, price, share, least))
    return {"blocks": blocks, "limits": limits, "flows": whole}


def in_cones(plain: Mapping[str, Any], blocks: list[list[float]]) -> list[list[float]]:
    """Multipliers of the blocks, pushed into their cones."""
    kinds = [kind for _, kind, _ in plain["blocks"]]
    return [m if kind == "equal" else _in_cone(np.array(m)) for kind, m in zip(kinds, blocks, strict=True)]


def _in_cone(values: Floats) -> list[float]:
    """Multipliers in the second-order cone exactly, the first raised to the norm of the others; alone: >= 0."""
    m: list[float] = values.tolist()
    m[0] = max(m[0], float(np.linalg.norm(values[1:])), 0.0)
    while Fraction(m[0]) ** 2 < sum(Fraction(one) ** 2 for one in m[1:]):
        m[0] = math.nextafter(m[0], math.inf) * (1 + 1e-15)
    return m


def _flows_of(program: Program, grove: Grove, state: Kinks, price: float) -> Flows:
    """The multipliers of what is planted: of a tree that stands for many scenarios each has its share.

    A loss that is left out has none, a line has what its group has.
    """
    segments, forest, (scenario, alone, tree) = len(program.pool.scenarios.segments), grove.forest, grove.planted
    chosen, weight, whole = grove.chosen, forest.weight[tree], alone < 0
    share = np.divide(grove.weight[scenario], weight, out=np.zeros(len(tree)), where=weight > 0)
    through = state.root[tree, Y1] * share
    root = np.where(grove.sure, price * grove.weight, 0.0)
    root[scenario[whole]] = through[whole]
    group = None
    if forest.group_kinks:
        group = np.zeros((len(chosen), segments))
        group[scenario] = state.group[:, Y1].reshape(-1, segments)[tree] * share[:, None]
    if grove.lines is None:
        return Flows(chosen, root, group, None)
    leaf = np.zeros((len(chosen), program.n_cells))
    item, at = spread(forest.leaf_ends, tree)
    leaf[scenario[item], forest.cell[at]] = state.leaf[at, Y1] * share[item]
    leaf[scenario[~whole], alone[~whole]] = through[~whole]
    s, cell = grove.lines
    leaf[s, cell] = root[s] if group is None else group[s, cell % segments]
    return Flows(chosen, root, group, leaf)


def _whole(program: Program, flows: Flows, price: Fraction, share: Fraction, least: float) -> dict[str, Any]:
    """Flows as integers over `2 ** shift`: rounded down, then clipped to the flow above, from roots to leaves."""
    scenarios = program.pool.scenarios
    p = scenarios.probabilities[flows.chosen].tolist()
    largest = min(price, share * max(map(Fraction, p), default=Fraction(0)))
    shift = max(0, *(bits - math.frexp(float(one))[1] for bits, one in ((FLOW_BITS, price), (ROOT_BITS, largest))))
    shift = max(shift, _bits_of(flows.root, scenarios.losses[flows.chosen].sum(axis=1)))
    most = int(price * (1 << shift))
    caps = [min(most, int(share * Fraction(one) * (1 << shift))) for one in p]
    kind = np.dtype(np.int64) if max(caps, default=0) < 1 << FLOW_BITS + 2 else np.dtype(object)
    root = np.minimum(_on_grid(flows.root, shift, kind), np.array(caps, dtype=kind))
    root[root < min(least, 2.0) * most] = 0
    total = sum(root.tolist())
    if total > most:
        root = np.array([flow * most // total for flow in root.tolist()], dtype=kind)
    segments = len(scenarios.segments)
    group = np.repeat(root[:, None], segments, axis=1)
    if flows.group is not None:
        group = np.minimum(_on_grid(flows.group, shift, kind), group)
    leaf: list[list[int]] = [[] for _ in root]
    if flows.leaf is not None:
        leaves = np.minimum(_on_grid(flows.leaf, shift, kind), np.tile(group, program.n_cells // segments))
        losses = scenarios.losses[flows.chosen]
        leaf = [row[own > 0].tolist() for row, own in zip(leaves, losses, strict=True)]
    return {
        "shift": shift,
        "scenarios": flows.chosen.tolist(),
        "root": root.tolist(),
        "group": [[] for _ in root] if flows.group is None else group.tolist(),
        "leaf": leaf,
    }


def _bits_of(root: Floats, gross: Floats) -> int:
    """So many that rounding all flows down costs no more than 2 ** -CARRIED of the losses that they carry.

    A loss of 1e11 times the rest is carried by a flow of next to nothing, of which every digit counts.
    """
    carried = float(np.nan_to_num(root) @ gross)
    return math.frexp(float(gross.sum()) / carried)[1] + CARRIED if carried > 0 else 0


def _on_grid(flow: Floats, shift: int, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Rounded down to multiples of `2 ** -shift`; as whole numbers of any length where 64 bits do not hold them."""
    finite = np.maximum(np.nan_to_num(flow, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
    if kind.hasobject:
        whole = [above * (1 << shift) // below for above, below in map(float.as_integer_ratio, finite.ravel().tolist())]
        return np.array([*whole, None], dtype=object)[:-1].reshape(flow.shape)
    return np.asarray(np.floor(np.clip(np.ldexp(finite, shift), 0.0, 2.0**FLOW_BITS)), dtype=np.int64)
