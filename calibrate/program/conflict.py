"""Why there is no plan: an irreducible set of rules in conflict, verified by re-solving, and what each has to give."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import cvxpy as cp
import numpy as np

from calibrate.errors import RuleConflictError, SolverError
from calibrate.program.beyond import far_beyond
from calibrate.program.compiled import NotSeparable
from calibrate.program.extensive import least_slack_extensive
from calibrate.program.fairness.base import GeneratedRule, Rule
from calibrate.program.form import Floats, Program
from calibrate.program.proof import Certificate
from calibrate.program.risk import RiskLimit
from calibrate.program.working_set import least_slack, slack_bounds

__all__ = ["explain"]

Condition = Rule | RiskLimit
UNSOLVED = (NotSeparable, SolverError, ArithmeticError)  # the last: rules without a plan drive numbers out of range
CLAIM = " This is a solver's claim, and not proved."
FEASIBLE = 1e-6  # units: slack below it is rounding of the solver
ROUNDED = 1e-11  # of contributions: rules that exclude each other by less are kept, but for rounding
FINER_UNITS = (2.0**-20, 2.0**-40)


def explain(program: Program) -> RuleConflictError | None:
    """The error that names the conflict, or None if the rules can be satisfied after all, or it cannot be proved.

    Amounts below a millionth of the losses are told in finer units, and only by a proof: there they may be rounding.
    """
    found = _explained(program)
    if found is not None or far_beyond(program) is not None:
        return found
    for finer in FINER_UNITS:
        with suppress(*UNSOLVED):
            found = _explained(replace(program, unit=finer * program.unit))
            told = None if found is None else found.certificate
            if isinstance(told, Certificate) and told["multipliers"] is not None:
                return found
    return None


def _explained(program: Program) -> RuleConflictError | None:
    """The same in the program's unit."""
    asked = _Conditions(program)
    every = list(range(len(asked.conditions)))
    if not asked.conflict(every):
        return None
    core = _irreducible(every, asked.conflict)
    certificate = asked.certificate(core)
    if certificate is not None and certificate["multipliers"] is None:  # a plan far beyond the losses may keep the core
        core = _irreducible(every, asked.proved)
        if not asked.proved(core):
            return None
        certificate = asked.certificate(core)
    needed = {asked.named(one): asked.given(core, one) for one in core}
    currency = program.pool.scenarios.currency
    told = {name: f"{amount:,.6g} {currency}" for name, amount in needed.items() if math.isfinite(amount)}
    lines = "".join(f"\n  - {name}: by {told.get(name, 'more than can be measured')}" for name in needed)
    claim = "" if certificate is not None else CLAIM
    if len(core) == 1:
        return RuleConflictError(
            f"no plan satisfies this rule alone, it would have to give:{lines}\nRelax or drop it.{claim}",
            needed,
            certificate,
        )
    return RuleConflictError(
        f"no plan satisfies all rules: these conflict, and any one of them would have to give, alone:{lines}\n"
        f"Without any one of them the others can be satisfied. Relax or drop one.{claim}",
        needed,
        certificate,
    )


def _irreducible(conditions: Sequence[int], conflict: Callable[[list[int]], bool]) -> list[int]:
    """Deletion filter: drop each condition in turn and keep it only if the rest can be satisfied without it."""
    core = list(conditions)
    for condition in conditions:
        rest = [other for other in core if other != condition]
        if rest and conflict(rest):
            core = rest
    return core


class _Conditions:
    """The rules and limits of a program by number; generated rules get the rows that plans break on the way."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.conditions: list[Condition] = [*program.rules, *program.limits]

    def named(self, one: int) -> str:
        """The words of a rule, numbered where several have the same."""
        words = [str(other) for other in self.conditions]
        alike = [k for k, other in enumerate(words) if other == words[one]]
        return words[one] if len(alike) == 1 else f"{words[one]}, number {alike.index(one) + 1} of {len(alike)}"

    def conflict(self, some: Sequence[int]) -> bool:
        """Whether no plan keeps some of the conditions: not even those of their rows that are written down."""
        while self._nothing(*(found := self._slack(some, some))):
            if not self._learnt(some, *found):
                return False
        return True

    def _nothing(self, slack: float, x: Floats) -> bool:
        """Whether a slack is no more than rounding."""
        return slack <= FEASIBLE + ROUNDED * float(x[: self.program.n_cells].sum())

    def given(self, core: Sequence[int], one: int) -> float:
        """What one of the conditions has to give alone, money; infinite where a solver's numbers do not tell."""
        try:
            while self._learnt(core, *(found := self._slack(core, [one]))):
                pass
            return math.inf if self._nothing(*found) else found[0] * self.program.unit
        except SolverError:
            return math.inf

    def proved(self, some: Sequence[int]) -> bool:
        """Whether exact arithmetic says that no plan keeps some of the conditions."""
        certificate = self.certificate(some)
        return certificate is not None and certificate["multipliers"] is not None

    def certificate(self, core: Sequence[int]) -> Certificate | None:
        """The multipliers of the contradiction; None where the rules are too unusual for the tail solver."""
        alone = self._alone(core).ordered
        for tolerance in (1e-3, 1e-5, 1e-7):
            with suppress(*UNSOLVED):
                bounds = slack_bounds(alone, [self.conditions[one] for one in core], tolerance)
                if bounds.lower > 1 and bounds.witness is not None:
                    return Certificate(alone, bounds.witness.form, bounds.witness, None)
        return None

    def _slack(self, some: Sequence[int], elastic: Sequence[int]) -> tuple[float, Floats]:
        """Least sum of slacks with which some can be satisfied when only the `elastic` ones give, and a plan; units."""
        alone, gives = self._alone(some), [self.conditions[one] for one in elastic]
        try:
            return least_slack(alone, gives)
        except UNSOLVED:
            return least_slack_extensive(alone, gives)

    def _learnt(self, some: Sequence[int], slack: float, x: Floats) -> bool:
        """Whether rules got rows that a plan breaks by more than the slack, units, that it was found with."""
        plan, learnt = self.program.plan(cp.Constant(x)), False
        for one in some:
            rule = self.conditions[one]
            with suppress(SolverError):  # the search for such rows did not end
                more = rule.refined(plan) if isinstance(rule, GeneratedRule) else None
                if more is not None and np.max(more.gap(plan).value) > (slack + FEASIBLE) * self.program.unit:
                    self.conditions[one], learnt = more, True
        return learnt

    def _alone(self, some: Sequence[int]) -> Program:
        """The program with these conditions and no objective."""
        chosen = [self.conditions[one] for one in some]
        limits = tuple(one for one in chosen if isinstance(one, RiskLimit))
        rules = tuple(one for one in chosen if isinstance(one, Rule))
        return replace(self.program, rules=rules, limits=limits, objective=())
