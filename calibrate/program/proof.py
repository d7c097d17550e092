"""The certificate of an answer: the program as rows in money, the published integers, and the multipliers of the bound.

Multipliers come from the interior-point method. Where its traces leave no bound at all, or a worse one, they are sought
anew, and the best are kept: any are valid, and the verifier computes again what it is told here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from calibrate import records
from calibrate.certificate import verifier
from calibrate.certificate.rounding import in_whole_numbers
from calibrate.certificate.scenario_file import WrittenScenarios
from calibrate.program.compiled import Compiled, NotSeparable, compiled
from calibrate.program.dual import best_flows, best_rules
from calibrate.program.form import LITTLE, Program
from calibrate.program.mending import mended
from calibrate.program.multipliers import Witness, given_of, in_cones, multipliers
from calibrate.program.published import Claim, costs_more, exactly, published
from calibrate.program.retelling import retold
from calibrate.program.solution import Solution
from calibrate.program.statement import Layout, auxiliary_at, statement
from calibrate.program.sure import decimals_of, doubtful, keeps_however_rounded, too_much
from calibrate.program.tail import value_at_risk

__all__ = ["Certificate", "Witness", "certified"]

Ints = npt.NDArray[np.int64]

AS_GOOD = 1e-8  # of the objective: what exact arithmetic may cost the bound
EDGE = 1e-6  # units: scenarios so close to the edge of a tail may be in it
MOST_ANEW = 300_000  # losses whose flows may all be sought anew
# Of the largest multiplier: how far slopes without bounds keep from zero; or not at all, where it must be zero exactly.
CLEAR = (1e-11, 1e-9, 1e-8, 1e-7, 0.0)
LEAST = (0.0, 1e-9, 1e-6, np.inf)  # multipliers to do without, where their traces pull on a decision without bounds


class Certificate(Mapping[str, Any]):
    """Plain data, computed when it is first looked at: exact arithmetic takes its time, and not everybody asks.

    Without a claim it is about rules that no plan keeps. Computed in the order of the program, told in the caller's.
    """

    def __init__(self, program: Program, form: Compiled, witness: Witness | None, claim: Claim | None) -> None:
        self._parts = (program, form, witness, claim)
        scenarios = program.asked.pool.scenarios
        self.scenarios = WrittenScenarios(scenarios.losses, scenarios.probabilities, scenarios.collateral)

    @cached_property
    def stated(self) -> dict[str, Any]:
        """The program, and the plan as it is published."""
        program, form, _, claim = self._parts
        body = statement(program, form)
        if claim is None:
            body |= {
                "kind": "conflict",
                "decimals": decimals_of(program.unit),
                "objective": None,
                "scale": program.unit,
            }
        else:
            body |= {"kind": "plan", **published(program, claim, body)}
        return body | {"multipliers": None, "lower_bound": None}

    @cached_property
    def _body(self) -> dict[str, Any]:
        program, _, witness, claim = self._parts
        body = self.stated | _proved(program, witness, claim, self.stated) | {"scenarios": self.scenarios.sha256}
        plain: dict[str, Any] = json.loads(json.dumps(retold(program, body)))
        return plain

    @property
    def has_auxiliary(self) -> bool:
        """Whether rules have variables of their own, which the integers must leave room for."""
        claim = self._parts[3]
        return claim is not None and claim.auxiliary.size > 0

    def costs_more(self) -> float:
        """What the published integers cost more than the plan, money; 0 where a unit a decision cannot cost much."""
        program, _, _, claim = self._parts
        return 0.0 if claim is None else costs_more(program, claim, lambda: self.stated)

    def broken(self, limits: Sequence[float]) -> str:
        """What the verifier would say of rules and limits on the published integers; empty where they hold.

        `limits`: by how much the plan misses each, money.
        """
        program, form, _, claim = self._parts
        if claim is not None and (missed := too_much(program, form, claim.decisions, limits)):
            return f"{missed} does not hold"
        if claim is not None and keeps_however_rounded(program, form, claim.decisions):
            return ""
        stated = self.stated
        published, witness = (list(map(int, stated[name])) for name in ("published", "witness"))
        plain = exactly(stated | {"blocks": doubtful(stated["blocks"], published, stated["decimals"])})
        v = [n * verifier.FINER for n in published] + witness
        try:
            verifier.feasible({**plain, "blocks": in_whole_numbers(plain["blocks"])}, v)
        except ValueError as told:
            return str(told)
        return ""

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
    witness, program = solution.witness, program.ordered
    try:
        form = compiled(program) if witness is None else witness.form
    except NotSeparable:
        return None
    layout = Layout.of(program, form)
    x = program.arranged(solution.x)
    if solution.v is None:
        near = auxiliary_at(form, layout, x)
    else:
        near = solution.v[program.size : program.size + layout.auxiliary]
    lower = min(solution.lower_bound, objective)
    claim = Claim(program.unit * x, near, objective, lower, tolerance)
    return Certificate(program, form, witness, claim)


def _proved(program: Program, witness: Witness | None, claim: Claim | None, body: dict[str, Any]) -> dict[str, Any]:
    """Multipliers and the bound that they prove, the first that is as good as the solver's; nothing without a bound."""
    plain, best, proved = exactly(body), -math.inf if claim is not None else 0.0, {}
    numerators, under = verifier.whole(program.pool.scenarios.probabilities.tolist())
    plain["mass"] = Fraction(sum(numerators), under)
    enough = 0.0
    if claim is not None:
        size = max(abs(claim.objective), LITTLE * program.unit)  # what gaps are relative to
        enough = claim.lower_bound - min(AS_GOOD, 0.1 * claim.tolerance) * size
    for given in _attempts(program, witness, claim, plain):
        plain["multipliers"] = exactly(given)
        with suppress(OverflowError):  # next to nothing bounds a decision
            valid, bound = _bounding(given, *carrying(program, plain), enough)
            if bound > best:
                best, proved = bound, {"multipliers": valid, "lower_bound": bound}
            if best >= enough and proved:
                break
    return proved


def _bounding(
    given: dict[str, Any], body: dict[str, Any], pool: verifier.Pool, enough: float
) -> tuple[dict[str, Any], float]:
    """Multipliers and the bound that they prove: as they are, or mended where that is not enough."""
    bound, objective = -math.inf, body["objective"]
    with suppress(ValueError):
        bound = _below(verifier.bound(body, pool, objective))
    if bound > enough or bound == enough != 0:
        return given, bound
    spare = (
        math.inf if objective is None else AS_GOOD * abs(float(objective)) / (len(body["costs"]) + body["auxiliary"])
    )
    blocks = mended(body, pool, spare)
    if blocks is not None:
        better = body["multipliers"] | exactly({"blocks": blocks})
        with suppress(ValueError):
            other = _below(verifier.bound({**body, "multipliers": better}, pool, objective))
            return ({**given, "blocks": blocks}, other) if other > bound else (given, bound)
    return given, bound


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
            blocks = best_rules(*carrying(program, plain), program.unit, clear)
            if blocks is not None:
                yield {**given, "blocks": in_cones(plain, blocks)}
    chosen = tails_of(program, claim) if witness is None else witness.chosen
    for clear in CLEAR if sum(map(len, chosen)) * program.n_cells <= MOST_ANEW else ():
        found = best_flows(plain, program, chosen, clear)
        if found is not None:
            blocks, limits, flows = found
            yield given_of(program, plain, in_cones(plain, blocks), limits, flows)


def tails_of(program: Program, claim: Claim | None) -> tuple[Ints, ...]:
    """The scenarios of each term that leave most at a plan, to the edge of its tail; all without a plan."""
    scenarios = program.pool.scenarios
    if claim is None:
        return tuple(np.arange(len(scenarios)) for _ in program.risk_terms)
    cascade = program.cascade(claim.decisions / program.unit)
    chosen = []
    for term in program.risk_terms:
        left = cascade.leaves(term.of, scenarios.losses, scenarios.collateral)
        edge = value_at_risk(left, scenarios.probabilities, term.level)
        chosen.append(np.flatnonzero(left >= edge - EDGE * program.unit))
    return tuple(chosen)


def _below(value: Fraction) -> float:
    """The largest double that is not above."""
    return float(value) if Fraction(float(value)) <= value else math.nextafter(float(value), -math.inf)


def carrying(program: Program, plain: dict[str, Any]) -> tuple[dict[str, Any], verifier.Pool]:
    """The scenarios that carry flow and the largest, with all others as one without losses: no bound looks at them."""
    scenarios, given = program.pool.scenarios, plain["multipliers"]
    ids = [np.array(flows["scenarios"], dtype=np.int64) for flows in given["flows"]]
    chosen = np.unique(np.concatenate([np.array([scenarios.largest]), *ids]))
    losses, p = scenarios.losses[chosen], scenarios.probabilities[chosen].tolist()
    counts = [0, *np.count_nonzero(losses, axis=1).tolist(), 0]
    arrays = {
        "indptr": np.cumsum(counts).tolist(),
        "indices": np.nonzero(losses)[1].tolist(),
        "data": losses[losses > 0].tolist(),
        "shape": (len(chosen) + 1, program.n_cells),
        "probabilities": [*p, plain["mass"] - sum(map(Fraction, p))],
    }
    if scenarios.collateral is not None:
        arrays["collateral"] = [*scenarios.collateral[chosen].ravel().tolist(), *[0.0] * len(scenarios.members)]
    flows = [
        one | {"scenarios": np.searchsorted(chosen, at).tolist()} for one, at in zip(given["flows"], ids, strict=True)
    ]
    return {**plain, "multipliers": given | {"flows": flows}}, verifier.Pool(arrays, plain)
