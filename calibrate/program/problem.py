"""The problem as a user states it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from calibrate.calibration import Calibration
from calibrate.errors import CalibrateError, ProblemError, RuleConflictError, SolverError
from calibrate.program.answer import answer
from calibrate.program.beyond import far_beyond
from calibrate.program.fairness.base import Rule
from calibrate.program.fairness.stated import check_gap
from calibrate.program.form import Floats, Program
from calibrate.program.given import check_given, check_money, held, made_of, start_of
from calibrate.program.measure import objective_at
from calibrate.program.plan import Pool, named
from calibrate.program.risk import ExpectedLoss, RiskLimit, RiskTerm, Term, check_known
from calibrate.program.seam import optimum
from calibrate.program.tail import cvar
from calibrate.program.waterfall import Waterfall
from calibrate.scenarios import Scenarios

__all__ = ["PoolProblem"]


class PoolProblem:
    """`minimise sum of terms subject to rules and limits`, over contributions and reserves that are >= 0.

    Parameters
    ----------
    scenarios : joint losses of the pool.
    waterfall : the layers, in the order in which they pay.
    minimise : terms such as `CostOfCapital(0.02, 0.05)` and `0.1 * CVaR(0.99)`; they are added up.
    subject_to : fairness rules, `Budget`, and limits such as `CVaR(0.995) <= 1e6`.
    exposures : by member, for the rules that need them and for the report.
    reference : a calibration, or contributions by member or (member, segment), money, with reserves of zero. Among
        optimal plans the closest one to it is chosen (relative least squares, `sum (c - ref)^2 / ref`; reserves weigh
        like all contributions together). The Euler allocation of the gross tail if not given; newcomers take theirs
        from it.
    expected_losses : `mu[i]` by member, money, for the rules that speak of it, where a model knows it better than the
        scenarios' mean does (closed form); the scenarios' mean if not given. The terms are those of the scenarios.

    Raises
    ------
    ProblemError, when a term or rule does not fit the pool.

    >>> from calibrate.program import CostOfCapital, CVaR
    >>> pool = Scenarios([[0.0, 1.0], [4.0, 0.0], [0.0, 0.0], [1.0, 1.0]], members=["A", "B"])
    >>> problem = PoolProblem(pool, Waterfall(), minimise=[CostOfCapital(0.1, 0.3), CVaR(0.5, of="mutualised")])
    >>> problem.solve().contributions.round(3).to_dict()
    {'A': 4.0, 'B': 1.0}
    """

    def __init__(
        self,
        scenarios: Scenarios,
        waterfall: Waterfall,
        minimise: Iterable[Term] | Term,
        subject_to: Iterable[Rule | RiskLimit] | Rule | RiskLimit = (),
        exposures: Mapping[Any, float] | pd.Series[Any] | None = None,
        reference: Calibration | Mapping[Any, float] | pd.Series[Any] | None = None,
        expected_losses: Mapping[Any, float] | pd.Series[Any] | None = None,
    ) -> None:
        if not isinstance(scenarios, Scenarios):
            raise ProblemError(f"scenarios are a {type(scenarios).__name__}, expected Scenarios")
        terms = [minimise] if isinstance(minimise, Term) else _several(minimise, "minimise", "terms")
        conditions = (
            [subject_to] if isinstance(subject_to, Rule | RiskLimit) else _several(subject_to, "subject_to", "rules")
        )
        _check_kinds(terms, conditions)
        if not isinstance(waterfall, Waterfall):
            raise ProblemError(f"waterfall is {waterfall!r}, expected a Waterfall, such as Waterfall((PoolReserve(),))")
        reserves = waterfall.reserve_names(scenarios.segments)
        if len(set(reserves)) < len(reserves):
            raise ProblemError("a segment is named 'pool', as the pool's own reserve is; give the segment another name")
        stated = ((exposures, "exposures"), (expected_losses, "expected_losses"))
        known = [None if values is None else _by_member(scenarios, values, what) for values, what in stated]
        pool = Pool(scenarios, known[0], known[1])
        objective = tuple(pair for term in terms for pair in term.parts)
        limits = tuple(one for one in conditions if isinstance(one, RiskLimit))
        level = max((part.level for _, part in _risks(objective, limits)), default=0.99)
        self.program = Program(
            pool=pool,
            waterfall=waterfall,
            objective=objective,
            limits=(),
            rules=tuple(one for one in conditions if isinstance(one, Rule)),
            reference=_reference(pool, level, reference, reserves),
            unit=_unit(pool, level),
        )
        self.program.check_amounts()
        for limit in limits:
            self.program = self.program.with_condition(limit)
        self.program.check()
        for rule in self.program.rules:  # a rule that names an unknown member says so now
            check_gap(rule, self.program.trials[0])

    def solve(
        self, tolerance: float = 1e-6, out_of_sample: Scenarios | None = None, start: Calibration | None = None
    ) -> Calibration:
        """The optimal plan, as a calibration.

        Parameters
        ----------
        tolerance : relative gap between the objective and its lower bound.
        out_of_sample : fresh scenarios of the same pool, with its collateral, for the honest risk of the plan.
        start : the answer of a similar problem (last month's, another band): found sooner from there, and as good.

        Raises
        ------
        RuleConflictError, naming an irreducible set of conflicting rules; ProblemError, when unbounded or a rule's gap
        is not convex; SolverError, when no optimum was proven.
        """
        check_given(self.program.pool.scenarios, out_of_sample, start)
        try:
            found = optimum(self.program, tolerance, start_of(self.program, start))
            return answer(*found, float(tolerance), out_of_sample)
        except SolverError as refused:
            why = _explained(self.program, refused)
            if why is refused:
                raise
            raise why from refused

    def frontier(
        self, condition: Term | Callable[[float], Rule | RiskLimit], values: Iterable[float], tolerance: float = 1e-6
    ) -> pd.DataFrame:
        """What a rule or a limit costs: the optimum for each value of it, each solve starting where the last ended.

        Parameters
        ----------
        condition : a term, of which each value is a limit in money (`CVaR(0.99)`), or a function of the value that
            gives a rule or a limit (`fairness.ActuarialFairness` as it is, `lambda x: fairness.ShareCap(x)`).
        values : one solve each.

        Returns
        -------
        DataFrame, one value a row: `objective, lower_bound, contributions, reserves` (money; NaN where no plan
        exists), `shadow_price` of the condition (what the objective falls by, at most, for one unit of money
        more room: several prices may support one optimum, and any of them is a bound) and
        `conflict`, the rules that exclude each other there, or why no pool like this can keep one, or why nothing could
        be proved, or "".

        >>> from calibrate.program import CostOfCapital, CVaR
        >>> pool = Scenarios([[0.0, 1.0], [4.0, 0.0], [0.0, 0.0], [1.0, 1.0]], members=["A", "B"])
        >>> problem = PoolProblem(pool, Waterfall(), minimise=[CostOfCapital(0.1, 0.3)])
        >>> problem.frontier(CVaR(0.5), [2.0, 1.0, 0.0])["objective"].round(4).to_list()
        [0.1, 0.2, 0.4]
        """
        names = ["objective", "lower_bound", "contributions", "reserves", "shadow_price", "conflict"]
        rows, refused, start = [], list[CalibrateError](), None
        stated = _several(values, "values", "numbers, one solve each")
        if not (isinstance(condition, Term) or callable(condition)):
            raise ProblemError(
                f"condition is {condition!r}, expected a term such as CVaR(0.99), or what makes a rule of a value: "
                "fairness.ShareCap, lambda x: fairness.ShareCap(x)"
            )
        for value in stated:
            one = condition <= value if isinstance(condition, Term) else made_of(condition, value)
            _check_kinds([ExpectedLoss()], [one])
            program = self.program.with_condition(one)
            program.check()
            try:
                program, solution = optimum(program, tolerance, start)
            except RuleConflictError as error:
                rows.append((*[math.nan] * 5, ", ".join(error.conflict)))
                continue
            except (ProblemError, SolverError) as error:  # such as a concentration that so few members cannot have
                refused.append(_explained(program, error))
                rows.append((*[math.nan] * 5, str(refused[-1])))
                continue
            start, money = solution.x, program.unit * solution.x
            cells = program.n_cells
            price = solution.shadow_prices[-1 if isinstance(one, RiskLimit) else len(program.rules) - 1]
            cost = objective_at(program, solution.x)
            rows.append((cost, solution.lower_bound, money[:cells].sum(), money[cells:].sum(), price, ""))
        if refused and len(refused) == len(stated):
            raise refused[0]
        return pd.DataFrame(rows, columns=names, index=pd.Index(stated, name="value"))

    def value(self, calibration: Calibration) -> float:
        """The objective of a plan on the scenarios of this problem, money, whether or not its rules hold.

        Raises ProblemError for a plan of other members, segments or reserves.
        """
        program = self.program
        if not isinstance(calibration, Calibration):
            raise ProblemError(f"value needs a Calibration, got {calibration!r}")
        check_money(program.pool.scenarios, "the plan", calibration)
        paid, kept = calibration.contributions, calibration.reserves
        columns, names = list(program.pool.scenarios.columns), list(program.reserve_names)
        if list(paid.index) != columns or list(kept.index) != names:
            raise ProblemError(
                f"the plan is for {len(paid)} contributions and the reserves {list(kept.index)}, the problem has "
                f"{len(columns)} and {names}, and their names must be the same in the same order"
            )
        return objective_at(program, np.concatenate([paid.to_numpy(), kept.to_numpy()]) / program.unit)


def _explained(program: Program, refused: CalibrateError) -> CalibrateError:
    """An error in words where rules ask for a plan far beyond all losses, or as it is."""
    why = far_beyond(program) if isinstance(refused, SolverError) else None
    return refused if why is None else SolverError(why)


def _several(given: Iterable[Any], name: str, what: str) -> list[Any]:
    if not isinstance(given, Iterable):
        raise ProblemError(f"{name} is {given!r}, expected a list of {what}")
    return list(given)


def _check_kinds(terms: list[Any], conditions: list[Any]) -> None:
    if not terms:
        raise ProblemError("minimise is empty, expected at least one term, such as CostOfCapital(0.02, 0.05)")
    for term in terms:
        if not isinstance(term, Term):
            hint = "; a rule belongs in subject_to" if isinstance(term, Rule | RiskLimit) else ""
            raise ProblemError(f"minimise holds {term!r}, expected a term such as 0.1 * CVaR(0.99){hint}")
    for term in [*terms, *(one.term for one in conditions if isinstance(one, RiskLimit))]:
        check_known(term)
    for one in conditions:
        if not isinstance(one, Rule | RiskLimit):
            raise ProblemError(
                f"subject_to holds {one!r}, expected a fairness rule, Budget, or a limit such as CVaR(0.99) <= 1e6"
            )


def _risks(objective: tuple[tuple[float, Any], ...], limits: tuple[RiskLimit, ...]) -> list[tuple[float, RiskTerm]]:
    parts = [*objective, *(pair for limit in limits for pair in limit.term.parts)]
    return [(price, part) for price, part in parts if isinstance(part, RiskTerm)]


def _by_member(scenarios: Scenarios, values: Mapping[Any, float] | pd.Series[Any], what: str) -> Floats:
    vector = Pool(scenarios).vector(values, what)
    wrong = np.flatnonzero(vector < 0)
    if wrong.size:
        raise ProblemError(
            f"{what}: member {scenarios.members[wrong[0]]!r} has {vector[wrong[0]]}, expected a number >= 0"
        )
    return vector


def _unit(pool: Pool, level: float) -> float:
    """A power of two near the gross tail loss: scaling by it is exact, and the program's numbers are near one."""
    size = cvar(pool.gross, pool.ordered.scenarios.probabilities, level)
    return 2.0 ** round(math.log2(size)) if size > 0 else 1.0


def _reference(
    pool: Pool, level: float, given: Calibration | Mapping[Any, float] | pd.Series[Any] | None, reserves: Sequence[str]
) -> Floats:
    """The stated reference as decisions, money."""
    if isinstance(given, Calibration):
        check_money(pool.scenarios, "reference", given)
        return np.append(_reference(pool, level, given.contributions, ()), held(given, reserves))
    if given is not None:
        stated = named(given, "reference")
        _check_names(pool, stated.index)
        wrong = stated[~(np.isfinite(stated) & (stated >= 0))]
        if len(wrong):
            raise ProblemError(
                f"reference: {wrong.index[0]!r} has {wrong.iloc[0]}, expected an amount of money >= 0; leave out whom "
                "it does not know"
            )
    return np.append(pool.told_cells(_paid(pool.ordered, level, given)), np.zeros(len(reserves)))


def _check_names(pool: Pool, stated: pd.Index[Any]) -> None:
    """Somebody of the pool, at least: a reference of other people is a slip."""
    columns = pool.scenarios.columns
    known = columns if stated.nlevels == columns.nlevels else pd.Index(pool.members)
    if not stated.isin(known).any():
        raise ProblemError(
            f"reference names {', '.join(map(str, stated[:5])) or 'nobody'}, and no member of the pool: "
            f"{', '.join(map(str, known[:5]))}; give contributions by member, or leave it out"
        )


def _paid(pool: Pool, level: float, given: Mapping[Any, float] | pd.Series[Any] | None) -> Floats:
    """The stated reference by column of the scenarios, money; the Euler allocation where nothing is stated."""
    euler = pool.euler_allocation(level)
    if given is None:
        return euler
    stated, columns = named(given, "reference"), pool.scenarios.columns
    if stated.index.nlevels == columns.nlevels:
        values = stated.reindex(columns).to_numpy(dtype=float)
        return np.where(np.isfinite(values), np.maximum(values, 0.0), euler)
    by_member = euler.reshape(len(pool.members), -1)
    own = by_member.sum(axis=1, keepdims=True)
    split = np.divide(by_member, own, out=np.full_like(by_member, 1 / by_member.shape[1]), where=own > 0)
    target = stated.reindex(list(pool.members)).to_numpy(dtype=float)[:, None]
    return np.where(np.isfinite(target), np.maximum(target, 0.0) * split, by_member).ravel()
