"""What a problem is asked with: fresh scenarios, and calibrations, of the same pool and in its money."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from calibrate.calibration import Calibration
from calibrate.errors import ProblemError
from calibrate.program.form import Floats, Program
from calibrate.scenarios import Scenarios

__all__ = ["check_given", "check_money", "held", "made_of", "start_of"]


def check_given(scenarios: Scenarios, out_of_sample: Scenarios | None, start: Calibration | None) -> None:
    """ProblemError for what a solve cannot be asked with."""
    for name, given, kind in (("out_of_sample", out_of_sample, Scenarios), ("start", start, Calibration)):
        if given is not None and not isinstance(given, kind):
            raise ProblemError(f"{name} is a {type(given).__name__}, expected {kind.__name__}")
        check_money(scenarios, name, given)
    if out_of_sample is not None:
        _check_fresh(scenarios, out_of_sample)


def check_money(scenarios: Scenarios, what: str, given: Scenarios | Calibration | None) -> None:
    """ProblemError for another currency than the scenarios'."""
    if given is not None and given.currency != scenarios.currency:
        raise ProblemError(
            f"{what} is in {given.currency}, the scenarios are in {scenarios.currency}; convert one of them"
        )


def made_of(condition: Callable[[float], Any], value: float) -> Any:
    """What a function makes of one value; ProblemError where it has more to ask."""
    try:
        return condition(value)
    except TypeError as error:
        raise ProblemError(
            f"condition at {value!r}: {error}; expected a function of one number, such as "
            "lambda x: fairness.Solidarity(0.5, band=x)"
        ) from None


def start_of(program: Program, start: Calibration | None) -> Floats | None:
    """Decisions of another calibration in units of this program, by name; newcomers pay their reference."""
    if start is None:
        return None
    columns = program.pool.scenarios.columns
    paid = start.contributions
    if paid.index.nlevels != columns.nlevels:
        return None
    own = paid.reindex(columns).to_numpy(dtype=float)
    paid_anew = program.reference[: program.n_cells]
    return np.append(np.where(np.isfinite(own), own, paid_anew), held(start, program.reserve_names)) / program.unit


def held(calibration: Calibration, names: Sequence[str]) -> Floats:
    """Reserves of a calibration by name, money; nothing where it has none of the name."""
    return np.array([float(calibration.reserves.get(name, 0.0)) for name in names])


def _check_fresh(scenarios: Scenarios, fresh: Scenarios) -> None:
    """ProblemError for fresh scenarios of another pool: of others, or of deposits of another worth."""
    if (fresh.members, fresh.segments) != (scenarios.members, scenarios.segments):
        raise ProblemError(
            "out_of_sample has other members or segments than the scenarios of the problem, or another order of them"
        )
    if (fresh.collateral is None) != (scenarios.collateral is None):
        one, other = "out_of_sample has", "the scenarios of the problem have"
        with_it, without = (other, one) if fresh.collateral is None else (one, other)
        raise ProblemError(
            f"{with_it} collateral and {without} none: the risk would be that of another pool; give both their "
            "collateral, all 1 where a deposit keeps its worth"
        )
