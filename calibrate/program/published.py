"""The plan as it is published: integers of a unit so small that they cost no more than the plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from calibrate.certificate import verifier
from calibrate.certificate.rounding import auxiliary, rounded, rows_of
from calibrate.program.form import LITTLE, Floats, Program
from calibrate.program.least_distance import auxiliary_nearest
from calibrate.program.measure import cost
from calibrate.program.risk import RiskTerm
from calibrate.program.sure import published_decimals

__all__ = ["Claim", "costs_more", "exactly", "published"]

MOST_FINER = 18  # decimals more, where integers would cost too much
GIVEN = 0.1  # of the tolerance: what integers may cost more than the plan


@dataclass(frozen=True, eq=False)
class Claim:
    """A published plan: decisions in money, auxiliary variables of rules (units), objective and tolerance."""

    decisions: Floats
    auxiliary: Floats
    objective: float
    lower_bound: float
    tolerance: float


def published(program: Program, claim: Claim, body: Mapping[str, Any]) -> dict[str, Any]:
    """The plan as integers, with the auxiliary variables of the rules at them, and what is claimed of it."""
    decimals, whole = _rounded(program, claim, body)
    witness: list[int] = []
    if claim.auxiliary.size:
        fine = 10**decimals * verifier.FINER
        near = [round(Fraction(one) * fine) for one in (program.unit * claim.auxiliary).tolist()]
        stated = {**body, "decimals": decimals, "scale": program.unit}
        plain = exactly(stated)
        witness = (
            auxiliary(plain, whole, near) or auxiliary(plain, whole, auxiliary_nearest(stated, whole, near)) or near
        )
    return {
        "decimals": decimals,
        "published": [str(n) for n in whole],
        "witness": [str(n) for n in witness],
        "objective": claim.objective,
        "tolerance": claim.tolerance,
        "scale": program.unit,
    }


def costs_more(program: Program, claim: Claim, stated: Callable[[], Mapping[str, Any]]) -> float:
    """What the published integers cost more than the plan, money; 0 where a unit a decision cannot cost much.

    Asked of integers that are rounded without an eye on the rules, which move them by a unit; and if these cost too
    much, of those that are `stated`, which take longer.
    """
    decimals = published_decimals(program, claim.decisions)
    prices = sum(price for price, part in program.objective if isinstance(part, RiskTerm))
    if program.size * prices <= Fraction(_room(program, claim)) * 10**decimals:
        return 0.0
    near = rounded(claim.decisions.tolist(), program.n_cells, decimals, (), list(program.pool.scenarios.columns))
    more = _cost_of(program, near, decimals) - claim.objective
    if more <= _room(program, claim):
        return more
    body = stated()
    return _cost_of(program, list(map(int, body["published"])), body["decimals"]) - claim.objective


def _rounded(program: Program, claim: Claim, body: Mapping[str, Any]) -> tuple[int, list[int]]:
    """Decimals and the plan in them: so many that the integers cost no more than a tenth of the tolerance.

    Each contribution is off by up to half a unit. A segment has the sum of what many are off by, at the price of its
    risk.
    """
    first, names = published_decimals(program, claim.decisions), list(program.pool.scenarios.columns)
    room = _room(program, claim)
    for decimals in range(first, first + MOST_FINER):
        whole = rounded(claim.decisions.tolist(), program.n_cells, decimals, rows_of(body), names)
        if _cost_of(program, whole, decimals) <= claim.objective + room:
            break
    return decimals, whole


def _cost_of(program: Program, whole: list[int], decimals: int) -> float:
    """The objective at integers, money."""
    money = np.array([float(Fraction(n, 10**decimals)) for n in whole])
    return cost(program, money / program.unit)


def _room(program: Program, claim: Claim) -> float:
    """What integers may cost more than the plan, money."""
    return GIVEN * claim.tolerance * max(abs(claim.objective), LITTLE * program.unit)


def exactly(body: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate as the verifier reads it: numbers as fractions."""
    plain: dict[str, Any] = json.loads(json.dumps(body), parse_float=lambda number: Fraction(float(number)))
    return plain
