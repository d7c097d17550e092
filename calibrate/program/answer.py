"""From decisions to the published calibration: all is measured again on the plan, nothing is taken from a solver."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any, get_args

import cvxpy as cp
import numpy as np
import pandas as pd

from calibrate.calibration import Calibration
from calibrate.errors import SolverError
from calibrate.one_thread import ONE_THREAD
from calibrate.precision import tail_mean
from calibrate.program.conflict import explain
from calibrate.program.form import Floats, Program
from calibrate.program.measure import left_of, lefts, objective_at, total
from calibrate.program.nearest import plans_instead
from calibrate.program.plan import Plan
from calibrate.program.proof import Certificate, certified
from calibrate.program.risk import CVaR, ExpectedLoss, Kind, RiskTerm
from calibrate.program.solution import Solution
from calibrate.program.tail import cvar
from calibrate.program.waterfall import Cascade
from calibrate.scenarios import Scenarios

__all__ = ["answer", "gaps_at", "vouched"]

CURVE_POINTS = 200
PROVED_AT_ONCE = 20_000  # losses
PROVABLE = 1e-7  # relative gap: less cannot always be proved where nothing bounds variables of the rules' own
FEASIBLE = 1e-6  # of contributions and reserves


def answer(program: Program, solution: Solution, tolerance: float, fresh: Scenarios | None) -> Calibration:
    """The plan of a solution as it is published; where it may not be, a plan beside it that may, or why there is none.

    Rules that exclude each other by less than a solver's rounding have a plan for the solver, and none in print.
    """
    scenarios = program.pool.scenarios
    with ONE_THREAD, ThreadPoolExecutor(1) as aside:  # a gigabyte takes half a second: beside what is to be measured
        hashed = [aside.submit(getattr, scenarios, "digest")] if scenarios.in_memory else []
        try:
            return _written(program, solution, tolerance, fresh, hashed)
        except SolverError as refused:
            for other in plans_instead(program, solution):
                with suppress(SolverError):
                    return _written(program, other, tolerance, fresh, hashed)
            raise explain(program) or refused from None


def vouched(program: Program, solution: Solution, tolerance: float) -> Solution:
    """A solution whose bound was a claim, with the bound that exact arithmetic proves.

    Raises SolverError where that is not good enough.
    """
    objective = objective_at(program, solution.x)
    _check_gap(program, solution, objective, tolerance)
    certificate = certified(program, solution, objective, tolerance)
    proved = -math.inf
    if certificate is not None and certificate["multipliers"] is not None:
        proved = float(certificate["lower_bound"])
    solution = replace(solution, lower_bound=proved, claimed=False)
    _check_gap(program, solution, objective, tolerance)
    return solution


def _written(
    program: Program, solution: Solution, tolerance: float, fresh: Scenarios | None, hashed: Sequence[Future[str]]
) -> Calibration:
    """Measure the plan and write it down."""
    plan = program.plan(cp.Constant(solution.x))
    scenarios, ordered = program.pool.scenarios, program.ordered
    left = lefts(ordered, ordered.arranged(solution.x))
    objective = total(ordered, program.objective, plan, left)
    _check_gap(program, solution, objective, tolerance)
    fairness = _fairness_table(ordered, plan, left, solution)
    certificate = certified(program, solution, objective, tolerance)
    lower_bound = _check_published(program, solution, objective, tolerance, fairness, certificate)
    risk, notes = _risk_table(program, program.cascade(solution.x), left, fresh)
    members, loss_curve = _members(program, plan), _loss_curve(program, left)
    wait(hashed)
    return Calibration(
        contributions=pd.Series(program.unit * solution.x[: program.n_cells], index=scenarios.columns),
        reserves=pd.Series(
            program.unit * solution.x[program.n_cells :],
            index=pd.Index(program.reserve_names, name="reserve", dtype=object),
        ),
        risk=risk,
        fairness=fairness,
        members=members,
        loss_curve=loss_curve,
        objective=objective,
        lower_bound=min(lower_bound, objective),
        currency=scenarios.currency,
        provenance=_provenance(program, solution, tolerance, fresh)
        | {"risk_notes": [*_unpaid(program, solution), *notes]},
        certificate=certificate,
        scenarios=None if certificate is None else certificate.scenarios,
    )


def _unpaid(program: Program, solution: Solution) -> list[str]:
    """A sentence where rules speak of contributions and nobody pays any: nothing is a fair share of nothing."""
    if not program.rules or solution.x[: program.n_cells].any() or not program.pool.expected_losses.any():
        return []
    return [
        f"no member contributes anything: the rules ({', '.join(map(str, program.rules))}) leave no other plan, or "
        "contributions cost more than they save; widen a rule, lower the price of contributions, or ask for a FundFloor"
    ]


def gaps_at(program: Program, x: Floats) -> Floats:
    """The worst gap of each rule, then of each limit, at decisions `x` (units), money."""
    return np.array(_gaps(program, program.plan(cp.Constant(x)), lefts(program, x)))


def _gaps(program: Program, plan: Plan, left: dict[Kind, Floats]) -> list[float]:
    limits = (total(program, limit.term.parts, plan, left) - limit.amount for limit in program.limits)
    return [*program.gaps(plan).tolist(), *limits]


def _check_published(
    program: Program,
    solution: Solution,
    objective: float,
    tolerance: float,
    fairness: pd.DataFrame,
    certificate: Certificate | None,
) -> float:
    """The bound that is published, after what the verifier would reject was refused.

    Integers are judged where a rule has no room to spare. A bound that only a solver vouches for is proved at once, and
    so is that of a small pool; elsewhere the proof waits until it is asked for: exact arithmetic takes its time.
    """
    if certificate is None:
        return solution.lower_bound
    doubtful = (fairness["gap"] > 0).any() or certificate.has_auxiliary
    broken = certificate.broken(fairness["gap"].tolist()[len(program.rules) :]) if doubtful else ""
    if broken:
        raise SolverError(
            f"{broken} on the published integers; where rules exclude each other by a hair (a share of 0.3333 for each "
            f"of three), give one of them some room; attempts: {'; '.join(map(str, solution.attempts))}"
        )
    _check_gap(program, solution, objective + max(certificate.costs_more(), 0.0), tolerance)
    if solution.witness is not None and program.pool.scenarios.losses.size > PROVED_AT_ONCE:
        return solution.lower_bound
    proved = -math.inf if certificate["multipliers"] is None else float(certificate["lower_bound"])
    bound = min(solution.lower_bound, proved)
    _check_gap(program, replace(solution, lower_bound=bound), objective, max(tolerance, PROVABLE))
    return bound


def _check_gap(program: Program, solution: Solution, objective: float, tolerance: float) -> None:
    """What is published is optimal within the tolerance, or it is not published."""
    gap = program.relative_gap(objective, solution.lower_bound)
    if not gap <= tolerance * (1 + 1e-9):
        raise SolverError(
            f"the plan found costs {objective:,.10g} {program.pool.scenarios.currency}, but the bound on the best is "
            f"{solution.lower_bound:,.10g}: a relative gap of {gap:.3g} where {tolerance:g} was asked for; "
            f"attempts: {'; '.join(map(str, solution.attempts))}"
        )
    if gap < -tolerance:
        raise SolverError(
            f"the plan found costs {objective:,.10g} {program.pool.scenarios.currency}, less than any plan that keeps "
            f"all rules and limits to the last digit can ({solution.lower_bound:,.10g}): they are kept to rounding, "
            "and here that is worth more than the tolerance; a limit of nothing, or one of unlikely scenarios, is to "
            "be given some room"
        )


def _risk_table(
    program: Program, cascade: Cascade, left: dict[Kind, Floats], fresh: Scenarios | None
) -> tuple[pd.DataFrame, list[str]]:
    """Every level that the program uses, of every kind that the waterfall defines, and the expected losses.

    And in words, which intervals are refused or do not hold what they promise.
    """
    levels = sorted({term.level for term in program.risk_terms if term.level > 0}, reverse=True) or [0.99]
    terms: list[RiskTerm] = [CVaR(level, of=kind) for level in levels for kind in left]
    terms += [ExpectedLoss(of=kind) for kind in left]
    new = {} if fresh is None else {kind: left_of(cascade, kind, fresh) for kind in left}
    rows, notes = [], []
    for term in terms:
        p = program.ordered.pool.scenarios.probabilities
        inside = cvar(left[term.of], p, term.level)
        values = left[term.of]
        if fresh is not None:
            values, p = new[term.of], fresh.probabilities
        found = tail_mean(values, term.level, p)
        outside = math.nan if fresh is None else found.estimate
        error = found.standard_error if math.isfinite(found.upper) else math.nan
        rows.append((inside, outside, error, found.lower, found.upper))
        notes += [f"{term}: {found.label}"] if found.label else []
    columns = ["in_sample", "out_of_sample", "standard_error", "lower", "upper"]
    names = pd.Index([str(term) for term in terms], name="term", dtype=object)
    return pd.DataFrame(rows, columns=columns, index=names, dtype=float), notes


def _fairness_table(program: Program, plan: Plan, left: dict[Kind, Floats], solution: Solution) -> pd.DataFrame:
    """Rules, then limits: the worst gap of each, measured on the plan."""
    unit = program.unit * max(float(solution.x.sum()), 1e-12)
    rows = []
    conditions = (*program.rules, *program.limits)
    for rule, gap, shadow in zip(conditions, _gaps(program, plan, left), solution.shadow_prices, strict=True):
        if gap > FEASIBLE * max(unit, program.unit):
            raise SolverError(
                f"the plan misses {rule} by {gap:,.6g} {program.pool.scenarios.currency}; "
                f"attempts: {'; '.join(map(str, solution.attempts))}"
            )
        rows.append((gap, gap >= -FEASIBLE * unit, shadow))
    index = pd.Index([str(one) for one in conditions], name="rule", dtype=object)
    frame = pd.DataFrame(rows, columns=["gap", "binding", "shadow_price"], index=index)
    return frame.astype({"gap": float, "binding": bool, "shadow_price": float})


def _members(program: Program, plan: Plan) -> pd.DataFrame:
    pool = program.pool
    paid = np.asarray(plan.contributions.value)
    level = max((term.level for term in program.risk_terms), default=0.99)
    return pd.DataFrame(
        {
            "contribution": paid,
            "weight": paid / paid.sum() if paid.sum() > 0 else paid,
            "expected_loss": pool.expected_losses,
            "sampled_loss": pool.sampled_losses,
            # column by column: too many passes over scenarios that are drawn again for each
            "standalone_risk": pool.standalone_risk(level) if pool.scenarios.in_memory else np.nan,
            "exposure": np.full(len(paid), np.nan) if pool.exposures is None else pool.exposures,
            "reference": program.reference[: program.n_cells].reshape(len(paid), -1).sum(axis=1),
        },
        index=pd.Index(pool.members, name="member", dtype=object),
    )


def _loss_curve(program: Program, left: dict[Kind, Floats]) -> pd.DataFrame:
    """Quantiles of gross loss and of what is left, at exceedance probabilities that crowd in the tail."""
    scenarios = program.pool.scenarios
    p = program.ordered.pool.scenarios.probabilities
    finest = max(1 / len(scenarios), 1e-9)
    exceedance = np.geomspace(1.0, finest, CURVE_POINTS)
    curves = {"loss": _quantiles(scenarios.losses.sum(axis=1), scenarios.probabilities, exceedance)}
    curves |= {kind: _quantiles(left[kind], p, exceedance) for kind in get_args(Kind) if kind in left}
    return pd.DataFrame(curves, index=pd.Index(exceedance, name="probability"))


def _quantiles(values: Floats, p: Floats, exceedance: Floats) -> Floats:
    if p.min() == p.max():  # a sort is faster than an order
        ordered, mass = np.sort(values)[::-1], np.cumsum(p)
    else:
        order = np.argsort(values)[::-1]
        ordered, mass = values[order], np.cumsum(p[order])
    return ordered[np.minimum(np.searchsorted(mass, exceedance * (1 - 1e-12)), len(values) - 1)]


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    packages = ("calibrate", "cvxpy", "clarabel", "highspy", "numpy", "pandas", "scipy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _provenance(program: Program, solution: Solution, tolerance: float, fresh: Scenarios | None) -> dict[str, Any]:
    scenarios = program.pool.scenarios
    return {
        "scenarios": {"count": len(scenarios), "sha256": scenarios.digest},
        "out_of_sample": None if fresh is None else {"count": len(fresh), "sha256": fresh.digest},
        "waterfall": [repr(layer) for layer in program.waterfall.layers],
        "minimise": [f"{price:g} * {part}" for price, part in program.objective],
        "subject_to": [str(one) for one in (*program.rules, *program.limits)],
        "tolerance": tolerance,
        "unit": program.unit,
        "lower_bound": solution.bound_by,
        "attempts": [str(attempt) for attempt in solution.attempts],
        "versions": _versions(),
    }
